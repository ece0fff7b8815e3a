package witness_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/witness"
	"github.com/underseal/underseal/ledger"
)

// TestOthersVerifyACosignature checks what a witness answers by another
// implementation of the format, and by ours.
func TestOthersVerifyACosignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTree(origin, 1)
		cfg := config(t, l)
		w := open(t, cfg)
		for _, size := range [][2]uint64{{0, 3}, {3, 3}, {3, 70}, {70, 71}} {
			time.Sleep(time.Hour)
			line, _, err := w.AddCheckpoint(t.Context(), l.request(size[0], size[1]))
			if err != nil {
				t.Fatal(err)
			}
			n := verifyLine(t, cfg.Key, l.signed(size[1]), line)
			at, err := cosign.CoSigV1Timestamp(n.Sigs[0])
			if err != nil || !at.Equal(time.Now().Truncate(time.Second)) {
				t.Errorf("the cosignature is of %v, %v; now is %v", at, err, time.Now())
			}
			if _, _, err := ledger.OpenCheckpoint(append(l.signed(size[1]), line...), must(ledger.ParseVerifier(cfg.Key.Verifier()))); err != nil {
				t.Error(err)
			}
		}
	})
}

// verifyLine opens a checkpoint with a witness's line behind it, by the witness's
// key alone.
func verifyLine(t *testing.T, key *witness.Key, signed, line []byte) *note.Note {
	t.Helper()
	n, err := note.Open(append(bytes.Clone(signed), line...), note.VerifierList(must(cosign.NewVerifierForCosignatureV1(key.Verifier()))))
	if err != nil || len(n.Sigs) != 1 {
		t.Fatalf("%q is no cosignature: %v", line, err)
	}
	return n
}

func TestLinesBelowACheckpointAreCosignedToo(t *testing.T) {
	l := newTree(origin, 1)
	cfg := config(t, l)
	w := open(t, cfg)
	signed := must(note.Sign(&note.Note{Text: l.checkpoint(4).Text() + "more of the log's own\n"}, l.signer))
	line, _, err := w.AddCheckpoint(t.Context(), body(0, nil, signed))
	if err != nil {
		t.Fatal(err)
	}
	verifyLine(t, cfg.Key, signed, line)
}

// TestEachRequestGetsTheStatusOfTheSpecification has a log of five entries witnessed.
func TestEachRequestGetsTheStatusOfTheSpecification(t *testing.T) {
	l, forked, stranger, other := newTree(origin, 1), newTree(origin, 1), newTree("example.org/other", 3), newTree(origin, 2)
	forked.fork = 2
	proof := l.proof(5, 9)
	wrong := bytes.Replace(l.request(5, 9), []byte("\n\xe2\x80\x94 "+origin+" "), []byte("\n\xe2\x80\x94 "+origin+" A"), 1)
	flipped := l.signed(9)
	flipped[len(flipped)-10] ^= 1
	tests := []struct {
		name   string
		body   []byte
		status int
		says   string
	}{
		{"the next size", l.request(5, 9), 200, "witness.example.org/w1"},
		{"the same size again", l.request(5, 5), 200, "witness.example.org/w1"},
		{"an old size that is too small", l.request(3, 9), 409, "5\n"},
		{"no old size", l.request(0, 9), 409, "5\n"},
		{"an old size that is too large", l.request(7, 9), 409, "5\n"},
		{"a fork of the same size", body(5, nil, forked.signed(5)), 422, "another root"},
		{"a fork with its own proof", forked.request(5, 9), 422, "not continue"},
		{"a proof that is cut", body(5, proof[:1], l.signed(9)), 422, "not continue"},
		{"no proof", body(5, nil, l.signed(9)), 422, "not continue"},
		{"a proof between equal sizes", body(5, proof, l.signed(5)), 422, "nothing to prove"},
		{"a smaller checkpoint", body(5, nil, l.signed(4)), 400, "larger than"},
		{"a log that is not known", stranger.request(0, 3), 404, "not witnessed"},
		{"a checkpoint signed by another key of that name", other.request(5, 9), 403, "not signed by"},
		{"a signature that is wrong", body(5, proof, flipped), 403, "not signed by"},
		{"a signature that is none", wrong, 400, "malformed"},
		{"no signature", body(5, proof, []byte(l.checkpoint(9).Text()+"\n")), 400, "malformed"},
		{"nothing", nil, 400, "malformed"},
		{"no old size at all", []byte("\n\n" + string(l.signed(9))), 400, "malformed"},
		{"a size with a zero before it", bytes.Replace(l.request(5, 9), []byte("old 5"), []byte("old 05"), 1), 400, "malformed"},
		{"a size with a sign", bytes.Replace(l.request(5, 9), []byte("old 5"), []byte("old +5"), 1), 400, "malformed"},
		{"two spaces", bytes.Replace(l.request(5, 9), []byte("old 5"), []byte("old  5"), 1), 400, "malformed"},
		{"carriage returns", bytes.ReplaceAll(l.request(5, 9), []byte("\n"), []byte("\r\n")), 400, "malformed"},
		{"a hash that is short", body(5, []string{"AAAA"}, l.signed(9)), 400, "no hash"},
		{"64 hashes", body(5, strings.Split(strings.Repeat(proof[0]+" ", 63)+proof[0], " "), l.signed(9)), 400, "more than 63"},
		{"a body without end", bytes.Repeat([]byte("x"), 1<<20), 400, "more than"},
		{"a checkpoint with a size of two spellings", body(5, proof, must(note.Sign(&note.Note{Text: strings.Replace(l.checkpoint(9).Text(), "\n9\n", "\n09\n", 1)}, l.signer))), 400, "malformed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := open(t, config(t, l))
			if _, _, err := w.AddCheckpoint(t.Context(), l.request(0, 5)); err != nil {
				t.Fatal(err)
			}
			answer := post(w, test.body)
			text := must(io.ReadAll(answer.Body))
			if answer.StatusCode != test.status || !strings.Contains(string(text), test.says) {
				t.Errorf("answer %d %q, want %d saying %q", answer.StatusCode, text, test.status, test.says)
			}
			if kind := answer.Header.Get("Content-Type"); (kind == "text/x.tlog.size") != (test.status == 409) {
				t.Errorf("content type %q with status %d", kind, answer.StatusCode)
			}
		})
	}
}

func post(w *witness.Witness, body []byte) *http.Response {
	out := httptest.NewRecorder()
	w.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(out, httptest.NewRequest("POST", "/add-checkpoint", bytes.NewReader(body)))
	return out.Result()
}

func TestTheEmptyTreeHasOneRoot(t *testing.T) {
	l := newTree(origin, 1)
	w := open(t, config(t, l))
	other := must(ledger.SignCheckpoint(ledger.Checkpoint{Origin: origin, Root: ledger.Hash{1}}, l.signer))
	if _, _, err := w.AddCheckpoint(t.Context(), body(0, nil, other)); !fault.Is(err, fault.Integrity) {
		t.Errorf("an empty tree with another root: %v, want integrity", err)
	}
	for range 2 {
		if _, _, err := w.AddCheckpoint(t.Context(), l.request(0, 0)); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := w.AddCheckpoint(t.Context(), body(0, l.proof(5, 9), l.signed(9))); !fault.Is(err, fault.Integrity) {
		t.Errorf("a proof from nothing: %v, want integrity", err)
	}
	if _, _, err := w.AddCheckpoint(t.Context(), l.request(0, 9)); err != nil {
		t.Error(err)
	}
}

func TestMonitorsGetTheNewestCheckpoint(t *testing.T) {
	l := newTree(origin, 1)
	cfg := config(t, l)
	w := open(t, cfg)
	get := func() (int, []byte) {
		out := httptest.NewRecorder()
		w.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(out, httptest.NewRequest("GET", "/"+originHash(origin)+"/checkpoint", nil))
		return out.Code, out.Body.Bytes()
	}
	if status, _ := get(); status != 404 {
		t.Errorf("before the first one: %d, want 404", status)
	}
	line, _, err := w.AddCheckpoint(t.Context(), l.request(0, 5))
	if err != nil {
		t.Fatal(err)
	}
	if status, signed := get(); status != 200 || !bytes.Equal(signed, append(l.signed(5), line...)) {
		t.Errorf("%d %q", status, signed)
	}
}

func TestStateOutlivesTheProcess(t *testing.T) {
	l, forked := newTree(origin, 1), newTree(origin, 1)
	forked.fork = 4
	cfg := config(t, l)
	w := open(t, cfg)
	if _, err := witness.Open(cfg); fault.CodeOf(err) != "locked" {
		t.Errorf("a second process on one state: %v, want locked", err)
	}
	if _, _, err := w.AddCheckpoint(t.Context(), l.request(0, 5)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w = open(t, cfg)
	if _, newest, err := w.AddCheckpoint(t.Context(), forked.request(0, 6)); !fault.Is(err, fault.Conflict) || newest != 5 {
		t.Errorf("after a restart: size %d, %v, want 5 and a conflict", newest, err)
	}
	if _, _, err := w.AddCheckpoint(t.Context(), forked.request(5, 6)); !fault.Is(err, fault.Integrity) {
		t.Errorf("a fork after a restart: %v, want integrity", err)
	}
	if _, _, err := w.AddCheckpoint(t.Context(), l.request(5, 6)); err != nil {
		t.Error(err)
	}
}

func TestAStateThatIsNotOursIsRefused(t *testing.T) {
	l := newTree(origin, 1)
	for _, test := range []struct {
		name  string
		spoil func(cfg *witness.Config, path string) error
	}{
		{"of another key", func(cfg *witness.Config, _ string) error { cfg.Key = newKey(t); return nil }},
		{"of another log", func(_ *witness.Config, path string) error {
			return os.Rename(path, filepath.Join(filepath.Dir(path), strings.Repeat("ab", 32)))
		}},
		{"changed", func(_ *witness.Config, path string) error {
			text := must(os.ReadFile(path))
			return os.WriteFile(path, bytes.Replace(text, []byte("\n5\n"), []byte("\n4\n"), 1), 0o600)
		}},
		{"empty", func(_ *witness.Config, path string) error { return os.Truncate(path, 0) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(t, l)
			w := open(t, cfg)
			if _, _, err := w.AddCheckpoint(t.Context(), l.request(0, 5)); err != nil {
				t.Fatal(err)
			}
			w.Close()
			if err := test.spoil(&cfg, filepath.Join(cfg.State, originHash(origin))); err != nil {
				t.Fatal(err)
			}
			if _, err := witness.Open(cfg); fault.CodeOf(err) != "witness_state" {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

func TestAPrefixTakesAllLogsOfOneKey(t *testing.T) {
	l, next, other := newTree("underseal/d1/anchor", 1), newTree("underseal/d1/anchor.2", 1), newTree("underseal/d1/anchor", 2)
	cfg := config(t)
	cfg.Logs = []witness.Log{{Key: l.key(), Prefix: "underseal/d1/"}}
	w := open(t, cfg)
	for _, l := range []*tree{l, next} {
		if _, _, err := w.AddCheckpoint(t.Context(), l.request(0, 5)); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := w.AddCheckpoint(t.Context(), other.request(0, 5)); !fault.Is(err, fault.Denied) {
		t.Errorf("another key: %v, want denied", err)
	}
	for _, name := range []string{"underseal/d2/anchor", "underseal/d1", "underseal/d1x"} {
		if _, _, err := w.AddCheckpoint(t.Context(), newTree(name, 1).request(0, 5)); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v, want not found", name, err)
		}
	}
}

func TestConfigurationIsRefused(t *testing.T) {
	l := newTree(origin, 1)
	for name, logs := range map[string][]witness.Log{
		"no log":            nil,
		"no key":            {{}},
		"a key that is not": {{Key: l.key() + "x"}},
		"a witness's key":   {{Key: newKey(t).Verifier()}},
		"anybody's key":     {{Key: ledger.VerifierKey(origin, make(ed25519.PublicKey, ed25519.PublicKeySize))}}, // of order 4
		"both":              {{Key: l.key(), Origin: "a", Prefix: "a/"}},
		"half a name":       {{Key: l.key(), Prefix: "underseal/d1"}},
	} {
		cfg := config(t)
		cfg.Logs = logs
		if _, err := witness.Open(cfg); fault.CodeOf(err) != "witness_config" {
			t.Errorf("%s: %v, want witness_config", name, err)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witness.key")
	key, err := witness.GenerateKey(path, "witness.example.org/w1")
	if err != nil {
		t.Fatal(err)
	}
	info := must(os.Stat(path))
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key file has mode %o", info.Mode().Perm())
	}
	if text := must(os.ReadFile(path)); strings.Contains(fmt.Sprintf("%v %+v %#v %s", key, *key, key, *key), strings.SplitN(string(text), "+", 5)[4]) {
		t.Error("the key is printed")
	}
	if again, err := witness.LoadKey(path); err != nil || again.Verifier() != key.Verifier() {
		t.Errorf("loaded %v, %v", again, err)
	}
	if _, err := witness.GenerateKey(path, "witness.example.org/w1"); !fault.Is(err, fault.Conflict) {
		t.Errorf("over another key: %v, want a conflict", err)
	}
	for _, name := range []string{"", "a b", "a+b", "a\n"} {
		if _, err := witness.GenerateKey(path+"2", name); !fault.Is(err, fault.Invalid) {
			t.Errorf("name %q: %v, want invalid", name, err)
		}
	}
	if _, err := os.Stat(path + "2"); err == nil {
		t.Error("a key without a name was written")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := witness.LoadKey(path); !fault.Is(err, fault.Denied) {
		t.Errorf("a key that others read: %v, want denied", err)
	}
	if _, err := witness.LoadKey(path + "3"); !fault.Is(err, fault.NotFound) {
		t.Errorf("no key: %v, want not found", err)
	}
}

// A record is all that a witness has ever answered: which root it signed for a size.
type record map[uint64]ledger.Hash

// add notes an answer and fails if it is the second root for a size, or if the
// size went back.
func (r record) add(t interface{ Fatalf(string, ...any) }, c ledger.Checkpoint) {
	if root, ok := r[c.Size]; ok && root != c.Root {
		t.Fatalf("two roots are signed for size %d", c.Size)
	}
	for size := range r {
		if size > c.Size {
			t.Fatalf("size %d is signed after size %d", c.Size, size)
		}
	}
	r[c.Size] = c.Root
}

// TestNoMomentOfACrashLetsAForkBeSigned breaks each write of a witness, before and
// after it is done, lets the power fail, and tries a fork on what is left.
func TestNoMomentOfACrashLetsAForkBeSigned(t *testing.T) {
	l, forked := newTree(origin, 1), newTree(origin, 1)
	forked.fork = 4
	cfg := config(t, l)
	crashes := 0
	for failAt := 1; ; failAt++ {
		alive := false
		for _, crash := range []struct{ done, namesKept bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
			disk, signed := newMemory(), record{}
			disk.failAt, disk.done = failAt, crash.done
			ask := func(w *witness.Witness, l *tree, old, size uint64) {
				if _, _, err := w.AddCheckpoint(t.Context(), l.request(old, size)); err == nil {
					signed.add(t, l.checkpoint(size))
				}
			}
			w, err := witness.OpenOn(cfg, disk)
			if err == nil {
				ask(w, l, 0, 5)
				ask(w, l, 5, 5)
				ask(w, l, 5, 8)
				alive = !disk.dead
				if disk.dead {
					crashes++
					<-w.Failed()
					if _, _, err := w.AddCheckpoint(t.Context(), l.request(8, 9)); !fault.Is(err, fault.Unavailable) {
						t.Errorf("after a write failed: %v, want unavailable", err)
					}
				}
			}
			w, err = witness.OpenOn(cfg, disk.restart(crash.namesKept))
			if err != nil {
				t.Fatalf("write %d: after the crash: %v", failAt, err)
			}
			for _, old := range []uint64{0, 5, 8} {
				for _, size := range []uint64{5, 8} {
					if old <= size {
						ask(w, forked, old, size)
					}
				}
			}
			ask(w, l, 8, 9)
		}
		if alive {
			break
		}
	}
	if crashes < 10 {
		t.Errorf("%d crashes, want one at each write", crashes)
	}
}

// TestRandomRequestsNeverGetTwoRoots sends requests of two forks in any order,
// with restarts in between.
func TestRandomRequestsNeverGetTwoRoots(t *testing.T) {
	l, forked := newTree(origin, 1), newTree(origin, 1)
	forked.fork = 6
	l.grow(20)
	forked.grow(20)
	cfg := config(t, l)
	rapid.Check(t, func(r *rapid.T) {
		disk, signed := newMemory(), record{}
		var side *tree // of the fork that was signed
		w := must(witness.OpenOn(cfg, disk))
		for range rapid.IntRange(1, 30).Draw(r, "requests") {
			if rapid.IntRange(0, 5).Draw(r, "restart") == 0 {
				disk = disk.restart(rapid.Bool().Draw(r, "names"))
				w = must(witness.OpenOn(cfg, disk))
			}
			from := rapid.SampledFrom([]*tree{l, forked}).Draw(r, "log")
			size := rapid.Uint64Range(0, 20).Draw(r, "size")
			old := rapid.Uint64Range(0, size).Draw(r, "old")
			_, newest, err := w.AddCheckpoint(t.Context(), from.request(old, size))
			if fault.Is(err, fault.Conflict) && newest <= size {
				_, _, err = w.AddCheckpoint(t.Context(), from.request(newest, size))
			}
			if err != nil {
				continue
			}
			signed.add(r, from.checkpoint(size))
			if size > uint64(forked.fork) {
				if side != nil && side != from {
					r.Fatalf("both sides of the fork are signed")
				}
				side = from
			}
		}
	})
}

// TestOfRequestsAtOnceOneWins has many clients go from one size to another at once.
func TestOfRequestsAtOnceOneWins(t *testing.T) {
	l, forked := newTree(origin, 1), newTree(origin, 1)
	forked.fork = 5
	w := open(t, config(t, l))
	if _, _, err := w.AddCheckpoint(t.Context(), l.request(0, 5)); err != nil {
		t.Fatal(err)
	}
	bodies := [][]byte{l.request(5, 9), forked.request(5, 9), l.request(5, 12), forked.request(5, 7)}
	won := make([]bool, len(bodies))
	var wg sync.WaitGroup
	for i := range bodies {
		wg.Go(func() {
			_, _, err := w.AddCheckpoint(t.Context(), bodies[i])
			won[i] = err == nil
		})
	}
	wg.Wait()
	winners := 0
	for _, yes := range won {
		if yes {
			winners++
		}
	}
	if winners != 1 {
		t.Errorf("%d requests from size 5 were granted, want one", winners)
	}
}

func originHash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

func FuzzAddCheckpoint(f *testing.F) {
	l := newTree(origin, 1)
	for _, seed := range [][]byte{l.request(0, 5), l.request(5, 9), l.request(5, 5), body(1, []string{"AAAA"}, nil), nil} {
		f.Add(seed)
	}
	text, _, err := note.GenerateKey(rand.Reader, "w")
	cfg := witness.Config{Key: must(witness.ParseKey(must(text, err))), Logs: []witness.Log{{Key: l.key()}}}
	genuine := map[string]bool{}
	for size := range uint64(20) {
		genuine[l.checkpoint(size).Text()] = true
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		w := must(witness.OpenOn(cfg, newMemory()))
		if _, _, err := w.AddCheckpoint(t.Context(), in); err == nil {
			signed := must(w.Newest(originHash(origin)))
			text, _, _ := strings.Cut(string(signed), "\n\n")
			if !genuine[text+"\n"] {
				t.Errorf("signed %q", signed)
			}
		}
	})
}
