package ledger

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// Assertion is a person's signature over a statement: what an authenticator answers
// to the challenge SHA-256(statement) (W3C Web Authentication Level 2, 5.2.2).
type Assertion struct {
	AuthenticatorData []byte
	ClientData        []byte // clientDataJSON, as the browser made it
	Signature         []byte
}

// Credential is a passkey as it was registered.
type Credential struct {
	Key     PublicKey
	RP      string   // id of the relying party: a domain
	Origins []string // "https://console.example.com": where a signature may be given
}

// Challenge returns what an authenticator is to sign for a statement.
func Challenge(statement []byte) Hash { return statementHash(statement) }

func statementHash(statement []byte) Hash { return sha256.Sum256(statement) }

var base64URL = base64.RawURLEncoding.Strict()

// Encode returns canon of a map of three strings in base64url without padding.
func (a Assertion) Encode() []byte {
	w := leafWriter{'{'}
	w = w.text("authenticatorData", base64URL.EncodeToString(a.AuthenticatorData))
	w = w.text("clientDataJSON", base64URL.EncodeToString(a.ClientData))
	w = w.text("signature", base64URL.EncodeToString(a.Signature))
	w[len(w)-1] = '}'
	return w
}

// ParseAssertion reads what Encode writes. Any other spelling is an Integrity fault
// ("signature_malformed").
func ParseAssertion(encoded []byte) (Assertion, error) {
	malformed := refusedSignature("signature_malformed", "it is no assertion in its one spelling")
	v, err := canon.Decode(encoded)
	c, ok := v.(*canon.Context)
	if err != nil || !ok {
		return Assertion{}, malformed
	}
	r := mapReader{c: c}
	var parts [3][]byte
	for i, name := range []string{"authenticatorData", "clientDataJSON", "signature"} {
		if parts[i], err = base64URL.DecodeString(r.text(name)); err != nil {
			return Assertion{}, malformed
		}
	}
	a := Assertion{parts[0], parts[1], parts[2]}
	if r.err != nil || !bytes.Equal(a.Encode(), encoded) {
		return Assertion{}, malformed
	}
	return a, nil
}

// VerifyPerson checks a person's signature, an encoded Assertion, over an encoded
// statement, and returns what it says. The checks are those of section 7.2 of the
// specification; each refusal is an Integrity fault with a code of its own, which
// docs/design/signatures.md lists. The signature counter is not looked at: passkeys
// that are synchronized have none.
func VerifyPerson(statement, signature []byte, c Credential) (Statement, error) {
	s, err := ParseStatement(statement)
	if err != nil {
		return Statement{}, err
	}
	a, err := ParseAssertion(signature)
	if err != nil {
		return Statement{}, err
	}
	if s.Key != c.Key.ID() {
		return Statement{}, refusedSignature("signature_other_key", "the statement names another key")
	}
	if _, err := VerifyAssertion(Challenge(statement), a, c); err != nil {
		return Statement{}, err
	}
	return s, nil
}

// VerifyAssertion checks what a passkey answers to a challenge, as VerifyPerson does, and
// returns its signature counter; that of passkeys that are synchronized stays 0.
func VerifyAssertion(challenge Hash, a Assertion, c Credential) (counter uint32, err error) {
	if err := checkClientData(a.ClientData, getting, challenge, c.Origins); err != nil {
		return 0, err
	}
	if err := checkAuthenticator(a.AuthenticatorData, c.RP); err != nil {
		return 0, err
	}
	flags, tail := a.AuthenticatorData[sha256.Size], a.AuthenticatorData[authenticatorSize:]
	if flags&attested != 0 || (flags&extended != 0) != (len(tail) > 0) {
		return 0, refusedFlags(a.AuthenticatorData)
	}
	client := sha256.Sum256(a.ClientData)
	if !c.Key.Verify(append(bytes.Clone(a.AuthenticatorData), client[:]...), a.Signature) {
		return 0, refusedSignature("signature_wrong", "the passkey did not make it over this text")
	}
	return counterOf(a.AuthenticatorData), nil
}

// What ceremonies are for, as clients say it (section 5.8.1).
const (
	creating = "webauthn.create"
	getting  = "webauthn.get"
)

func checkClientData(data []byte, ceremony string, challenge Hash, origins []string) error {
	v, err := canon.DecodeJSON(data)
	c, ok := v.(*canon.Context)
	if err != nil || !ok {
		return refusedSignature("signature_malformed", "the client's data is no JSON object")
	}
	text := func(name string) string {
		v, _ := c.Get(name)
		s, _ := v.(canon.String)
		return string(s)
	}
	cross, given := c.Get("crossOrigin")
	_, top := c.Get("topOrigin")
	switch want := base64URL.EncodeToString(challenge[:]); {
	case text("type") != ceremony:
		return refusedSignature("webauthn_type", "it is of another kind than %s (%q)", ceremony, text("type"))
	case subtle.ConstantTimeCompare([]byte(text("challenge")), []byte(want)) != 1:
		return refusedSignature("webauthn_challenge", "it is over another statement")
	case !slices.Contains(origins, text("origin")):
		return refusedSignature("webauthn_origin", "it was given at %q", text("origin"))
	case given && cross != canon.Bool(false) || top:
		return refusedSignature("webauthn_cross_origin", "it was given inside another site's page")
	}
	return nil
}

// Flags of authenticator data (section 6.1).
const (
	userPresent    = 1 << 0
	userVerified   = 1 << 2
	backupEligible = 1 << 3
	backedUp       = 1 << 4
	attested       = 1 << 6
	extended       = 1 << 7
	reservedFlags  = 1<<1 | 1<<5

	authenticatorSize = sha256.Size + 1 + 4 // hash of the RP's id, flags, counter
)

func checkAuthenticator(data []byte, rp string) error {
	if len(data) < authenticatorSize {
		return refusedSignature("signature_malformed", "the authenticator's data has %d bytes", len(data))
	}
	hash, flags := sha256.Sum256([]byte(rp)), data[sha256.Size]
	switch {
	case !bytes.Equal(data[:sha256.Size], hash[:]):
		return refusedSignature("webauthn_rp", "it was made for another relying party than %q", rp)
	case flags&userPresent == 0:
		return refusedSignature("webauthn_presence", "nobody was present")
	case flags&userVerified == 0:
		return refusedSignature("webauthn_verification", "the person was not verified")
	case flags&reservedFlags != 0, flags&backedUp != 0 && flags&backupEligible == 0:
		return refusedFlags(data)
	}
	return nil
}

func refusedFlags(data []byte) error {
	return refusedSignature("webauthn_flags", "the authenticator's flags %08b do not fit its %d bytes", data[sha256.Size], len(data))
}

func counterOf(data []byte) uint32 { return binary.BigEndian.Uint32(data[sha256.Size+1:]) }

// The two shapes of a COSE_Key (RFC 9053) that passkeys have here, in CTAP2's
// canonical CBOR: what stands before the key's parts.
const (
	coseP256X   = "\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20" // EC2, ES256, P-256, x
	coseP256Y   = "\x22\x58\x20"                             // y
	coseEd25519 = "\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20" // OKP, EdDSA, Ed25519, x
)

// ParseCOSEKey reads the public key of a credential as an authenticator gives it:
// ES256 on P-256 or EdDSA with Ed25519, in canonical CBOR. Any other is Invalid.
func ParseCOSEKey(cose []byte) (PublicKey, error) {
	if x, ok := bytes.CutPrefix(cose, []byte(coseEd25519)); ok {
		return newPublicKey(Ed25519, x)
	}
	rest, ok := bytes.CutPrefix(cose, []byte(coseP256X))
	if ok && len(rest) == 32+len(coseP256Y)+32 && bytes.HasPrefix(rest[32:], []byte(coseP256Y)) {
		return newPublicKey(P256, slices.Concat([]byte{4}, rest[:32], rest[32+len(coseP256Y):]))
	}
	return PublicKey{}, fault.New(fault.Invalid, "%d bytes are no COSE key of ES256 on P-256 or EdDSA with Ed25519", len(cose)).WithCode("key_unsuitable")
}
