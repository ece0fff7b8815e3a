package envelope

import (
	"bytes"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha256"
)

// MAC returns HMAC-SHA-256 (RFC 2104) of the message. It is crypto/hmac in one
// call that allocates nothing: every field of every step is derived for, sealed
// and committed to, and crypto/hmac takes twice the time and six allocations.
// In FIPS 140-3 mode it is crypto/hmac itself. A test compares the two.
func MAC(key, message []byte) (sum [sha256.Size]byte) {
	if fips140.Enabled() || len(key) > sha256.BlockSize {
		// Copies, lest every caller's buffer must be on the heap.
		return macByLibrary(bytes.Clone(key), bytes.Clone(message))
	}
	var array [sha256.BlockSize + 512]byte // on the stack, enough for most messages
	inner := array[:sha256.BlockSize]
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner, key)
	copy(outer[:], key)
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	sum = sha256.Sum256(append(inner, message...))
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}

func macByLibrary(key, message []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	h.Sum(sum[:0])
	return sum
}
