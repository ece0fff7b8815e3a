package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/blindindex"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// A use case of a record asks twice. At first, before anything is loaded, whether the
// caller could do the action on anything: who could not is Denied, whatever id they name.
// Then, with the facts of the record that was loaded, whether they may on this one. A
// record that they may not see is answered like one that never was.

func (e *Engine) circumstances(c Caller) access.Circumstances {
	return access.Circumstances{Now: e.now(), Network: true, FourEyes: c.Rules.Tenant.FourEyes, Purpose: c.Purpose}
}

// could refuses a caller who may do the action on nothing at all (Denied), and tells
// the log.
func (e *Engine) could(ctx context.Context, c Caller, action access.Action, kind access.Kind, id string) error {
	if err := e.admitted(c.Scope); err != nil {
		return err
	}
	if c.Rules.Policies.Could(c.Who, action, kind, e.circumstances(c)) {
		return nil
	}
	return e.refuse(ctx, c, action, string(kind), id)
}

// sights are the actions that show that something is there.
var sights = map[access.Kind]access.Action{
	access.Process: access.ReadProcess, access.Instance: access.ReadInstance, access.Task: access.ReadTask, access.Incident: access.ReadIncident,
	access.Job: access.WorkJobs,
}

// mayOn decides about a record. Denied: the caller sees it and may not; the log is told.
// NotFound, which is missing: they may not see it.
func (e *Engine) mayOn(ctx context.Context, c Caller, action access.Action, on access.Resource, missing error) error {
	switch {
	case e.sees(c, action, on):
		return nil
	case e.sees(c, sights[on.Kind], on):
		return e.refuse(ctx, c, action, string(on.Kind), on.ID)
	}
	return missing
}

// sees decides without a trace.
func (e *Engine) sees(c Caller, action access.Action, on access.Resource) bool {
	return e.decide(c, action, on).Allowed
}

func (e *Engine) decide(c Caller, action access.Action, on access.Resource) access.Decision {
	return c.Rules.Policies.Decide(c.Who, action, on, e.circumstances(c))
}

// refuse tells the log that a caller may not do something, and returns the answer.
func (e *Engine) refuse(ctx context.Context, c Caller, action access.Action, kind, id string) error {
	e.denied(ctx, c, action, kind, id)
	return fault.New(fault.Denied, "%s may not %s", c.Principal, action).WithHint("%s", wayIn(c, action, kind))
}

// wayIn says what permits an action to others. It is the same whatever the record is, so
// that nothing of one is told.
func wayIn(c Caller, action access.Action, kind string) string {
	if scopes := c.Who.Principal().Scopes; len(scopes) > 0 && !slices.ContainsFunc(scopes, func(s access.Scope) bool { return s.Covers(action) }) {
		return fmt.Sprintf("the credential that was used is for %s alone", strings.Join(plain(scopes), ", "))
	}
	text := fmt.Sprintf("ask an administrator: `underseal explain %s %s` tells them why", c.Principal, action)
	if ways := c.Rules.Policies.Ways(action); len(ways) > 0 {
		text = "what permits it: " + strings.Join(ways, "; ") + ". " + strings.ToUpper(text[:1]) + text[1:]
	}
	return text
}

// still decides again about what takes long, each time that it is called: what was taken
// from the caller meanwhile ends it. As long as it goes on, the caller's session is used.
func (e *Engine) still(ctx context.Context, c Caller, may func(Caller) error) func() error {
	return func() error {
		now, err := e.again(ctx, c)
		if err == nil {
			err = may(now)
		}
		if err == nil && now.Session != nil {
			e.people.seats.touch(now.Scope, now.Session.Token, e.moment())
		}
		return err
	}
}

// mayProcess decides about a process by its id.
func (e *Engine) mayProcess(ctx context.Context, c Caller, action access.Action, id string, version int) error {
	if err := e.could(ctx, c, action, access.Process, id); err != nil {
		return err
	}
	return e.mayOn(ctx, c, action, processResource(c.Scope, id), noProcess(id, version))
}

func processResource(scope store.Scope, id string) access.Resource {
	return access.Resource{Kind: access.Process, ID: id, Tenant: scope.Tenant(), Process: id}
}

// resource returns what an instance says of itself, for decisions.
func (l *Live) resource() access.Resource {
	r := access.Resource{Kind: access.Instance, ID: textID(l.id), Tenant: l.scope.Tenant(), Process: l.head.process, Instance: textID(l.id)}
	for _, f := range l.def.compiled.Policy.Fields {
		if f.Search != "exact" {
			continue
		}
		value, _ := l.state.Field(f.Path)
		if text, ok := value.(canon.String); ok {
			if r.Values == nil {
				r.Values = map[string]string{}
			}
			r.Values[f.Path] = string(text)
		}
	}
	return r
}

// taskResource returns what is known of a task; of one that is not open, nothing but
// its instance.
func (l *Live) taskResource(n uint64) access.Resource {
	r := l.resource()
	r.Kind, r.ID = access.Task, refText(l.id, n)
	if t, open := l.state.Task(n); open {
		r.Element, r.Assignee, r.Users, r.Groups = t.Element, t.Assignee, t.Users, t.Groups
	}
	return r
}

func (l *Live) incidentResource(i process.OpenIncident) access.Resource {
	r := l.resource()
	r.Kind, r.ID, r.Element = access.Incident, refText(l.id, i.ID), i.Element // of a closed one: none
	return r
}

// seesErased decides about an instance that was erased: its process is all that is left,
// and while it is being erased, not even that can be told.
func (e *Engine) seesErased(ctx context.Context, c Caller, id store.ID) bool {
	on := access.Resource{Kind: access.Instance, ID: textID(id), Tenant: c.Scope.Tenant(), Instance: textID(id)}
	if last, err := e.lastState(ctx, &object{scope: c.Scope, id: id, kind: store.Instance}); err == nil {
		on.Process = last.Process
	}
	return e.sees(c, access.ReadInstance, on)
}

// reach returns where a list of what the caller may see has to look; nil: everywhere.
func (e *Engine) reach(ctx context.Context, c Caller, action access.Action, kind access.Kind) (*store.Reach, error) {
	found := c.Rules.Policies.Reach(c.Who, action, kind, e.circumstances(c))
	if found.All {
		return nil, nil
	}
	r := &store.Reach{Processes: found.Processes}
	if found.Candidate {
		r.User, r.Groups = c.Principal, c.Who.Principal().Groups
	}
	for _, t := range found.Tasks {
		r.Tasks = append(r.Tasks, store.TasksOf(t))
	}
	for _, text := range found.Instances {
		id, err := store.ParseID(text)
		if err != nil {
			return nil, err
		}
		r.Instances = append(r.Instances, id)
	}
	if len(found.Where) == 0 {
		return r, nil
	}
	keys, err := e.termKeys(ctx, c.Scope.Tenant())
	for _, w := range found.Where {
		term := fieldTerm(w.Process, w.Path, canon.String(w.Value))
		r.Where = withTokens(r.Where, w.Process, blindindex.Tokens(keys, "field", term))
	}
	return r, err
}

// withTokens adds tokens to those of a process.
func withTokens(list []store.InstancesOf, process string, tokens [][32]byte) []store.InstancesOf {
	for i := range list {
		if list[i].Process == process {
			list[i].Tokens = append(list[i].Tokens, tokens...)
			return list
		}
	}
	return append(list, store.InstancesOf{Process: process, Tokens: tokens})
}
