package node_test

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	_ "modernc.org/sqlite"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/internal/witness"
	"github.com/underseal/underseal/ledger"
)

// watched is a node whose anchor log a witness sees, or does not.
type watched struct {
	t       *testing.T
	config  node.Config
	log     lines
	key     string // of the anchor log
	ann     string // the API key that the newest setup link gave, the only one that admits her
	witness *witness.Witness
	there   atomic.Bool // the witness answers
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

// taken returns what was written since it was called last.
func (l *lines) taken() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

func newWatched(t *testing.T) (*watched, *node.Node) {
	t.Helper()
	key, err := witness.GenerateKey(filepath.Join(t.TempDir(), "key"), "w.example")
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := ledger.ParseVerifier(key.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t, config: config(t)}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		if w.there.Load() {
			w.witness.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(out, in)
			return
		}
		http.NotFound(out, in)
	}))
	t.Cleanup(server.Close)
	w.config.Log = slog.New(slog.NewJSONHandler(&w.log, nil))
	w.config.Anchor = anchor.Config{Witnesses: []anchor.Witness{{Key: verifier, URL: server.URL}}, Quorum: 1, Interval: time.Millisecond}
	n := w.open()
	var line struct {
		Key string `json:"vkey"`
	}
	text := w.log.taken()
	if err := json.Unmarshal([]byte(strings.SplitAfter(text, "\n")[0]), &line); err != nil || line.Key == "" {
		t.Fatalf("the key for witnesses is not told: %s", text)
	}
	w.key = line.Key
	if w.witness, err = witness.Open(witness.Config{Key: key, State: t.TempDir(), Logs: []witness.Log{{Key: line.Key}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.witness.Close() })
	w.there.Store(true)
	return w, n
}

func (w *watched) open() *node.Node {
	w.t.Helper()
	n, err := node.Open(w.t.Context(), w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *watched) close(n *node.Node) {
	w.t.Helper()
	if err := n.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// seen waits until the witness has cosigned a head of more entries than so many.
func (w *watched) seen(entries uint64) {
	w.t.Helper()
	file := anchorFile(w.t, w.key)
	testenv.Until(w.t, "the witness has cosigned a larger head", func() bool {
		signed, err := w.witness.Newest(file)
		if err != nil {
			return false
		}
		c, err := ledger.UnverifiedCheckpoint(signed)
		if err != nil {
			w.t.Fatal(err)
		}
		return c.Size > entries
	})
}

// written leaves a leaf: Ann is let in anew.
func (w *watched) written(n *node.Node) {
	w.t.Helper()
	key, err := testenv.SetUp(w.t.Context(), n.Engine)
	if err != nil {
		w.t.Fatal(err)
	}
	w.ann = key
}

// exec changes a database of a node that is closed.
func (w *watched) exec(file, text string) {
	w.t.Helper()
	db := w.database(file)
	defer db.Close()
	if _, err := db.Exec(text); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) database(file string) *sql.DB {
	w.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.config.Data, file))
	if err != nil {
		w.t.Fatal(err)
	}
	return db
}

// signsNothing requires that a node which is halted, or waits, signs no more.
func (w *watched) signsNothing(n *node.Node, halted bool) {
	w.t.Helper()
	before := signedSize(w.t, n, w.ann)
	w.written(n)
	stops := func() bool { return figure(w.t, n, "underseal_log_stopped_tenants") == 1 }
	if !halted {
		stops = func() bool { return strings.Contains(w.log.taken(), "a tenant's log waits") }
	}
	testenv.Until(w.t, "the tenant's log stops or waits", func() bool {
		if size := signedSize(w.t, n, w.ann); size != before {
			w.t.Fatalf("the tenant's log signs on, at size %d after %d", size, before)
		}
		return stops()
	})
	if size := signedSize(w.t, n, w.ann); size != before {
		w.t.Fatalf("the tenant's log has signed on, at size %d after %d", size, before)
	}
	if err := n.Engine.Ready(w.t.Context())["log"]; fault.CodeOf(err) != api.CodeDegraded || fault.Is(err, fault.Integrity) != halted {
		w.t.Errorf("readiness says %v, want degraded", err)
	}
}

// TestATenantsLogIsAnchoredAndAHaltStopsIt has a node seen by a witness; then its
// anchor log is set back behind its back.
func TestATenantsLogIsAnchoredAndAHaltStopsIt(t *testing.T) {
	if testing.Short() {
		t.Skip("a server that is started again and again")
	}
	w, n := newWatched(t)
	w.written(n)
	w.seen(0)
	if err := n.Engine.Ready(t.Context())["log"]; err != nil {
		t.Errorf("not ready: %v", err)
	}
	w.close(n)
	w.exec("data.db", `DELETE FROM anchor_hashes`)
	n = w.open()
	w.signsNothing(n, true)
	w.close(n)

	// It stays so when nobody is asked any more.
	seen := w.config.Anchor
	w.config.Anchor = anchor.Config{}
	n = w.open()
	w.signsNothing(n, true)
	w.close(n)

	// Neither is one begun anew when everything of it is gone.
	w.exec("keys.db", `DELETE FROM anchor_heads`)
	w.exec("data.db", `DELETE FROM anchor_hashes; DELETE FROM anchor_openings; DELETE FROM anchor_checkpoints`)
	if n, err := node.Open(t.Context(), w.config); !fault.Is(err, fault.Integrity) || fault.CodeOf(err) != "behind_checkpoint" {
		if err == nil {
			w.close(n)
		}
		t.Errorf("without any row of the anchor log the start says: %v", err)
	}
	var found []engine.Finding
	err := node.Check(t.Context(), w.config, node.CheckConfig{Part: func(_ string, _ engine.CheckState, some []engine.Finding) error {
		found = append(found, some...)
		return nil
	}})
	if err != nil || len(found) != 1 || found[0].Kind != engine.FoundKeys || found[0].Where != "anchor_heads" {
		t.Errorf("the check finds %+v, %v, want that the head is gone", found, err)
	}

	w.config.Anchor, w.config.Restored = seen, true
	n = w.open()
	defer w.close(n)
	if err := n.Engine.Ready(t.Context())["log"]; err != nil {
		t.Errorf("after a restore: %v", err)
	}
	db := w.database("keys.db")
	defer db.Close()
	var number int64
	if err := db.QueryRow(`SELECT max(log) FROM anchor_heads`).Scan(&number); err != nil || number <= 1 {
		t.Errorf("after a restore the anchor log has number %d, %v, want another", number, err)
	}
}

// TestNothingIsSignedBeforeWitnessesConfirm starts a node while its witness is away: with
// the data that the witness has seen, and with data and keys that were set back together.
func TestNothingIsSignedBeforeWitnessesConfirm(t *testing.T) {
	if testing.Short() {
		t.Skip("a database that is set back again and again")
	}
	w, n := newWatched(t)
	w.written(n)
	w.seen(0)
	w.close(n)
	old, ann := filepath.Join(t.TempDir(), "data"), w.ann
	if err := os.CopyFS(old, os.DirFS(w.config.Data)); err != nil {
		t.Fatal(err)
	}
	db := w.database("keys.db")
	var entries uint64
	if err := errors.Join(db.QueryRow(`SELECT max(size) FROM anchor_heads`).Scan(&entries), db.Close()); err != nil || entries == 0 {
		t.Fatalf("a head of %d entries, %v", entries, err)
	}

	w.there.Store(false)
	w.log.taken()
	n = w.open()
	w.signsNothing(n, false)
	before := signedSize(t, n, w.ann)
	w.there.Store(true)
	testenv.Until(t, "the witness has confirmed", func() bool { return signedSize(t, n, w.ann) > before })
	w.seen(entries)
	w.close(n)

	w.there.Store(false)
	w.config.Data, w.ann = old, ann
	w.log.taken()
	n = w.open()
	defer w.close(n)
	w.signsNothing(n, false)
	w.there.Store(true)
	testenv.Until(t, "the witness has contradicted", func() bool {
		return fault.Is(n.Engine.Ready(t.Context())["log"], fault.Integrity)
	})
	w.signsNothing(n, true)
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
