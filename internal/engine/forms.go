package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// forms remembers compiled forms by the hash of their bytes.
type forms struct{ known sync.Map } // [32]byte -> *form

// form is a JSON Schema with its bytes.
type form struct {
	data   []byte
	schema *jsonschema.Schema
	named  []string // paths of the properties that it names, as policies spell them
}

// form returns a form of a definition; nil when the task has none.
func (e *Engine) form(ctx context.Context, d *definition, name string) (*form, error) {
	if name == "" {
		return nil, nil
	}
	hash, ok := d.files[name]
	if !ok {
		return nil, d.tampered("has no form %q", name)
	}
	if f, ok := e.forms.known.Load(hash); ok {
		return f.(*form), nil
	}
	data, err := e.resource(ctx, &d.object, hash)
	if err != nil {
		return nil, err
	}
	f, err := parseForm(name, data)
	if err != nil {
		return nil, err
	}
	e.forms.known.Store([sha256.Size]byte(hash), f)
	return f, nil
}

// parseForm compiles a JSON Schema. References to other documents are refused:
// a form must not make the server fetch anything.
func parseForm(name string, data []byte) (*form, error) {
	if err := canon.CheckJSON(data); err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s is not JSON: %v", name, err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	compiler.UseLoader(closedLoader{})
	files, err := fileVocabulary()
	if err != nil {
		return nil, err
	}
	compiler.RegisterVocabulary(files)
	compiler.AssertVocabs()
	const location = "underseal:///form.json" // hierarchical, so that a relative reference is one to another document
	if err := compiler.AddResource(location, document); err != nil {
		return nil, fault.New(fault.Invalid, "%s is not a JSON Schema: %v", name, err)
	}
	schema, err := compiler.Compile(location)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s is not a JSON Schema: %v", name, err)
	}
	var walk formWalk
	walk.inside(schema, "")
	return &form{data, schema, walk.named}, nil
}

type closedLoader struct{}

func (closedLoader) Load(url string) (any, error) {
	return nil, errors.New("references to other documents are not followed")
}

// check validates what somebody entered. Each finding has a JSON pointer; no
// finding quotes a value.
func (f *form) check(entered []byte) error {
	if f == nil {
		return nil
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(entered))
	if err != nil {
		return fault.New(fault.Invalid, "the variables are not JSON")
	}
	var invalid *jsonschema.ValidationError
	if err := f.schema.Validate(document); !errors.As(err, &invalid) {
		return err
	}
	refusal := fault.New(fault.Invalid, "what was entered does not fit the form").WithCode("form_violation")
	return refusal.WithDetails(violations(invalid, nil)...)
}

// violations flattens a validation error into its leaves.
func violations(v *jsonschema.ValidationError, found []fault.Detail) []fault.Detail {
	for _, cause := range v.Causes {
		found = violations(cause, found)
	}
	if len(v.Causes) > 0 {
		return found
	}
	return append(found, fault.Detail{Place: "/variables" + pointer(v.InstanceLocation), Message: expectation(v.ErrorKind)})
}

// expectation says what a form wants at a place. It names types, bounds and
// property names, all from the form, and never what was entered.
func expectation(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Required:
		return "lacks " + quoted(k.Missing)
	case *kind.AdditionalProperties:
		return "has properties the form does not know: " + quoted(k.Properties)
	case *kind.Type:
		return "must be of type " + strings.Join(k.Want, " or ")
	case *kind.Enum:
		return fmt.Sprintf("must be one of %v", k.Want)
	case *kind.Const:
		return fmt.Sprintf("must be %v", k.Want)
	case *kind.Format:
		return "must be a valid " + k.Want
	case *kind.Pattern:
		return "must match the pattern " + k.Want
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters", k.Want)
	case *kind.Minimum:
		return "must be at least " + rational(k.Want)
	case *kind.Maximum:
		return "must be at most " + rational(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + rational(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + rational(k.Want)
	case fileViolation:
		return string(k)
	case *kind.MultipleOf:
		return "must be a multiple of " + rational(k.Want)
	}
	return "does not satisfy " + strings.Join(k.KeywordPath(), "/")
}

func quoted(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = strconv.Quote(name)
	}
	return strings.Join(list, ", ")
}

func rational(r *big.Rat) string {
	text := r.FloatString(10)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

func pointer(tokens []string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString("/" + escape.Replace(t))
	}
	return b.String()
}
