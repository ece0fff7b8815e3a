package process

import (
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/feel"
)

// Who gets a task, which worker a job, and when something is due stand in clear
// rows, because they are searched for; in every mode. So an expression for one of
// them may read only fields that are clear by class and are about nobody.

// routed evaluates an expression for a clear row.
func (r *run) routed(what string, x *expression, v *view) (canon.Value, []feel.Warning, string, *problem) {
	if paths := v.sealedReads(x); len(paths) > 0 {
		return nil, nil, "", &problem{"clear_routing", what + ": " + notClear(x.Source(), paths), v.labelOf(x)}
	}
	value, warnings, trouble := r.evaluateAll(x, v)
	return value, warnings, trouble, nil
}

// sealedReads lists the paths that an expression reads and that are sealed by
// class or subject.
func (v *view) sealedReads(x *expression) []string {
	var paths []string
	for _, r := range x.reads {
		if found := v.find(r.variable); found != nil {
			if l := found.labelOfRead(r.place); l != nil && Sealed(Standard, *l) {
				paths = append(paths, r.variable+r.place)
			}
		}
	}
	return paths
}

func notClear(source string, paths []string) string {
	return "expression " + strings.TrimSpace(source) + " reads " + strings.Join(paths, ", ") +
		", which is sealed, and its result would be stored in clear: " +
		"use a constant or a field of class public or internal without a subject, or give the field a lower class"
}

// routing checks the expressions for clear rows against what the policy alone
// says of the fields that they read.
func (c *checker) routing(t *policyTree) {
	for i := range c.d.Elements {
		e := &c.d.Elements[i]
		if e.Job != nil {
			c.routed(t, e.ID, "job type", e.Job.Type)
			c.routed(t, e.ID, "job retries", e.Job.Retries)
		}
		if e.User != nil {
			c.routed(t, e.ID, "assignee", e.User.Assignee)
			c.routed(t, e.ID, "candidate groups", e.User.CandidateGroups)
			c.routed(t, e.ID, "candidate users", e.User.CandidateUsers)
			c.routed(t, e.ID, "due date", e.User.DueDate)
		}
		if e.Timer != nil {
			c.routed(t, e.ID, "timer", e.Timer.Expression)
		}
	}
}

func (c *checker) routed(t *policyTree, place, what string, e *feel.Expression) {
	if e == nil {
		return
	}
	var paths []string
	for _, path := range e.Reads() {
		if t.seals(string(path)) {
			paths = append(paths, string(path))
		}
	}
	if len(paths) > 0 {
		c.report(place, "%s: %s", what, notClear(e.Source(), paths))
	}
}

// seals reports whether what is read at a path is sealed whatever wrote it.
func (t *policyTree) seals(path string) bool {
	known := false
	for _, r := range appendReads(nil, path) {
		root := t.roots[r.variable]
		if root == nil {
			continue
		}
		known = true
		if root.sealsRead(t.standard, r.place) {
			return true
		}
	}
	return !known && Sealed(Standard, *t.standard)
}

// sealsRead is labelOfRead for a variable that has every declared field.
func (n *policyNode) sealsRead(standard *Label, place string) bool {
	type field struct {
		suffix string
		sealed bool
	}
	fields := []field{{"", !n.declared && Sealed(Standard, *standard)}}
	owner := ""
	n.walk("", func(suffix string, n *policyNode) {
		fields = append(fields, field{suffix, n.class >= Confident || len(n.subjects) > 0})
		if len(suffix) > len(owner) && within(place, suffix) {
			owner = suffix
		}
	})
	return slices.ContainsFunc(fields, func(f field) bool {
		return f.sealed && (f.suffix == owner || within(f.suffix, place))
	})
}

// walk visits the declared fields of a variable with their generic suffixes.
func (n *policyNode) walk(suffix string, visit func(suffix string, n *policyNode)) {
	if n.declared {
		visit(suffix, n)
	}
	for _, child := range n.children {
		child.walk(suffix+"."+child.name, visit)
	}
	if n.item != nil {
		n.item.walk(suffix, visit)
	}
}
