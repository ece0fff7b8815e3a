package passkey

import (
	"encoding/base64"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/ledger"
)

// Text is how ceremonies write bytes: base64url without padding.
func Text(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// Algorithms of COSE (RFC 9053) that keys may have, the better one first.
const (
	coseEdDSA = -8
	coseES256 = -7
)

// Person is for whom a passkey is made.
type Person struct {
	Handle        []byte // 1 to 64 bytes, by which a passkey says whose it is
	Name, Display string
}

// Creation returns what a browser is asked for to make a passkey, which is discoverable
// and asks its person for a PIN or a finger; others of theirs make no second one.
func (rp RelyingParty) Creation(challenge ledger.Hash, p Person, others [][]byte) api.PasskeyCreation {
	return api.PasskeyCreation{
		RP:        api.PasskeyParty{ID: rp.ID, Name: "Underseal"},
		User:      api.PasskeyUser{ID: Text(p.Handle), Name: p.Name, DisplayName: p.Display},
		Challenge: Text(challenge[:]), Timeout: Age.Milliseconds(),
		Parameters: []api.PasskeyParameter{{Type: publicKey, Alg: coseEdDSA}, {Type: publicKey, Alg: coseES256}},
		Exclude:    named(others),
		Selection:  api.PasskeySelection{ResidentKey: required, RequireResidentKey: true, UserVerification: required},

		Attestation: "none",
	}
}

// Request returns what a browser is asked for to answer a challenge, with one of the
// credentials; none: any that it has.
func (rp RelyingParty) Request(challenge ledger.Hash, of [][]byte) api.PasskeyOptions {
	return api.PasskeyOptions{
		Challenge: Text(challenge[:]), RPID: rp.ID, Timeout: Age.Milliseconds(), Allow: named(of), UserVerification: required,
	}
}

const (
	publicKey = "public-key"
	required  = "required"
)

func named(ids [][]byte) []api.PasskeyDescriptor {
	list := []api.PasskeyDescriptor{}
	for _, id := range ids {
		list = append(list, api.PasskeyDescriptor{Type: publicKey, ID: Text(id)})
	}
	return list
}
