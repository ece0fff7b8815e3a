package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/underseal/underseal/internal/fault"
)

// A stream (version 1, suite 02) is
//
//	F5 | version 01 | suite 02 | flags 00 | n | n x 16 key ids | salt 16 | commitment 32 | segment 0 | segment 1 ..
//
// and a segment is nonce 12 | ciphertext | tag 16. All segments hold SegmentSize
// bytes of plaintext, only the last one may hold fewer. It is there even if the
// stream is empty, and is itself empty only then, so a stream has one spelling
// and its length tells that of the plaintext.
//
// The message key is derived as for suite 01, from other bytes, since the suite
// is among them. Each segment's additional data bind it to its stream, its
// position, and whether it is the last: segments that are missing, doubled,
// moved, from another stream or behind the end are refused. These are the
// guarantees of FLOE (Fast Lightweight Online Encryption, 2025), which is about
// streams that are read at random places.

// SegmentSize is the plaintext of one segment, in bytes.
const SegmentSize = 64 << 10

// MaxStream is the longest plaintext of a stream, in bytes: 2^20 segments, 64
// GiB. Two of so many random nonces are equal with a probability below 2^-57.
const MaxStream = maxSegments * SegmentSize

const (
	maxSegments     = 1 << 20
	segmentOverhead = nonceSize + tagSize
	sealedSegment   = nonceSize + SegmentSize + tagSize
	maxPrefix       = headSize + maxKeys*idSize + saltSize + commitmentSize
)

// segments are what Sealer and Opener share: one message key and the additional
// data of the segment at hand.
type segments struct {
	aead cipher.AEAD
	data [commitmentSize + 4 + 1]byte // commitment, position, 1 for the last segment
}

func newSegments(key, commitment [32]byte) (s segments, err error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return s, fault.New(fault.Internal, "couldn't prepare a stream: %w", err)
	}
	if s.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return s, fault.New(fault.Internal, "couldn't prepare a stream: %w", err)
	}
	copy(s.data[:], commitment[:])
	return s, nil
}

// additional returns the additional data of a segment. The commitment stands for
// all bytes before it and the Context: it is derived from them.
func (s *segments) additional(position int64, last bool) []byte {
	binary.BigEndian.PutUint32(s.data[commitmentSize:], uint32(position))
	s.data[len(s.data)-1] = 0
	if last {
		s.data[len(s.data)-1] = 1
	}
	return s.data[:]
}

// room is where a segment is sealed or opened. It is used again, since making and
// clearing it takes a tenth of the time of a stream of 1 MiB.
type room [sealedSegment]byte

var rooms = sync.Pool{New: func() any { return new(room) }}

// shape is how many segments a stream has and how long its plaintext is.
type shape struct {
	count int64
	size  int64
}

// shapeOf gives the shape of a stream whose segments take n bytes together, and
// what is wrong with that number, "" if nothing.
func shapeOf(n int64) (s shape, what string) {
	s.count = (n + sealedSegment - 1) / sealedSegment
	last := n - (s.count-1)*sealedSegment - segmentOverhead
	switch {
	case n < segmentOverhead || last < 0:
		return s, "it is cut off"
	case last == 0 && s.count > 1:
		return s, "it ends with an empty segment"
	case s.count > maxSegments:
		return s, fmt.Sprintf("it has %d segments, at most %d", s.count, maxSegments)
	}
	s.size = (s.count-1)*SegmentSize + last
	return s, ""
}

// SealedSize returns the length of the stream that a plaintext of so many bytes is sealed
// into under one key.
func SealedSize(plain int64) int64 {
	segments := max(1, (plain+SegmentSize-1)/SegmentSize)
	return int64(headSize+idSize+saltSize+commitmentSize) + plain + segments*segmentOverhead
}

// plainSize returns the plaintext length of a segment.
func (s shape) plainSize(position int64) int {
	return int(min(SegmentSize, s.size-position*SegmentSize))
}
