package envelope_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
)

// streamVector is one stream. Its plaintext is the first Size bytes of
// SHA-256(seed || u64 0) || SHA-256(seed || u64 1) .., the nonce of its segment i
// is Nonce + i. The sealed bytes stand in it only when they are few.
type streamVector struct {
	Name    string        `json:"name"`
	Keys    []keyVector   `json:"keys"`
	Context contextVector `json:"context"`
	Salt    hexBytes      `json:"salt"`
	Nonce   hexBytes      `json:"nonce"`
	Seed    string        `json:"seed"`
	Size    int           `json:"size"`
	Length  int           `json:"sealed_length"`
	Digest  hexBytes      `json:"sealed_sha256"`
	Sealed  hexBytes      `json:"sealed,omitempty"`
}

// refusedStream is a stream that must be refused. It is put together from parts.
type refusedStream struct {
	Name    string        `json:"name"`
	Keys    []keyVector   `json:"keys"`    // of the reader
	Context contextVector `json:"context"` // of the reader
	Made    []madeStream  `json:"made"`
	Parts   []streamPart  `json:"parts"`
	Length  int           `json:"sealed_length"`
	Digest  hexBytes      `json:"sealed_sha256"`
	Kind    string        `json:"kind"`
	Segment int           `json:"segment"` // the first that cannot be read; -1: the stream cannot be opened
}

// madeStream is authentic, whether a Sealer would make it or not. The plaintext
// of segment i is made from the seed Seed || i as a digit.
type madeStream struct {
	Keys       []keyVector   `json:"keys"`
	Context    contextVector `json:"context"`
	Start      hexBytes      `json:"start"` // mark, version, suite, flags
	Salt       hexBytes      `json:"salt"`
	Nonce      hexBytes      `json:"nonce"`
	Commitment hexBytes      `json:"commitment,omitempty"` // none: the right one
	Seed       string        `json:"seed"`
	Segments   []madeSegment `json:"segments"`
}

type madeSegment struct {
	Size     int   `json:"size"`
	Position int64 `json:"position"`
	Last     bool  `json:"last"`
}

// streamPart is a range of a made stream, or bytes of its own.
type streamPart struct {
	Made  int      `json:"made"`
	From  int      `json:"from"`
	To    int      `json:"to"`
	Bytes hexBytes `json:"bytes,omitempty"`
}

// seeded is the plaintext of vectors.
func seeded(seed string, size int) []byte {
	var b []byte
	for i := uint64(0); len(b) < size; i++ {
		block := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(seed), i))
		b = append(b, block[:]...)
	}
	return b[:size]
}

func loadStreams[V any](t testing.TB, name string) (vectors []V) {
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatalf("testdata/%s has no vectors", name)
	}
	return vectors
}

func storeStreams[V any](t *testing.T, name string, vectors []V) {
	data, err := json.MarshalIndent(vectors, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/"+name, append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func keysOf(t *testing.T, vectors []keyVector) []envelope.Key { return vector{Keys: vectors}.keys(t) }

// seal makes the stream of the vector, writing its plaintext in pieces.
func (v streamVector) seal(t *testing.T, piece int) []byte {
	var dst bytes.Buffer
	s, err := envelope.NewSealerFixed(t, &dst, keysOf(t, v.Keys), envelope.Context(v.Context), [16]byte(v.Salt), [12]byte(v.Nonce))
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(seeded(v.Seed, v.Size), piece) {
		if _, err := s.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dst.Bytes()
}

func TestStreamVectorsSealToTheSameBytes(t *testing.T) {
	if *update {
		storeStreams(t, "stream-accept.json", makeStreams(t))
	}
	for _, v := range loadStreams[streamVector](t, "stream-accept.json") {
		t.Run(v.Name, func(t *testing.T) {
			for _, piece := range []int{1000, segment, v.Size + 1} {
				sealed := v.seal(t, piece)
				if digest := sha256.Sum256(sealed); !bytes.Equal(digest[:], v.Digest) || len(sealed) != v.Length {
					t.Errorf("in pieces of %d: sealed to %d bytes with the digest %x", piece, len(sealed), digest)
				}
			}
		})
	}
}

func TestStreamVectorsOpen(t *testing.T) {
	opened := 0
	for _, v := range loadStreams[streamVector](t, "stream-accept.json") {
		t.Run(v.Name, func(t *testing.T) {
			sealed := []byte(v.Sealed)
			if sealed == nil {
				sealed = v.seal(t, segment)
			}
			if digest := sha256.Sum256(sealed); !bytes.Equal(digest[:], v.Digest) {
				t.Fatalf("the sealed bytes have the digest %x", digest)
			}
			got, err := readStream(keysOf(t, v.Keys), envelope.Context(v.Context), sealed)
			if err != nil || !bytes.Equal(got, seeded(v.Seed, v.Size)) {
				t.Errorf("opened %d bytes, %v", len(got), err)
			}
			opened++
		})
	}
	if opened == 0 {
		t.Error("no vector was opened")
	}
}

func TestStreamVectorsAreRefused(t *testing.T) {
	if *update {
		storeStreams(t, "stream-refuse.json", makeRefusedStreams(t))
	}
	for _, v := range loadStreams[refusedStream](t, "stream-refuse.json") {
		t.Run(v.Name, func(t *testing.T) {
			sealed := v.bytes(t)
			if digest := sha256.Sum256(sealed); !bytes.Equal(digest[:], v.Digest) || len(sealed) != v.Length {
				t.Fatalf("put together to %d bytes with the digest %x", len(sealed), digest)
			}
			at, err := v.firstRefused(t, sealed)
			if err == nil || fault.KindOf(err).String() != v.Kind || at != v.Segment {
				t.Errorf("segment %d: %v; want %s at %d", at, err, v.Kind, v.Segment)
			}
		})
	}
}

// bytes puts the parts together.
func (v refusedStream) bytes(t *testing.T) (sealed []byte) {
	var made [][]byte
	for _, m := range v.Made {
		made = append(made, m.seal(t))
	}
	for _, p := range v.Parts {
		if p.Bytes != nil {
			sealed = append(sealed, p.Bytes...)
		} else {
			sealed = append(sealed, made[p.Made][p.From:p.To]...)
		}
	}
	return sealed
}

func (m madeStream) seal(t *testing.T) []byte {
	raw := envelope.RawStream{Start: [4]byte(m.Start), Salt: [16]byte(m.Salt), Nonce: [12]byte(m.Nonce), Commitment: m.Commitment}
	for i, s := range m.Segments {
		raw.Segments = append(raw.Segments, envelope.RawSegment{Plaintext: seeded(m.Seed+itoa(i), s.Size), Position: s.Position, Last: s.Last})
	}
	return raw.Seal(t, keysOf(t, m.Keys), envelope.Context(m.Context))
}

// firstRefused opens and reads to the first error.
func (v refusedStream) firstRefused(t *testing.T, sealed []byte) (at int, err error) {
	o, err := newOpener(keysOf(t, v.Keys), envelope.Context(v.Context), sealed)
	if err != nil {
		return -1, err
	}
	p := make([]byte, segment)
	for {
		_, err := o.ReadAt(p, int64(at)*segment)
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err != nil {
			return at, err
		}
		at++
	}
}

func makeStreams(t *testing.T) (vectors []streamVector) {
	add := func(name string, n, size int, change func(*envelope.Context)) {
		keys, ctx := fixture(n)
		if change != nil {
			change(&ctx)
		}
		v := streamVector{Name: name, Keys: newVector("", keys, ctx, nil).Keys, Context: contextVector(ctx),
			Salt: fixedSalt[:], Nonce: fixedNonce[:], Seed: name, Size: size}
		sealed := v.seal(t, segment)
		digest := sha256.Sum256(sealed)
		v.Length, v.Digest = len(sealed), digest[:]
		if len(sealed) < 1024 {
			v.Sealed = sealed
		}
		vectors = append(vectors, v)
	}
	for n := 1; n <= 4; n++ {
		add(itoa(n)+" keys", n, 100, nil)
	}
	for _, size := range []int{0, 1, 64, 255, 256, segment - 1, segment, segment + 1, 2*segment - 1, 2 * segment, 2*segment + 1, 16 * segment} {
		add(itoa(size)+" bytes", 1, size, nil)
	}
	add("4 keys, 3 segments", 4, 3*segment-7, nil)
	add("empty context items", 1, 100, func(c *envelope.Context) { *c = envelope.Context{} })
	add("highest step", 1, 100, func(c *envelope.Context) { c.Seq = 1<<64 - 1 })
	return vectors
}

// refusedStreams collects vectors.
type refusedStreams struct {
	t       *testing.T
	vectors []refusedStream
}

func makeRefusedStreams(t *testing.T) []refusedStream {
	r := &refusedStreams{t: t}
	r.changedBytes()
	r.lengths()
	r.moved()
	r.shapes()
	r.starts()
	r.readers()
	return r.vectors
}

func (r *refusedStreams) add(name string, at int, made []madeStream, parts ...streamPart) *refusedStream {
	v := refusedStream{Name: name, Keys: made[0].Keys, Context: made[0].Context, Made: made, Parts: parts, Kind: "integrity", Segment: at}
	sealed := v.bytes(r.t)
	digest := sha256.Sum256(sealed)
	v.Length, v.Digest = len(sealed), digest[:]
	r.vectors = append(r.vectors, v)
	return &r.vectors[len(r.vectors)-1]
}

// good is a stream of one key that opens.
func good(seed string, sizes ...int) madeStream {
	keys, ctx := fixture(1)
	m := madeStream{Keys: newVector("", keys, ctx, nil).Keys, Context: contextVector(ctx),
		Start: hexBytes{0xF5, 1, 2, 0}, Salt: fixedSalt[:], Nonce: fixedNonce[:], Seed: seed}
	for i, size := range sizes {
		m.Segments = append(m.Segments, madeSegment{size, int64(i), i == len(sizes)-1})
	}
	return m
}

func (r *refusedStreams) changedBytes() {
	const second = streamPrefix + sealedSegment
	for _, c := range []struct {
		name    string
		at      int
		to      byte
		segment int
	}{
		{"mark is not F5", 0, 'x', -1}, {"version 0", 1, 0, -1}, {"version 2", 1, 2, -1}, {"suite 0", 2, 0, -1},
		{"suite 1", 2, 1, -1}, {"suite 3", 2, 3, -1}, {"flags say padded", 3, 1, -1}, {"flags have bit 7", 3, 0x80, -1},
		{"no key", 4, 0, -1}, {"two keys instead of one", 4, 2, -1}, {"five keys", 4, 5, -1}, {"key id changed", 5, 0xff, -1},
		{"salt changed", 21, 0, -1}, {"commitment changed", 37, 0x55, -1}, {"last byte of the commitment changed", 68, 0x55, -1},
		{"nonce of segment 0 changed", streamPrefix, 0, 0}, {"ciphertext of segment 0 changed", streamPrefix + 12, 0x55, 0},
		{"tag of segment 0 changed", second - 1, 0x55, 0}, {"ciphertext of segment 1 changed", second + 1000, 0x55, 1},
		{"ciphertext of the last segment changed", second + sealedSegment + 12, 0x55, -1},
		{"tag of the last segment changed", second + sealedSegment + 28 + 76, 0x55, -1},
	} {
		m := good("changed", segment, segment, 77)
		all := m.seal(r.t)
		if all[c.at] == c.to {
			r.t.Fatalf("%s: nothing changes", c.name)
		}
		r.add(c.name, c.segment, []madeStream{m}, streamPart{To: c.at}, streamPart{Bytes: hexBytes{c.to}}, streamPart{From: c.at + 1, To: len(all)})
	}
}

func (r *refusedStreams) lengths() {
	m := good("lengths", segment, segment, 77)
	end := len(m.seal(r.t))
	for _, c := range []struct {
		name string
		to   int
	}{
		{"empty", 0}, {"only the mark", 1}, {"cut in the salt", 30}, {"cut before the first segment", streamPrefix},
		{"cut in the first nonce", streamPrefix + 5}, {"cut behind the first nonce", streamPrefix + 12},
		{"only an empty segment is left", streamPrefix + 28},
		{"cut in segment 0", streamPrefix + 1000}, {"cut behind segment 0", streamPrefix + sealedSegment},
		{"cut in the nonce of segment 1", streamPrefix + sealedSegment + 3}, {"cut in segment 1", streamPrefix + sealedSegment + 1000},
		{"last segment missing", streamPrefix + 2*sealedSegment}, {"last segment cut", end - 1},
		{"last segment cut to nothing", streamPrefix + 2*sealedSegment + 28},
	} {
		r.add(c.name, -1, []madeStream{m}, streamPart{To: c.to})
	}
	r.add("a byte too many", -1, []madeStream{m}, streamPart{To: end}, streamPart{Bytes: hexBytes{0}})
	r.add("a byte before it", -1, []madeStream{m}, streamPart{Bytes: hexBytes{0xF5}}, streamPart{To: end})
	r.add("28 bytes too many", -1, []madeStream{m}, streamPart{To: end}, streamPart{Bytes: make([]byte, 28)})
	full := good("full", segment, segment)
	end = len(full.seal(r.t))
	r.add("a byte behind a full segment", -1, []madeStream{full}, streamPart{To: end}, streamPart{Bytes: hexBytes{0}})
	r.add("28 bytes behind a full segment", -1, []madeStream{full}, streamPart{To: end}, streamPart{Bytes: make([]byte, 28)})
	r.add("text in clear", -1, []madeStream{full}, streamPart{Bytes: hexBytes("%PDF-1.7 a file in clear")})
}

// moved are streams of authentic segments in other places.
func (r *refusedStreams) moved() {
	m, other := good("one", segment, segment, segment, segment), good("other", segment, segment, segment, segment)
	other.Salt = slices.Concat(fixedSalt[1:], fixedSalt[:1])
	again := good("again", segment, segment, segment, segment)
	head := streamPart{To: streamPrefix}
	at := func(made, i int) streamPart {
		return streamPart{Made: made, From: streamPrefix + i*sealedSegment, To: streamPrefix + (i+1)*sealedSegment}
	}
	both := []madeStream{m, other}
	r.add("segments 0 and 1 swapped", 0, both[:1], head, at(0, 1), at(0, 0), at(0, 2), at(0, 3))
	r.add("segments 1 and 2 swapped", 1, both[:1], head, at(0, 0), at(0, 2), at(0, 1), at(0, 3))
	r.add("segment 1 twice", 2, both[:1], head, at(0, 0), at(0, 1), at(0, 1), at(0, 3))
	r.add("segment 0 left out", -1, both[:1], head, at(0, 1), at(0, 2), at(0, 3))
	r.add("segment 2 left out", -1, both[:1], head, at(0, 0), at(0, 1), at(0, 3))
	r.add("segment 1 inserted again", -1, both[:1], head, at(0, 0), at(0, 1), at(0, 1), at(0, 2), at(0, 3))
	r.add("last segment twice", -1, both[:1], head, at(0, 0), at(0, 1), at(0, 2), at(0, 3), at(0, 3))
	r.add("last segment first", -1, both[:1], head, at(0, 3), at(0, 1), at(0, 2), at(0, 0))
	r.add("segment 1 of another stream", 1, both, head, at(0, 0), at(1, 1), at(0, 2), at(0, 3))
	r.add("last segment of another stream", -1, both, head, at(0, 0), at(0, 1), at(0, 2), at(1, 3))
	r.add("beginning of another stream", -1, both, streamPart{Made: 1, To: streamPrefix}, at(0, 0), at(0, 1), at(0, 2), at(0, 3))
	r.add("another stream behind it", -1, both, head, at(0, 0), at(0, 1), at(0, 2), at(0, 3), streamPart{Made: 1, To: streamPrefix}, at(1, 0))
	// Nothing but luck gives two streams of one context the same salt; then segments fit into both.
	again.Keys[0].Secret = bytes.Repeat([]byte{7}, 32)
	r.add("segment 1 of a stream under another key", 1, []madeStream{m, again}, head, at(0, 0), at(1, 1), at(0, 2), at(0, 3))
}

// shapes are authentic in all their bytes, but of a shape that no Sealer makes.
func (r *refusedStreams) shapes() {
	for _, c := range []struct {
		name     string
		at       int
		segments []madeSegment
	}{
		{"authentic, no segment", -1, nil},
		{"authentic, an empty segment behind a full one", -1, []madeSegment{{segment, 0, false}, {0, 1, true}}},
		{"authentic, no last segment", -1, []madeSegment{{segment, 0, false}, {77, 1, false}}},
		{"authentic, an only segment that is not the last", -1, []madeSegment{{77, 0, false}}},
		{"authentic, an empty segment that is not the last", -1, []madeSegment{{0, 0, false}}},
		{"authentic, two last segments", 0, []madeSegment{{segment, 0, true}, {77, 1, true}}},
		{"authentic, the first segment is short", -1, []madeSegment{{segment - 1, 0, false}, {segment, 1, true}}},
		{"authentic, the first segment is empty", -1, []madeSegment{{0, 0, false}, {77, 1, true}}},
		{"authentic, the last segment is too long", -1, []madeSegment{{segment, 0, false}, {segment + 1, 1, true}}},
		{"authentic, the only segment is too long", -1, []madeSegment{{segment + 29, 0, true}}},
		{"authentic, positions from 1 on", -1, []madeSegment{{segment, 1, false}, {77, 2, true}}},
		{"authentic, the only segment at position 1", -1, []madeSegment{{77, 1, true}}},
		{"authentic, a position twice", 1, []madeSegment{{segment, 0, false}, {segment, 0, false}, {77, 2, true}}},
		{"authentic, a position left out", -1, []madeSegment{{segment, 0, false}, {77, 2, true}}},
		{"authentic, the last position too low", -1, []madeSegment{{segment, 0, false}, {77, 0, true}}},
		{"authentic, a position 256 too high", 0, []madeSegment{{segment, 256, false}, {77, 1, true}}},
		{"authentic, a position 65536 too high", 0, []madeSegment{{segment, 65536, false}, {77, 1, true}}},
	} {
		m := good(c.name)
		m.Segments = c.segments
		r.add(c.name, c.at, []madeStream{m}, streamPart{To: len(m.seal(r.t))})
	}
}

// starts are authentic, but begin in a way that no Sealer makes.
func (r *refusedStreams) starts() {
	whole := func(name string, m madeStream) {
		r.add(name, -1, []madeStream{m}, streamPart{To: len(m.seal(r.t))})
	}
	for _, c := range []struct {
		name  string
		start hexBytes
	}{
		{"authentic, mark F6", hexBytes{0xF6, 1, 2, 0}}, {"authentic, version 2", hexBytes{0xF5, 2, 2, 0}},
		{"authentic, suite 1", hexBytes{0xF5, 1, 1, 0}}, {"authentic, suite 3", hexBytes{0xF5, 1, 3, 0}},
		{"authentic, flag 1", hexBytes{0xF5, 1, 2, 1}}, {"authentic, flag 2", hexBytes{0xF5, 1, 2, 2}},
	} {
		m := good(c.name, 100)
		m.Start = c.start
		whole(c.name, m)
	}
	m := good("commitment", 100)
	m.Commitment = make([]byte, 32)
	whole("authentic, another commitment", m)
	five, ctx := fixture(5)
	keys := newVector("", five, ctx, nil).Keys
	for _, c := range []struct {
		name string
		keys []keyVector
	}{
		{"authentic, subject twice", []keyVector{keys[0], keys[1], keys[1]}},
		{"authentic, owner is a subject too", []keyVector{keys[1], keys[0], keys[1]}},
		{"authentic, subjects descend", []keyVector{keys[0], keys[2], keys[1]}},
		{"authentic, five keys", keys},
	} {
		m := good(c.name, 100)
		m.Keys = c.keys
		whole(c.name, m)
	}
}

// readers expect another stream than the one they get.
func (r *refusedStreams) readers() {
	m := good("readers", segment, 77)
	end := len(m.seal(r.t))
	for _, c := range contextChanges {
		ctx := envelope.Context(m.Context)
		c.change(&ctx)
		r.add(c.name, -1, []madeStream{m}, streamPart{To: end}).Context = contextVector(ctx)
	}
	three, ctx := fixture(3)
	m.Keys = newVector("", three, ctx, nil).Keys
	end = len(m.seal(r.t))
	k := m.Keys
	for _, c := range []struct {
		name string
		keys []keyVector
	}{
		{"no keys expected", nil}, {"owner only expected", k[:1]}, {"one key fewer expected", k[:2]},
		{"subjects expected in another order", []keyVector{k[0], k[2], k[1]}}, {"another owner expected", []keyVector{k[1], k[0], k[2]}},
		{"another secret of key 0", []keyVector{{k[0].ID, k[1].Secret}, k[1], k[2]}},
		{"another secret of key 2", []keyVector{k[0], k[1], {k[2].ID, k[1].Secret}}},
	} {
		r.add(c.name, -1, []madeStream{m}, streamPart{To: end}).Keys = c.keys
	}
}
