package ledger

import (
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
)

// batchHeader is the first line of the text of an AuditBatch; no checkpoint, receipt or
// leaf begins so.
const batchHeader = "underseal/v1/audit-batch\n"

// AuditBatch says which entries of a log a stretch of an audit stream holds, so that who
// receives it sees what is missing: the next batch of the same log begins where this one
// ended, and has the next number.
type AuditBatch struct {
	Log     string // origin
	First   uint64 // place of the first entry in the log
	Last    uint64 // place of the last one
	Number  uint64 // of the batch in its stream, 1 for the first
	Payload Hash   // SHA-256 of the bytes that hold the entries
}

// text is what is signed: header, log, "FIRST LAST", number, hash in hex.
func (b AuditBatch) text() string {
	return fmt.Sprintf("%s%s\n%d %d\n%d\n%s\n", batchHeader, b.Log, b.First, b.Last, b.Number, b.Payload)
}

// Sign returns the batch as a signed note; only a key of its own log may sign.
func (b AuditBatch) Sign(signer note.Signer) ([]byte, error) {
	if signer.Name() != b.Log {
		return nil, fault.New(fault.Invalid, "couldn't sign a batch of the audit: it is of log %q and the key is that of %q", b.Log, signer.Name())
	}
	signed, err := note.Sign(&note.Note{Text: b.text()}, signer)
	if err != nil {
		return nil, fault.New(fault.Internal, "couldn't sign a batch of the audit of %q: %w", b.Log, err)
	}
	return signed, nil
}

// VerifyAuditBatch reads a signed batch, which one of the verifiers must have signed as
// the key of the batch's own log. Whether the payload is the one, the caller compares.
// Anything else is an Integrity fault: "batch_malformed", and as those of receipts
// "batch_forged" and "batch_unsigned".
func VerifyAuditBatch(signed []byte, verifiers ...note.Verifier) (AuditBatch, error) {
	b, err := parseAuditBatch(string(signed))
	if err != nil {
		return AuditBatch{}, err
	}
	var own []note.Verifier
	for _, v := range verifiers {
		if v.Name() == b.Log {
			own = append(own, v)
		}
	}
	n, err := openNote("batch", signed, own)
	if err != nil {
		return AuditBatch{}, err
	}
	if n.Text != b.text() {
		return AuditBatch{}, malformedBatch()
	}
	return b, nil
}

func malformedBatch() error {
	return fault.New(fault.Integrity, "audit batch is refused: it is not a signed note that begins with %q", strings.TrimSpace(batchHeader)).
		WithCode("batch_malformed")
}

func parseAuditBatch(signed string) (b AuditBatch, err error) {
	text, ok := strings.CutPrefix(signed, batchHeader)
	lines := strings.SplitN(text, "\n", 5)
	if !ok || len(lines) < 5 {
		return b, malformedBatch()
	}
	b.Log = lines[0]
	if _, err := fmt.Sscanf(lines[1]+" "+lines[2], "%d %d %d", &b.First, &b.Last, &b.Number); err != nil {
		return b, malformedBatch()
	}
	if b.Payload, err = ParseHash(lines[3]); err != nil || !strings.HasPrefix(signed, b.text()+"\n") || b.First > b.Last || b.Number == 0 {
		return b, malformedBatch()
	}
	return b, nil
}
