// Command underseal-pkcs11 is a key service plugin of Underseal for hardware
// security modules that speak PKCS#11. docs/design/kms-plugin.md is the protocol.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"github.com/underseal/underseal/cmd/underseal-pkcs11/internal/hsm"
	"github.com/underseal/underseal/internal/fault"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// cli is the tree of commands.
type cli struct {
	Init  initCmd  `cmd:"" help:"Make the first version of a root key in the token."`
	Check checkCmd `cmd:"" help:"Log in, wrap a key, unwrap it, and say which root key that was."`
	Serve serveCmd `cmd:"" help:"Answer the server's calls until SIGTERM."`
}

const description = `Keeps Underseal's root key in a hardware security module. The key is an AES-256 key of the token; it never leaves it.

First:   underseal-pkcs11 init  --module LIBRARY --token LABEL --pin file:PATH
Then:    underseal-pkcs11 serve --module LIBRARY --token LABEL --pin file:PATH --socket /run/underseal-kms/kms.sock
Server:  in its config.yaml
           key_services:
             hsm: {provider: plugin, socket: /run/underseal-kms/kms.sock}
           key_service: hsm

Run it as the user of the server, or as a user of its own: then name the server's user here (--uid) and this one there (uids). Only they and root may write to the socket's directory.

Each flag can be a variable of the environment. The PIN is never one of them: --pin says where it is.`

// keyFlags say which root key.
type keyFlags struct {
	Module string `required:"" env:"UNDERSEAL_PKCS11_MODULE" placeholder:"LIBRARY" help:"Library of the token's maker, such as /usr/lib/softhsm/libsofthsm2.so."`
	Token  string `required:"" env:"UNDERSEAL_PKCS11_TOKEN" placeholder:"LABEL" help:"Label of the token."`
	Key    string `default:"underseal" env:"UNDERSEAL_PKCS11_KEY" placeholder:"LABEL" help:"Label of the root key: one for each installation of Underseal (default: underseal)."`
	PIN    string `required:"" name:"pin" env:"UNDERSEAL_PKCS11_PIN" placeholder:"REFERENCE" help:"Where the user's PIN is: file:PATH or env:NAME. Read again at each login."`
	Nonce  string `enum:"own,token" default:"own" env:"UNDERSEAL_PKCS11_NONCE" help:"Who draws the nonces of AES-GCM: own, or token if it refuses others' (default: own)."`
}

func (f keyFlags) config() hsm.Config {
	return hsm.Config{
		Module: f.Module, Token: f.Token, Key: f.Key, TokenNonce: f.Nonce == "token",
		PIN: func() (string, error) { return secret(f.PIN) },
	}
}

// env is what a command gets from the process it runs in.
type env struct{ stdout, stderr io.Writer }

// run is the program. It returns the exit code, as docs/exit-codes.md has them.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var commands cli
	helped := false
	parser, err := kong.New(&commands, kong.Name("underseal-pkcs11"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.Exit(func(int) { helped = true }), kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100, NoExpandSubcommands: true}))
	if err != nil {
		return report(stderr, err)
	}
	parsed, err := parser.Parse(args)
	if helped {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: %v\nhint: underseal-pkcs11 --help says what it takes\n", err)
		return exitUsage
	}
	// A core dump would hold keys.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return report(stderr, fault.New(fault.Internal, "forbid core dumps: %w", err))
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(env{stdout, stderr}); err != nil {
		return report(stderr, err)
	}
	return 0
}

const exitUsage = 2

// report writes an error and returns its exit code.
func report(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "error: %v\n", err)
	var f *fault.Error
	if errors.As(err, &f) && f.Hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", f.Hint)
	}
	return fault.KindOf(err).ExitCode()
}

// result writes what a command found out, as one line of JSON.
func (e env) result(v any) error { return json.NewEncoder(e.stdout).Encode(v) }
