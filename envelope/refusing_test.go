package envelope_test

import (
	"bytes"
	"slices"
	"strconv"
	"testing"

	"github.com/underseal/underseal/envelope"
)

func itoa(n int) string { return strconv.Itoa(n) }

// refusals collects vectors that Open must refuse with Integrity.
type refusals struct {
	t       *testing.T
	vectors []vector
}

func (r *refusals) add(name string, keys []envelope.Key, ctx envelope.Context, sealed []byte) {
	v := newVector(name, keys, ctx, sealed)
	v.Kind = "integrity"
	r.vectors = append(r.vectors, v)
}

// seal makes a good envelope of n keys.
func (r *refusals) seal(n int) ([]envelope.Key, envelope.Context, []byte) {
	keys, ctx := fixture(n)
	sealed, err := envelope.SealFixed(r.t, keys, ctx, []byte(`["string","078-05-1120"]`), fixedSalt, fixedNonce)
	if err != nil {
		r.t.Fatal(err)
	}
	return keys, ctx, sealed
}

func makeRefusing(t *testing.T) []vector {
	r := &refusals{t: t}
	r.changedBytes()
	r.cut()
	r.keys()
	r.heads()
	r.keyLists()
	r.contexts()
	r.paddings()
	return r.vectors
}

func (r *refusals) changedBytes() {
	keys, ctx, sealed := r.seal(1)
	for _, c := range []struct {
		name string
		at   int
		to   byte
	}{
		{"mark is not F5", 0, '['}, {"version 0", 1, 0}, {"version 2", 1, 2}, {"suite 0", 2, 0}, {"suite 2", 2, 2},
		{"flags say unpadded", 3, 0}, {"flags have bit 1", 3, 3}, {"flags have bit 7", 3, 0x81},
		{"no key", 4, 0}, {"five keys", 4, 5}, {"255 keys", 4, 255}, {"two keys instead of one", 4, 2},
		{"key id changed", 5, 0xff}, {"salt changed", 21, 0}, {"commitment changed", 37, 0x55}, {"nonce changed", 69, 0},
		{"ciphertext changed", 81, 0x55}, {"tag changed", len(sealed) - 1, 0x55},
	} {
		changed := bytes.Clone(sealed)
		if changed[c.at] == c.to {
			r.t.Fatalf("%s: nothing changes", c.name)
		}
		changed[c.at] = c.to
		r.add(c.name, keys, ctx, changed)
	}
}

func (r *refusals) cut() {
	keys, ctx, sealed := r.seal(1)
	r.add("empty", keys, ctx, []byte{})
	r.add("text in clear", keys, ctx, []byte(`["string","078-05-1120"]`))
	r.add("only the mark", keys, ctx, sealed[:1])
	r.add("only the head", keys, ctx, sealed[:5])
	r.add("without ciphertext", keys, ctx, sealed[:81])
	r.add("last byte missing", keys, ctx, sealed[:len(sealed)-1])
	r.add("last block missing", keys, ctx, sealed[:len(sealed)-64])
	r.add("a byte too many", keys, ctx, append(bytes.Clone(sealed), 0))
	r.add("a byte before it", keys, ctx, append([]byte{0xF5}, sealed...))
}

func (r *refusals) keys() {
	keys, ctx, sealed := r.seal(3)
	r.add("no keys expected", nil, ctx, sealed)
	r.add("one key fewer expected", keys[:2], ctx, sealed)
	r.add("owner only expected", keys[:1], ctx, sealed)
	four, _ := fixture(4)
	r.add("one key more expected", four, ctx, sealed)
	swapped := slices.Clone(keys)
	swapped[1], swapped[2] = swapped[2], swapped[1]
	r.add("subjects expected in another order", swapped, ctx, sealed)
	rotated := []envelope.Key{keys[1], keys[0], keys[2]}
	r.add("another owner expected", rotated, ctx, sealed)
	for i := range keys {
		other := slices.Clone(keys)
		other[i].Secret[31] ^= 1
		r.add("another secret of key "+itoa(i), other, ctx, sealed)

		other = slices.Clone(keys)
		other[i].ID[15]++
		r.add("another id of key "+itoa(i), other, ctx, sealed)
	}
}

// start returns the first bytes of an envelope.
func start(flags byte) [4]byte { return [4]byte{0xF5, 1, 1, flags} }

// heads are envelopes that are authentic but not of suite 01, or commit to
// another message key.
func (r *refusals) heads() {
	keys, ctx := fixture(1)
	padded := append([]byte("x\x80"), make([]byte, 62)...)
	for _, c := range []struct {
		name string
		raw  envelope.Raw
	}{
		{"authentic, mark F6", envelope.Raw{Start: [4]byte{0xF6, 1, 1, 1}, Padded: padded}},
		{"authentic, version 2", envelope.Raw{Start: [4]byte{0xF5, 2, 1, 1}, Padded: padded}},
		{"authentic, suite 2", envelope.Raw{Start: [4]byte{0xF5, 1, 2, 1}, Padded: padded}},
		{"authentic, another commitment", envelope.Raw{Start: start(1), Padded: padded, Commitment: make([]byte, 32)}},
	} {
		r.add(c.name, keys, ctx, c.raw.Seal(r.t, keys, ctx, fixedSalt, fixedNonce))
	}
}

// keyLists are envelopes that are authentic but name their keys in a way that
// Seal does not.
func (r *refusals) keyLists() {
	keys, ctx := fixture(4)
	five, _ := fixture(5)
	padded := append([]byte("x\x80"), make([]byte, 62)...)
	for _, c := range []struct {
		name string
		keys []envelope.Key
	}{
		{"authentic, subject twice", []envelope.Key{keys[0], keys[1], keys[1]}},
		{"authentic, owner is a subject too", []envelope.Key{keys[1], keys[0], keys[1]}},
		{"authentic, subjects descend", []envelope.Key{keys[0], keys[2], keys[1]}},
		{"authentic, five keys", five},
	} {
		raw := envelope.Raw{Start: start(1), Padded: padded}
		r.add(c.name, c.keys, ctx, raw.Seal(r.t, c.keys, ctx, fixedSalt, fixedNonce))
	}
}

// contextChanges are all the ways to be elsewhere, or at another time.
var contextChanges = []struct {
	name   string
	change func(*envelope.Context)
}{
	{"another deployment", func(c *envelope.Context) { c.Deployment += "x" }},
	{"another tenant", func(c *envelope.Context) { c.Tenant = "other" }},
	{"another class", func(c *envelope.Context) { c.Class = "principal" }},
	{"another object", func(c *envelope.Context) { c.Object = "0192f0c1-0000-7000-8000-000000000003" }},
	{"another path", func(c *envelope.Context) { c.Path = "applicant.name" }},
	{"another shard", func(c *envelope.Context) { c.Shard = "example.org/main/2027" }},
	{"the step before", func(c *envelope.Context) { c.Seq-- }},
	{"the step after", func(c *envelope.Context) { c.Seq++ }},
	{"a context item emptied", func(c *envelope.Context) { c.Shard = "" }},
	{"context items swapped", func(c *envelope.Context) { c.Class, c.Object = c.Object, c.Class }},
	{"a letter moved to the next context item", func(c *envelope.Context) {
		c.Tenant, c.Class = c.Tenant[:len(c.Tenant)-1], c.Tenant[len(c.Tenant)-1:]+c.Class
	}},
	{"context items joined", func(c *envelope.Context) { c.Object, c.Path = c.Object+c.Path, "" }},
	{"context items joined with a length between", func(c *envelope.Context) {
		c.Object, c.Path = c.Object+"\x00\x00\x00\x0d"+c.Path, ""
	}},
}

func (r *refusals) contexts() {
	keys, ctx, sealed := r.seal(1)
	for _, c := range contextChanges {
		changed := ctx
		c.change(&changed)
		r.add(c.name, keys, changed, sealed)
	}
}

// paddings are envelopes that are authentic but padded in a way that Seal does not.
func (r *refusals) paddings() {
	keys, ctx := fixture(1)
	pad := func(text string, size int) []byte { return append([]byte(text), make([]byte, size-len(text))...) }
	x255 := string(bytes.Repeat([]byte{'x'}, 255))
	for _, c := range []struct {
		name   string
		flags  byte
		padded []byte
	}{
		{"authentic, no padding where the flag says so", 1, pad(x255[:64], 64)},
		{"authentic, only zeros", 1, pad("", 64)},
		{"authentic, padding starts with 81", 1, pad("x\x81", 64)},
		{"authentic, a one among the zeros", 1, append(pad("x\x80", 63), 1)},
		{"authentic, a block more than needed", 1, pad("x\x80", 128)},
		{"authentic, a full block of zeros more", 1, pad(x255[:63]+"\x80", 128)},
		{"authentic, padded to no multiple of 64", 1, pad("x\x80", 65)},
		{"authentic, padded to nothing", 1, nil},
		{"authentic, long plaintext padded", 1, pad(x255+"x\x80", 320)},
		{"authentic, short plaintext not padded", 0, []byte("x")},
		{"authentic, 64 bytes not padded", 0, []byte(x255[:64])},
		{"authentic, 255 bytes not padded", 0, []byte(x255)},
		{"authentic, unknown flag", 2, pad("x\x80", 64)},
	} {
		raw := envelope.Raw{Start: start(c.flags), Padded: c.padded}
		r.add(c.name, keys, ctx, raw.Seal(r.t, keys, ctx, fixedSalt, fixedNonce))
	}
}
