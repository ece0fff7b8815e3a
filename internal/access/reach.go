package access

import "slices"

// Reach is where all that somebody may do an action on is to be found, so that a list
// looks nowhere else. It may be wider than the decisions, never narrower: what is found is
// decided one by one.
type Reach struct {
	All       bool        // anywhere; the rest is empty then
	Candidate bool        // tasks that they are assignee of or a candidate for
	Processes []string    // anything of these
	Tasks     []Part      // tasks of an element of a process
	Where     []Condition // instances with a value, and what is of them
	Instances []string    // these, by id, and what is of them
}

// Part is an element of a process.
type Part struct{ Process, Element string }

// Condition is a value of a searchable field of a process.
type Condition struct {
	Process string
	Where
}

// Reach returns where resources of a kind are that the principal may do the action on.
func (p *Policies) Reach(who *Effective, action Action, kind Kind, in Circumstances) Reach {
	on := Resource{Kind: kind, Tenant: who.principal.Tenant}
	if q := p.question(who, action, &on, in); q.decide(permits).Allowed {
		return Reach{All: true}
	}
	r := Reach{Candidate: p.asCandidate(who, action, on, in)}
	for i := range who.principal.Grants {
		if g := &who.principal.Grants[i]; p.reachedBy(g, action, &on, &in) {
			r.add(g, &on)
		}
	}
	return r
}

// asCandidate reports whether a task is permitted to who may claim it.
func (p *Policies) asCandidate(who *Effective, action Action, on Resource, in Circumstances) bool {
	on.Users = []string{who.principal.Name}
	q := p.question(who, action, &on, in)
	return q.decide(permits).Allowed
}

// reachedBy reports whether a grant permits an action somewhere.
func (p *Policies) reachedBy(g *Grant, action Action, on *Resource, in *Circumstances) bool {
	return slices.Contains(p.rights[action], g.Right) && !slices.Contains(g.unmet(on, in), Expired)
}

func (r *Reach) add(g *Grant, on *Resource) {
	switch {
	case g.Instance != "" && !on.whole():
		r.Instances = appendNew(r.Instances, g.Instance)
	case on.whole() || g.Where == nil && g.Task == "":
		r.Processes = appendNew(r.Processes, g.Process)
	case g.Where != nil:
		r.Where = appendNew(r.Where, Condition{g.Process, *g.Where})
	default:
		r.Tasks = appendNew(r.Tasks, Part{g.Process, g.Task})
	}
}

func appendNew[T comparable](list []T, item T) []T {
	if slices.Contains(list, item) {
		return list
	}
	return append(list, item)
}
