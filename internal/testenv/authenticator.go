package testenv

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/underseal/underseal/api"
)

// Where an Env is reached, for passkeys.
const (
	PasskeyHost   = "seal.example.org"
	PasskeyOrigin = "https://seal.example.org"
)

// Flags of what an authenticator says (WebAuthn Level 2, section 6.1).
const (
	userPresent  = 0x01
	userVerified = 0x04
	attested     = 0x40
)

// Authenticator is a passkey in software with the browser around it. Its fields are what
// a ceremony can get wrong.
type Authenticator struct {
	t      testing.TB
	key    crypto.Signer
	ID     []byte // of the credential
	Handle string // of whom it is, base64url

	RP, Origin string // "": what it is asked for, at PasskeyOrigin
	Type       string // "": the right one
	Challenge  string // "": the one that it is asked
	Flags      byte
	Counter    uint32 // of its last answer; 0: it does not count
	Format     string // of the attestation
}

// NewAuthenticator returns one whose passkey has a key on P-256, or one of Ed25519.
func NewAuthenticator(t testing.TB, ed bool) *Authenticator {
	t.Helper()
	a := &Authenticator{t: t, ID: make([]byte, 32), Flags: userPresent | userVerified, Format: "none"}
	var err error
	rand.Read(a.ID)
	if ed {
		_, a.key, err = ed25519.GenerateKey(rand.Reader)
	} else {
		a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Copy returns another one with the same passkey.
func (a *Authenticator) Copy() *Authenticator {
	b := *a
	return &b
}

// Create makes a passkey as a browser is asked to.
func (a *Authenticator) Create(name string, q api.PasskeyCeremony) api.PasskeyRequest {
	a.Handle = q.PublicKey.User.ID
	data := a.data(q.PublicKey.RP.ID, attested)
	data = append(data, make([]byte, 16)...) // of no maker
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.ID)))
	data = append(append(data, a.ID...), a.cose()...)
	object := append([]byte("\xa3\x63fmt"), cborText(0x60, []byte(a.Format))...)
	object = append(object, "\x67attStmt\xa0\x68authData"...)
	object = append(object, cborText(0x40, data)...)
	return api.PasskeyRequest{Name: name, ClientData: base64url(a.client("webauthn.create", q.PublicKey.Challenge)), Attestation: base64url(object)}
}

// Get answers what a browser is asked.
func (a *Authenticator) Get(q api.PasskeyOptions) api.PasskeyAnswer {
	if a.Counter > 0 {
		a.Counter++
	}
	data, client := a.data(q.RPID, 0), a.client("webauthn.get", q.Challenge)
	hash := sha256.Sum256(client)
	message, opts := append(bytes.Clone(data), hash[:]...), crypto.SignerOpts(crypto.Hash(0))
	if _, ok := a.key.(*ecdsa.PrivateKey); ok {
		digest := sha256.Sum256(message)
		message, opts = digest[:], crypto.SHA256
	}
	signature, err := a.key.Sign(rand.Reader, message, opts)
	if err != nil {
		a.t.Fatal(err)
	}
	return api.PasskeyAnswer{ID: base64url(a.ID), ClientData: base64url(client), Authenticator: base64url(data), Signature: base64url(signature)}
}

// SignIn answers what a browser is asked to sign somebody in.
func (a *Authenticator) SignIn(q api.PasskeyQuestion) api.PasskeySignInRequest {
	return api.PasskeySignInRequest{Answer: a.Get(q.PublicKey), User: a.Handle}
}

func (a *Authenticator) data(rp string, more byte) []byte {
	if a.RP != "" {
		rp = a.RP
	}
	hash := sha256.Sum256([]byte(rp))
	return binary.BigEndian.AppendUint32(append(hash[:], a.Flags|more), a.Counter)
}

func (a *Authenticator) client(ceremony, challenge string) []byte {
	origin := PasskeyOrigin
	for into, text := range map[*string]string{&ceremony: a.Type, &challenge: a.Challenge, &origin: a.Origin} {
		if text != "" {
			*into = text
		}
	}
	return fmt.Appendf(nil, `{"type":%q,"challenge":%q,"origin":%q,"crossOrigin":false}`, ceremony, challenge, origin)
}

// cose is the public key in CTAP2's canonical CBOR (RFC 9053).
func (a *Authenticator) cose() []byte {
	switch key := a.key.Public().(type) {
	case ed25519.PublicKey:
		return append([]byte("\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20"), key...)
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			a.t.Fatal(err)
		}
		return append(append(append([]byte("\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20"), point[1:33]...), "\x22\x58\x20"...), point[33:]...)
	}
	return nil
}

// cborText is an item of bytes (0x40) or text (0x60) of less than 64 KiB.
func cborText(major byte, data []byte) []byte {
	var b []byte
	switch n := len(data); {
	case n < 24:
		b = []byte{major | byte(n)}
	case n < 256:
		b = []byte{major | 24, byte(n)}
	default:
		b = binary.BigEndian.AppendUint16([]byte{major | 25}, uint16(n))
	}
	return append(b, data...)
}

func base64url(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }
