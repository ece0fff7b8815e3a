// Package wycheproof runs Project Wycheproof's vectors against the primitives
// that the envelope, the commitments and the index tokens are made of. It is a
// module of its own, so that the vectors (some 109 MB of JSON) never become a
// dependency of the program.
package wycheproof_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/underseal/underseal/envelope"
)

// hexBytes is a byte string that stands as hex digits in the vectors.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// vector has the fields of all three files that this test reads.
type vector struct {
	ID      int      `json:"tcId"`
	Comment string   `json:"comment"`
	Result  string   `json:"result"` // "valid", "invalid" or "acceptable"
	Key     hexBytes `json:"key"`
	IV      hexBytes `json:"iv"`
	AAD     hexBytes `json:"aad"`
	Msg     hexBytes `json:"msg"`
	CT      hexBytes `json:"ct"`
	Tag     hexBytes `json:"tag"`
	IKM     hexBytes `json:"ikm"`
	Salt    hexBytes `json:"salt"`
	Info    hexBytes `json:"info"`
	Size    int      `json:"size"`
	OKM     hexBytes `json:"okm"`
}

type group struct {
	KeySize int      `json:"keySize"` // bits, as all sizes
	IVSize  int      `json:"ivSize"`
	TagSize int      `json:"tagSize"`
	Tests   []vector `json:"tests"`
}

// run calls check for the vectors of the groups that use takes, and fails when
// there are fewer than atLeast: then the file or its format has changed.
func run(t *testing.T, file string, atLeast int, use func(group) bool, check func(*testing.T, group, vector)) {
	data, err := fs.ReadFile(wycheproof.TestVectors, file)
	if err != nil {
		t.Fatal(err)
	}
	var content struct {
		Groups []group `json:"testGroups"`
	}
	if err := json.Unmarshal(data, &content); err != nil {
		t.Fatal(err)
	}
	n, valid, invalid := 0, 0, 0
	for _, g := range content.Groups {
		if !use(g) {
			continue
		}
		for _, v := range g.Tests {
			n++
			switch v.Result {
			case "valid":
				valid++
			case "invalid":
				invalid++
			default:
				t.Fatalf("vector %d has the result %q", v.ID, v.Result)
			}
			check(t, g, v)
		}
	}
	if n < atLeast || valid == 0 || invalid == 0 {
		t.Fatalf("%s gave %d vectors, %d valid and %d invalid; want at least %d, of both", file, n, valid, invalid, atLeast)
	}
	t.Logf("%d vectors, %d valid", n, valid)
}

// The envelope seals with a nonce that the library draws, so the vectors, which
// give one, are opened: nonce, ciphertext and tag in a row. GCM computes the
// same keystream and tag both ways.
func TestAESGCM(t *testing.T) {
	asUsed := func(g group) bool { return g.KeySize == 256 && g.IVSize == 96 && g.TagSize == 128 }
	run(t, "aes_gcm_test.json", 50, asUsed, func(t *testing.T, _ group, v vector) {
		block, err := aes.NewCipher(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			t.Fatal(err)
		}
		got, err := aead.Open(nil, nil, bytes.Join([][]byte{v.IV, v.CT, v.Tag}, nil), v.AAD)
		switch {
		case v.Result == "valid" && (err != nil || !bytes.Equal(got, v.Msg)):
			t.Errorf("vector %d (%s): opened %x, %v; want %x", v.ID, v.Comment, got, err, v.Msg)
		case v.Result == "invalid" && (err == nil || got != nil):
			t.Errorf("vector %d (%s): opened %x, want an error", v.ID, v.Comment, got)
		}
	})
}

func TestHKDF(t *testing.T) {
	run(t, "hkdf_sha256_test.json", 50, func(group) bool { return true }, func(t *testing.T, _ group, v vector) {
		got, err := hkdf.Key(sha256.New, v.IKM, v.Salt, string(v.Info), v.Size)
		switch {
		case v.Result == "valid" && (err != nil || !bytes.Equal(got, v.OKM)):
			t.Errorf("vector %d (%s): derived %x, %v; want %x", v.ID, v.Comment, got, err, v.OKM)
		case v.Result == "invalid" && err == nil:
			t.Errorf("vector %d (%s): derived %x, want an error", v.ID, v.Comment, got)
		}
	})
}

// TestHKDFOfOneHMAC checks what commitments rely on: the first block of
// HKDF-Expand is one HMAC over the info and 01.
func TestHKDFOfOneHMAC(t *testing.T) {
	run(t, "hkdf_sha256_test.json", 50, func(group) bool { return true }, func(t *testing.T, _ group, v vector) {
		if v.Result != "valid" || len(v.OKM) > sha256.Size {
			return
		}
		salt := v.Salt
		if len(salt) == 0 {
			salt = make([]byte, sha256.Size)
		}
		prk := envelope.MAC(salt, v.IKM)
		got := envelope.MAC(prk[:], append(v.Info[:len(v.Info):len(v.Info)], 1))
		if !bytes.Equal(got[:len(v.OKM)], v.OKM) {
			t.Errorf("vector %d (%s): derived %x, want %x", v.ID, v.Comment, got[:len(v.OKM)], v.OKM)
		}
	})
}

func TestHMAC(t *testing.T) {
	run(t, "hmac_sha256_test.json", 50, func(group) bool { return true }, func(t *testing.T, g group, v vector) {
		h := hmac.New(sha256.New, v.Key)
		h.Write(v.Msg)
		std, ours := h.Sum(nil)[:g.TagSize/8], envelope.MAC(v.Key, v.Msg)
		want := v.Result == "valid"
		if hmac.Equal(std, v.Tag) != want || hmac.Equal(ours[:g.TagSize/8], v.Tag) != want {
			t.Errorf("vector %d (%s): crypto/hmac gives %x, envelope.MAC %x; %s is %x", v.ID, v.Comment, std, ours, v.Result, v.Tag)
		}
	})
}
