package engine

import (
	"cmp"
	"context"
	"net/netip"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// Explain says why somebody may do something, or may not: with all that they have, and no
// credential's scopes.
func (e *Engine) Explain(ctx context.Context, c Caller, q api.ExplainQuery) (api.Explanation, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Explanation, error) { return e.explainAs(ctx, c, q) })
}

func (e *Engine) explainAs(ctx context.Context, c Caller, q api.ExplainQuery) (api.Explanation, error) {
	if err := e.may(ctx, c, access.AskExplain, "principal", q.Principal); err != nil {
		return api.Explanation{}, err
	}
	action, err := access.ParseAction(q.Action)
	if err != nil {
		return api.Explanation{}, err
	}
	if _, err := netip.ParseAddr(q.Address); err != nil && q.Address != "" {
		return api.Explanation{}, notAnAddress(q.Address)
	}
	known, err := e.knownPrincipal(ctx, c.Scope, q.Principal)
	if err != nil {
		return api.Explanation{}, err
	}
	who := known.Who()
	a := asking{Caller: c, who: who}
	on, err := e.explained(ctx, &a, action, q)
	if err != nil {
		return api.Explanation{}, err
	}
	in, told := e.circumstances(c), []shown{a.shown}
	if id, failed := parseInstanceID(q.ID); failed == nil && action == access.OrderErasure {
		custody, held, err := e.isHeld(ctx, c.Scope, id)
		if err != nil {
			return api.Explanation{}, err
		}
		in.Held = held
		told = append(told, shown{object: custody, paths: []string{"holds"}})
	}
	if err := e.tellShown(ctx, c, dataShown, "user", told...); err != nil {
		return api.Explanation{}, err
	}
	in.Purpose, in.Network = q.Purpose, q.Address == "" || known.From(q.Address)
	x := c.Rules.Policies.Explain(who.Effective(), action, on, in, a.unseen...)
	out := wireExplanation(q, who, on, x)
	out.Notes = append([]string{}, a.notes...)
	return out, nil
}

func notAnAddress(text string) error {
	return fault.New(fault.Invalid, "%q is no IP address", text).WithCode("invalid_address").WithHint("such as 192.0.2.7 or 2001:db8::7, without a port")
}

// isHeld reports whether an instance is on hold, by itself or for a person of whom it has
// data, and returns the id of its custody. What is not there, or erased, is not.
func (e *Engine) isHeld(ctx context.Context, scope store.Scope, id store.ID) (custody store.ID, held bool, err error) {
	t, custody, err := e.aim(ctx, scope, api.ErasureTarget{Kind: targetInstance, ID: textID(id)})
	if err != nil {
		return custody, false, err
	}
	err = e.undisturbed(scope, func() error {
		cu, err := e.custody(ctx, scope, custody, t)
		if err != nil {
			return err
		}
		if err := cu.free(); err != nil {
			return err
		}
		s, err := e.survey(ctx, cu)
		if err == nil {
			err = e.freeAround(ctx, cu, s)
		}
		return err
	})
	switch {
	case fault.CodeOf(err) == "on_hold":
		return custody, true, nil
	case fault.Is(err, fault.NotFound), fault.Is(err, fault.Sealed):
		return custody, false, nil
	}
	return custody, false, err
}

// asking is somebody who asks what a principal may, and what of the values that the
// principal's grants are on they see.
type asking struct {
	Caller
	who    access.Principal
	unseen []string // paths of sensitive ones that they do not see in clear
	shown  shown
	notes  []string // what they may be told besides the decision
}

// look looks at the values of an instance that the principal's grants are on: whether one
// matches says something of the value, which who asks need not see; an Auditor sees none.
func (a *asking) look(e *Engine, l *Live) {
	v := e.lens(a.Caller, l, l.resource())
	for _, g := range a.who.Grants {
		if g.Where == nil || g.Process != l.head.process {
			continue
		}
		path := g.Where.Path
		if sensitive := l.state.Label(path).Sensitive() || l.def.compiled.Policy.Sensitive(path); !v.look(path, sensitive) {
			a.unseen = append(a.unseen, path)
		}
	}
	a.shown = v.told("")
}

func wireExplanation(q api.ExplainQuery, who access.Principal, on access.Resource, x access.Explanation) api.Explanation {
	out := api.Explanation{
		Principal: q.Principal, Action: q.Action, Kind: string(on.Kind), ID: on.ID, Allowed: x.Allowed, Depends: x.Depends,
		Who: api.Explained{
			Kind: who.Kind, Active: !who.Disabled && !who.TenantDisabled, Roles: plain(who.Roles), Groups: plain(who.Groups), Grants: len(who.Grants),
		},
		On:      api.Concerned{Process: on.Process, Element: on.Element, Field: on.Field, Assignee: on.Assignee, Users: on.Users, Groups: on.Groups},
		Reasons: wireReasons(x.Reasons), Grants: wireGrants(x.Grants), NearMisses: []api.NearMiss{}, Ways: wireReasons(x.Ways),
	}
	for _, m := range x.NearMisses {
		out.NearMisses = append(out.NearMisses, api.NearMiss{Policy: m.Policy, Grant: m.Grant, Condition: string(m.Unmet), Text: m.Text})
	}
	return out
}

func wireReasons(reasons []access.Reason) []api.Reason {
	out := make([]api.Reason, len(reasons))
	for i, r := range reasons {
		out[i] = api.Reason{Policy: r.Policy, Text: r.Text}
	}
	return out
}

// explained returns what a question is about, with what its record says.
func (e *Engine) explained(ctx context.Context, a *asking, action access.Action, q api.ExplainQuery) (access.Resource, error) {
	kind, err := access.ParseKind(cmp.Or(q.Kind, string(action.Kind())))
	if err != nil {
		return access.Resource{}, err
	}
	if _, failed := parseInstanceID(q.ID); failed == nil && q.Kind == "" && (action == access.OrderErasure || action == access.PlaceHold) {
		kind = access.Instance // which is erased, or held
	}
	on := access.Resource{Kind: kind, ID: q.ID, Tenant: a.Scope.Tenant(), Field: q.Field}
	if q.Field != "" && kind != access.Field {
		return on, fault.New(fault.Invalid, "a %s has no field %q", kind, q.Field).WithCode("invalid_resource").WithHint("ask for value:read or value:reveal")
	}
	if q.ID == "" {
		return on, nil
	}
	switch kind {
	case access.Process:
		return e.explainedProcess(ctx, a, q.ID)
	case access.Field:
		if strings.Contains(q.ID, ".") {
			return e.explainedValue(ctx, a, on)
		}
		return e.explainedInstance(ctx, a, on)
	case access.Instance:
		return e.explainedInstance(ctx, a, on)
	case access.Task, access.Job, access.Incident:
		return e.explainedPart(ctx, a, on)
	case access.APIKey, access.Given, access.Session:
		on.Owner, err = e.explainedOwner(ctx, a, on)
	case access.Breach:
		return e.explainedGlass(ctx, a, on.ID)
	case access.Someone:
		on.Owner = q.ID
	case access.Tenant, access.Secret, access.Connector:
		on.Name = q.ID
	}
	return on, err
}

// explainedOwner returns whose a key, grant or session is: the principal's name, or else
// nobody's who is asked about.
func (e *Engine) explainedOwner(ctx context.Context, a *asking, on access.Resource) (string, error) {
	if on.Kind != access.Session {
		asked := a.Caller
		asked.Principal = a.who.Name
		return e.ownerOfPart(ctx, asked, on.ID)
	}
	id, err := store.ParseID(on.ID)
	if err != nil {
		return "", noSuch("session", on.ID)
	}
	row, err := e.store.SessionByID(ctx, a.Scope, id)
	if fault.Is(err, fault.NotFound) {
		return "", noSuch("session", on.ID)
	}
	if err != nil {
		return "", err
	}
	s, err := e.openSession(ctx, a.Scope, row)
	return s.Principal, err
}

// explainedGlass returns a break-glass as it is decided about, with the process that its
// instance is of.
func (e *Engine) explainedGlass(ctx context.Context, a *asking, id string) (access.Resource, error) {
	t, err := e.openTenant(ctx, a.Scope)
	if err != nil {
		return access.Resource{}, err
	}
	b, err := t.glass(id)
	if err != nil {
		return access.Resource{}, err
	}
	asked := a.Caller
	asked.Principal = a.who.Name
	on := glassResource(asked, b)
	if on.Process == "" {
		on.Process, err = e.processOf(ctx, a.Scope, b.Instance)
	}
	return on, err
}

func (e *Engine) explainedProcess(ctx context.Context, a *asking, id string) (access.Resource, error) {
	on := processResource(a.Scope, id)
	d, err := e.version(ctx, a.Scope, id, 0)
	if fault.Is(err, fault.NotFound) { // a process can be asked for before it is deployed
		if e.sees(a.Caller, access.ReadProcess, on) {
			a.notes = append(a.notes, notDeployed(id))
		}
		return on, nil
	}
	if err != nil {
		return on, err
	}
	on.Confidential = d.setting == process.Confidential || isConfidential(d.compiled)
	return on, nil
}

// isConfidential reports whether a process has confidential data.
func isConfidential(d *process.Definition) bool {
	if d.Policy.Mode == process.Confidential || d.Policy.Default >= process.Confident {
		return true
	}
	for _, f := range d.Policy.Fields {
		if f.Class >= process.Confident || f.Subject != "" {
			return true
		}
	}
	return false
}

// explainedInstance reads an instance, or one whose field is asked for.
func (e *Engine) explainedInstance(ctx context.Context, a *asking, on access.Resource) (access.Resource, error) {
	id, err := store.ParseID(on.ID)
	if err != nil {
		return on, noSuch("instance", on.ID)
	}
	return e.explainedLive(ctx, a, id, on, func(l *Live) (access.Resource, bool) { return l.resource(), true })
}

// explainedValue reads a field as who does a task, or works a job, is shown it.
func (e *Engine) explainedValue(ctx context.Context, a *asking, on access.Resource) (access.Resource, error) {
	ref, err := parseRef("task or job", on.ID)
	if err != nil {
		return on, err
	}
	var failed error
	found, err := e.explainedLive(ctx, a, ref.Instance, on, func(l *Live) (access.Resource, bool) {
		if t, open := l.state.Task(ref.Job); open {
			v, _, err := e.taskLens(ctx, a.Caller, l, t)
			failed = err
			r := v.on
			r.InForm = err == nil && v.form(process.PolicyPath(on.Field))
			return r, true
		}
		j, open := l.state.Job(ref.Job)
		r := l.resource()
		r.Element = j.Element
		_, _ = l.state.JobVariables(ref.Job, func(f process.Field) bool {
			r.Given = r.Given || f.Path == on.Field || isBelow(on.Field, map[string]bool{f.Path: true})
			return false
		})
		return r, open
	})
	return found, cmp.Or(err, failed)
}

// explainedPart reads an open task, a job or an incident.
func (e *Engine) explainedPart(ctx context.Context, a *asking, on access.Resource) (access.Resource, error) {
	ref, err := parseRef(string(on.Kind), on.ID)
	if err != nil {
		return on, err
	}
	return e.explainedLive(ctx, a, ref.Instance, on, func(l *Live) (access.Resource, bool) {
		switch on.Kind {
		case access.Task:
			_, open := l.state.Task(ref.Job)
			return l.taskResource(ref.Job), open
		case access.Incident:
			i, open := l.state.Incident(ref.Job)
			return l.incidentResource(i), open
		}
		j, open := l.state.Job(ref.Job)
		r := l.resource()
		r.Element = j.Element
		return r, open
	})
}

// explainedLive asks an instance for a resource. Of one that was erased its process is
// all that is known.
func (e *Engine) explainedLive(ctx context.Context, a *asking, id store.ID, on access.Resource, ask func(*Live) (access.Resource, bool)) (access.Resource, error) {
	missing := noSuch(string(on.Kind), on.ID)
	found := on
	err := e.runner.Use(ctx, a.Scope, id, func(l *Live) error {
		r, open := ask(l)
		if !open {
			return missing
		}
		found = r
		a.look(e, l)
		return nil
	})
	switch {
	case fault.Is(err, fault.Sealed):
		last, err := e.lastState(ctx, &object{scope: a.Scope, id: id, kind: store.Instance})
		if err == nil {
			found.Process = last.Process
		}
	case fault.Is(err, fault.NotFound):
		return on, missing
	case err != nil:
		return on, err
	}
	found.Kind, found.ID, found.Field = on.Kind, on.ID, on.Field
	return found, nil
}
