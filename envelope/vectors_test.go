package envelope_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
)

var update = flag.Bool("update", false, "write the vectors in testdata again")

// hexBytes is a byte string that stands as hex digits in a vector.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type keyVector struct {
	ID     string   `json:"id"`
	Secret hexBytes `json:"secret"`
}

type contextVector struct {
	Deployment string `json:"deployment"`
	Tenant     string `json:"tenant"`
	Class      string `json:"class"`
	Object     string `json:"object"`
	Path       string `json:"path"`
	Shard      string `json:"shard"`
	Seq        uint64 `json:"seq,string"`
}

// vector is one case. An accepting one says how it was made; a refusing one
// which kind of fault Open must give.
type vector struct {
	Name      string        `json:"name"`
	Keys      []keyVector   `json:"keys"`
	Context   contextVector `json:"context"`
	Salt      hexBytes      `json:"salt,omitempty"`
	Nonce     hexBytes      `json:"nonce,omitempty"`
	Plaintext *hexBytes     `json:"plaintext,omitempty"`
	Kind      string        `json:"kind,omitempty"`
	Sealed    hexBytes      `json:"sealed"`
}

func newVector(name string, keys []envelope.Key, ctx envelope.Context, sealed []byte) vector {
	v := vector{Name: name, Context: contextVector(ctx), Sealed: sealed}
	for _, k := range keys {
		v.Keys = append(v.Keys, keyVector{k.ID.String(), k.Secret[:]})
	}
	return v
}

func (v vector) keys(t *testing.T) (keys []envelope.Key) {
	for _, k := range v.Keys {
		id, err := envelope.ParseKeyID(k.ID)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, envelope.Key{ID: id, Secret: [32]byte(k.Secret)})
	}
	return keys
}

// load reads vectors and fails when there are none.
func load(t testing.TB, name string) (vectors []vector) {
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

func store(t *testing.T, name string, vectors []vector) {
	data, err := json.MarshalIndent(vectors, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/"+name, append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestVectorsOpen(t *testing.T) {
	if *update {
		store(t, "accept.json", makeAccepting(t))
	}
	for _, v := range load(t, "accept.json") {
		t.Run(v.Name, func(t *testing.T) {
			got, err := envelope.Open(v.keys(t), envelope.Context(v.Context), v.Sealed)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, *v.Plaintext) {
				t.Errorf("opened %x, want %x", got, *v.Plaintext)
			}
		})
	}
}

func TestVectorsSealToTheSameBytes(t *testing.T) {
	for _, v := range load(t, "accept.json") {
		t.Run(v.Name, func(t *testing.T) {
			got, err := envelope.SealFixed(t, v.keys(t), envelope.Context(v.Context), *v.Plaintext,
				[16]byte(v.Salt), [12]byte(v.Nonce))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, v.Sealed) {
				t.Errorf("sealed\n%x, want\n%x", got, v.Sealed)
			}
		})
	}
}

func TestVectorsAreRefused(t *testing.T) {
	if *update {
		store(t, "refuse.json", makeRefusing(t))
	}
	for _, v := range load(t, "refuse.json") {
		t.Run(v.Name, func(t *testing.T) {
			got, err := envelope.Open(v.keys(t), envelope.Context(v.Context), v.Sealed)
			if got != nil || err == nil {
				t.Fatalf("opened to %x", got)
			}
			if fault.KindOf(err).String() != v.Kind {
				t.Errorf("error %q is %s, want %s", err, fault.KindOf(err), v.Kind)
			}
		})
	}
}

// fixture returns n keys, the subjects' ids ascending, and a context.
func fixture(n int) ([]envelope.Key, envelope.Context) {
	keys := make([]envelope.Key, n)
	for i := range keys {
		id := [16]byte{0x01, 0x92, 0xf0, 0xc1, 0x9a, 0x3b, 0x7c, 0x4d, 0x8e, 0x5f, 0x60, 0x71, 0x82, 0x93, 0xa4, byte(0x10 * i)}
		keys[i].ID = id
		for j := range keys[i].Secret {
			keys[i].Secret[j] = byte(i<<5 | j)
		}
	}
	return keys, envelope.Context{
		Deployment: "0192f0c1-0000-7000-8000-000000000001", Tenant: "main", Class: "instance",
		Object: "0192f0c1-0000-7000-8000-000000000002", Path: "applicant.ssn", Shard: "example.org/main/2026", Seq: 7,
	}
}

var (
	fixedSalt  = [16]byte{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf}
	fixedNonce = [12]byte{0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xbb}
)

func makeAccepting(t *testing.T) (vectors []vector) {
	add := func(name string, n int, plaintext []byte, change func(*envelope.Context)) {
		keys, ctx := fixture(n)
		if change != nil {
			change(&ctx)
		}
		sealed, err := envelope.SealFixed(t, keys, ctx, plaintext, fixedSalt, fixedNonce)
		if err != nil {
			t.Fatal(err)
		}
		v := newVector(name, keys, ctx, sealed)
		v.Salt, v.Nonce, v.Plaintext = fixedSalt[:], fixedNonce[:], (*hexBytes)(&plaintext)
		vectors = append(vectors, v)
	}
	short := []byte(`["string","078-05-1120"]`)
	add("one key", 1, short, nil)
	add("two keys", 2, short, nil)
	add("three keys", 3, short, nil)
	add("four keys", 4, short, nil)
	add("empty plaintext", 1, []byte{}, nil)
	for _, n := range []int{1, 63, 64, 127, 191, 192, 255, 256, 257, 1024} {
		add(strings.ReplaceAll("plaintext of N bytes", "N", itoa(n)), 1, bytes.Repeat([]byte{'x'}, n), nil)
	}
	add("plaintext that ends like padding", 1, []byte{'x', 0x80, 0, 0}, nil)
	add("empty context items", 1, short, func(c *envelope.Context) { *c = envelope.Context{} })
	add("highest step", 1, short, func(c *envelope.Context) { c.Seq = 1<<64 - 1 })
	add("context beyond ASCII", 1, short, func(c *envelope.Context) { c.Path = "antragsteller.größe 📏" })
	return vectors
}
