package server_test

import (
	"bytes"
	"net/http/httptest"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

// An export of the audit that ends early must not look whole.
func TestAnExportThatFailsHasNoEnd(t *testing.T) {
	for name, c := range map[string]struct {
		engine *fakeEngine
		format string
		whole  bool
	}{
		"whole":              {&fakeEngine{exported: 3000}, "jsonl", true},
		"whole, as OCSF":     {&fakeEngine{exported: 3000}, "ocsf", true},
		"whole, as CEF":      {&fakeEngine{exported: 3000}, "cef", true},
		"failed in between":  {&fakeEngine{exported: 3000, exportErr: fault.New(fault.Integrity, "x")}, "jsonl", false},
		"failed at once":     {&fakeEngine{exportErr: fault.New(fault.Integrity, "x")}, "jsonl", false},
		"failed before":      {&fakeEngine{err: fault.New(fault.Denied, "x")}, "jsonl", false},
		"of no known format": {&fakeEngine{exported: 1}, "xml", false},
	} {
		t.Run(name, func(t *testing.T) {
			ts := httptest.NewServer(newServer(t, c.engine))
			defer ts.Close()
			var got bytes.Buffer
			cl, err := client.New(client.Config{URL: ts.URL, Key: goodKey})
			if err != nil {
				t.Fatal(err)
			}
			err = cl.ExportAudit(t.Context(), api.AuditExportQuery{Format: c.format}, &got)
			if (err == nil) != c.whole {
				t.Errorf("the export ends with %v, want whole %v", err, c.whole)
			}
			if lines := bytes.Count(got.Bytes(), []byte("\n")); c.whole && lines != c.engine.exported {
				t.Errorf("%d lines, want %d", lines, c.engine.exported)
			}
		})
	}
}
