package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

type loginCmd struct {
	Tenant   string `default:"main" help:"Name of your company." placeholder:"NAME"`
	Name     string `help:"Your name; you are asked for it if it is left out." placeholder:"NAME" xor:"name"`
	Password string `help:"Your password, for programs: file:PATH or env:NAME; from a pipe by file:/dev/stdin. You are asked for it if it is left out." placeholder:"REFERENCE" xor:"password"`

	Issuer    string `help:"Sign in with a browser on this machine at the OpenID provider that your company has under this name, instead of by a password." placeholder:"NAME" xor:"name,password"`
	NoBrowser bool   `help:"With --issuer: print the address, and open no browser."`
	Again     bool   `help:"With --issuer: have the provider ask anew who you are, for what asks for a proof of that (step_up_required)."`
	serverFlags
}

func (loginCmd) Help() string {
	return talksToServer + ` Keeps the session in the configuration directory, for you alone, with the server. From then on every command talks to that server as you, until the session ends or underseal logout.

A key that is named (--key-file, UNDERSEAL_API_KEY_FILE, api_key_file) and a client certificate go before the login, and the login before the API key in its usual place.

    underseal login --server https://seal.example.org --tenant acme
    underseal users me                          # who you are
    underseal logout

With --issuer a browser opens in which you sign in as your company does everywhere; who administers it knows the name (underseal issuers). In the end the page says as whom, and shows a check code. Follow its link only if the terminal shows the same code: it signs in the program that waits on this machine, at 127.0.0.1. If you have run no login, somebody else has sent you there; close the page.

    underseal login --server https://seal.example.org --tenant acme --issuer corp
    underseal login --issuer corp --again       # before what asks for a proof of who you are

On a machine that you reach by SSH the browser is on another one. Leave the command waiting, and forward the port that is in the address which it prints: ssh -L PORT:127.0.0.1:PORT MACHINE. Then open the address.`
}

func (c *loginCmd) Run(ctx context.Context, e *env) error {
	config, err := e.settings.connection()
	if err != nil {
		return err
	}
	before, _ := readLogin() // of one that cannot be read nothing is lost
	signIn := c.byPassword
	switch {
	case c.Issuer != "":
		signIn = c.byIssuer
	case c.NoBrowser || c.Again:
		return fault.New(fault.Invalid, "--no-browser and --again are for a login with --issuer NAME").WithCode("usage")
	}
	s, err := signIn(ctx, e, config)
	if err != nil {
		return err
	}
	next := login{Server: e.settings.Server, Tenant: c.Tenant, User: s.User, Issuer: c.Issuer, Session: s.Text}
	if e.settings.CAFile != "" {
		if next.CAFile, err = filepath.Abs(e.settings.CAFile); err != nil {
			return err
		}
	}
	if err := writeLogin(next); err != nil {
		return err
	}
	if before != nil && before.Server == next.Server {
		config.Key = before.Session
		endLogin(ctx, config)
	}
	return e.result(s.Session, func(w io.Writer) { writeSession(w, s.Session) })
}

// byPassword signs in who knows a password.
func (c *loginCmd) byPassword(ctx context.Context, e *env, config client.Config) (s api.NewSession, err error) {
	in := api.SignInRequest{Tenant: c.Tenant, Name: c.Name}
	if (in.Name == "" || c.Password == "") && !e.asksPerson() {
		return s, fault.New(fault.Invalid, "standard input is no terminal, where your name and password are asked for").WithCode("no_terminal").
			WithHint("--name NAME --password file:PATH; a password from a pipe is --password file:/dev/stdin")
	}
	if in.Name == "" {
		if in.Name, err = e.asked(ctx, "your name: "); err != nil {
			return s, err
		}
	}
	if c.Password != "" {
		in.Password, err = secretText("--password", c.Password)
	} else {
		in.Password, err = e.askedSecret(ctx, "your password: ")
	}
	if err != nil {
		return s, err
	}
	s, err = client.SignIn(ctx, config, in)
	if client.IsUnauthenticated(err) { // told here: it says nothing of the key file, as it does elsewhere
		err = fault.New(fault.Denied, "the server at %s signs nobody in by this company, name and password", e.settings.Server).WithCode("unauthenticated").
			WithHint("--tenant names your company; an administrator can make a link that sets another password: underseal users reset-password")
	}
	return s, err
}

// endLogin ends the session that another one has taken the place of, if it counts still.
func endLogin(ctx context.Context, config client.Config) {
	config.Tries = 1
	if cl, err := client.New(config); err == nil {
		_, _ = cl.SignOut(ctx) // it ends by itself, too
		cl.Close()
	}
}

type logoutCmd struct{ serverFlags }

func (logoutCmd) Help() string {
	return talksToServer + " Ends the session at the server and removes it here."
}

func (logoutCmd) Run(ctx context.Context, e *env) error {
	found, err := readLogin()
	if err != nil {
		return err
	}
	if found == nil {
		return fault.New(fault.Conflict, "you are not signed in").WithCode("no_session").WithHint("underseal login signs in")
	}
	if err := e.settings.adopt(found); err != nil {
		return err
	}
	config, err := e.settings.connection()
	if err != nil {
		return err
	}
	config.Key, config.Tries = found.Session, 3
	cl, err := client.New(config)
	if err != nil {
		return err
	}
	s, err := cl.SignOut(ctx)
	if err != nil && !client.IsUnauthenticated(err) { // it counts still
		return err
	}
	if gone := os.Remove(loginFile()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		return fault.New(fault.Denied, "remove the login: %w", gone)
	}
	if err != nil { // the session had ended before
		return e.result(struct{}{}, func(io.Writer) {})
	}
	return e.result(s, func(w io.Writer) { writeSession(w, s) })
}
