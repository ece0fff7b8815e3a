// Package witness cosigns the checkpoints of transparency logs (C2SP
// tlog-witness and tlog-cosignature).
//
// A cosignature says that the witness has seen the log grow up to this
// checkpoint and never change what was there. So a witness signs a checkpoint
// only if a consistency proof leads to it from the newest one that it signed of
// that log, and writes it down, durable, before it answers. It never signs two
// roots for one size, nor a smaller tree after a larger one, whatever a log
// sends and whenever the process or the machine ends.
//
// That hangs on its state: a state that is set back, or used by two witnesses
// with one key, can sign a fork. Hence the state is locked while it is used, and
// must never be restored from a backup.
package witness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// Limits of one witness.
const (
	maxOrigins = 10_000 // logs with a state; a prefix could ask for any number
	maxNote    = 16 << 10
)

// Config says for which logs a witness signs, with which key, and where its
// state is.
type Config struct {
	Key  *Key
	Logs []Log
	// State is a directory of this witness alone, made with mode 0700 when missing.
	State string
}

// Witness is an open witness. Its methods are safe for concurrent use.
type Witness struct {
	signer note.Signer
	logs   []acceptedLog
	disk   disk
	unlock func() error
	failed chan struct{} // closed when the state can no longer be trusted

	mu      sync.Mutex         // guards what follows
	origins map[string]*origin // by name
	byFile  map[string]*origin // the same ones by fileOf, under which monitors ask
	reason  error              // why failed was closed
}

// An origin is one log with a state.
type origin struct {
	mu     sync.Mutex // guards what follows; held from the check to the answer
	newest ledger.Checkpoint
	signed []byte // the newest one with the log's signature and ours; nil: none yet
}

// Open opens a witness and reads its state. Invalid when a log of the
// configuration makes no sense, Conflict (code "locked") when another process has
// the state, Integrity when a file of it was not written by this witness.
func Open(cfg Config) (*Witness, error) {
	unlock, err := lockState(cfg.State)
	if err != nil {
		return nil, err
	}
	w, err := open(cfg, directory(cfg.State))
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	w.unlock = unlock
	return w, nil
}

func open(cfg Config, d disk) (*Witness, error) {
	signer, err := cfg.Key.signer()
	if err != nil {
		return nil, fault.New(fault.Internal, "use the witness key: %w", err)
	}
	w := &Witness{signer: signer, disk: d, failed: make(chan struct{}), unlock: func() error { return nil },
		origins: map[string]*origin{}, byFile: map[string]*origin{}}
	if len(cfg.Logs) == 0 {
		return nil, fault.New(fault.Invalid, "a witness needs a log to witness").WithCode("witness_config").
			WithHint("list the logs' keys in the configuration file, below witness.logs")
	}
	for _, l := range cfg.Logs {
		a, err := l.accept()
		if err != nil {
			return nil, err
		}
		w.logs = append(w.logs, a)
	}
	return w, w.load(cfg.Key)
}

// Close gives the state free for another process.
func (w *Witness) Close() error { return w.unlock() }

// Failed is closed when the state could not be written. What is on the disk is
// not known then, so nothing more is signed and the process should end; one that
// starts reads what is there. Err says why.
func (w *Witness) Failed() <-chan struct{} { return w.failed }

// Err returns why Failed was closed, else nil.
func (w *Witness) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reason
}

func (w *Witness) fail(cause error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reason == nil {
		w.reason = fault.New(fault.Unavailable, "the witness could not write its state, and signs nothing more: %w", cause).
			WithCode("witness_failed").WithHint("check the disk (space, errors), then start it again")
		close(w.failed)
	}
	return w.reason
}

// AddCheckpoint handles the body of an add-checkpoint request. It returns the
// witness's signature line.
//
// Invalid: malformed, or a checkpoint smaller than the old size. NotFound: a log
// that is not witnessed. Denied: not signed by that log. Conflict: the old size is
// not that of the newest checkpoint signed here; newest is. Integrity: the
// checkpoint does not continue that one. Unavailable: the state failed.
func (w *Witness) AddCheckpoint(ctx context.Context, body []byte) (line []byte, newest uint64, err error) {
	r, err := parseRequest(body)
	if err != nil {
		return nil, 0, err
	}
	checkpoint, n, err := w.verify(r.signed)
	if err != nil {
		return nil, 0, err
	}
	if r.old > checkpoint.Size {
		return nil, 0, malformed("the old size %d is larger than the checkpoint's, %d", r.old, checkpoint.Size)
	}
	o, err := w.origin(checkpoint.Origin)
	if err != nil {
		return nil, 0, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := errors.Join(ctx.Err(), w.Err()); err != nil {
		return nil, 0, fault.New(fault.Unavailable, "%w", err)
	}
	if r.old != o.newest.Size {
		return nil, o.newest.Size, fault.New(fault.Conflict, "the newest checkpoint signed here of %q has size %d, not %d", checkpoint.Origin, o.newest.Size, r.old).
			WithCode("other_size")
	}
	if err := continues(o, checkpoint, r.proof); err != nil {
		return nil, o.newest.Size, err
	}
	line, err = w.sign(o, checkpoint, n)
	return line, checkpoint.Size, err
}

// continues checks that a checkpoint continues the newest one of its log.
func continues(o *origin, next ledger.Checkpoint, proof []ledger.Hash) error {
	var err error
	switch {
	case next.Size == 0 && next.Root != emptyRoot:
		err = errors.New("the empty tree has another root")
	case o.newest.Size == 0 || o.newest.Size == next.Size:
		if len(proof) > 0 {
			err = errors.New("a proof where there is nothing to prove")
		}
		if o.signed != nil && o.newest.Size == next.Size && o.newest.Root != next.Root {
			err = errors.New("another root was signed for this size")
		}
	default:
		err = ledger.VerifyConsistency(o.newest.Size, next.Size, proof, o.newest.Root, next.Root)
	}
	if err == nil {
		return nil
	}
	return fault.New(fault.Integrity, "the checkpoint of size %d of %q does not continue the one of size %d: %w", next.Size, next.Origin, o.newest.Size, err).
		WithCode("not_consistent")
}

// emptyRoot is the root of a tree without leaves (RFC 6962 section 2.1).
var emptyRoot = ledger.Hash(sha256.Sum256(nil))

// sign signs the next checkpoint of a log and makes it the newest. The caller
// holds o.mu. Nobody but us sees the signature before it is on the disk.
func (w *Witness) sign(o *origin, next ledger.Checkpoint, n *note.Note) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs}, w.signer)
	if err != nil {
		return nil, fault.New(fault.Internal, "sign a checkpoint: %w", err)
	}
	if err := replace(w.disk, fileOf(next.Origin), signed); err != nil {
		return nil, w.fail(err)
	}
	o.newest, o.signed = next, signed
	return lastLine(signed), nil
}

// lastLine returns the signature that note.Sign has appended.
func lastLine(signed []byte) []byte {
	body := bytes.TrimSuffix(signed, []byte("\n"))
	return signed[bytes.LastIndexByte(body, '\n')+1:]
}

// verify opens a checkpoint with the keys of its log. The note keeps none but
// their signatures.
func (w *Witness) verify(signed []byte) (ledger.Checkpoint, *note.Note, error) {
	text, _, found := bytes.Cut(signed, []byte("\n\n"))
	if !found {
		return ledger.Checkpoint{}, nil, malformed("there is no signed checkpoint")
	}
	checkpoint, err := parseText(string(text) + "\n")
	if err != nil {
		return ledger.Checkpoint{}, nil, err
	}
	keys, err := w.keys(checkpoint.Origin)
	if err != nil {
		return ledger.Checkpoint{}, nil, err
	}
	n, err := note.Open(signed, note.VerifierList(keys...))
	var unverified *note.UnverifiedNoteError
	var wrong *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified) || errors.As(err, &wrong):
		return ledger.Checkpoint{}, nil, fault.New(fault.Denied, "the checkpoint is not signed by %q", checkpoint.Origin).WithCode("unknown_signature").WithCause(err)
	case err != nil:
		return ledger.Checkpoint{}, nil, malformed("%v", err)
	case n.Text != string(text)+"\n":
		return ledger.Checkpoint{}, nil, malformed("the text of the checkpoint has an empty line")
	}
	return checkpoint, n, nil
}

// keys returns the keys of a log.
func (w *Witness) keys(origin string) ([]note.Verifier, error) {
	var keys []note.Verifier
	for _, l := range w.logs {
		key, err := l.key(origin)
		if err != nil {
			return nil, err
		}
		if key != nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fault.New(fault.NotFound, "the log %q is not witnessed here", origin).WithCode("unknown_log")
	}
	return keys, nil
}

// parseText reads a checkpoint. What a log writes below the three lines that all
// have is signed along and not read.
func parseText(text string) (ledger.Checkpoint, error) {
	lines := strings.SplitAfter(text, "\n")
	if len(lines) < 4 {
		return ledger.Checkpoint{}, malformed("a checkpoint has three lines and more")
	}
	checkpoint, err := ledger.ParseCheckpoint(strings.Join(lines[:3], ""))
	if err != nil {
		return ledger.Checkpoint{}, malformed("%v", err)
	}
	return checkpoint, nil
}

// origin returns the state of a log, which a first checkpoint makes.
func (w *Witness) origin(name string) (*origin, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.origins[name]; o != nil {
		return o, nil
	}
	if len(w.origins) >= maxOrigins {
		return nil, fault.New(fault.Unavailable, "this witness has as many logs as it can have, %d", maxOrigins).WithCode("too_many_logs")
	}
	o := &origin{}
	w.origins[name], w.byFile[fileOf(name)] = o, o
	return o, nil
}

// Newest returns the newest checkpoint of the log whose origin has that SHA-256 in
// hex, with the log's signature and ours; NotFound when none was signed yet.
func (w *Witness) Newest(hash string) ([]byte, error) {
	w.mu.Lock()
	o := w.byFile[hash]
	w.mu.Unlock()
	if o != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.signed != nil {
			return o.signed, nil
		}
	}
	return nil, fault.New(fault.NotFound, "no checkpoint of that log was signed here").WithCode("unknown_log")
}

// load reads the state. A file that the witness's own key did not sign was
// written by somebody else.
func (w *Witness) load(key *Key) error {
	// A file may stand there by a rename that was not made durable.
	if err := w.disk.Sync(); err != nil {
		return fault.New(fault.Unavailable, "read the state of the witness: %w", err)
	}
	names, err := w.disk.Names()
	if err != nil {
		return fault.New(fault.Unavailable, "read the state of the witness: %w", err)
	}
	for _, name := range names {
		if len(name) != hex.EncodedLen(sha256.Size) {
			continue // the lock, or what a crash left of a write
		}
		if err := w.loadFile(name, key); err != nil {
			return err
		}
	}
	return nil
}

func (w *Witness) loadFile(name string, key *Key) error {
	signed, err := w.disk.Read(name)
	if err != nil {
		return fault.New(fault.Unavailable, "read the state of the witness: %w", err)
	}
	verifier, err := key.verifier()
	if err != nil {
		return err
	}
	n, err := note.Open(signed, note.VerifierList(verifier))
	var checkpoint ledger.Checkpoint
	if err == nil {
		checkpoint, err = parseText(n.Text)
	}
	if err == nil && fileOf(checkpoint.Origin) != name {
		err = errors.New("it is of another log")
	}
	if err != nil {
		return fault.New(fault.Integrity, "the state file %s was not written by this witness: %w", name, err).
			WithCode("witness_state").WithHint("one state directory serves one key; a new witness takes a new key and an empty directory")
	}
	o := &origin{newest: checkpoint, signed: signed}
	w.origins[checkpoint.Origin], w.byFile[name] = o, o
	return nil
}

// fileOf names the state file of a log: its origin's SHA-256 in hex.
func fileOf(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}
