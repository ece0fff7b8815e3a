package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"

	"github.com/underseal/underseal/internal/fault"
)

// A rootKey is one version of a root key.
type rootKey [32]byte

const redacted = "[root key]"

func (rootKey) String() string             { return redacted }
func (rootKey) GoString() string           { return redacted }
func (rootKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }
func (rootKey) LogValue() slog.Value       { return slog.StringValue(redacted) }

// A wrapped key is
//
//	format 01 | root key id 16 | root key version 4 | salt 16 | nonce 12 | ciphertext | tag 16
//
// encrypted by AES-256-GCM with a random nonce, under
//
//	HKDF-SHA-256(root key, salt, "underseal/v1/root" 00 || header || context, 32)
//
// where the header is all that stands before the salt, and header and context
// are the additional data too. The salt makes each wrapping key single-use, so
// no number of wraps wears the root key out (NIST SP 800-38D, section 8.3).
const (
	wrapFormat = 1
	headerSize = 1 + 16 + 4
	saltSize   = 16
	gcmSize    = 12 + 16
	minKey     = 16
	maxKey     = 256
	rootLabel  = "underseal/v1/root\x00"
)

// A header names the root key a wrapped key needs.
type header struct {
	id      [16]byte
	version uint32
}

func (h header) encode() []byte {
	out := append([]byte{wrapFormat}, h.id[:]...)
	return binary.BigEndian.AppendUint32(out, h.version)
}

// parseHeader reads the header of a wrapped key and checks its size.
func parseHeader(wrapped []byte) (header, error) {
	rest := len(wrapped) - headerSize - saltSize - gcmSize
	if rest < minKey || rest > maxKey || wrapped[0] != wrapFormat {
		return header{}, fault.New(fault.Integrity, "unwrap key: %d bytes that are no wrapped key of format %d", len(wrapped), wrapFormat)
	}
	return header{[16]byte(wrapped[1:17]), binary.BigEndian.Uint32(wrapped[17:headerSize])}, nil
}

// wrap encrypts key under root, which h names.
func wrap(root rootKey, h header, c Context, key []byte) ([]byte, error) {
	if len(key) < minKey || len(key) > maxKey {
		return nil, fault.New(fault.Invalid, "wrap key: key has %d bytes, must have %d to %d", len(key), minKey, maxKey)
	}
	out := append(h.encode(), make([]byte, saltSize)...)
	rand.Read(out[headerSize:])
	bound := append(h.encode(), c.Encode()...)
	aead, err := wrapper(root, out[headerSize:], bound)
	if err != nil {
		return nil, err
	}
	return aead.Seal(out, nil, key, bound), nil
}

// unwrap decrypts what wrap returned; the header was parsed from wrapped.
func unwrap(root rootKey, h header, c Context, wrapped []byte) ([]byte, error) {
	bound := append(h.encode(), c.Encode()...)
	aead, err := wrapper(root, wrapped[headerSize:headerSize+saltSize], bound)
	if err != nil {
		return nil, err
	}
	key, err := aead.Open(nil, nil, wrapped[headerSize+saltSize:], bound)
	if err != nil {
		return nil, fault.New(fault.Integrity, "unwrap key of tenant %q (%s, version %d): the stored bytes were changed or belong elsewhere",
			c.Tenant, c.Purpose, c.Version)
	}
	return key, nil
}

// wrapper returns the single-use cipher for a salt and what is bound.
func wrapper(root rootKey, salt, bound []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, root[:], salt, rootLabel+string(bound), 32)
	if err != nil {
		return nil, fault.New(fault.Internal, "derive wrapping key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fault.New(fault.Internal, "wrapping cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fault.New(fault.Internal, "wrapping cipher: %w", err)
	}
	return aead, nil
}
