// Package envelope seals values under one or several data keys, bound to the
// place and time they belong to, and opens them: short ones in one piece with
// Seal and Open, files in segments with a Sealer and an Opener.
//
// A sealed value (version 1, suite 01) is
//
//	F5 | version 01 | suite 01 | flags | n | n x 16 key ids | salt 16 | commitment 32 | nonce 12 | ciphertext | tag 16
//
// Each value has a message key of its own, derived with HKDF-SHA-256 from its
// data keys, a random salt, the bytes before the salt and the Context, and
// encrypted with AES-256-GCM. The same derivation gives the commitment: a
// ciphertext opens under one message key only, which GCM alone does not promise.
// Several keys are joined: without any one of them the value is gone, which is
// how erasing a person ends that person's values in other people's processes.
//
// An envelope has one spelling. Open takes the key ids it must have and refuses
// others, and says Integrity for whatever is not exactly what Seal wrote for
// these keys and this Context; it never returns bytes beside an error. The
// first byte, F5, never occurs in UTF-8, so that text at rest where an envelope
// should be is found by looking.
//
// The format is docs/design/envelope.md. Only primitives that FIPS 140-3 allows
// are used; the package works under GODEBUG=fips140=only.
package envelope

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/subtle"

	"github.com/underseal/underseal/internal/fault"
)

const (
	mark    = 0xF5
	version = 0x01

	suiteValue  = 0x01 // one ciphertext
	suiteStream = 0x02 // segments

	flagPadded = 0x01

	maxKeys = 4

	saltSize       = 16
	commitmentSize = 32
	nonceSize      = 12
	tagSize        = 16
	secretSize     = 32
	idSize         = len(KeyID{})
	headSize       = 5 // mark, version, suite, flags, n
)

// MaxPlaintext is the longest plaintext that suite 01 seals, in bytes.
const MaxPlaintext = 64 << 10

// IsSealed reports whether b begins like an envelope. It is for telling a mixed
// up row apart in a message, not for deciding whether to open: where a sealed
// value belongs, everything goes to Open.
func IsSealed(b []byte) bool { return len(b) > 0 && b[0] == mark }

// Seal encrypts plaintext under the keys: the owner's first, then those of the
// subjects in the order of their ids, one to four, no id twice. A plaintext over
// MaxPlaintext, or keys in another order, is Invalid.
func Seal(keys []Key, ctx Context, plaintext []byte) ([]byte, error) {
	random := newDraw()
	m, err := newMessage(keys, ctx, plaintext, random.salt)
	if err != nil {
		return nil, err
	}
	sealed, err := m.seal(random.nonce)
	if err != nil {
		return nil, fault.New(fault.Internal, "couldn't seal: %w", err)
	}
	return sealed, nil
}

// seal encrypts under a nonce that was drawn for it. FIPS 140-3 mode draws its own.
func (m message) seal(nonce [nonceSize]byte) ([]byte, error) {
	block, err := aes.NewCipher(m.key[:])
	if err != nil {
		return nil, err
	}
	if fips140.Enabled() {
		aead, err := cipher.NewGCMWithRandomNonce(block) // its Seal puts the nonce before the ciphertext
		if err != nil {
			return nil, err
		}
		return aead.Seal(m.prefix, nil, bytes.Clone(m.plaintext), m.prefix), nil
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	dst := append(m.prefix, nonce[:]...)
	return aead.Seal(dst, dst[len(m.prefix):], m.plaintext, m.prefix), nil // nonce itself would go to the heap
}

// message is one envelope before encryption.
type message struct {
	key       [32]byte
	prefix    []byte // all bytes before the nonce, with room for the rest
	plaintext []byte // padded; may stand behind prefix in the same array
}

func newMessage(keys []Key, ctx Context, plaintext []byte, salt [saltSize]byte) (message, error) {
	if err := checkKeys(keys); err != nil {
		return message{}, err
	}
	if len(plaintext) > MaxPlaintext {
		return message{}, fault.New(fault.Invalid, "value of %d bytes is too large to seal, at most %d", len(plaintext), MaxPlaintext)
	}
	flags, size := padding(len(plaintext))
	m, err := newPrefix([4]byte{mark, version, suiteValue, flags}, keys, ctx, salt, size)
	if err != nil {
		return message{}, err
	}
	m.plaintext = plaintext
	if flags == flagPadded {
		m.plaintext = pad(m.prefix, plaintext, size)
	}
	return m, nil
}

// newPrefix derives the message key and writes the bytes before the nonce,
// beginning with start and leaving room for a plaintext of size bytes.
func newPrefix(start [4]byte, keys []Key, ctx Context, salt [saltSize]byte, size int) (m message, err error) {
	prefixSize := headSize + len(keys)*idSize + saltSize + commitmentSize
	m.prefix = make([]byte, 0, prefixSize+nonceSize+size+tagSize)
	m.prefix = append(append(m.prefix, start[:]...), byte(len(keys)))
	for i := range keys {
		m.prefix = append(m.prefix, keys[i].ID[:]...)
	}
	m.prefix = append(m.prefix, salt[:]...)
	d, err := derive(keys, m.prefix, ctx)
	if err != nil {
		return message{}, err
	}
	m.key = d.key
	m.prefix = append(m.prefix, d.commitment[:]...)
	return m, nil
}

// checkKeys refuses keys that Seal must not use: a wrong order, or a secret
// that was never set, under which everyone could read.
func checkKeys(keys []Key) error {
	var ids [maxKeys]KeyID
	if len(keys) > maxKeys {
		return fault.New(fault.Invalid, "couldn't seal under %d keys, at most %d", len(keys), maxKeys)
	}
	for i := range keys {
		ids[i] = keys[i].ID
		if keys[i].Secret == [32]byte{} {
			return fault.New(fault.Invalid, "couldn't seal under key %s: it has no secret", keys[i].ID)
		}
	}
	if what := checkOrder(ids[:len(keys)]); what != "" {
		return fault.New(fault.Invalid, "couldn't seal: %s", what)
	}
	return nil
}

// KeyIDs returns the ids of the keys that sealed is under, owner first. It
// checks the form only: nothing says yet that the ids are the right ones.
func KeyIDs(sealed []byte) ([]KeyID, error) {
	h, what := parseHead(sealed)
	if what != "" {
		return nil, malformed(what)
	}
	return append([]KeyID(nil), h.ids[:h.n]...), nil
}

// Open decrypts what Seal made of exactly these keys, in this order, and this
// context. Everything else is an Integrity fault: another form, other key ids,
// another place or time, any changed byte.
func Open(keys []Key, ctx Context, sealed []byte) ([]byte, error) {
	h, what := parseHead(sealed)
	if what == "" {
		what = h.checkKeys(keys)
	}
	if what != "" {
		return nil, malformed(what)
	}
	d, err := derive(keys, sealed[:h.commitment], ctx)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(d.commitment[:], sealed[h.commitment:h.nonce]) != 1 {
		return nil, malformed("it was not sealed under these keys for this place and step")
	}
	block, err := aes.NewCipher(d.key[:])
	if err != nil {
		return nil, fault.New(fault.Internal, "couldn't open: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fault.New(fault.Internal, "couldn't open: %w", err)
	}
	plaintext, err := aead.Open(nil, nil, sealed[h.nonce:], sealed[:h.nonce])
	if err != nil {
		return nil, malformed("it was changed after sealing")
	}
	return h.unpad(plaintext)
}

func malformed(what string) error {
	return fault.New(fault.Integrity, "sealed value is refused: %s", what)
}
