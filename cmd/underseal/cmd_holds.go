package main

import (
	"context"
	"io"

	"github.com/underseal/underseal/api"
)

type holdsCmd struct {
	List    holdsListCmd    `cmd:"" default:"withargs" help:"List the holds in force."`
	Place   holdsPlaceCmd   `cmd:"" help:"Keep an instance or a person from being erased."`
	Release holdsReleaseCmd `cmd:"" help:"Take one hold away."`
}

func (holdsCmd) Help() string {
	return withoutCommand("holds") + `

    underseal holds place instance ID --reason "case 7 O 12/26"
    underseal holds release HOLD`
}

type holdsListCmd struct {
	pageFlags
	clientFlags
}

func (holdsListCmd) Help() string { return talksToServer }

func (c *holdsListCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	list, err := cl.Holds(ctx, c.page())
	if err != nil {
		return err
	}
	return e.result(list, func(w io.Writer) {
		var rows [][]string
		for _, h := range list.Items {
			rows = append(rows, []string{h.ID, h.Kind, h.Instance, h.By, stamp(h.At), oneLine(h.Reason)})
		}
		table(w, []string{"HOLD", "ON", "INSTANCE", "BY", "SINCE", "REASON"}, rows)
		more(w, list.Next)
	})
}

type holdsPlaceCmd struct {
	Instance holdsPlaceInstanceCmd `cmd:"" help:"On an instance, with what it has of persons: they cannot be erased meanwhile either."`
	Subject  holdsPlaceSubjectCmd  `cmd:"" help:"On a person, also one who is not known yet, with the instances that are about them now."`
}

// holdFlags are the options of a hold.
type holdFlags struct {
	Reason string `help:"Why; kept sealed." placeholder:"TEXT"`
	clientFlags
}

type holdsPlaceInstanceCmd struct {
	Instance string `arg:"" help:"Id of the instance."`
	holdFlags
}

func (holdsPlaceInstanceCmd) Help() string { return talksToServer }

func (c *holdsPlaceInstanceCmd) Run(ctx context.Context, e *env) error {
	return c.place(ctx, e, api.ErasureTarget{Kind: "instance", ID: c.Instance})
}

type holdsPlaceSubjectCmd struct {
	subjectArg
	holdFlags
}

func (holdsPlaceSubjectCmd) Help() string { return talksToServer }

func (c *holdsPlaceSubjectCmd) Run(ctx context.Context, e *env) error {
	target, err := c.target(e)
	if err != nil {
		return err
	}
	return c.place(ctx, e, target)
}

func (c *holdFlags) place(ctx context.Context, e *env, target api.ErasureTarget) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	hold, err := cl.PlaceHold(ctx, api.HoldRequest{Kind: target.Kind, ID: target.ID, Reason: c.Reason})
	if err != nil {
		return err
	}
	return e.result(hold, func(w io.Writer) { writeHold(w, hold) })
}

func writeHold(w io.Writer, h api.Hold) {
	pairs(w, "hold", h.ID, "on a", h.Kind, "instance", h.Instance, "by", h.By, "since", stamp(h.At), "reason", h.Reason)
}

type holdsReleaseCmd struct {
	Hold string `arg:"" help:"Id of the hold."`
	clientFlags
}

func (holdsReleaseCmd) Help() string { return talksToServer }

func (c *holdsReleaseCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	hold, err := cl.ReleaseHold(ctx, c.Hold)
	if err != nil {
		return err
	}
	return e.result(hold, func(w io.Writer) { writeHold(w, hold) })
}
