package identity

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// The text of an API key is
//
//	usk_ TENANT _ 52 letters of 32 random bytes, 7 letters of their CRC-32
//
// in lower-case base32. The prefix and the checksum let scanners find keys that
// were left in files, and let a mistyped key be refused without a look-up.
const keyPrefix = "usk_"

var base = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func generateKey(tenant string) string {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	body := keyPrefix + tenant + "_" + base.EncodeToString(secret)
	return body + checksum(body)
}

func checksum(body string) string {
	return base.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(body))))
}

// parseKey returns the tenant that a well-formed key names.
func parseKey(text string) (tenant string, ok bool) {
	if len(text) > 200 {
		return "", false
	}
	rest, ok := strings.CutPrefix(text, keyPrefix)
	cut := len(text) - 7
	if !ok || cut < 0 || checksum(text[:cut]) != text[cut:] {
		return "", false
	}
	tenant, secret, ok := strings.Cut(rest, "_")
	return tenant, ok && len(secret) == 52+7
}
