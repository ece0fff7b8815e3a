//go:build !windows

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// The key of the anchor log in these tests, and its origin.
var (
	anchorSeed   = bytes.Repeat([]byte{8}, ed25519.SeedSize)
	anchorOrigin = anchor.Origin("d1", 1)
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A witnessProcess is "underseal witness" in a process of its own, on loopback. Each
// start takes a port that is free; url stays the same.
type witnessProcess struct {
	t     *testing.T
	dir   string // key, configuration and state
	url   string // of what hands calls on to the process that runs
	at    atomic.Pointer[url.URL]
	ready witnessing
	cmd   *exec.Cmd
}

func newWitness(t *testing.T, name string) *witnessProcess {
	t.Helper()
	w := &witnessProcess{t: t, dir: t.TempDir()}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(w.at.Load()) },
		ErrorLog: log.New(io.Discard, "", 0), // of a process that was killed
	})
	t.Cleanup(front.Close)
	w.url = front.URL
	key := ledger.VerifierKey(anchorOrigin, ed25519.NewKeyFromSeed(anchorSeed).Public().(ed25519.PublicKey))
	text := fmt.Sprintf("witness:\n  logs:\n    - {vkey: %q, prefix: underseal/d1/}\n", key)
	if err := os.WriteFile(filepath.Join(w.dir, "config.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("underseal", "witness", "keygen", "--name", name, "--key", filepath.Join(w.dir, "key")).CombinedOutput(); err != nil {
		t.Fatalf("keygen: %v\n%s", err, out)
	}
	w.start()
	return w
}

func (w *witnessProcess) start() {
	w.t.Helper()
	w.run("--config", filepath.Join(w.dir, "config.yaml"), "--key", filepath.Join(w.dir, "key"), "--state", filepath.Join(w.dir, "state"))
}

// run starts the process with these arguments and waits until it answers.
func (w *witnessProcess) run(args ...string) {
	w.t.Helper()
	w.cmd = exec.Command("underseal", append([]string{"witness", "--json", "--listen", "127.0.0.1:0"}, args...)...)
	w.cmd.Stderr = w.t.Output()
	out := must(w.cmd.StdoutPipe())
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.kill)
	if err := json.Unmarshal(must(bufio.NewReader(out).ReadBytes('\n')), &w.ready); err != nil {
		w.t.Fatal(err)
	}
	w.at.Store(must(url.Parse(w.ready.URL)))
}

// kill ends the process as a crash does.
func (w *witnessProcess) kill() {
	if w.cmd.ProcessState == nil {
		w.cmd.Process.Kill()
		w.cmd.Wait()
	}
}

func (w *witnessProcess) config() anchor.Witness {
	return anchor.Witness{Key: must(ledger.ParseVerifier(w.ready.Key)), URL: w.url}
}

// An anchoring is a database with an anchor log that real witnesses see.
type anchoring struct {
	t   *testing.T
	db  *store.DB
	log *anchor.Log
	end func()
}

func newAnchoring(t *testing.T, dir string, quorum int, witnesses ...*witnessProcess) *anchoring {
	t.Helper()
	db := must(store.Open(t.Context(), store.Config{Path: dir}))
	cfg := anchor.Config{
		Store: db, Deployment: "d1", Scope: store.NewScope, Quorum: quorum, Interval: time.Millisecond,
		Tenants: func(context.Context) ([]string, error) { return []string{"ann"}, nil },
		Seed:    func(context.Context) ([]byte, error) { return anchorSeed, nil },
	}
	for _, w := range witnesses {
		cfg.Witnesses = append(cfg.Witnesses, w.config())
	}
	a := &anchoring{t: t, db: db, log: must(anchor.New(cfg))}
	a.end = func() { a.log.Stop(); db.Close() }
	if err := a.log.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

// publish gives the tenant's log a checkpoint of that size.
func (a *anchoring) publish(size uint64) {
	a.t.Helper()
	s, origin := store.NewScope("ann"), "underseal/d1/ann/2026"
	if size == 1 {
		if err := a.db.OpenShard(a.t.Context(), s, store.Shard{Number: 1, Origin: origin}); err != nil {
			a.t.Fatal(err)
		}
	}
	signed := must(ledger.SignCheckpoint(ledger.Checkpoint{Origin: origin, Size: size}, must(ledger.NoteSigner(origin, anchorSeed))))
	if err := a.db.Publish(a.t.Context(), s, 1, size, signed, time.Now(), 0); err != nil {
		a.t.Fatal(err)
	}
	a.log.Checkpointed("ann")
}

// cosigned waits until a checkpoint of that size is anchored, and returns the names
// of the witnesses that cosigned.
func (a *anchoring) cosigned(size uint64, witnesses ...*witnessProcess) []string {
	a.t.Helper()
	for {
		_, opening, err := a.log.Opening(a.t.Context(), store.NewScope("ann"), 1, size)
		if fault.Is(err, fault.NotFound) && a.log.Halted() == nil {
			continue
		} else if err != nil {
			a.t.Fatalf("%v, halted by %v", err, a.log.Halted())
		}
		var keys []note.Verifier
		for _, w := range witnesses {
			keys = append(keys, w.config().Key)
		}
		_, n, err := ledger.OpenCheckpoint(opening.Proof.Checkpoint, keys...)
		if err != nil {
			a.t.Fatal(err)
		}
		var names []string
		for _, s := range n.Sigs {
			names = append(names, s.Name)
		}
		return names
	}
}

// halted waits until the log is halted, and returns why.
func (a *anchoring) halted() error {
	a.t.Helper()
	for {
		switch err := a.log.Halted(); {
		case err != nil:
			return err
		case a.t.Context().Err() != nil:
			a.t.Fatal("the log is not halted")
		}
	}
}

// TestTwoWitnessProcessesSeeALog has the real program twice: both answer, one is
// killed and comes back, one is set back, and a log that was set back is refused.
func TestTwoWitnessProcessesSeeALog(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds in which a log tries again to find its witnesses")
	}
	first, second := newWitness(t, "first.example"), newWitness(t, "second.example")
	dir := filepath.Join(t.TempDir(), "data")
	a := newAnchoring(t, dir, 2, first, second)
	a.publish(1)
	if names := a.cosigned(1, first, second); !slices.Equal(names, []string{"first.example", "second.example"}) {
		t.Errorf("cosigned by %v", names)
	}

	second.kill()
	a.publish(2)
	for range 20 {
		if _, _, err := a.log.Opening(t.Context(), store.NewScope("ann"), 1, 2); fault.CodeOf(err) != "not_anchored" {
			t.Fatalf("without a quorum: %v", err)
		}
	}
	second.start()
	a.cosigned(2, first, second)

	old := copyOf(t, filepath.Join(second.dir, "state"))
	a.publish(3)
	a.cosigned(3, first, second)
	second.kill()
	if err := os.RemoveAll(filepath.Join(second.dir, "state")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, filepath.Join(second.dir, "state")); err != nil {
		t.Fatal(err)
	}
	second.start() // has forgotten the third one, and is shown how the log went on
	a.end()
	before := copyOf(t, dir)
	a = newAnchoring(t, dir, 2, first, second)
	a.publish(4)
	a.cosigned(4, first, second)
	a.end()

	a = newAnchoring(t, before, 1, first, second) // the database of before, and its keys
	defer a.end()
	if err := a.halted(); !strings.Contains(err.Error(), "has seen 4 entries of this log, which has 3") {
		t.Errorf("a log that was set back: %v", err)
	}
}

// TestAForkIsAnsweredWith409 shows a witness process two logs under one key.
func TestAForkIsAnsweredWith409(t *testing.T) {
	w := newWitness(t, "first.example")
	a := newAnchoring(t, filepath.Join(t.TempDir(), "data"), 1, w)
	a.publish(1)
	a.cosigned(1, w)
	a.publish(2)
	a.cosigned(2, w)
	a.end()
	forked := must(ledger.SignCheckpoint(ledger.Checkpoint{Origin: anchorOrigin, Size: 2, Root: ledger.Hash{1}}, must(ledger.NoteSigner(anchorOrigin, anchorSeed))))
	for old, want := range map[string]string{"old 0\n\n": "409 2\n", "old 1\n\n": "409 2\n", "old 2\n\n": "422"} {
		response, err := http.Post(w.ready.URL+"/add-checkpoint", "text/plain", strings.NewReader(old+string(forked)))
		if err != nil {
			t.Fatal(err)
		}
		text := must(io.ReadAll(response.Body))
		response.Body.Close()
		if got := fmt.Sprintf("%d %s", response.StatusCode, text); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %q, want %q", old, got, want)
		}
	}
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("the witness ended with %v", err)
	}
	b := newAnchoring(t, filepath.Join(t.TempDir(), "other"), 1, w)
	defer b.end()
	w.start()
	b.publish(1)
	if err := b.halted(); !strings.Contains(err.Error(), "first.example contradicts") {
		t.Errorf("a fork: %v", err)
	}
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}
