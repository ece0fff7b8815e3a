package envelope

import (
	"crypto/rand"
	"sync"
)

// saltBatch is how many salts are drawn at once: a call of the generator for each
// takes a twentieth of the time of Seal. Salts are no secret, so they may wait in
// memory; nonces are drawn one by one.
const saltBatch = 32

type saltStock struct {
	bytes [saltBatch * saltSize]byte
	left  int // salts
}

var saltStocks = sync.Pool{New: func() any { return new(saltStock) }}

// newSalt returns a salt that was never given out before.
func newSalt() [saltSize]byte {
	s := saltStocks.Get().(*saltStock)
	defer saltStocks.Put(s)
	if s.left == 0 {
		_, _ = rand.Read(s.bytes[:]) // crypto/rand.Read never fails: it ends the program
		s.left = saltBatch
	}
	s.left--
	return [saltSize]byte(s.bytes[s.left*saltSize:])
}
