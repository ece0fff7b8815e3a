package ledger_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// authenticator is a passkey in software. Its fields are what a ceremony can get
// wrong.
type authenticator struct {
	key    crypto.Signer
	rp     string
	flags  byte
	typ    string
	origin string
	more   string // after the origin in the client's data
	tail   []byte // after the counter
}

func passkey(key crypto.Signer) authenticator {
	return authenticator{key: key, rp: "example.com", flags: 0x05, typ: "webauthn.get", origin: "https://console.example.com", more: `,"crossOrigin":false`}
}

func (a authenticator) sign(t testing.TB, challenge ledger.Hash) ledger.Assertion {
	t.Helper()
	client := fmt.Sprintf(`{"type":%q,"challenge":%q,"origin":%q%s}`, a.typ, base64.RawURLEncoding.EncodeToString(challenge[:]), a.origin, a.more)
	rp, hash := sha256.Sum256([]byte(a.rp)), sha256.Sum256([]byte(client))
	data := append(append(rp[:], a.flags, 0, 0, 0, 7), a.tail...)
	message, opts := append(append([]byte{}, data...), hash[:]...), crypto.SignerOpts(crypto.Hash(0))
	if _, ok := a.key.Public().(*ecdsa.PublicKey); ok {
		digest := sha256.Sum256(message)
		message, opts = digest[:], crypto.SHA256
	}
	signature, err := a.key.Sign(nil, message, opts)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Assertion{AuthenticatorData: data, ClientData: []byte(client), Signature: signature}
}

type webauthnVector struct {
	Name      string   `json:"name"`
	Statement string   `json:"statement"`
	Signature string   `json:"signature"` // assertion
	Alg       string   `json:"alg"`
	Public    string   `json:"public"`
	RP        string   `json:"rp"`
	Origins   []string `json:"origins"`
	Code      string   `json:"code,omitempty"`
}

func makeWebauthnVectors(t *testing.T) (vectors []webauthnVector) {
	for _, key := range []crypto.Signer{edKey(3), p256Key(t, 3)} {
		public := publicOf(t, key)
		statement := taskStatement(t, public).Encode()
		vector := func(name, code string, a ledger.Assertion) webauthnVector {
			return webauthnVector{public.Alg() + ": " + name, string(statement), string(a.Encode()), public.Alg(), public.Text(),
				"example.com", []string{"https://console.example.com", "https://example.com:8443"}, code}
		}
		with := func(name, code string, edit func(*authenticator)) {
			a := passkey(key)
			edit(&a)
			vectors = append(vectors, vector(name, code, a.sign(t, ledger.Challenge(statement))))
		}
		with("a person who was verified", "", func(*authenticator) {})
		with("at the second origin", "", func(a *authenticator) { a.origin = "https://example.com:8443" })
		with("without a word on crossOrigin, with other names", "", func(a *authenticator) { a.more = `,"other_keys_can_be_added_here":"x"` })
		with("a passkey with a copy", "", func(a *authenticator) { a.flags |= 0x18 })
		with("with extensions", "", func(a *authenticator) { a.flags |= 0x80; a.tail = []byte{0xa0} })
		with("nobody was present", "webauthn_presence", func(a *authenticator) { a.flags = 0x04 })
		with("the person was not verified", "webauthn_verification", func(a *authenticator) { a.flags = 0x01 })
		with("another relying party", "webauthn_rp", func(a *authenticator) { a.rp = "example.org" })
		with("another origin", "webauthn_origin", func(a *authenticator) { a.origin = "https://console.example.com.evil.example" })
		with("an origin in clear", "webauthn_origin", func(a *authenticator) { a.origin = "http://console.example.com" })
		with("a registration", "webauthn_type", func(a *authenticator) { a.typ = "webauthn.create" })
		with("in another site's page", "webauthn_cross_origin", func(a *authenticator) { a.more = `,"crossOrigin":true` })
		with("with a top origin", "webauthn_cross_origin", func(a *authenticator) { a.more = `,"topOrigin":"https://example.org"` })
		with("crossOrigin that is no boolean", "webauthn_cross_origin", func(a *authenticator) { a.more = `,"crossOrigin":["l"]` })
		with("a challenge twice", "signature_malformed", func(a *authenticator) { a.more = `,"challenge":"x"` })
		with("a copy of what may have none", "webauthn_flags", func(a *authenticator) { a.flags |= 0x10 })
		with("attested data in an assertion", "webauthn_flags", func(a *authenticator) { a.flags |= 0x40 })
		with("a reserved flag", "webauthn_flags", func(a *authenticator) { a.flags |= 0x02 })
		with("bytes behind the counter", "webauthn_flags", func(a *authenticator) { a.tail = []byte{0xa0} })
		with("extensions that are not there", "webauthn_flags", func(a *authenticator) { a.flags |= 0x80 })
		with("another key behind the passkey", "signature_wrong", func(a *authenticator) { a.key = edKey(4) })

		good := passkey(key).sign(t, ledger.Challenge(statement))
		vectors = append(vectors, vector("another statement", "webauthn_challenge", passkey(key).sign(t, ledger.Challenge([]byte("x")))))
		short := good
		short.AuthenticatorData = short.AuthenticatorData[:36]
		vectors = append(vectors, vector("authenticator data cut short", "signature_malformed", short))
		none := good
		none.Signature = nil
		vectors = append(vectors, vector("no signature", "signature_wrong", none))
		text := good
		text.ClientData = []byte("text")
		vectors = append(vectors, vector("client data that is no JSON", "signature_malformed", text))
		raised := good
		raised.AuthenticatorData = append(append([]byte{}, good.AuthenticatorData[:36]...), good.AuthenticatorData[36]+1)
		vectors = append(vectors, vector("a changed counter", "signature_wrong", raised))

		padded := vector("another spelling", "signature_malformed", good)
		padded.Signature = strings.Replace(padded.Signature, `","clientDataJSON"`, `=","clientDataJSON"`, 1)
		spaced := vector("a space", "signature_malformed", good)
		spaced.Signature = strings.Replace(spaced.Signature, `,"signature"`, `, "signature"`, 1)
		other := vector("the key of another", "signature_other_key", good)
		other.Alg, other.Public = publicOf(t, edKey(5)).Alg(), publicOf(t, edKey(5)).Text()
		worker := vector("an envelope of a worker", "signature_malformed", good)
		_, worker.Signature = sign(t, taskStatement(t, public), key)
		vectors = append(vectors, padded, spaced, other, worker)
	}
	return vectors
}

func TestWebauthnVectors(t *testing.T) {
	for _, v := range readVectors(t, "webauthn.json", makeWebauthnVectors(t)) {
		t.Run(v.Name, func(t *testing.T) {
			key, err := ledger.ParsePublicKey(v.Alg, v.Public)
			if err != nil {
				t.Fatal(err)
			}
			_, err = ledger.VerifyPerson([]byte(v.Statement), []byte(v.Signature), ledger.Credential{Key: key, RP: v.RP, Origins: v.Origins})
			if got := codeOf(err); got != v.Code {
				t.Errorf("error %v, want code %q", err, v.Code)
			}
		})
	}
}

// A worker's statement of DSSE is no assertion, and the other way round: the two sign
// different texts.
func TestAPersonsSignatureIsNoWorkers(t *testing.T) {
	key := edKey(3)
	statement := taskStatement(t, publicOf(t, key)).Encode()
	assertion := passkey(key).sign(t, ledger.Challenge(statement)).Encode()
	if _, err := ledger.VerifyWorker(statement, assertion, publicOf(t, key)); fault.CodeOf(err) != "signature_malformed" {
		t.Errorf("an assertion as an envelope: %v", err)
	}
}

func TestCOSEKeys(t *testing.T) {
	ed := edKey(1).Public().(ed25519.PublicKey)
	point, err := p256Key(t, 1).Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	okp := append([]byte{0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 0x20}, ed...)
	ec2 := append([]byte{0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 0x20}, point[1:33]...)
	ec2 = append(append(ec2, 0x22, 0x58, 0x20), point[33:]...)
	for _, good := range []struct {
		cose []byte
		want ledger.PublicKey
	}{{okp, publicOf(t, edKey(1))}, {ec2, publicOf(t, p256Key(t, 1))}} {
		if key, err := ledger.ParseCOSEKey(good.cose); err != nil || key != good.want {
			t.Errorf("%x: %v, %v", good.cose, key, err)
		}
	}
	off := append([]byte{}, ec2...)
	off[len(off)-1] ^= 1
	for name, bad := range map[string][]byte{
		"nothing": nil, "cut short": okp[:41], "too long": append(okp[:42:42], 0), "of another curve": append([]byte{0xa5, 1, 2, 3, 0x38, 0x22}, ec2[6:]...),
		"a point that is not on the curve": off, "P-256 cut short": ec2[:76], "a private key's name": append([]byte{0xa5}, okp[1:]...),
	} {
		if _, err := ledger.ParseCOSEKey(bad); fault.CodeOf(err) != "key_unsuitable" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseCOSEKey(f *testing.F) {
	ed := edKey(1).Public().(ed25519.PublicKey)
	f.Add(append([]byte{0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 0x20}, ed...))
	point, err := p256Key(f, 1).Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		f.Fatal(err)
	}
	ec2 := append([]byte{0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 0x20}, point[1:33]...)
	f.Add(append(append(ec2, 0x22, 0x58, 0x20), point[33:]...))
	f.Add([]byte{0xa4, 1, 1})
	f.Fuzz(func(t *testing.T, cose []byte) {
		key, err := ledger.ParseCOSEKey(cose)
		if err != nil {
			if !fault.Is(err, fault.Invalid) || key != (ledger.PublicKey{}) {
				t.Errorf("%x is refused by %v, with %v", cose, err, key)
			}
			return
		}
		if again, err := ledger.ParsePublicKey(key.Alg(), key.Text()); err != nil || again != key {
			t.Errorf("%x is a key that is refused: %v", cose, err)
		}
	})
}

func FuzzVerifyPerson(f *testing.F) {
	key := edKey(3)
	public := publicOf(f, key)
	statement := taskStatement(f, public).Encode()
	good := passkey(key).sign(f, ledger.Challenge(statement)).Encode()
	f.Add(good)
	f.Add([]byte(`{"authenticatorData":"","clientDataJSON":"","signature":""}`))
	f.Fuzz(func(t *testing.T, signature []byte) {
		a, err := ledger.ParseAssertion(signature)
		if err == nil && string(a.Encode()) != string(signature) {
			t.Errorf("%q parses and encodes as %q", signature, a.Encode())
		}
		_, err = ledger.VerifyPerson(statement, signature, ledger.Credential{Key: public, RP: "example.com", Origins: []string{"https://console.example.com"}})
		if err == nil && string(signature) != string(good) {
			t.Errorf("%q is accepted", signature)
		}
	})
}
