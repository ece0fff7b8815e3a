package ledger

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
)

// The signature types of C2SP signed-note that a log needs.
const (
	typeEd25519     = 0x01
	typeCosignature = 0x04 // C2SP tlog-cosignature, Ed25519
)

const cosignatureHeader = "cosignature/v1\n"

// noteKey is a key of a note's signer: what both halves of it have in common.
type noteKey struct {
	name   string
	kind   byte
	public ed25519.PublicKey
}

// hash is the key id of C2SP signed-note.
func (k noteKey) hash() uint32 {
	sum := sha256.Sum256(append(append([]byte(k.name+"\n"), k.kind), k.public...))
	return binary.BigEndian.Uint32(sum[:])
}

func (k noteKey) String() string {
	return fmt.Sprintf("%s+%08x+%s", k.name, k.hash(), base64.StdEncoding.EncodeToString(append([]byte{k.kind}, k.public...)))
}

// Name and KeyHash are those of note.Signer and note.Verifier.
func (k noteKey) Name() string    { return k.name }
func (k noteKey) KeyHash() uint32 { return k.hash() }

// VerifierKey writes an Ed25519 key that signs notes, checkpoints and receipts as
// a vkey of type 0x01 (C2SP signed-note). The name of a log's key is its origin.
func VerifierKey(name string, public ed25519.PublicKey) string {
	return noteKey{name, typeEd25519, public}.String()
}

// CosignerKey writes a witness's key as a vkey of type 0x04 (C2SP tlog-cosignature).
func CosignerKey(name string, public ed25519.PublicKey) string {
	return noteKey{name, typeCosignature, public}.String()
}

// A Verifier checks the signatures of one key. It is a note.Verifier.
type Verifier struct{ noteKey }

// ParseVerifier reads a vkey of type 0x01 or 0x04; any other spelling than that of
// VerifierKey and CosignerKey is Invalid.
func ParseVerifier(vkey string) (*Verifier, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	_, encoded, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || !validName(name) || len(raw) != 1+ed25519.PublicKeySize {
		return nil, fault.New(fault.Invalid, "verifier key %q is not of the form name+id+key of an Ed25519 key", vkey)
	}
	key := noteKey{name, raw[0], raw[1:]}
	if key.kind != typeEd25519 && key.kind != typeCosignature {
		return nil, fault.New(fault.Invalid, "verifier key %q has type 0x%02x; known are 0x01 (Ed25519) and 0x04 (cosignature)", vkey, key.kind)
	}
	if !suitableEd25519(key.public) {
		return nil, fault.New(fault.Invalid, "verifier key %q has no Ed25519 key, or one for which anybody can sign", vkey)
	}
	if key.String() != vkey {
		return nil, fault.New(fault.Invalid, "verifier key %q has the id of another key, or is spelled in another way than %q", vkey, key)
	}
	return &Verifier{key}, nil
}

// Cosigns says whether the key is one of type 0x04, which gives cosignatures.
func (v *Verifier) Cosigns() bool { return v.kind == typeCosignature }

// Public is the bare key, 32 bytes.
func (v *Verifier) Public() ed25519.PublicKey { return v.public }

// Verify says whether sig is the key's signature of a note's text.
func (v *Verifier) Verify(text, sig []byte) bool {
	if v.kind == typeEd25519 {
		return ed25519.Verify(v.public, text, sig)
	}
	at, sig, ok := splitCosignature(sig)
	return ok && ed25519.Verify(v.public, cosigned(at, text), sig)
}

// validName says whether C2SP signed-note allows it as the name of a key.
func validName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.Contains(name, "+") &&
		strings.IndexFunc(name, func(r rune) bool { return unicode.IsSpace(r) || r < 0x20 }) < 0
}

// noteSigner signs as one key.
type noteSigner struct {
	noteKey
	private ed25519.PrivateKey
	now     func() time.Time // of a cosigner
}

func newSigner(name string, kind byte, seed []byte, now func() time.Time) (*noteSigner, error) {
	if !validName(name) {
		return nil, fault.New(fault.Invalid, "%q cannot be the name of a key that signs notes: it is empty, or has a space or a plus in it", name)
	}
	if len(seed) != ed25519.SeedSize {
		return nil, fault.New(fault.Invalid, "the seed of key %q has %d bytes, want %d", name, len(seed), ed25519.SeedSize)
	}
	private := ed25519.NewKeyFromSeed(seed)
	return &noteSigner{noteKey{name, kind, private.Public().(ed25519.PublicKey)}, private, now}, nil
}

// NoteSigner signs notes with Ed25519 (type 0x01); seed has 32 bytes (RFC 8032).
// Whoever holds the seed of a log can sign any history as that log's.
func NoteSigner(name string, seed []byte) (note.Signer, error) {
	return newSigner(name, typeEd25519, seed, nil)
}

// Cosigner gives cosignatures on checkpoints (type 0x04), each with the time that
// now tells. It signs nothing but checkpoints, and whether they are consistent
// with those it signed before is for its caller to find out first.
func Cosigner(name string, seed []byte, now func() time.Time) (note.Signer, error) {
	return newSigner(name, typeCosignature, seed, now)
}

// Sign returns the signature of a note's text.
func (s *noteSigner) Sign(text []byte) ([]byte, error) {
	if s.kind == typeEd25519 {
		return ed25519.Sign(s.private, text), nil
	}
	if _, err := ParseCheckpoint(string(text)); err != nil {
		return nil, fault.New(fault.Invalid, "%s cosigns checkpoints alone: %w", s.name, err)
	}
	at := s.now().Unix()
	if at < 0 {
		return nil, fault.New(fault.Invalid, "%s cannot cosign before 1970: the clock is wrong", s.name)
	}
	sig := binary.BigEndian.AppendUint64(nil, uint64(at))
	return append(sig, ed25519.Sign(s.private, cosigned(uint64(at), text))...), nil
}

// cosigned is the message of a cosignature: a checkpoint's text and the time.
func cosigned(at uint64, text []byte) []byte {
	b := strconv.AppendUint([]byte(cosignatureHeader+"time "), at, 10)
	return append(append(b, '\n'), text...)
}

func splitCosignature(sig []byte) (at uint64, rest []byte, ok bool) {
	if len(sig) != 8+ed25519.SignatureSize {
		return 0, nil, false
	}
	at = binary.BigEndian.Uint64(sig)
	return at, sig[8:], at <= math.MaxInt64
}

// CosignatureTime returns when a witness says it gave a cosignature, to the second
// in UTC. It means something only when the signature was verified.
func CosignatureTime(sig note.Signature) (time.Time, error) {
	raw, err := base64.StdEncoding.DecodeString(sig.Base64)
	if err == nil && len(raw) > 4 {
		if at, _, ok := splitCosignature(raw[4:]); ok {
			return time.Unix(int64(at), 0).UTC(), nil
		}
	}
	return time.Time{}, fault.New(fault.Integrity, "the signature of %s is not a cosignature", sig.Name)
}

var (
	_ note.Signer   = (*noteSigner)(nil)
	_ note.Verifier = (*Verifier)(nil)
)
