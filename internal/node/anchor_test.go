package node_test

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	_ "modernc.org/sqlite"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/witness"
	"github.com/underseal/underseal/ledger"
)

// TestATenantsLogIsAnchoredAndAHaltStopsIt has a node seen by a witness; then its
// anchor log is set back behind its back.
func TestATenantsLogIsAnchoredAndAHaltStopsIt(t *testing.T) {
	key, err := witness.GenerateKey(filepath.Join(t.TempDir(), "key"), "w.example")
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := ledger.ParseVerifier(key.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	var seen atomic.Pointer[witness.Witness] // nil: does not know the log yet
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		if w := seen.Load(); w != nil {
			w.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(out, in)
			return
		}
		http.NotFound(out, in)
	}))
	defer server.Close()
	var lines bytes.Buffer
	cfg := config(t)
	cfg.Log = slog.New(slog.NewJSONHandler(&lines, nil))
	cfg.Anchor = anchor.Config{Witnesses: []anchor.Witness{{Key: verifier, URL: server.URL}}, Quorum: 1, Interval: time.Millisecond}
	n, err := node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var line struct {
		Key string `json:"vkey"`
	}
	if err := json.Unmarshal(bytes.SplitAfter(lines.Bytes(), []byte("\n"))[0], &line); err != nil || line.Key == "" {
		t.Fatalf("the key for witnesses is not told: %s", lines.String())
	}
	w, err := witness.Open(witness.Config{Key: key, State: t.TempDir(), Logs: []witness.Log{{Key: line.Key}}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	seen.Store(w)
	annsKey, err := n.CreateAPIKey(t.Context(), "ann", "Admin") // leaves a leaf
	if err != nil {
		t.Fatal(err)
	}
	sum := anchorFile(t, line.Key)
	for { // until the witness has seen something
		if _, err := w.Newest(sum); err == nil {
			break
		}
	}
	if err := n.Engine.Ready(t.Context())["log"]; err != nil {
		t.Errorf("not ready: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	db, err := sql.Open("sqlite", filepath.Join(cfg.Data, "data.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`DELETE FROM anchor_hashes`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	cfg.Log = nil
	n, err = node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.Engine.Ready(t.Context())["log"]; fault.CodeOf(err) != api.CodeDegraded {
		t.Errorf("readiness says %v, want degraded", err)
	}
	before := signedSize(t, n, annsKey)
	if _, err := n.CreateAPIKey(t.Context(), "bob", "Admin"); err != nil {
		t.Fatal(err)
	}
	for figure(t, n, "underseal_log_stopped_tenants") != 1 {
		if size := signedSize(t, n, annsKey); size != before {
			t.Fatalf("the tenant's log signs on, at size %d after %d", size, before)
		}
	}
}

// signedSize is the size of the newest checkpoint of the tenant's log.
func signedSize(t *testing.T, n *node.Node, key string) uint64 {
	t.Helper()
	ann, err := n.Engine.Authenticate(t.Context(), key, "")
	if err != nil {
		t.Fatal(err)
	}
	logs, err := n.Engine.LogShards(t.Context(), ann)
	if err != nil || len(logs.Items) != 1 {
		t.Fatalf("%+v, %v, want one log", logs, err)
	}
	return logs.Items[0].Size
}

// anchorFile is the SHA-256 of the origin that a key is named after.
func anchorFile(t *testing.T, vkey string) string {
	t.Helper()
	key, err := ledger.ParseVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Hash(sha256.Sum256([]byte(key.Name()))).String()
}

func figure(t *testing.T, n *node.Node, name string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(n.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no figure %s", name)
	return 0
}
