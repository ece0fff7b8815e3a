package main

import (
	"context"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

type revokeCmd struct {
	Principal revokePrincipalCmd `cmd:"" help:"End all that admits somebody: they are disabled, keys, password and link are gone."`
	Key       revokeKeyCmd       `cmd:"" help:"End one API key."`
	Sessions  revokeSessionsCmd  `cmd:"" help:"End all sessions of your company."`
}

func (revokeCmd) Help() string {
	return `It counts for the next request, and for calls that wait.

    underseal revoke principal zoe --reason "laptop stolen"    # disabled; keys, passkeys, password, sessions and link are gone
    underseal revoke key ID                                    # this key alone; underseal apikeys --user zoe
    underseal sessions revoke --user zoe                       # signed out; the keys stay
    underseal audit report zoe                                 # what was seen and done`
}

type revokePrincipalCmd struct {
	Name string `arg:"" help:"Name of the person or program."`
	reasonFlags
}

func (revokePrincipalCmd) Help() string {
	return talksToServer + " What they saw and did: underseal audit report NAME."
}

func (c *revokePrincipalCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.User, error) { return cl.RevokeUser(ctx, c.Name, c.Reason) }, writeUser)
}

type revokeSessionsCmd struct{ reasonFlags }

func (revokeSessionsCmd) Help() string {
	return talksToServer + " Yours, too. API keys stay; underseal sessions revoke ends less."
}

func (c *revokeSessionsCmd) Run(ctx context.Context, e *env) error {
	return (&sessionsRevokeCmd{All: true, reasonFlags: c.reasonFlags}).Run(ctx, e)
}

type revokeKeyCmd struct {
	Key string `arg:"" help:"Id of the key; underseal apikeys lists them."`
	reasonFlags
}

func (revokeKeyCmd) Help() string { return talksToServer }

func (c *revokeKeyCmd) Run(ctx context.Context, e *env) error {
	return (&apiKeysRevokeCmd{c.Key, c.reasonFlags}).Run(ctx, e)
}
