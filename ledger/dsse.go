package ledger

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// Envelope is a DSSE envelope (Dead Simple Signing Envelope, version 1.0.2, of
// secure-systems-lab/dsse) with exactly one signature.
type Envelope struct {
	PayloadType string
	Payload     []byte
	KeyID       string // PublicKey.ID; DSSE takes it for a hint, here it must be the key's
	Sig         []byte
}

// PAE is what DSSE signs: the pre-authentication encoding of type and payload.
func PAE(payloadType string, payload []byte) []byte {
	b := append(make([]byte, 0, len(payloadType)+len(payload)+32), "DSSEv1 "...)
	b = append(strconv.AppendInt(b, int64(len(payloadType)), 10), ' ')
	b = append(append(b, payloadType...), ' ')
	b = append(strconv.AppendInt(b, int64(len(payload)), 10), ' ')
	return append(b, payload...)
}

// SignDSSE signs a payload. The signer's key is Ed25519 or P-256, else it is
// Invalid; what the signer itself fails with is returned as it is.
func SignDSSE(payloadType string, payload []byte, signer crypto.Signer) (Envelope, error) {
	key, err := NewPublicKey(signer.Public())
	if err != nil {
		return Envelope{}, err
	}
	message, hash := PAE(payloadType, payload), crypto.Hash(0)
	if key.alg == P256 {
		digest := sha256.Sum256(message)
		message, hash = digest[:], crypto.SHA256
	}
	sig, err := signer.Sign(rand.Reader, message, hash)
	return Envelope{PayloadType: payloadType, Payload: payload, KeyID: key.ID(), Sig: sig}, err
}

// VerifyDSSE refuses, as an Integrity fault, an envelope of another type
// ("signature_type"), of another key ("signature_other_key"), or whose signature is
// not that key's ("signature_wrong").
func VerifyDSSE(e Envelope, payloadType string, key PublicKey) error {
	switch {
	case e.PayloadType != payloadType:
		return refusedSignature("signature_type", "it is over a %q and not over a %q", e.PayloadType, payloadType)
	case e.KeyID != key.ID():
		return refusedSignature("signature_other_key", "it names another key")
	case !key.Verify(PAE(e.PayloadType, e.Payload), e.Sig):
		return refusedSignature("signature_wrong", "the key did not make it over this text")
	}
	return nil
}

func refusedSignature(code, format string, args ...any) error {
	return fault.New(fault.Integrity, "signature is refused: "+format, args...).WithCode(code)
}

// Encode returns the envelope as JSON in the one spelling that ParseEnvelope takes:
// no spaces, names in this order, base64 with the standard alphabet and padding.
func (e Envelope) Encode() []byte {
	b := append(make([]byte, 0, 256+len(e.Payload)*4/3), `{"payload":"`...)
	b = base64.StdEncoding.AppendEncode(b, e.Payload)
	b = canon.AppendString(append(b, `","payloadType":`...), e.PayloadType)
	b = canon.AppendString(append(b, `,"signatures":[{"keyid":`...), e.KeyID)
	b = base64.StdEncoding.AppendEncode(append(b, `,"sig":"`...), e.Sig)
	return append(b, `"}]}`...)
}

// ParseEnvelope reads what Encode writes. Any other spelling, and another number of
// signatures than one, is an Integrity fault ("signature_malformed").
func ParseEnvelope(encoded []byte) (Envelope, error) {
	var raw struct {
		Payload     []byte `json:"payload"`
		PayloadType string `json:"payloadType"`
		Signatures  []struct {
			KeyID string `json:"keyid"`
			Sig   []byte `json:"sig"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(encoded, &raw); err != nil || len(raw.Signatures) != 1 {
		return Envelope{}, refusedSignature("signature_malformed", "it is no DSSE envelope with one signature")
	}
	e := Envelope{PayloadType: raw.PayloadType, Payload: raw.Payload, KeyID: raw.Signatures[0].KeyID, Sig: raw.Signatures[0].Sig}
	if !bytes.Equal(e.Encode(), encoded) {
		return Envelope{}, refusedSignature("signature_malformed", "the envelope is not in its one spelling")
	}
	return e, nil
}
