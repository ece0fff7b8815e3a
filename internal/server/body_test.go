package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/server"
)

// decodeProblem reads an answer that must be a problem.
func decodeProblem(t *testing.T, w *httptest.ResponseRecorder) api.Problem {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != api.ProblemType {
		t.Fatalf("Content-Type = %q with body %.300s; want %q", got, w.Body, api.ProblemType)
	}
	var p api.Problem
	d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("problem %.300s: %v", w.Body, err)
	}
	if p.Status != w.Code || p.Type != api.ProblemURN+p.Code || p.Title == "" || p.Detail == "" || p.Kind == "" || p.Request == "" {
		t.Errorf("problem is incomplete or not that of status %d: %+v", w.Code, p)
	}
	return p
}

func places(p api.Problem) []string {
	var places []string
	for _, f := range p.Errors {
		places = append(places, f.Place)
	}
	return places
}

func nested(depth int) string {
	return `{"process":"loan","variables":{"x":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}}`
}

const secret = "s3cr3t-78-05-1120"

// hostile are bodies that must be refused, with everything that is wrong named
// by its JSON pointer.
var hostile = []struct {
	name, method, path, body string
	status                   int
	code                     string
	places                   []string
}{
	{"an unknown name", "POST", "/v1/instances", `{"process":"loan","proces":"` + secret + `"}`, 400, "invalid_body", []string{"/proces"}},
	{"a name in the wrong case", "POST", "/v1/instances", `{"Process":"loan"}`, 400, "invalid_body", []string{"/process", "/Process"}},
	{"a name twice", "POST", "/v1/instances", `{"process":"loan","process":"` + secret + `"}`, 400, "invalid_json", []string{"/process"}},
	{"a name twice by an escape", "POST", "/v1/instances", `{"process":"loan","p\u0072ocess":"loan"}`, 400, "invalid_json", []string{"/process"}},
	{"a name twice deep inside the variables", "POST", "/v1/instances", `{"process":"loan","variables":{"a":[1,{"b":1,"b":2}]}}`, 400, "invalid_json", []string{"/variables/a/1/b"}},
	{"a string where an integer belongs", "POST", "/v1/instances", `{"process":"loan","version":"` + secret + `"}`, 400, "invalid_body", []string{"/version"}},
	{"a number where a string belongs", "POST", "/v1/instances", `{"process":7}`, 400, "invalid_body", []string{"/process"}},
	{"a fraction where an integer belongs", "POST", "/v1/instances", `{"process":"loan","version":1.5}`, 400, "invalid_body", []string{"/version"}},
	{"an integer of more than 64 bits", "POST", "/v1/instances", `{"process":"loan","version":1e6000}`, 400, "invalid_body", []string{"/version"}},
	{"a negative version", "POST", "/v1/instances", `{"process":"loan","version":-1}`, 400, "invalid_body", []string{"/version"}},
	{"null", "POST", "/v1/instances", `{"process":null}`, 400, "invalid_body", []string{"/process"}},
	{"variables that are no object", "POST", "/v1/instances", `{"process":"loan","variables":["` + secret + `"]}`, 400, "invalid_body", []string{"/variables"}},
	{"too many digits in a variable", "POST", "/v1/instances", `{"process":"loan","variables":{"a":[12345678901234567890123456789012345]}}`, 400, "invalid_json", []string{"/variables/a/0"}},
	{"an exponent out of range", "POST", "/v1/instances", `{"process":"loan","variables":{"a/b~c":1e99999}}`, 400, "invalid_json", []string{"/variables/a~1b~0c"}},
	{"NaN", "POST", "/v1/instances", `{"process":"loan","variables":{"a":NaN}}`, 400, "invalid_json", []string{"/variables/a"}},
	{"invalid UTF-8", "POST", "/v1/instances", "{\"process\":\"loan\",\"variables\":{\"a\":\"\xff\xfe\"}}", 400, "invalid_json", []string{"/variables/a"}},
	{"half a surrogate pair", "POST", "/v1/instances", `{"process":"loan","variables":{"a":"\ud800"}}`, 400, "invalid_json", []string{"/variables/a"}},
	{"a byte order mark", "POST", "/v1/instances", "\xef\xbb\xbf{}", 400, "invalid_json", []string{""}},
	{"more after the value", "POST", "/v1/instances", `{"process":"loan"} {}`, 400, "invalid_json", []string{""}},
	{"a body that is cut off", "POST", "/v1/instances", `{"process":"loan"`, 400, "invalid_json", []string{""}},
	{"an array as the body", "POST", "/v1/instances", `[]`, 400, "invalid_body", []string{""}},
	{"no body", "POST", "/v1/instances", ``, 400, "invalid_body", nil},
	{"an empty name", "POST", "/v1/instances", `{"process":""}`, 400, "invalid_body", []string{"/process"}},
	{"several things at once", "POST", "/v1/instances", `{"version":"1","business_key":2,"x":3}`, 400, "invalid_body", []string{"/process", "/version", "/business_key", "/x"}},
	{"a text that is too long", "POST", "/v1/tasks/1/claim", `{"assignee":"` + strings.Repeat("ü", 256) + `"}`, 400, "invalid_body", []string{"/assignee"}},
	{"a word that is not of the set", "PUT", "/v1/processes/loan/mode", `{"mode":"open"}`, 400, "invalid_body", []string{"/mode"}},
	{"no files", "POST", "/v1/deployments", `{"files":[]}`, 400, "invalid_body", []string{"/files"}},
	{"files that are not base64", "POST", "/v1/deployments", `{"files":[{"name":"a","content":"AA=="},{"name":"b","content":"*"},{"name":"","content":"AA","x":1}]}`,
		400, "invalid_body", []string{"/files/1/content", "/files/2/name", "/files/2/content", "/files/2/x"}},
	{"a body where none belongs", "POST", "/v1/instances/1/cancel", `{"reason":"` + secret + `"}`, 400, "invalid_body", []string{"/reason"}},
	{"a query where none belongs", "POST", "/v1/instances?dry_run=" + secret, `{"process":"loan"}`, 400, "invalid_query", []string{"?dry_run"}},
	{"an unknown parameter", "GET", "/v1/instances?proces=" + secret, ``, 400, "invalid_query", []string{"?proces"}},
	{"a parameter twice", "GET", "/v1/instances?process=a&process=" + secret, ``, 400, "invalid_query", []string{"?process"}},
	{"an empty parameter", "GET", "/v1/instances?status=", ``, 400, "invalid_query", []string{"?status"}},
	{"parameters out of range", "GET", "/v1/instances?limit=1001&status=" + secret, ``, 400, "invalid_query", []string{"?status", "?limit"}},
	{"a parameter that is no integer", "GET", "/v1/processes/loan?version=" + secret, ``, 400, "invalid_query", []string{"?version"}},
	{"a parameter that is neither true nor false", "GET", "/v1/tasks?unassigned=1", ``, 400, "invalid_query", []string{"?unassigned"}},
	{"a query that is not well formed", "GET", "/v1/tasks?user=%zz" + secret, ``, 400, "invalid_query", []string{"?"}},
	{"a parameter that is not UTF-8", "GET", "/v1/tasks?user=%ff", ``, 400, "invalid_query", []string{"?user"}},
	{"a path variable with a control character", "GET", "/v1/tasks/a%00b", ``, 404, "not_found", nil},
	{"a path variable that is too long", "GET", "/v1/tasks/" + strings.Repeat("x", 256), ``, 404, "not_found", nil},
	{"a body that is too deep", "POST", "/v1/instances", nested(127), 400, "invalid_json", []string{"/variables/x" + strings.Repeat("/0", 126)}},
	{"a body that is too large", "POST", "/v1/instances", `{"process":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "too_large", nil},
}

func TestHostileInputIsRefusedByPlace(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := &fakeEngine{}
			w := serve(newServer(t, e), request(c.method, c.path, c.body))
			p := decodeProblem(t, w)
			if p.Status != c.status || p.Code != c.code {
				t.Errorf("answer = %d %s (%s %+v); want %d %s", p.Status, p.Code, p.Detail, p.Errors, c.status, c.code)
			}
			want := c.places
			if got := places(p); len(want) > 0 && len(want[0]) <= 300 && !reflect.DeepEqual(got, want) {
				t.Errorf("places = %q; want %q", got, want)
			}
			if strings.Contains(w.Body.String(), secret) {
				t.Errorf("the answer quotes a value: %s", w.Body)
			}
			if len(e.calls) > 0 {
				t.Errorf("the engine was reached: %+v", e.calls)
			}
		})
	}
}

func TestHostileHeadersAreRefused(t *testing.T) {
	const good = `{"process":"loan"}`
	for _, c := range []struct {
		name   string
		change func(h http.Header)
		status int
		code   string
	}{
		{"no content type", func(h http.Header) { h.Del("Content-Type") }, 415, "unsupported_media_type"},
		{"another content type", func(h http.Header) { h.Set("Content-Type", "text/plain") }, 415, "unsupported_media_type"},
		{"a form", func(h http.Header) { h.Set("Content-Type", "application/x-www-form-urlencoded") }, 415, "unsupported_media_type"},
		{"another charset", func(h http.Header) { h.Set("Content-Type", "application/json; charset=utf-16") }, 415, "unsupported_media_type"},
		{"two content types", func(h http.Header) { h.Add("Content-Type", "application/json") }, 415, "unsupported_media_type"},
		{"a compressed body", func(h http.Header) { h.Set("Content-Encoding", "gzip") }, 415, "unsupported_media_type"},
		{"no credentials", func(h http.Header) { h.Del("Authorization") }, 401, "unauthenticated"},
		{"a wrong key", func(h http.Header) { h.Set("Authorization", "Bearer usk_"+secret) }, 401, "unauthenticated"},
		{"another scheme", func(h http.Header) { h.Set("Authorization", "Basic "+secret) }, 401, "unauthenticated"},
		{"an empty token", func(h http.Header) { h.Set("Authorization", "Bearer ") }, 401, "unauthenticated"},
		{"a token with a space", func(h http.Header) { h.Set("Authorization", "Bearer usk_good x") }, 401, "unauthenticated"},
		{"a token of 513 characters", func(h http.Header) { h.Set("Authorization", "Bearer "+strings.Repeat("x", 513)) }, 401, "unauthenticated"},
		{"two credentials", func(h http.Header) { h.Add("Authorization", "Bearer usk_good") }, 401, "unauthenticated"},
		{"an empty idempotency key", func(h http.Header) { h.Set("Idempotency-Key", "") }, 400, "invalid_idempotency_key"},
		{"an idempotency key with a space", func(h http.Header) { h.Set("Idempotency-Key", "a b") }, 400, "invalid_idempotency_key"},
		{"an idempotency key beyond ASCII", func(h http.Header) { h.Set("Idempotency-Key", "schlüssel") }, 400, "invalid_idempotency_key"},
		{"an idempotency key of 256 characters", func(h http.Header) { h.Set("Idempotency-Key", strings.Repeat("k", 256)) }, 400, "invalid_idempotency_key"},
		{"two idempotency keys", func(h http.Header) { h["Idempotency-Key"] = []string{"a", "b"} }, 400, "invalid_idempotency_key"},
		{"a purpose of 256 characters", func(h http.Header) { h.Set("Underseal-Purpose", strings.Repeat("p", 256)) }, 400, "invalid_purpose"},
		{"a purpose of two lines", func(h http.Header) { h.Set("Underseal-Purpose", "a\nb") }, 400, "invalid_purpose"},
		{"a purpose that is not UTF-8", func(h http.Header) { h.Set("Underseal-Purpose", "a\xff") }, 400, "invalid_purpose"},
		{"two purposes", func(h http.Header) { h["Underseal-Purpose"] = []string{"a", "b"} }, 400, "invalid_purpose"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := &fakeEngine{}
			r := request("POST", "/v1/instances", good)
			c.change(r.Header)
			w := serve(newServer(t, e), r)
			if p := decodeProblem(t, w); p.Status != c.status || p.Code != c.code {
				t.Errorf("answer = %d %s (%s); want %d %s", p.Status, p.Code, p.Detail, c.status, c.code)
			}
			if got := w.Header().Get("WWW-Authenticate"); (got == "Bearer") != (c.status == 401) {
				t.Errorf("WWW-Authenticate = %q with status %d", got, c.status)
			}
			if len(e.calls) > 0 || strings.Contains(w.Body.String(), secret) {
				t.Errorf("reached %d use cases; answer %s", len(e.calls), w.Body)
			}
		})
	}
}

func TestAcceptableHeadersAreAccepted(t *testing.T) {
	for name, change := range map[string]func(h http.Header){
		"a charset":                            func(h http.Header) { h.Set("Content-Type", "Application/JSON; charset=UTF-8") },
		"a scheme in lower case":               func(h http.Header) { h.Set("Authorization", "bearer usk_good") },
		"an idempotency key of 255 characters": func(h http.Header) { h.Set("Idempotency-Key", strings.Repeat("~", 255)) },
		"a purpose":                            func(h http.Header) { h.Set("Underseal-Purpose", "Prüfung der Rechnung 7") },
	} {
		t.Run(name, func(t *testing.T) {
			r := request("POST", "/v1/instances", `{"process":"loan"}`)
			change(r.Header)
			if w := serve(newServer(t, &fakeEngine{}), r); w.Code != 200 {
				t.Errorf("status = %d: %s", w.Code, w.Body)
			}
		})
	}
}

// A limit must hold for a body that does not say how long it is.
func TestBodyLimitHoldsWithoutContentLength(t *testing.T) {
	s := newServer(t, &fakeEngine{}, func(c *server.Config) { c.MaxBody, c.MaxDeployment = 64, 128 })
	for _, c := range []struct {
		path, body string
		want       int
	}{
		{"/v1/instances", `{"process":"` + strings.Repeat("x", 50) + `"}`, 200},
		{"/v1/instances", `{"process":"` + strings.Repeat("x", 51) + `"}`, 413},
		{"/v1/deployments", `{"files":[{"name":"` + strings.Repeat("x", 50) + `","content":""}]}`, 200},
		{"/v1/deployments", `{"files":[{"name":"` + strings.Repeat("x", 128) + `","content":""}]}`, 413},
	} {
		r := request("POST", c.path, c.body)
		r.ContentLength, r.Body = -1, io.NopCloser(iotest.OneByteReader(strings.NewReader(c.body)))
		w := serve(s, r)
		if w.Code != c.want {
			t.Errorf("POST %s with %d bytes = %d %s; want %d", c.path, len(c.body), w.Code, w.Body, c.want)
		}
		if got := w.Header().Get("Connection"); (got == "close") != (c.want == 413) {
			t.Errorf("Connection = %q with status %d", got, c.want)
		}
	}
}

func TestBodyThatBreaksOffIsRefused(t *testing.T) {
	r := request("POST", "/v1/instances", "")
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength, r.Body = -1, io.NopCloser(iotest.TimeoutReader(strings.NewReader(`{"process":`)))
	p := decodeProblem(t, serve(newServer(t, &fakeEngine{}), r))
	if p.Code != "invalid_body" || strings.Contains(p.Detail, "timeout") {
		t.Errorf("answer = %+v; want invalid_body without the reader's text", p)
	}
}

func TestVariablesKeepEveryDigit(t *testing.T) {
	e := &fakeEngine{}
	w := serve(newServer(t, e), request("POST", "/v1/instances",
		`{"process":"loan","variables":{"b":9007199254740993,"a":0.1234567890123456789012345678901234,"c":"<ü>"}}`))
	if w.Code != 200 {
		t.Fatalf("status = %d: %s", w.Code, w.Body)
	}
	const want = `{"a":0.1234567890123456789012345678901234,"b":9007199254740993,"c":"<ü>"}`
	if got := string(e.last(t).in.(api.StartRequest).Variables); got != want {
		t.Errorf("variables = %s; want %s", got, want)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	var names []string
	for i := range 5000 {
		names = append(names, `"`+strings.Repeat("x", 100)+strings.Repeat("é", i%150)+string(rune('0'+i%10))+strings.Repeat("y", i/10)+`":1`)
	}
	body := "{" + strings.Join(names, ",") + "}"
	s := newServer(t, &fakeEngine{}, func(c *server.Config) { c.MaxBody = 16 << 20 })
	w := serve(s, request("POST", "/v1/instances", body))
	p := decodeProblem(t, w)
	if len(p.Errors) != 101 || w.Body.Len() > 64<<10 {
		t.Errorf("%d findings in %d bytes; want 101 in at most 64 KiB", len(p.Errors), w.Body.Len())
	}
}

// FuzzBody sends any bytes to any route that reads a body. Whatever they are,
// the answer is a success or a problem of the caller's making.
func FuzzBody(f *testing.F) {
	for _, c := range hostile {
		if c.method != "GET" && len(c.body) < 10_000 {
			f.Add(c.method, c.path, []byte(c.body))
		}
	}
	f.Add("POST", "/v1/jobs/activate", []byte(`{"type":"t","worker":"w","max":3,"lease_ms":1000}`))
	f.Add("POST", "/v1/jobs/1/fail", []byte(`{"lease":"1","retries":0,"backoff_ms":10}`))
	f.Add("PATCH", "/v1/instances/1/variables", []byte(`{"variables":{"a":1.50}}`))
	e := &fakeEngine{}
	s, err := server.New(server.Config{Engine: e})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		if _, ok := map[string]bool{"POST": true, "PUT": true, "PATCH": true}[method]; !ok || !strings.HasPrefix(path, "/v1/") ||
			strings.ContainsAny(path, " ?#%\r\n\t\x00") || !isASCII(path) {
			t.Skip()
		}
		e.calls = nil
		w := serve(s, request(method, path, string(body)))
		if w.Code >= 500 || w.Code != 200 && decodeProblem(t, w).Kind == api.KindInternal {
			t.Fatalf("%s %s with %q = %d %s", method, path, body, w.Code, w.Body)
		}
		if w.Code != 200 && len(e.calls) > 0 {
			t.Fatalf("%s %s with %q was refused with %d and yet reached the engine", method, path, body, w.Code)
		}
	})
}

func isASCII(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}
