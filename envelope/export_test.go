package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"encoding/binary"
	"io"
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

// RawStream is an authentic stream that a Sealer would or would not make.
type RawStream struct {
	Start      [4]byte // mark, version, suite, flags
	Salt       [16]byte
	Nonce      [12]byte // of segment 0; the next ones add 1, big-endian
	Commitment []byte   // nil: the right one
	Segments   []RawSegment
}

// RawSegment is one segment of a RawStream.
type RawSegment struct {
	Plaintext []byte
	Position  int64
	Last      bool
}

// Seal encrypts the segments as they are and checks nothing.
func (r RawStream) Seal(t testing.TB, keys []Key, ctx Context) []byte {
	m, err := newPrefix(r.Start, keys, ctx, r.Salt, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSegments(m.key, [commitmentSize]byte(m.prefix[len(m.prefix)-commitmentSize:]))
	if err != nil {
		t.Fatal(err)
	}
	s.aead = countNonces(t, m.key, r.Nonce)
	copy(m.prefix[len(m.prefix)-commitmentSize:], r.Commitment)
	sealed := m.prefix
	for _, seg := range r.Segments {
		sealed = s.aead.Seal(sealed, nil, seg.Plaintext, s.additional(seg.Position, seg.Last))
	}
	return sealed
}

// NewSealerFixed is NewSealer with a given salt and first nonce, for vectors.
func NewSealerFixed(t testing.TB, dst io.Writer, keys []Key, ctx Context, salt [16]byte, nonce [12]byte) (*Sealer, error) {
	s, prefix, err := newSealer(dst, keys, ctx, salt)
	if err != nil {
		return nil, err
	}
	m, err := newPrefix([4]byte{mark, version, suiteStream, 0}, keys, ctx, salt, 0)
	if err != nil {
		return nil, err
	}
	s.aead = countNonces(t, m.key, nonce)
	_, err = dst.Write(prefix)
	return s, err
}

// AtSegment makes the Sealer believe that so many segments are written.
func (s *Sealer) AtSegment(n int64) { s.position = n }

// countingNonces seals with nonces that count up and stand before the ciphertext.
type countingNonces struct {
	cipher.AEAD
	next [12]byte
}

func countNonces(t testing.TB, key [32]byte, nonce [12]byte) cipher.AEAD {
	if fips140.Enabled() {
		t.Skip("FIPS 140-3 mode refuses a nonce of the caller's")
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return &countingNonces{aead, nonce}
}

func (c *countingNonces) Seal(dst, _, plaintext, additionalData []byte) []byte {
	dst = c.AEAD.Seal(append(dst, c.next[:]...), c.next[:], plaintext, additionalData)
	binary.BigEndian.PutUint32(c.next[8:], binary.BigEndian.Uint32(c.next[8:])+1)
	return dst
}
