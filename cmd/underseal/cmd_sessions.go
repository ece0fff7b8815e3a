package main

import (
	"context"
	"io"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

type sessionsCmd struct {
	List   sessionsListCmd   `cmd:"" default:"withargs" help:"List where people are signed in."`
	Revoke sessionsRevokeCmd `cmd:"" help:"End a session, all of somebody, or all of the company, at once."`
}

func (sessionsCmd) Help() string {
	return withoutCommand("sessions") + `

Who signs in (underseal login) has a session: an hour unused, twelve at most (session_idle, session_age).

    underseal sessions --user zoe
    underseal sessions revoke --user zoe       # all of hers; her API keys stay
    underseal revoke sessions                  # everybody's in your company`
}

type sessionsListCmd struct {
	User string `help:"Of this person; everybody may see their own." placeholder:"NAME"`
	pageFlags
	clientFlags
}

func (sessionsListCmd) Help() string { return talksToServer }

func (c *sessionsListCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Sessions, error) {
		return cl.Sessions(ctx, api.SessionsQuery{Page: c.page(), User: c.User})
	}, func(w io.Writer, list api.Sessions) {
		var rows [][]string
		for _, s := range list.Items {
			rows = append(rows, []string{s.ID, s.User, oneLine(s.How), s.Address, stamp(s.Made), stamp(s.Used), stamp(s.Idle), stamp(s.Expires)})
		}
		table(w, []string{"SESSION", "USER", "BY", "FROM", "BEGUN", "USED", "ENDS UNUSED", "ENDS"}, rows)
		more(w, list.Next)
	})
}

func writeSession(w io.Writer, s api.Session) {
	pairs(w, "session", s.ID, "user", s.User, "by", oneLine(s.How), "from", s.Address, "begun", stamp(s.Made), "used", stamp(s.Used), "ends", stamp(s.Expires))
}

type sessionsRevokeCmd struct {
	Session string `arg:"" optional:"" help:"Id of the session."`
	User    string `xor:"what" help:"All of this person." placeholder:"NAME"`
	All     bool   `xor:"what" help:"All of your company."`
	reasonFlags
}

func (sessionsRevokeCmd) Help() string {
	return talksToServer + " Counts for the next request, and for calls that wait. API keys stay."
}

func (c *sessionsRevokeCmd) Run(ctx context.Context, e *env) error {
	switch {
	case (c.Session == "") == (c.User == "" && !c.All): // never more than was meant
		return &usage{text: "say one of these: a session, --user NAME or --all"}
	case c.User != "":
		return ask(e, func(cl *client.Client) (api.User, error) { return cl.EndUserSessions(ctx, c.User, c.Reason) }, writeUser)
	case c.All:
		return ask(e, func(cl *client.Client) (api.Tenant, error) { return cl.EndAllSessions(ctx, c.Reason) }, func(w io.Writer, t api.Tenant) { pairs(w, "tenant", t.Name) })
	}
	return ask(e, func(cl *client.Client) (api.Session, error) { return cl.RevokeSession(ctx, c.Session) }, writeSession)
}

type passwordCmd struct {
	Old string `help:"The one that there is: file:PATH or env:NAME. You are asked for it if it is left out." placeholder:"REFERENCE"`
	New string `help:"The new one: file:PATH or env:NAME; 15 characters or more. You are asked for it, twice, if it is left out." placeholder:"REFERENCE"`
	clientFlags
}

func (passwordCmd) Help() string {
	return talksToServer + " Ends all your sessions; if you are signed in by underseal login, you stay signed in, by another."
}

// passwords returns the password that there is and the next one. A person is asked for
// those that no option names.
func (c *passwordCmd) passwords(ctx context.Context, e *env) (before, next string, err error) {
	asks := e.asksPerson()
	if c.New == "" && !asks {
		return "", "", &usage{text: "missing flags: --new=REFERENCE"}
	}
	if c.Old == "" && asks {
		before, err = e.askedSecret(ctx, "your password: ")
	} else {
		before, err = optionalSecret("--old", c.Old) // none: who has no password yet is told how to get one
	}
	if err != nil {
		return "", "", err
	}
	if c.New != "" {
		next, err = secretText("--new", c.New)
		return before, next, err
	}
	if next, err = e.askedSecret(ctx, "the new one, 15 characters or more: "); err != nil {
		return "", "", err
	}
	again, err := e.askedSecret(ctx, "the new one again: ")
	if err == nil && again != next {
		err = fault.New(fault.Invalid, "what you typed is not twice the same; the password is as it was")
	}
	return before, next, err
}

// passwordSet says what came of a new password.
type passwordSet struct {
	Session *api.Session `json:"session,omitempty"`
}

func (c *passwordCmd) Run(ctx context.Context, e *env) error {
	before, next, err := c.passwords(ctx, e)
	if err != nil {
		return err
	}
	cl, err := e.connect()
	if err != nil {
		return err
	}
	set, err := cl.SetPassword(ctx, api.PasswordRequest{Old: before, New: next})
	if err != nil {
		return err
	}
	var out passwordSet
	if set.Session != nil {
		out.Session = &set.Session.Session
		next := *e.login
		next.Session = set.Session.Text
		if err := writeLogin(next); err != nil {
			return err
		}
	}
	return e.result(out, func(w io.Writer) {
		if out.Session != nil {
			writeSession(w, *out.Session)
		}
	})
}
