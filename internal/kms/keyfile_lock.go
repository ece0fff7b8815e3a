package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/underseal/underseal/internal/fault"
)

// A lock is how a passphrase protects a key file: keys are sealed by AES-256-GCM,
// random nonce first, under
//
//	PBKDF2-HMAC-SHA-256(passphrase, salt, iterations, 32)      NIST SP 800-132
//
// with the additional data "underseal/v1/passphrase" 00 || root key id 16 ||
// version 4. The check is an empty text sealed as version 0, by which a wrong
// passphrase is known also when all keys are destroyed.
type lock struct {
	iterations int
	salt       [saltSize]byte
	check      [gcmSize]byte
}

// Iterations of PBKDF2: what new locks get, and what is accepted. The upper bound
// keeps an edited file from holding up the start.
const (
	iterations    = 600_000
	maxIterations = 20_000_000
)

// Lengths of a passphrase in bytes.
const (
	minPassphrase = 12
	maxPassphrase = 1024
)

const (
	lockScheme = "pbkdf2-sha256"
	lockLabel  = "underseal/v1/passphrase\x00"
)

// text is the lock's line.
func (l *lock) text() string {
	return fmt.Sprintf("%s %d %s %s", lockScheme, l.iterations,
		base64.StdEncoding.EncodeToString(l.salt[:]), base64.StdEncoding.EncodeToString(l.check[:]))
}

func parseLock(text string) (*lock, bool) {
	words := strings.Split(text, " ")
	if len(words) != 4 || words[0] != lockScheme {
		return nil, false
	}
	n, err := strconv.Atoi(words[1])
	salt, errSalt := base64.StdEncoding.DecodeString(words[2])
	check, errCheck := base64.StdEncoding.DecodeString(words[3])
	if err != nil || n < iterations || n > maxIterations || errSalt != nil || errCheck != nil ||
		len(salt) != saltSize || len(check) != gcmSize {
		return nil, false
	}
	return &lock{n, [saltSize]byte(salt), [gcmSize]byte(check)}, true
}

// A lockKey opens a lock. It stays in memory, so that the passphrase need not, and
// opens nothing without the file.
type lockKey struct {
	lock *lock
	key  [32]byte
}

func (*lockKey) String() string             { return redacted }
func (*lockKey) GoString() string           { return redacted }
func (*lockKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }
func (*lockKey) LogValue() slog.Value       { return slog.StringValue(redacted) }

// newLock makes a lock for the key file of a root key.
func newLock(id uuid.UUID, passphrase string) (*lockKey, error) {
	if len(passphrase) < minPassphrase || len(passphrase) > maxPassphrase {
		return nil, fault.New(fault.Invalid, "lock the key file: the passphrase has %d bytes, must have %d to %d", len(passphrase), minPassphrase, maxPassphrase).
			WithCode("passphrase_length").WithHint("take a random one, such as `openssl rand -base64 24` makes")
	}
	l := &lock{iterations: iterations}
	rand.Read(l.salt[:])
	k, err := l.derive(passphrase)
	if err != nil {
		return nil, err
	}
	check, err := k.seal(id, 0, nil)
	if err != nil {
		return nil, err
	}
	l.check = [gcmSize]byte(check)
	return k, nil
}

// lockUnder is newLock, and no lock for an empty passphrase.
func lockUnder(id uuid.UUID, passphrase string) (*lockKey, error) {
	if passphrase == "" {
		return nil, nil
	}
	return newLock(id, passphrase)
}

// derive returns what opens the lock if the passphrase is the right one. It takes
// a good part of a second, on purpose.
func (l *lock) derive(passphrase string) (*lockKey, error) {
	raw, err := pbkdf2.Key(sha256.New, passphrase, l.salt[:], l.iterations, 32)
	if err != nil {
		return nil, fault.New(fault.Internal, "derive a key from the passphrase: %w", err)
	}
	return &lockKey{l, [32]byte(raw)}, nil
}

// fits reports whether it is the key of the lock.
func (k *lockKey) fits(id uuid.UUID) bool {
	text, err := k.open(id, 0, k.lock.check[:])
	return err == nil && len(text) == 0
}

func (k *lockKey) seal(id uuid.UUID, version uint32, text []byte) ([]byte, error) {
	aead, err := k.cipher()
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, text, lockBound(id, version)), nil
}

func (k *lockKey) open(id uuid.UUID, version uint32, sealed []byte) ([]byte, error) {
	aead, err := k.cipher()
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, nil, sealed, lockBound(id, version))
}

func (k *lockKey) cipher() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.key[:])
	if err != nil {
		return nil, fault.New(fault.Internal, "cipher of the passphrase: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func lockBound(id uuid.UUID, version uint32) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(lockLabel), id[:]...), version)
}
