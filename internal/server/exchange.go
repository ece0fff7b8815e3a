package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
)

// exchange is one request and its answer. Everything that is written goes
// through answer or fail, so the status is always known.
type exchange struct {
	server *Server
	op     *operation
	w      http.ResponseWriter
	r      *http.Request

	request string          // id of the request
	caller  identity.Caller // zero in a public operation
	id      string          // the variable in the path
	innerID string          // the second one
	idem    string          // idempotency key
	status  int             // of the answer; 0: none was written
}

// run serves the request up to an error, which fail then writes.
func (x *exchange) run() error {
	ctx, cancel := context.WithTimeout(x.r.Context(), x.server.config.Timeout)
	defer cancel()
	if err := x.enter(ctx); err != nil {
		return err
	}
	if err := x.readHead(); err != nil {
		return err
	}
	if x.op.streams {
		ctx = x.r.Context()
	}
	err := x.op.serve(ctx, x)
	if fault.Is(err, fault.NotFound) && x.caller.Principal != "" {
		x.server.engine.Missed(ctx, x.caller, x.op.id)
	}
	return err
}

// bearer returns the token of the one Authorization header (RFC 6750), of limit characters at
// most.
func bearer(headers []string, limit int) (string, error) {
	if len(headers) != 1 {
		return "", unauthenticated("this needs a header %q", "Authorization: Bearer usk_...")
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "bearer") || !isVisible(token, limit) {
		return "", unauthenticated("the Authorization header is not of the form %q", "Bearer usk_...")
	}
	return token, nil
}

func unauthenticated(format string, args ...any) error {
	return fault.New(fault.Denied, format, args...).WithCode(api.CodeUnauthenticated).
		WithHint("send an API key that is neither expired nor revoked, or sign in")
}

// readHead reads the path, the purpose and the idempotency key.
func (x *exchange) readHead() error {
	var err error
	if x.id, err = x.variable(x.op.param); err == nil {
		x.innerID, err = x.variable(x.op.inner)
	}
	if err == nil {
		err = x.readPurpose(x.r.Header[api.Purpose])
	}
	if err != nil {
		return err
	}
	keys := x.r.Header[api.IdempotencyKey]
	if keys == nil || x.op.method == http.MethodGet {
		return nil
	}
	if len(keys) != 1 || !isVisible(keys[0], 255) {
		return fault.New(fault.Invalid, "the header %s must be there once, with 1 to 255 visible ASCII characters",
			api.IdempotencyKey).WithCode(api.CodeInvalidIdempotencyKey)
	}
	x.idem = keys[0]
	return nil
}

// readPurpose notes what sensitive values are needed for, if the header is there.
func (x *exchange) readPurpose(headers []string) (err error) {
	switch len(headers) {
	case 0:
		return nil
	case 1:
		x.caller, err = x.caller.For(headers[0])
		return err
	}
	return fault.New(fault.Invalid, "the header %s is there %d times", api.Purpose, len(headers)).WithCode(api.CodeInvalidPurpose)
}

// variable returns a variable of the path; "" has none.
func (x *exchange) variable(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	id := x.r.PathValue(name)
	if len(id) > 255 || !isText(id) { // no id of ours, and none for an error text
		return "", fault.New(fault.NotFound, "no such %s", name)
	}
	return id, nil
}

// read fills the operation's input from the query or the body.
func (x *exchange) read(in reflect.Value) error {
	if err := bindQuery(x.op.query, x.r.URL.RawQuery, in); err != nil {
		return err
	}
	if x.op.bind == nil {
		return nil
	}
	return x.op.bindBody(x.w, x.r, in)
}

// waitable returns a context for a call that waits on purpose: it may take wait
// longer than others and ends when the server drains. The deadline for writing,
// which the listener set when the request came, is moved as well; writers that
// have none (in tests) need none.
func (x *exchange) waitable(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	if wait == 0 {
		return ctx, func() {}
	}
	limit := wait + x.server.config.Timeout
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(limit))
	ctx, cancel := context.WithTimeout(x.r.Context(), limit)
	stop := context.AfterFunc(x.server.draining, cancel)
	return ctx, func() { stop(); cancel() }
}

// answer writes a value as JSON, a document or an archive as it is.
func (x *exchange) answer(status int, out any) error {
	if d, ok := out.(document); ok {
		h := x.w.Header()
		h.Set("Content-Disposition", "attachment")
		x.write(status, "application/xml", d)
		return nil
	}
	if a, ok := out.(archive); ok {
		x.w.Header().Set("Content-Disposition", "attachment")
		x.write(status, "application/zip", a)
		return nil
	}
	if to, ok := out.(redirect); ok {
		x.w.Header().Set("Location", string(to))
		x.write(http.StatusSeeOther, "text/plain; charset=utf-8", nil)
		return nil
	}
	return x.writeJSON(status, "application/json", out)
}

func (x *exchange) writeJSON(status int, kind string, v any) error {
	buf := bodies.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxPooled {
			buf.Reset()
			bodies.Put(buf)
		}
	}()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fault.New(fault.Internal, "the answer of %s cannot be encoded: %w", x.op.id, err)
	}
	x.write(status, kind, buf.Bytes())
	return nil
}

// write sends the answer. That the client is gone is no error of anybody here.
func (x *exchange) write(status int, kind string, body []byte) {
	h := x.w.Header()
	h["Content-Type"] = []string{kind}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.status = status
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body)
}

// isVisible reports whether text has 1 to limit characters, all visible ASCII.
func isVisible(text string, limit int) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return text != "" && len(text) <= limit
}

// isText reports whether text is UTF-8 without control characters.
func isText(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}
