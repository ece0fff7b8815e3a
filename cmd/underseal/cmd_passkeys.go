package main

import (
	"context"
	"io"
	"strconv"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

type passkeysCmd struct {
	List   passkeysListCmd   `cmd:"" default:"withargs" help:"List somebody's passkeys."`
	Remove passkeysRemoveCmd `cmd:"" help:"Take a passkey from its person, at once."`
}

func (passkeysCmd) Help() string {
	return withoutCommand("passkeys") + " A passkey is registered with a browser, by whom it is for."
}

type passkeysListCmd struct {
	User string `arg:"" optional:"" help:"Name of the person; yourself if none is named."`
	clientFlags
}

func (passkeysListCmd) Help() string { return talksToServer }

func (c *passkeysListCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.User, error) {
		name := c.User
		if name == "" {
			me, err := cl.Me(ctx)
			if err != nil {
				return api.User{}, err
			}
			name = me.User
		}
		return cl.User(ctx, name)
	}, func(w io.Writer, u api.User) {
		var rows [][]string
		for _, k := range u.Passkeys {
			rows = append(rows, []string{k.ID, oneLine(k.Name), k.Signer, strconv.FormatBool(k.Synced), stamp(k.Made)})
		}
		table(w, []string{"PASSKEY", "NAME", "SIGNER", "SYNCED", "MADE"}, rows)
	})
}

func writePasskey(w io.Writer, k api.Passkey) {
	pairs(w, "passkey", k.ID, "named", oneLine(k.Name), "signer", k.Signer)
}

type passkeysRemoveCmd struct {
	Passkey string `arg:"" help:"Id of the passkey."`
	reasonFlags
}

func (passkeysRemoveCmd) Help() string {
	return talksToServer + " It signs nobody in and signs nothing any more; what it signed stays proven."
}

func (c *passkeysRemoveCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Passkey, error) { return cl.RemovePasskey(ctx, c.Passkey, c.Reason) }, writePasskey)
}
