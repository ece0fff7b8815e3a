package envelope

import (
	"crypto/subtle"
	"errors"
	"io"
	"sync"

	"github.com/underseal/underseal/internal/fault"
)

// An Opener reads the plaintext of a stream at any place, two segments at a time. It
// holds four in memory, whatever is read. It is safe for concurrent use, one call at
// a time.
type Opener struct {
	shape
	src   io.ReaderAt
	start int64 // of segment 0

	segments

	mu   sync.Mutex // guards what follows
	held [2]held
}

// NewOpener opens the stream of size bytes in src, which a Sealer made of
// exactly these keys, in this order, and this context. It reads the beginning and
// the last segment, so that whatever was cut off or lengthened is an Integrity
// fault before any plaintext is seen. An error of src that has no kind is
// Unavailable.
func NewOpener(src io.ReaderAt, size int64, keys []Key, ctx Context) (*Opener, error) {
	o := &Opener{src: src}
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
		n += part
		if err != nil {
			return n, err
		}
	}
	if off+int64(n) == o.size { // most read from the beginning to here, and no more
		o.release()
	}
	return n, nil
}

// readPart reads to the end of p or of what is opened together. Whole segments are
// decrypted into p itself.
func (o *Opener) readPart(p []byte, off int64) (int, error) {
	position, skip := off/SegmentSize, int(off%SegmentSize)
	if h := o.holds(position); h != nil {
		return copy(p, h.plain[skip:]), nil
	}
	size, more := o.whole(p, position), 0
	if skip > 0 || size == 0 {
		return 0, o.hold(position)
	}
	if position++; o.holds(position) == nil {
		more = o.whole(p[size:], position)
	}
	return o.openInto(p[:size:size], p[size:size+more], position-1)
}

// whole returns the length of a segment, or 0 when p has no room for all of it or
// there is none.
func (o *Opener) whole(p []byte, position int64) int {
	if position >= o.count || len(p) < o.plainSize(position) {
		return 0
	}
	return o.plainSize(position)
}

// openInto decrypts a segment into first and, unless it is empty, the next one into
// second, beside it. It returns how much is authentic, from the beginning on.
func (o *Opener) openInto(first, second []byte, position int64) (n int, err error) {
	if len(second) == 0 {
		if err := o.openSegment(first, position); err != nil {
			return 0, err
		}
		return len(first), nil
	}
	sealed := rooms.Get().(*room)
	defer rooms.Put(sealed)
	if err := o.readSegment(sealed, position); err != nil {
		return 0, err
	}
	opened := make(chan error, 1)
	go func() { opened <- o.decrypt(first, sealed, position) }() // while the next one is read
	next := o.openSegment(second, position+1)
	switch err := <-opened; {
	case err != nil:
		clear(second)
		return 0, err
	case next != nil:
		return len(first), next
	}
	return len(first) + len(second), nil
}

// held is a decrypted segment that is kept: readers with small buffers come back
// for the rest of it.
type held struct {
	room     *room // of plain; nil: none
	plain    []byte
	position int64
}

// holds returns the segment if it is kept.
func (o *Opener) holds(position int64) *held {
	for i := range o.held {
		if h := &o.held[i]; h.room != nil && h.position == position {
			return h
		}
	}
	return nil
}

// hold decrypts a segment and keeps it, and the next one as well for a reader who
// comes from the one before.
func (o *Opener) hold(position int64) error {
	inOrder := o.holds(position-1) != nil
	o.release()
	first := o.keep(0, position)
	var second []byte
	if inOrder && position+1 < o.count {
		second = o.keep(1, position+1)
	}
	n, err := o.openInto(first, second, position)
	if err != nil && n == 0 {
		o.release()
		return err
	}
	if err != nil { // said again when it is read
		o.held[1].release()
	}
	return nil
}

// keep makes room for a segment.
func (o *Opener) keep(i int, position int64) []byte {
	h := &o.held[i]
	h.room, h.position = rooms.Get().(*room), position
	h.plain = h.room.bytes[:o.plainSize(position)]
	return h.plain
}

// release gives the rooms of what is kept to other streams, without the plaintext.
func (o *Opener) release() {
	for i := range o.held {
		o.held[i].release()
	}
}

func (h *held) release() {
	if h.room != nil {
		clear(h.room.bytes[:])
		rooms.Put(h.room)
		*h = held{}
	}
}

// openSegment decrypts a segment into dst, which is as long.
func (o *Opener) openSegment(dst []byte, position int64) error {
	sealed := rooms.Get().(*room)
	defer rooms.Put(sealed)
	if err := o.readSegment(sealed, position); err != nil {
		return err
	}
	return o.decrypt(dst, sealed, position)
}

func (o *Opener) readSegment(sealed *room, position int64) error {
	return o.read(sealed.bytes[:o.plainSize(position)+segmentOverhead], o.start+position*sealedSegment)
}

func (o *Opener) decrypt(dst []byte, sealed *room, position int64) error {
	data := o.additional(sealed.data[:0], position, position == o.count-1)
	if _, err := o.aead.Open(dst[:0], nil, sealed.bytes[:len(dst)+segmentOverhead], data); err != nil {
		clear(dst)
		return malformedStream("a segment was changed, moved or cut off after sealing")
	}
	return nil
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
