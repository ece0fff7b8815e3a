package server

import (
	"context"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// operation is one route: how it is documented, what it reads, what it does.
type operation struct {
	method, path string
	id           string // operationId: camel case, unique
	tag, summary string
	in, out      reflect.Type
	serve        func(ctx context.Context, x *exchange) error

	public  bool  // answers without credentials
	proves  bool  // is for who signed in by a password that is not enough, too
	free    bool  // public, and not counted as a call of a stranger
	unkeyed bool  // takes no idempotency key though it is no GET
	purpose bool  // takes a purpose though it shows no values
	streams bool  // its body or answer may be of any size
	form    bool  // its body is an HTML form, which it reads itself
	page    bool  // it may answer a browser with a page
	limit   int64 // bytes of the body; 0: the general limit

	param     string // name of the variable in the path, may be empty
	inner     string // name of the second one, may be empty
	query     []queryField
	bind      binder // nil: no body
	needsBody bool
	series    series
}

// none is the input of an operation that reads neither query nor body.
type none struct{}

// document is an answer that is not JSON of ours: a model's original bytes.
type document []byte

// archive is an answer that is a zip file.
type archive []byte

// newOperation makes an operation of a function. GET reads its input from the
// query, every other method from the body.
func newOperation[In, Out any](method, path, id, tag, summary string,
	do func(ctx context.Context, x *exchange, in In) (Out, error),
) *operation {
	return &operation{
		method: method, path: path, id: id, tag: tag, summary: summary,
		in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), param: pathVariable(path),
		serve: func(ctx context.Context, x *exchange) error {
			var in In
			if err := x.read(reflect.ValueOf(&in).Elem()); err != nil {
				return err
			}
			out, err := do(ctx, x, in)
			if err != nil {
				return err
			}
			return x.answer(http.StatusOK, out)
		},
	}
}

// pathVariable returns the name between the braces of a path.
func pathVariable(path string) string {
	_, after, _ := strings.Cut(path, "{")
	name, _, _ := strings.Cut(after, "}")
	return name
}

// changes reports whether the operation takes an idempotency key.
func (o *operation) changes() bool { return o.method != http.MethodGet && !o.unkeyed }

// ends reports whether the operation takes away what somebody could do harm with, or lifts
// the limits that they have used up. It has a limit of its own: who has stolen a credential
// and calls until nobody of the tenant may any more cannot stay by that.
func (o *operation) ends() bool {
	return endings[o.id]
}

var endings = map[string]bool{
	"signOut": true, "revokeSession": true, "endUserSessions": true, "endAllSessions": true,
	"revokeUser": true, "disableUser": true, "unlinkUser": true, "removePasskey": true, "revokeAPIKey": true,
	"revokeGrant": true, "takeUserRole": true, "takeGroupRole": true, "leaveGroup": true,
	"removeIssuer": true, "revokeSigner": true, "revokeLogReader": true, "endBreakGlass": true,
	"disableTenant": true, "setLimits": true,
}

// finds reports whether the operation names what there is of that. Where other limits are
// used up, it has what is for ends.
func (o *operation) finds() bool {
	return findings[o.id]
}

var findings = map[string]bool{
	"listSessions": true, "listAPIKeys": true, "listGrants": true, "getUser": true,
	"listIssuers": true, "listSigners": true, "listLogReaders": true, "listBreakGlass": true,
}

// compile makes the operation's binders and returns what they were made from:
// the parameters of its query, or the schema of its body.
func (o *operation) compile(registry huma.Registry) (query []*huma.Param, body *huma.Schema) {
	switch {
	case o.method == http.MethodGet || o.streams:
		o.query, query = queryFields(registry, o.in)
	case o.form:
		body = registry.Schema(o.in, true, "")
	case o.in == reflect.TypeFor[none](): // no body, or an empty object
		o.bind = newBinder(registry, o.in, &huma.Schema{Type: huma.TypeObject})
	default:
		body = registry.Schema(o.in, true, "")
		o.bind = newBinder(registry, o.in, body)
		o.needsBody = len(registry.SchemaFromRef(body.Ref).Required) > 0
	}
	return query, body
}
