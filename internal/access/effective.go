package access

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
)

// Effective is a principal, prepared for decisions: its grants are found by what they
// are on, and what was decided is kept. It is immutable besides, and safe for concurrent use.
type Effective struct {
	principal Principal
	entity    types.Entity
	grants    map[place][]*Grant
	wheres    map[place][]string // paths of the conditions on a process' instances
	answers   *answers
}

// place is where grants are found. By each of its conditions a grant has a place; by
// which of them it may match is decided by what is asked for.
type place struct {
	right       Right
	process     string
	by          condition
	name, value string
}

// condition is a kind of condition of a grant.
type condition byte

const (
	byProcess  condition = iota // all grants of the right on the process
	byNothing                   // those of them without a condition
	byWhere                     // name is the path, value the value
	byInstance                  // name is its id
	byTask                      // name is the element
	byField                     // name is a path
	byName                      // name is of a secret or connector
)

// Effective prepares a principal; it must not be changed afterwards.
func (p Principal) Effective() *Effective {
	e := &Effective{principal: p, entity: principalEntity(p), grants: map[place][]*Grant{}, wheres: map[place][]string{}, answers: &answers{}}
	for i := range p.Grants {
		e.index(&p.Grants[i])
	}
	return e
}

// Principal returns who it is.
func (e *Effective) Principal() Principal { return e.principal }

// Scoped returns the principal with the scopes of a credential.
func (e *Effective) Scoped(scopes []Scope) *Effective {
	scoped := *e
	scoped.principal.Scopes, scoped.answers = scopes, &answers{}
	return &scoped
}

func (e *Effective) index(g *Grant) {
	at := place{right: g.Right, process: g.Process}
	e.add(at, g)
	if g.Process != "" {
		e.add(place{right: g.Right}, g) // for what belongs to no process yet
	}
	switch {
	case g.Instance != "":
		e.add(at.of(byInstance, g.Instance, ""), g)
	case g.Where != nil:
		e.add(at.of(byWhere, g.Where.Path, g.Where.Value), g)
		if !slices.Contains(e.wheres[at], g.Where.Path) {
			e.wheres[at] = append(e.wheres[at], g.Where.Path)
		}
	case g.Task != "":
		e.add(at.of(byTask, g.Task, ""), g)
	case g.Name != "":
		e.add(at.of(byName, g.Name, ""), g)
	case len(g.Fields) == 0:
		e.add(at.of(byNothing, "", ""), g)
	}
	for _, f := range g.Fields {
		e.add(at.of(byField, f, ""), g)
	}
}

func (p place) of(by condition, name, value string) place {
	p.by, p.name, p.value = by, name, value
	return p
}

func (e *Effective) add(at place, g *Grant) { e.grants[at] = append(e.grants[at], g) }

// matching returns the first grant of a right that matches, nil if none does.
func (e *Effective) matching(right Right, on *Resource, in *Circumstances) *Grant {
	if len(e.grants) == 0 {
		return nil
	}
	var few [8]place // mostly enough
	for _, at := range e.places(few[:0], right, on) {
		for _, g := range e.grants[at] {
			if len(g.unmet(on, in)) == 0 {
				return g
			}
		}
	}
	return nil
}

// places appends where grants of a right that may match are.
func (e *Effective) places(places []place, right Right, on *Resource) []place {
	if right == ToUse {
		at := place{right: right}
		return append(places, at.of(byName, on.Name, ""), at.of(byName, All, ""))
	}
	for _, process := range [...]string{on.Process, All} {
		at := place{right: right, process: process}
		switch {
		case right == ToRead || right == ToReveal:
			places = inFields(places, at, on)
		case on.whole():
			places = append(places, at)
		default:
			places = e.inParts(places, at, on)
		}
	}
	return places
}

// inFields appends where grants on fields are.
func inFields(places []place, at place, on *Resource) []place {
	if on.Kind != Field {
		return append(places, at)
	}
	for path := on.Field; path != ""; path = parent(path) {
		places = append(places, at.of(byField, path, ""))
	}
	return append(places, at.of(byField, All, ""))
}

// inParts appends where grants on instances and tasks are.
func (e *Effective) inParts(places []place, at place, on *Resource) []place {
	places = append(places, at.of(byNothing, "", ""))
	if on.Element != "" {
		places = append(places, at.of(byTask, on.Element, ""))
	}
	if on.Instance != "" {
		places = append(places, at.of(byInstance, on.Instance, ""))
	}
	for _, path := range e.wheres[at] {
		if value, ok := on.Values[path]; ok {
			places = append(places, at.of(byWhere, path, value))
		}
	}
	return places
}

// whole reports whether conditions on instances and tasks do not apply: who may see
// some instance may see the process.
func (r *Resource) whole() bool { return r.Kind == Process || r.Kind == File }

// parent returns the path of what a field is part of, "" if it is a variable.
func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// Unmet is a condition of a grant that is not met.
type Unmet string

// The conditions that a grant may have.
const (
	Expired       Unmet = "expired"
	OtherProcess  Unmet = "process"
	OtherInstance Unmet = "instance"
	OtherTask     Unmet = "task"
	OtherValue    Unmet = "where"
	OtherField    Unmet = "fields"
	OtherName     Unmet = "name"
	NoPurpose     Unmet = "purpose"
	UnseenValue   Unmet = "unseen" // which is not said: it is on a value that who asks does not see
)

// unmet returns the conditions of the grant that are not met: what a match is.
func (g *Grant) unmet(on *Resource, in *Circumstances) []Unmet {
	var list []Unmet
	add := func(wrong bool, what Unmet) {
		if wrong {
			list = append(list, what)
		}
	}
	add(!g.Expires.IsZero() && !in.Now.Before(g.Expires), Expired)
	add(g.Right != ToUse && g.Process != All && g.Process != on.Process && on.Kind != File, OtherProcess)
	add(g.Instance != "" && g.Instance != on.Instance && !on.whole(), OtherInstance)
	add(g.Task != "" && g.Task != on.Element && !on.whole(), OtherTask)
	add(g.Where != nil && !g.Where.holds(on) && !on.whole(), OtherValue)
	add(on.Kind == Field && len(g.Fields) > 0 && !covers(g.Fields, on.Field), OtherField)
	add(g.Right == ToUse && g.Name != All && g.Name != on.Name, OtherName)
	add(g.Right == ToReveal && g.Purpose == "" && in.Purpose == "", NoPurpose)
	return list
}

func (w *Where) holds(on *Resource) bool {
	value, ok := on.Values[w.Path]
	return ok && value == w.Value
}

// covers reports whether paths name a field, something that it is part of, or all.
func covers(paths []string, field string) bool {
	if slices.Contains(paths, All) {
		return true
	}
	for ; field != ""; field = parent(field) {
		if slices.Contains(paths, field) {
			return true
		}
	}
	return false
}
