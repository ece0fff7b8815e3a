package server_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/node"
)

// queries are what calls that are looked at ask of the databases, of data and keys.
type queries struct {
	mu   sync.Mutex
	list []string
}

type lookedAt struct{}

func (q *queries) note(ctx context.Context, tenant, query string, rows int) {
	if ctx.Value(lookedAt{}) == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, fmt.Sprintf("%s: %d rows of %s", tenant, rows, strings.Join(strings.Fields(query), " ")))
}

// during returns what a call asks for, in no order.
func (q *queries) during(call func()) []string {
	q.mu.Lock()
	q.list = nil
	q.mu.Unlock()
	call()
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Sorted(slices.Values(q.list))
}

// TestAnothersIDTakesTheWayOfAMissingOne asks every endpoint of the API's description that
// names something, as somebody of another company, for what is there and for what is not:
// the databases are asked the same and answer as much, so that the time does not say which
// it was. Nothing is opened that was not read.
func TestAnothersIDTakesTheWayOfAMissingOne(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: left out by -short")
	}
	q := &queries{}
	m := newMatrix(t, func(c *node.Config) { c.Observe = q.note })
	key := m.env.Tenant("acme").Key()
	spec, asked := readSpec(t), 0
	for _, path := range slices.Sorted(maps.Keys(spec.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(spec.Paths[path])) {
			id := spec.Paths[path][method].OperationID
			if !m.names(path + matrixInput[id]) {
				continue
			}
			theirs := func() { m.ask(key, method, path, id, matrixInput[id], func(name string) string { return m.ids[name] }) }
			gone := func() { m.ask(key, method, path, id, matrixInput[id], missing) }
			theirs() // what is remembered is remembered of both
			gone()
			a, b := q.during(theirs), q.during(gone)
			if asked += len(a); !slices.Equal(a, b) {
				t.Errorf("%s: for what is another company's the databases are asked\n%s\nfor what is not there\n%s", id, strings.Join(a, "\n"), strings.Join(b, "\n"))
			}
		}
	}
	if asked < 20 {
		t.Errorf("only %d queries were seen", asked)
	}
}

// browsersSignIn are the requests by which a browser signs somebody in.
var browsersSignIn = map[string]string{
	"/v1/sessions":               `{"tenant":"acme","name":"zoe","password":"p","cookie":true}`,
	"/v1/sessions/passkey/begin": "",
	"/v1/sessions/passkey":       `{"user":"A","answer":{"id":"A","client_data":"A","authenticator_data":"A","signature":"A"},"cookie":true}`,
	"/v1/setup":                  `{"link":"usi_x","password":"p"}`,
}

// No page of another site signs somebody in here, as whoever it likes.
func TestNoOtherSiteSignsAnybodyIn(t *testing.T) {
	for path, body := range browsersSignIn {
		for name, head := range map[string][]string{
			"another site": {"Sec-Fetch-Site", "cross-site"}, "a sister's": {"Sec-Fetch-Site", "same-site"},
			"an old browser's": {"Origin", "https://evil.example"}, "a sandboxed frame's": {"Origin", "null"},
		} {
			e := &fakeEngine{}
			w := serve(newServer(t, e), browse("POST", path, body, "seal.example.org", "", head...))
			if w.Code != 403 || !strings.Contains(w.Body.String(), `"cross_origin"`) || len(e.calls) > 0 || len(w.Result().Cookies()) > 0 {
				t.Errorf("%s by %s page: %d, %d calls, %s", path, name, w.Code, len(e.calls), w.Body)
			}
		}
		e := &fakeEngine{}
		if w := serve(newServer(t, e), browse("POST", path, body, "seal.example.org", "", "Sec-Fetch-Site", "same-origin")); w.Code != 200 || len(e.calls) != 1 {
			t.Errorf("%s by our own page: %d %s", path, w.Code, w.Body)
		}
	}
}

// Each way that begins a session in a browser tells which one the browser had, and who the
// connection says that they are, whatever headers a caller writes.
func TestWhatASignInIsToldOfABrowser(t *testing.T) {
	forged := map[string]string{
		"X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1;host=evil.example", "X-Real-Ip": "10.0.0.1",
		"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "X-Original-Host": "evil.example",
	}
	requests := map[string]*http.Request{
		"an issuer's answer": visit("/v1/login/acme/corp/done?code=c&state=s", goodAttempt),
		"an issuer's begin":  visit("/v1/login/acme/corp", ""),
		"a cookie":           browse("GET", "/v1/tasks", "", "seal.example.org", goodSession, "Sec-Fetch-Site", "same-origin"),
	}
	for path, body := range browsersSignIn {
		if !strings.HasSuffix(path, "begin") { // which is told nothing
			requests[path] = browse("POST", path, body, "seal.example.org", "", "Sec-Fetch-Site", "same-origin")
		}
	}
	for name, r := range requests {
		if name != "a cookie" {
			r.Header.Add("Cookie", cookieName+"=uss_planted")
		}
		for header, value := range forged {
			r.Header.Set(header, value)
		}
		r.RemoteAddr = "192.0.2.9:999"
		e := &fakeEngine{}
		if w := serve(newServer(t, e), r); w.Code >= 400 {
			t.Fatalf("%s: %d %s", name, w.Code, w.Body)
		}
		got := e.last(t)
		host, former := "", ""
		switch in := got.in.(type) {
		case engine.LoginAnswer:
			host, former = in.From.Host, in.From.Former
		case engine.Login:
			if host, former = in.From.Host, in.From.Former; got.idem != "https://seal.example.org:8700/v1/login/acme/corp/done" {
				t.Errorf("%s: the browser is sent back to %s", name, got.idem)
			}
		default:
			host, former = got.id, got.idem
		}
		if got.caller.Address != "192.0.2.9" {
			t.Errorf("%s: it comes from %q, want the other end of the connection", name, got.caller.Address)
		}
		if name != "a cookie" && got.name != "Setup" && (host != "seal.example.org" || former != "uss_planted") {
			t.Errorf("%s: of host %q, in place of %q", name, host, former)
		}
	}
}
