package witness

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// Key is a witness's name and signing key.
type Key struct {
	text   string // as in the key file
	name   string
	public ed25519.PublicKey
}

// GenerateKey makes the key file of a new witness, mode 0600, never over another
// file: the key of a witness is never made again. Its text is a signing key as
// note.GenerateKey writes it. The name must not be empty, nor hold spaces, "+" or a
// scheme (C2SP signed-note).
func GenerateKey(path, name string) (*Key, error) {
	text, _, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, fault.New(fault.Internal, "make a witness key: %w", err)
	}
	key, err := parseKey(text)
	if err != nil || strings.Contains(name, "://") {
		return nil, fault.New(fault.Invalid, "make a witness key: %q cannot be a name", name).WithCode("witness_name").
			WithHint("take an address without https://, such as witness.example.org/w1")
	}
	if err := writeNew(path, []byte(text+"\n")); errors.Is(err, fs.ErrExist) {
		return nil, fault.New(fault.Conflict, "make a witness key: %s exists and is never overwritten", path).WithCode("witness_key_exists")
	} else if err != nil {
		return nil, fault.New(fault.Unavailable, "make a witness key: %w", err)
	}
	return key, nil
}

// writeNew writes a file that must not exist, durable when it returns nil.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return directory(filepath.Dir(path)).Sync()
}

// LoadKey reads a key file. One that others than its owner may use is Denied.
func LoadKey(path string) (*Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read the witness key: %w", err).
			WithHint("make it with: underseal witness keygen --name NAME --key FILE")
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Denied, "the witness key %s can be used by others (mode %o)", path, info.Mode().Perm()).
			WithCode("witness_key_open").WithHint("chmod 600 %s", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Denied, "read the witness key: %w", err)
	}
	return parseKey(strings.TrimSuffix(string(text), "\n"))
}

func parseKey(text string) (*Key, error) {
	signer, err := note.NewSigner(text)
	if err != nil {
		return nil, damagedKey()
	}
	words := strings.SplitN(text, "+", 5) // PRIVATE, KEY, name, hash, key; NewSigner has seen to it
	raw, err := base64.StdEncoding.DecodeString(words[4])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, damagedKey()
	}
	private := ed25519.NewKeyFromSeed(raw[1:])
	return &Key{text: text, name: signer.Name(), public: private.Public().(ed25519.PublicKey)}, nil
}

func damagedKey() error {
	return fault.New(fault.Integrity, "the witness key is damaged").WithCode("witness_key_damaged")
}

// Verifier returns the key by which others check this witness's cosignatures
// (C2SP signed-note, type 0x04).
func (k *Key) Verifier() string { return ledger.CosignerKey(k.name, k.public) }

const redacted = "[witness key]"

// A witness's key never shows in logs and errors.
func (k Key) String() string             { return redacted }
func (k Key) GoString() string           { return redacted }
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }
func (k Key) LogValue() slog.Value       { return slog.StringValue(redacted) }

// signer signs checkpoints with the time of the moment. That they are consistent
// is for its caller to find out first.
func (k *Key) signer() (note.Signer, error) { return cosign.NewSignerForCosignatureV1(k.text) }

func (k *Key) verifier() (note.Verifier, error) { return ledger.ParseVerifier(k.Verifier()) }
