package bpmn

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/process"
)

var classes = map[string]process.Class{
	"public": process.Public, "internal": process.Internal, "confidential": process.Confident, "regulated": process.Regulated,
}

var (
	policyPath = regexp.MustCompile(`^[\pL_][\pL\pN_]*(\[\])*(\.[\pL_][\pL\pN_]*(\[\])*)*$`)
	period     = regexp.MustCompile(`^P(\d+Y)?(\d+M)?(\d+W)?(\d+D)?$`)
)

// policyReader gathers a policy from all places where a model can write it.
type policyReader struct {
	*compiler
	policy process.Policy
	said   map[string]*Node // settings and field paths, for what is said twice
}

// policy reads what the model says about a process's data: on the process, on its
// data objects and properties, and on the file's messages and item definitions.
func (c *compiler) policy(p *Node) process.Policy {
	r := &policyReader{compiler: c, said: map[string]*Node{},
		policy: process.Policy{Mode: process.Standard, Default: process.Internal}}
	r.process(p)
	for _, n := range c.model.Root.Children {
		if n.Is("message") || n.Is("itemDefinition") {
			r.carrier(n)
		}
	}
	p.Walk(func(n *Node) bool {
		if n.Is("dataObject") || n.Is("property") {
			r.carrier(n)
		}
		return n.Space == NamespaceBPMN
	})
	slices.SortFunc(r.policy.Fields, func(a, b process.FieldPolicy) int { return cmp.Compare(a.Path, b.Path) })
	return r.policy
}

func (r *policyReader) process(p *Node) {
	if mode, ok := sealVocabulary.attr(p, "mode"); ok {
		r.mode(p, mode)
	}
	if retention, ok := sealVocabulary.attr(p, "retention"); ok {
		r.retention(p, retention)
	}
	for _, n := range sealVocabulary.children(p, "policy") {
		if class, ok := n.Lookup("", "default"); ok {
			r.standard(n, class)
		}
		if retention, ok := n.Lookup("", "retention"); ok {
			r.retention(n, retention)
		}
		r.fields(n)
	}
	r.properties(p, true)
}

// carrier reads an element on which fields can be declared.
func (r *policyReader) carrier(n *Node) {
	r.fields(n)
	r.properties(n, false)
}

func (r *policyReader) fields(n *Node) {
	for _, f := range sealVocabulary.children(n, "field") {
		r.field(f, process.FieldPolicy{
			Path: f.Attr("path"), Class: r.class(f, f.Attr("class")), Subject: f.Attr("subject"), Search: f.Attr("search"),
		})
	}
}

// properties reads settings written as properties named seal:..., which is how
// modelers without our namespace can write them.
func (r *policyReader) properties(n *Node, isProcess bool) {
	for _, v := range []*vocabulary{&zeebeVocabulary, &camundaVocabulary} {
		for _, list := range v.children(n, "properties") {
			for _, p := range v.children(list, "property") {
				r.property(p, isProcess)
			}
		}
	}
}

// checkProperty refuses a setting where the policy is not read from.
func (c *compiler) checkProperty(p *Node) {
	name := p.Attr("name")
	if p.Name != "property" || !strings.HasPrefix(name, "seal:") {
		return
	}
	if host := p.Parent.host(); host != nil && !host.Is("process") && !slices.Contains(carriers, host.Name) {
		c.add(p, "property %s does nothing on %s", name, article(host.Name))
	}
}

func (r *policyReader) property(p *Node, isProcess bool) {
	name, ours := strings.CutPrefix(p.Attr("name"), "seal:")
	value := strings.TrimSpace(p.Attr("value"))
	switch {
	case !ours:
	case name == "field":
		r.fieldText(p, value)
	case !isProcess:
		r.add(p, "property seal:%s does nothing on %s", name, article(p.Parent.host().Name))
	case name == "mode":
		r.mode(p, value)
	case name == "default":
		r.standard(p, value)
	case name == "retention":
		r.retention(p, value)
	default:
		r.add(p, "property seal:%s is not known: seal:mode, seal:default, seal:retention and seal:field are", name)
	}
}

// fieldText reads a field written as text: a path, then class=, subject= and
// search= in any order.
func (r *policyReader) fieldText(p *Node, text string) {
	parts := strings.Fields(text)
	if len(parts) == 0 {
		r.add(p, `property seal:field is empty: write it like "applicant.ssn class=regulated subject=applicant.id search=exact"`)
		return
	}
	f := process.FieldPolicy{Path: parts[0]}
	class := ""
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "class":
			class = value
		case "subject":
			f.Subject = value
		case "search":
			f.Search = value
		default:
			r.add(p, "property seal:field has %q: class=, subject= and search= are known", part)
		}
	}
	if f.Search != "" && f.Search != "exact" {
		r.add(p, "search=%q is not a kind of search: write exact", f.Search)
	}
	f.Class = r.class(p, class)
	r.field(p, f)
}

// class reads a class. A declared field says its own: one that silently took the
// default's would change with it.
func (r *policyReader) class(n *Node, name string) process.Class {
	if name == "" {
		r.add(n, "field has no class: write public, internal, confidential or regulated")
		return process.Regulated
	}
	class, ok := classes[name]
	if !ok && !vocabularyReports(n) {
		r.add(n, "class %q %s", name, noClass)
	}
	return class
}

// vocabularyReports tells whether the tables have looked at the value already.
func vocabularyReports(n *Node) bool { return n.Space == NamespaceSeal }

func (r *policyReader) field(n *Node, f process.FieldPolicy) {
	if !policyPath.MatchString(f.Path) {
		r.add(n, "path %q is not a path like applicant.ssn or people[].phone", f.Path)
		return
	}
	if f.Subject != "" && !policyPath.MatchString(f.Subject) {
		r.add(n, "subject %q of %q is not a path like applicant.id", f.Subject, f.Path)
		return
	}
	if r.once(n, "field "+f.Path) {
		r.policy.Fields = append(r.policy.Fields, f)
	}
}

func (r *policyReader) mode(n *Node, value string) {
	mode := process.Mode(value)
	if mode != process.Standard && mode != process.Confidential {
		if n.Space != NamespaceBPMN {
			r.add(n, "mode %q is not a mode: write standard or confidential", value)
		}
		return
	}
	if r.once(n, "mode") {
		r.policy.Mode = mode
	}
}

func (r *policyReader) standard(n *Node, value string) {
	if r.once(n, "default class") {
		r.policy.Default = r.class(n, value)
	}
}

func (r *policyReader) retention(n *Node, value string) {
	if !period.MatchString(value) || value == "P" {
		r.add(n, "retention %q is not a period like P7Y or P90D", value)
		return
	}
	if r.once(n, "retention") {
		r.policy.Retention = value
	}
}

// once reports a second statement of the same thing: which of two would count is
// not to be guessed where confidentiality depends on it.
func (r *policyReader) once(n *Node, what string) bool {
	first := r.said[what]
	if first != nil {
		r.add(n, "%s is declared twice, first in line %d", what, first.Line)
		return false
	}
	r.said[what] = n
	return true
}
