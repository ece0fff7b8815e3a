package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestDoctorTellsWhatReadinessSays(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   string
	}{
		{200, `{"status":"ok","checks":{"keys":"ok","log":"ok"}}`, "ok      server is ready: "},
		{200, `{"status":"degraded","checks":{"keys":"ok","log":"degraded"}}`, "failed  server is ready: /readyz answers 200 OK, degraded; keys: ok; log: degraded\n"},
		{503, `{"status":"unavailable","checks":{"keys":"unavailable"}}`, "failed  server is ready: /readyz answers 503 Service Unavailable, unavailable; keys: unavailable\n"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/readyz" {
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}
		}))
		var out, errs bytes.Buffer
		run(t.Context(), []string{"doctor", "--server", server.URL}, strings.NewReader(""), &out, &errs)
		server.Close()
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("%d %s: doctor says\n%s, want %q", c.status, c.body, out.String(), c.want)
		}
	}
}
