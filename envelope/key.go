package envelope

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"

	"github.com/underseal/underseal/internal/fault"
)

// KeyID names a data key. It is a UUID and no secret.
type KeyID [16]byte

// String returns the id in the form of RFC 9562,
// "0192f0c1-9a3b-7c4d-8e5f-60718293a4b5".
func (id KeyID) String() string {
	var b [36]byte
	hex.Encode(b[:8], id[:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:], id[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// ParseKeyID reads what String writes; any other spelling is Invalid.
func ParseKeyID(text string) (KeyID, error) {
	var id KeyID
	digits := make([]byte, 0, 32)
	for i := range len(text) {
		if text[i] != '-' {
			digits = append(digits, text[i])
		}
	}
	if len(digits) == 32 {
		if _, err := hex.Decode(id[:], digits); err == nil && id.String() == text {
			return id, nil
		}
	}
	return KeyID{}, fault.New(fault.Invalid, "key id %q is not a UUID in lower case", text)
}

// Key is a data key. Whoever has the Secret reads all that was sealed under
// this key alone, and with the other keys of a value all that was sealed under
// them together. It prints and marshals as its id only.
type Key struct {
	ID     KeyID
	Secret [32]byte

	start macStart // of Secret; zero: not kept
}

// Kept returns the key with what all its message keys begin with, which is as secret:
// for keys that are used more than once. It takes 64 bytes and saves a tenth of the
// time of Seal and Open. The Secret of what it returns must stay as it is.
func (k Key) Kept() Key {
	k.start = newMACStart(k.Secret[:])
	return k
}

// String returns the key's id and that its secret is withheld.
func (k Key) String() string { return "key " + k.ID.String() + " (secret withheld)" }

// GoString is String, for %#v.
func (k Key) GoString() string { return k.String() }

// Format writes String for every verb, since %x and %d would print the secret.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue is String, for log/slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText is String, so that JSON and other encoders do not get the secret.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

var (
	_ fmt.Formatter  = Key{}
	_ fmt.GoStringer = Key{}
	_ slog.LogValuer = Key{}
)

// checkOrder refuses a list of key ids that is not "owner first, then subjects
// ascending, no id twice". It gives what is wrong, "" if nothing.
func checkOrder(ids []KeyID) string {
	if len(ids) < 1 || len(ids) > maxKeys {
		return fmt.Sprintf("%d keys, want 1 to %d", len(ids), maxKeys)
	}
	for i, id := range ids[1:] {
		if id == ids[0] {
			return "the owner's key id occurs again among the subjects'"
		}
		if i > 0 && bytes.Compare(ids[i][:], id[:]) >= 0 {
			return "subjects' key ids do not ascend"
		}
	}
	return ""
}
