//go:build !windows

package main

import (
	"crypto/x509"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/server"
	"github.com/underseal/underseal/internal/witness"
	"github.com/underseal/underseal/ledger"
)

var figureLine = regexp.MustCompile(`(?m)^# TYPE (underseal_\w+) `)

func TestTheOperationsPageListsEveryFigure(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key := must(witness.GenerateKey(filepath.Join(dir, "w1.key"), "w.example"))
	n := must(node.Open(t.Context(), node.Config{
		Data: filepath.Join(dir, "data"), KeyFile: filepath.Join(dir, "root.key"), Create: true,
		Anchor: anchor.Config{
			Witnesses: []anchor.Witness{{Key: must(ledger.ParseVerifier(key.Verifier())), URL: "http://127.0.0.1:9"}}, Quorum: 1,
			Authority: &anchor.Authority{URL: "http://127.0.0.1:9", Root: &x509.Certificate{}},
		},
	}))
	defer n.Close()
	metrics := must(server.NewMetrics(n.Collectors()...))
	handler := must(server.New(server.Config{Engine: n.Engine, Metrics: metrics}))
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/healthz", nil)) // some figures begin with a request
	scraped := httptest.NewRecorder()
	metrics.Handler().ServeHTTP(scraped, httptest.NewRequest("GET", "/metrics", nil))
	figures := figureLine.FindAllStringSubmatch(scraped.Body.String(), -1)
	if len(figures) < 20 {
		t.Errorf("only %d figures were looked at", len(figures))
	}
	for _, f := range figures {
		if !strings.Contains(string(page), "`"+f[1]+"`") && !strings.Contains(string(page), "`"+f[1]+"{") {
			t.Errorf("docs/operations.md does not say what %s means", f[1])
		}
	}
}
