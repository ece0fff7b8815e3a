package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

const object = "0192f0c1-0000-7000-8000-000000000002"

// sample is a leaf of a step.
func sample() ledger.Leaf {
	return ledger.Leaf{
		Kind: "instance.completed", Log: "example.org/main/2026", Object: object, Seq: 7, Prev: ledger.Hash{1},
		Def: ledger.Hash{2}.String(), Elem: "decide", At: "2026-11-21T12:30:00.000000Z", Act: "worker",
		Data: ledger.Hash{3}, N: 4, Rows: ledger.Hash{5},
	}
}

func TestLeavesEncodeAsCanon(t *testing.T) {
	for _, l := range leaves() {
		encoded := l.leaf.Encode()
		v, err := canon.Decode(encoded)
		if err != nil {
			t.Fatalf("%s: %v", l.name, err)
		}
		if !bytes.Equal(canon.Encode(v), encoded) {
			t.Errorf("%s: %s is not canon", l.name, encoded)
		}
	}
}

func TestParseLeafReturnsWhatWasEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLeaf(t)
		got, err := ledger.ParseLeaf(l.Encode())
		if err != nil || got != l {
			t.Fatalf("parsed %+v, %v\nwant %+v", got, err, l)
		}
	})
}

func drawHash(t *rapid.T, label string) ledger.Hash {
	return ledger.Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, label))
}

func drawLeaf(t *rapid.T) ledger.Leaf {
	optional := func(label string) string {
		if rapid.Bool().Draw(t, label+" given") {
			return drawHash(t, label).String()
		}
		return ""
	}
	l := ledger.Leaf{
		Kind: rapid.StringN(1, 10, 40).Draw(t, "kind"), Log: rapid.StringN(1, 10, 40).Draw(t, "log"),
		Def: optional("def"), Elem: rapid.String().Draw(t, "elem"), At: "2026-11-21T12:30:00.123456Z",
		Act:  rapid.SampledFrom([]string{"user", "worker", "engine", "admin"}).Draw(t, "act"),
		Data: drawHash(t, "data"), N: rapid.IntRange(0, 1000).Draw(t, "n"), Rows: drawHash(t, "rows"),
		Stmt: optional("stmt"), Key: optional("key"),
	}
	if l.N == 0 {
		l.Data = ledger.DataRoot(nil)
	}
	if rapid.Bool().Draw(t, "of an object") {
		l.Object, l.Seq = object, rapid.Uint64Range(1, 1<<64-1).Draw(t, "seq")
	}
	if l.Seq > 1 {
		l.Prev = drawHash(t, "prev")
		l.Prev[0] |= 1
	}
	return l
}

func TestParseLeafRefusesLeavesThatNobodyWrites(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*ledger.Leaf)
	}{
		{"no kind", func(l *ledger.Leaf) { l.Kind = "" }},
		{"no log", func(l *ledger.Leaf) { l.Log = "" }},
		{"no act", func(l *ledger.Leaf) { l.Act = "" }},
		{"an unknown act", func(l *ledger.Leaf) { l.Act = "root" }},
		{"no time", func(l *ledger.Leaf) { l.At = "" }},
		{"a time without fraction", func(l *ledger.Leaf) { l.At = "2026-11-21T12:30:00Z" }},
		{"a time with an offset", func(l *ledger.Leaf) { l.At = "2026-11-21T12:30:00.000000+01:00" }},
		{"a day that does not exist", func(l *ledger.Leaf) { l.At = "2026-02-29T12:30:00.000000Z" }},
		{"def that is no hash", func(l *ledger.Leaf) { l.Def = "loan" }},
		{"def in upper case", func(l *ledger.Leaf) { l.Def = strings.Repeat("A", 64) }},
		{"stmt that is no hash", func(l *ledger.Leaf) { l.Stmt = "00" }},
		{"key that is no hash", func(l *ledger.Leaf) { l.Key = "00" }},
		{"step 0", func(l *ledger.Leaf) { l.Seq = 0 }},
		{"a first step with a leaf before it", func(l *ledger.Leaf) { l.Seq = 1 }},
		{"a later step without a leaf before it", func(l *ledger.Leaf) { l.Prev = ledger.Hash{} }},
		{"data of no commitments", func(l *ledger.Leaf) { l.N = 0 }},
		{"fewer than no commitments", func(l *ledger.Leaf) { l.N = -1 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := sample()
			test.change(&l)
			if got, err := ledger.ParseLeaf(l.Encode()); !fault.Is(err, fault.Integrity) {
				t.Errorf("parsed %+v, %v; want an integrity fault", got, err)
			}
		})
	}
}

func TestParseLeafRefusesUnknownAndMissingNames(t *testing.T) {
	v, err := canon.Decode(sample().Encode())
	if err != nil {
		t.Fatal(err)
	}
	c := v.(*canon.Context)
	for i := range c.Len() {
		name := c.At(i).Name
		if _, err := ledger.ParseLeaf(canon.Encode(c.Without(name))); !fault.Is(err, fault.Integrity) {
			t.Errorf("without %q: %v, want an integrity fault", name, err)
		}
		if _, err := ledger.ParseLeaf(canon.Encode(c.With(name, canon.NewNumber(1)))); !fault.Is(err, fault.Integrity) {
			t.Errorf("%q is a number: %v, want an integrity fault", name, err)
		}
	}
	for _, name := range []string{"", "a", "objx", "z"} {
		if _, err := ledger.ParseLeaf(canon.Encode(c.With(name, canon.String("")))); !fault.Is(err, fault.Integrity) {
			t.Errorf("with %q: %v, want an integrity fault", name, err)
		}
	}
}

func TestLeafHashIsThatOfRFC6962(t *testing.T) {
	for _, size := range []int{0, 1, 500, 5000} {
		leaf := bytes.Repeat([]byte{'x'}, size)
		want := sha256.Sum256(append([]byte{0}, leaf...))
		if got := ledger.LeafHash(leaf); got != want {
			t.Errorf("%d bytes: %s, want %x", size, got, want)
		}
	}
}

func TestHashesHaveOneSpelling(t *testing.T) {
	h := ledger.Hash{0xab, 31: 0x01}
	if got, err := ledger.ParseHash(h.String()); err != nil || got != h {
		t.Errorf("ParseHash(%s) = %s, %v", h, got, err)
	}
	for _, text := range []string{"", h.String()[1:], h.String() + "0", strings.ToUpper(h.String()), strings.Repeat("g", 64)} {
		if _, err := ledger.ParseHash(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("ParseHash(%q): %v, want invalid", text, err)
		}
	}
}

// FuzzParseLeaf looks for a panic and a second spelling of a leaf.
func FuzzParseLeaf(f *testing.F) {
	for _, l := range leaves() {
		f.Add(l.leaf.Encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ledger.ParseLeaf(data)
		switch {
		case err != nil && !fault.Is(err, fault.Integrity):
			t.Errorf("refused with %v", err)
		case err == nil && !bytes.Equal(l.Encode(), data):
			t.Errorf("%s encodes again as %s", data, l.Encode())
		}
	})
}
