package envelope

import (
	"crypto/subtle"
	"errors"
	"io"
	"sync"

	"github.com/underseal/underseal/internal/fault"
)

// An Opener reads the plaintext of a stream at any place. It holds two segments
// in memory, whatever is read. It is safe for concurrent use, one call at a time.
type Opener struct {
	shape
	src   io.ReaderAt
	start int64 // of segment 0

	mu sync.Mutex // guards what follows
	segments
	room  *room // of plain; nil: none
	plain []byte
	held  int64 // the segment in plain; -1: none
}

// NewOpener opens the stream of size bytes in src, which a Sealer made of
// exactly these keys, in this order, and this context. It reads the beginning and
// the last segment, so that whatever was cut off or lengthened is an Integrity
// fault before any plaintext is seen. An error of src that has no kind is
// Unavailable.
func NewOpener(src io.ReaderAt, size int64, keys []Key, ctx Context) (*Opener, error) {
	o := &Opener{src: src, held: -1}
	if err := o.open(size, keys, ctx); err != nil {
		return nil, err
	}
	if err := o.hold(o.count - 1); err != nil {
		return nil, err
	}
	return o, nil
}

// open reads and checks what comes before the segments.
func (o *Opener) open(size int64, keys []Key, ctx Context) error {
	prefix := make([]byte, min(max(size, 0), int64(maxPrefix)))
	if err := o.read(prefix, 0); err != nil {
		return err
	}
	h, what := parseStart(prefix, suiteStream)
	if what == "" {
		o.start = int64(h.nonce)
		o.shape, what = shapeOf(size - o.start)
	}
	if what == "" {
		what = h.readIDs(prefix)
	}
	if what == "" {
		what = h.checkKeys(keys)
	}
	if what != "" {
		return malformedStream(what)
	}
	d, err := derive(keys, prefix[:h.commitment], ctx)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(d.commitment[:], prefix[h.commitment:h.nonce]) != 1 {
		return malformedStream("it was not sealed under these keys for this place and step")
	}
	o.segments, err = newSegments(d.key, d.commitment)
	return err
}

var _ io.ReaderAt = (*Opener)(nil)

// Size returns the length of the plaintext in bytes.
func (o *Opener) Size() int64 { return o.size }

// ReadAt reads plaintext, as io.ReaderAt says. What it counts as read is
// authentic and in its place, also beside an error; a segment that was changed is
// an Integrity fault.
func (o *Opener) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fault.New(fault.Invalid, "couldn't read a stream at %d", off)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for n < len(p) {
		if off+int64(n) >= o.size {
			return n, io.EOF
		}
		part, err := o.readPart(p[n:], off+int64(n))
		if err != nil {
			return n, err
		}
		n += part
	}
	if off+int64(n) == o.size { // most read from the beginning to here, and no more
		o.release()
	}
	return n, nil
}

// readPart reads to the end of p or of the segment that holds off. Whole
// segments are decrypted into p itself.
func (o *Opener) readPart(p []byte, off int64) (int, error) {
	position, skip := off/SegmentSize, int(off%SegmentSize)
	size := o.plainSize(position)
	if skip == 0 && len(p) >= size && position != o.held {
		_, err := o.openSegment(p[:0:size], position)
		return size, err
	}
	if err := o.hold(position); err != nil {
		return 0, err
	}
	return copy(p, o.plain[skip:]), nil
}

// hold decrypts a segment into o.plain, unless it is there: readers with small
// buffers come back for the rest of it.
func (o *Opener) hold(position int64) (err error) {
	if o.held == position {
		return nil
	}
	o.held = -1
	if o.room == nil {
		o.room = rooms.Get().(*room)
	}
	if o.plain, err = o.openSegment(o.room[:0], position); err != nil {
		return err
	}
	o.held = position
	return nil
}

// release gives the room of the segment that is held to the next stream, without
// the plaintext.
func (o *Opener) release() {
	if o.room == nil {
		return
	}
	clear(o.room[:])
	rooms.Put(o.room)
	o.room, o.plain, o.held = nil, nil, -1
}

// openSegment decrypts a segment into dst, which has room for it.
func (o *Opener) openSegment(dst []byte, position int64) ([]byte, error) {
	r := rooms.Get().(*room)
	defer rooms.Put(r)
	sealed := r[:o.plainSize(position)+segmentOverhead]
	if err := o.read(sealed, o.start+position*sealedSegment); err != nil {
		return dst[:0], err
	}
	plain, err := o.aead.Open(dst, nil, sealed, o.additional(position, position == o.count-1))
	if err != nil {
		return dst[:0], malformedStream("a segment was changed, moved or cut off after sealing")
	}
	return plain, nil
}

// read fills b from src.
func (o *Opener) read(b []byte, off int64) error {
	n, err := o.src.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return malformedStream("it is shorter than it was said to be")
	}
	return streamError("read", err)
}

// streamError gives an error of what is below a stream a kind.
func streamError(verb string, err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	return fault.New(fault.Unavailable, "couldn't %s a sealed stream: %w", verb, err)
}

func malformedStream(what string) error {
	return fault.New(fault.Integrity, "sealed stream is refused: %s", what)
}
