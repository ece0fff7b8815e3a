package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

type issuersCmd struct {
	List   issuersListCmd   `cmd:"" default:"withargs" help:"List whose word your company takes for who calls."`
	Set    issuersSetCmd    `cmd:"" help:"Make an issuer, or set another in its place."`
	Remove issuersRemoveCmd `cmd:"" help:"Take an issuer's word no more, at once."`
}

func (issuersCmd) Help() string {
	return withoutCommand("issuers") + `

People sign in with a browser at SERVER/v1/login/COMPANY/ISSUER; register SERVER/v1/login/COMPANY/ISSUER/done as redirect URI at the provider. Nobody is anybody here by a name or an address for mail: who is let in is linked by the subject (sub), or made by --creates.

    underseal issuers set corp --kind people --url https://login.example.org/realms/acme --client underseal --secret file:client.secret --group-claim groups --group /loans/clerks=clerks
    underseal users link zoe corp 0b5c3f52-6f0c-4f5e-9d5e-2f6f1f0a7e11
    underseal issuers set ci --kind services --url https://login.example.org/realms/acme --audience https://seal.example.org`
}

type issuersListCmd struct{ clientFlags }

func (issuersListCmd) Help() string { return talksToServer + " --json has all of each." }

func (c *issuersListCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Issuers, error) { return cl.Issuers(ctx) }, writeIssuers)
}

func writeIssuers(w io.Writer, all api.Issuers) {
	var rows [][]string
	for _, i := range all.Items {
		rows = append(rows, []string{i.ID, i.Kind, i.URL, oneLine(i.Client), oneLine(strings.Join(i.Audiences, " "))})
	}
	table(w, []string{"ISSUER", "KIND", "URL", "CLIENT", "AUDIENCES"}, rows)
}

type issuersSetCmd struct {
	ID         string   `arg:"" help:"Id, of a-z, 0-9 and ._@-."`
	Kind       string   `help:"people (OpenID Connect), services (access tokens) or certificates." enum:"people,services,certificates" required:"" placeholder:"KIND"`
	URL        string   `help:"Its address, exactly as its tokens name it (iss)." placeholder:"URL"`
	Client     string   `help:"Of people: the client id that it gave you." placeholder:"ID"`
	Secret     string   `help:"Of people: the client's secret, as file:PATH or env:NAME. Left out, the one before stays." placeholder:"REF"`
	Public     bool     `help:"Of people: the client has no secret."`
	Scope      []string `help:"Of people: scope to ask for besides openid; can be repeated." placeholder:"SCOPE"`
	NameClaim  string   `help:"Of people: claim that new users are called after (default: preferred_username)." placeholder:"CLAIM"`
	GroupClaim string   `help:"Of people: claim that lists groups; a.b is b in a." placeholder:"CLAIM"`
	Group      []string `help:"Of people: members of a group there join a group here; can be repeated." placeholder:"THERE=HERE" sep:"none"`
	Role       []string `help:"Of people: members of a group there have a role; can be repeated." placeholder:"THERE=ROLE" sep:"none"`
	Creates    bool     `help:"Of people: whoever signs in becomes a user."`
	Audience   []string `help:"Of services: for whom tokens are (aud); can be repeated." placeholder:"AUD"`
	Authority  string   `help:"Of certificates: file with those of the CA, PEM." type:"existingfile" placeholder:"FILE"`
	reasonFlags
}

func (issuersSetCmd) Help() string {
	return talksToServer + " What is left out is empty then, but the secret. It counts from the next request on."
}

func (c *issuersSetCmd) Run(ctx context.Context, e *env) error {
	in := api.IssuerRequest{
		Kind: c.Kind, URL: c.URL, Client: c.Client, Public: c.Public, Scopes: c.Scope, NameClaim: c.NameClaim, GroupClaim: c.GroupClaim,
		Creates: c.Creates, Audiences: c.Audience, Reason: c.Reason,
	}
	var err error
	if c.Secret != "" {
		if in.Secret, err = secretText("--secret", c.Secret); err != nil {
			return err
		}
	}
	if c.Authority != "" {
		text, err := e.readInput(c.Authority)
		if err != nil {
			return err
		}
		in.Authority = string(text)
	}
	if in.Given, err = c.given(); err != nil {
		return err
	}
	return ask(e, func(cl *client.Client) (api.Issuers, error) {
		list, err := cl.SetIssuer(ctx, c.ID, in)
		if err == nil {
			c.tellMissing(ctx, e, cl, list)
		}
		return list, err
	}, writeIssuers)
}

// tellMissing says what is accepted and may still not be meant: no secret, groups that are not there.
func (c *issuersSetCmd) tellMissing(ctx context.Context, e *env, cl *client.Client, list api.Issuers) {
	for _, i := range list.Items {
		if i.ID == c.ID && i.Kind == "people" && !i.SecretSet && !c.Public {
			e.note("issuer %s has no client secret, so it is asked as a public client: --secret file:PATH, or --public if that is meant", c.ID)
		}
	}
	if len(c.Group) == 0 {
		return
	}
	groups, err := cl.Groups(ctx, api.Page{Limit: 1000})
	if err != nil || groups.Next != "" {
		return
	}
	for _, pair := range c.Group {
		_, here, _ := splitPair("--group", pair)
		if !slices.ContainsFunc(groups.Items, func(g api.Group) bool { return g.Name == here }) {
			e.note("there is no group %q: nobody joins it until underseal groups create makes it", here)
		}
	}
}

// given puts together what each group there has.
func (c *issuersSetCmd) given() (all []api.IssuerGroup, err error) {
	of := func(there string) *api.IssuerGroup {
		for i := range all {
			if all[i].Group == there {
				return &all[i]
			}
		}
		all = append(all, api.IssuerGroup{Group: there})
		return &all[len(all)-1]
	}
	for _, pair := range c.Group {
		there, here, err := splitPair("--group", pair)
		if err != nil {
			return nil, err
		}
		g := of(there)
		g.Groups = append(g.Groups, here)
	}
	for _, pair := range c.Role {
		there, role, err := splitPair("--role", pair)
		if err != nil {
			return nil, err
		}
		g := of(there)
		g.Roles = append(g.Roles, role)
	}
	return all, nil
}

// splitPair cuts at the last =, for names of groups elsewhere may hold one.
func splitPair(flag, text string) (there, here string, err error) {
	i := strings.LastIndexByte(text, '=')
	if i < 1 || i == len(text)-1 {
		return "", "", fault.New(fault.Invalid, "%s %q is not of the form THERE=HERE", flag, text)
	}
	return text[:i], text[i+1:], nil
}

type issuersRemoveCmd struct {
	ID string `arg:"" help:"Id of the issuer."`
	reasonFlags
}

func (issuersRemoveCmd) Help() string {
	return talksToServer + " Who is linked to it stays so, for if it comes back. It is refused while your administrators come in by it alone."
}

func (c *issuersRemoveCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Issuers, error) { return cl.RemoveIssuer(ctx, c.ID, c.Reason) }, writeIssuers)
}

type usersLinkCmd struct {
	Name    string `arg:"" help:"Name of the person or program."`
	Issuer  string `arg:"" help:"Id of one of your issuers, or certificate for a single one."`
	Subject string `arg:"" help:"Who they are there: claim sub, spiffe://.., dns:NAME, subject:CN=.., or sha256:.. of the certificate."`
	reasonFlags
}

func (usersLinkCmd) Help() string {
	return talksToServer + " Whom the issuer calls that is let in as this person or program."
}

func (c *usersLinkCmd) Run(ctx context.Context, e *env) error {
	in := api.LinkRequest{Issuer: c.Issuer, Subject: c.Subject, Reason: c.Reason}
	return ask(e, func(cl *client.Client) (api.User, error) { return cl.LinkUser(ctx, c.Name, in) }, writeUser)
}

type usersUnlinkCmd struct {
	Name string `arg:"" help:"Name of the person or program."`
	ID   string `arg:"" help:"Of the link, as users show has it."`
	reasonFlags
}

func (usersUnlinkCmd) Help() string { return talksToServer }

func (c *usersUnlinkCmd) Run(ctx context.Context, e *env) error {
	in := api.UnlinkRequest{ID: c.ID, Reason: c.Reason}
	return ask(e, func(cl *client.Client) (api.User, error) { return cl.UnlinkUser(ctx, c.Name, in) }, writeUser)
}
