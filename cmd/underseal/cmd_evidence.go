package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

type evidenceCmd struct {
	Instance  string        `arg:"" optional:"" help:"Id of the instance."`
	Entry     string        `help:"Of this entry of a log instead, LOG/NUMBER as underseal audit lists it." placeholder:"ENTRY" xor:"step"`
	Step      int           `help:"Of this step (default: the newest)." placeholder:"N" xor:"step"`
	Task      string        `help:"Of the step that completed this task." placeholder:"ID" xor:"step"`
	Job       string        `help:"Of the step that ended this job." placeholder:"ID" xor:"step"`
	Field     []string      `help:"Disclose this value, of those that the step wrote; may be repeated. '$actor' is who acted." placeholder:"PATH" sep:"none"`
	AllFields bool          `help:"Disclose every value that the step wrote, but not who acted."`
	NoModel   bool          `help:"Leave the process model out."`
	Wait      bool          `help:"Wait until witnesses and time stamping authority have seen the log's head over it, and write nothing before."`
	Timeout   time.Duration `help:"How long --wait waits (default: ${default})." default:"5m" placeholder:"TIME"`
	Out       string        `short:"o" help:"The file to write (default: INSTANCE-step-N.zip or entry-LOG-N.zip, in this directory)." placeholder:"FILE" type:"path"`
	Receipt   bool          `help:"Print the platform's signed receipt for the step instead, which is there at once."`
	purposeFlag
	clientFlags
}

func (evidenceCmd) Help() string {
	return talksToServer + " Writes one file that proves a step, or any other entry of the log, to a stranger, who checks it offline with underseal verify: that it was done, at which step of which " +
		"process, under which signed head of the log, and by whose key if it was signed. It discloses no value unless you name it: --field PATH for one, " +
		"--all-fields for all that the step wrote, --field '$actor' for who acted. underseal instances steps lists what each step wrote. All else stays hidden, " +
		"though the file names the signer if the step was signed, and holds the process model unless --no-model. Every export is an entry of the log that " +
		"names the instance and the paths. Whoever checks the file also needs a policy, from underseal log policy, that reaches them by another way. " +
		"The command checks the file by that policy itself, and says what it lacks: what is younger than the last anchoring was not seen by witnesses yet; --wait waits for that."
}

// exported is what --json prints.
type exported struct {
	File   string   `json:"file"`
	Step   uint64   `json:"step,omitempty"`
	Kind   string   `json:"kind"`
	Fields []string `json:"fields"`
	Anchor bool     `json:"anchored"`
	// By the policy of this server:
	Proven  bool       `json:"proven"`
	Seen    []string   `json:"seen"`              // what witnesses and authority show
	Lacks   string     `json:"lacks,omitempty"`   // why it is not proven
	Next    *time.Time `json:"next,omitempty"`    // when it can be
	Delayed string     `json:"delayed,omitempty"` // what holds that up
}

func (c *evidenceCmd) Run(ctx context.Context, e *env) error {
	if (c.Instance == "") == (c.Entry == "") {
		return &usage{text: "what is to be proven: INSTANCE, or --entry LOG/NUMBER"}
	}
	cl, err := e.connectFor(c.purposeFlag)
	if err != nil {
		return err
	}
	if c.Receipt {
		return c.receipt(ctx, e, cl)
	}
	place, err := c.reserve() // before anything is disclosed, which the log is told
	if err != nil {
		return err
	}
	defer place.discard()
	data, err := c.export(ctx, cl)
	if err != nil {
		return err
	}
	out, err := describeBundle(data)
	if err != nil {
		return err
	}
	if err := out.judge(ctx, cl, data); err != nil {
		return err
	}
	if out.File = c.Out; out.File == "" {
		out.File = c.name(out.Step)
	}
	if err := place.keep(out.File, data); err != nil {
		return err
	}
	return e.result(out, out.write)
}

func (c *evidenceCmd) name(step uint64) string {
	if c.Entry != "" {
		return "entry-" + strings.ReplaceAll(c.Entry, "/", "-") + ".zip"
	}
	return fmt.Sprintf("%s-step-%d.zip", c.Instance, step)
}

// export gets the file, with --wait once it is anchored. What is refused discloses
// nothing.
func (c *evidenceCmd) export(ctx context.Context, cl *client.Client) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	for again := pace(0); ; {
		data, err := cl.Evidence(ctx, api.EvidenceRequest{
			Instance: c.Instance, Entry: c.Entry, Step: c.Step, Task: c.Task, Job: c.Job,
			Fields: c.Field, AllFields: c.AllFields, NoModel: c.NoModel, Anchored: c.Wait,
		})
		var refused *client.Error
		if !errors.As(err, &refused) || refused.Code != "not_anchored" {
			return data, err
		}
		if again.wait(limited) != nil {
			return nil, err
		}
	}
}

// judge checks the file by the policy of the server that gave it, and says what it
// lacks as long as it was not anchored. One that is wrong in another way is not given
// on.
func (x *exported) judge(ctx context.Context, cl *client.Client, data []byte) error {
	text, err := cl.LogPolicy(ctx)
	if err != nil {
		return err
	}
	policy, err := ledger.ParsePolicy([]byte(text.Policy))
	if err != nil {
		return err
	}
	report, refused := ledger.VerifyBundle(data, policy)
	if refused == nil {
		x.Proven = true
		for _, c := range report.Checks {
			if c.Status == ledger.CheckOK && (c.Check == "witnesses" || c.Check == "time") {
				x.Seen = append(x.Seen, c.Shows)
			}
		}
		return nil
	}
	if code := fault.CodeOf(refused); code != "quorum_not_met" && code != "timestamp_missing" {
		return refused
	}
	at, err := cl.LogAnchoring(ctx)
	x.Lacks, x.Next, x.Delayed = refused.Error(), at.Next, at.Delayed
	return err
}

func (x *exported) write(w io.Writer) {
	fmt.Fprintf(w, "%s: %s", printable(x.File), printable(x.Kind))
	if x.Step > 0 {
		fmt.Fprintf(w, ", step %d", x.Step)
	}
	fmt.Fprintln(w)
	for _, path := range x.Fields {
		fmt.Fprintf(w, "  discloses %s\n", printable(path))
	}
	if len(x.Fields) == 0 {
		fmt.Fprintln(w, "  discloses no value; --field PATH names one")
	}
	for _, text := range x.Seen {
		fmt.Fprintf(w, "  %s\n", printable(text))
	}
	switch {
	case x.Lacks != "" && x.Anchor:
		fmt.Fprintf(w, "  lacks what this server's policy asks for: %s\n", printable(x.Lacks))
	case x.Lacks != "":
		fmt.Fprintf(w, "  not anchored yet, and so refused by this server's policy: %s\n", printable(x.Lacks))
		x.writeNext(w)
	case len(x.Seen) == 0:
		fmt.Fprintln(w, "  this server has no witnesses and no time stamping authority: a policy can only ask for the log's key")
	}
	fmt.Fprintf(w, "check it with: underseal verify %s --policy FILE\n", printable(x.File))
}

// writeNext says when the file would be a better one.
func (x *exported) writeNext(w io.Writer) {
	if x.Delayed != "" {
		fmt.Fprintf(w, "  delayed: %s\n", printable(oneLine(x.Delayed)))
	}
	if x.Next != nil {
		fmt.Fprintf(w, "  the log is anchored next at %s; --wait waits for it\n", stamp(*x.Next))
	}
}

// describeBundle reads what a bundle is of, so that what is said of it is what it holds.
func describeBundle(data []byte) (exported, error) {
	b, err := ledger.ParseBundle(data)
	if err != nil {
		return exported{}, err
	}
	leaf, err := ledger.ParseLeaf(b.Leaf)
	if err != nil {
		return exported{}, err
	}
	out := exported{Step: leaf.Seq, Kind: leaf.Kind, Fields: []string{}, Seen: []string{}, Anchor: b.Anchor != nil}
	for _, d := range b.Fields {
		out.Fields = append(out.Fields, d.Path)
	}
	return out, nil
}

// reserved is a file beside the one that is to be, which only its owner can read: it
// may hold what was sealed.
type reserved struct{ *os.File }

// reserve makes sure that a file can be made where the evidence is to go.
func (c *evidenceCmd) reserve() (reserved, error) {
	path := c.Out
	if path == "" && (c.Step > 0 || c.Entry != "") {
		path = c.name(uint64(c.Step))
	}
	dir := filepath.Dir(path) // "." while it has no name
	if _, err := os.Lstat(path); err == nil {
		return reserved{}, fault.New(fault.Conflict, "%s is there already", path).WithCode("file_exists").WithHint("--out FILE writes to another one")
	}
	file, err := os.CreateTemp(dir, ".evidence-*")
	if err != nil {
		return reserved{}, fault.New(fault.Invalid, "nothing was exported: no file can be made in %s: %w", dir, err).
			WithHint("make the directory, or name a file in another one by --out FILE")
	}
	return reserved{file}, nil
}

// keep writes the file and gives it its name, which nothing has yet.
func (r reserved) keep(path string, data []byte) error {
	_, err := r.Write(data)
	if err = errors.Join(err, r.Sync(), r.Close()); err != nil {
		return fault.New(fault.Unavailable, "write %s: %w", path, err)
	}
	name, err := newFile(path, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(name.Close(), os.Rename(r.Name(), path)); err != nil {
		return fault.New(fault.Unavailable, "write %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}

// discard takes the file away if it was not kept.
func (r reserved) discard() {
	r.Close()
	os.Remove(r.Name())
}

func (c *evidenceCmd) receipt(ctx context.Context, e *env, cl *client.Client) error {
	if c.Entry != "" || c.Task != "" || c.Job != "" || c.Out != "" || c.AllFields || c.Wait || len(c.Field) > 0 {
		return &usage{text: "a receipt is of a step of an instance (--step) and discloses nothing"}
	}
	r, err := cl.Receipt(ctx, c.Instance, c.Step)
	if err != nil {
		return err
	}
	return e.result(r, func(w io.Writer) { io.WriteString(w, r.Receipt) })
}
