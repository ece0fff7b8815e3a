package server_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/server"
)

// Clients of such logs send no header: the path is all they have.
func TestLogFilesAreServedToWhoeverHasThePath(t *testing.T) {
	s := newServer(t, &fakeEngine{})
	for _, c := range []struct {
		path, kind, cache string
		size              int
	}{
		{"/log/usl_good/2026/checkpoint", "text/plain; charset=utf-8", "no-store", 7},
		{"/log/usl_good/shards", "text/plain; charset=utf-8", "no-store", 7},
		{"/log/usl_good/2026/tile/0/x001/000.p/1", "application/octet-stream", "private, max-age=31536000, immutable", 32},
	} {
		r := request("GET", c.path, "")
		r.Header.Del("Authorization")
		w := serve(s, r)
		if w.Code != 200 || w.Header().Get("Content-Type") != c.kind || w.Header().Get("Cache-Control") != c.cache || w.Body.Len() != c.size {
			t.Errorf("GET %s = %d, %q, %q, %d bytes; want 200, %q, %q, %d", c.path, w.Code, w.Header().Get("Content-Type"), w.Header().Get("Cache-Control"), w.Body.Len(), c.kind, c.cache, c.size)
		}
	}
}

func TestEverybodyElseGetsTheSameAnswer(t *testing.T) {
	s := newServer(t, &fakeEngine{})
	want := ""
	for _, path := range []string{
		"/log/usl_bad/2026/checkpoint", "/log/usl_good/2025/checkpoint", "/log/usl_good/2026/tile/0/000", "/log/usl_good/2026/x", "/log/usl_bad/shards", "/log/usl_good/2026",
	} {
		r := request("GET", path, "")
		r.Header.Del("Authorization")
		w := serve(s, r)
		p := decodeProblem(t, w)
		p.Request = ""
		if got := p.Detail + p.Code; w.Code != 404 || want != "" && got != want {
			t.Errorf("GET %s = %d %+v, want 404 and the same as for others", path, w.Code, p)
		} else {
			want = got
		}
	}
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"POST", "/log/usl_good/2026/checkpoint", 405},
		{"DELETE", "/log/usl_good/2026", 405},
		{"GET", "/log/usl_good", 404},
		{"GET", "/log", 404},
		{"GET", "/log/usl_good/2026/../2026/checkpoint", 404},
	} {
		if w := serve(s, request(c.method, c.path, "")); w.Code != c.status {
			t.Errorf("%s %s = %d, want %d", c.method, c.path, w.Code, c.status)
		}
	}
}

func TestAReadersSecretIsNotWrittenDown(t *testing.T) {
	var log bytes.Buffer
	e := &fakeEngine{err: fault.New(fault.Internal, "something of ours")}
	s := newServer(t, e, func(c *server.Config) {
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	if w := serve(s, request("GET", "/log/usl_good/2026/checkpoint", "")); w.Code != 500 || strings.Contains(w.Body.String(), "usl_good") {
		t.Errorf("answer %d %s, want 500 without the secret", w.Code, w.Body)
	}
	if log.Len() == 0 || strings.Contains(log.String(), "usl_good") {
		t.Errorf("the log is %q, want lines without the secret", log.String())
	}
}

func TestAReaderThatAsksTooMuchIsToldSo(t *testing.T) {
	e := &fakeEngine{err: fault.New(fault.Unavailable, "too much").WithCode("too_many_requests")}
	if w := serve(newServer(t, e), request("GET", "/log/usl_good/2026/checkpoint", "")); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("answer %d, Retry-After %q; want 429 with a time", w.Code, w.Header().Get("Retry-After"))
	}
}
