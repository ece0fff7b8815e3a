package witness_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/internal/witness"
	"github.com/underseal/underseal/ledger"
)

const origin = "underseal/d1/anchor"

// must returns the value of a call that cannot fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A tree is a log that a test grows; what it holds at an index depends on fork.
type tree struct {
	origin string
	seed   []byte
	signer note.Signer
	fork   int // entries from here on differ from those of the tree without fork; -1: none do
	hashes []tlog.Hash
	size   uint64
}

func newTree(name string, key byte) *tree {
	seed := bytes.Repeat([]byte{key}, ed25519.SeedSize)
	return &tree{origin: name, seed: seed, signer: must(ledger.NoteSigner(name, seed)), fork: -1}
}

func (l *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = l.hashes[x]
	}
	return out, nil
}

func (l *tree) grow(size uint64) {
	for ; l.size < size; l.size++ {
		text := fmt.Sprint(l.size)
		if l.fork >= 0 && l.size >= uint64(l.fork) {
			text += " forked"
		}
		l.hashes = append(l.hashes, must(tlog.StoredHashes(int64(l.size), []byte(text), l))...)
	}
}

func (l *tree) checkpoint(size uint64) ledger.Checkpoint {
	l.grow(size)
	return ledger.Checkpoint{Origin: l.origin, Size: size, Root: ledger.Hash(must(tlog.TreeHash(int64(size), l)))}
}

func (l *tree) signed(size uint64) []byte {
	return must(ledger.SignCheckpoint(l.checkpoint(size), l.signer))
}

func (l *tree) proof(old, size uint64) []string {
	l.grow(size)
	var lines []string
	if old > 0 && old < size {
		for _, h := range must(tlog.ProveTree(int64(size), int64(old), l)) {
			lines = append(lines, base64.StdEncoding.EncodeToString(h[:]))
		}
	}
	return lines
}

// request is the body that takes the witness from the old size to another.
func (l *tree) request(old, size uint64) []byte { return body(old, l.proof(old, size), l.signed(size)) }

func body(old uint64, proof []string, signed []byte) []byte {
	lines := append([]string{fmt.Sprintf("old %d", old)}, proof...)
	return append([]byte(strings.Join(lines, "\n")+"\n\n"), signed...)
}

func (l *tree) key() string {
	return ledger.VerifierKey(l.origin, ed25519.NewKeyFromSeed(l.seed).Public().(ed25519.PublicKey))
}

func newKey(t *testing.T) *witness.Key {
	t.Helper()
	return must(witness.GenerateKey(filepath.Join(t.TempDir(), "witness.key"), "witness.example.org/w1"))
}

func config(t *testing.T, logs ...*tree) witness.Config {
	cfg := witness.Config{Key: newKey(t), State: filepath.Join(t.TempDir(), "state")}
	for _, l := range logs {
		cfg.Logs = append(cfg.Logs, witness.Log{Key: l.key()})
	}
	return cfg
}

func open(t *testing.T, cfg witness.Config) *witness.Witness {
	t.Helper()
	w, err := witness.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// memory is a disk that can lose power. What was not synced is gone then, and
// names that were not synced are the old ones or the new ones.
type memory struct {
	names   map[string]*content // as the running system sees them
	durable map[string]*content // as they are after a loss of power
	steps   int                 // how many writes there were
	failAt  int                 // the write that fails, from 1; 0: none
	done    bool                // .. after it was done, so that only the answer is lost
	dead    bool                // after it nothing works
}

type content struct{ now, synced []byte }

var errPower = errors.New("the power is gone")

func newMemory() *memory {
	return &memory{names: map[string]*content{}, durable: map[string]*content{}}
}

// step does one write, unless it is the one that fails.
func (m *memory) step(do func()) error {
	m.steps++
	if m.dead {
		return errPower
	}
	if m.steps == m.failAt {
		m.dead = true
		if m.done {
			do()
		}
		return errPower
	}
	do()
	return nil
}

// restart returns the disk as it may be after a loss of power: with the names that
// were synced, or with those that the system had seen last.
func (m *memory) restart(namesKept bool) *memory {
	from := m.durable
	if namesKept {
		from = m.names
	}
	next := newMemory()
	for name, c := range from {
		kept := &content{now: bytes.Clone(c.synced), synced: bytes.Clone(c.synced)}
		next.names[name], next.durable[name] = kept, kept
	}
	return next
}

func (m *memory) Names() ([]string, error) { return slices.Sorted(maps.Keys(m.names)), nil }

func (m *memory) Read(name string) ([]byte, error) {
	if c := m.names[name]; c != nil {
		return c.now, nil
	}
	return nil, os.ErrNotExist
}

func (m *memory) Create(name string) (witness.File, error) {
	c := &content{}
	return &memoryFile{m, c}, m.step(func() { m.names[name] = c })
}

func (m *memory) Rename(from, to string) error {
	return m.step(func() { m.names[to] = m.names[from]; delete(m.names, from) })
}

func (m *memory) Sync() error { return m.step(func() { m.durable = maps.Clone(m.names) }) }

type memoryFile struct {
	disk *memory
	c    *content
}

func (f *memoryFile) Write(b []byte) (int, error) {
	err := f.disk.step(func() { f.c.now = append(f.c.now, b...) })
	if err != nil && len(b) > 1 {
		f.c.now = append(f.c.now, b[:len(b)/2]...) // a write may be cut short
	}
	return len(b), err
}

func (f *memoryFile) Sync() error {
	return f.disk.step(func() { f.c.synced = bytes.Clone(f.c.now) })
}

func (f *memoryFile) Close() error { return f.disk.step(func() {}) }
