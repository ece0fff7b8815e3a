package envelope

import (
	"crypto/rand"
	"sync"
)

// drawBatch is how many draws are made at once: a call of the generator for each
// salt and nonce takes a tenth of the time of Seal. Neither is a secret, so they may
// wait in memory.
const drawBatch = 32

// draw is what is random in an envelope.
type draw struct {
	salt  [saltSize]byte
	nonce [nonceSize]byte
}

type drawStock struct {
	bytes [drawBatch * (saltSize + nonceSize)]byte
	left  int // draws
}

var drawStocks = sync.Pool{New: func() any { return new(drawStock) }}

// newDraw returns a draw that was never given out before.
func newDraw() (d draw) {
	s := drawStocks.Get().(*drawStock)
	defer drawStocks.Put(s)
	if s.left == 0 {
		_, _ = rand.Read(s.bytes[:]) // crypto/rand.Read never fails: it ends the program
		s.left = drawBatch
	}
	s.left--
	rest := s.bytes[s.left*(saltSize+nonceSize):]
	copy(d.nonce[:], rest[copy(d.salt[:], rest):])
	return d
}
