package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/underseal/underseal/api"
)

// The ways to say who calls, each of which is enough.
const (
	schemeBearer      = "bearer"
	schemeCookie      = "cookie"
	schemeToken       = "token"
	schemeCertificate = "certificate"
	schemeTenant      = "tenant" // goes with a token or a certificate
)

var security = []map[string][]string{
	{schemeBearer: {}}, {schemeCookie: {}}, {schemeToken: {}, schemeTenant: {}}, {schemeCertificate: {}, schemeTenant: {}},
}

// newSpec returns the API's description without its operations.
func newSpec(version string) *huma.OpenAPI {
	return &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title:   "Underseal",
			Version: orDefault(version, "0"),
			Description: "Runs business processes whose data only the right people can read and nobody can quietly change. " +
				"Errors are problem+json with a stable code. Changes take an Idempotency-Key and give the same answer again. " +
				"Numbers in variables keep every digit, 34 at most.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Security: security,
		Components: &huma.Components{
			Schemas: newRegistry(),
			SecuritySchemes: map[string]*huma.SecurityScheme{
				schemeBearer:      {Type: "http", Scheme: "bearer", Description: "an API key, usk_..., or the text of a session, uss_..."},
				schemeCookie:      {Type: "apiKey", In: "cookie", Name: cookieName, Description: "a browser's session, for what pages of this very host send"},
				schemeToken:       {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "a service's access token of an issuer that the tenant trusts"},
				schemeCertificate: {Type: "mutualTLS", Description: "a service's client certificate"},
				schemeTenant:      {Type: "apiKey", In: "header", Name: api.TenantHeader, Description: "the tenant whose service calls; no secret"},
			},
		},
	}
}

func newRegistry() huma.Registry {
	return huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
}

// describe returns the OpenAPI document of the operations. It is not made with
// their binders, though from the same schemas: it takes far more time and memory
// than those, and most servers are never asked for it.
func describe(operations []*operation, version string) ([]byte, error) {
	spec := newSpec(version)
	for _, o := range operations {
		spec.AddOperation(o.document(spec.Components.Schemas))
	}
	return marshalSpec(spec)
}

// document describes the operation.
func (o *operation) document(registry huma.Registry) *huma.Operation {
	described := *o // for compile sets the binders, which requests are using
	query, body := described.compile(registry)
	doc := &huma.Operation{
		Method: o.method, Path: o.path, OperationID: o.id, Tags: []string{o.tag}, Summary: o.summary,
		Responses: o.responses(registry),
	}
	if o.public {
		doc.Security = []map[string][]string{}
	}
	for _, name := range []string{o.param, o.inner} {
		if name == "" {
			continue
		}
		doc.Parameters = append(doc.Parameters, &huma.Param{
			Name: name, In: "path", Required: true, Schema: &huma.Schema{Type: "string", MaxLength: pointer(255)},
		})
	}
	if o.changes() {
		doc.Parameters = append(doc.Parameters, &huma.Param{
			Name: api.IdempotencyKey, In: "header", Description: "repeats of the change carry the same key and get the same answer",
			Schema: &huma.Schema{Type: "string", MinLength: pointer(1), MaxLength: pointer(255), Pattern: "^[!-~]+$"},
		})
	}
	if showsValues(o.out) || o.purpose {
		doc.Parameters = append(doc.Parameters, &huma.Param{
			Name: api.Purpose, In: "header", Description: "what sensitive values are needed for, where a grant to reveal them or the operation needs that; goes into the log",
			Schema: &huma.Schema{Type: "string", MaxLength: pointer(255)},
		})
	}
	if o.streams {
		o.describeFile(doc)
	}
	doc.Parameters = append(doc.Parameters, query...)
	switch {
	case o.form:
		doc.RequestBody = &huma.RequestBody{Required: true, Content: content(formType, body)}
	case body != nil:
		doc.RequestBody = &huma.RequestBody{Required: described.needsBody, Content: content("application/json", body)}
	}
	return doc
}

// showsValues reports whether an answer holds values of instances, some of which may be
// masked.
func showsValues(t reflect.Type) bool {
	switch {
	case t == reflect.TypeFor[fileBytes](), t == reflect.TypeFor[archive]():
		return true
	case t.Kind() == reflect.Slice:
		return showsValues(t.Elem())
	case t.Kind() != reflect.Struct:
		return false
	}
	for _, f := range reflect.VisibleFields(t) {
		if f.Name == "Masked" || f.Name == "Items" && showsValues(f.Type) {
			return true
		}
	}
	return false
}

func (o *operation) responses(registry huma.Registry) map[string]*huma.Response {
	answer := content("application/xml", &huma.Schema{Type: "string", Format: "binary"})
	switch {
	case o.path == "/openapi.json":
		answer = content("application/json", &huma.Schema{Type: "object"})
	case o.out == reflect.TypeFor[archive]():
		answer = content("application/zip", &huma.Schema{Type: "string", Format: "binary"})
	case o.out == reflect.TypeFor[lines]():
		answer = content("application/x-ndjson", &huma.Schema{Type: "string", Format: "binary"})
	case o.out != reflect.TypeFor[document]() && o.out != reflect.TypeFor[fileBytes]():
		answer = content("application/json", registry.Schema(o.out, true, ""))
	}
	if o.page {
		answer["text/html"] = &huma.MediaType{Schema: &huma.Schema{Type: "string"}}
	}
	responses := map[string]*huma.Response{
		"200": {Description: http.StatusText(http.StatusOK), Content: answer},
		"default": {
			Description: "a problem",
			Content:     content(api.ProblemType, registry.Schema(reflect.TypeFor[api.Problem](), true, "")),
		},
	}
	if o.out == reflect.TypeFor[redirect]() {
		delete(responses, "200")
		responses[strconv.Itoa(http.StatusSeeOther)] = &huma.Response{Description: "the browser is sent on"}
	}
	if o.path == readiness {
		responses[strconv.Itoa(http.StatusServiceUnavailable)] = &huma.Response{
			Description: "not ready; the checks say what is missing", Content: answer,
		}
	}
	return responses
}

func content(kind string, s *huma.Schema) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{kind: {Schema: s}}
}

// marshalSpec returns the finished document.
func marshalSpec(spec *huma.OpenAPI) ([]byte, error) {
	requests := requestSchemas(spec)
	for name, s := range spec.Components.Schemas.Map() {
		tidy(s, requests[name])
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Indent(&out, data, "", "  ")
	out.WriteByte('\n')
	return out.Bytes(), err
}

// requestSchemas names the schemas that requests are made of.
func requestSchemas(spec *huma.OpenAPI) map[string]bool {
	names := map[string]bool{}
	var add func(s *huma.Schema)
	add = func(s *huma.Schema) {
		for name, known := range spec.Components.Schemas.Map() {
			if s.Ref == "#/components/schemas/"+name {
				names[name] = true
				add(known)
			}
		}
		if s.Items != nil {
			add(s.Items)
		}
		for _, p := range s.Properties {
			add(p)
		}
	}
	for _, item := range spec.Paths {
		for _, o := range []*huma.Operation{item.Post, item.Put, item.Patch} {
			if o == nil || o.RequestBody == nil {
				continue
			}
			if body := o.RequestBody.Content["application/json"]; body != nil { // else a file
				add(body.Schema)
			}
		}
	}
	return names
}

// tidy says what huma cannot know: raw JSON is always an object, nothing is
// ever null, and answers, other than requests, may gain names later.
func tidy(s *huma.Schema, request bool) {
	if !request {
		s.AdditionalProperties = nil
	}
	for _, p := range s.Properties {
		p.Nullable = false
		if p.Type == "" && p.Ref == "" {
			p.Type, p.AdditionalProperties = "object", true
		}
	}
}

func pointer[T any](v T) *T { return &v }
