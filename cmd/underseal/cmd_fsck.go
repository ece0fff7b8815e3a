package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
)

type fsckCmd struct {
	Online      bool   `help:"Have the running server check everything now, and follow it."`
	Status      bool   `help:"Say what the running server has checked, when, and what it found."`
	Files       bool   `help:"Read all files too, and compare what they hold with the log."`
	WithoutKeys bool   `help:"Check only what needs no key: leaves, tree, checkpoints but not their signatures, sealed bytes."`
	Resume      bool   `help:"Go on where a check was interrupted."`
	State       string `help:"Where the state of a check is kept until it is done (default: fsck.state in the data directory)." placeholder:"FILE" type:"path"`
	Data        string `name:"data" conf:"data" help:"${doc_data}" placeholder:"DIR"`
	keyFileFlags
	CheckFilesRate int64  `conf:"check_files_rate" help:"${doc_check_files_rate}" placeholder:"BYTES"`
	Database       string `conf:"database" help:"${doc_database}" placeholder:"REFERENCE"`
	KeysDatabase   string `conf:"keys_database" help:"${doc_keys_database}" placeholder:"REFERENCE"`
	clientFlags
}

func (fsckCmd) Help() string {
	return opensDatabase + " Stop the server first, or have it do the same with --online. Compares everything that the database holds with the log and says what does not fit; exit code 40 if anything does not. What files hold is read with --files only, a file in one piece. Tells how far it is on stderr."
}

// fsckState is a check that is under way, as it is kept in a file.
type fsckState struct {
	WithoutKeys bool                         `json:"without_keys"`
	Files       bool                         `json:"files,omitempty"`
	Deployment  string                       `json:"deployment"` // whose database it is
	Tenants     map[string]engine.CheckState `json:"tenants"`
	Findings    []engine.Finding             `json:"findings"`
}

// fscked is what a check found.
type fscked struct {
	Rows       uint64           `json:"rows"`                // leaves, objects, tokens and files looked at
	Bytes      uint64           `json:"bytes,omitempty"`     // of files, read
	Uncovered  uint64           `json:"uncovered,omitempty"` // leaves of which there will be no proof
	Findings   []engine.Finding `json:"findings"`
	NotChecked string           `json:"not_checked,omitempty"`
}

const withoutKeysNote = "signatures of checkpoints, heads, values, queue rows, index tokens, holds, erasures and what files hold: they need the keys"

func (c *fsckCmd) Run(ctx context.Context, e *env) error {
	switch {
	case c.Files && (c.WithoutKeys || c.Status):
		return &usage{"--files reads what only the keys open, and orders a check: it goes neither with --without-keys nor with --status", "underseal fsck --files"}
	case (c.Online || c.Status) && (c.WithoutKeys || c.Resume || c.State != "") || c.Online && c.Status:
		return &usage{"--online and --status ask the server, each alone: they take no flag of a check without it", "underseal fsck"}
	case c.Status:
		return c.status(ctx, e)
	case c.Online:
		return c.online(ctx, e)
	}
	path, err := c.stateFile(e)
	if err != nil {
		return err
	}
	state, err := c.begin(path)
	if err != nil {
		return err
	}
	if err := c.check(ctx, e, path, state); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(e.stderr, "interrupted; go on with --resume")
			return err
		}
		return unfinished(state, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	done := fscked{Findings: state.Findings}
	for _, t := range state.Tenants {
		done.Rows += t.Rows
		done.Bytes += t.Bytes
		done.Uncovered += t.Uncovered
	}
	if c.WithoutKeys {
		done.NotChecked = withoutKeysNote
	}
	return errors.Join(e.result(done, done.write), done.err())
}

func (d fscked) write(w io.Writer) {
	fmt.Fprintf(w, "%s looked at%s, %s\n", counted(int(d.Rows), "row"), ofFiles(d.Bytes), counted(len(d.Findings), "finding"))
	for _, f := range d.Findings {
		fmt.Fprintln(w)
		step, index := "", ""
		if f.Step > 0 {
			step = strconv.FormatUint(f.Step, 10)
		}
		if f.Index != nil {
			index = strconv.FormatUint(*f.Index, 10)
		}
		pairs(w, "found", f.Kind, "tenant", f.Tenant, "object", f.Object, "step", step, "log", f.Shard, "place", index,
			"table", f.Where, "what", f.What, "do", f.Do)
	}
	if d.Uncovered > 0 {
		fmt.Fprintln(w, "leaves without proof: "+withoutProof(d.Uncovered))
	}
	if d.NotChecked != "" {
		fmt.Fprintln(w, "not checked: "+d.NotChecked)
	}
}

// ofFiles says how much of files was read, if anything.
func ofFiles(bytes uint64) string {
	if bytes == 0 {
		return ""
	}
	return ", " + counted(int(bytes), "byte") + " of files read"
}

// withoutProof says which leaves no signed head will ever cover.
func withoutProof(n uint64) string {
	return fmt.Sprintf("%d, of logs that a restore has ended, behind their last signed heads", n)
}

// Codes of how a check ends, which have exit codes of their own.
const (
	codeFindings   = "fsck_findings"
	codeUnfinished = "fsck_unfinished"
)

// fsckVerdicts are the exit codes of fsck that no kind of error has.
// docs/exit-codes.md publishes them.
var fsckVerdicts = []verdict{
	{40, []string{codeFindings}, "everything was checked, and something is not what the log says"},
	{41, []string{codeUnfinished}, "the check began and could not be finished; what it found so far is kept"},
}

// unfinished is the error of a check that began and could not go on.
func unfinished(state *fsckState, err error) error {
	if len(state.Tenants) == 0 || fault.CodeOf(err) == engine.CodeCheckState {
		return err // it did not begin, or cannot go on from there
	}
	return fault.New(kindOf(err), "the check could not be finished, %s so far: %w", counted(len(state.Findings), "finding"), err).WithCode(codeUnfinished).
		WithHint("go on with --resume")
}

func (d fscked) err() error {
	if len(d.Findings) == 0 {
		return nil
	}
	return fault.New(fault.Integrity, "the database is not what its log says: %s", counted(len(d.Findings), "finding")).WithCode(codeFindings).
		WithHint("each finding says what to do; keep a copy of the database as it is before you repair anything")
}

// stateFile returns where the state is kept: never where others could put one. With
// Postgres there may be no data directory yet.
func (c *fsckCmd) stateFile(e *env) (string, error) {
	if c.State != "" {
		return c.State, nil
	}
	if e.settings.Data == "" {
		return "", fault.New(fault.Invalid, "there is no data directory to keep the state of the check in").WithCode("no_home").WithHint("set HOME, or give --state")
	}
	if e.settings.Database != "" {
		if err := os.MkdirAll(e.settings.Data, 0o700); err != nil {
			return "", fault.New(fault.Invalid, "make the directory for the state of the check: %w", err).WithHint("give --state")
		}
	}
	return filepath.Join(e.settings.Data, "fsck.state"), nil
}

// begin returns the state of an interrupted check, or that of a new one.
func (c *fsckCmd) begin(path string) (*fsckState, error) {
	state := &fsckState{WithoutKeys: c.WithoutKeys, Files: c.Files, Tenants: map[string]engine.CheckState{}, Findings: []engine.Finding{}}
	if !c.Resume {
		return state, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "no check was interrupted: there is no %s", path).WithHint("run it without --resume")
	}
	if err != nil {
		return nil, fault.New(fault.Denied, "read the state of the check: %w", err)
	}
	if err := json.Unmarshal(text, state); err != nil {
		return nil, fault.New(fault.Invalid, "%s is no state of a check: %w", path, err)
	}
	if state.WithoutKeys != c.WithoutKeys || state.Files != c.Files {
		return nil, fault.New(fault.Conflict, "the interrupted check was another one: --without-keys or --files").WithHint("give the same flags, or run it without --resume")
	}
	return state, nil
}

// of requires that the state is of a check of this deployment's database.
func (s *fsckState) of(deployment string) error {
	if s.Deployment != "" && s.Deployment != deployment {
		return fault.New(fault.Conflict, "the interrupted check was of another database, of deployment %s", s.Deployment).WithCode(engine.CodeCheckState).WithHint("run it without --resume")
	}
	s.Deployment = deployment
	return nil
}

// save writes a state so that a crash leaves this one or the one before.
func (s *fsckState) save(path string) error {
	text, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "keep the state of the check: %w", err).WithHint("--state names another file")
	}
	return nil
}

// progress tells every two seconds how far a check is, and keeps its state.
type progress struct {
	e     *env
	path  string
	state *fsckState
	last  time.Time
}

func (p *progress) part(tenant string, state engine.CheckState, found []engine.Finding) error {
	p.state.Tenants[tenant] = state
	p.state.Findings = append(p.state.Findings, found...)
	now := time.Now()
	if now.Sub(p.last) < 2*time.Second && state.Phase != "done" {
		return nil
	}
	p.last = now
	fmt.Fprintf(p.e.stderr, "%s: %s, %s looked at%s, %s\n", printable(tenant), state.Phase, counted(int(state.Rows), "row"), ofFiles(state.Bytes), counted(len(p.state.Findings), "finding"))
	return p.state.save(p.path)
}
