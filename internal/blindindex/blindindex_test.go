package blindindex_test

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/blindindex"
)

var key = envelope.Key{Secret: [32]byte([]byte("an example of 32 bytes as secret"))}

func TestTokenIsAKeyedHash(t *testing.T) {
	info := "underseal/v1/index\x00" + "\x00\x00\x00\x01" + "\x00\x00\x00\x07subject"
	derived, err := hkdf.Expand(sha256.New, key.Secret[:], info, 32)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, derived)
	mac.Write([]byte("ada"))
	if got, want := blindindex.Token(key, "subject", "ada"), [32]byte(mac.Sum(nil)); got != want {
		t.Errorf("Token = %x, want %x", got, want)
	}
}

func TestEqualTermsHaveEqualTokens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawTerm(t, "a"), drawTerm(t, "b")
		same := blindindex.Token(a.key, a.purpose, a.term) == blindindex.Token(b.key, b.purpose, b.term)
		if same != (a == b) {
			t.Fatalf("equal tokens: %v; %+v and %+v", same, a, b)
		}
	})
}

type keyedTerm struct {
	key           envelope.Key
	purpose, term string
}

func drawTerm(t *rapid.T, label string) keyedTerm {
	text := rapid.SampledFrom([]string{"", "a", "b", "ab", "ba", "a\x00", "\x00a", "\x00\x00\x00\x01a"})
	k := key
	k.Secret[0] = rapid.SampledFrom([]byte{1, 2}).Draw(t, label+" key")
	return keyedTerm{k, text.Draw(t, label+" purpose"), text.Draw(t, label+" term")}
}

func TestTokensDoNotDependOnTheKeysID(t *testing.T) {
	other := key
	other.ID[0] = 1
	if blindindex.Token(key, "subject", "ada") != blindindex.Token(other, "subject", "ada") {
		t.Error("the id of the key is in the token")
	}
}
