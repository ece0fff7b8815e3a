package api

import "time"

// Signer is somebody whose signatures count: a worker, or the server itself
// ("platform"), which signs checkpoints and receipts.
type Signer struct {
	Name      string    `json:"name"`
	Kind      string    `json:"kind" enum:"worker,person,platform"`
	Principal string    `json:"principal" doc:"who may hand in what is signed with the key"`
	State     string    `json:"state" enum:"active,revoked"`
	Alg       string    `json:"alg,omitempty" doc:"ed25519 or p256"`
	Public    string    `json:"public,omitempty" doc:"the public key, base64: 32 bytes of ed25519, 65 of p256"`
	Key       string    `json:"key,omitempty" doc:"the key's id, hex"`
	Former    []string  `json:"former,omitempty" doc:"ids of keys that counted once, oldest first"`
	Since     time.Time `json:"since" doc:"of the last change"`
	Object    string    `json:"object" doc:"object id"`
	Leaf      string    `json:"leaf" doc:"hash of the newest leaf in the signer's chain, hex"`
}

// Signers are all signers by name.
type Signers struct {
	Items []Signer `json:"items"`
}

// SignerRequest registers a worker's public key.
type SignerRequest struct {
	Name      string `json:"name" minLength:"1" maxLength:"255"`
	Principal string `json:"principal" minLength:"1" maxLength:"255" doc:"who the worker is by its API key"`
	Alg       string `json:"alg" enum:"ed25519,p256"`
	Public    string `json:"public" doc:"the public key, base64: 32 bytes of ed25519, 65 of p256" minLength:"1" maxLength:"255"`
}

// RotateSignerRequest gives a signer another key; none is named for the platform,
// which makes its own.
type RotateSignerRequest struct {
	Alg    string `json:"alg,omitempty" doc:"ed25519 or p256" maxLength:"255"`
	Public string `json:"public,omitempty" doc:"the public key, base64" maxLength:"255"`
}

// RevokeSignerRequest ends a signer's key.
type RevokeSignerRequest struct {
	Reason string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// Signed is a worker's signature over what it reports (docs/design/signatures.md).
type Signed struct {
	Envelope string `json:"envelope" doc:"DSSE envelope with the statement, JSON in its one spelling" minLength:"1" maxLength:"65536"`
	Nonce    string `json:"nonce" doc:"by which the statement binds the result, 64 hex digits" minLength:"64" maxLength:"64"`
}
