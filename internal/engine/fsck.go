package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// Finding is one thing in the database that is not as the log says.
type Finding struct {
	Kind   string  `json:"kind"` // stable, one of those below
	Tenant string  `json:"tenant"`
	Object string  `json:"object,omitempty"`
	Step   uint64  `json:"step,omitempty"`
	Shard  string  `json:"shard,omitempty"` // origin of a log
	Index  *uint64 `json:"index,omitempty"` // place in it
	Where  string  `json:"where"`           // table
	What   string  `json:"what"`
	Do     string  `json:"do"`
}

// Kinds of findings.
const (
	FoundLeaf       = "leaf"       // a leaf is gone, was changed, moved, or is there twice
	FoundTree       = "tree"       // the tree or its places are not those of the entries
	FoundCheckpoint = "checkpoint" // a checkpoint is not the tree's, or not signed by the platform
	FoundBehind     = "behind"     // the log is behind a checkpoint: the database was set back
	FoundShard      = "shard"      // logs do not continue each other
	FoundObject     = "object"     // an object's rows are not what its leaves and head say
	FoundStray      = "stray"      // a row belongs to nothing
	FoundToken      = "token"      // an index token is gone, or belongs to no step
	FoundKeys       = "keys"       // the keys' database was changed
	FoundFile       = "file"       // the content of a file is gone, or is not what was uploaded
)

// What to do about findings.
const (
	doCompare = "the database was changed behind our back: compare it with a backup, and restore what is older than the change"
	doRestore = "if a backup was put back, go on by `underseal restore`; else the newest data were taken away: put them back"
	doKeys    = "the database of the keys was changed behind our back: compare it with its backup"
	doFiles   = "put the content back from a backup of the files; nothing of it is given out meanwhile"
)

// CodeCheckState is the code of a state that is not of this check.
const CodeCheckState = "check_state"

// CheckState says how far a check has come. It can be stored and gone on with.
type CheckState struct {
	Phase string     `json:"phase"` // logs, objects, requests, rest, files, uploads, anchors, openings or done
	Shard int        `json:"shard,omitempty"`
	Tree  *grownTree `json:"tree,omitempty"`  // of Shard, grown so far
	Prev  *shardEnd  `json:"prev,omitempty"`  // of the log before Shard
	After string     `json:"after,omitempty"` // last object, token or file
	Rows  uint64     `json:"rows"`            // looked at so far: leaves, objects, tokens, files
	Bytes uint64     `json:"bytes,omitempty"` // of files, read so far
	// Uncovered counts the leaves of logs that a restore has ended which no signed head
	// covers. There is no proof of them; that is no finding.
	Uncovered uint64 `json:"uncovered,omitempty"`

	Anchor *anchorState `json:"anchor,omitempty"` // in the phases anchors and openings
}

// shardEnd is where a log ended.
type shardEnd struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	Root   string `json:"root"`   // hex
	Closed bool   `json:"closed"` // by its own last leaf
	Last   bool   `json:"last"`   // there was none behind it
}

// Phases of a check.
const (
	phaseLogs     = "logs"
	phaseObjects  = "objects"
	phaseRequests = "requests"
	phaseRest     = "rest"
	phaseFiles    = "files"
	phaseUploads  = "uploads"
	phaseAnchors  = "anchors"
	phaseOpenings = "openings"
	phaseDone     = "done"
)

// Check compares all that the database holds of one tenant with the tenant's log,
// part by part. What it holds in memory does not grow with the database.
type Check struct {
	State CheckState

	e           *Engine
	scope       store.Scope
	withoutKeys bool
	keyed       bool // the tenant has keys, which was asked
	anchors     AnchorLog
	fileCheck   FileCheck
	pace        pace // of reading files
	part        int
	found       []Finding
}

// maxFindings bounds what is told of one table in one part.
const maxFindings = 1000

// CheckOptions says how a check goes.
type CheckOptions struct {
	// WithoutKeys leaves out what needs keys; docs/design/fsck.md has the list.
	WithoutKeys bool
	// Part is how many leaves or tokens are looked at in one part. Default 4096.
	Part int
	// Anchors adds the anchor logs, which belong to no tenant; nil: they are left out.
	Anchors AnchorLog
	// Files is how far the content of files is looked at. Default FilesUnread; without keys
	// nothing else is possible.
	Files FileCheck
	// FileRate is how many bytes of files are read a second; 0: as many as can be.
	FileRate int64
}

// NewCheck begins a check of a tenant, or goes on with one.
func (e *Engine) NewCheck(tenant string, state CheckState, o CheckOptions) *Check {
	if state.Phase == "" {
		state.Phase = phaseLogs
	}
	return &Check{
		State: state, e: e, scope: e.TenantScope(tenant), withoutKeys: o.WithoutKeys, anchors: o.Anchors,
		fileCheck: o.Files, pace: pace{rate: o.FileRate}, part: cmp.Or(o.Part, 4096),
	}
}

// ReadsFiles reports whether the next part reads what files hold.
func (c *Check) ReadsFiles() bool {
	return c.State.Phase == phaseFiles || c.State.Phase == phaseUploads
}

// Done reports whether everything was checked.
func (c *Check) Done() bool { return c.State.Phase == phaseDone }

// Next checks the next part and returns what it found. While a server works, a part
// can meet a step that is half way; so what is found must be found twice. An error
// is an outage: the part can be tried again.
func (c *Check) Next(ctx context.Context) ([]Finding, error) {
	before := c.State.Clone()
	first, err := c.once(ctx)
	if err != nil || len(first) == 0 {
		return nil, c.back(before, err)
	}
	c.State = before.Clone()
	second, err := c.once(ctx)
	if err != nil {
		return nil, c.back(before, err)
	}
	return slices.DeleteFunc(second, func(f Finding) bool {
		return !slices.ContainsFunc(first, func(g Finding) bool { return f.Name() == g.Name() })
	}), nil
}

// back takes a part that failed back.
func (c *Check) back(before CheckState, err error) error {
	if err != nil {
		c.State = before
	}
	return err
}

// Clone returns a copy that the check does not change.
func (s CheckState) Clone() CheckState {
	if s.Tree != nil {
		tree := grownTree{Size: s.Tree.Size}
		for _, level := range s.Tree.Levels {
			tree.Levels = append(tree.Levels, append(make([]byte, 0, cap(level)), level...))
		}
		s.Tree = &tree
	}
	s.Anchor = s.Anchor.clone()
	return s
}

// Name is the same for the same finding of another check.
func (f Finding) Name() string {
	return fmt.Sprintf("%s %s %s %d %s %s %s", f.Tenant, f.Kind, f.Object, f.Step, f.Shard, f.Where, f.What)
}

func (c *Check) once(ctx context.Context) ([]Finding, error) {
	c.found = nil
	if c.State.Tree != nil && !c.State.Tree.whole() {
		return nil, fault.New(fault.Invalid, "the state of the check is none: its tree has not the hashes of %d leaves", c.State.Tree.Size).WithCode(CodeCheckState)
	}
	if err := c.requireKeys(ctx); err != nil {
		return nil, err
	}
	err := c.partOf(ctx)
	if malformed(err) {
		c.unreadable(phaseTables[c.State.Phase], err)
		err = c.goOn(ctx)
	}
	return c.found, err
}

// requireKeys names a tenant that has rows and no keys, once, and checks it without any.
// Nobody asks for its keys then, which would make some.
func (c *Check) requireKeys(ctx context.Context) error {
	if c.keyed {
		return nil
	}
	tenants, err := c.e.store.Keys().Tenants(ctx)
	if err != nil {
		return err
	}
	if c.keyed = slices.Contains(tenants, c.scope.Tenant()); c.keyed {
		return nil
	}
	c.withoutKeys = true
	if c.State.Phase == phaseLogs && c.State.Shard == 0 {
		c.add(Finding{
			Kind: FoundKeys, Where: "tenant_keys", What: "there are rows of a tenant that has no keys: its keys are gone, or somebody put the rows there",
			Do: "put the keys back from their backup; a tenant that nobody set up has no rows",
		})
	}
	return nil
}

// partOf looks at the next part of the phase.
func (c *Check) partOf(ctx context.Context) error {
	switch c.State.Phase {
	case phaseLogs:
		return c.logPart(ctx)
	case phaseObjects:
		return c.objectPart(ctx)
	case phaseRequests:
		return c.requestPart(ctx)
	case phaseRest:
		return c.rest(ctx)
	case phaseFiles:
		return c.filePart(ctx)
	case phaseUploads:
		return c.uploadPart(ctx)
	case phaseAnchors:
		return c.anchorPart(ctx)
	case phaseOpenings:
		return c.openingPart(ctx)
	}
	return fault.New(fault.Invalid, "the state of the check is none: there is no phase %q", c.State.Phase).WithCode(CodeCheckState)
}

// phaseTables are where the rows stand in whose order phases go.
var phaseTables = map[string]string{
	phaseLogs: "log_shards", phaseObjects: "leaves", phaseRequests: "unique_tokens", phaseRest: "person_keys",
	phaseFiles: "files", phaseUploads: "uploads",
	phaseAnchors: "anchor_hashes", phaseOpenings: "anchor_openings",
}

// goOn goes on behind what a part could not read: with the next log, or the next phase.
// One row that somebody put there must not hide what was done to all others.
func (c *Check) goOn(ctx context.Context) error {
	a := c.State.Anchor
	switch {
	case c.State.Phase == phaseLogs && c.State.Tree != nil:
		c.State.Tree, c.State.Prev = nil, nil
	case c.State.Phase == phaseLogs:
		c.State.Phase, c.State.Shard = phaseObjects, 0
	case c.State.Phase == phaseObjects:
		c.State.Phase, c.State.After = phaseRequests, ""
	case c.State.Phase == phaseRequests:
		c.State.Phase, c.State.After = phaseRest, ""
	case c.State.Phase == phaseRest:
		c.endRest()
	case c.State.Phase == phaseFiles:
		c.State.Phase, c.State.After = phaseUploads, ""
	case c.State.Phase == phaseUploads:
		c.endFiles()
	case c.State.Phase == phaseAnchors && a.Tree != nil:
		a.Sizes[a.Log], a.Tree = a.Tree.Size, nil
	case c.State.Phase == phaseAnchors:
		c.State.Phase = phaseOpenings
	case a.Tenant != "":
		c.State.After, a.Tenant = a.Tenant, ""
	default:
		return c.endOpenings(ctx)
	}
	return nil
}

// unread takes it for a finding that rows of a table cannot be read, and returns errors
// that say nothing about the data.
func (c *Check) unread(table string, err error) error {
	if !malformed(err) {
		return err
	}
	c.unreadable(table, err)
	return nil
}

func (c *Check) unreadable(table string, err error) {
	c.add(Finding{Kind: FoundStray, Where: table, What: "what is stored cannot be read: " + messageOf(err)})
}

// malformed reports whether an error says that stored data are not as we write them.
func malformed(err error) bool { return fault.Is(err, fault.Integrity) || fault.Is(err, fault.Sealed) }

// add adds a finding.
func (c *Check) add(f Finding) {
	f.Tenant = c.scope.Tenant()
	f.Do = cmp.Or(f.Do, doCompare)
	c.found = append(c.found, f)
}

// object adds what a failed look at an object says, of the table that the error names or
// of this one, and returns errors that say nothing about the data.
func (c *Check) object(table string, id store.ID, err error) error {
	if err == nil || outage(err) {
		return err
	}
	c.found = append(c.found, foundObject(c.scope, table, id, err))
	return nil
}

// foundObject is the finding that an object is refused, for what an error says.
func foundObject(scope store.Scope, table string, id store.ID, err error) Finding {
	var rows rowsOf
	if errors.As(err, &rows) {
		table = rows.table
	}
	return Finding{Kind: FoundObject, Tenant: scope.Tenant(), Object: textID(id), Where: table, What: messageOf(err), Do: doCompare}
}

// outage reports whether an error says nothing about the data.
func outage(err error) bool {
	var known *fault.Error
	return !errors.As(err, &known) || fault.Is(err, fault.Unavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// messageOf returns what a fault says.
func messageOf(err error) string {
	var known *fault.Error
	if errors.As(err, &known) {
		return known.Message
	}
	return err.Error()
}

func (c *Check) tampered(kind, where string, id store.ID, seq uint64, format string, args ...any) {
	c.add(Finding{Kind: kind, Object: textID(id), Step: seq, Where: where, What: fmt.Sprintf(format, args...)})
}
