package main

import (
	"bufio"
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/underseal/underseal/api"
)

type auditCmd struct {
	List   auditListCmd   `cmd:"" default:"withargs" help:"Search the log, newest first."`
	Export auditExportCmd `cmd:"" help:"Write the audit as lines for another system."`
	Report auditReportCmd `cmd:"" help:"Tell what somebody saw and did."`
}

func (auditCmd) Help() string { return withoutCommand("audit") }

// periodFlags bound a time.
type periodFlags struct {
	From string `help:"From this time on: 2026-11-21T12:30:00Z, or a day, 2026-11-21 (UTC)." placeholder:"TIME"`
	To   string `help:"Before this time." placeholder:"TIME"`
}

// moment returns a time as the API takes it: a day is its first moment.
func moment(text string) string {
	if len(text) == len("2026-11-21") {
		return text + "T00:00:00Z"
	}
	return text
}

// auditFlags narrow what is read.
type auditFlags struct {
	periodFlags
	Kind      string `help:"Of this kind, 'data.shown', or of all kinds that begin so, 'data.'." placeholder:"KIND"`
	Principal string `help:"What this principal did." placeholder:"NAME"`
	Address   string `help:"What came from this network address." placeholder:"ADDRESS"`
	Object    string `help:"What was done to this instance or other object, and who was shown it or refused." placeholder:"ID"`
	Process   string `help:"Steps of instances and definitions of this process." placeholder:"PROCESS"`
	Result    string `help:"How it ended: done, denied or failed." enum:"done,denied,failed," default:"" placeholder:"RESULT"`
}

func (f auditFlags) filter() api.AuditFilter {
	return api.AuditFilter{
		From: moment(f.From), To: moment(f.To), Kind: f.Kind, Principal: f.Principal, Address: f.Address, Object: f.Object, Process: f.Process, Result: f.Result,
	}
}

type auditListCmd struct {
	auditFlags
	OldestFirst bool `help:"Oldest first."`
	pageFlags
	clientFlags
}

func (auditListCmd) Help() string {
	return talksToServer + " An entry is a step of an instance, or of something else that has steps (a definition, an erasure, a signer, the tenant's keys), or what is no step: " +
		"data shown or exported, refusals, API keys. Each is checked before it is listed; underseal evidence --entry proves any of them to a stranger. That you read the audit is an entry, too."
}

func (c *auditListCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	list, err := cl.Audit(ctx, api.AuditQuery{AuditFilter: c.filter(), OldestFirst: c.OldestFirst, Page: c.page()})
	if err != nil {
		return err
	}
	return e.result(list, func(w io.Writer) {
		var rows [][]string
		for _, x := range list.Items {
			rows = append(rows, []string{x.Entry, stamp(x.At), x.Kind, whoActed(x), x.Address, x.Element, aboutText(x)})
		}
		table(w, []string{"ENTRY", "AT", "KIND", "BY", "FROM", "ELEMENT", "ABOUT"}, rows)
		more(w, list.Next)
	})
}

// whoActed names the principal, or says what it was if that cannot be read any more.
func whoActed(x api.AuditEntry) string {
	if x.Principal == "" {
		return "(" + x.Act + ")"
	}
	return x.Principal
}

// aboutText names what an entry is about.
func aboutText(x api.AuditEntry) string {
	var parts []string
	if x.Object != "" {
		parts = append(parts, x.Object+" step "+strconv.FormatUint(x.Step, 10))
	}
	for _, s := range x.Shown {
		parts = append(parts, s.Object+": "+strings.Join(s.Paths, ", "))
	}
	if x.Count > 0 {
		parts = append(parts, strconv.Itoa(x.Count)+" times")
	}
	if x.Erased {
		parts = append(parts, "(erased)")
	}
	return strings.Join(parts, "; ")
}

type auditExportCmd struct {
	auditFlags
	Format string `help:"One entry per line: jsonl (default), ocsf (OCSF 1.1, JSON) or cef." enum:"jsonl,ocsf,cef" default:"jsonl" placeholder:"FORMAT"`
	clientFlags
}

func (auditExportCmd) Help() string {
	return talksToServer + " Writes to the standard output, oldest first, whatever the size. If it ends with an error, what was written is not all. The export is an entry of the log before its first line."
}

func (c *auditExportCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(e.stdout, 64<<10)
	if err := cl.ExportAudit(ctx, api.AuditExportQuery{AuditFilter: c.filter(), Format: c.Format}, out); err != nil {
		return err
	}
	return out.Flush()
}
