package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

type glassCmd struct {
	List    glassListCmd    `cmd:"" default:"withargs" help:"List what waits, counts or ended in the last day."`
	Request glassRequestCmd `cmd:"" help:"Ask for sight of one instance or process."`
	Approve glassApproveCmd `cmd:"" help:"Have one begin that somebody else asked for."`
	End     glassEndCmd     `cmd:"" help:"End one at once, or refuse one that waits."`
}

func (glassCmd) Help() string {
	return withoutCommand("breakglass") + `

When values must be seen and nobody has the grant for it. One person asks, for themselves; an administrator who is somebody else approves. Both must have been who they are for a day (break_glass_settled), so make two administrators before you need them.

    underseal breakglass request --instance ID --for 1h "patient unconscious, ticket 7"    # whoever needs it
    underseal breakglass                                                                   # an administrator looks
    underseal breakglass approve ID --reason "called back"                                 # the hour begins
    underseal breakglass end ID                                                            # either of them
    underseal audit --kind data.revealed                                                   # what was seen by it`
}

type glassListCmd struct{ clientFlags }

func (glassListCmd) Help() string {
	return talksToServer + " Administrators and auditors see all, others their own. What was shown by one: underseal audit --kind data.revealed."
}

func (c *glassListCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.BreakGlasses, error) { return cl.BreakGlasses(ctx) }, func(w io.Writer, list api.BreakGlasses) {
		writeBreakGlasses(w, list.Items)
	})
}

func writeBreakGlass(w io.Writer, b api.BreakGlass) { writeBreakGlasses(w, []api.BreakGlass{b}) }

func writeBreakGlasses(w io.Writer, items []api.BreakGlass) {
	var rows [][]string
	for _, b := range items {
		on := "process " + b.Process
		if b.Instance != "" {
			on = "instance " + b.Instance
		}
		lasts := time.Duration(b.LastsMS) * time.Millisecond
		rows = append(rows, []string{b.ID, b.State, b.By, on, spanText(lasts), cmp.Or(b.Ender, b.Approver), stamp(b.Expires), oneLine(b.Reason)})
	}
	table(w, []string{"BREAK-GLASS", "STATE", "FOR", "ON", "LASTS", "LAST BY", "UNTIL", "REASON"}, rows)
}

type glassRequestCmd struct {
	Instance string `help:"Id of the instance." placeholder:"ID" xor:"on" required:""`
	Process  string `help:"Id of the process: all of its instances." placeholder:"ID" xor:"on" required:""`
	For      string `help:"How long, from the approval on: 30m, 4h (default: ${default})." default:"1h" placeholder:"SPAN"`
	Reason   string `arg:"" help:"What has happened, in one line. It is in the log for good, with all that you are shown."`
	clientFlags
}

func (glassRequestCmd) Help() string {
	return talksToServer + " For an emergency in which nobody has the grant that is needed: once somebody else has approved it, you see that instance, or all of that process, in clear until the time is over. You can change nothing by it, and what was erased stays erased. Each answer is in the log before you have it, with your reason, and others are told."
}

func (c *glassRequestCmd) Run(ctx context.Context, e *env) error {
	lasts, err := parseSpan(c.For)
	if err != nil {
		return err
	}
	in := api.BreakGlassRequest{Instance: c.Instance, Process: c.Process, Reason: c.Reason, LastsMS: int(lasts / time.Millisecond)}
	return ask(e, func(cl *client.Client) (api.BreakGlass, error) { return cl.RequestBreakGlass(ctx, in) }, func(w io.Writer, b api.BreakGlass) {
		writeBreakGlass(w, b)
		fmt.Fprintf(w, "nothing is shown by it yet: an administrator who is somebody else approves it\n  underseal breakglass approve %s\n", printable(b.ID))
	})
}

type glassApproveCmd struct {
	ID string `arg:"" help:"Id of the break-glass; underseal breakglass lists them."`
	reasonFlags
}

func (glassApproveCmd) Help() string {
	return talksToServer + " It takes an administrator who is somebody else than who asked, and of both nothing that lets them in, nor a role, may have changed lately (break_glass_settled, a day). Its time begins now."
}

func (c *glassApproveCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.BreakGlass, error) { return cl.ApproveBreakGlass(ctx, c.ID, c.Reason) }, writeBreakGlass)
}

type glassEndCmd struct {
	ID string `arg:"" help:"Id of the break-glass."`
	reasonFlags
}

func (glassEndCmd) Help() string {
	return talksToServer + " Who it is for can, who approved it, and every administrator. It counts for the next request, and for a download under way."
}

func (c *glassEndCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.BreakGlass, error) { return cl.EndBreakGlass(ctx, c.ID, c.Reason) }, writeBreakGlass)
}
