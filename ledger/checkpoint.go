package ledger

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
)

// maxNote bounds a signed note: 100 signatures of the largest kind fit.
const maxNote = 1 << 20

// Checkpoint is the head of a log: so many leaves have this root (C2SP
// tlog-checkpoint, without extension lines).
type Checkpoint struct {
	Origin string // name of the log
	Size   uint64 // number of leaves
	Root   Hash   // RFC 6962 root of their hashes
}

// Text returns what is signed: origin, size and root in base64, a line each.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// ParseCheckpoint reads the text of a checkpoint without its signatures. Every
// spelling but that of Text is an Integrity fault with the code
// "checkpoint_malformed", extension lines among them.
func ParseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || !validName(lines[0]) {
		return Checkpoint{}, malformedCheckpoint("it has not the three lines origin, size and root")
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil {
		return Checkpoint{}, malformedCheckpoint("%q is no size", lines[1])
	}
	root, ok := parseBase64Hash(lines[2])
	if !ok {
		return Checkpoint{}, malformedCheckpoint("%q is no root", lines[2])
	}
	c := Checkpoint{lines[0], size, root}
	if c.Text() != text {
		return Checkpoint{}, malformedCheckpoint("it is spelled in another way than checkpoints are")
	}
	return c, nil
}

func malformedCheckpoint(format string, args ...any) error {
	return fault.New(fault.Integrity, "checkpoint is refused: %s", fmt.Sprintf(format, args...)).WithCode("checkpoint_malformed")
}

// parseBase64Hash reads the one spelling of a hash in base64.
func parseBase64Hash(text string) (h Hash, ok bool) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(h) || len(text) != base64.StdEncoding.EncodedLen(len(h)) {
		return h, false
	}
	return Hash(raw), true
}

// SignCheckpoint returns the checkpoint as a signed note with a line for each signer.
func SignCheckpoint(c Checkpoint, signers ...note.Signer) ([]byte, error) {
	if _, err := ParseCheckpoint(c.Text()); err != nil {
		return nil, fault.New(fault.Invalid, "couldn't sign the checkpoint of %q at size %d: %w", c.Origin, c.Size, err)
	}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, signers...)
	if err != nil {
		return nil, fault.New(fault.Internal, "couldn't sign the checkpoint of %q at size %d: %w", c.Origin, c.Size, err)
	}
	return signed, nil
}

// OpenCheckpoint returns the checkpoint in a signed note, and the note with the
// signatures of the verifiers given, at least one. A note that none of them
// signed is an Integrity fault with the code "checkpoint_unsigned", one with a
// signature of theirs that is wrong has the code "checkpoint_forged". Signatures of
// others are kept in UnverifiedSigs and mean nothing.
func OpenCheckpoint(signed []byte, verifiers ...note.Verifier) (Checkpoint, *note.Note, error) {
	n, err := openNote("checkpoint", signed, verifiers)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	return c, n, nil
}

// openNote opens a signed note and says in our words what is wrong with it.
func openNote(what string, signed []byte, verifiers []note.Verifier) (*note.Note, error) {
	if len(signed) > maxNote {
		return nil, fault.New(fault.Integrity, "%s is refused: %d bytes are too many for a signed note", what, len(signed)).WithCode(what + "_malformed")
	}
	if !spelledOnce(signed) {
		return nil, fault.New(fault.Integrity, "%s is refused: a signature is not in the one spelling of base64", what).WithCode(what + "_malformed")
	}
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case err == nil:
		return n, nil
	case errors.As(err, &unverified):
		return nil, fault.New(fault.Integrity, "%s is signed by none of the %d keys that may sign it, but by %s", what, len(verifiers), signedBy(unverified.Note.UnverifiedSigs)).
			WithCode(what + "_unsigned")
	case errors.As(err, &invalid):
		return nil, fault.New(fault.Integrity, "%s has a wrong signature of key %s+%08x", what, invalid.Name, invalid.Hash).WithCode(what + "_forged")
	}
	return nil, fault.New(fault.Integrity, "%s is refused: it is not a signed note (%w)", what, err).WithCode(what + "_malformed")
}

// spelledOnce reports whether the signatures of a note are in the one spelling of their
// bytes: note.Open takes others as well, and other verifiers do not.
func spelledOnce(signed []byte) bool {
	lines := signed[bytes.LastIndex(signed, []byte("\n\n"))+1:]
	for line := range bytes.Lines(bytes.TrimPrefix(lines, []byte("\n"))) {
		encoded := bytes.TrimSuffix(line[bytes.LastIndexByte(line, ' ')+1:], []byte("\n"))
		if _, err := base64.StdEncoding.Strict().DecodeString(string(encoded)); err != nil {
			return false
		}
	}
	return true
}

func signedBy(sigs []note.Signature) string {
	var names []string
	for _, s := range sigs {
		names = append(names, fmt.Sprintf("%s+%08x", s.Name, s.Hash))
	}
	return strings.Join(names, ", ")
}

// UnverifiedCheckpoint returns what a signed note claims to be the checkpoint,
// with no signature looked at. It says which log's keys to look for, nothing more.
func UnverifiedCheckpoint(signed []byte) (Checkpoint, error) {
	text, _, ok := strings.Cut(string(signed[:min(len(signed), maxNote)]), "\n\n")
	if !ok {
		return Checkpoint{}, malformedCheckpoint("it has no signatures")
	}
	return ParseCheckpoint(text + "\n")
}
