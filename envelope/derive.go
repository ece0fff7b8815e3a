package envelope

import (
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

// derive is HKDF-Expand (RFC 5869 section 2.3) of 64 bytes, two blocks; head is
// all bytes of the envelope up to and with the salt.
//
// One buffer serves both blocks, so that nothing is copied between them:
//
//	first block:         32 unused | inner pad 64 | info | 1
//	second block:  inner pad 64 | first block 32  | info | 2
func derive(keys []Key, head []byte, ctx Context) (d derived, err error) {
	prk, err := DeriveSecret(keys)
	if err != nil {
		return derived{}, err
	}
	if len(keys) == 1 && keys[0].start != (macStart{}) {
		return keys[0].start.derive(head, ctx), nil
	}
	const first, info = sha256.Size, sha256.Size + sha256.BlockSize
	var array [info + 416]byte // on the stack, enough for all but very long contexts
	buf := append(array[:info], sealLabel...)
	buf = append(buf, head...)
	buf = append(ctx.append(buf), 1)
	d.key = mac(prk, buf[first:])
	copy(buf[sha256.BlockSize:], d.key[:])
	buf[len(buf)-1] = 2
	d.commitment = mac(prk, buf)
	return d, nil
}

// derive is the same for a key whose start is kept.
func (m *macStart) derive(head []byte, ctx Context) (d derived) {
	r := macRuns.Get().(*macRun)
	defer macRuns.Put(r)
	const info = sha256.Size
	buf := append(r.room[:info], sealLabel...)
	buf = append(buf, head...)
	buf = append(ctx.append(buf), 1)
	d.key = r.mac(m, buf[info:])
	copy(buf, d.key[:])
	buf[len(buf)-1] = 2
	d.commitment = r.mac(m, buf)
	clear(buf[:info])
	return d
}
