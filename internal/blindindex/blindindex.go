// Package blindindex makes the tokens under which sealed values are found again.
//
// A token is a keyed hash of a term. Who has the tables but not the tenant's
// index key learns which rows have equal terms for one purpose, and nothing
// else: he cannot test a guess, and tokens of two purposes or two tenants
// cannot be compared. Tokens serve exact match only.
package blindindex

import (
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/canon"
)

const label = "underseal/v1/index\x00"

// Token returns HMAC-SHA-256 of the term, under a key that HMAC-SHA-256 derives
// from the tenant's index key for the purpose (as HKDF-Expand does, RFC 5869).
// The caller brings the term to its one spelling first: two terms match if
// their bytes are equal.
func Token(key envelope.Key, purpose, term string) [32]byte {
	info := canon.AppendTuple([]byte(label), purpose)
	derived := envelope.MAC(key.Secret[:], append(info, 1))
	return envelope.MAC(derived[:], []byte(term))
}

// Tokens returns the tokens of one term under several index keys, in their order.
func Tokens(keys []envelope.Key, purpose, term string) [][32]byte {
	tokens := make([][32]byte, len(keys))
	for i, key := range keys {
		tokens[i] = Token(key, purpose, term)
	}
	return tokens
}
