package server_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"context"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/identity"
)

// idleEngine does nothing at once, so that a benchmark sees the transport alone.
type idleEngine struct{ fakeEngine }

func (*idleEngine) Authenticate(context.Context, string, string) (identity.Caller, error) {
	return identity.Caller{Principal: "p-1", Who: somebody}, nil
}

func (*idleEngine) Start(context.Context, identity.Caller, api.StartRequest, string) (api.Receipt, error) {
	return receipt, nil
}

func (*idleEngine) CompleteJob(context.Context, identity.Caller, string, api.CompleteJobRequest, string) (api.Receipt, error) {
	return receipt, nil
}

func (*idleEngine) ActivateJobs(context.Context, identity.Caller, api.ActivateRequest) (api.Jobs, error) {
	return api.Jobs{Items: []api.Job{{
		ID: "01980000-0000-7000-8000-000000000001.4", Lease: "1.7", Instance: "01980000-0000-7000-8000-000000000001",
		Process: "loan", Element: "check", Type: "credit-check", Retries: 3, Variables: []byte(variables(8)),
	}}}, nil
}

var receipt = api.Receipt{Instance: "01980000-0000-7000-8000-000000000001", Seq: 2, Leaf: strings.Repeat("ab", 32)}

// variables returns n variables of 128 bytes each.
func variables(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, `"field_`+string(rune('a'+i))+`":"`+strings.Repeat("x", 128)+`"`)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// nullWriter drops the answer, so that a recorder's copying is not measured.
type nullWriter struct{ header http.Header }

func (w nullWriter) Header() http.Header         { return w.header }
func (w nullWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w nullWriter) WriteHeader(int)             {}

func benchmark(b *testing.B, path, body string) {
	s := newServer(b, &idleEngine{})
	target, err := url.Parse(path)
	if err != nil {
		b.Fatal(err)
	}
	w, reader := nullWriter{http.Header{}}, strings.NewReader(body)
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		s.ServeHTTP(w, &http.Request{
			Method: "POST", URL: target, Body: io.NopCloser(reader), ContentLength: int64(len(body)), RemoteAddr: "127.0.0.1:4711",
			Header: http.Header{
				"Content-Type": {"application/json"}, "Authorization": {"Bearer usk_good"}, "Idempotency-Key": {"k-1"},
			},
		})
	}
}

func BenchmarkStart(b *testing.B) {
	benchmark(b, "/v1/instances", `{"process":"loan","business_key":"order-4711","variables":`+variables(8)+`}`)
}

func BenchmarkActivate(b *testing.B) {
	benchmark(b, "/v1/jobs/activate", `{"type":"credit-check","worker":"w-1","max":8,"lease_ms":60000}`)
}

func BenchmarkCompleteJob(b *testing.B) {
	benchmark(b, "/v1/jobs/01980000-0000-7000-8000-000000000001.4/complete", `{"lease":"1.7","variables":`+variables(2)+`}`)
}
