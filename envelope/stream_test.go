package envelope_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
)

const (
	segment       = envelope.SegmentSize
	sealedSegment = segment + 28
	streamPrefix  = 5 + 16 + 16 + 32 // under one key
)

// text is n bytes that do not repeat with the segments.
func text(n int) []byte {
	b := make([]byte, n)
	source := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(source.Uint32())
	}
	return b
}

func sealStream(t testing.TB, keys []envelope.Key, ctx envelope.Context, plaintext []byte) []byte {
	t.Helper()
	var dst bytes.Buffer
	s, err := envelope.NewSealer(&dst, keys, ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Write(plaintext)
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return dst.Bytes()
}

func newOpener(keys []envelope.Key, ctx envelope.Context, sealed []byte) (*envelope.Opener, error) {
	return envelope.NewOpener(bytes.NewReader(sealed), int64(len(sealed)), keys, ctx)
}

// readStream returns what can be read from the beginning on.
func readStream(keys []envelope.Key, ctx envelope.Context, sealed []byte) ([]byte, error) {
	o, err := newOpener(keys, ctx, sealed)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
}

// streamRefused fails unless NewOpener gives an Integrity fault.
func streamRefused(t interface {
	Helper()
	Errorf(string, ...any)
}, keys []envelope.Key, ctx envelope.Context, sealed []byte) {
	t.Helper()
	if o, err := newOpener(keys, ctx, sealed); o != nil || !fault.Is(err, fault.Integrity) {
		t.Errorf("opened to %v, %v; want an integrity fault", o != nil, err)
	}
}

var streamSizes = []int{0, 1, 255, segment - 1, segment, segment + 1, 2*segment - 1, 2 * segment, 2*segment + 1, 5*segment + 77}

func TestOpenerReadsWhatWasSealed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys, ctx := drawKeys(t), drawContext(t)
		size := rapid.OneOf(rapid.SampledFrom(streamSizes), rapid.IntRange(0, 6*segment)).Draw(t, "size")
		plaintext := text(size)
		sealed := drawStream(t, keys, ctx, plaintext)
		o, err := newOpener(keys, ctx, sealed)
		if err != nil || o.Size() != int64(size) {
			t.Fatalf("opened to %v, %v", o, err)
		}
		for range rapid.IntRange(1, 8).Draw(t, "reads") {
			off := rapid.IntRange(0, size+1).Draw(t, "offset")
			p := make([]byte, rapid.IntRange(0, 3*segment).Draw(t, "length"))
			n, err := o.ReadAt(p, int64(off))
			want := plaintext[min(off, size):min(off+len(p), size)]
			if !bytes.Equal(p[:n], want) || (n < len(p)) != errors.Is(err, io.EOF) || err != nil && !errors.Is(err, io.EOF) {
				t.Fatalf("read %d of %d at %d of %d: %v", n, len(p), off, size, err)
			}
		}
	})
}

// drawStream seals the plaintext in writes of any lengths.
func drawStream(t *rapid.T, keys []envelope.Key, ctx envelope.Context, plaintext []byte) []byte {
	var dst bytes.Buffer
	s, err := envelope.NewSealer(&dst, keys, ctx)
	if err != nil {
		t.Fatal(err)
	}
	for rest := plaintext; len(rest) > 0; {
		part := rest[:rapid.IntRange(1, len(rest)).Draw(t, "write")]
		if n, err := s.Write(part); n != len(part) || err != nil {
			t.Fatalf("wrote %d of %d: %v", n, len(part), err)
		}
		rest = rest[len(part):]
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dst.Bytes()
}

func TestStreamsAreReadInOrder(t *testing.T) {
	keys, ctx := fixture(2)
	for _, size := range streamSizes {
		plaintext := text(size)
		o, err := newOpener(keys, ctx, sealStream(t, keys, ctx, plaintext))
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(io.NewSectionReader(o, 0, o.Size()), plaintext); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestStreamLengthTellsThePlaintextLength(t *testing.T) {
	keys, ctx := fixture(1)
	for _, size := range streamSizes {
		count := max(1, (size+segment-1)/segment)
		if got, want := len(sealStream(t, keys, ctx, text(size))), streamPrefix+size+28*count; got != want {
			t.Errorf("%d bytes are sealed to %d, want %d", size, got, want)
		}
		if got := envelope.SealedSize(int64(size)); got != int64(streamPrefix+size+28*count) {
			t.Errorf("%d bytes are said to be sealed to %d", size, got)
		}
	}
}

// A piece that is missing, wherever it was, is noticed before anything is read.
func TestOpenerRefusesEveryTruncation(t *testing.T) {
	keys, ctx := fixture(1)
	sealed := sealStream(t, keys, ctx, text(4*segment))
	for border := streamPrefix; border < len(sealed); border += sealedSegment {
		for _, at := range []int{border - 1, border, border + 1, border + 27, border + 28, border + 29, border + 1000} {
			streamRefused(t, keys, ctx, sealed[:at])
		}
	}
	streamRefused(t, keys, ctx, sealed[:len(sealed)-1])
	for i := range streamPrefix {
		streamRefused(t, keys, ctx, sealed[:i])
		streamRefused(t, keys, ctx, sealed[i+1:])
	}
}

func TestOpenerRefusesEveryExtension(t *testing.T) {
	keys, ctx := fixture(1)
	for _, size := range []int{0, 77, segment, segment + 77} {
		sealed := sealStream(t, keys, ctx, text(size))
		last := sealed[len(sealed)-28-size%segment:]
		for _, more := range [][]byte{{0}, make([]byte, 28), make([]byte, 29), make([]byte, sealedSegment), last} {
			streamRefused(t, keys, ctx, append(bytes.Clone(sealed), more...))
		}
	}
}

// Whole segments that are elsewhere than where they were sealed.
func TestOpenerRefusesSegmentsOutOfPlace(t *testing.T) {
	keys, ctx := fixture(1)
	sealed := sealStream(t, keys, ctx, text(4*segment))
	other := sealStream(t, keys, ctx, text(4*segment))
	at := func(b []byte, i int) []byte { return b[streamPrefix+i*sealedSegment:][:sealedSegment] }
	join := func(parts ...[]byte) []byte {
		return slices.Concat(append([][]byte{sealed[:streamPrefix]}, parts...)...)
	}
	for _, c := range []struct {
		name   string
		sealed []byte
		reads  int // whole segments that may still be read
	}{
		{"the first two swapped", join(at(sealed, 1), at(sealed, 0), at(sealed, 2), at(sealed, 3)), 0},
		{"two in the middle swapped", join(at(sealed, 0), at(sealed, 2), at(sealed, 1), at(sealed, 3)), 1},
		{"one doubled", join(at(sealed, 0), at(sealed, 1), at(sealed, 1), at(sealed, 3)), 2},
		{"one of another stream", join(at(sealed, 0), at(sealed, 1), at(other, 2), at(sealed, 3)), 2},
		{"one inserted", join(at(sealed, 0), at(sealed, 0), at(sealed, 1), at(sealed, 2), at(sealed, 3)), -1},
		{"one left out", join(at(sealed, 0), at(sealed, 1), at(sealed, 3)), -1},
		{"the last one of another stream", join(at(sealed, 0), at(sealed, 1), at(sealed, 2), at(other, 3)), -1},
		{"the last one first", join(at(sealed, 3), at(sealed, 1), at(sealed, 2), at(sealed, 0)), -1},
		{"all under the beginning of another stream", join(at(other, 0), at(other, 1), at(other, 2), at(other, 3)), -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := readStream(keys, ctx, c.sealed)
			if !fault.Is(err, fault.Integrity) || len(got) != max(0, c.reads*segment) {
				t.Errorf("read %d bytes, %v; want an integrity fault behind %d segments", len(got), err, c.reads)
			}
			if _, err := newOpener(keys, ctx, c.sealed); (err != nil) != (c.reads < 0) {
				t.Errorf("opening gives %v", err)
			}
		})
	}
}

func TestOpenerRefusesEveryFlippedBit(t *testing.T) {
	keys, ctx := fixture(3)
	sealed := sealStream(t, keys, ctx, text(24))
	for i := range len(sealed) * 8 {
		changed := bytes.Clone(sealed)
		changed[i/8] ^= 1 << (i % 8)
		streamRefused(t, keys, ctx, changed)
	}
}

func TestOpenerRefusesABitFlippedInAnySegment(t *testing.T) {
	keys, ctx := fixture(1)
	plaintext := text(3*segment + 5)
	sealed := sealStream(t, keys, ctx, plaintext)
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.IntRange(0, len(sealed)*8-1).Draw(t, "bit")
		changed := bytes.Clone(sealed)
		changed[at/8] ^= 1 << (at % 8)
		got, err := readStream(keys, ctx, changed)
		if !fault.Is(err, fault.Integrity) || !bytes.HasPrefix(plaintext, got) || len(got)%segment != 0 {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
	})
}

func TestOpenerRefusesEveryOtherPlaceAndTime(t *testing.T) {
	keys, ctx := fixture(1)
	sealed := sealStream(t, keys, ctx, text(segment+1))
	for _, c := range contextChanges {
		t.Run(c.name, func(t *testing.T) {
			other := ctx
			c.change(&other)
			streamRefused(t, keys, other, sealed)
		})
	}
}

func TestOpenerRefusesOtherKeys(t *testing.T) {
	keys, ctx := fixture(3)
	sealed := sealStream(t, keys, ctx, text(10))
	four, _ := fixture(4)
	for _, other := range [][]envelope.Key{nil, keys[:1], keys[:2], four, {keys[1], keys[0], keys[2]}, {keys[0], keys[2], keys[1]}} {
		streamRefused(t, other, ctx, sealed)
	}
}

// The suite stands in what keys are derived from: neither is taken for the other.
func TestSuitesAreNotMixedUp(t *testing.T) {
	keys, ctx := fixture(1)
	stream, value := sealStream(t, keys, ctx, text(300)), seal(t, keys, ctx, text(300))
	refused(t, keys, ctx, stream)
	streamRefused(t, keys, ctx, value)
	if !envelope.IsSealed(stream) {
		t.Error("IsSealed says no")
	}
	stream[2], value[2] = 1, 2
	refused(t, keys, ctx, stream)
	streamRefused(t, keys, ctx, value)
}

func TestSealerRefusesWrongKeys(t *testing.T) {
	keys, ctx := fixture(2)
	for _, bad := range [][]envelope.Key{nil, {keys[0], keys[0]}, {{ID: keys[0].ID}}} {
		var dst bytes.Buffer
		if s, err := envelope.NewSealer(&dst, bad, ctx); s != nil || !fault.Is(err, fault.Invalid) || dst.Len() > 0 {
			t.Errorf("%d keys: %v, and %d bytes written", len(bad), err, dst.Len())
		}
	}
}

func TestSealerStopsAtTheLongestStream(t *testing.T) {
	keys, ctx := fixture(1)
	for _, test := range []struct {
		name string
		more int
		ok   bool
	}{{"full", segment, true}, {"a byte more", segment + 1, false}, {"a segment more", 2 * segment, false}} {
		t.Run(test.name, func(t *testing.T) {
			s, err := envelope.NewSealer(io.Discard, keys, ctx)
			if err != nil {
				t.Fatal(err)
			}
			s.AtSegment(envelope.MaxStream/segment - 1)
			if _, err = s.Write(make([]byte, test.more)); err == nil {
				err = s.Close()
			}
			if (err == nil) != test.ok || err != nil && !fault.Is(err, fault.Invalid) {
				t.Errorf("%v", err)
			}
			if !test.ok && s.Close() == nil {
				t.Error("a stream that is too long was completed")
			}
		})
	}
}

// An opener that is told of a size beyond the limit does not look for segments.
func TestOpenerRefusesTooLongStreams(t *testing.T) {
	keys, ctx := fixture(1)
	sealed := sealStream(t, keys, ctx, text(10))
	const most = streamPrefix + envelope.MaxStream/segment*sealedSegment
	for _, size := range []int64{most + 1, most + 30, 1<<63 - 1, -1} {
		if _, err := envelope.NewOpener(bytes.NewReader(sealed), size, keys, ctx); !fault.Is(err, fault.Integrity) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestAStreamWithoutCloseDoesNotOpen(t *testing.T) {
	keys, ctx := fixture(1)
	for _, size := range streamSizes {
		var dst bytes.Buffer
		s, err := envelope.NewSealer(&dst, keys, ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(text(size)); err != nil {
			t.Fatal(err)
		}
		streamRefused(t, keys, ctx, dst.Bytes())
	}
}

func TestAClosedSealerWritesNothingMore(t *testing.T) {
	keys, ctx := fixture(1)
	var dst bytes.Buffer
	s, err := envelope.NewSealer(&dst, keys, ctx)
	if err = errors.Join(err, s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	size := dst.Len()
	if _, err := s.Write([]byte("x")); !fault.Is(err, fault.Invalid) || dst.Len() != size {
		t.Errorf("written after the end: %v", err)
	}
}

// failingWriter fails at its n-th write.
type failingWriter struct {
	n    int
	with error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.n--; w.n < 0 {
		return 0, w.with
	}
	return len(p), nil
}

func TestAFailedWriteIsNotForgotten(t *testing.T) {
	keys, ctx := fixture(1)
	full := fault.New(fault.Conflict, "no room")
	for _, c := range []struct {
		with error
		kind fault.Kind
	}{{errors.New("broken"), fault.Unavailable}, {full, fault.Conflict}} {
		for n := range 5 { // the beginning and four segments
			s, err := envelope.NewSealer(&failingWriter{n, c.with}, keys, ctx)
			if err == nil {
				for range 4 * segment / 1024 {
					if _, err = s.Write(make([]byte, 1024)); err != nil {
						break
					}
				}
				closing := s.Close()
				if closing == nil {
					t.Errorf("write %d: completed", n)
				}
				err = closing
			}
			if !fault.Is(err, c.kind) || !errors.Is(err, c.with) {
				t.Errorf("write %d: %v", n, err)
			}
		}
	}
}

// failingReaderAt fails from an offset on.
type failingReaderAt struct {
	io.ReaderAt
	from int64
	with error
}

func (r failingReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > r.from {
		return 0, r.with
	}
	return r.ReaderAt.ReadAt(p, off)
}

func TestReadErrorsKeepTheirKind(t *testing.T) {
	keys, ctx := fixture(1)
	sealed := sealStream(t, keys, ctx, text(segment+1))
	for _, c := range []struct {
		with error
		kind fault.Kind
	}{
		{errors.New("broken"), fault.Unavailable}, {fault.New(fault.NotFound, "gone"), fault.NotFound},
		{io.EOF, fault.Integrity}, {io.ErrUnexpectedEOF, fault.Integrity},
	} {
		for _, from := range []int64{0, int64(len(sealed)) - 1} {
			_, err := envelope.NewOpener(failingReaderAt{bytes.NewReader(sealed), from, c.with}, int64(len(sealed)), keys, ctx)
			if !fault.Is(err, c.kind) {
				t.Errorf("%v from %d on: %v, want %s", c.with, from, err, c.kind)
			}
		}
	}
}

// What is below may change after the stream was opened.
func TestASegmentThatChangesLaterIsRefused(t *testing.T) {
	keys, ctx := fixture(1)
	plaintext := text(3 * segment)
	sealed := sealStream(t, keys, ctx, plaintext)
	o, err := newOpener(keys, ctx, sealed)
	if err != nil {
		t.Fatal(err)
	}
	sealed[streamPrefix+sealedSegment+100]++
	for _, p := range [][]byte{make([]byte, 10), make([]byte, segment)} { // through the buffer, and without it
		if n, err := o.ReadAt(p, segment); n != 0 || !fault.Is(err, fault.Integrity) {
			t.Errorf("read %d bytes: %v", n, err)
		}
		if !bytes.Equal(p, make([]byte, len(p))) {
			t.Error("bytes of a refused segment came out")
		}
	}
	sealed[streamPrefix+sealedSegment+100]--
	p := make([]byte, 10)
	if _, err := o.ReadAt(p, segment); err != nil || !bytes.Equal(p, plaintext[segment:][:10]) {
		t.Errorf("not read again: %v", err)
	}
	if _, err := o.ReadAt(p, -1); !fault.Is(err, fault.Invalid) {
		t.Errorf("before the beginning: %v", err)
	}
}

func TestManyReadOneStream(t *testing.T) {
	keys, ctx := fixture(1)
	plaintext := text(6*segment + 9)
	o, err := newOpener(keys, ctx, sealStream(t, keys, ctx, plaintext))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 8)
	for i := range 8 {
		go func() {
			for off := i * 1000; off < len(plaintext); off += segment / 3 {
				p := make([]byte, min(segment+i*9000, len(plaintext)-off))
				if _, err := o.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, plaintext[off:][:len(p)]) {
					done <- fault.New(fault.Internal, "at %d: another text, or %w", off, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestStreamsNeverRepeatThemselves(t *testing.T) {
	keys, ctx := fixture(1)
	plaintext := bytes.Repeat([]byte("x"), 3*segment)
	a, b := sealStream(t, keys, ctx, plaintext), sealStream(t, keys, ctx, plaintext)
	if bytes.Equal(a[21:37], b[21:37]) || bytes.Equal(a[37:streamPrefix], b[37:streamPrefix]) {
		t.Error("salt or commitment of two streams is the same")
	}
	seen := map[string]bool{}
	for _, sealed := range [][]byte{a, b} {
		for at := streamPrefix; at < len(sealed); at += sealedSegment {
			seen[string(sealed[at:at+12])] = true
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d nonces in 6 segments", len(seen))
	}
}

// A segment is sealed and opened without a piece of memory of its own.
func TestSegmentsAllocateNothing(t *testing.T) {
	keys, ctx := fixture(1)
	s, err := envelope.NewSealer(io.Discard, keys, ctx)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4*segment)
	if n := testing.AllocsPerRun(10, func() {
		if _, err := s.Write(p); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("sealing four segments allocates %v times", n)
	}
	o, err := newOpener(keys, ctx, sealStream(t, keys, ctx, p))
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 7} {
		if n := testing.AllocsPerRun(10, func() {
			if _, err := o.ReadAt(p[off:], off); err != nil {
				t.Error(err)
			}
		}); n > 0 {
			t.Errorf("opening four segments from %d on allocates %v times", off, n)
		}
	}
}
