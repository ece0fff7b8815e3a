package api

import (
	"encoding/json"
	"time"
)

// Passkey is a passkey by which a person signs in and signs.
type Passkey struct {
	ID     string    `json:"id"`
	Name   string    `json:"name" doc:"by which its owner knows it"`
	Signer string    `json:"signer" doc:"name of the signer whose key it is"`
	Key    string    `json:"key" doc:"the key's id, hex; a signed statement names it"`
	Synced bool      `json:"synced" doc:"it can be copied to other devices of its owner"`
	Made   time.Time `json:"made"`
}

// PasskeyCeremony is what a browser is to make a passkey by:
// navigator.credentials.create({publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(public_key)}).
type PasskeyCeremony struct {
	PublicKey PasskeyCreation `json:"public_key"`
}

// PasskeyQuestion is what a browser is to ask a passkey:
// navigator.credentials.get({publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(public_key)}).
type PasskeyQuestion struct {
	PublicKey PasskeyOptions `json:"public_key"`
}

// PasskeyCreation is PublicKeyCredentialCreationOptionsJSON (WebAuthn Level 3, 5.1.8). The
// names are the specification's, bytes are base64url without padding.
type PasskeyCreation struct {
	RP          PasskeyParty        `json:"rp"`
	User        PasskeyUser         `json:"user"`
	Challenge   string              `json:"challenge"`
	Parameters  []PasskeyParameter  `json:"pubKeyCredParams"`
	Timeout     int64               `json:"timeout" doc:"milliseconds"`
	Exclude     []PasskeyDescriptor `json:"excludeCredentials"`
	Selection   PasskeySelection    `json:"authenticatorSelection"`
	Attestation string              `json:"attestation"`
}

// PasskeyParty is whom a passkey is for.
type PasskeyParty struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// PasskeyUser is whose passkey it is to be.
type PasskeyUser struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	DisplayName string `json:"displayName"`
}

// PasskeyParameter is an algorithm that a key may have.
type PasskeyParameter struct {
	Type string `json:"type"`
	Alg  int    `json:"alg"`
}

// PasskeySelection says which authenticators will do.
type PasskeySelection struct {
	ResidentKey        string `json:"residentKey"`
	RequireResidentKey bool   `json:"requireResidentKey"`
	UserVerification   string `json:"userVerification"`
}

// PasskeyOptions is PublicKeyCredentialRequestOptionsJSON (WebAuthn Level 3, 5.1.9).
type PasskeyOptions struct {
	Challenge        string              `json:"challenge"`
	Timeout          int64               `json:"timeout" doc:"milliseconds"`
	RPID             string              `json:"rpId"`
	Allow            []PasskeyDescriptor `json:"allowCredentials" doc:"none: any that there is"`
	UserVerification string              `json:"userVerification"`
}

// PasskeyDescriptor names a credential.
type PasskeyDescriptor struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// PasskeyRequest registers a passkey that a browser made.
type PasskeyRequest struct {
	Name        string `json:"name" minLength:"1" maxLength:"100" doc:"by which its owner is to know it"`
	ClientData  string `json:"client_data" minLength:"1" maxLength:"4096" doc:"response.clientDataJSON, base64url without padding"`
	Attestation string `json:"attestation" minLength:"1" maxLength:"65536" doc:"response.attestationObject, base64url without padding"`
}

// PasskeyAnswer is what a passkey answered. All of it is base64url without padding.
type PasskeyAnswer struct {
	ID            string `json:"id" minLength:"1" maxLength:"1366" doc:"of the credential"`
	ClientData    string `json:"client_data" minLength:"1" maxLength:"4096" doc:"response.clientDataJSON"`
	Authenticator string `json:"authenticator_data" minLength:"1" maxLength:"4096" doc:"response.authenticatorData"`
	Signature     string `json:"signature" minLength:"1" maxLength:"1024" doc:"response.signature"`
}

// PasskeySignInRequest signs in whose passkey has answered.
type PasskeySignInRequest struct {
	Answer PasskeyAnswer `json:"answer"`
	User   string        `json:"user" minLength:"1" maxLength:"86" doc:"response.userHandle, base64url without padding"`
	Cookie bool          `json:"cookie,omitempty" doc:"for a browser: the session's text comes as a cookie"`
}

// StatementRequest asks for the statement by which a person signs what they enter.
type StatementRequest struct {
	Variables json.RawMessage `json:"variables,omitempty" doc:"a JSON object: what is going to be sent with the signature"`
	Passkey   string          `json:"passkey,omitempty" maxLength:"255" doc:"id of the passkey that is to sign; needed if there are several"`
}

// Statement is what a person is to sign: the browser asks the passkey with public_key,
// whose challenge is the statement's hash.
type Statement struct {
	Statement string         `json:"statement" doc:"canonical JSON; it goes back as it is"`
	Nonce     string         `json:"nonce" doc:"by which the statement binds the values, 64 hex digits; it goes back with it"`
	Passkey   string         `json:"passkey" doc:"id of the passkey that is to sign"`
	PublicKey PasskeyOptions `json:"public_key"`
}

// SignedTask is a person's signature over what they enter (docs/design/signatures.md).
type SignedTask struct {
	Statement string        `json:"statement" minLength:"1" maxLength:"65536" doc:"as it was given"`
	Nonce     string        `json:"nonce" minLength:"64" maxLength:"64" doc:"as it was given"`
	Answer    PasskeyAnswer `json:"answer"`
}
