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
// were left in files, and let a mistyped key be refused without a look-up. The
// secret in the path of a reader of the log is of the same form and begins with
// readerPrefix, so that neither serves as the other.
const (
	keyPrefix    = "usk_"
	readerPrefix = "usl_"
)

var base = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func generateKey(prefix, tenant string) string {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	body := prefix + tenant + "_" + base.EncodeToString(secret)
	return body + checksum(body)
}

func checksum(body string) string {
	return base.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(body))))
}

// parseKey returns the tenant that a well-formed key names.
func parseKey(prefix, text string) (tenant string, ok bool) {
	if len(text) > 200 {
		return "", false
	}
	rest, ok := strings.CutPrefix(text, prefix)
	cut := len(text) - 7
	if !ok || cut < 0 || checksum(text[:cut]) != text[cut:] {
		return "", false
	}
	tenant, secret, ok := strings.Cut(rest, "_")
	return tenant, ok && len(secret) == 52+7
}
