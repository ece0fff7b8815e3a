// Package ledger makes and checks the entries of a tenant's log.
//
// Every step of an object (an instance, a definition, a grant ..) leaves one
// Leaf: it names the object, the number of the step and the hash of the
// object's previous leaf, so that no leaf of an object can be taken out or put
// in. Of what the step wrote the leaf holds only the root of a tree of
// commitments. A commitment is an HMAC under a key that comes from the field's
// data keys; destroying those hides the value for good, while the leaf and
// every hash over it stay as they are. Revealing one field's commitment key
// discloses that field and no other.
//
// Leaves are hashed as RFC 6962 (Certificate Transparency) hashes its entries,
// so tools for such logs serve this one: the head of a log is a Checkpoint in a
// signed note, a LogProof shows that a leaf is under it, and a Policy says whose
// signatures and cosignatures count, all in the formats of C2SP.
//
// A Bundle is evidence of one leaf for somebody who has never seen Underseal:
// VerifyBundle needs that file, a policy from elsewhere, and nothing more.
//
// The package does no I/O and holds no state. The formats are
// docs/design/ledger.md, log.md, signatures.md and evidence.md.
package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"slices"

	"github.com/underseal/underseal/internal/fault"
)

// Hash is a SHA-256 value.
type Hash [32]byte

// String returns the hash as 64 hex digits in lower case.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads what String writes; any other spelling is Invalid.
func ParseHash(text string) (Hash, error) {
	h, ok := parseHash(text)
	if !ok {
		return Hash{}, fault.New(fault.Invalid, "hash %q is not 64 hex digits in lower case", text)
	}
	return h, nil
}

func parseHash(text string) (h Hash, ok bool) {
	if len(text) != 2*len(h) {
		return h, false
	}
	for i := range h {
		high, low := digit(text[2*i]), digit(text[2*i+1])
		if high > 15 || low > 15 {
			return h, false
		}
		h[i] = high<<4 | low
	}
	return h, true
}

// digit returns what a hex digit in lower case stands for; more than 15: it is none.
func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// The prefixes that keep leaves and inner nodes of a tree apart (RFC 6962
// section 2.1).
const (
	leafPrefix = 0x00
	nodePrefix = 0x01
)

// LeafHash returns the hash of an encoded leaf in its log's tree: SHA-256 of 00
// and the bytes.
func LeafHash(encoded []byte) Hash {
	var array [1024]byte
	return sha256.Sum256(append(append(array[:0], leafPrefix), encoded...))
}

// commitmentHash is LeafHash of a commitment's bytes.
func commitmentHash(c Hash) Hash {
	var b [1 + len(c)]byte // b[0] is leafPrefix
	copy(b[1:], c[:])
	return sha256.Sum256(b[:])
}

func nodeHash(left, right Hash) Hash {
	var b [1 + 2*len(left)]byte
	b[0] = nodePrefix
	copy(b[1:], left[:])
	copy(b[1+len(left):], right[:])
	return sha256.Sum256(b[:])
}

// DataRoot returns the root of the RFC 6962 tree over the commitments in
// ascending order, each being the input of a leaf hash. Sorting hides which
// commitment is whose. The root over none is SHA-256 of nothing.
func DataRoot(commitments []Hash) Hash {
	if len(commitments) == 0 {
		return sha256.Sum256(nil)
	}
	sorted := slices.Clone(commitments)
	slices.SortFunc(sorted, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
	for i, c := range sorted {
		sorted[i] = commitmentHash(c)
	}
	return root(sorted)
}

// root folds leaf hashes as RFC 6962 section 2.1 says: the left subtree has the
// largest power of two of leaves that is less than all.
func root(hashes []Hash) Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	split := splitPoint(len(hashes))
	return nodeHash(root(hashes[:split]), root(hashes[split:]))
}

// splitPoint is the largest power of two that is less than n; n is at least 2.
func splitPoint(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// RowsHash returns what a leaf says of the stored rows of its step: SHA-256 over
// the count of the items as u32-BE and, for each, its length as u32-BE and its
// bytes. The items are the step row and the ciphertexts that the step wrote, in
// the order of their paths; values stored in clear are left out. It can be
// checked without a key, also when the keys are destroyed.
func RowsHash(step []byte, sealed [][]byte) Hash {
	d := sha256.New()
	var b [4]byte
	put := func(n int) {
		binary.BigEndian.PutUint32(b[:], uint32(n))
		d.Write(b[:])
	}
	put(1 + len(sealed))
	put(len(step))
	d.Write(step)
	for _, s := range sealed {
		put(len(s))
		d.Write(s)
	}
	var h Hash
	d.Sum(h[:0])
	return h
}
