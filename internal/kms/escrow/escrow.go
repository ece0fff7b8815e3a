// Package escrow encrypts copies of key files to people who keep them elsewhere,
// as age files (https://age-encryption.org/v1).
//
// age's primitives are X25519, HKDF and ChaCha20-Poly1305, which FIPS mode forbids:
// nothing here is needed while the server runs.
package escrow

import (
	"bytes"
	"crypto/fips140"
	"errors"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/underseal/underseal/internal/fault"
)

// maxCopy bounds what is read of a copy, in bytes.
const maxCopy = 4 << 20

// Seal returns text encrypted to all recipients, each of whom can open it alone:
// public keys of age, as "age1..". It is armored, so that it can be printed.
func Seal(text []byte, recipients []string) ([]byte, error) {
	if err := allowed(); err != nil {
		return nil, err
	}
	parsed, err := age.ParseRecipients(strings.NewReader(strings.Join(recipients, "\n")))
	if err != nil || len(parsed) != len(recipients) {
		return nil, fault.New(fault.Invalid, "escrow: a recipient is no public key of age").WithCode("recipient_invalid").
			WithHint("it begins with age1; age-keygen prints it when it makes an identity")
	}
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	sealed, err := age.Encrypt(armored, parsed...)
	if err != nil {
		return nil, fault.New(fault.Internal, "escrow: encrypt: %w", err)
	}
	_, err = sealed.Write(text)
	if err := errors.Join(err, sealed.Close(), armored.Close()); err != nil {
		return nil, fault.New(fault.Internal, "escrow: encrypt: %w", err)
	}
	return out.Bytes(), nil
}

// Open returns the text of a copy. identities is the text of an identity file, as
// age-keygen writes it. Denied when none of them is a recipient of the copy,
// Integrity when the copy is damaged.
func Open(copied io.Reader, identities string) ([]byte, error) {
	if err := allowed(); err != nil {
		return nil, err
	}
	parsed, err := age.ParseIdentities(strings.NewReader(identities))
	if err != nil {
		return nil, fault.New(fault.Invalid, "escrow: the identity file holds no identity of age").WithCode("identity_invalid").
			WithHint("it is what age-keygen wrote; decrypt it first if it has a passphrase")
	}
	text, err := open(io.LimitReader(copied, maxCopy), parsed)
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return nil, fault.New(fault.Denied, "escrow: the copy is for other people than the identity file's").WithCode("identity_other")
	case err != nil:
		return nil, fault.New(fault.Integrity, "escrow: the copy is damaged, or no copy: %w", err)
	}
	return text, nil
}

// allowed refuses to begin in a mode that forbids age's primitives.
func allowed() error {
	if !fips140.Enforced() {
		return nil
	}
	return fault.New(fault.Invalid, "escrow: the encryption of age is none that GODEBUG=fips140=only allows").WithCode("escrow_fips").
		WithHint("run this one command without it; the server needs no escrow")
}

func open(copied io.Reader, identities []age.Identity) ([]byte, error) {
	clear, err := age.Decrypt(armor.NewReader(copied), identities...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(clear)
}
