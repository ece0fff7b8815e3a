package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

type grantsCmd struct {
	List   grantsListCmd   `cmd:"" default:"withargs" help:"List grants."`
	Give   grantsGiveCmd   `cmd:"" help:"Give a grant to somebody or to a group."`
	Revoke grantsRevokeCmd `cmd:"" help:"End a grant, at once."`
}

func (grantsCmd) Help() string {
	return withoutCommand("grants") + `

A grant gives one right on something, to somebody or to the members of a group: view, start, work, manage or design a process; read or reveal fields of it; use a secret or connector. Nobody sees sensitive values by a role: reveal shows them, for a purpose that is in the log.

    underseal grants give view loan --group clerks                       # all instances, values masked
    underseal grants give view loan --group clerks --where branch=B1     # those whose searchable field branch is B1
    underseal grants give work loan --user zoe --task decide             # one task
    underseal grants give reveal loan --user zoe --field applicant.ssn   # underseal instances show ID --purpose TEXT
    underseal explain zoe instance:read ID                               # what it comes to`
}

// holderFlags say to whom a grant is given.
type holderFlags struct {
	User  string `help:"To this person or program." placeholder:"NAME"`
	Group string `help:"To the members of this group." placeholder:"NAME"`
}

type grantsListCmd struct {
	holderFlags
	pageFlags
	clientFlags
}

func (grantsListCmd) Help() string { return talksToServer + " Also those that are expired." }

func (c *grantsListCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Grants, error) {
		return cl.Grants(ctx, api.GrantsQuery{Page: c.page(), User: c.User, Group: c.Group})
	}, func(w io.Writer, list api.Grants) {
		writeGrants(w, list.Items)
		more(w, list.Next)
	})
}

func writeGrants(w io.Writer, grants []api.Grant) {
	var rows [][]string
	for _, g := range grants {
		to := g.User
		if g.Group != "" {
			to = "group " + g.Group
		}
		where := ""
		if g.Where != nil {
			where = oneLine(g.Where.Path + "=" + g.Where.Value)
		}
		rows = append(rows, []string{g.ID, to, g.Right, cmp.Or(g.Process, g.Name), cmp.Or(where, g.Task, strings.Join(g.Fields, " ")), oneLine(g.Purpose), stampOf(g.Expires)})
	}
	table(w, []string{"GRANT", "TO", "RIGHT", "ON", "OF IT", "PURPOSE", "EXPIRES"}, rows)
}

type grantsGiveCmd struct {
	holderFlags
	Right   string   `arg:"" help:"view, start, work, manage, design, read, reveal or use."`
	On      string   `arg:"" help:"Id of the process, or * for all; with use, name of the secret or connector."`
	Where   string   `help:"With view and manage: instances whose searchable field has a value." placeholder:"PATH=VALUE"`
	Task    string   `help:"With work: id of the task's element." placeholder:"ELEMENT"`
	Field   []string `help:"With read and reveal: path of a field, or * for all; can be repeated." placeholder:"PATH"`
	Purpose string   `help:"With reveal: counts as the purpose of each request." placeholder:"TEXT"`
	Expires string   `help:"When it ends: 2031-01-31T12:00:00Z, a day (UTC), or a span from now on, 90d." placeholder:"TIME"`
	reasonFlags
}

func (grantsGiveCmd) Help() string {
	return talksToServer + ` Gives one of these rights; the role Executor or Viewer gives some of them on all processes.

view: see instances and tasks, sensitive values masked. start: start it. work: do its tasks without being a candidate, work its jobs. manage: cancel, change variables, retry incidents. design: deploy new versions, set the mode. read: see these fields alone. reveal: see these fields in clear, saying what for. use: a secret or connector.

It is given also for what is deployed later; of what nothing fits that is deployed now, and may be misspelled, there is a note. underseal explain says what it came to.`
}

func (c *grantsGiveCmd) Run(ctx context.Context, e *env) error {
	in := api.GrantRequest{
		User: c.User, Group: c.Group, Right: c.Right, Process: c.On, Task: c.Task, Fields: c.Field, Purpose: c.Purpose, Reason: c.Reason,
	}
	if c.Right == "use" {
		in.Process, in.Name = "", c.On
	}
	if c.Where != "" {
		path, value, ok := strings.Cut(c.Where, "=")
		if !ok {
			return fault.New(fault.Invalid, "--where %q is not of the form PATH=VALUE", c.Where)
		}
		in.Where = &api.Where{Path: path, Value: value}
	}
	var err error
	if in.Expires, err = timeFlag("--expires", c.Expires); err != nil {
		return err
	}
	return ask(e, func(cl *client.Client) (api.GivenGrant, error) {
		g, err := cl.GiveGrant(ctx, in)
		e.notes(g.Notes)
		return g, err
	}, func(w io.Writer, g api.GivenGrant) { writeGrant(w, g.Grant) })
}

func writeGrant(w io.Writer, g api.Grant) { writeGrants(w, []api.Grant{g}) }

// timeFlag reads a time to come that an option gives; "" is none.
func timeFlag(option, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	if span, err := parseSpan(text); err == nil && span > 0 {
		at := time.Now().Add(span)
		return &at, nil
	}
	at, err := time.Parse(time.RFC3339, moment(text))
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s %q is no time such as 2031-01-31T12:00:00Z, 2031-01-31 or 90d", option, text)
	}
	return &at, nil
}

type grantsRevokeCmd struct {
	Grant string `arg:"" help:"Id of the grant."`
	reasonFlags
}

func (grantsRevokeCmd) Help() string { return talksToServer }

func (c *grantsRevokeCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Grant, error) { return cl.RevokeGrant(ctx, c.Grant, c.Reason) }, func(w io.Writer, g api.Grant) {
		fmt.Fprintln(w, "revoked:")
		writeGrant(w, g)
	})
}
