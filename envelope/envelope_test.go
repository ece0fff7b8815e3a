package envelope_test

import (
	"bytes"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
)

func seal(t testing.TB, keys []envelope.Key, ctx envelope.Context, plaintext []byte) []byte {
	t.Helper()
	sealed, err := envelope.Seal(keys, ctx, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// refused fails unless Open gives an Integrity fault and nothing else.
func refused(t interface {
	Helper()
	Errorf(string, ...any)
}, keys []envelope.Key, ctx envelope.Context, sealed []byte) {
	t.Helper()
	got, err := envelope.Open(keys, ctx, sealed)
	if got != nil || !fault.Is(err, fault.Integrity) {
		t.Errorf("opened to %x, %v; want an integrity fault", got, err)
	}
}

func TestOpenReturnsWhatWasSealed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys, ctx := drawKeys(t), drawContext(t)
		plaintext := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "plaintext")
		sealed, err := envelope.Seal(keys, ctx, plaintext)
		if err != nil {
			t.Fatal(err)
		}
		got, err := envelope.Open(keys, ctx, sealed)
		if err != nil || !bytes.Equal(got, plaintext) {
			t.Fatalf("opened to %x, %v", got, err)
		}
		ids, err := envelope.KeyIDs(sealed)
		if err != nil || !slices.EqualFunc(ids, keys, func(id envelope.KeyID, k envelope.Key) bool { return id == k.ID }) {
			t.Fatalf("KeyIDs = %v, %v", ids, err)
		}
		if !envelope.IsSealed(sealed) {
			t.Fatal("IsSealed says no")
		}
	})
}

func drawKeys(t *rapid.T) []envelope.Key {
	keys, _ := fixture(rapid.IntRange(1, 4).Draw(t, "keys"))
	for i := range keys {
		copy(keys[i].Secret[:], rapid.SliceOfN(rapid.ByteRange(1, 255), 32, 32).Draw(t, "secret"))
	}
	return keys
}

func drawContext(t *rapid.T) envelope.Context {
	item := rapid.StringN(0, 20, 60)
	return envelope.Context{
		Deployment: item.Draw(t, "deployment"), Tenant: item.Draw(t, "tenant"), Class: item.Draw(t, "class"),
		Object: item.Draw(t, "object"), Path: item.Draw(t, "path"), Shard: item.Draw(t, "shard"),
		Seq: rapid.Uint64().Draw(t, "seq"),
	}
}

func TestOpenRefusesAnotherContext(t *testing.T) {
	keys, _ := fixture(2)
	rapid.Check(t, func(t *rapid.T) {
		ctx, other := drawContext(t), drawContext(t)
		if ctx == other {
			t.Skip("the same context")
		}
		sealed, err := envelope.Seal(keys, ctx, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		refused(t, keys, other, sealed)
	})
}

// Vectors cannot show that an item is bound at all: what was sealed without it
// opens under none of their contexts.
func TestOpenRefusesEveryOtherPlaceAndTime(t *testing.T) {
	keys, ctx := fixture(1)
	sealed := seal(t, keys, ctx, []byte("x"))
	for _, c := range contextChanges {
		t.Run(c.name, func(t *testing.T) {
			other := ctx
			c.change(&other)
			refused(t, keys, other, sealed)
		})
	}
}

func TestOpenRefusesEveryResplitContext(t *testing.T) {
	keys, ctx := fixture(1)
	sealed := seal(t, keys, ctx, []byte("x"))
	all := ctx.Deployment + ctx.Tenant
	for i := range len(all) + 1 {
		other := ctx
		other.Deployment, other.Tenant = all[:i], all[i:]
		if other == ctx {
			continue
		}
		refused(t, keys, other, sealed)
	}
}

func TestOpenRefusesEveryFlippedBit(t *testing.T) {
	for _, n := range []int{1, 3} {
		for _, size := range []int{0, 24, 300} {
			keys, ctx := fixture(n)
			sealed := seal(t, keys, ctx, bytes.Repeat([]byte{'x'}, size))
			for i := range len(sealed) * 8 {
				changed := bytes.Clone(sealed)
				changed[i/8] ^= 1 << (i % 8)
				refused(t, keys, ctx, changed)
			}
		}
	}
}

func TestOpenRefusesEveryTruncation(t *testing.T) {
	for _, size := range []int{24, 300} {
		keys, ctx := fixture(2)
		sealed := seal(t, keys, ctx, bytes.Repeat([]byte{'x'}, size))
		for i := range sealed {
			refused(t, keys, ctx, sealed[:i])
			refused(t, keys, ctx, sealed[i+1:])
		}
		for i := 1; i <= 65; i++ {
			refused(t, keys, ctx, append(bytes.Clone(sealed), make([]byte, i)...))
		}
	}
}

func TestSealNeverRepeatsItself(t *testing.T) {
	keys, ctx := fixture(1)
	first := seal(t, keys, ctx, []byte("x"))
	second := seal(t, keys, ctx, []byte("x"))
	const saltEnd, nonce = 5 + 16 + 16, 5 + 16 + 16 + 32
	for _, part := range []struct {
		name     string
		from, to int
	}{{"salt", 5 + 16, saltEnd}, {"commitment", saltEnd, nonce}, {"nonce", nonce, nonce + 12}, {"rest", nonce + 12, len(first)}} {
		if bytes.Equal(first[part.from:part.to], second[part.from:part.to]) {
			t.Errorf("the %s of two envelopes is the same", part.name)
		}
	}
}

func TestSealHidesShortLengths(t *testing.T) {
	keys, ctx := fixture(1)
	if a, b := seal(t, keys, ctx, []byte("no")), seal(t, keys, ctx, []byte("yes")); len(a) != len(b) {
		t.Errorf("lengths %d and %d", len(a), len(b))
	}
}

func TestSealTakesUpTo64KiB(t *testing.T) {
	keys, ctx := fixture(1)
	plaintext := make([]byte, envelope.MaxPlaintext)
	got, err := envelope.Open(keys, ctx, seal(t, keys, ctx, plaintext))
	if err != nil || len(got) != len(plaintext) {
		t.Errorf("opened %d bytes, %v", len(got), err)
	}
	if _, err := envelope.Seal(keys, ctx, append(plaintext, 0)); !fault.Is(err, fault.Invalid) {
		t.Errorf("a byte more: %v, want invalid", err)
	}
}

func TestSealRefusesWrongKeys(t *testing.T) {
	k, ctx := fixture(5)
	blank := envelope.Key{ID: k[0].ID}
	for _, test := range []struct {
		name string
		keys []envelope.Key
	}{
		{"no key", nil}, {"five keys", k}, {"a key twice", []envelope.Key{k[0], k[1], k[1]}},
		{"the owner among the subjects", []envelope.Key{k[1], k[0], k[1]}},
		{"subjects that descend", []envelope.Key{k[0], k[2], k[1]}}, {"a key without secret", []envelope.Key{blank}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := envelope.Seal(test.keys, ctx, []byte("x")); got != nil || !fault.Is(err, fault.Invalid) {
				t.Errorf("sealed to %x, %v; want invalid", got, err)
			}
		})
	}
}

func TestOwnerMayHaveAnyID(t *testing.T) {
	k, ctx := fixture(3)
	keys := []envelope.Key{k[2], k[0], k[1]}
	if got, err := envelope.Open(keys, ctx, seal(t, keys, ctx, []byte("x"))); err != nil || string(got) != "x" {
		t.Errorf("opened to %q, %v", got, err)
	}
}

func TestSealAndOpenLeaveTheirInputAlone(t *testing.T) {
	keys, ctx := fixture(2)
	for _, size := range []int{3, 300} {
		plaintext := bytes.Repeat([]byte{'x'}, size)
		sealed := seal(t, keys, ctx, plaintext[:size:size])
		before := bytes.Clone(sealed)
		got, err := envelope.Open(keys, ctx, sealed)
		if err != nil {
			t.Fatal(err)
		}
		clear(got)
		if !bytes.Equal(plaintext, bytes.Repeat([]byte{'x'}, size)) || !bytes.Equal(sealed, before) {
			t.Errorf("%d bytes: an input was changed", size)
		}
	}
}

func TestDerivationIsHKDF(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys, ctx := drawKeys(t)[:1], drawContext(t)
		if rapid.Bool().Draw(t, "kept") {
			keys[0] = keys[0].Kept()
		}
		head := rapid.SliceOfN(rapid.Byte(), 0, 900).Draw(t, "head")
		got, err := envelope.Derive(keys, head, ctx)
		if err != nil {
			t.Fatal(err)
		}
		info := ctx.Append(append([]byte("underseal/v1/seal\x00"), head...))
		want, err := hkdf.Expand(sha256.New, keys[0].Secret[:], string(info), 64)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("derived %x, crypto/hkdf gives %x, %v", got, want, err)
		}
	})
}

func TestMACIsHMAC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 14, 100).Draw(t, "key")
		message := rapid.SliceOfN(rapid.Byte(), 0, 900).Draw(t, "message")
		h := hmac.New(sha256.New, key)
		h.Write(message)
		if got := envelope.MAC(key, message); !bytes.Equal(got[:], h.Sum(nil)) {
			t.Fatalf("MAC = %x, crypto/hmac gives %x", got, h.Sum(nil))
		}
	})
}

func TestLongContextsAreBoundToo(t *testing.T) {
	keys, ctx := fixture(1)
	ctx.Path = strings.Repeat("a.", 2000)
	sealed := seal(t, keys, ctx, []byte("x"))
	if got, err := envelope.Open(keys, ctx, sealed); err != nil || string(got) != "x" {
		t.Fatalf("opened to %q, %v", got, err)
	}
	ctx.Path += "b"
	refused(t, keys, ctx, sealed)
}

func TestDeriveSecretJoinsInOrder(t *testing.T) {
	keys, _ := fixture(3)
	one, err := envelope.DeriveSecret(keys[:1])
	if err != nil || !bytes.Equal(one, keys[0].Secret[:]) {
		t.Errorf("one key: %x, %v", one, err)
	}
	seen := map[string]bool{string(one): true}
	for _, list := range [][]envelope.Key{keys[:2], {keys[1], keys[0]}, keys, {keys[0], keys[2]}} {
		secret, err := envelope.DeriveSecret(list)
		if err != nil || len(secret) != 32 || seen[string(secret)] {
			t.Errorf("%d keys: %x, %v", len(list), secret, err)
		}
		seen[string(secret)] = true
	}
	if _, err := envelope.DeriveSecret(nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("no key: %v, want invalid", err)
	}
}

func TestConcurrentUseDoesNotMix(t *testing.T) {
	keys, ctx := fixture(2)
	done := make(chan error, 8)
	for i := range uint64(8) {
		go func() {
			c := ctx
			var err error
			for c.Seq = i * 1000; c.Seq < i*1000+100 && err == nil; c.Seq++ {
				var sealed, got []byte
				if sealed, err = envelope.Seal(keys, c, []byte(itoa(int(c.Seq)))); err != nil {
					break
				}
				if got, err = envelope.Open(keys, c, sealed); err == nil && string(got) != itoa(int(c.Seq)) {
					err = fault.New(fault.Internal, "step %d opened to %q", c.Seq, got)
				}
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
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
	keys, ctx := fixture(3)
	if got, err := envelope.Open(keys, ctx, seal(t, keys, ctx, []byte("x"))); err != nil || string(got) != "x" {
		t.Errorf("opened to %q, %v", got, err)
	}
}
