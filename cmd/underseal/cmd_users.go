package main

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

type usersCmd struct {
	List    usersListCmd    `cmd:"" default:"withargs" help:"List people and programs."`
	Show    usersShowCmd    `cmd:"" help:"Show a person or program."`
	Invite  usersInviteCmd  `cmd:"" help:"Invite a person, or make a program known."`
	Change  usersChangeCmd  `cmd:"" help:"Change how a person or program is known."`
	Disable usersDisableCmd `cmd:"" help:"End all that somebody may, at once."`
	Enable  usersEnableCmd  `cmd:"" help:"Give somebody back what they had."`
	Give    usersGiveCmd    `cmd:"" help:"Give somebody a role."`
	Take    usersTakeCmd    `cmd:"" help:"Take somebody's role."`
	Join    usersJoinCmd    `cmd:"" help:"Make somebody a member of a group."`
	Leave   usersLeaveCmd   `cmd:"" help:"End somebody's membership of a group."`
	Reset   usersResetCmd   `cmd:"" name:"reset-password" help:"Make a link by which a person sets another password."`
	Link    usersLinkCmd    `cmd:"" help:"Say who somebody is elsewhere, who is let in as them."`
	Unlink  usersUnlinkCmd  `cmd:"" help:"End that somebody is somebody elsewhere, at once."`
	Me      usersMeCmd      `cmd:"" help:"Say who you are, and what you have."`
	Notices usersNoticesCmd `cmd:"" help:"Show what happened to your account lately, and which of your keys end soon."`
}

func (usersCmd) Help() string {
	return withoutCommand("users") + `

What somebody may follows from their roles and grants, and those of their groups. An Admin manages people, grants, keys and settings, a Designer deploys, an Executor starts processes and does tasks, a Viewer sees instances with sensitive values masked, an Auditor reads the log and no data.

    underseal users invite zoe --role Executor --group clerks    # prints a link for Zoe: underseal setup
    underseal users give zoe Viewer
    underseal users disable zoe --reason "on leave"              # users enable gives it all back
    underseal revoke principal zoe --reason "key stolen"         # nothing that admitted her counts again`
}

// reasonFlags are the options of a change that can have a reason.
type reasonFlags struct {
	Reason string `help:"Why; kept sealed." placeholder:"TEXT"`
	clientFlags
}

type usersListCmd struct {
	pageFlags
	clientFlags
}

func (usersListCmd) Help() string { return talksToServer }

func (c *usersListCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Users, error) { return cl.Users(ctx, c.page()) }, func(w io.Writer, list api.Users) {
		var rows [][]string
		for _, u := range list.Items {
			rows = append(rows, []string{u.Name, u.Kind, u.State, strings.Join(u.Roles, " "), strings.Join(u.Groups, " "), oneLine(u.Display)})
		}
		table(w, []string{"NAME", "KIND", "STATE", "ROLES", "GROUPS", "DISPLAY"}, rows)
		more(w, list.Next)
	})
}

// ask makes a call and shows what it answers.
func ask[T any](e *env, call func(*client.Client) (T, error), show func(io.Writer, T)) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	out, err := call(cl)
	if err != nil {
		return err
	}
	return e.result(out, func(w io.Writer) { show(w, out) })
}

// missing is the error that nobody has a name, for who may have mistyped it. Nothing is asked
// for that the credential in use is not for: the log would tell of a refusal.
func missing(ctx context.Context, cl *client.Client, name string) error {
	me, err := cl.Me(ctx)
	if err != nil || len(me.Scopes) > 0 && !slices.Contains(me.Scopes, "principal:read") && !slices.Contains(me.Scopes, "principal:*") {
		return nil
	}
	if _, err = cl.User(ctx, name); !client.IsNotFound(err) {
		return nil
	}
	return err
}

func writeUser(w io.Writer, u api.User) { writeUserWith(w, u) }

func writeUserWith(w io.Writer, u api.User, more ...string) {
	pairs(w, append([]string{"name", u.Name, "kind", u.Kind, "state", u.State, "roles", strings.Join(u.Roles, " "), "groups", strings.Join(u.Groups, " "),
		"display", oneLine(u.Display), "mail", oneLine(u.Mail), "invited until", stampOf(u.Invited)}, more...)...)
	for _, i := range u.Identities {
		pairs(w, "link", i.ID, "issuer", i.Issuer, "subject", oneLine(i.Subject), "ended", stampOf(i.Ended))
	}
	for _, k := range u.Passkeys {
		writePasskey(w, k)
	}
}

type usersShowCmd struct {
	Name string `arg:"" help:"Name of the person or program."`
	clientFlags
}

func (usersShowCmd) Help() string { return talksToServer }

func (c *usersShowCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.User, error) { return cl.User(ctx, c.Name) }, writeUser)
}

type usersInviteCmd struct {
	Name    string   `arg:"" help:"Name, of a-z, 0-9 and ._@-; it never changes."`
	Kind    string   `help:"user or service." enum:"user,service" default:"user" placeholder:"KIND"`
	Role    []string `help:"Role to give: Admin, Designer, Executor, Viewer, Auditor or Operator; can be repeated." placeholder:"ROLE"`
	Group   []string `help:"Group to be in; can be repeated." placeholder:"GROUP"`
	Display string   `help:"How people know them." placeholder:"TEXT"`
	Mail    string   `help:"Address for mail." placeholder:"ADDRESS"`
	Again   bool     `help:"Make another link for somebody who is invited."`
	reasonFlags
}

func (usersInviteCmd) Help() string {
	return talksToServer + ` Prints the link that lets a person in, which counts once and for 24 hours. A program gets none, but API keys.

    underseal users invite zoe --role Executor --group clerks    # send Zoe the link; she says: underseal setup --server URL
    underseal users invite zoe --again                           # the link was lost
    underseal users invite ocr --kind service --role Executor    # then: underseal apikeys create ocr ocr.key --scope 'job:*'`
}

func (c *usersInviteCmd) Run(ctx context.Context, e *env) error {
	in := api.UserRequest{Name: c.Name, Kind: c.Kind, Display: c.Display, Mail: c.Mail, Roles: c.Role, Groups: c.Group, Reason: c.Reason}
	return ask(e, func(cl *client.Client) (api.Invited, error) {
		if c.Again {
			return cl.InviteAgain(ctx, c.Name, c.Reason)
		}
		return cl.InviteUser(ctx, in)
	}, writeInvited)
}

func writeInvited(w io.Writer, out api.Invited) {
	writeUserWith(w, out.User, linkPairs(out.Link, "")...)
}

// linkPairs are a link, and what whoever gets it does with it; none without a link.
func linkPairs(link, options string) []string {
	if link == "" {
		return nil
	}
	use := "underseal setup --server URL" + options
	return []string{"link", link, "use it with", use + " (gives an API key)", "or", use + " --password file:PATH, then underseal login"}
}

type usersChangeCmd struct {
	Name    string  `arg:"" help:"Name of the person or program."`
	Display *string `help:"How people know them." placeholder:"TEXT"`
	Mail    *string `help:"Address for mail." placeholder:"ADDRESS"`
	reasonFlags
}

func (usersChangeCmd) Help() string {
	return talksToServer + " What is left out stays as it is; an empty text takes it away."
}

func (c *usersChangeCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.User, error) {
		in := api.ProfileRequest{Reason: c.Reason}
		if c.Display == nil || c.Mail == nil {
			now, err := cl.User(ctx, c.Name)
			if err != nil {
				return api.User{}, err
			}
			in.Display, in.Mail = now.Display, now.Mail
		}
		if c.Display != nil {
			in.Display = *c.Display
		}
		if c.Mail != nil {
			in.Mail = *c.Mail
		}
		return cl.ChangeUser(ctx, c.Name, in)
	}, writeUser)
}

type usersDisableCmd struct {
	Name string `arg:"" help:"Name of the person or program."`
	reasonFlags
}

func (usersDisableCmd) Help() string {
	return talksToServer + " Counts for the next request, and for calls that wait."
}

func (c *usersDisableCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.User, error) { return cl.DisableUser(ctx, c.Name, c.Reason) }, writeUser)
}

type usersEnableCmd struct {
	Name string `arg:"" help:"Name of the person or program."`
	reasonFlags
}

func (usersEnableCmd) Help() string { return talksToServer }

func (c *usersEnableCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.User, error) { return cl.EnableUser(ctx, c.Name, c.Reason) }, writeUser)
}

// roleArgs name somebody, or a group, and a role.
type roleArgs struct {
	Name string `arg:"" help:"Name."`
	Role string `arg:"" help:"Admin, Designer, Executor, Viewer, Auditor or Operator."`
	reasonFlags
}

func (c *roleArgs) request() api.RoleRequest { return api.RoleRequest{Role: c.Role, Reason: c.Reason} }

type usersGiveCmd struct{ roleArgs }

func (usersGiveCmd) Help() string { return talksToServer }

func (c *usersGiveCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.User, error) { return cl.GiveUserRole(ctx, c.Name, c.request()) }, writeUser)
}

type usersTakeCmd struct{ roleArgs }

func (usersTakeCmd) Help() string { return talksToServer + " What groups give stays." }

func (c *usersTakeCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.User, error) { return cl.TakeUserRole(ctx, c.Name, c.request()) }, writeUser)
}

// memberArgs name somebody and a group.
type memberArgs struct {
	Name  string `arg:"" help:"Name of the person or program."`
	Group string `arg:"" help:"Name of the group."`
	reasonFlags
}

func (c *memberArgs) request() api.MemberRequest {
	return api.MemberRequest{Group: c.Group, Reason: c.Reason}
}

type usersJoinCmd struct{ memberArgs }

func (usersJoinCmd) Help() string { return talksToServer }

func (c *usersJoinCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.User, error) { return cl.JoinGroup(ctx, c.Name, c.request()) }, writeUser)
}

type usersLeaveCmd struct{ memberArgs }

func (usersLeaveCmd) Help() string { return talksToServer }

func (c *usersLeaveCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.User, error) { return cl.LeaveGroup(ctx, c.Name, c.request()) }, writeUser)
}

type usersResetCmd struct {
	Name string `arg:"" help:"Name of the person."`
	reasonFlags
}

func (usersResetCmd) Help() string {
	return talksToServer + " Prints the link, which counts once and for 24 hours; until it is used, the password that there is counts."
}

func (c *usersResetCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Invited, error) { return cl.ResetPassword(ctx, c.Name, c.Reason) }, writeInvited)
}

type usersMeCmd struct{ clientFlags }

func (usersMeCmd) Help() string { return talksToServer }

func (c *usersMeCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Me, error) { return cl.Me(ctx) }, func(w io.Writer, me api.Me) {
		pairs(w, "tenant", me.Tenant, "name", me.User, "kind", me.Kind, "roles", strings.Join(me.Roles, " "), "groups", strings.Join(me.Groups, " "),
			credentialName(e), me.Key, "scopes", strings.Join(me.Scopes, " "), "address", me.Address)
		if len(me.Grants) > 0 {
			writeGrants(w, me.Grants)
		}
	})
}

// credentialName says what the id is of that admits who asks.
func credentialName(e *env) string {
	if e.login != nil {
		return "session"
	}
	return "key"
}

type usersNoticesCmd struct{ clientFlags }

func (usersNoticesCmd) Help() string {
	return talksToServer + ` Shows, of the last 30 days and the newest first, who tried in vain to sign in as you, and what was done to what lets you in: password, passkeys, API keys, links, roles.

If something was not you, end your sessions (underseal sessions revoke --user YOU), set another password, and tell your administrator. A key that ends soon is replaced with underseal apikeys rotate.`
}

func (c *usersNoticesCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Notices, error) { return cl.Notices(ctx) }, func(w io.Writer, out api.Notices) {
		var rows [][]string
		for _, n := range out.Items {
			rows = append(rows, []string{stamp(n.At), n.Kind, n.By, n.Address, count(n.Count)})
		}
		table(w, []string{"AT", "WHAT", "BY", "FROM", "TIMES"}, rows)
		if out.More {
			pairs(w, "more", "there is more than these: an Auditor finds it in the log")
		}
		for _, k := range out.Ending {
			pairs(w, "key ends", k.ID+" "+stampOf(k.Expires))
		}
	})
}

// count is empty for what happened once, as nothing counts it.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
