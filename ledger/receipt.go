package ledger

import (
	"bytes"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
)

// receiptHeader is the first line of a receipt's text. A checkpoint's second line
// is a number and a leaf is none, so neither can be taken for the other.
const receiptHeader = "underseal/v1/receipt\n"

// Receipt is the platform's signed word that it has the leaf, given at once;
// later a LogProof says more. Its holder can show that a leaf went missing.
type Receipt struct {
	Leaf      []byte // encoded, as Leaf.Encode writes it
	Signature []byte // lines of C2SP signed-note
}

// Note returns the receipt as a signed note: a header, the leaf, the signatures.
func (r Receipt) Note() []byte {
	return []byte(receiptHeader + string(r.Leaf) + "\n\n" + string(r.Signature))
}

// SignReceipt signs a receipt for a leaf; only its own log's key may (its name is
// the origin). A leaf that does not parse is an Integrity fault.
func SignReceipt(leaf []byte, signer note.Signer) (Receipt, error) {
	l, err := ParseLeaf(leaf)
	if err != nil {
		return Receipt{}, err
	}
	if signer.Name() != l.Log {
		return Receipt{}, fault.New(fault.Invalid, "couldn't sign a receipt: the leaf is in log %q and the key is that of %q", l.Log, signer.Name())
	}
	signed, err := note.Sign(&note.Note{Text: receiptHeader + string(leaf) + "\n"}, signer)
	if err != nil {
		return Receipt{}, fault.New(fault.Internal, "couldn't sign a receipt for a leaf of %q: %w", l.Log, err)
	}
	return ParseReceipt(signed)
}

// ParseReceipt reads what Note writes, without looking at the signature; anything
// else is an Integrity fault with the code "receipt_malformed".
func ParseReceipt(signed []byte) (Receipt, error) {
	text, sigs, ok := strings.Cut(string(signed), "\n\n")
	leaf, header := strings.CutPrefix(text, receiptHeader)
	if !ok || !header {
		return Receipt{}, fault.New(fault.Integrity, "receipt is refused: it is not a signed note that begins with %q", strings.TrimSpace(receiptHeader)).
			WithCode("receipt_malformed")
	}
	return Receipt{[]byte(leaf), []byte(sigs)}, nil
}

// VerifyReceipt checks that a key of the leaf's own log signed the receipt, and
// returns the leaf. A wrong signature has the code "receipt_forged", one of no
// known key "receipt_unsigned".
func VerifyReceipt(r Receipt, verifiers ...note.Verifier) (Leaf, error) {
	l, err := ParseLeaf(r.Leaf)
	if err != nil {
		return Leaf{}, err
	}
	var own []note.Verifier
	for _, v := range verifiers {
		if v.Name() == l.Log {
			own = append(own, v)
		}
	}
	n, err := openNote("receipt", r.Note(), own)
	if err != nil {
		return Leaf{}, err
	}
	if !bytes.Equal([]byte(n.Text), []byte(receiptHeader+string(r.Leaf)+"\n")) {
		return Leaf{}, fault.New(fault.Integrity, "receipt is refused: the signature is over another text").WithCode("receipt_malformed")
	}
	return l, nil
}
