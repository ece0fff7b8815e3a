package main

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

type apiKeysCmd struct {
	List   apiKeysListCmd   `cmd:"" default:"withargs" help:"List API keys, without their texts."`
	Create apiKeysCreateCmd `cmd:"" help:"Make an API key."`
	Rotate apiKeysRotateCmd `cmd:"" help:"Put another API key in a key's place."`
	Revoke apiKeysRevokeCmd `cmd:"" help:"End an API key, at once."`
}

func (apiKeysCmd) Help() string {
	return withoutCommand("apikeys") + `

A key is good for what its owner may, but for its scopes, networks and end, which take away from that. Its text is written once, to a file; who needs another gets another.

    underseal apikeys create ocr ocr.key --scope 'job:*' --network 192.0.2.0/24
    underseal apikeys rotate ID new.key        # the old one counts for another day
    underseal apikeys revoke ID --reason "found in a repository"`
}

type apiKeysListCmd struct {
	User string `help:"Of this person or program." placeholder:"NAME"`
	pageFlags
	clientFlags
}

func (apiKeysListCmd) Help() string { return talksToServer }

func (c *apiKeysListCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.APIKeys, error) {
		return cl.APIKeys(ctx, api.APIKeysQuery{Page: c.page(), User: c.User})
	}, func(w io.Writer, list api.APIKeys) {
		var rows [][]string
		for _, k := range list.Items {
			rows = append(rows, []string{k.ID, k.User, oneLine(k.Name), strings.Join(k.Scopes, " "), strings.Join(k.Networks, " "), stamp(k.Made), stampOf(k.Expires), stampOf(k.Used)})
		}
		table(w, []string{"KEY", "USER", "FOR", "SCOPES", "NETWORKS", "MADE", "EXPIRES", "USED"}, rows)
		more(w, list.Next)
	})
}

func writeAPIKey(w io.Writer, k api.APIKey, more ...string) {
	pairs(w, append([]string{"key", k.ID, "user", k.User, "for", oneLine(k.Name), "scopes", strings.Join(k.Scopes, " "), "networks", strings.Join(k.Networks, " "),
		"made", stamp(k.Made), "expires", stampOf(k.Expires)}, more...)...)
}

type apiKeysCreateCmd struct {
	User    string   `arg:"" help:"Name of the person or program."`
	Out     string   `arg:"" help:"File for the key's text, for its owner alone; it must not exist."`
	For     string   `help:"What it is for." placeholder:"TEXT"`
	Scope   []string `help:"Action (job:work) or family (task:*) that it is for; can be repeated. None: everything." placeholder:"SCOPE"`
	Network []string `help:"CIDR where it may be used from; can be repeated. None: anywhere." placeholder:"CIDR"`
	Expires string   `help:"When it ends: 2031-01-31T12:00:00Z, a day (UTC), or a span from now on, 90d." placeholder:"TIME"`
	reasonFlags
}

func (apiKeysCreateCmd) Help() string {
	return talksToServer + ` Writes the key's text to the file and prints the rest. A program that works jobs needs the role Executor, or a grant to work; a scope that is none names those there are.

    underseal apikeys create ocr ocr.key --scope 'job:*' --network 192.0.2.0/24 --expires 90d --for "scanner in the basement"`
}

func (c *apiKeysCreateCmd) Run(ctx context.Context, e *env) error {
	in := api.APIKeyRequest{User: c.User, Name: c.For, Scopes: c.Scope, Networks: c.Network, Reason: c.Reason}
	var err error
	if in.Expires, err = timeFlag("--expires", c.Expires); err != nil {
		return err
	}
	return e.newAPIKey(c.Out, func(cl *client.Client) (api.NewAPIKey, error) { return cl.CreateAPIKey(ctx, in) })
}

// newAPIKey makes a call that makes a key, and writes its text to a file.
func (e *env) newAPIKey(out string, call func(*client.Client) (api.NewAPIKey, error)) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	var made api.NewAPIKey
	err = writeSecret(out, func() (string, error) {
		made, err = call(cl)
		return made.Text, err
	})
	if err != nil {
		return err
	}
	return e.result(made.APIKey, func(w io.Writer) { writeAPIKey(w, made.APIKey, "file", out) })
}

type apiKeysRotateCmd struct {
	Key     string        `arg:"" help:"Id of the key."`
	Out     string        `arg:"" help:"File for the new key's text, for its owner alone; it must not exist."`
	Overlap time.Duration `help:"How long the old key still counts (default: ${default})." default:"24h" placeholder:"SPAN"`
	reasonFlags
}

func (apiKeysRotateCmd) Help() string {
	return talksToServer + " The new key has the same scopes, networks and length of life."
}

func (c *apiKeysRotateCmd) Run(ctx context.Context, e *env) error {
	overlap := int(c.Overlap.Milliseconds())
	return e.newAPIKey(c.Out, func(cl *client.Client) (api.NewAPIKey, error) {
		return cl.RotateAPIKey(ctx, c.Key, api.RotateAPIKeyRequest{OverlapMS: &overlap, Reason: c.Reason})
	})
}

type apiKeysRevokeCmd struct {
	Key string `arg:"" help:"Id of the key."`
	reasonFlags
}

func (apiKeysRevokeCmd) Help() string {
	return talksToServer + " Counts for the next request, and for calls that wait."
}

func (c *apiKeysRevokeCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.APIKey, error) { return cl.RevokeAPIKey(ctx, c.Key, c.Reason) }, func(w io.Writer, k api.APIKey) {
		writeAPIKey(w, k, "state", "revoked")
	})
}
