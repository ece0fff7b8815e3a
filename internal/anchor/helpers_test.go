package anchor_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"
	_ "modernc.org/sqlite"

	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/witness"
	"github.com/underseal/underseal/ledger"
)

const deployment = "d1"

var anchorSeed = bytes.Repeat([]byte{5}, ed25519.SeedSize)

// must returns the value of a call that cannot fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A network answers by hosts, without a socket, so that time in tests is virtual.
type network struct {
	mu    sync.Mutex
	hosts map[string]http.Handler // nil: away
	calls map[string]int
}

func newNetwork() *network {
	return &network{hosts: map[string]http.Handler{}, calls: map[string]int{}}
}

func (n *network) set(host string, h http.Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[host] = h
}

func (n *network) asked(host string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls[host]
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	h := n.hosts[r.URL.Hostname()]
	n.calls[r.URL.Hostname()]++
	n.mu.Unlock()
	if h == nil {
		return nil, errors.New("connection refused")
	}
	out := httptest.NewRecorder()
	h.ServeHTTP(out, r)
	return out.Result(), nil
}

// A world is a database with an anchor log, and who sees it.
type world struct {
	t         *testing.T
	dir       string
	db        *store.DB
	config    anchor.Config
	log       *anchor.Log
	net       *network
	witnesses []*witness.Witness
	root      *x509.CertPool // of the timestamp authority
	end       func()         // stops the log and closes the database
}

// newWorld opens, in virtual time, a database and so many witnesses, w1.example and
// so on, a quorum of which is asked for.
func newWorld(t *testing.T, witnesses, quorum int) *world {
	t.Helper()
	w := emptyWorld(t)
	for i := range witnesses {
		host := fmt.Sprintf("w%d.example", i+1)
		key := must(witness.GenerateKey(filepath.Join(t.TempDir(), "key"), host))
		cfg := witness.Config{Key: key, State: t.TempDir(), Logs: []witness.Log{{Key: anchorKey(1), Prefix: "underseal/" + deployment + "/"}}}
		w.witnesses = append(w.witnesses, w.open(host, cfg))
		w.config.Witnesses = append(w.config.Witnesses, anchor.Witness{Key: must(ledger.ParseVerifier(key.Verifier())), URL: "https://" + host})
	}
	w.config.Quorum = quorum
	w.begin()
	return w
}

// emptyWorld has neither a database nor a log that runs.
func emptyWorld(t *testing.T) *world {
	return &world{t: t, dir: filepath.Join(t.TempDir(), "data"), net: newNetwork()}
}

// open has a witness answer for a host.
func (w *world) open(host string, cfg witness.Config) *witness.Witness {
	w.t.Helper()
	opened := must(witness.Open(cfg))
	w.t.Cleanup(func() { opened.Close() })
	w.net.set(host, opened.Handler(slog.New(slog.DiscardHandler)))
	return opened
}

func anchorKey(number int64) string {
	return ledger.VerifierKey(anchor.Origin(deployment, number), ed25519.NewKeyFromSeed(anchorSeed).Public().(ed25519.PublicKey))
}

// make opens the database and makes the log.
func (w *world) make() {
	w.t.Helper()
	w.db = must(store.Open(w.t.Context(), store.Config{Path: w.dir}))
	w.config.Store, w.config.Deployment, w.config.Scope = w.db, deployment, store.NewScope
	if w.config.Tenants == nil {
		w.config.Tenants = func(context.Context) ([]string, error) { return []string{"ann", "bob"}, nil }
	}
	if w.config.Seed == nil {
		w.config.Seed = func(context.Context) ([]byte, error) { return anchorSeed, nil }
	}
	w.log = must(anchor.New(w.config))
}

// begin opens the database and starts the log, as a start of the server does.
func (w *world) begin() {
	w.t.Helper()
	w.config.Transport = w.net
	w.make()
	if err := w.log.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait() // the first round is over: what a test publishes now, the next one takes together
	log, db := w.log, w.db
	w.end = sync.OnceFunc(func() { log.Stop(); db.Close() })
	w.t.Cleanup(w.end)
}

// restart ends the log, does something to the files, and begins again.
func (w *world) restart(between func()) {
	w.t.Helper()
	w.end()
	between()
	w.begin()
}

// publish gives a tenant's log a checkpoint of that size.
func (w *world) publish(tenant string, size uint64) ledger.Checkpoint {
	w.t.Helper()
	s := store.NewScope(tenant)
	origin := "underseal/" + deployment + "/" + tenant + "/2026"
	if len(must(w.db.Shards(w.t.Context(), s))) == 0 {
		if err := w.db.OpenShard(w.t.Context(), s, store.Shard{Number: 1, Origin: origin}); err != nil {
			w.t.Fatal(err)
		}
	}
	c := ledger.Checkpoint{Origin: origin, Size: size, Root: ledger.Hash{byte(size), byte(len(tenant))}}
	signed := must(ledger.SignCheckpoint(c, must(ledger.NoteSigner(origin, anchorSeed))))
	if err := w.db.Publish(w.t.Context(), s, 1, size, signed, time.Now(), 0); err != nil {
		w.t.Fatal(err)
	}
	w.log.Checkpointed(tenant)
	return c
}

// verify checks by the public means alone that a tenant's checkpoint is anchored,
// and returns the anchor log's checkpoint and the names of the witnesses.
func (w *world) verify(tenant string, want ledger.Checkpoint) (ledger.Checkpoint, []string) {
	w.t.Helper()
	signed, a, err := w.log.Opening(w.t.Context(), store.NewScope(tenant), 1, want.Size)
	if err != nil {
		w.t.Fatal(err)
	}
	if c := must(ledger.UnverifiedCheckpoint(signed)); c != want {
		w.t.Fatalf("anchored is %+v, want %+v", c, want)
	}
	var keys []note.Verifier
	for _, k := range w.config.Witnesses {
		keys = append(keys, k.Key)
	}
	log := must(ledger.ParseVerifier(anchorKey(1)))
	c, n, err := a.Verify(want, log, keys...)
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, s := range n.Sigs {
		if s.Name != log.Name() {
			names = append(names, s.Name)
		}
	}
	if w.root == nil && a.Token != nil {
		w.t.Errorf("a timestamp of %d bytes, and there is no authority", len(a.Token))
	}
	if w.root != nil {
		if at, err := a.Time(c, w.root); err != nil || time.Since(at) > 10*time.Minute {
			w.t.Errorf("the timestamp is of %v, %v", at, err)
		}
	}
	return c, names
}

// notAnchored checks that nothing of a tenant at that size is shown as anchored.
func (w *world) notAnchored(tenant string, size uint64) {
	w.t.Helper()
	if _, _, err := w.log.Opening(w.t.Context(), store.NewScope(tenant), 1, size); fault.CodeOf(err) != "not_anchored" {
		w.t.Errorf("%s at size %d: %v, want not_anchored", tenant, size, err)
	}
}

// head is the newest signed checkpoint's size.
func (w *world) head() uint64 {
	w.t.Helper()
	return must(w.db.AnchorHead(w.t.Context())).Size
}

// figure is the value of one of the log's metrics; the label's value tells which of
// several.
func (w *world) figure(name, label string) float64 {
	w.t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(w.log.Collectors()...)
	for _, family := range must(registry.Gather()) {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue()
			}
		}
	}
	w.t.Fatalf("there is no figure %s %s", name, label)
	return 0
}

// halted checks that nothing is signed any more, for a reason that says something.
func (w *world) halted(says string) {
	w.t.Helper()
	err := w.log.Halted()
	if !fault.Is(err, fault.Integrity) || fault.CodeOf(err) != anchor.CodeHalted || !bytes.Contains([]byte(err.Error()), []byte(says)) {
		w.t.Errorf("halted by %v, want one that says %q", err, says)
	}
	if w.figure("underseal_anchor_halted", "") != 1 {
		w.t.Error("the metric does not say so")
	}
}

// exec changes the closed database behind its back.
func (w *world) exec(file, text string) {
	w.t.Helper()
	db := must(sql.Open("sqlite", filepath.Join(w.dir, file)))
	defer db.Close()
	result, err := db.Exec(text)
	if err != nil {
		w.t.Fatal(err)
	}
	if n := must(result.RowsAffected()); n == 0 {
		w.t.Fatalf("%s changed nothing", text)
	}
}

// copyOf copies the files of the closed database.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}
