package access

import (
	"slices"

	"github.com/cedar-policy/cedar-go"
)

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
	permits := p.of(cedar.Permit, action)
	if p.question(who, action, &on, in).decide(permits).Allowed {
		return Reach{All: true}
	}
	on.Users = []string{who.principal.Name}
	r := Reach{Candidate: p.question(who, action, &on, in).decide(permits).Allowed}
	for i := range who.principal.Grants {
		g := &who.principal.Grants[i]
		if slices.Contains(p.rights[action], g.Right) && !slices.Contains(g.unmet(&on, &in), Expired) {
			r.add(g, &on)
		}
	}
	return r
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
