package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

type tenantsSettingsCmd struct{ clientFlags }

func (tenantsSettingsCmd) Help() string { return talksToServer }

func (c *tenantsSettingsCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Settings, error) { return cl.Settings(ctx) }, writeTenantSettings)
}

func writeTenantSettings(w io.Writer, s api.Settings) {
	fourEyes := "off"
	if s.FourEyes {
		fourEyes = "on"
	}
	if off := s.FourEyesOff; off != nil {
		fourEyes += fmt.Sprintf("; %s asked for the end of it, for another administrator to confirm until %s", off.By, stamp(off.Expires))
	}
	rows := []string{"company", s.Tenant, "networks", orElse(strings.Join(s.Networks.All, " "), "anywhere")}
	for _, r := range s.Networks.Roles {
		rows = append(rows, "networks of "+r.Role, strings.Join(r.From, " "))
	}
	pairs(w, append(rows,
		"calls of each user", orElse(s.Limits.User, "as the server has it"), "calls of each key", orElse(s.Limits.Key, "as the server has it"),
		"calls of all", orElse(s.Limits.Tenant, "as the server has it"), "passkeys demanded of", s.RequirePasskey, "four eyes", fourEyes,
		"policies", orElse(strings.Join(s.Policies, " "), "none"), "leaf", s.Leaf)...)
}

func orElse(text, none string) string {
	if text == "" {
		return none
	}
	return text
}

type tenantsNetworksCmd struct {
	Networks []string `arg:"" optional:"" help:"Networks (10.0.0.0/8) or addresses that everybody comes from." placeholder:"NETWORK"`
	Role     []string `help:"Networks that who has a role comes from, and from nowhere else; can be repeated." placeholder:"ROLE=NETWORK[,..]" sep:"none"`
	Anywhere bool     `help:"Let everybody come from anywhere."`
	reasonFlags
}

func (tenantsNetworksCmd) Help() string {
	return talksToServer + " Sets all lists, in place of those before; without any it shows them. Lists that would shut yourself out are refused."
}

func (c *tenantsNetworksCmd) Run(ctx context.Context, e *env) error {
	in := api.NetworksRequest{Networks: api.Networks{All: append([]string{}, c.Networks...), Roles: []api.RoleNetworks{}}, Reason: c.Reason}
	for _, one := range c.Role {
		role, from, ok := strings.Cut(one, "=")
		if !ok {
			return fault.New(fault.Invalid, "--role %q is not of the form ROLE=NETWORK,NETWORK", one)
		}
		in.Networks.Roles = append(in.Networks.Roles, api.RoleNetworks{Role: role, From: strings.Split(from, ",")})
	}
	given := len(c.Networks)+len(c.Role) > 0
	if c.Anywhere && given {
		return fault.New(fault.Invalid, "--anywhere goes with no networks")
	}
	return ask(e, func(cl *client.Client) (api.Settings, error) {
		if !given && !c.Anywhere {
			return cl.Settings(ctx)
		}
		return cl.SetNetworks(ctx, in)
	}, writeTenantSettings)
}

type tenantsLimitsCmd struct {
	User   *string `help:"Calls of each person, with all their sessions and API keys, such as 1000/h; 0 is no limit, default what the server has." placeholder:"RATE"`
	Key    *string `help:"Calls of each API key." placeholder:"RATE"`
	Tenant *string `help:"Calls of all together; what the server admits stays the limit." placeholder:"RATE"`
	reasonFlags
}

func (tenantsLimitsCmd) Help() string {
	return talksToServer + " Sets the limits that are given and leaves the others; without any it shows them."
}

func (c *tenantsLimitsCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Settings, error) {
		now, err := cl.Settings(ctx)
		if err != nil || c.User == nil && c.Key == nil && c.Tenant == nil {
			return now, err
		}
		in := api.LimitsRequest{Limits: now.Limits, Reason: c.Reason}
		set := func(to *string, given *string) {
			if given != nil {
				*to = strings.TrimPrefix(*given, "default")
			}
		}
		set(&in.Limits.User, c.User)
		set(&in.Limits.Key, c.Key)
		set(&in.Limits.Tenant, c.Tenant)
		return cl.SetLimits(ctx, in)
	}, writeTenantSettings)
}

type tenantsPasskeysCmd struct {
	Of string `arg:"" optional:"" enum:"none,administrators,everyone," default:"" help:"none, administrators or everyone."`
	reasonFlags
}

func (tenantsPasskeysCmd) Help() string {
	return talksToServer + " Who signs in by a password alone can only register a first passkey, then, or go on by the one that there is. API keys stay as they are, and so do sign-ins at your OpenID provider. It takes a passkey of your own. Without an argument it shows what is set."
}

func (c *tenantsPasskeysCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Settings, error) {
		if c.Of == "" {
			return cl.Settings(ctx)
		}
		return cl.RequirePasskeys(ctx, api.RequirePasskeyRequest{Of: c.Of, Reason: c.Reason})
	}, writeTenantSettings)
}

type tenantsFourEyesCmd struct {
	Required string `arg:"" optional:"" enum:"on,off," default:"" help:"on or off."`
	reasonFlags
}

func (tenantsFourEyesCmd) Help() string {
	return talksToServer + " While it is on, a process with confidential data is deployed by two people. To end it takes two administrators as well: the first asks (off), and the second does the same within a day. Of both nothing that lets them in, nor a role, may have changed lately (break_glass_settled, a day). Without an argument it shows what is set."
}

func (c *tenantsFourEyesCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Settings, error) {
		if c.Required == "" {
			return cl.Settings(ctx)
		}
		return cl.SetFourEyes(ctx, api.FourEyesRequest{Required: c.Required == "on", Reason: c.Reason})
	}, writeTenantSettings)
}

type policiesCmd struct {
	List policiesListCmd `cmd:"" default:"withargs" help:"Show the company's own policies."`
	Set  policiesSetCmd  `cmd:"" help:"Set the company's own policies."`
	Test policiesTestCmd `cmd:"" help:"Say what policies would decide otherwise, and set nothing."`
}

func (policiesCmd) Help() string {
	return withoutCommand("policies") + `

Policies in Cedar forbid what roles and grants would permit; they cannot permit. Try them before you set them.

    @id("no-friday") @reason("Bob does not decide on loans")
    forbid (principal == user::"bob", action == Action::"task:complete", resource)
    when { resource.process == "loan" };

    underseal policies test ours.cedar
    underseal policies set ours.cedar --reason "audit 2026"`
}

type policiesListCmd struct{ clientFlags }

func (policiesListCmd) Help() string {
	return talksToServer + " With their text, as it was set."
}

func (c *policiesListCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Policies, error) { return cl.Policies(ctx) }, func(w io.Writer, p api.Policies) {
		writePolicies(w, p)
		if p.Text != "" {
			fmt.Fprintf(w, "\n%s\n", printable(strings.TrimRight(p.Text, "\n")))
		}
	})
}

func writePolicies(w io.Writer, p api.Policies) {
	var rows [][]string
	for _, one := range p.Items {
		rows = append(rows, []string{one.ID, oneLine(one.Reason)})
	}
	table(w, []string{"POLICY", "REASON"}, rows)
}

type policiesSetCmd struct {
	File string `arg:"" help:"Policies in Cedar; an empty file: none. - is standard input."`
	reasonFlags
}

func (policiesSetCmd) Help() string {
	return talksToServer + " In place of those before. Policies can only forbid; what would leave nobody who can change them is refused."
}

func (c *policiesSetCmd) Run(ctx context.Context, e *env) error {
	text, err := e.readInput(c.File)
	if err != nil {
		return err
	}
	return ask(e, func(cl *client.Client) (api.Policies, error) {
		return cl.SetPolicies(ctx, api.PoliciesRequest{Text: string(text), Reason: c.Reason})
	}, writePolicies)
}

type policiesTestCmd struct {
	File string `arg:"" help:"Policies in Cedar, as they would be set. - is standard input."`
	clientFlags
}

func (policiesTestCmd) Help() string {
	return talksToServer + " Tries every action of everybody, on each process or on nothing in particular: a policy that looks at facts of one instance or task shows in underseal explain alone."
}

func (c *policiesTestCmd) Run(ctx context.Context, e *env) error {
	text, err := e.readInput(c.File)
	if err != nil {
		return err
	}
	return ask(e, func(cl *client.Client) (api.PoliciesTest, error) {
		return cl.TestPolicies(ctx, api.PoliciesTestRequest{Text: string(text)})
	}, writePoliciesTest)
}

func writePoliciesTest(w io.Writer, t api.PoliciesTest) {
	if len(t.Items) > 0 {
		var rows [][]string
		for _, one := range t.Items {
			rows = append(rows, []string{one.Principal, one.Action, one.Process, allowedText(one.Allowed), strings.Join(one.Policies, " ")})
		}
		table(w, []string{"WHO", "ACTION", "PROCESS", "WOULD BE", "BY"}, rows)
	}
	fmt.Fprintf(w, "%d of %d decisions would change\n", t.Changed, t.Tried)
}

func allowedText(allowed bool) string {
	if allowed {
		return "allowed"
	}
	return "denied"
}

type explainCmd struct {
	Principal string `arg:"" help:"Name of the person or program."`
	Action    string `arg:"" help:"Such as task:complete; one that there is not names those there are."`
	Resource  string `arg:"" optional:"" help:"Id of what it is done on: a process, an instance, a task, ..; left out: nothing in particular."`
	Kind      string `help:"Kind of the resource (default: that of the action)." placeholder:"KIND"`
	Field     string `help:"Path of a field, with value:read and value:reveal and the id of an instance, or of the task or job that shows it." placeholder:"PATH"`
	Address   string `help:"Where the request would come from (default: an allowed network)." placeholder:"IP"`
	Purpose   string `help:"Purpose that the request would give." placeholder:"TEXT"`
	clientFlags
}

func (explainCmd) Help() string {
	return talksToServer + " Says why somebody may do something, or may not: the policies that decide, the grants that match, and what is missing by one thing. It asks about all that they have, not about one credential." + `

    underseal explain zoe instance:read ID                               # why could she see it?
    underseal explain bob task:complete ID                               # why can't he do it?
    underseal explain zoe value:reveal ID --field applicant.ssn --purpose x
    underseal explain bob instance:start loan                            # a process, before there is an instance
    underseal audit --object ID --principal zoe                          # when she did`
}

func (c *explainCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Explanation, error) {
		x, err := cl.Explain(ctx, api.ExplainQuery{
			Principal: c.Principal, Action: c.Action, Kind: c.Kind, ID: c.Resource, Field: c.Field, Address: c.Address, Purpose: c.Purpose,
		})
		e.notes(x.Notes)
		return x, err
	}, writeExplanation)
}

// explained is how many grants and near misses are shown, so that it is one screenful.
const explained = 8

func writeExplanation(w io.Writer, x api.Explanation) {
	on := x.Kind
	if x.ID != "" {
		on += " " + x.ID
	}
	answer := allowedText(x.Allowed)
	if x.Depends {
		answer = "it depends"
	}
	fmt.Fprintf(w, "%s: %s %s on %s\n", answer, printable(x.Principal), printable(x.Action), printable(on))
	fmt.Fprintf(w, "  who: %s\n", printable(whoText(x.Who)))
	if text := concernedText(x); text != "" {
		fmt.Fprintf(w, "  on: %s\n", printable(text))
	}
	if len(x.Reasons) == 0 {
		fmt.Fprintln(w, "  nothing permits it")
	}
	for _, r := range x.Reasons {
		fmt.Fprintf(w, "  policy %s: %s\n", printable(r.Policy), printable(oneLine(r.Text)))
	}
	for _, g := range x.Grants[:min(explained, len(x.Grants))] {
		fmt.Fprintf(w, "  grant %s: %s\n", printable(g.ID), printable(oneLine(grantText(g))))
	}
	for _, m := range x.NearMisses[:min(explained, len(x.NearMisses))] {
		fmt.Fprintf(w, "  nearly: %s\n", printable(oneLine(m.Text)))
	}
	if more := max(0, len(x.Grants)-explained) + max(0, len(x.NearMisses)-explained); more > 0 {
		fmt.Fprintf(w, "  and %d more, see --json\n", more)
	}
	for _, r := range x.Ways {
		fmt.Fprintf(w, "  it takes %s: %s\n", printable(r.Policy), printable(oneLine(r.Text)))
	}
}

// whoText says what somebody has.
func whoText(who api.Explained) string {
	text := who.Kind
	if !who.Active {
		text += ", not let in (disabled, or the link is not used yet)"
	}
	text += ", roles " + orElse(strings.Join(who.Roles, " "), "none") + ", groups " + orElse(strings.Join(who.Groups, " "), "none")
	return text + ", " + counted(who.Grants, "grant")
}

// concernedText says what is known of what a question is about; "": nothing.
func concernedText(x api.Explanation) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	add("field", x.On.Field)
	add("element", x.On.Element)
	if x.On.Process != x.ID {
		add("process", x.On.Process)
	}
	add("candidates", strings.Join(x.On.Users, " "))
	add("candidate groups", strings.Join(x.On.Groups, " "))
	add("claimed by", x.On.Assignee)
	return strings.Join(parts, ", ")
}

// grantText says what a grant is for.
func grantText(g api.Grant) string {
	text := g.Right + " on " + g.Process + g.Name
	if g.Instance != "" {
		text += ", instance " + g.Instance
	}
	if g.Where != nil {
		text += ", where " + g.Where.Path + "=" + g.Where.Value
	}
	if g.Task != "" {
		text += ", task " + g.Task
	}
	if len(g.Fields) > 0 {
		text += ", fields " + strings.Join(g.Fields, " ")
	}
	if g.Expires != nil {
		text += ", until " + stamp(*g.Expires)
	}
	return text
}
