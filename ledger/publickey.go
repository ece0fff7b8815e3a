package ledger

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// What signers sign with. The algorithm belongs to the key, so no signature says
// how it is to be checked.
const (
	Ed25519 = "ed25519" // RFC 8032, pure; 32 bytes of public key in their one spelling, 64 of signature
	P256    = "p256"    // ECDSA over P-256 with SHA-256; 65 bytes (uncompressed point), signature in DER
)

// PublicKey is the public key of a signer. The zero PublicKey verifies nothing.
type PublicKey struct {
	alg   string
	bytes string
}

// NewPublicKey takes an ed25519.PublicKey or an *ecdsa.PublicKey on P-256; any
// other is Invalid.
func NewPublicKey(key crypto.PublicKey) (PublicKey, error) {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return newPublicKey(Ed25519, key)
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			if point, err := key.Bytes(); err == nil {
				return newPublicKey(P256, point)
			}
		}
	}
	return PublicKey{}, fault.New(fault.Invalid, "a key of type %T does not sign here", key).WithCode("key_unsuitable").
		WithHint("use Ed25519, or ECDSA on P-256")
}

// ParsePublicKey reads what Alg and Text return; any other spelling is Invalid, and so
// is a point of small order, under which anybody can make signatures that verify.
func ParsePublicKey(alg, text string) (PublicKey, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || base64.StdEncoding.EncodeToString(raw) != text {
		return PublicKey{}, fault.New(fault.Invalid, "the public key is not base64 in its one spelling").WithCode("key_unsuitable")
	}
	return newPublicKey(alg, raw)
}

func newPublicKey(alg string, raw []byte) (PublicKey, error) {
	ok := alg == Ed25519 && suitableEd25519(raw)
	if alg == P256 {
		_, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw)
		ok = err == nil
	}
	if !ok {
		return PublicKey{}, fault.New(fault.Invalid, "%d bytes are no public key of algorithm %q, or one for which anybody can sign", len(raw), alg).
			WithCode("key_unsuitable").WithHint("use Ed25519, or ECDSA on P-256")
	}
	return PublicKey{alg, string(raw)}, nil
}

// Alg returns the algorithm, Ed25519 or P256.
func (k PublicKey) Alg() string { return k.alg }

// Text returns the key's bytes in base64.
func (k PublicKey) Text() string { return base64.StdEncoding.EncodeToString([]byte(k.bytes)) }

// Bytes returns the key's bytes: 32 of Ed25519, 65 of P256.
func (k PublicKey) Bytes() []byte { return []byte(k.bytes) }

const keyLabel = "underseal/v1/signer\x00"

// ID returns the key's id, 64 hex digits: SHA-256 of a label and of the tuple of
// algorithm and key. Statements and envelopes name keys by it.
func (k PublicKey) ID() string {
	sum := sha256.Sum256(canon.AppendTuple([]byte(keyLabel), k.alg, k.bytes))
	return hex.EncodeToString(sum[:])
}

// Verify reports whether the key made the signature over the message.
func (k PublicKey) Verify(message, signature []byte) bool {
	switch k.alg {
	case Ed25519:
		return ed25519.Verify(ed25519.PublicKey(k.bytes), message, signature)
	case P256:
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), []byte(k.bytes))
		digest := sha256.Sum256(message)
		return err == nil && ecdsa.VerifyASN1(key, digest[:], signature)
	}
	return false
}
