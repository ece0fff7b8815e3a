package azurekms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

const (
	sealLabel     = "underseal/v1/azure\x00"
	signLabel     = "underseal/v1/azure signed\x00"
	versionSize   = 16
	minSealed     = 12 + 16 + 16 // nonce, shortest key, tag
	signatureSize = 64
)

// A once is the random key for one wrap.
type once [32]byte

const redacted = "[wrapping key]"

func (once) String() string             { return redacted }
func (once) GoString() string           { return redacted }
func (once) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }
func (once) LogValue() slog.Value       { return slog.StringValue(redacted) }

func newOnce() (o once) {
	rand.Read(o[:])
	return o
}

// seal appends the encrypted key to what it is bound to.
func (o once) seal(bound []byte, c kms.Context, key []byte) ([]byte, error) {
	aead, all, err := o.cipher(bound, c)
	if err != nil {
		return nil, err
	}
	return aead.Seal(bound[:len(bound):len(bound)], nil, key, all), nil
}

// open decrypts what seal appended.
func (o once) open(bound []byte, c kms.Context, sealed []byte) ([]byte, error) {
	aead, all, err := o.cipher(bound, c)
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, nil, sealed, all)
}

// cipher returns the cipher for what is bound, and that with the context.
func (o once) cipher(bound []byte, c kms.Context) (aead cipher.AEAD, all []byte, err error) {
	all = append(bound[:len(bound):len(bound)], c.Encode()...)
	key, err := hkdf.Key(sha256.New, o[:], nil, sealLabel+string(all), 32)
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "derive wrapping key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "wrapping cipher: %w", err)
	}
	aead, err = cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "wrapping cipher: %w", err)
	}
	return aead, all, nil
}

// toSign returns the digest that is signed.
func toSign(c kms.Context, sealed []byte) [32]byte {
	bound := c.Encode()
	text := binary.BigEndian.AppendUint32([]byte(signLabel), uint32(len(bound)))
	return sha256.Sum256(append(append(text, bound...), sealed...))
}

// A layout is what stands before the nonce.
type layout struct {
	header  []byte
	signing string // version of the signing key
	blob    []byte // what the vault made of the random key
}

func (l layout) encode() []byte {
	version, ok := decodeVersion(l.signing)
	if !ok {
		panic("azurekms: internal error: version of the signing key " + l.signing)
	}
	out := append(l.header[:len(l.header):len(l.header)], version[:]...)
	out = binary.BigEndian.AppendUint16(out, uint16(len(l.blob)))
	return append(out, l.blob...)
}

// parts are the parts of a wrapped key.
type parts struct {
	signing   string // version of the signing key
	blob      []byte
	bound     []byte // all before the nonce
	sealed    []byte // nonce, ciphertext, tag
	signed    []byte // all before the signature
	signature []byte
}

// parse takes a wrapped key apart. What it returns shares no memory that is
// appended to.
func (s *service) parse(wrapped []byte) (version string, p parts, err error) {
	version, body, err := s.root.Split(wrapped)
	if err != nil {
		return "", parts{}, err
	}
	cut := fault.New(fault.Integrity, "%d bytes are no key wrapped by %s", len(wrapped), s.root)
	if !versionPattern.MatchString(version) || len(body) < versionSize+2 {
		return "", parts{}, cut
	}
	p.signing = hex.EncodeToString(body[:versionSize])
	size, rest := int(binary.BigEndian.Uint16(body[versionSize:])), body[versionSize+2:]
	if size == 0 || len(rest) < size+minSealed+signatureSize {
		return "", parts{}, cut
	}
	start, end := len(wrapped)-len(rest)+size, len(wrapped)-signatureSize
	p.blob, p.bound = rest[:size], wrapped[:start:start]
	p.sealed, p.signed, p.signature = wrapped[start:end], wrapped[:end:end], wrapped[end:]
	return version, p, nil
}
