package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"strings"

	"github.com/underseal/underseal/cmd/underseal-pkcs11/internal/hsm"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/plugin"
)

type initCmd struct {
	keyFlags
}

func (initCmd) Help() string {
	return "The token draws an AES-256 key that cannot be read out, only used and destroyed. Refuses a label that is in use. Make a backup of the token with its maker's tools before data depend on it: a lost root key is lost data."
}

// identity is what is printed of a root key.
type identity struct {
	KeyID   string `json:"key_id"`
	Version string `json:"version"`
}

func (c *initCmd) Run(ctx context.Context, e env) error {
	key, err := hsm.Create(ctx, c.config())
	if err != nil {
		return err
	}
	defer key.Close()
	return describe(ctx, e, key)
}

func describe(ctx context.Context, e env, key *hsm.RootKey) error {
	d, err := key.Describe(ctx)
	if err != nil {
		return err
	}
	return e.result(identity{d.KeyID, d.Version})
}

type checkCmd struct {
	keyFlags
}

func (checkCmd) Help() string {
	return "Changes nothing. Run it while the plugin is stopped if the token allows few sessions."
}

func (c *checkCmd) Run(ctx context.Context, e env) error {
	key, err := hsm.Open(ctx, c.config())
	if err != nil {
		return err
	}
	defer key.Close()
	if err := tryBoth(ctx, key); err != nil {
		return err
	}
	return describe(ctx, e, key)
}

// tryBoth wraps and unwraps a key that is then forgotten.
func tryBoth(ctx context.Context, service kms.Service) error {
	place := kms.Context{App: "underseal", Deployment: "check", Tenant: "no tenant", Purpose: "check", Version: 1}
	key := make([]byte, 32)
	rand.Read(key)
	wrapped, err := service.Wrap(ctx, place, key)
	if err != nil {
		return err
	}
	got, err := service.Unwrap(ctx, place, wrapped)
	if err == nil && !bytes.Equal(got, key) {
		err = fault.New(fault.Integrity, "the token unwrapped another key than it wrapped")
	}
	return err
}

type serveCmd struct {
	keyFlags
	Socket string `required:"" env:"UNDERSEAL_PKCS11_SOCKET" placeholder:"PATH" help:"Where to listen: an absolute path in a directory of its own, which must exist."`
	UID    []int  `name:"uid" env:"UNDERSEAL_PKCS11_UID" placeholder:"UID" help:"User id of the server, if it is not this one's."`
}

func (serveCmd) Help() string {
	return "Checks first that the token can wrap and unwrap. Its log goes to stderr and has no keys. SIGTERM: calls under way are answered, exit code 0. When the token goes away it is looked for again at each call; a PIN that was refused is not tried twice."
}

func (c *serveCmd) Run(ctx context.Context, e env) error {
	key, err := hsm.Open(ctx, c.config())
	if err != nil {
		return err
	}
	defer key.Close()
	if err := tryBoth(ctx, key); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(e.stderr, nil))
	listener, err := plugin.Listen(ctx, plugin.ServerConfig{Socket: c.Socket, UIDs: c.UID, Log: log})
	if err != nil {
		return err
	}
	log.Info("answers calls", "socket", c.Socket, "key", key)
	return plugin.Serve(ctx, listener, plugin.Handler(key, log), log)
}

// secret follows a reference to a secret, which neither it nor an error quotes.
func secret(reference string) (string, error) {
	kind, target, _ := strings.Cut(reference, ":")
	switch kind {
	case "env":
		if text := os.Getenv(target); text != "" {
			return text, nil
		}
		return "", fault.New(fault.Invalid, "--pin: the environment variable %s is not set", target)
	case "file":
		data, err := os.ReadFile(target)
		if err != nil {
			return "", fault.New(fault.Invalid, "--pin: %w", err)
		}
		return strings.TrimRight(string(data), "\r\n"), nil
	}
	return "", fault.New(fault.Invalid, "--pin is not a reference to a secret").WithHint("write file:PATH or env:NAME, never the PIN itself")
}
