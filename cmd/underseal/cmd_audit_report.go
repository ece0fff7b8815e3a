package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
)

type auditReportCmd struct {
	Principal string `arg:"" help:"Name of the principal."`
	periodFlags
	clientFlags
}

func (auditReportCmd) Help() string {
	return talksToServer + " From the log alone: what the principal was shown, did and was refused, which keys they used and when they signed in, oldest first, then how often. " +
		"With --json each line is an object: an entry with its \"topic\", and at the end the \"totals\". What is written is not kept in memory. The report is an entry of the log."
}

// reportTopics are what a report tells apart, in the order of its totals.
var reportTopics = []struct{ name, meaning string }{
	{"saw", "times data was shown"},
	{"did", "things done"},
	{"keys", "uses of credentials and acts on keys"},
	{"denied", "refusals"},
	{"signed in", "sign-ins and sign-outs"},
}

// topicOf returns the topic of an entry.
func topicOf(x api.AuditEntry) string {
	of, _, _ := strings.Cut(x.Kind, ".")
	switch {
	case x.Result == api.ResultDenied:
		return "denied"
	case of == "data" || of == "audit":
		return "saw"
	case of == "sign_in" || of == "sign_out" || of == "session":
		return "signed in"
	case of == "key" || of == "credential" || strings.HasSuffix(of, "_key") || strings.HasSuffix(of, "_keys"):
		return "keys"
	}
	return "did"
}

func (c *auditReportCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	lines, to := io.Pipe()
	fetched := make(chan struct{})
	go func() {
		defer close(fetched)
		q := api.AuditExportQuery{AuditFilter: api.AuditFilter{Principal: c.Principal, From: bound(c.From), To: bound(c.To)}}
		to.CloseWithError(cl.ExportAudit(reading, q, to))
	}()
	r := report{name: c.Principal, out: bufio.NewWriterSize(e.stdout, 64<<10), json: e.json, totals: map[string]int{}}
	err = r.read(lines)
	lines.CloseWithError(err)
	cancel()
	<-fetched
	if err == nil && len(r.totals) == 0 { // nothing of them is in the log: a name that nobody has, perhaps
		err = missing(ctx, cl, c.Principal)
	}
	if err != nil {
		return err
	}
	return r.end()
}

// report writes what entries say, as they come.
type report struct {
	name   string
	out    *bufio.Writer
	json   bool
	totals map[string]int
}

// read writes all entries of an export.
func (r *report) read(lines io.Reader) error {
	for dec := json.NewDecoder(lines); ; {
		var x api.AuditEntry
		switch err := dec.Decode(&x); {
		case errors.Is(err, io.EOF):
			return nil
		case isSyntax(err):
			return fault.New(fault.Integrity, "the export of the audit is not what this client knows: %w", err)
		case err != nil:
			return err
		}
		if err := r.entry(x); err != nil {
			return err
		}
	}
}

func isSyntax(err error) bool {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	return errors.As(err, &syntax) || errors.As(err, &kind)
}

func (r *report) entry(x api.AuditEntry) error {
	topic := topicOf(x)
	r.totals[topic] += max(1, x.Count)
	if r.json {
		return writeJSON(r.out, struct {
			Topic string `json:"topic"`
			api.AuditEntry
		}{topic, x}, "")
	}
	line := fmt.Sprintf("%s  %-9s  %s", stamp(x.At), topic, x.Kind)
	if x.Key != "" {
		line += "  by " + x.Key
	}
	if x.Address != "" {
		line += "  from " + x.Address
	}
	for _, more := range []string{x.Element, auditText(x, math.MaxInt)} {
		if more != "" {
			line += "  " + more
		}
	}
	_, err := fmt.Fprintln(r.out, printable(strings.ReplaceAll(line, "\n", " ")))
	return err
}

// end writes the totals.
func (r *report) end() error {
	if r.json {
		if err := writeJSON(r.out, map[string]any{"totals": r.totals}, ""); err != nil {
			return err
		}
		return r.out.Flush()
	}
	if len(r.totals) == 0 {
		fmt.Fprintf(r.out, "the log has nothing that %s did\n", printable(r.name))
	}
	fmt.Fprintln(r.out)
	for _, t := range reportTopics {
		fmt.Fprintf(r.out, "%-9s  %d %s\n", t.name, r.totals[t.name], t.meaning)
	}
	return r.out.Flush()
}
