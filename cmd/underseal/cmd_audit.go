package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
)

type auditCmd struct {
	List   auditListCmd   `cmd:"" default:"withargs" help:"Search the log, newest first."`
	Export auditExportCmd `cmd:"" help:"Write the audit as lines for another system."`
	Report auditReportCmd `cmd:"" help:"Tell what somebody saw and did."`
}

func (auditCmd) Help() string {
	return withoutCommand("audit") + `

    underseal audit --principal ann --from 2026-11-01 --to 2026-12-01    # what ann did
    underseal audit --about ann                                          # what was done to ann
    underseal audit --object INSTANCE --kind data.                       # who was shown this instance
    underseal audit --result denied --from 24h                           # what was refused since yesterday
    underseal audit export --format ocsf --from 2026-11-01 > november.ndjson
    underseal audit report ann                                           # what ann saw, did and was refused
    underseal evidence --entry LOG/NUMBER                                # a file that proves an entry`
}

// periodFlags bound a time.
type periodFlags struct {
	From string `help:"From this time on: 2026-11-21T12:30:00Z, a day, 2026-11-21 (UTC), or a span before now, 24h or 7d." placeholder:"TIME"`
	To   string `help:"Before this time, alike." placeholder:"TIME"`
}

// moment returns a time as the API takes it: a day is its first moment.
func moment(text string) string {
	if len(text) == len("2026-11-21") {
		return text + "T00:00:00Z"
	}
	return text
}

// bound is moment for a time that is over: a span is that long before now.
func bound(text string) string {
	if span, err := parseSpan(text); err == nil && span > 0 {
		return time.Now().Add(-span).UTC().Format(time.RFC3339)
	}
	return moment(text)
}

// auditFlags narrow what is read.
type auditFlags struct {
	periodFlags
	Kind      string `help:"Of this kind, 'data.shown', or of all kinds that begin so, 'data.'." placeholder:"KIND"`
	Principal string `help:"What this principal did." placeholder:"NAME"`
	Address   string `help:"What came from this network address." placeholder:"ADDRESS"`
	About     string `help:"What was done to this user or program: roles, grants, keys, sessions, and refusals of it." placeholder:"NAME"`
	Object    string `help:"What was done to this instance or other object, and who was shown it or refused." placeholder:"ID"`
	Process   string `help:"Steps of instances and definitions of this process." placeholder:"PROCESS"`
	Result    string `help:"How it ended: done, denied or failed." enum:"done,denied,failed," default:"" placeholder:"RESULT"`
}

// check refuses what nothing in the log can be, so that it is not taken for an answer.
func (f auditFlags) check() error {
	if strings.HasSuffix(f.Kind, "*") || f.Kind != "" && !strings.Contains(f.Kind, ".") {
		return fault.New(fault.Invalid, "--kind %q is neither a kind, such as data.shown, nor a family with a point at the end, such as data.", f.Kind)
	}
	if f.Address != "" {
		if _, err := netip.ParseAddr(f.Address); err != nil {
			return fault.New(fault.Invalid, "--address %q is no network address, such as 192.0.2.9", f.Address)
		}
	}
	return nil
}

func (f auditFlags) filter() api.AuditFilter {
	return api.AuditFilter{
		From: bound(f.From), To: bound(f.To), Kind: f.Kind, Principal: f.Principal, Address: f.Address, About: f.About, Object: f.Object, Process: f.Process, Result: f.Result,
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
	if err := c.check(); err != nil {
		return err
	}
	cl, err := e.connect()
	if err != nil {
		return err
	}
	list, err := cl.Audit(ctx, api.AuditQuery{AuditFilter: c.filter(), OldestFirst: c.OldestFirst, Page: c.page()})
	if err != nil {
		return err
	}
	if filter := c.filter(); len(list.Items) == 0 && list.Next == "" && filter != (api.AuditFilter{}) {
		e.note("nothing in the log fits; names, ids and kinds are not looked up, so see that they are spelled right")
	}
	return e.result(list, func(w io.Writer) {
		var rows [][]string
		for _, x := range list.Items {
			rows = append(rows, []string{x.Entry, stamp(x.At), x.Kind, whoActed(x), x.Address, x.Element, oneLine(auditText(x, longestDetail))})
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
		whose := x.Object
		if x.Name != "" {
			whose = x.Name + " (" + x.Object + ")"
		}
		parts = append(parts, whose+" step "+strconv.FormatUint(x.Step, 10))
	}
	for _, s := range x.Shown {
		parts = append(parts, s.Object+": "+strings.Join(s.Paths, ", "))
	}
	if x.Count > 0 {
		parts = append(parts, counted(x.Count, "time"))
	}
	if x.Erased {
		parts = append(parts, "(erased)")
	}
	return strings.Join(parts, "; ")
}

// longestDetail is how much of a detail a table shows, in characters; --json has all of it.
const longestDetail = 160

// auditText is aboutText with the details, each cut to so many characters, the purpose and
// the reason.
func auditText(x api.AuditEntry, longest int) string {
	parts := []string{aboutText(x)}
	for _, detail := range detailTexts(x.Details) {
		if letters := []rune(detail); len(letters) > longest {
			detail = string(letters[:longest]) + " .."
		}
		parts = append(parts, detail)
	}
	for _, why := range []string{x.Purpose, x.Reason} {
		if why != "" {
			parts = append(parts, strconv.Quote(why))
		}
	}
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), "; ")
}

// detailTexts say what is known of the details of an entry, and the rest by name.
func detailTexts(raw json.RawMessage) (parts []string) {
	var details map[string]json.RawMessage
	if len(raw) == 0 || json.Unmarshal(raw, &details) != nil {
		return []string{string(raw)}
	}
	var actions []string
	var resource string
	if took(details, "actions", &actions) {
		parts = append(parts, "may not "+strings.Join(actions, ", "))
	}
	if took(details, "resource", &resource) {
		parts = append(parts, "on "+resource)
	}
	for _, shown := range []struct{ key, name string }{{"revealed", "in clear"}, {"withheld", "masked"}} {
		var list []api.AuditShown
		if took(details, shown.key, &list) {
			for _, s := range list {
				parts = append(parts, shown.name+" "+strings.Join(s.Paths, ", "))
			}
		}
	}
	delete(details, "since")
	for _, key := range slices.Sorted(maps.Keys(details)) {
		if text := plainText(details[key]); text != "" {
			parts = append(parts, strings.ReplaceAll(key, "_", "-")+" "+text)
		}
	}
	return parts
}

// plainText is JSON as a person reads it, without what is empty; "": all of it is.
func plainText(raw json.RawMessage) string {
	var members map[string]json.RawMessage
	var items []json.RawMessage
	var text string
	var parts []string
	switch {
	case json.Unmarshal(raw, &text) == nil:
		return text
	case json.Unmarshal(raw, &members) == nil:
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if value := plainText(members[name]); value != "" {
				parts = append(parts, name+"="+value)
			}
		}
		return strings.Join(parts, " ")
	case json.Unmarshal(raw, &items) == nil:
		for _, item := range items {
			parts = append(parts, plainText(item))
		}
		return strings.Join(parts, ", ")
	}
	return string(raw)
}

// took takes one of the details, if it is of the type that is known.
func took[T any](details map[string]json.RawMessage, key string, to *T) bool {
	raw, ok := details[key]
	if !ok || json.Unmarshal(raw, to) != nil {
		return false
	}
	delete(details, key)
	return true
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
	if err := c.check(); err != nil {
		return err
	}
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
