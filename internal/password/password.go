// Package password keeps what people sign in with that they know: how it is hashed, what
// may be one, and how many are hashed at once.
//
// A kept password is a text that says how it was made, in the form of PHC strings:
//
//	$argon2id$v=19$m=19456,t=2,p=1$SALT$MAC
//	$pbkdf2-sha512$i=210000$SALT$MAC
//
// The last part is not the hash itself but a MAC of it, under a key of the tenant's. So
// who has the text, and not the key, cannot try passwords on it.
package password

import (
	"crypto/fips140"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/underseal/underseal/internal/fault"
)

// MAC is a keyed hash under a key of the tenant's.
type MAC func(hash []byte) [32]byte

// The work of a hash is what OWASP's Password Storage Cheat Sheet asks for. In FIPS mode
// it is PBKDF2 (SP 800-132), as Argon2id (RFC 9106) is not approved.
const (
	argonMemory = 19456 // KiB
	argonTime   = 2
	pbkdfRounds = 210_000

	saltLength = 16
	hashLength = 32
)

var (
	argonHead = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$", argon2.Version, argonMemory, argonTime)
	pbkdfHead = "$pbkdf2-sha512$i=" + strconv.Itoa(pbkdfRounds) + "$"
)

// scheme is how passwords are hashed now.
func scheme() string {
	if fips140.Enabled() {
		return pbkdfHead
	}
	return argonHead
}

var encoding = base64.RawStdEncoding.Strict()

// Keep returns a password as it is kept.
func Keep(password string, mac MAC) (string, error) {
	salt := make([]byte, saltLength)
	rand.Read(salt) // never fails
	sum, err := hash(scheme(), password, salt)
	if err != nil {
		return "", err
	}
	sealed := mac(sum)
	return scheme() + encoding.EncodeToString(salt) + "$" + encoding.EncodeToString(sealed[:]), nil
}

// Matches reports whether a password is the kept one. With nothing kept, or what cannot
// be checked in this mode, it works as long and the answer is no.
func Matches(kept, password string, mac MAC) (bool, error) {
	head, salt, want, ok := parse(kept)
	if !ok {
		head, salt, want = scheme(), make([]byte, saltLength), make([]byte, hashLength)
	}
	sum, err := hash(head, password, salt)
	if err != nil {
		return false, err
	}
	got := mac(sum)
	return subtle.ConstantTimeCompare(got[:], want) == 1 && ok, nil
}

// Usable reports whether a kept password can be checked in this mode.
func Usable(kept string) bool {
	_, _, _, ok := parse(kept)
	return ok
}

// parse reads what Keep wrote in this mode: whatever else somebody kept, it is not asked
// to work longer than that.
func parse(kept string) (head string, salt, sealed []byte, ok bool) {
	head = scheme()
	rest, ok := strings.CutPrefix(kept, head)
	first, second, found := strings.Cut(rest, "$")
	if !ok || !found {
		return head, nil, nil, false
	}
	salt, err1 := encoding.DecodeString(first)
	sealed, err2 := encoding.DecodeString(second)
	return head, salt, sealed, err1 == nil && err2 == nil && len(salt) == saltLength && len(sealed) == hashLength
}

func hash(head, password string, salt []byte) ([]byte, error) {
	if head == argonHead {
		return argon2.IDKey([]byte(password), salt, argonTime, argonMemory, 1, hashLength), nil
	}
	sum, err := pbkdf2.Key(sha512.New, password, salt, pbkdfRounds, hashLength)
	if err != nil {
		return nil, fault.New(fault.Internal, "hash a password: %w", err)
	}
	return sum, nil
}
