package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

type setupCmd struct {
	Link string `arg:"" help:"The link, usi_..., as it was given to you."`
	Name string `help:"Your name, if the link makes a company's first administrator." placeholder:"NAME"`
	clientFlags
}

func (setupCmd) Help() string {
	return talksToServer + " Uses a link, which counts once, and writes the API key that it gives to --key-file, where commands look for it."
}

// settled says what setup did.
type settled struct {
	Tenant     string `json:"tenant"`
	User       string `json:"user"`
	APIKeyFile string `json:"api_key_file"`
}

func (c *setupCmd) Run(ctx context.Context, e *env) error {
	if err := checkServerURL(e.settings.Server); err != nil {
		return err
	}
	if err := e.settings.checkPlaces("api_key_file"); err != nil {
		return err
	}
	transport, err := e.settings.transport()
	if err != nil {
		return err
	}
	path := e.settings.APIKeyFile
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fault.New(fault.Denied, "make the directory of the API key file: %w", err)
	}
	config := client.Config{URL: e.settings.Server, HTTPClient: &http.Client{Transport: transport}}
	out := settled{APIKeyFile: path}
	err = writeKeyFile(path, func() (string, error) {
		done, err := client.Setup(ctx, config, api.SetupRequest{Link: c.Link, Name: c.Name})
		out.Tenant, out.User = done.Tenant, done.User
		return done.Key.Text, err
	})
	if err != nil {
		return err
	}
	return e.result(out, func(w io.Writer) { pairs(w, "tenant", out.Tenant, "name", out.User, "API key file", out.APIKeyFile) })
}
