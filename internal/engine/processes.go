package engine

import (
	"context"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// Processes lists the newest version of every process.
func (e *Engine) Processes(ctx context.Context, c Caller, p Page) (api.Processes, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Processes, error) { return e.processesAs(ctx, c, p) })
}

func (e *Engine) processesAs(ctx context.Context, c Caller, p Page) (api.Processes, error) {
	if err := e.could(ctx, c, access.ReadProcess, access.Process, ""); err != nil {
		return api.Processes{}, err
	}
	limit, err := p.limit()
	if err != nil {
		return api.Processes{}, err
	}
	rows, err := e.newestSeen(ctx, c, p.After, limit+1)
	if err != nil {
		return api.Processes{}, err
	}
	result := api.Processes{Items: []api.Process{}}
	rows, result.Next = cut(rows, limit, func(r store.StoredDefinition) string { return r.Process })
	for _, row := range rows {
		d, err := e.version(ctx, c.Scope, row.Process, row.Version)
		if err != nil {
			return api.Processes{}, err
		}
		result.Items = append(result.Items, d.wire())
	}
	return result, nil
}

// newestSeen returns the first processes after one that the caller may see, at most
// limit. There are not so many that looking at all of them would take long.
func (e *Engine) newestSeen(ctx context.Context, c Caller, after string, limit int) ([]store.StoredDefinition, error) {
	var seen []store.StoredDefinition
	for {
		rows, err := e.store.Newest(ctx, c.Scope, after, limit)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if after = row.Process; e.sees(c, access.ReadProcess, processResource(c.Scope, after)) {
				seen = append(seen, row)
			}
		}
		if len(rows) < limit || len(seen) >= limit {
			return seen[:min(limit, len(seen))], nil
		}
	}
}

// Process returns a version of a process; 0 is the newest.
func (e *Engine) Process(ctx context.Context, c Caller, id string, version int) (api.Process, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Process, error) { return e.processAs(ctx, c, id, version) })
}

func (e *Engine) processAs(ctx context.Context, c Caller, id string, version int) (api.Process, error) {
	if err := e.mayProcess(ctx, c, access.ReadProcess, id, version); err != nil {
		return api.Process{}, err
	}
	d, err := e.version(ctx, c.Scope, id, version)
	if err != nil {
		return api.Process{}, err
	}
	setting, err := e.settingOf(ctx, d)
	return d.wireWith(setting, err)
}

// Model returns the original bytes of a process's model.
func (e *Engine) Model(ctx context.Context, c Caller, id string, version int) ([]byte, error) {
	return readNow(ctx, e, c, func(c Caller) ([]byte, error) { return e.modelAs(ctx, c, id, version) })
}

func (e *Engine) modelAs(ctx context.Context, c Caller, id string, version int) ([]byte, error) {
	if err := e.mayProcess(ctx, c, access.ReadProcess, id, version); err != nil {
		return nil, err
	}
	d, err := e.version(ctx, c.Scope, id, version)
	if err != nil {
		return nil, err
	}
	hash, err := parseHash(d.head.model)
	if err != nil {
		return nil, err
	}
	return e.resource(ctx, &d.object, hash)
}

// SetMode sets whether new instances of a process are confidential, of whichever version;
// "model" lets the model of each decide again. Running instances stay as they are. Where the tenant wants
// four eyes, what makes new instances less than confidential waits for a second person.
func (e *Engine) SetMode(ctx context.Context, c Caller, id, mode, idem string) (api.Process, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Process, error) { return e.setModeAs(ctx, c, id, mode, idem) })
}

func (e *Engine) setModeAs(ctx context.Context, c Caller, id, mode, idem string) (api.Process, error) {
	if err := e.mayProcess(ctx, c, access.SetMode, id, 0); err != nil {
		return api.Process{}, err
	}
	setting, err := parseSetting(mode)
	if err != nil {
		return api.Process{}, err
	}
	again, err := e.request(ctx, c, "set-mode "+id, idem, mode)
	if err != nil {
		return api.Process{}, err
	}
	lock := e.deploying.of(c.Scope)
	lock.Lock()
	defer lock.Unlock()
	if c, err = e.again(ctx, c); err == nil { // what the caller may could have changed meanwhile
		err = e.mayProcess(ctx, c, access.SetMode, id, 0)
	}
	if err != nil {
		return api.Process{}, err
	}
	if earlier, err := e.repeatedDefinition(ctx, c.Scope, again); earlier != nil || err != nil {
		return earlier.wireWith(setting, err)
	}
	d, err := e.version(ctx, c.Scope, id, 0)
	if err != nil || d.setting == setting {
		return d.wireWith(setting, err)
	}
	switch alone, err := e.maySetMode(ctx, c, d, setting); {
	case err != nil:
		return api.Process{}, err
	case !alone:
		return e.proposeMode(ctx, c, d, mode, idem)
	}
	shard, leave, err := e.enterShard(ctx, c.Scope, e.moment())
	if err != nil {
		return api.Process{}, err
	}
	defer leave()
	d, set, err := e.modeSet(ctx, c, d, setting, shard, again)
	if err != nil {
		return api.Process{}, err
	}
	err = e.commitDefinitions(ctx, c, []*definition{d}, []*store.WriteSet{set})
	return d.wireWith(setting, err)
}

// parseSetting reads a mode that somebody sets; empty: the model decides.
func parseSetting(mode string) (process.Mode, error) {
	switch mode {
	case "model":
		return "", nil
	case string(process.Standard), string(process.Confidential):
		return process.Mode(mode), nil
	}
	return "", fault.New(fault.Invalid, "mode %q is none of standard, confidential, model", mode)
}

// modeSet returns a definition with another setting of its mode, which is not durable yet.
func (e *Engine) modeSet(ctx context.Context, c Caller, d *definition, setting process.Mode, shard string, again *request) (*definition, *store.WriteSet, error) {
	fresh, err := e.openDefinition(ctx, c.Scope, d.id) // d itself is in use by others
	if err != nil {
		return nil, nil, err
	}
	fresh.setting = setting
	set, err := e.definitionSet(ctx, c, fresh, shard, "definition.mode_set", e.moment(), again)
	return fresh, set, err
}

// wireWith shows a definition as it is, or was, with a setting of its mode.
func (d *definition) wireWith(setting process.Mode, err error) (api.Process, error) {
	if err != nil {
		return api.Process{}, err
	}
	then := *d
	then.setting = setting
	return then.wire(), nil
}

func (d *definition) wire() api.Process {
	source := "model"
	if d.setting != "" {
		source = "setting"
	}
	return api.Process{
		ID: d.head.process, Version: d.head.version, Name: d.compiled.Name, Definition: textID(d.id),
		Hash: d.head.model, Mode: string(d.mode()), ModeSource: source, Deployed: d.head.started,
	}
}
