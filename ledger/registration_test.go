package ledger_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

const ourOrigin = "https://console.example.com"

// registered is what an authenticator says of a passkey that it has made.
func registered(key []byte) (data []byte) {
	rp := sha256.Sum256([]byte("example.com"))
	data = append(rp[:], 0x45, 0, 0, 0, 9)
	data = append(data, make([]byte, 16)...)
	data = binary.BigEndian.AppendUint16(data, 4)
	return append(append(data, "name"...), key...)
}

// item is CBOR of bytes (0x40) or text (0x60) of less than 64 KiB.
func item(major byte, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{major | 25}, uint16(len(data))), data...)
}

func attestationOf(format, statement string, data []byte) []byte {
	b := append([]byte("\xa3\x63fmt"), item(0x60, []byte(format))...)
	return append(append(b, "\x67attStmt"+statement+"\x68authData"...), item(0x40, data)...)
}

func clientData(kind, origin string, challenge ledger.Hash, more string) []byte {
	return fmt.Appendf(nil, `{"type":%q,"challenge":%q,"origin":%q%s}`, kind, base64.RawURLEncoding.EncodeToString(challenge[:]), origin, more)
}

func TestRegistrations(t *testing.T) {
	challenge := ledger.Hash{1, 2, 3}
	key, err := hex.DecodeString("a4010103272006215820" + hex.EncodeToString(rawOf(t)))
	if err != nil {
		t.Fatal(err)
	}
	good := registered(key)
	edit := func(at int, b byte) []byte {
		d := slices.Clone(good)
		d[at] = b
		return d
	}
	client := clientData("webauthn.create", ourOrigin, challenge, `,"crossOrigin":false`)
	for _, c := range []struct {
		name, code string
		client     []byte
		object     []byte
	}{
		{"none", "", client, attestationOf("none", "\xa0", good)},
		{"of itself, with a signature", "", client, attestationOf("packed", "\xa2\x63alg\x27\x63sig\x41\x00", good)},
		{"with certificates", "", client, attestationOf("packed", "\xa1\x63x5c\x82\x41\x00\x41\x01", good)},
		{"in another order", "", client, slices.Concat([]byte("\xa3\x68authData"), item(0x40, good), []byte("\x67attStmt\xa0\x63fmt\x64none"))},
		{"with extensions", "", client, attestationOf("none", "\xa0", append(edit(32, 0xc5), "\xa1\x6bcredProtect\x02"...))},
		{"synchronized", "", client, attestationOf("none", "\xa0", edit(32, 0x5d))},
		{"another origin", "webauthn_origin", clientData("webauthn.create", "https://example.com", challenge, ""), attestationOf("none", "\xa0", good)},
		{"an answer", "webauthn_type", clientData("webauthn.get", ourOrigin, challenge, ""), attestationOf("none", "\xa0", good)},
		{"another challenge", "webauthn_challenge", clientData("webauthn.create", ourOrigin, ledger.Hash{9}, ""), attestationOf("none", "\xa0", good)},
		{"in another site's page", "webauthn_cross_origin", clientData("webauthn.create", ourOrigin, challenge, `,"crossOrigin":true`), attestationOf("none", "\xa0", good)},
		{"another relying party", "webauthn_rp", client, attestationOf("none", "\xa0", edit(0, good[0]+1))},
		{"nobody was present", "webauthn_presence", client, attestationOf("none", "\xa0", edit(32, 0x44))},
		{"the person was not verified", "webauthn_verification", client, attestationOf("none", "\xa0", edit(32, 0x41))},
		{"a reserved flag", "webauthn_flags", client, attestationOf("none", "\xa0", edit(32, 0x47))},
		{"a copy of what may have none", "webauthn_flags", client, attestationOf("none", "\xa0", edit(32, 0x55))},
		{"without a credential", "webauthn_flags", client, attestationOf("none", "\xa0", good[:37])},
		{"a flag without a credential", "webauthn_flags", client, attestationOf("none", "\xa0", edit(32, 0x05))},
		{"extensions that are not there", "webauthn_flags", client, attestationOf("none", "\xa0", edit(32, 0xc5))},
		{"extensions that nothing says", "webauthn_flags", client, attestationOf("none", "\xa0", append(slices.Clone(good), 0xa0))},
		{"an id of no length", "signature_malformed", client, attestationOf("none", "\xa0", edit(54, 0))},
		{"an id longer than all of it", "signature_malformed", client, attestationOf("none", "\xa0", edit(53, 0x10))},
		{"a key of RSA", "key_unsuitable", client, attestationOf("none", "\xa0", registered([]byte("\xa4\x01\x03\x03\x39\x01\x00\x20\x41\x01\x21\x43\x01\x00\x01")))},
		{"a key for which anybody can sign", "key_unsuitable", client, attestationOf("none", "\xa0", registered(append(key[:10:10], make([]byte, 32)...)))},
		{"cut short", "signature_malformed", client, attestationOf("none", "\xa0", good)[:60]},
		{"something behind it", "signature_malformed", client, append(attestationOf("none", "\xa0", good), 0)},
		{"a name twice", "signature_malformed", client, slices.Concat([]byte("\xa3\x63fmt\x60\x63fmt\x60\x68authData"), item(0x40, good))},
		{"a name too many", "signature_malformed", client, slices.Concat([]byte("\xa4\x63fmt\x60\x67attStmt\xa0\x61x\x00\x68authData"), item(0x40, good))},
		{"of no definite length", "signature_malformed", client, attestationOf("none", "\xbf\xff", good)},
		{"a list longer than all of it", "signature_malformed", client, attestationOf("none", "\x9b\x80\x00\x00\x00\x00\x00\x00\x00", good)},
		{"a map longer than all of it", "signature_malformed", client, attestationOf("none", "\xbb\x80\x00\x00\x00\x00\x00\x00\x00", good)},
		{"nested too deeply", "signature_malformed", client, attestationOf("none", "\xa1\x61x"+strings.Repeat("\x81", 9)+"\x00", good)},
		{"text that is none", "signature_malformed", client, attestationOf("\xff", "\xa0", good)},
		{"nothing", "signature_malformed", client, nil},
		{"client data that is none", "signature_malformed", []byte("text"), attestationOf("none", "\xa0", good)},
	} {
		r, err := ledger.VerifyRegistration(challenge, c.client, c.object, "example.com", []string{ourOrigin})
		if fault.CodeOf(err) != c.code && (err != nil || c.code != "") {
			t.Errorf("%s: %v, want code %q", c.name, err, c.code)
		}
		if c.code == "" && (string(r.ID) != "name" || r.Counter != 9 || r.Key.Alg() != ledger.Ed25519 || r.Synced != (c.name == "synchronized")) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// rawOf is a public key of Ed25519.
func rawOf(t *testing.T) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(publicOf(t, edKey(3)).Text())
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Whatever an attestation object is, reading it ends, and what is taken has a key.
func FuzzRegistration(f *testing.F) {
	key, err := base64.StdEncoding.DecodeString(publicOf(f, edKey(3)).Text())
	if err != nil {
		f.Fatal(err)
	}
	good := registered(append([]byte("\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20"), key...))
	f.Add(attestationOf("none", "\xa0", good))
	f.Add(attestationOf("packed", "\xa2\x63alg\x27\x63sig\x41\x00", good))
	f.Add(attestationOf("none", "\xc1\x82\xf9\x00\x00\x1b\xff\xff\xff\xff\xff\xff\xff\xff", good))
	client := clientData("webauthn.create", ourOrigin, ledger.Hash{1}, "")
	f.Fuzz(func(t *testing.T, attestation []byte) {
		r, err := ledger.VerifyRegistration(ledger.Hash{1}, client, attestation, "example.com", []string{ourOrigin})
		if (err == nil) != (r.Key != ledger.PublicKey{}) || err == nil && len(r.ID) == 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// Whatever a browser adds to what it says, a passkey is registered only for our challenge
// and where it may be.
func FuzzRegistrationClientData(f *testing.F) {
	key, err := base64.StdEncoding.DecodeString(publicOf(f, edKey(3)).Text())
	if err != nil {
		f.Fatal(err)
	}
	attestation := attestationOf("none", "\xa0", registered(append([]byte("\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20"), key...)))
	f.Add(clientData("webauthn.create", ourOrigin, ledger.Hash{1}, ""))
	f.Add(clientData("webauthn.create", ourOrigin, ledger.Hash{1}, `,"crossOrigin":true`))
	f.Add(clientData("webauthn.get", "https://evil.example", ledger.Hash{2}, `,"type":"webauthn.create"`))
	f.Add([]byte(`{"type":1}`))
	f.Fuzz(func(t *testing.T, client []byte) {
		r, err := ledger.VerifyRegistration(ledger.Hash{1}, client, attestation, "example.com", []string{ourOrigin})
		if (err == nil) != (r.Key != ledger.PublicKey{}) {
			t.Errorf("%+v, %v", r, err)
		}
		if err == nil && !saysAll(client, "webauthn.create") {
			t.Errorf("%q is taken", client)
		}
	})
}

// What an authenticator has signed counts only if it says what it must.
func FuzzAssertion(f *testing.F) {
	key := edKey(3)
	challenge := ledger.Hash{1}
	a := passkey(key).sign(f, challenge)
	f.Add(a.AuthenticatorData, a.ClientData)
	f.Add(append(bytes.Clone(a.AuthenticatorData), "\xa1\x61a\x01"...), a.ClientData)
	f.Add([]byte{1}, []byte(`{}`))
	f.Fuzz(func(t *testing.T, data, client []byte) {
		hash, rp := sha256.Sum256(client), sha256.Sum256([]byte("example.com"))
		signature, err := key.Sign(nil, append(bytes.Clone(data), hash[:]...), crypto.Hash(0))
		if err != nil {
			t.Fatal(err)
		}
		a := ledger.Assertion{AuthenticatorData: data, ClientData: client, Signature: signature}
		_, err = ledger.VerifyAssertion(challenge, a, ledger.Credential{Key: publicOf(t, key), RP: "example.com", Origins: []string{ourOrigin}})
		if err != nil {
			return
		}
		if !saysAll(client, "webauthn.get") || !bytes.HasPrefix(data, rp[:]) || data[32]&0x05 != 0x05 {
			t.Errorf("%x and %q are taken", data, client)
		}
	})
}

// saysAll reports whether client data say what they must, of the challenge that begins with 1.
func saysAll(client []byte, kind string) bool {
	var said map[string]any
	challenge := ledger.Hash{1}
	return json.Unmarshal(client, &said) == nil && said["type"] == kind && said["origin"] == ourOrigin &&
		said["challenge"] == base64.RawURLEncoding.EncodeToString(challenge[:])
}
