package main

import (
	"context"
	"io"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

type tenantsCmd struct {
	List    tenantsListCmd    `cmd:"" default:"withargs" help:"List companies."`
	Create  tenantsCreateCmd  `cmd:"" help:"Make a company."`
	Invite  tenantsInviteCmd  `cmd:"" help:"Make another link for a company without an administrator."`
	Disable tenantsDisableCmd `cmd:"" help:"Let nobody of a company in any more."`
	Enable  tenantsEnableCmd  `cmd:"" help:"Let a company's people in again."`

	Settings tenantsSettingsCmd `cmd:"" help:"Show what is set for everybody of your company."`
	Networks tenantsNetworksCmd `cmd:"" help:"Set where people of your company may come from."`
	Limits   tenantsLimitsCmd   `cmd:"" help:"Set how often people of your company may call."`
	Passkeys tenantsPasskeysCmd `cmd:"" help:"Set whose password alone is not enough to sign in."`
	FourEyes tenantsFourEyesCmd `cmd:"" name:"four-eyes" help:"Set whether two people deploy a confidential process in your company."`
}

func (tenantsCmd) Help() string {
	return withoutCommand("tenants") + `

Each company has people, keys, processes and a log of its own, and cannot learn of another. An Operator makes one and sends its link to its first administrator, who does the rest; the Operator sees nothing in it.

    underseal tenants create clinic --display "The clinic"
    underseal tenants networks 10.0.0.0/8 --role Admin=10.1.0.0/16
    underseal tenants four-eyes on`
}

type tenantsListCmd struct{ clientFlags }

func (tenantsListCmd) Help() string { return talksToServer }

func (c *tenantsListCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Tenants, error) { return cl.Tenants(ctx) }, func(w io.Writer, list api.Tenants) {
		var rows [][]string
		for _, t := range list.Items {
			rows = append(rows, []string{t.Name, t.State, stampOf(t.SetUp), oneLine(t.Display)})
		}
		table(w, []string{"NAME", "STATE", "LINK UNTIL", "DISPLAY"}, rows)
	})
}

func writeTenant(w io.Writer, t api.Tenant) {
	pairs(w, "tenant", t.Name, "state", t.State, "display", oneLine(t.Display))
}

func writeNewTenant(w io.Writer, t api.NewTenant) {
	pairs(w, append([]string{"tenant", t.Tenant.Name, "state", t.Tenant.State, "display", oneLine(t.Tenant.Display), "link until", stampOf(t.Tenant.SetUp)},
		linkPairs(t.Link, " --name NAME")...)...)
}

type tenantsCreateCmd struct {
	Name    string `arg:"" help:"Name, of a-z, 0-9 and -; never used twice."`
	Display string `help:"How people know it." placeholder:"TEXT"`
	reasonFlags
}

func (tenantsCreateCmd) Help() string {
	return talksToServer + " Prints the link that makes its first administrator, which counts once and for 24 hours."
}

func (c *tenantsCreateCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.NewTenant, error) {
		return cl.CreateTenant(ctx, api.TenantRequest{Name: c.Name, Display: c.Display, Reason: c.Reason})
	}, writeNewTenant)
}

type tenantsInviteCmd struct {
	Name string `arg:"" help:"Name of the company."`
	reasonFlags
}

func (tenantsInviteCmd) Help() string { return talksToServer + " The link before ends." }

func (c *tenantsInviteCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.NewTenant, error) { return cl.InviteAdministrator(ctx, c.Name, c.Reason) }, writeNewTenant)
}

type tenantsDisableCmd struct {
	Name string `arg:"" help:"Name of the company."`
	reasonFlags
}

func (tenantsDisableCmd) Help() string {
	return talksToServer + " Its processes go on, and wait where they need somebody."
}

func (c *tenantsDisableCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Tenant, error) { return cl.DisableTenant(ctx, c.Name, c.Reason) }, writeTenant)
}

type tenantsEnableCmd struct {
	Name string `arg:"" help:"Name of the company."`
	reasonFlags
}

func (tenantsEnableCmd) Help() string { return talksToServer }

func (c *tenantsEnableCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Tenant, error) { return cl.EnableTenant(ctx, c.Name, c.Reason) }, writeTenant)
}
