package ledger

import (
	"crypto/sha256"
	"crypto/x509"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
)

// Anchor shows that a checkpoint of a log was in the operator's anchor log, which
// witnesses and a timestamp authority have seen. The anchor log holds of each
// checkpoint only AnchorEntry, so that who reads it learns of no tenant.
type Anchor struct {
	Blind [32]byte // random, of this one checkpoint
	// Proof is the inclusion of AnchorEntry, as an entry of 32 bytes, in the anchor
	// log, with that log's checkpoint and its cosignatures.
	Proof LogProof
	// Token is a timestamp token (RFC 3161, DER) of the text of the anchor log's
	// checkpoint; nil: none.
	Token []byte
}

// AnchorEntry is what the operator's anchor log takes of a tenant's checkpoint:
// SHA-256 of 32 random bytes and the checkpoint's text. Without the random bytes
// nobody learns from the anchor log which tenants there are. The entry's hash in
// the anchor log is LeafHash of these 32 bytes.
func AnchorEntry(blind [32]byte, c Checkpoint) Hash {
	return sha256.Sum256(append(blind[:], c.Text()...))
}

// Verify checks that the checkpoint is in the anchor log. It returns the anchor
// log's checkpoint and the note with those signatures that the verifiers know: of
// the anchor log, one of which there must be, and of witnesses, whose number the
// caller judges. An Integrity fault when anything does not fit.
func (a *Anchor) Verify(c Checkpoint, log note.Verifier, witnesses ...note.Verifier) (Checkpoint, *note.Note, error) {
	anchor, n, err := OpenCheckpoint(a.Proof.Checkpoint, append([]note.Verifier{log}, witnesses...)...)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	signed := false
	for _, s := range n.Sigs {
		signed = signed || s.Name == log.Name() && s.Hash == log.KeyHash()
	}
	if !signed {
		return Checkpoint{}, nil, fault.New(fault.Integrity, "the anchor log's checkpoint is not signed by %q", log.Name()).WithCode("anchor_signature")
	}
	if err := a.holds(c, anchor); err != nil {
		return Checkpoint{}, nil, err
	}
	return anchor, n, nil
}

// holds checks that the checkpoint is under that of the anchor log.
func (a *Anchor) holds(c, anchor Checkpoint) error {
	entry := AnchorEntry(a.Blind, c)
	if err := VerifyInclusion(LeafHash(entry[:]), a.Proof.Index, anchor.Size, a.Proof.Path, anchor.Root); err != nil {
		return fault.New(fault.Integrity, "the checkpoint is not in the anchor log: %w", err).WithCode("anchor_inclusion")
	}
	return nil
}

// Time checks the token against the anchor log's checkpoint and returns the time
// at which the anchored checkpoint was there at the latest; see VerifyTimestamp.
func (a *Anchor) Time(anchor Checkpoint, roots *x509.CertPool) (time.Time, error) {
	return VerifyTimestamp(a.Token, []byte(anchor.Text()), roots)
}
