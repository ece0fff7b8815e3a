package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

type publicKeyVector struct {
	Name   string `json:"name"`
	Alg    string `json:"alg"`
	Public string `json:"public"`
	Code   string `json:"code,omitempty"`
}

// smallOrder are the encodings of the eight points that vanish when they are
// multiplied by 8, and those of the same points that RFC 8032 does not allow.
var smallOrder = map[string]string{
	"order 1":                         "0100000000000000000000000000000000000000000000000000000000000000",
	"order 2":                         "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"order 4":                         "0000000000000000000000000000000000000000000000000000000000000000",
	"order 4, x negative":             "0000000000000000000000000000000000000000000000000000000000000080",
	"order 8":                         "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"order 8, x negative":             "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"order 8, y negative":             "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"order 8, x and y negative":       "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"order 1, x = 0 called negative":  "0100000000000000000000000000000000000000000000000000000000000080",
	"order 2, x = 0 called negative":  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"order 1, y above p":              "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"order 4, y above p":              "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"order 4, y above p, x negative":  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"order 1, both spelled otherwise": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func makePublicKeyVectors(t *testing.T) (vectors []publicKeyVector) {
	add := func(name, alg string, raw []byte, code string) {
		vectors = append(vectors, publicKeyVector{name, alg, base64.StdEncoding.EncodeToString(raw), code})
	}
	point := func(text string) []byte {
		raw, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	add("ed25519", ledger.Ed25519, publicOf(t, edKey(1)).Bytes(), "")
	add("p256", ledger.P256, publicOf(t, p256Key(t, 1)).Bytes(), "")
	add("ed25519: the key of RFC 8032, test 1", ledger.Ed25519, point("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), "")
	add("ed25519: y = 3", ledger.Ed25519, point("0300000000000000000000000000000000000000000000000000000000000000"), "")
	add("ed25519: y = p + 3", ledger.Ed25519, point("f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), "key_unsuitable")
	add("ed25519: y = 2, not on the curve", ledger.Ed25519, point("0200000000000000000000000000000000000000000000000000000000000000"), "key_unsuitable")
	for _, name := range slices.Sorted(maps.Keys(smallOrder)) {
		add("ed25519: "+name, ledger.Ed25519, point(smallOrder[name]), "key_unsuitable")
	}
	add("ed25519: 31 bytes", ledger.Ed25519, make([]byte, 31), "key_unsuitable")
	add("p256: compressed", ledger.P256, append([]byte{2}, publicOf(t, p256Key(t, 1)).Bytes()[1:33]...), "key_unsuitable")
	add("another algorithm", "rsa", publicOf(t, edKey(1)).Bytes(), "key_unsuitable")
	return vectors
}

func TestPublicKeyVectors(t *testing.T) {
	for _, v := range readVectors(t, "publickey.json", makePublicKeyVectors(t)) {
		_, err := ledger.ParsePublicKey(v.Alg, v.Public)
		if got := codeOf(err); got != v.Code {
			t.Errorf("%s: error %v, want code %q", v.Name, err, v.Code)
		}
	}
}

// Under a key of small order, a signature that nobody needs a key for is right for
// every message, or for one of eight on average.
func TestKeysForWhichAnybodySignsAreRefused(t *testing.T) {
	nobodys := make([]byte, ed25519.SignatureSize)
	nobodys[0] = 1 // R is the point of order 1, S is 0
	for name, text := range smallOrder {
		raw, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		passes := false
		for i := range byte(255) {
			passes = passes || ed25519.Verify(raw, bytes.Repeat([]byte{i}, 8), nobodys)
		}
		if !passes {
			t.Errorf("%s: the signature that nobody made never verifies", name)
		}
		if _, err := ledger.NewPublicKey(ed25519.PublicKey(raw)); fault.CodeOf(err) != "key_unsuitable" {
			t.Errorf("%s: a signer's key: %v", name, err)
		}
		for _, vkey := range []string{ledger.VerifierKey("log", raw), ledger.CosignerKey("witness", raw)} {
			if _, err := ledger.ParseVerifier(vkey); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: %s: %v", name, vkey, err)
			}
		}
	}
}
