package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

type evidenceCmd struct {
	Instance  string   `arg:"" help:"Id of the instance."`
	Step      int      `help:"Of this step (default: the newest)." placeholder:"N" xor:"step"`
	Task      string   `help:"Of the step that completed this task." placeholder:"ID" xor:"step"`
	Job       string   `help:"Of the step that ended this job." placeholder:"ID" xor:"step"`
	Field     []string `help:"Disclose this value, of those that the step wrote; may be repeated. '$actor' is who acted." placeholder:"PATH" sep:"none"`
	AllFields bool     `help:"Disclose every value that the step wrote, but not who acted."`
	NoModel   bool     `help:"Leave the process model out."`
	Out       string   `short:"o" help:"The file to write (default: INSTANCE-step-N.zip, in this directory)." placeholder:"FILE" type:"path"`
	Receipt   bool     `help:"Print the platform's signed receipt for the step instead, which is there at once."`
	clientFlags
}

func (evidenceCmd) Help() string {
	return talksToServer + " Writes one file that proves a step to a stranger, who checks it offline with underseal verify: that it was done, at which step of which " +
		"process, under which signed head of the log, and by whose key if it was signed. It discloses no value unless you name it: --field PATH for one, " +
		"--all-fields for all that the step wrote, --field '$actor' for who acted. underseal instances steps lists what each step wrote. All else stays hidden, " +
		"though the file names the signer if the step was signed, and holds the process model unless --no-model. Every export is an entry of the log that " +
		"names the instance and the paths. Whoever checks the file also needs a policy, from underseal log policy, that reaches them by another way."
}

// exported is what --json prints.
type exported struct {
	File   string   `json:"file"`
	Step   uint64   `json:"step"`
	Kind   string   `json:"kind"`
	Fields []string `json:"fields"`
	Anchor bool     `json:"anchored"`
}

func (c *evidenceCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	if c.Receipt {
		return c.receipt(ctx, e, cl)
	}
	if c.Out != "" { // before anything is disclosed
		if err := notThere(c.Out); err != nil {
			return err
		}
	}
	data, err := cl.Evidence(ctx, api.EvidenceRequest{
		Instance: c.Instance, Step: c.Step, Task: c.Task, Job: c.Job, Fields: c.Field, AllFields: c.AllFields, NoModel: c.NoModel,
	})
	if err != nil {
		return err
	}
	out, err := describeBundle(data)
	if err != nil {
		return err
	}
	if out.File = c.Out; out.File == "" {
		out.File = fmt.Sprintf("%s-step-%d.zip", c.Instance, out.Step)
	}
	if err := writeNew(out.File, data); err != nil {
		return err
	}
	return e.result(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s, step %d\n", printable(out.File), printable(out.Kind), out.Step)
		for _, path := range out.Fields {
			fmt.Fprintf(w, "  discloses %s\n", printable(path))
		}
		if len(out.Fields) == 0 {
			fmt.Fprintln(w, "  discloses no value; --field PATH names one")
		}
		fmt.Fprintf(w, "check it with: underseal verify %s --policy FILE\n", printable(out.File))
	})
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
	out := exported{Step: leaf.Seq, Kind: leaf.Kind, Fields: []string{}, Anchor: b.Anchor != nil}
	for _, d := range b.Fields {
		out.Fields = append(out.Fields, d.Path)
	}
	return out, nil
}

func notThere(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Conflict, "%s is there already", path).WithCode("file_exists").WithHint("--out FILE writes to another one")
	}
	return nil
}

// writeNew writes a file that only its owner can read: it may hold what was sealed.
func writeNew(path string, data []byte) (err error) {
	if err := notThere(path); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fault.New(fault.Invalid, "write the evidence: %w", err)
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

func (c *evidenceCmd) receipt(ctx context.Context, e *env, cl *client.Client) error {
	if c.Task != "" || c.Job != "" || c.Out != "" || c.AllFields || len(c.Field) > 0 {
		return &usage{text: "a receipt is of a step (--step) and discloses nothing"}
	}
	r, err := cl.Receipt(ctx, c.Instance, c.Step)
	if err != nil {
		return err
	}
	return e.result(r, func(w io.Writer) { io.WriteString(w, r.Receipt) })
}
