package envelope

import (
	"bytes"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding"
	"hash"
	"sync"
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

// macStart is what every HMAC under a key begins with: the states of SHA-256 behind
// the two pads.
type macStart struct{ inner, outer [sha256.Size]byte }

// newMACStart returns zero where HMACs are the library's.
func newMACStart(key []byte) macStart {
	if fips140.Enabled() || len(key) > sha256.BlockSize {
		return macStart{}
	}
	return macStart{inner: stateBehind(innerPad, key), outer: stateBehind(outerPad, key)}
}

// A state is how crypto/sha256 writes a digest that is under way: four bytes, the
// eight words, the block that has begun, the length so far.
const (
	stateAt   = 4
	stateSize = stateAt + sha256.Size + sha256.BlockSize + 8
)

// stateOfAPad is the state behind any block, but for its words.
var stateOfAPad = func() (state [stateSize]byte) {
	digest := sha256.New()
	digest.Write(innerPad)
	marshaled, err := digest.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil || len(marshaled) != stateSize {
		panic("envelope: crypto/sha256 writes its states in another way than this was written for")
	}
	return [stateSize]byte(marshaled)
}()

func stateBehind(pad, key []byte) [sha256.Size]byte {
	block := bytes.Clone(pad)
	subtle.XORBytes(block, block, key)
	digest := sha256.New()
	digest.Write(block)
	marshaled, _ := digest.(encoding.BinaryMarshaler).MarshalBinary() // cannot fail: see stateOfAPad
	return [sha256.Size]byte(marshaled[stateAt:])
}

// macRun is the room of one HMAC at a time.
type macRun struct {
	digest hash.Hash
	state  [stateSize]byte
	sum    [sha256.Size]byte
	room   [sha256.Size + 416]byte // of the message; enough for all but very long contexts
}

var macRuns = sync.Pool{New: func() any {
	return &macRun{digest: sha256.New(), state: stateOfAPad}
}}

func (r *macRun) mac(m *macStart, message []byte) [sha256.Size]byte {
	r.resume(&m.inner)
	r.digest.Write(message)
	r.digest.Sum(r.sum[:0])
	r.resume(&m.outer)
	r.digest.Write(r.sum[:])
	r.digest.Sum(r.sum[:0])
	return r.sum
}

func (r *macRun) resume(state *[sha256.Size]byte) {
	copy(r.state[stateAt:], state[:])
	_ = r.digest.(encoding.BinaryUnmarshaler).UnmarshalBinary(r.state[:]) // cannot fail: its form is the library's own
}

func macByLibrary(key, message []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	h.Sum(sum[:0])
	return sum
}
