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

type groupsCmd struct {
	List   groupsListCmd   `cmd:"" default:"withargs" help:"List groups."`
	Show   groupsShowCmd   `cmd:"" help:"Show a group and who is in it."`
	Create groupsCreateCmd `cmd:"" help:"Make a group."`
	Delete groupsDeleteCmd `cmd:"" help:"Delete a group that nobody is in."`
	Give   groupsGiveCmd   `cmd:"" help:"Give the members of a group a role."`
	Take   groupsTakeCmd   `cmd:"" help:"Take a role that a group gives."`
}

func (groupsCmd) Help() string {
	return withoutCommand("groups") + `

Whoever is in a group has its roles and grants, and does the tasks that name it as a candidate.

    underseal groups create clerks --role Executor
    underseal users join zoe clerks
    underseal groups show clerks                  # who is in it
    underseal grants give view loan --group clerks`
}

type groupsListCmd struct {
	pageFlags
	clientFlags
}

func (groupsListCmd) Help() string { return talksToServer }

func (c *groupsListCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Groups, error) { return cl.Groups(ctx, c.page()) }, func(w io.Writer, list api.Groups) {
		var rows [][]string
		for _, g := range list.Items {
			rows = append(rows, []string{g.Name, strings.Join(g.Roles, " "), oneLine(g.Display)})
		}
		table(w, []string{"NAME", "ROLES", "DISPLAY"}, rows)
		more(w, list.Next)
	})
}

type groupsShowCmd struct {
	Name string `arg:"" help:"Name of the group."`
	clientFlags
}

func (groupsShowCmd) Help() string { return talksToServer + " Asks for all groups and all people." }

// groupMembers is what --json prints.
type groupMembers struct {
	api.Group
	Members []string `json:"members"`
}

func (c *groupsShowCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (groupMembers, error) { return c.members(ctx, cl) }, func(w io.Writer, g groupMembers) {
		writeGroup(w, g.Group, "members", orElse(strings.Join(g.Members, " "), "none"))
	})
}

func (c *groupsShowCmd) members(ctx context.Context, cl *client.Client) (out groupMembers, err error) {
	out.Members = []string{}
	for page := (api.Page{Limit: 1000}); ; {
		list, err := cl.Groups(ctx, page)
		if err != nil {
			return out, err
		}
		if i := slices.IndexFunc(list.Items, func(g api.Group) bool { return g.Name == c.Name }); i >= 0 {
			out.Group = list.Items[i]
			break
		}
		if page.After = list.Next; list.Next == "" {
			return out, fault.New(fault.NotFound, "no group %q", c.Name).WithHint("`underseal groups` lists what you may see")
		}
	}
	for page := (api.Page{Limit: 1000}); ; {
		list, err := cl.Users(ctx, page)
		if err != nil {
			return out, err
		}
		for _, u := range list.Items {
			if slices.Contains(u.Groups, c.Name) {
				out.Members = append(out.Members, u.Name)
			}
		}
		if page.After = list.Next; list.Next == "" {
			return out, nil
		}
	}
}

func writeGroup(w io.Writer, g api.Group, more ...string) {
	pairs(w, append([]string{"name", g.Name, "roles", strings.Join(g.Roles, " "), "display", oneLine(g.Display)}, more...)...)
}

func showGroup(w io.Writer, g api.Group) { writeGroup(w, g) }

type groupsCreateCmd struct {
	Name    string   `arg:"" help:"Name, of a-z, 0-9 and ._@-."`
	Role    []string `help:"Role that its members have: Admin, Designer, Executor, Viewer, Auditor or Operator; can be repeated." placeholder:"ROLE"`
	Display string   `help:"How people know it." placeholder:"TEXT"`
	reasonFlags
}

func (groupsCreateCmd) Help() string { return talksToServer }

func (c *groupsCreateCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Group, error) {
		return cl.CreateGroup(ctx, api.GroupRequest{Name: c.Name, Display: c.Display, Roles: c.Role, Reason: c.Reason})
	}, showGroup)
}

type groupsDeleteCmd struct {
	Name string `arg:"" help:"Name of the group."`
	reasonFlags
}

func (groupsDeleteCmd) Help() string { return talksToServer }

func (c *groupsDeleteCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Group, error) { return cl.DeleteGroup(ctx, c.Name, c.Reason) }, showGroup)
}

type groupsGiveCmd struct{ roleArgs }

func (groupsGiveCmd) Help() string { return talksToServer }

func (c *groupsGiveCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Group, error) { return cl.GiveGroupRole(ctx, c.Name, c.request()) }, showGroup)
}

type groupsTakeCmd struct{ roleArgs }

func (groupsTakeCmd) Help() string { return talksToServer }

func (c *groupsTakeCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Group, error) { return cl.TakeGroupRole(ctx, c.Name, c.request()) }, showGroup)
}
