package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/underseal/underseal/internal/bpmn"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// definition is a deployed version of a process, compiled. It is an object: its
// fields are the setting of the mode and the files of its forms.
type definition struct {
	object
	compiled *process.Definition
	setting  process.Mode                 // "" when the model decides
	files    map[string][sha256.Size]byte // deployed beside the model, by name
}

// mode returns the mode that new instances get of the newest version.
func (d *definition) mode() process.Mode { return d.modeWith(d.setting) }

// modeWith is the mode of new instances with a setting; empty: the model's.
func (d *definition) modeWith(setting process.Mode) process.Mode {
	return cmp.Or(setting, d.compiled.Policy.Mode)
}

// Field paths of a definition object.
const (
	modeField  = "mode"
	filePrefix = "file/"
)

// definitions remembers compiled definitions. A definition never changes but
// for its mode setting, which goes through this cache too.
type definitions struct {
	mu     sync.RWMutex
	byID   map[definitionKey]*definition
	newest map[processKey]*definition
}

type (
	definitionKey struct {
		scope store.Scope
		id    store.ID
	}
	processKey struct {
		scope   store.Scope
		process string
	}
)

func (c *definitions) get(scope store.Scope, id store.ID) *definition {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byID[definitionKey{scope, id}]
}

func (c *definitions) latest(scope store.Scope, process string) *definition {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.newest[processKey{scope, process}]
}

// add remembers a definition, in place of an older state of the same one.
func (c *definitions) add(d *definition, newest bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil {
		c.byID, c.newest = map[definitionKey]*definition{}, map[processKey]*definition{}
	}
	c.byID[definitionKey{d.scope, d.id}] = d
	if newest {
		c.newest[processKey{d.scope, d.head.process}] = d
	}
}

// forget makes the next use read the definition, and which one of its process is
// the newest, from the database.
func (c *definitions) forget(d *definition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byID, definitionKey{d.scope, d.id})
	delete(c.newest, processKey{d.scope, d.head.process})
}

// definition returns a definition by its object id.
func (e *Engine) definition(ctx context.Context, scope store.Scope, id store.ID) (*definition, error) {
	if d := e.defs.get(scope, id); d != nil {
		return d, nil
	}
	d, err := e.openDefinition(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	e.defs.add(d, false)
	return d, nil
}

// version returns a version of a process; 0 is the newest.
func (e *Engine) version(ctx context.Context, scope store.Scope, process string, version int) (*definition, error) {
	if strings.IndexByte(process, 0) >= 0 { // Postgres has no such text, and refuses to look for it
		return nil, noProcess(process, version)
	}
	if version == 0 {
		if d := e.defs.latest(scope, process); d != nil {
			return d, nil
		}
	}
	if err := e.checkListed(ctx, scope, version); err != nil {
		return nil, err
	}
	row, err := e.store.Definition(ctx, scope, process, version)
	if fault.Is(err, fault.NotFound) {
		return nil, noProcess(process, version)
	}
	if err != nil {
		return nil, err
	}
	d, err := e.definition(ctx, scope, row.ID)
	if err != nil {
		return nil, err
	}
	if !d.equalRow(row.DefinitionRow) {
		return nil, d.changedIn("definitions", "has a changed row in the list of processes")
	}
	if version == 0 {
		e.defs.add(d, true)
	}
	return d, nil
}

// settingOf returns the setting of the mode that holds for a version, which is that of the
// newest one of its process: an older version is no way around it.
func (e *Engine) settingOf(ctx context.Context, d *definition) (process.Mode, error) {
	newest, err := e.version(ctx, d.scope, d.head.process, 0)
	if err != nil {
		return "", err
	}
	return newest.setting, nil
}

// checkListed requires, before it is asked which version of a process is the
// newest, that the row of no version was deleted.
func (e *Engine) checkListed(ctx context.Context, scope store.Scope, version int) error {
	if version != 0 {
		return nil
	}
	if err := e.requireAllPinned(ctx, scope, store.Definition); err != nil {
		return err
	}
	id, found, err := e.store.Unlisted(ctx, scope)
	if err != nil || !found {
		return err
	}
	o := object{scope: scope, id: id, kind: store.Definition}
	return o.tampered("has lost its row in the list of processes")
}

func noProcess(process string, version int) error {
	if version == 0 {
		return fault.New(fault.NotFound, "no process %q is deployed", process).WithHint("list what is deployed with `underseal processes`")
	}
	return fault.New(fault.NotFound, "process %q has no version %d", process, version)
}

// openDefinition reads a definition, checks every row of it and compiles it.
func (e *Engine) openDefinition(ctx context.Context, scope store.Scope, id store.ID) (*definition, error) {
	o, err := e.load(ctx, scope, id, store.Definition)
	if err != nil {
		return nil, err
	}
	values, err := e.checkedValues(ctx, o)
	if err != nil {
		return nil, err
	}
	d := &definition{object: *o}
	if err := d.take(values); err != nil {
		return nil, err
	}
	for name := range d.files {
		if _, err := e.form(ctx, d, name); err != nil {
			return nil, err
		}
	}
	d.compiled, err = e.compile(ctx, d)
	return d, err
}

// take sets what a definition's fields say.
func (d *definition) take(values map[string]canon.Value) error {
	d.files = map[string][sha256.Size]byte{}
	for path, value := range values {
		text, ok := value.(canon.String)
		if !ok {
			return d.tampered("has a field %q that is no text", path)
		}
		if path == modeField {
			d.setting = process.Mode(text)
			continue
		}
		var hash [sha256.Size]byte
		if n, err := hex.Decode(hash[:], []byte(text)); err != nil || n != len(hash) {
			return d.tampered("has a field %q that is no hash", path)
		}
		d.files[path[len(filePrefix):]] = hash
	}
	return nil
}

// compile compiles the definition's stored model anew, the only copy there is.
func (e *Engine) compile(ctx context.Context, d *definition) (*process.Definition, error) {
	hash, err := parseHash(d.head.model)
	if err != nil {
		return nil, err
	}
	data, err := e.resource(ctx, &d.object, hash)
	if err != nil {
		return nil, err
	}
	model, err := bpmn.Parse("model", data)
	if err != nil {
		return nil, err
	}
	compiled, err := bpmn.Compile(model)
	if err != nil {
		return nil, err
	}
	for _, c := range compiled {
		if c.ID == d.head.process {
			c.Version = d.head.version
			return c, nil
		}
	}
	return nil, d.tampered("has a model without the process %q", d.head.process)
}

// resource reads a file and requires that it has the hash it is named by.
func (e *Engine) resource(ctx context.Context, o *object, hash [sha256.Size]byte) ([]byte, error) {
	data, err := e.store.Resource(ctx, o.scope, hash)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	if err != nil || sha256.Sum256(data) != hash {
		return nil, o.changedIn("resources", "has a changed or missing file %x", hash[:8])
	}
	return data, nil
}

func parseHash(text string) (hash [sha256.Size]byte, err error) {
	if n, err := hex.Decode(hash[:], []byte(text)); err != nil || n != len(hash) {
		return hash, fault.New(fault.Integrity, "a stored hash is malformed")
	}
	return hash, nil
}

func (d *definition) row() store.DefinitionRow {
	hash, _ := parseHash(d.head.model)
	return store.DefinitionRow{
		Process: d.head.process, Version: d.head.version, Name: d.compiled.Name, Resource: hash, Deployed: d.head.started,
	}
}

func (d *definition) equalRow(r store.DefinitionRow) bool {
	want := d.row()
	return want.Process == r.Process && want.Version == r.Version && want.Name == r.Name &&
		want.Resource == r.Resource && want.Deployed.Equal(r.Deployed)
}
