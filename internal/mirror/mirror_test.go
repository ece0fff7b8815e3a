package mirror_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/mirror"
	"github.com/underseal/underseal/internal/tiles"
	"github.com/underseal/underseal/ledger"
)

const origin = "underseal/d/main/2026"

// fakeLog is a log in memory, served as C2SP tlog-tiles.
type fakeLog struct {
	t      testing.TB
	server *httptest.Server

	mu      sync.Mutex // guards what follows
	origin  string
	entries [][]byte
	hashes  []tlog.Hash
	size    int // of the checkpoint
	asked   []string
	answer  func(path string, body []byte) ([]byte, int) // nil: as it is
}

func newLog(t testing.TB) *fakeLog {
	l := &fakeLog{t: t, origin: origin}
	l.server = httptest.NewServer(l)
	t.Cleanup(l.server.Close)
	return l
}

// grow appends entries, each naming the variant of the history that it is of.
func (l *fakeLog) grow(n int, variant string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		i := len(l.entries)
		entry := ledger.Leaf{Kind: "x." + variant, Log: l.origin, At: "2026-11-21T12:30:00.000000Z", Act: "engine", Elem: fmt.Sprint(i), Data: ledger.DataRoot(nil)}.Encode()
		hashes, err := tlog.StoredHashes(int64(i), entry, l)
		if err != nil {
			l.t.Fatal(err)
		}
		l.entries, l.hashes = append(l.entries, entry), append(l.hashes, hashes...)
	}
	l.size = len(l.entries)
}

func (l *fakeLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

func (l *fakeLog) checkpoint() []byte {
	root, err := tlog.TreeHash(int64(l.size), l)
	if err != nil {
		l.t.Fatal(err)
	}
	signer, err := ledger.NoteSigner(l.origin, make([]byte, 32))
	if err != nil {
		l.t.Fatal(err)
	}
	signed, err := ledger.SignCheckpoint(ledger.Checkpoint{Origin: l.origin, Size: uint64(l.size), Root: ledger.Hash(root)}, signer)
	if err != nil {
		l.t.Fatal(err)
	}
	return signed
}

func (l *fakeLog) file(path string) []byte {
	if path == "checkpoint" {
		return l.checkpoint()
	}
	f, err := tiles.ParsePath(path)
	if err != nil || !f.In(uint64(l.size)) {
		return nil
	}
	if f.Level == tiles.Entries {
		var bundle []byte
		for _, e := range l.entries[f.Index*256 : int(f.Index)*256+f.Width] {
			bundle, _ = tiles.AppendEntry(bundle, e)
		}
		return bundle
	}
	data, err := tlog.ReadTileData(tlog.Tile{H: 8, L: f.Level, N: int64(f.Index), W: f.Width}, l)
	if err != nil {
		l.t.Error(err)
	}
	return data
}

func (l *fakeLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/log/secret/2026/")
	l.asked = append(l.asked, path)
	body, status := l.file(path), 200
	if body == nil {
		status = 404
	}
	if l.answer != nil {
		body, status = l.answer(path, body)
	}
	w.WriteHeader(status)
	w.Write(body)
}

func (l *fakeLog) config(dir string) mirror.Config {
	return mirror.Config{Prefix: l.server.URL + "/log/secret/2026", Dir: dir, HTTP: l.server.Client()}
}

func (l *fakeLog) copy(dir string) (mirror.Result, error) {
	return mirror.Copy(l.t.Context(), l.config(dir))
}

func mustCopy(t *testing.T, l *fakeLog, dir string) mirror.Result {
	t.Helper()
	r, err := l.copy(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// whole checks that the directory holds all files of the log and no partial ones
// besides.
func whole(t *testing.T, l *fakeLog, dir string) {
	t.Helper()
	want := []string{"checkpoint"}
	for level := tiles.Entries; level < 3; level++ {
		for f := range tiles.All(level, uint64(l.size), 0) {
			want = append(want, f.Path())
		}
	}
	var got []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err == nil && !d.IsDir() && !strings.HasPrefix(name, "checkpoints") {
			got = append(got, filepath.ToSlash(name))
		}
		return err
	})
	slices.Sort(want)
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("the copy of %d entries has %q, %v, want %q", l.size, got, err, want)
	}
	for _, name := range want {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil || !bytes.Equal(data, l.file(name)) {
			t.Errorf("%s differs from the log's, %v", name, err)
		}
	}
}

func TestACopyGrowsWithTheLog(t *testing.T) {
	l, dir := newLog(t), t.TempDir()
	for _, n := range []int{1, 0, 254, 1, 3, 600, 65_000, 400} {
		old := l.size
		l.grow(n, "a")
		r := mustCopy(t, l, dir)
		if r.Origin != origin || r.Old != uint64(old) || r.Size != uint64(l.size) {
			t.Errorf("Copy after %d more: %+v", n, r)
		}
		if n == 0 && r.Fetched != 1 {
			t.Errorf("%d files fetched when nothing was new, want the checkpoint alone", r.Fetched)
		}
	}
	whole(t, l, dir)
}

func TestACopyTellsHowFarItIs(t *testing.T) {
	l := newLog(t)
	l.grow(600, "a")
	cfg := l.config(t.TempDir())
	var done []uint64
	cfg.Progress = func(n, size uint64) {
		if size != 600 {
			t.Errorf("Progress(%d, %d), want it of 600 entries", n, size)
		}
		done = append(done, n)
	}
	if _, err := mirror.Copy(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if want := []uint64{256, 512, 600}; !slices.Equal(done, want) {
		t.Errorf("Progress told %d, want %d", done, want)
	}
}

func TestACopyThatWasInterruptedGoesOn(t *testing.T) {
	l, dir := newLog(t), t.TempDir()
	l.grow(1500, "a")
	asked := 0
	l.answer = func(path string, body []byte) ([]byte, int) {
		if asked++; asked == 8 {
			return nil, 404
		}
		return body, 200
	}
	if _, err := l.copy(dir); !fault.Is(err, fault.NotFound) {
		t.Fatalf("interrupted: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "checkpoint")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("an interrupted copy has a checkpoint: %v", err)
	}
	l.answer, l.asked = nil, nil
	mustCopy(t, l, dir)
	whole(t, l, dir)
	if slices.Contains(l.asked, "tile/entries/000") {
		t.Errorf("what was there already was fetched again: %q", l.asked)
	}
}

func TestALogThatIsNotTheOneItWasIsNamed(t *testing.T) {
	for _, c := range []struct {
		name, code string
		change     func(l *fakeLog)
	}{
		{"an older state", "log_rolled_back", func(l *fakeLog) { l.size = 200 }},
		{"another history of the same length", "log_forked", func(l *fakeLog) { l.rewrite(299, 1, "b") }},
		{"another history, longer", "log_forked", func(l *fakeLog) { l.rewrite(10, 700, "b") }},
		{"another history from the newest entry on", "log_forked", func(l *fakeLog) { l.rewrite(299, 2, "b") }},
		{"another log", "log_exchanged", func(l *fakeLog) { l.origin = "underseal/d/main/2026.2"; l.rewrite(0, 400, "a") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, dir := newLog(t), t.TempDir()
			l.grow(300, "a")
			mustCopy(t, l, dir)
			before, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
			if err != nil {
				t.Fatal(err)
			}
			c.change(l)
			_, err = l.copy(dir)
			if !fault.Is(err, fault.Integrity) || fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), origin) {
				t.Errorf("error %v, want %s naming the log", err, c.code)
			}
			if after, err := os.ReadFile(filepath.Join(dir, "checkpoint")); err != nil || !bytes.Equal(before, after) {
				t.Error("the copy's own checkpoint was changed")
			}
			kept, err := filepath.Glob(filepath.Join(dir, "refused", "*"))
			if err != nil || len(kept) != 1 {
				t.Fatalf("kept %q, want the checkpoint that was refused", kept)
			}
			if data, _ := os.ReadFile(kept[0]); !bytes.Equal(data, l.checkpoint()) {
				t.Error("what was kept is not that checkpoint")
			}
		})
	}
}

// rewrite replaces everything from an entry on.
func (l *fakeLog) rewrite(from, n int, variant string) {
	l.entries = l.entries[:from]
	l.hashes = l.hashes[:tlog.StoredHashCount(int64(from))]
	l.grow(n, variant)
}

func TestFilesThatDoNotLeadToTheCheckpointAreRefused(t *testing.T) {
	flip := func(body []byte) []byte {
		body = bytes.Clone(body)
		body[len(body)/2+20] ^= 1 // not at the length of an entry
		return body
	}
	for _, path := range []string{"tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/001", "tile/entries/002.p/88"} {
		t.Run(path, func(t *testing.T) {
			l, dir := newLog(t), t.TempDir()
			l.grow(600, "a")
			l.answer = func(p string, body []byte) ([]byte, int) {
				if p == path {
					return flip(body), 200
				}
				return body, 200
			}
			if _, err := l.copy(dir); !fault.Is(err, fault.Integrity) {
				t.Errorf("a changed %s: %v, want an integrity fault", path, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "checkpoint")); err == nil {
				t.Error("the checkpoint was taken over all the same")
			}
		})
	}
}

// TestALogThatClaimsToBeHugeIsRefused: whoever serves a log must not be able to have
// the copier take all of its memory.
func TestALogThatClaimsToBeHugeIsRefused(t *testing.T) {
	for _, size := range []uint64{1 << 40, 1 << 48, 1<<48 + 1, 1 << 63, 1<<64 - 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			l := newLog(t)
			l.grow(300, "a")
			signer, err := ledger.NoteSigner(l.origin, make([]byte, 32))
			if err != nil {
				t.Fatal(err)
			}
			huge, err := ledger.SignCheckpoint(ledger.Checkpoint{Origin: l.origin, Size: size}, signer)
			if err != nil {
				t.Fatal(err)
			}
			l.answer = func(path string, body []byte) ([]byte, int) {
				if path == "checkpoint" {
					return huge, 200
				}
				return make([]byte, 256*32), 200
			}
			if _, err := l.copy(t.TempDir()); fault.CodeOf(err) != "log_inconsistent" && fault.CodeOf(err) != "mirror_changed" {
				t.Errorf("copying it: %v", err)
			}
		})
	}
}

func TestACopyThatWasChangedIsNoticed(t *testing.T) {
	l, dir := newLog(t), t.TempDir()
	l.grow(300, "a")
	mustCopy(t, l, dir)
	path := filepath.Join(dir, "tile", "1", "000.p", "1")
	if err := os.WriteFile(path, make([]byte, 32), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tile", "0", "001.p", "44"), make([]byte, 44*32), 0o644); err != nil {
		t.Fatal(err)
	}
	l.size = 300
	if err := os.Remove(filepath.Join(dir, "checkpoint")); err != nil { // copy again, over the files
		t.Fatal(err)
	}
	if _, err := l.copy(dir); fault.CodeOf(err) != "mirror_changed" {
		t.Errorf("error %v, want mirror_changed", err)
	}
}

func TestSignaturesAreCheckedWhenKeysAreKnown(t *testing.T) {
	l, dir := newLog(t), t.TempDir()
	l.grow(3, "a")
	cfg := l.config(dir)
	cfg.Open = func(signed []byte) (ledger.Checkpoint, error) {
		return ledger.Checkpoint{}, fault.New(fault.Integrity, "signed by nobody we know").WithCode("key_not_in_policy")
	}
	if _, err := mirror.Copy(t.Context(), cfg); fault.CodeOf(err) != "key_not_in_policy" {
		t.Errorf("error %v, want that of Open", err)
	}
}

// The address holds the reader's secret.
func TestNoErrorQuotesTheAddress(t *testing.T) {
	l := newLog(t)
	for name, change := range map[string]func(c *mirror.Config){
		"nobody listens": func(c *mirror.Config) { c.Prefix = "http://127.0.0.1:1/log/secret/2026" },
		"not a URL":      func(c *mirror.Config) { c.Prefix = "http://\x00/log/secret/2026" },
		"unknown":        func(c *mirror.Config) { c.Prefix += "x" },
	} {
		cfg := l.config(t.TempDir())
		cfg.HTTP = &http.Client{}
		change(&cfg)
		_, err := mirror.Copy(t.Context(), cfg)
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, errors.Unwrap(err)), "secret") {
			t.Errorf("%s: %v, want an error without the secret", name, err)
		}
	}
}

// FuzzCopy puts something else in the place of a file of a log, or of a copy of it, and
// looks for a panic and for a copy that has other entries than the log.
func FuzzCopy(f *testing.F) {
	l := newLog(f)
	l.grow(3, "a")
	files := []string{"checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3"}
	entries := l.file("tile/entries/000.p/3")
	for at, path := range files {
		good := l.file(path)
		for _, local := range []bool{false, true} {
			for _, data := range [][]byte{
				good, nil, good[:len(good)-1], append(bytes.Clone(good), 0), append(bytes.Clone(good), good...), bytes.Repeat([]byte{0}, len(good)), bytes.Repeat([]byte{0xff}, len(good)),
				bytes.Replace(good, []byte("\n3\n"), []byte("\n281474976710656\n"), 1), bytes.Replace(good, []byte("\n3\n"), []byte("\n0\n"), 1),
			} {
				f.Add(uint8(at), local, data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, at uint8, local bool, data []byte) {
		dir, path := t.TempDir(), files[int(at)%len(files)]
		cfg := mirror.Config{Prefix: "https://log.example/log/secret/2026", Dir: dir, HTTP: &http.Client{Transport: l}}
		l.answer = nil
		if local {
			if _, err := mirror.Copy(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(path)), data, 0o644); err != nil {
				t.Fatal(err)
			}
			if path != "checkpoint" { // so that it is copied again, over the files
				if err := os.Remove(filepath.Join(dir, "checkpoint")); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			l.answer = func(p string, body []byte) ([]byte, int) {
				if p == path {
					return data, 200
				}
				return body, 200
			}
		}
		r, err := mirror.Copy(t.Context(), cfg)
		if err != nil {
			if !fault.Is(err, fault.Integrity) && !fault.Is(err, fault.NotFound) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		copied, err := os.ReadFile(filepath.Join(dir, "tile", "entries", "000.p", "3"))
		if r.Size > 3 || r.Size == 3 && (err != nil || !bytes.Equal(copied, entries)) {
			t.Errorf("copied %d entries: %q, %v", r.Size, copied, err)
		}
	})
}

// RoundTrip serves the log without a network.
func (l *fakeLog) RoundTrip(r *http.Request) (*http.Response, error) {
	out := httptest.NewRecorder()
	l.ServeHTTP(out, r)
	return out.Result(), nil
}
