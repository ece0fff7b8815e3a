package envelope

import (
	"io"

	"github.com/underseal/underseal/internal/fault"
)

// A Sealer encrypts what is written to it as a stream. It holds two segments in
// memory, whatever is written. It is for one goroutine.
type Sealer struct {
	segments
	dst      io.Writer
	position int64  // of the next segment
	plain    []byte // held back, since it may be the last; at most SegmentSize bytes of held
	held     *room  // nil: nothing was held back yet
	err      error  // the first failure, or that the stream is closed
	closed   bool
}

// NewSealer begins a stream to dst under the keys, as in Seal, and writes its
// first bytes. Keys in another order are Invalid.
//
// Only Close makes the stream whole: what was written before does not open. So a
// writer that fails half-way must not call Close, and Close is not to be
// deferred, lest a part passes for the whole.
func NewSealer(dst io.Writer, keys []Key, ctx Context) (*Sealer, error) {
	s, prefix, err := newSealer(dst, keys, ctx, newDraw().salt)
	if err != nil {
		return nil, err
	}
	if _, err := dst.Write(prefix); err != nil {
		return nil, streamError("write", err)
	}
	return s, nil
}

func newSealer(dst io.Writer, keys []Key, ctx Context, salt [saltSize]byte) (s *Sealer, prefix []byte, err error) {
	if err := checkKeys(keys); err != nil {
		return nil, nil, err
	}
	m, err := newPrefix([4]byte{mark, version, suiteStream, 0}, keys, ctx, salt, 0)
	if err != nil {
		return nil, nil, err
	}
	s = &Sealer{dst: dst}
	s.segments, err = newSegments(m.key, [commitmentSize]byte(m.prefix[len(m.prefix)-commitmentSize:]))
	return s, m.prefix, err
}

var _ io.WriteCloser = (*Sealer)(nil)

// Write encrypts p and writes the segments that are full. More than MaxStream
// bytes in all are Invalid. An error of the underlying writer that has no kind is
// Unavailable; after any error the stream cannot be completed.
func (s *Sealer) Write(p []byte) (n int, err error) {
	for n < len(p) && s.err == nil {
		n += s.take(p[n:])
	}
	return n, s.err
}

// take makes one segment of what is held back and the beginning of p, once it is
// certain not to be the last, and returns how much of p it took.
func (s *Sealer) take(p []byte) int {
	if len(s.plain) == 0 && len(p) > SegmentSize { // without a copy
		return s.flush(p[:SegmentSize], false)
	}
	if len(s.plain) == SegmentSize {
		if s.flush(s.plain, false) == 0 {
			return 0
		}
		s.plain = s.plain[:0]
	}
	if s.held == nil {
		s.held = rooms.Get().(*room)
		s.plain = s.held[:0]
	}
	part := min(len(p), SegmentSize-len(s.plain))
	s.plain = append(s.plain, p[:part]...)
	return part
}

// Close writes the last segment, which makes the stream whole. It does not close
// the underlying writer. A second Close says what the first did.
func (s *Sealer) Close() error {
	if s.closed {
		return nil
	}
	if s.err == nil {
		s.flush(s.plain, true)
	}
	if s.err != nil {
		return s.err
	}
	s.closed = true
	if s.held != nil {
		clear(s.held[:]) // so that no plaintext waits for the next stream
		rooms.Put(s.held)
		s.held, s.plain = nil, nil
	}
	s.err = fault.New(fault.Invalid, "couldn't write to a stream that is closed")
	return nil
}

// flush seals and writes one segment and returns the length of its plaintext, 0
// when s.err says why not.
func (s *Sealer) flush(plain []byte, last bool) int {
	if s.position == maxSegments-1 && !last {
		s.err = fault.New(fault.Invalid, "stream is too long to seal, at most %d bytes", int64(MaxStream))
		return 0
	}
	r := rooms.Get().(*room)
	defer rooms.Put(r)
	sealed := s.aead.Seal(r[:0], nil, plain, s.additional(s.position, last))
	s.position++
	if _, err := s.dst.Write(sealed); err != nil {
		s.err = streamError("write", err)
		return 0
	}
	return len(plain)
}
