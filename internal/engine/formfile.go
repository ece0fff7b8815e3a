package engine

import (
	"bytes"
	"fmt"
	"math/big"
	"mime"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/message"
)

// fileKeyword is the keyword of forms for a place where a file is entered:
//
//	"payslip": {"x-file": {"accept": ["application/pdf", "image/*"], "maxSize": 5000000}}
//
// or "x-file": true for any file. JSON Schema has no such keyword of its own:
// contentMediaType and contentEncoding are about strings that hold the content.
const fileKeyword = "x-file"

// fileRule is what a form wants of a file.
type fileRule struct {
	accept  []string // media types, or all of a kind: "image/*"; none: any
	maxSize int64    // bytes; 0: any
}

// fileVocabulary makes the keyword known.
func fileVocabulary() (*jsonschema.Vocabulary, error) {
	const url = "urn:underseal:vocabulary:file"
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(`{"properties": {"x-file": {
		"type": ["boolean", "object"], "additionalProperties": false, "properties": {
			"accept": {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^[a-zA-Z0-9.+-]+/([a-zA-Z0-9.+-]+|\\*)$"}},
			"maxSize": {"type": "integer", "minimum": 1, "maximum": 1000000000000000}}}}}`)))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(url, document); err != nil {
		return nil, err
	}
	schema, err := compiler.Compile(url)
	return &jsonschema.Vocabulary{URL: url, Schema: schema, Compile: compileFileRule}, err
}

// compileFileRule reads the keyword, which the vocabulary's schema has checked.
func compileFileRule(_ *jsonschema.CompilerContext, object map[string]any) (jsonschema.SchemaExt, error) {
	given, ok := object[fileKeyword]
	if !ok || given == false {
		return nil, nil
	}
	rule := &fileRule{}
	names, _ := given.(map[string]any)
	accept, _ := names["accept"].([]any)
	for _, a := range accept {
		kind, _ := a.(string)
		rule.accept = append(rule.accept, strings.ToLower(kind))
	}
	if size, ok := names["maxSize"]; ok {
		rule.maxSize = wholeNumber(size)
	}
	return rule, nil
}

// wholeNumber reads a number of a JSON document; 0 if it is none.
func wholeNumber(v any) int64 {
	r, ok := new(big.Rat).SetString(fmt.Sprint(v))
	if !ok || !r.IsInt() || !r.Num().IsInt64() {
		return 0
	}
	return r.Num().Int64()
}

// Validate checks the reference of a file. What the reference says is true: the
// files of an event are put in their places before a form sees them.
func (r *fileRule) Validate(ctx *jsonschema.ValidatorContext, v any) {
	reference, _ := v.(map[string]any)
	for _, name := range referenceNames {
		if _, ok := reference[name]; !ok || len(reference) != len(referenceNames) {
			ctx.AddError(fileViolation(`must be a file: {"$file": "<id of an upload>"}`))
			return
		}
	}
	media, _ := reference["type"].(string)
	if kind, _, err := mime.ParseMediaType(media); len(r.accept) > 0 && (err != nil || !slices.ContainsFunc(r.accept, accepts(kind))) {
		ctx.AddError(fileViolation("must be a file of type " + strings.Join(r.accept, " or ")))
	}
	if r.maxSize > 0 && wholeNumber(reference["size"]) > r.maxSize {
		ctx.AddError(fileViolation(fmt.Sprintf("must be a file of at most %d bytes", r.maxSize)))
	}
	for _, name := range referenceNames {
		ctx.EvaluatedProp(name)
	}
}

func accepts(kind string) func(string) bool {
	return func(accepted string) bool {
		all, ok := strings.CutSuffix(accepted, "*")
		return accepted == kind || ok && strings.HasPrefix(kind, all)
	}
}

// fileViolation says what a form wants of a file.
type fileViolation string

// KeywordPath implements jsonschema.ErrorKind.
func (fileViolation) KeywordPath() []string { return []string{fileKeyword} }

// LocalizedString implements jsonschema.ErrorKind.
func (v fileViolation) LocalizedString(*message.Printer) string { return string(v) }
