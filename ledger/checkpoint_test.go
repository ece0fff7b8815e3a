package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

const origin = "underseal/0192f0c1/main/2026"

var (
	logSeed     = bytes.Repeat([]byte{1}, 32)
	otherSeed   = bytes.Repeat([]byte{2}, 32)
	witnessSeed = bytes.Repeat([]byte{3}, 32)
	cosignedAt  = time.Unix(1679315147, 0).UTC()
)

func public(seed []byte) ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
}

// signer, cosigner and verifier fail the test instead of returning an error.
func signer(t testing.TB, name string, seed []byte) note.Signer {
	t.Helper()
	s, err := ledger.NoteSigner(name, seed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cosigner(t testing.TB, name string, seed []byte) note.Signer {
	t.Helper()
	s, err := ledger.Cosigner(name, seed, func() time.Time { return cosignedAt })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func verifier(t testing.TB, vkey string) *ledger.Verifier {
	t.Helper()
	v, err := ledger.ParseVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func signCheckpoint(t testing.TB, c ledger.Checkpoint, signers ...note.Signer) []byte {
	t.Helper()
	signed, err := ledger.SignCheckpoint(c, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// wantCode fails the test unless err is a fault with the code.
func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if err == nil || fault.CodeOf(err) != code {
		t.Errorf("%v (code %q), want %s", err, fault.CodeOf(err), code)
	}
}

func TestExampleOfSignedNote(t *testing.T) {
	// The example of C2SP signed-note.
	v := verifier(t, "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
	n, err := note.Open([]byte("This is an example message.\n\n"+
		"— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"), note.VerifierList(v))
	if err != nil || n.Text != "This is an example message.\n" {
		t.Errorf("opened %+v, %v", n, err)
	}
}

func TestKeysAreThoseOfOthers(t *testing.T) {
	want, err := note.NewEd25519VerifierKey(origin, public(logSeed))
	if got := ledger.VerifierKey(origin, public(logSeed)); err != nil || got != want {
		t.Errorf("VerifierKey = %s, want %s, %v", got, want, err)
	}
	theirs, err := fnote.NewVerifierForCosignatureV1(ledger.CosignerKey("w.example", public(witnessSeed)))
	if err != nil {
		t.Fatal(err)
	}
	c := ledger.Checkpoint{Origin: origin, Size: 3, Root: ledger.Hash{9}}
	signed := signCheckpoint(t, c, signer(t, origin, logSeed), cosigner(t, "w.example", witnessSeed))
	n, err := note.Open(signed, note.VerifierList(theirs))
	if err != nil || len(n.Sigs) != 1 {
		t.Fatalf("another implementation opens our cosignature as %+v, %v", n, err)
	}
	if at, err := ledger.CosignatureTime(n.Sigs[0]); err != nil || !at.Equal(cosignedAt) {
		t.Errorf("cosigned at %s, %v, want %s", at, err, cosignedAt)
	}
	if at, err := fnote.CoSigV1Timestamp(n.Sigs[0]); err != nil || !at.Equal(cosignedAt) {
		t.Errorf("another implementation says it was cosigned at %s, %v", at, err)
	}
}

func TestCheckpointsOfOthersOpen(t *testing.T) {
	// What the x/mod and formats packages sign, ours opens.
	text := ledger.Checkpoint{Origin: origin, Size: 3, Root: ledger.Hash{9}}.Text()
	skey, vkey, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 64)), origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	wskey, wvkey, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{8}, 64)), "w.example")
	if err != nil {
		t.Fatal(err)
	}
	w, err := fnote.NewSignerForCosignatureV1(wskey)
	if err != nil {
		t.Fatal(err)
	}
	wv, err := fnote.NewVerifierForCosignatureV1(wvkey)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: text}, s, w)
	if err != nil {
		t.Fatal(err)
	}
	ours := verifier(t, ledger.CosignerKey("w.example", mustPublic(t, wvkey)))
	if ours.KeyHash() != wv.KeyHash() {
		t.Errorf("key id %08x, want %08x", ours.KeyHash(), wv.KeyHash())
	}
	c, n, err := ledger.OpenCheckpoint(signed, verifier(t, vkey), ours)
	if err != nil || c.Text() != text || len(n.Sigs) != 2 {
		t.Errorf("opened %+v with %+v, %v", c, n, err)
	}
}

func mustPublic(t *testing.T, vkey string) ed25519.PublicKey { return verifier(t, vkey).Public() }

func TestVerifierKeysHaveOneSpelling(t *testing.T) {
	good := ledger.VerifierKey(origin, public(logSeed))
	if v := verifier(t, good); v.String() != good || v.Cosigns() || v.Name() != origin {
		t.Errorf("parsed %s as %s", good, v)
	}
	if v := verifier(t, ledger.CosignerKey("w", public(logSeed))); !v.Cosigns() {
		t.Errorf("%s gives no cosignatures", v)
	}
	name, rest, _ := strings.Cut(good, "+")
	id, key, _ := strings.Cut(rest, "+")
	for _, vkey := range []string{
		"", "+", "++", name, name + "+" + id, name + "+" + key, "+" + id + "+" + key, "a b+" + id + "+" + key, "x" + good, good + "+", good + " ",
		name + "+" + strings.ToUpper(id) + "x+" + key, name + "+00000000+" + key, name + "+" + id + "+" + key[4:], name + "+" + id + "+" + key + "=",
		name + "+" + id + "+Ag==", ledger.VerifierKey(origin, public(logSeed)[:31]),
		strings.Replace(ledger.VerifierKey("a", public(logSeed)), "+AY", "+BY", 1),
	} {
		if v, err := ledger.ParseVerifier(vkey); !fault.Is(err, fault.Invalid) {
			t.Errorf("ParseVerifier(%q) = %v, %v; want invalid", vkey, v, err)
		}
	}
}

func TestSignersNeedANameAndASeed(t *testing.T) {
	for _, test := range []struct {
		name string
		seed []byte
	}{{"", logSeed}, {"a b", logSeed}, {"a+b", logSeed}, {"a\n", logSeed}, {"a\x00", logSeed}, {"\xff", logSeed}, {"a", logSeed[1:]}, {"a", nil}} {
		if _, err := ledger.NoteSigner(test.name, test.seed); !fault.Is(err, fault.Invalid) {
			t.Errorf("NoteSigner(%q, %d bytes): %v, want invalid", test.name, len(test.seed), err)
		}
		if _, err := ledger.Cosigner(test.name, test.seed, time.Now); !fault.Is(err, fault.Invalid) {
			t.Errorf("Cosigner(%q, %d bytes): %v, want invalid", test.name, len(test.seed), err)
		}
	}
}

func TestCosignersSignCheckpointsAlone(t *testing.T) {
	for _, text := range []string{"", "hello\n", origin + "\n3\nAA==\n", ledger.Checkpoint{Origin: origin}.Text() + "extension\n"} {
		if sig, err := cosigner(t, "w", witnessSeed).Sign([]byte(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("signed %q: %x, %v", text, sig, err)
		}
	}
	early, err := ledger.Cosigner("w", witnessSeed, func() time.Time { return time.Unix(-1, 0) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := early.Sign([]byte(ledger.Checkpoint{Origin: origin}.Text())); !fault.Is(err, fault.Invalid) {
		t.Errorf("signed at a time before 1970: %v", err)
	}
}

func TestACosignatureIsOverItsTime(t *testing.T) {
	text := []byte(ledger.Checkpoint{Origin: origin, Size: 3}.Text())
	sig, err := cosigner(t, "w", witnessSeed).Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(t, ledger.CosignerKey("w", public(witnessSeed)))
	if !v.Verify(text, sig) {
		t.Fatal("a good cosignature is refused")
	}
	for i := range sig {
		bad := bytes.Clone(sig)
		bad[i] ^= 1
		if v.Verify(text, bad) {
			t.Errorf("byte %d of a cosignature can be changed", i)
		}
	}
	if v.Verify(text, sig[:71]) || v.Verify(text, nil) || v.Verify(text, append(sig, 0)) {
		t.Error("a cosignature of another length is accepted")
	}
	// A plain signature of the same key is none.
	plain, err := signer(t, "w", witnessSeed).Sign(text)
	if err != nil || v.Verify(text, plain) {
		t.Errorf("a plain signature is accepted as a cosignature, %v", err)
	}
	if _, err := ledger.CosignatureTime(note.Signature{Base64: "AAAA"}); err == nil {
		t.Error("a signature that is no cosignature has a time")
	}
}

func TestParseCheckpointReturnsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := ledger.Checkpoint{Origin: rapid.StringMatching(`[a-z0-9./-]{1,40}`).Draw(t, "origin"), Size: rapid.Uint64().Draw(t, "size"), Root: drawHash(t, "root")}
		if got, err := ledger.ParseCheckpoint(c.Text()); err != nil || got != c {
			t.Fatalf("parsed %+v, %v, want %+v", got, err, c)
		}
	})
}

// badCheckpoints are texts that no log signs.
func badCheckpoints() []string {
	good := ledger.Checkpoint{Origin: origin, Size: 12, Root: ledger.Hash{9}}.Text()
	root := strings.Split(good, "\n")[2]
	return []string{
		"", "\n", "\n\n\n", good[1:len(good)-1] + "x", good[:len(good)-1], good + "\n", good + "extension\n", "\n" + good, "\n12\n" + root + "\n",
		strings.Replace(good, "12", "012", 1), strings.Replace(good, "12", "+12", 1), strings.Replace(good, "12", "-1", 1),
		strings.Replace(good, "12", "18446744073709551616", 1), strings.Replace(good, "12", "", 1), strings.Replace(good, "12", " 12", 1),
		strings.Replace(good, origin, "a b", 1), strings.Replace(good, origin, "a+b", 1),
		origin + "\n12\nAAAA\n", origin + "\n12\n" + root[:43] + "\n", origin + "\n12\n" + root[:42] + "B=\n", strings.ReplaceAll(good, "\n", "\r\n"),
	}
}

func TestParseCheckpointRefusesOtherSpellings(t *testing.T) {
	for _, text := range badCheckpoints() {
		c, err := ledger.ParseCheckpoint(text)
		if !fault.Is(err, fault.Integrity) || fault.CodeOf(err) != "checkpoint_malformed" {
			t.Errorf("parsed %q as %+v, %v", text, c, err)
		}
	}
}

func TestOpenCheckpointNamesWhatIsWrong(t *testing.T) {
	c := ledger.Checkpoint{Origin: origin, Size: 12, Root: ledger.Hash{9}}
	signed := string(signCheckpoint(t, c, signer(t, origin, logSeed), signer(t, origin, otherSeed)))
	key, other := verifier(t, ledger.VerifierKey(origin, public(logSeed))), verifier(t, ledger.VerifierKey(origin, public(otherSeed)))
	if got, n, err := ledger.OpenCheckpoint([]byte(signed), key); err != nil || got != c || len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 1 {
		t.Errorf("opened %+v, %+v, %v", got, n, err)
	}
	third := verifier(t, ledger.VerifierKey(origin, public(witnessSeed)))
	extended, err := note.Sign(&note.Note{Text: c.Text() + "extension\n"}, signer(t, origin, logSeed))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, text, code string
		verifiers        []note.Verifier
	}{
		{"no key", signed, "checkpoint_unsigned", nil},
		{"another key", signed, "checkpoint_unsigned", []note.Verifier{third}},
		{"a changed size", strings.Replace(signed, "\n12\n", "\n13\n", 1), "checkpoint_forged", []note.Verifier{key}},
		{"one good and one wrong signature", swapSignature(t, signed), "checkpoint_forged", []note.Verifier{key, other}},
		{"no signature", c.Text() + "\n", "checkpoint_malformed", []note.Verifier{key}},
		{"no note", "hello", "checkpoint_malformed", []note.Verifier{key}},
		{"nothing", "", "checkpoint_malformed", []note.Verifier{key}},
		{"an extension line", string(extended), "checkpoint_malformed", []note.Verifier{key}},
		{"too long", strings.Repeat("a", 1<<20+1), "checkpoint_malformed", []note.Verifier{key}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := ledger.OpenCheckpoint([]byte(test.text), test.verifiers...)
			wantCode(t, err, test.code)
		})
	}
}

// swapSignature gives the note's second signature line the bytes of the first,
// with the key id left as it was.
func swapSignature(t *testing.T, signed string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(signed, "\n"), "\n")
	n := len(lines)
	i := strings.LastIndex(lines[n-1], " ") + 1 + 8 // the key id is in the first six digits
	lines[n-1] = lines[n-1][:i] + lines[n-2][i:]
	return strings.Join(lines, "\n") + "\n"
}

func TestSignCheckpointRefusesWhatNobodyCouldRead(t *testing.T) {
	for _, o := range []string{"", "a b", "a\nb", "a+b"} {
		if _, err := ledger.SignCheckpoint(ledger.Checkpoint{Origin: o}, signer(t, origin, logSeed)); !fault.Is(err, fault.Invalid) {
			t.Errorf("signed a checkpoint of %q: %v", o, err)
		}
	}
}

func TestUnverifiedCheckpoint(t *testing.T) {
	c := ledger.Checkpoint{Origin: origin, Size: 12, Root: ledger.Hash{9}}
	if got, err := ledger.UnverifiedCheckpoint(signCheckpoint(t, c, signer(t, origin, logSeed))); err != nil || got != c {
		t.Errorf("read %+v, %v", got, err)
	}
	_, err := ledger.UnverifiedCheckpoint([]byte(c.Text()))
	wantCode(t, err, "checkpoint_malformed")
}

func TestReceipts(t *testing.T) {
	l := sample()
	l.Log = origin
	r, err := ledger.SignReceipt(l.Encode(), signer(t, origin, logSeed))
	if err != nil {
		t.Fatal(err)
	}
	key := verifier(t, ledger.VerifierKey(origin, public(logSeed)))
	if got, err := ledger.VerifyReceipt(r, key); err != nil || got != l {
		t.Errorf("verified %+v, %v", got, err)
	}
	if again, err := ledger.ParseReceipt(r.Note()); err != nil || !bytes.Equal(again.Leaf, r.Leaf) || !bytes.Equal(again.Signature, r.Signature) {
		t.Errorf("parsed %+v, %v", again, err)
	}
	changed := r
	changed.Leaf = bytes.Replace(slices.Clone(r.Leaf), []byte(`"decide"`), []byte(`"refuse"`), 1)
	_, err = ledger.VerifyReceipt(changed, key)
	wantCode(t, err, "receipt_forged")
	_, err = ledger.VerifyReceipt(r, verifier(t, ledger.VerifierKey(origin, public(otherSeed))))
	wantCode(t, err, "receipt_unsigned")
	// The key of another log of the same tenant is the same key under another name.
	_, err = ledger.VerifyReceipt(r, verifier(t, ledger.VerifierKey(origin+".2", public(logSeed))))
	wantCode(t, err, "receipt_unsigned")
	// .. and what it signs is no receipt, even for who knows both names.
	foreign, err := note.Sign(&note.Note{Text: "underseal/v1/receipt\n" + string(r.Leaf) + "\n"}, signer(t, origin+".2", logSeed))
	if err != nil {
		t.Fatal(err)
	}
	bad, err := ledger.ParseReceipt(foreign)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ledger.VerifyReceipt(bad, key, verifier(t, ledger.VerifierKey(origin+".2", public(logSeed))))
	wantCode(t, err, "receipt_unsigned")
	if _, err := ledger.SignReceipt(l.Encode(), signer(t, origin+".2", logSeed)); !fault.Is(err, fault.Invalid) {
		t.Errorf("signed with another log's key: %v", err)
	}
	if _, err := ledger.SignReceipt([]byte("{}"), signer(t, origin, logSeed)); !fault.Is(err, fault.Integrity) {
		t.Errorf("signed what is no leaf: %v", err)
	}
	for _, text := range []string{"", "underseal/v1/receipt\n", string(signCheckpoint(t, ledger.Checkpoint{Origin: origin}, signer(t, origin, logSeed)))} {
		_, err := ledger.ParseReceipt([]byte(text))
		wantCode(t, err, "receipt_malformed")
	}
	bad = r
	bad.Signature = append([]byte("x\n\n"), r.Signature...)
	_, err = ledger.VerifyReceipt(bad, key)
	wantCode(t, err, "receipt_forged")
}

// FuzzOpenCheckpoint looks for a panic, and for a checkpoint with two spellings.
func FuzzOpenCheckpoint(f *testing.F) {
	good := signCheckpoint(f, ledger.Checkpoint{Origin: origin, Size: 12, Root: ledger.Hash{9}}, signer(f, origin, logSeed), cosigner(f, "w", witnessSeed))
	f.Add(good)
	for _, text := range badCheckpoints() {
		f.Add([]byte(text))
		f.Add(append([]byte(text), good[bytes.Index(good, []byte("\n\n"))+1:]...))
	}
	key := verifier(f, ledger.VerifierKey(origin, public(logSeed)))
	w := verifier(f, ledger.CosignerKey("w", public(witnessSeed)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ledger.UnverifiedCheckpoint(data); err == nil && !bytes.HasPrefix(data, []byte(c.Text()+"\n")) {
			t.Errorf("%q is read as %q", data, c.Text())
		}
		c, n, err := ledger.OpenCheckpoint(data, key, w)
		if err != nil && !fault.Is(err, fault.Integrity) {
			t.Errorf("refused with %v", err)
		}
		if err == nil && (n.Text != c.Text() || len(n.Sigs) == 0) {
			t.Errorf("opened %q as %+v", data, c)
		}
		if r, err := ledger.ParseReceipt(data); err == nil && !bytes.Equal(r.Note(), data) {
			t.Errorf("receipt %q is written again as %q", data, r.Note())
		}
	})
}
