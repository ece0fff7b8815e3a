package envelope

import (
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/sha256"

	"github.com/underseal/underseal/internal/fault"
)

const (
	sealLabel = "underseal/v1/seal\x00"
	joinLabel = "underseal/v1/join"
)

// DeriveSecret returns the pseudorandom key of the keys, from which the message
// keys of their values come: a single key's Secret itself, several joined by
// HKDF-Extract in their order. It is as secret as the keys together.
func DeriveSecret(keys []Key) ([]byte, error) {
	switch len(keys) {
	case 0:
		return nil, fault.New(fault.Invalid, "couldn't derive a secret from no key")
	case 1:
		return keys[0].Secret[:], nil
	}
	joined := make([]byte, 0, maxKeys*secretSize)
	for i := range keys {
		joined = append(joined, keys[i].Secret[:]...)
	}
	prk, err := hkdf.Extract(sha256.New, joined, []byte(joinLabel))
	if err != nil {
		return nil, fault.New(fault.Internal, "couldn't join keys: %w", err)
	}
	return prk, nil
}

// derived is a message key and the commitment to it.
type derived struct {
	key        [32]byte
	commitment [commitmentSize]byte
}

// derive is HKDF-Expand (RFC 5869 section 2.3) of 64 bytes; head is all bytes
// of the envelope up to and with the salt.
func derive(keys []Key, head []byte, ctx Context) (derived, error) {
	prk, err := DeriveSecret(keys)
	if err != nil {
		return derived{}, err
	}
	var array [infoStart + 512]byte // on the stack, enough for all but very long contexts
	buf := append(array[:infoStart], sealLabel...)
	buf = append(buf, head...)
	buf = ctx.append(buf)
	if fips140.Enabled() {
		return expandFIPS(prk, buf[infoStart:])
	}
	return expand([secretSize]byte(prk), append(buf, 1)), nil
}

// expandFIPS leaves the derivation to the validated module as a whole.
func expandFIPS(prk, info []byte) (d derived, err error) {
	out, err := hkdf.Expand(sha256.New, prk, string(info), len(d.key)+len(d.commitment))
	if err != nil {
		return derived{}, fault.New(fault.Internal, "couldn't derive a message key: %w", err)
	}
	copy(d.key[:], out)
	copy(d.commitment[:], out[len(d.key):])
	return d, nil
}

// infoStart is the room for HMAC's padded key and HKDF's first block before the info.
const infoStart = sha256.BlockSize + sha256.Size

// expand is what expandFIPS does, with HMAC (RFC 2104) written out: crypto/hkdf
// takes twice the time and 15 allocations, and this runs for every field of
// every step. A test compares the two. buf is infoStart bytes of room, the info
// and the counter 1; it is overwritten.
func expand(prk [secretSize]byte, buf []byte) (d derived) {
	var inner, outer [sha256.BlockSize]byte
	copy(inner[:], prk[:])
	outer = inner
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	first := buf[sha256.Size:]
	copy(first, inner[:])
	d.key = finish(outer, sha256.Sum256(first))

	copy(buf, inner[:])
	copy(buf[sha256.BlockSize:], d.key[:])
	buf[len(buf)-1] = 2
	d.commitment = finish(outer, sha256.Sum256(buf))
	return d
}

// finish is HMAC's outer hash.
func finish(outer [sha256.BlockSize]byte, inner [sha256.Size]byte) [sha256.Size]byte {
	var b [sha256.BlockSize + sha256.Size]byte
	copy(b[:], outer[:])
	copy(b[sha256.BlockSize:], inner[:])
	return sha256.Sum256(b[:])
}
