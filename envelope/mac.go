package envelope

import (
	"bytes"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
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

// digest is what crypto/sha256 makes: its states can be written and read.
type digest interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// stateOfAPad is the state behind any block, but for its words.
var stateOfAPad = func() (state [stateSize]byte) {
	d := sha256.New().(digest)
	d.Write(innerPad)
	appended, err := d.AppendBinary(nil)
	if err != nil || len(appended) != stateSize {
		panic("envelope: crypto/sha256 writes its states in another way than this was written for")
	}
	return [stateSize]byte(appended)
}()

func stateBehind(pad, key []byte) [sha256.Size]byte {
	block := bytes.Clone(pad)
	subtle.XORBytes(block, block, key)
	d := sha256.New().(digest)
	d.Write(block)
	appended, _ := d.AppendBinary(nil) // cannot fail: see stateOfAPad
	return [sha256.Size]byte(appended[stateAt:])
}

// macRun is the room of one HMAC at a time.
type macRun struct {
	digest digest
	state  [stateSize]byte
	outer  [sha256.BlockSize]byte  // the inner hash and its padding
	room   [sha256.Size + 480]byte // of the message and its padding; enough for all but very long contexts
}

var macRuns = sync.Pool{New: func() any {
	r := &macRun{digest: sha256.New().(digest)}
	padded(r.outer[:sha256.Size])
	return r
}}

// mac may write behind the message, where its array has room.
//
// It pads both messages itself (FIPS 180-4, 5.1.1): the state behind the last
// block is the hash then, which saves the copies that hash.Hash.Sum makes.
func (r *macRun) mac(m *macStart, message []byte) [sha256.Size]byte {
	copy(r.outer[:], r.words(&m.inner, padded(message)))
	return [sha256.Size]byte(r.words(&m.outer, r.outer[:]))
}

// words returns the state behind start and whole blocks.
func (r *macRun) words(start *[sha256.Size]byte, blocks []byte) []byte {
	copy(r.state[:], stateOfAPad[:])
	copy(r.state[stateAt:], start[:])
	_ = r.digest.UnmarshalBinary(r.state[:]) // cannot fail: its form is the library's own
	r.digest.Write(blocks)
	_, _ = r.digest.AppendBinary(r.state[:0])
	return r.state[stateAt : stateAt+sha256.Size]
}

// padded appends the padding of SHA-256 to a message that follows a pad.
func padded(message []byte) []byte {
	size := sha256.BlockSize + len(message)
	message = append(message, 0x80)
	for len(message)%sha256.BlockSize != sha256.BlockSize-8 {
		message = append(message, 0)
	}
	return binary.BigEndian.AppendUint64(message, uint64(size)*8)
}

func macByLibrary(key, message []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	h.Sum(sum[:0])
	return sum
}
