package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

type eraseCmd struct {
	Instance eraseInstanceCmd `cmd:"" help:"Destroy the key of an instance: none of its data can be read again."`
	Subject  eraseSubjectCmd  `cmd:"" help:"Destroy the keys of a person: nothing about them can be read again, in any instance."`
	List     eraseListCmd     `cmd:"" help:"List what was ordered to be erased."`
	Cancel   eraseCancelCmd   `cmd:"" help:"Take an order back before it is due."`
	Receipt  eraseReceiptCmd  `cmd:"" help:"Show what an erasure did, and from when on nothing of it can be read."`
	Verify   eraseVerifyCmd   `cmd:"" help:"Try to read what was erased. Exit code 16 if anything can be."`
}

// eraseFlags are the options of an order.
type eraseFlags struct {
	DryRun bool   `help:"Only say what would go, and what holds it; of a person, with --purpose."`
	Reason string `help:"Why; kept sealed with the order." placeholder:"TEXT"`
	Delay  string `help:"How long it can be canceled, such as 7d, 12h or 0 (default: as the server is set)." placeholder:"TIME"`
	Yes    bool   `help:"Do it. Once it is due, nothing brings the data back."`
	clientFlags
}

type eraseInstanceCmd struct {
	Instance string `arg:"" help:"Id of the instance."`
	eraseFlags
}

func (eraseCmd) Help() string {
	return `What was erased cannot be read again, from backups neither once the receipt's second date has come. An order waits (erasure_delay, 7 days) and can be canceled until then.

    underseal erase subject C-10423 --dry-run --purpose "asked for on 4 May"    # what would go
    underseal erase subject C-10423 --reason "asked for on 4 May" --yes         # answers with the erasure's id
    underseal erase cancel ERASURE
    underseal erase receipt ERASURE --json
    underseal erase verify ERASURE`
}

func (eraseInstanceCmd) Help() string { return talksToServer }

func (c *eraseInstanceCmd) Run(ctx context.Context, e *env) error {
	return c.run(ctx, e, api.ErasureTarget{Kind: "instance", ID: c.Instance}, purposeFlag{})
}

// subjectArg names a person, in a file where the id must not be seen by others who
// list processes.
type subjectArg struct {
	ID     string `arg:"" optional:"" help:"What the processes' naming field holds, such as the value of applicant.id."`
	IDFile string `help:"Read the id from a file instead (-: stdin), so that others on this machine do not see it." placeholder:"FILE"`
}

func (c *subjectArg) target(e *env) (api.ErasureTarget, error) {
	if (c.ID == "") == (c.IDFile == "") {
		return api.ErasureTarget{}, &usage{text: "name the person by an id or by --id-file, and not by both"}
	}
	id := c.ID
	if c.IDFile != "" {
		data, err := e.readInput(c.IDFile)
		if err != nil {
			return api.ErasureTarget{}, err
		}
		id = strings.TrimRight(string(data), "\r\n")
	}
	return api.ErasureTarget{Kind: "subject", ID: id}, nil
}

type eraseSubjectCmd struct {
	subjectArg
	eraseFlags
	purposeFlag
}

func (eraseSubjectCmd) Help() string { return talksToServer }

func (c *eraseSubjectCmd) Run(ctx context.Context, e *env) error {
	target, err := c.target(e)
	if err != nil {
		return err
	}
	return c.run(ctx, e, target, c.purposeFlag)
}

func (c *eraseFlags) run(ctx context.Context, e *env, target api.ErasureTarget, why purposeFlag) error {
	cl, err := e.connectFor(why)
	if err != nil {
		return err
	}
	if c.DryRun {
		p, err := cl.PreviewErasure(ctx, target)
		if err != nil {
			return err
		}
		return e.result(p, func(w io.Writer) { writePreview(w, p) })
	}
	if !c.Yes {
		return fault.New(fault.Invalid, "erasing cannot be undone once it is due").WithCode("not_confirmed").
			WithHint("see what would go with --dry-run, then repeat the command with --yes")
	}
	order := api.ErasureRequest{Kind: target.Kind, ID: target.ID, Reason: c.Reason}
	if c.Delay != "" {
		delay, err := parseSpan(c.Delay)
		if err != nil {
			return fault.New(fault.Invalid, "--delay: %w", err)
		}
		ms := int(delay.Milliseconds())
		order.DelayMS = &ms
	}
	erasure, err := cl.OrderErasure(ctx, order)
	if err != nil {
		return err
	}
	return e.result(erasure, func(w io.Writer) { writeErasure(w, erasure) })
}

func writePreview(w io.Writer, p api.ErasurePreview) {
	pairs(w, "erasure", p.ID, "of a", p.Kind, "state", p.State, "keys", strconv.Itoa(p.Keys),
		"instances", fmt.Sprintf("%d, %d of them running", p.Instances, p.Running), "fields", strconv.Itoa(p.Fields), "files", strconv.Itoa(p.Files),
		"index tokens", strconv.Itoa(p.Tokens), "waiting", fmt.Sprintf("%s, %s, %s, %s",
			counted(p.Tasks, "task"), counted(p.Jobs, "job"), counted(p.Timers, "timer"), counted(p.Incidents, "incident")))
	for _, id := range p.Sample {
		pairs(w, "instance", id)
	}
	for _, h := range p.Holds {
		pairs(w, "held by", fmt.Sprintf("%s since %s (%s) %s", h.By, stamp(h.At), h.ID, h.Reason))
	}
}

func writeErasure(w io.Writer, r api.Erasure) {
	due := stamp(r.Due)
	if r.State != "pending" {
		due = ""
	}
	pairs(w, "erasure", r.ID, "of a", r.Kind, "instance", r.Instance, "state", r.State, "ordered by", r.By,
		"ordered", stamp(r.Ordered), "due", due, "completed", stampOf(r.Completed), "reason", r.Reason)
}

type eraseListCmd struct {
	pageFlags
	clientFlags
}

func (eraseListCmd) Help() string { return talksToServer }

func (c *eraseListCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	list, err := cl.Erasures(ctx, c.page())
	if err != nil {
		return err
	}
	return e.result(list, func(w io.Writer) {
		var rows [][]string
		for _, r := range list.Items {
			rows = append(rows, []string{r.ID, r.Kind, r.Instance, r.State, stamp(r.Due), stampOf(r.Completed), r.By, strconv.Itoa(r.Holds), oneLine(r.Reason)})
		}
		table(w, []string{"ERASURE", "OF", "INSTANCE", "STATE", "DUE", "COMPLETED", "BY", "HOLDS", "REASON"}, rows)
		more(w, list.Next)
		if list.Note != "" {
			fmt.Fprintf(w, "the last end of an epoch: %s\n", printable(list.Note))
		}
	})
}

type erasureArg struct {
	Erasure string `arg:"" help:"Id of the erasure."`
	clientFlags
}

type eraseCancelCmd struct{ erasureArg }

func (eraseCancelCmd) Help() string { return talksToServer }

func (c *eraseCancelCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	erasure, err := cl.CancelErasure(ctx, c.Erasure)
	if err != nil {
		return err
	}
	return e.result(erasure, func(w io.Writer) { writeErasure(w, erasure) })
}

type eraseReceiptCmd struct{ erasureArg }

func (eraseReceiptCmd) Help() string { return talksToServer }

func (c *eraseReceiptCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	r, err := cl.ErasureReceipt(ctx, c.Erasure)
	if err != nil {
		return err
	}
	return e.result(r, func(w io.Writer) {
		writeErasure(w, r.Erasure)
		pairs(w, "keys destroyed", strconv.Itoa(len(r.Keys)), "instances", strconv.Itoa(r.Instances), "index tokens deleted", strconv.Itoa(r.Tokens), "files deleted", strconv.Itoa(r.Files),
			"unreadable here from", stampOf(r.UnreadableFrom), "unreadable everywhere from", stampOf(r.EverywhereFrom),
			"old keys destroyed", stampOf(r.EpochEnded), "note", r.Note)
		var rows [][]string
		for _, s := range r.Steps {
			rows = append(rows, []string{strconv.FormatUint(s.Seq, 10), stamp(s.At), s.Event, s.Actor, s.Leaf})
		}
		table(w, []string{"STEP", "AT", "EVENT", "BY", "LEAF"}, rows)
	})
}

type eraseVerifyCmd struct{ erasureArg }

func (eraseVerifyCmd) Help() string {
	return talksToServer + " It looks at every sealed field of the tenant, part after part, and tells how far it is on stderr."
}

func (c *eraseVerifyCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	sum, err := c.verify(ctx, e, cl)
	if err != nil {
		return err
	}
	err = e.result(sum, func(w io.Writer) {
		fmt.Fprintf(w, "%s looked at, %d erased, %d can be read\n", counted(sum.Fields, "sealed field"), sum.Erased, len(sum.Findings))
		for _, finding := range sum.Findings {
			fmt.Fprintln(w, printable(finding))
		}
	})
	if err == nil && len(sum.Findings) > 0 {
		err = fault.New(fault.Integrity, "what was erased can be read: %s", counted(len(sum.Findings), "finding")).WithCode("readable").
			WithHint("restart the server, which erases again what was put back, and verify again")
	}
	return err
}

func (c *eraseVerifyCmd) verify(ctx context.Context, e *env, cl *client.Client) (api.ErasureCheck, error) {
	var sum api.ErasureCheck
	for shown := time.Now(); ; {
		part, err := cl.VerifyErasure(ctx, c.Erasure, sum.Next)
		if err != nil {
			return sum, err
		}
		sum.Fields, sum.Erased, sum.Leaves = sum.Fields+part.Fields, sum.Erased+part.Erased, sum.Leaves+part.Leaves
		sum.Findings, sum.Next = append(sum.Findings, part.Findings...), part.Next
		if sum.Next == "" {
			return sum, nil
		}
		if time.Since(shown) > time.Second {
			shown = time.Now()
			fmt.Fprintf(e.stderr, "%d sealed fields looked at\n", sum.Fields)
		}
	}
}

// parseSpan reads a time span: a number of days such as 7d, what Go writes, or 0.
func parseSpan(text string) (time.Duration, error) {
	var span time.Duration
	days, isDays := strings.CutSuffix(text, "d")
	n, err := strconv.ParseUint(days, 10, 16)
	switch {
	case isDays && err == nil:
		span = time.Duration(n) * 24 * time.Hour
	case text == "0":
	default:
		span, err = time.ParseDuration(text)
		if err != nil || span < 0 {
			return 0, fault.New(fault.Invalid, "%q is no time span such as 7d, 12h or 0", text)
		}
	}
	return span, nil
}
