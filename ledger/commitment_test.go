package ledger_test

import (
	"bytes"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"os"
	"os/exec"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

var prk = []byte("an example of 32 bytes as secret")

func TestCommitKeyIsHKDF(t *testing.T) {
	info := "underseal/v1/commit\x00" + "\x00\x00\x00\x04" + "\x00\x00\x00\x03log" + "\x00\x00\x00\x03obj" +
		"\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x07" + "\x00\x00\x00\x01a"
	want, err := hkdf.Expand(sha256.New, prk, info, 32)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ledger.CommitKey(prk, "log", "obj", 7, "a"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("CommitKey = %x, %v, want %x", got, err, want)
	}
	if _, err := ledger.CommitKey(prk[1:], "log", "obj", 7, "a"); !fault.Is(err, fault.Invalid) {
		t.Errorf("31 bytes: %v, want invalid", err)
	}
}

func TestCommitIsHMAC(t *testing.T) {
	mac := hmac.New(sha256.New, prk)
	mac.Write([]byte(`["a","string","x"]`))
	got := ledger.Commit(prk, ledger.EncodeField("a", canon.String("x")))
	if !bytes.Equal(got[:], mac.Sum(nil)) {
		t.Errorf("Commit = %s, want %x", got, mac.Sum(nil))
	}
}

func TestEncodeFieldIsCanon(t *testing.T) {
	for _, v := range []canon.Value{canon.Null{}, nil, canon.Bool(true), canon.NewNumber(5), canon.List{canon.String("x")}} {
		want := canon.EncodeItems(canon.String("a\n.b"), canon.String(canon.TypeName(v)), v)
		if got := ledger.EncodeField("a\n.b", v); !bytes.Equal(got, want) {
			t.Errorf("EncodeField = %s, want %s", got, want)
		}
	}
}

func TestEveryPartOfAPlaceChangesTheCommitment(t *testing.T) {
	commit := func(secret byte, log, obj string, seq uint64, path string, v canon.Value) ledger.Hash {
		key := bytes.Clone(prk)
		key[0] = secret
		h, err := ledger.CommitValue(key, log, obj, seq, path, v)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	all := []ledger.Hash{
		commit(0, "log", "obj", 7, "ab", canon.String("1")),
		commit(1, "log", "obj", 7, "ab", canon.String("1")),
		commit(0, "lo", "gobj", 7, "ab", canon.String("1")),
		commit(0, "log", "ob", 7, "ab", canon.String("1")),
		commit(0, "log", "obj", 8, "ab", canon.String("1")),
		commit(0, "log", "obj", 7, "a", canon.String("1")),
		commit(0, "log", "obj", 7, "ab", canon.String("2")),
		commit(0, "log", "obj", 7, "ab", canon.NewNumber(1)),
		commit(0, "log", "obj", 7, "ab", canon.Null{}),
	}
	for i, h := range all {
		if slices.Contains(all[:i], h) {
			t.Errorf("commitment %d is like one before it", i)
		}
	}
}

func TestDataRoot(t *testing.T) {
	sum := func(parts ...[]byte) []byte {
		s := sha256.Sum256(bytes.Join(parts, nil))
		return s[:]
	}
	leaf := func(h ledger.Hash) []byte { return sum([]byte{0}, h[:]) }
	node := func(l, r []byte) []byte { return sum([]byte{1}, l, r) }
	a, b, c, d, e := ledger.Hash{1}, ledger.Hash{2}, ledger.Hash{3}, ledger.Hash{4}, ledger.Hash{5}
	abcd := node(node(leaf(a), leaf(b)), node(leaf(c), leaf(d)))
	for _, test := range []struct {
		name string
		in   []ledger.Hash
		want []byte
	}{
		{"of nothing", nil, sum()},
		{"of one", []ledger.Hash{a}, leaf(a)},
		{"of two", []ledger.Hash{a, b}, node(leaf(a), leaf(b))},
		{"of two the other way round", []ledger.Hash{b, a}, node(leaf(a), leaf(b))},
		{"of three", []ledger.Hash{c, a, b}, node(node(leaf(a), leaf(b)), leaf(c))},
		{"of four", []ledger.Hash{d, c, b, a}, abcd},
		{"of five", []ledger.Hash{e, d, c, b, a}, node(abcd, leaf(e))},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := slices.Clone(test.in)
			if got := ledger.DataRoot(test.in); !bytes.Equal(got[:], test.want) {
				t.Errorf("root %s, want %x", got, test.want)
			}
			if !slices.Equal(before, test.in) {
				t.Error("the caller's commitments were put in another order")
			}
		})
	}
}

func TestDataRootTellsSetsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) ledger.Hash { return drawHash(t, "h") }), 1, 20, rapid.ID).Draw(t, "set")
		root := ledger.DataRoot(set)
		if shuffled := rapid.Permutation(set).Draw(t, "order"); ledger.DataRoot(shuffled) != root {
			t.Fatal("the order of the commitments matters")
		}
		i := rapid.IntRange(0, len(set)-1).Draw(t, "i")
		if ledger.DataRoot(slices.Delete(slices.Clone(set), i, i+1)) == root {
			t.Fatal("one commitment less gives the same root")
		}
	})
}

func TestRowsHash(t *testing.T) {
	want := sha256.Sum256([]byte("\x00\x00\x00\x03" + "\x00\x00\x00\x04step" + "\x00\x00\x00\x01a" + "\x00\x00\x00\x02bc"))
	if got := ledger.RowsHash([]byte("step"), [][]byte{[]byte("a"), []byte("bc")}); got != want {
		t.Errorf("RowsHash = %s, want %x", got, want)
	}
	same := [][][]byte{{}, {nil}, {nil, nil}, {[]byte("abc")}, {[]byte("ab"), []byte("c")}, {[]byte("c"), []byte("ab")}}
	seen := map[ledger.Hash]bool{}
	for _, sealed := range same {
		seen[ledger.RowsHash([]byte("step"), sealed)] = true
	}
	if len(seen) != len(same) {
		t.Errorf("%d different rows give %d hashes", len(same), len(seen))
	}
}

// TestWorksInFIPSMode runs this package's tests again in a process that
// refuses whatever FIPS 140-3 does not allow.
func TestWorksInFIPSMode(t *testing.T) {
	if fips140.Enforced() {
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^Test", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("tests with GODEBUG=fips140=only: %v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("--- PASS: TestFIPSModeIsEnforced")) {
		t.Fatalf("the tests did not run in FIPS mode:\n%s", out)
	}
}

func TestFIPSModeIsEnforced(t *testing.T) {
	if !fips140.Enforced() {
		t.Skip("only for the process that TestWorksInFIPSMode starts")
	}
}
