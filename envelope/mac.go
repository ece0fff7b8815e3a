package envelope

import (
	"bytes"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
)

// MAC returns HMAC-SHA-256 (RFC 2104) of the message. It is crypto/hmac in one
// call that allocates nothing: every field of every step is derived for, sealed
// and committed to, and crypto/hmac takes twice the time and six allocations.
// In FIPS 140-3 mode it is crypto/hmac itself. A test compares the two.
func MAC(key, message []byte) [sha256.Size]byte {
	var array [sha256.BlockSize + 512]byte // on the stack, enough for most messages
	return mac(key, append(array[:sha256.BlockSize], message...))
}

var (
	innerPad = bytes.Repeat([]byte{0x36}, sha256.BlockSize)
	outerPad = bytes.Repeat([]byte{0x5c}, sha256.BlockSize)
)

// mac is MAC of a message that stands behind 64 bytes of room for the inner pad.
func mac(key, room []byte) [sha256.Size]byte {
	if fips140.Enabled() || len(key) > sha256.BlockSize {
		// Copies, lest every caller's buffer must be on the heap.
		return macByLibrary(bytes.Clone(key), bytes.Clone(room[sha256.BlockSize:]))
	}
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(room, innerPad)
	copy(outer[:], outerPad)
	subtle.XORBytes(room, innerPad[:len(key)], key)
	subtle.XORBytes(outer[:], outerPad[:len(key)], key)
	sum := sha256.Sum256(room)
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}

func macByLibrary(key, message []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	h.Sum(sum[:0])
	return sum
}
