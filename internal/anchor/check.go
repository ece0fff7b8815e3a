package anchor

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Codes of what does not hold of a stored checkpoint.
const (
	codeChanged = "anchor_changed"
	codeQuorum  = "quorum_not_met"
)

func changed(code, format string, args ...any) error {
	return fault.New(fault.Integrity, format, args...).WithCode(code)
}

// OpenHead returns what the head beside the keys says that was signed. Without keys
// the signature is not looked at.
func (l *Log) OpenHead(ctx context.Context, h store.AnchorHead, withoutKeys bool) (ledger.Checkpoint, error) {
	verifiers, err := l.verifiers(ctx, h.Log, withoutKeys)
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	says, _, err := l.open(h.Log, h.Signed, verifiers)
	return says, err
}

// OpenComplete returns what a complete checkpoint says, and checks all that it needs
// the tree for not: the log's signature, each cosignature of a witness that is
// configured, that there are as many as were asked for when it was stored, the
// timestamp if it is by the configured authority, and that the row is as we wrote it.
// Without keys it leaves out the log's signature and the last. What does not hold is
// an Integrity fault.
func (l *Log) OpenComplete(ctx context.Context, c store.AnchorCheckpoint, withoutKeys bool) (ledger.Checkpoint, error) {
	verifiers, err := l.verifiers(ctx, c.Log, withoutKeys)
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	for _, w := range l.config.Witnesses {
		verifiers = append(verifiers, w.Key)
	}
	says, n, err := l.open(c.Log, c.Signed, verifiers)
	if err != nil {
		return says, err
	}
	if err := l.checkCosignatures(c, n); err != nil {
		return says, err
	}
	if err := l.checkToken(c, says); err != nil || withoutKeys {
		return says, err
	}
	mark, err := l.mark(ctx, c)
	if err == nil && !hmac.Equal(mark[:], c.Mark[:]) {
		err = changed(codeChanged, "the row is not as it was stored: cosignatures, timestamp or what was asked for were changed")
	}
	return says, err
}

// verifiers returns the log's own key, none without keys.
func (l *Log) verifiers(ctx context.Context, number int64, withoutKeys bool) ([]note.Verifier, error) {
	if withoutKeys {
		return nil, nil
	}
	key, err := l.key(ctx, number)
	if err != nil {
		return nil, err
	}
	return []note.Verifier{key}, nil
}

// open reads a checkpoint of an anchor log. Of the verifiers given, the first is the
// log's own if any is the log's; a signature of any of them that is wrong is refused.
func (l *Log) open(number int64, signed []byte, verifiers []note.Verifier) (ledger.Checkpoint, *note.Note, error) {
	origin := Origin(l.config.Deployment, number)
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified):
		n = unverified.Note
	case errors.As(err, &invalid):
		return ledger.Checkpoint{}, nil, changed("checkpoint_forged", "the signature of %s is wrong, or of another checkpoint", invalid.Name)
	case err != nil:
		return ledger.Checkpoint{}, nil, changed("checkpoint_malformed", "it is not a signed note: %w", err)
	}
	says, err := ledger.ParseCheckpoint(n.Text)
	if err != nil {
		return says, nil, err
	}
	for _, v := range verifiers {
		if v.Name() == origin && !signedBy(n.Sigs, v) {
			return says, nil, changed("checkpoint_unsigned", "it is not signed by the anchor log")
		}
	}
	if says.Origin != origin {
		return says, nil, changed("checkpoint_of_other_log", "it is of the log %s", says.Origin)
	}
	return says, n, nil
}

func signedBy(sigs []note.Signature, v note.Verifier) bool {
	for _, s := range sigs {
		if s.Name == v.Name() && s.Hash == v.KeyHash() {
			return true
		}
	}
	return false
}

// checkCosignatures counts those of witnesses. One that is not configured any more
// counts as it did then: that the row is as it was stored says the mark.
func (l *Log) checkCosignatures(c store.AnchorCheckpoint, n *note.Note) error {
	origin, seen := Origin(l.config.Deployment, c.Log), map[string]bool{}
	for _, s := range append(append([]note.Signature{}, n.Sigs...), n.UnverifiedSigs...) {
		if s.Name != origin {
			seen[fmt.Sprintf("%s+%08x", s.Name, s.Hash)] = true
		}
	}
	if len(seen) < c.Quorum {
		return changed(codeQuorum, "it has %d cosignatures, and the quorum was %d when it was stored", len(seen), c.Quorum)
	}
	return nil
}

// checkToken requires a timestamp if one was asked for, and checks that of the
// configured authority.
func (l *Log) checkToken(c store.AnchorCheckpoint, says ledger.Checkpoint) error {
	switch {
	case len(c.Authority) == 0 && len(c.Token) == 0:
		return nil
	case len(c.Authority) == 0 || len(c.Token) == 0:
		return changed("timestamp_missing", "it has a timestamp that nobody asked for, or lacks the one that was asked for")
	case !bytes.Equal(c.Authority, l.authorityHash()):
		return nil // of an authority that is not configured any more
	}
	_, err := ledger.VerifyTimestamp(c.Token, []byte(says.Text()), l.authority.roots)
	return err
}

// authorityHash names the authority that is asked for timestamps; nil: none.
func (l *Log) authorityHash() []byte {
	if l.authority == nil {
		return nil
	}
	sum := sha256.Sum256(l.authority.Root.Raw)
	return sum[:]
}

const markLabel = "underseal/v1/anchor-mark\x00"

// mark is a keyed hash of a complete checkpoint's row. With it a check can tell a
// cosignature that was taken away from one that was never asked for.
func (l *Log) mark(ctx context.Context, c store.AnchorCheckpoint) (mark [32]byte, err error) {
	seed, err := l.config.Seed(ctx)
	if err != nil {
		return mark, err
	}
	key, err := hkdf.Expand(sha256.New, seed, markLabel, sha256.Size)
	if err != nil {
		return mark, fault.New(fault.Internal, "derive the key of the anchor log's marks: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	for _, number := range []uint64{uint64(c.Log), c.Size, uint64(c.Quorum)} {
		mac.Write(binary.BigEndian.AppendUint64(nil, number))
	}
	for _, part := range [][]byte{c.Signed, c.Token, c.Authority} {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write(part)
	}
	return [32]byte(mac.Sum(nil)), nil
}
