package identity

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// The text of a credential is
//
//	PREFIX TENANT _ 52 letters of 32 random bytes, 7 letters of a CRC-32
//
// in lower-case base32. The prefix and the checksum let scanners find credentials that
// were left in files, and let a mistyped one be refused without a look-up. Each kind has
// a prefix of its own, so that none serves as another.

// Credential is a kind of credential: the prefix of its text.
type Credential string

// The kinds of credentials.
const (
	APIKeyText  Credential = "usk_"
	LinkText    Credential = "usi_" // invites somebody, once
	SessionText Credential = "uss_" // says who is signed in
	readerText  Credential = "usl_" // stands in the path of a reader of the log
	federated   Credential = ""     // who somebody is elsewhere, which is no text that they send
	elsewhere   Credential = " "    // a session at an issuer, as the issuer calls it
)

var base = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Generate returns the text of a new credential for a tenant.
func (c Credential) Generate(tenant string) string {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	body := string(c) + tenant + "_" + base.EncodeToString(secret)
	return body + checksum(body)
}

func checksum(body string) string {
	return base.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(body))))
}

// Tenant returns the tenant that a well-formed text names. It need not exist.
func (c Credential) Tenant(text string) (tenant string, ok bool) {
	if len(text) > 200 {
		return "", false
	}
	rest, ok := strings.CutPrefix(text, string(c))
	cut := len(text) - 7
	if !ok || cut < 0 || checksum(text[:cut]) != text[cut:] {
		return "", false
	}
	tenant, secret, ok := strings.Cut(rest, "_")
	return tenant, ok && len(secret) == 52+7 && CheckTenantName(tenant) == nil
}

// purpose keeps the tokens of the kinds of credentials apart.
func (c Credential) purpose() string {
	switch c {
	case APIKeyText:
		return "api_key"
	case LinkText:
		return "invitation"
	case SessionText:
		return "session"
	case federated:
		return "federated"
	case elsewhere:
		return "session elsewhere"
	}
	return "reader"
}
