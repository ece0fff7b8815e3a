package main

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/escrow"
)

type keysCmd struct {
	List          keysListCmd       `cmd:"" default:"withargs" help:"List the keys that wrap the tenant's data keys, and whether their services answer."`
	Rotate        keysRotateCmd     `cmd:"" help:"Make a new tenant key, a new version of a root key, a new index, audit or inbox key, or a new key of a person."`
	Rewrap        keysRewrapCmd     `cmd:"" help:"Wrap the data keys anew, under the newest tenant key."`
	Renew         keysRenewCmd      `cmd:"" help:"Give running instances or persons new data keys, for what they will hold from now on, or instances new index tokens."`
	Retire        keysRetireCmd     `cmd:"" help:"Give up an old key for good, or say what still needs it."`
	CreateFile    keysCreateFileCmd `cmd:"" help:"Make a key file, for a further key service."`
	Escrow        keysEscrowCmd     `cmd:"" help:"Write a copy of the key file that named people can open."`
	RestoreEscrow keysRestoreCmd    `cmd:"" help:"Make a key file from such a copy."`
	Passphrase    keysPassphraseCmd `cmd:"" help:"Give the key file a passphrase, another one, or none."`
}

func (keysCmd) Help() string { return withoutCommand("keys") }

// keyFileFlags say which key file.
type keyFileFlags struct {
	RootKeyFile       string `conf:"root_key_file" help:"${doc_root_key_file}" placeholder:"FILE"`
	RootKeyPassphrase string `conf:"root_key_passphrase" help:"${doc_root_key_passphrase}" placeholder:"REFERENCE"`
}

// rootKey is what these commands print of a key file.
type rootKey struct {
	File    string `json:"file"` // that was written
	RootKey string `json:"root_key"`
	Version string `json:"version"`
}

func (k rootKey) write(w io.Writer) {
	pairs(w, "written", k.File, "root key", k.RootKey, "newest version", k.Version)
}

// openKeyFile opens the key file of the settings.
func (s *settings) openKeyFile() (*kms.KeyFile, error) {
	if err := s.checkPlaces("root_key_file"); err != nil {
		return nil, err
	}
	passphrase, err := s.passphrase()
	if err != nil {
		return nil, err
	}
	return openKeyFile(s.RootKeyFile, passphrase)
}

// passphrase follows root_key_passphrase; "" for none.
func (s *settings) passphrase() (string, error) {
	return optionalSecret("root_key_passphrase", s.RootKeyPassphrase)
}

func optionalSecret(name, reference string) (string, error) {
	if reference == "" {
		return "", nil
	}
	return secretText(name, reference)
}

func openKeyFile(path, passphrase string) (*kms.KeyFile, error) {
	if passphrase == "" {
		return kms.OpenKeyFile(path)
	}
	return kms.OpenLockedKeyFile(path, passphrase)
}

// wrote prints what was written of a key file.
func (e *env) wrote(ctx context.Context, path string, file *kms.KeyFile) error {
	d, err := file.Describe(ctx)
	if err != nil {
		return err
	}
	k := rootKey{path, d.KeyID, d.Version}
	return e.result(k, k.write)
}

type keysEscrowCmd struct {
	To  []string `required:"" help:"Public key of age (age1..) of somebody who may open the copy alone; repeat for more." placeholder:"RECIPIENT"`
	Out string   `required:"" help:"File to write; never overwritten." placeholder:"FILE"`
	keyFileFlags
}

func (keysEscrowCmd) Help() string {
	return standsAlone + " The copy opens without the key file's passphrase. It has the versions of the root key that there are now: make a new one after each rotation of the root key, and destroy the old copies once a version is retired, since they still hold it."
}

func (c *keysEscrowCmd) Run(ctx context.Context, e *env) error {
	file, err := e.settings.openKeyFile()
	if err != nil {
		return err
	}
	text, err := file.Export(ctx)
	if err != nil {
		return err
	}
	copied, err := escrow.Seal(text, c.To)
	if err != nil {
		return err
	}
	if err := writeNewFile(c.Out, 0o600, copied); err != nil {
		return err
	}
	return e.wrote(ctx, c.Out, file)
}

type keysRestoreCmd struct {
	Identity string `required:"" help:"File with the identity of a recipient, as age-keygen wrote it." placeholder:"FILE"`
	In       string `required:"" help:"The copy." placeholder:"FILE"`
	Out      string `help:"Key file to make; never overwritten (default: where root_key_file says)." placeholder:"FILE"`
	keyFileFlags
}

func (keysRestoreCmd) Help() string {
	return standsAlone + " The key file gets the passphrase that root_key_passphrase names, if it names one."
}

func (c *keysRestoreCmd) Run(ctx context.Context, e *env) error {
	if c.Out == "" {
		if err := e.settings.checkPlaces("root_key_file"); err != nil {
			return err
		}
		c.Out = e.settings.RootKeyFile
	}
	text, err := openCopy(c.In, c.Identity)
	if err != nil {
		return err
	}
	passphrase, err := e.settings.passphrase()
	if err != nil {
		return err
	}
	file, err := kms.RestoreKeyFile(c.Out, text, passphrase)
	if err != nil {
		return err
	}
	return e.wrote(ctx, c.Out, file)
}

func openCopy(path, identityFile string) ([]byte, error) {
	identities, err := os.ReadFile(identityFile)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read the identity: %w", err)
	}
	copied, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read the copy: %w", err)
	}
	defer copied.Close()
	return escrow.Open(copied, string(identities))
}

type keysPassphraseCmd struct {
	New    string `xor:"new" required:"" help:"The new passphrase: file:PATH or env:NAME, 12 to 1024 bytes." placeholder:"REFERENCE"`
	Remove bool   `xor:"new" required:"" help:"Leave the key file without passphrase."`
	keyFileFlags
}

func (keysPassphraseCmd) Help() string {
	return standsAlone + " root_key_passphrase names the present passphrase, if there is one. Stop the server first and start it with the new one: one that runs is refused by the changed file, and its work waits."
}

func (c *keysPassphraseCmd) Run(ctx context.Context, e *env) error {
	file, err := e.settings.openKeyFile()
	if err != nil {
		return err
	}
	passphrase, err := optionalSecret("--new", c.New)
	if err != nil {
		return err
	}
	if !c.Remove && strings.TrimSpace(passphrase) == "" {
		return fault.New(fault.Invalid, "--new names an empty passphrase").WithCode("passphrase_length")
	}
	if file, err = file.ChangePassphrase(ctx, passphrase); err != nil {
		return err
	}
	return e.wrote(ctx, e.settings.RootKeyFile, file)
}
