package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"testing"
)

// SealFixed is Seal with a given salt and nonce, for vectors. Sealing two
// values with the same ones gives both away.
func SealFixed(t testing.TB, keys []Key, ctx Context, plaintext []byte, salt [16]byte, nonce [12]byte) ([]byte, error) {
	m, err := newMessage(keys, ctx, plaintext, salt)
	if err != nil {
		return nil, err
	}
	return m.encrypt(t, nonce), nil
}

// Raw is an authentic envelope that Seal would not make.
type Raw struct {
	Start      [4]byte // mark, version, suite, flags
	Padded     []byte
	Commitment []byte // nil: the right one
}

// Seal encrypts with a given salt and nonce and checks nothing.
func (r Raw) Seal(t testing.TB, keys []Key, ctx Context, salt [16]byte, nonce [12]byte) []byte {
	m, err := newPrefix(r.Start, keys, ctx, salt, len(r.Padded))
	if err != nil {
		t.Fatal(err)
	}
	copy(m.prefix[len(m.prefix)-commitmentSize:], r.Commitment)
	m.plaintext = r.Padded
	return m.encrypt(t, nonce)
}

func (m message) encrypt(t testing.TB, nonce [12]byte) []byte {
	if fips140.Enabled() {
		t.Skip("FIPS 140-3 mode refuses a nonce of the caller's")
	}
	block, err := aes.NewCipher(m.key[:])
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	aad := append([]byte(nil), m.prefix...)
	return aead.Seal(append(aad, nonce[:]...), nonce[:], append([]byte(nil), m.plaintext...), m.prefix)
}

// Derive returns the message key and the commitment, one behind the other.
func Derive(keys []Key, head []byte, ctx Context) ([]byte, error) {
	d, err := derive(keys, head, ctx)
	return append(d.key[:], d.commitment[:]...), err
}

// Append adds the encoding of the context to dst.
func (c Context) Append(dst []byte) []byte { return c.append(dst) }
