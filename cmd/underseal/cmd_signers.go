package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

type signersCmd struct {
	List     signersListCmd     `cmd:"" default:"withargs" help:"List whose signatures count."`
	Keygen   signersKeygenCmd   `cmd:"" help:"Make a worker's key."`
	Register signersRegisterCmd `cmd:"" help:"Register a worker's public key."`
	Rotate   signersRotateCmd   `cmd:"" help:"Give a worker, or the platform, another key."`
	Revoke   signersRevokeCmd   `cmd:"" help:"End a key that somebody else may have."`
}

func (signersCmd) Help() string { return withoutCommand("signers") }

type signersListCmd struct{ clientFlags }

func (signersListCmd) Help() string { return talksToServer }

func (c *signersListCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	list, err := cl.Signers(ctx)
	if err != nil {
		return err
	}
	return e.result(list, func(w io.Writer) {
		var rows [][]string
		for _, s := range list.Items {
			rows = append(rows, []string{s.Name, s.Kind, s.Principal, s.State, stamp(s.Since), s.Alg, s.Key})
		}
		table(w, []string{"NAME", "KIND", "PRINCIPAL", "STATE", "SINCE", "ALG", "KEY"}, rows)
	})
}

type signersKeygenCmd struct {
	File string `arg:"" help:"Where the private key goes, for its owner alone; it must not exist."`
	Alg  string `help:"ed25519 or p256." enum:"ed25519,p256" default:"ed25519" placeholder:"NAME"`
}

func (signersKeygenCmd) Help() string {
	return standsAlone + " Writes the private key to FILE (PKCS #8, PEM) and the public key to FILE.pub; only the latter ever goes to the server."
}

// madeKey says what keygen made.
type madeKey struct {
	File   string `json:"file"`
	Public string `json:"public_file"`
	Key    string `json:"key"`
}

func (c *signersKeygenCmd) Run(_ context.Context, e *env) error {
	key, err := generateKey(c.Alg)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	known, err := ledger.NewPublicKey(key.Public())
	if err != nil {
		return err
	}
	made := madeKey{File: c.File, Public: c.File + ".pub", Key: known.ID()}
	if err := writeNewFile(made.File, 0o600, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})); err != nil {
		return err
	}
	if err := writeNewFile(made.Public, 0o644, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})); err != nil {
		return errors.Join(err, os.Remove(made.File)) // no private key without its public one
	}
	return e.result(made, func(w io.Writer) { pairs(w, "private key", made.File, "public key", made.Public, "key", made.Key) })
}

func generateKey(alg string) (crypto.Signer, error) {
	if alg == ledger.P256 {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

// signingKey reads a worker's key file.
func signingKey(path string) (crypto.Signer, error) {
	key, err := client.LoadKey(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err).WithCode("key_unusable").WithHint("`underseal signers keygen` makes one")
	}
	return key, nil
}

// publicKeyFile reads a public key, PKIX in PEM.
func publicKeyFile(path string) (ledger.PublicKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return ledger.PublicKey{}, fault.New(fault.Invalid, "read a public key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" {
		return ledger.PublicKey{}, fault.New(fault.Invalid, "%s has no PUBLIC KEY in PEM", path).WithCode("key_unusable").
			WithHint("name the file that ends in .pub; a private key stays where it is")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return ledger.PublicKey{}, fault.New(fault.Invalid, "%s holds no public key: %w", path, err).WithCode("key_unusable")
	}
	return ledger.NewPublicKey(key)
}

type signersRegisterCmd struct {
	Name      string `arg:"" help:"A name for the worker."`
	Public    string `arg:"" help:"File of its public key (PEM)."`
	Principal string `required:"" help:"Name of the program (or person) whose API key the worker has: nobody else can hand in what it signs." placeholder:"NAME"`
	clientFlags
}

func (signersRegisterCmd) Help() string { return talksToServer }

func (c *signersRegisterCmd) Run(ctx context.Context, e *env) error {
	key, err := publicKeyFile(c.Public)
	if err != nil {
		return err
	}
	return e.changeSigner(func(cl *client.Client) (api.Signer, error) {
		s, err := cl.RegisterSigner(ctx, api.SignerRequest{Name: c.Name, Principal: c.Principal, Alg: key.Alg(), Public: key.Text()})
		if err == nil && client.IsNotFound(missing(ctx, cl, c.Principal)) {
			e.note("there is no user or program %q, so nobody can hand in what this key signs", c.Principal)
		}
		return s, err
	})
}

type signersRotateCmd struct {
	Name   string `arg:"" help:"Name of the signer, or platform for the key that signs checkpoints and receipts."`
	Public string `arg:"" optional:"" help:"File of the new public key (PEM); none for the platform, which makes its own."`
	clientFlags
}

func (signersRotateCmd) Help() string {
	return talksToServer + " What was signed before stays verifiable."
}

func (c *signersRotateCmd) Run(ctx context.Context, e *env) error {
	var in api.RotateSignerRequest
	if c.Public != "" {
		key, err := publicKeyFile(c.Public)
		if err != nil {
			return err
		}
		in = api.RotateSignerRequest{Alg: key.Alg(), Public: key.Text()}
	}
	return e.changeSigner(func(cl *client.Client) (api.Signer, error) { return cl.RotateSigner(ctx, c.Name, in) })
}

type signersRevokeCmd struct {
	Name   string `arg:"" help:"Name of the signer, or platform."`
	Reason string `help:"Why; kept sealed." placeholder:"TEXT"`
	clientFlags
}

func (signersRevokeCmd) Help() string {
	return talksToServer + " What was signed before stays verifiable; nothing counts any more that the key signs from now on. The platform gets a new key at once."
}

func (c *signersRevokeCmd) Run(ctx context.Context, e *env) error {
	return e.changeSigner(func(cl *client.Client) (api.Signer, error) {
		return cl.RevokeSigner(ctx, c.Name, api.RevokeSignerRequest{Reason: c.Reason})
	})
}

// changeSigner makes a call that changes a signer and shows the signer.
func (e *env) changeSigner(change func(*client.Client) (api.Signer, error)) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	s, err := change(cl)
	if err != nil {
		return err
	}
	return e.result(s, func(w io.Writer) {
		pairs(w, "signer", s.Name, "kind", s.Kind, "principal", s.Principal, "state", s.State, "algorithm", s.Alg, "key", s.Key, "since", stamp(s.Since))
	})
}
