package identity

import (
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"github.com/underseal/underseal/internal/canon"
)

// Passkey is a credential of a person that an authenticator keeps. Its public key is that
// of a signer, whose chain says whether it counts.
type Passkey struct {
	ID         string // as an API key's
	Credential []byte // its id by WebAuthn
	Name       string // by which its owner knows it
	Signer     string // name of the signer
	Key        string // id of the signer's key
	Counter    uint32 // of signatures, when it last signed in; 0: it does not count
	Synced     bool   // it can be on several devices
	Made       time.Time
}

func (k *Passkey) value() canon.Value {
	return contextOf(
		text("id", k.ID), text("credential", hex.EncodeToString(k.Credential)), text("name", k.Name),
		text("signer", k.Signer), text("key", k.Key), canon.Entry{Name: "counter", Value: count(int64(k.Counter))},
		canon.Entry{Name: "synced", Value: canon.Bool(k.Synced)}, canon.Entry{Name: "made", Value: timeItem(k.Made)},
	)
}

func passkeyOf(v canon.Value) Passkey {
	credential, _ := hex.DecodeString(textOf(entryOf(v, "credential")))
	counter, _ := strconv.ParseUint(textOf(entryOf(v, "counter")), 10, 32)
	return Passkey{
		ID: textOf(entryOf(v, "id")), Credential: credential, Name: textOf(entryOf(v, "name")),
		Signer: textOf(entryOf(v, "signer")), Key: textOf(entryOf(v, "key")), Counter: uint32(counter),
		Synced: entryOf(v, "synced") == canon.Bool(true), Made: timeOf(entryOf(v, "made")),
	}
}

func passkeys(list []Passkey) canon.List {
	out := make(canon.List, len(list))
	for i := range list {
		out[i] = list[i].value()
	}
	return out
}

// PasskeyOf returns the place of the passkey that has a credential's id; -1: none.
func (p *Principal) PasskeyOf(credential []byte) int {
	return slices.IndexFunc(p.Passkeys, func(k Passkey) bool { return string(k.Credential) == string(credential) })
}

// Passkeys are those of the principal.
func (k *Known) Passkeys() []Passkey { return k.passkeys }
