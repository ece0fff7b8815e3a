package access

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Words are the attributes that a tenant's policy may read of a variable.
type Words struct {
	Variable   string
	Attributes []string // sorted
}

// Vocabulary returns all that a tenant's policy may read.
func Vocabulary() []Words {
	return []Words{
		wordsOf("principal", slices.Sorted(principalEntity(Principal{}).Attributes.Keys())),
		wordsOf("resource", resourceAttributes),
		wordsOf("context", contextAttributes),
	}
}

func wordsOf(variable string, names []types.String) Words {
	w := Words{Variable: variable}
	for _, name := range names {
		w.Attributes = append(w.Attributes, string(name))
	}
	return w
}

// maxNodes bounds the nodes of a policy's conditions: what they cost at each decision.
const maxNodes = 500

// walk goes through a policy and collects what is not in the vocabulary.
type walk struct {
	nodes int
	wrong []string
}

func newWalk(one *cedar.Policy) walk {
	var w walk
	p := (*ast.Policy)(one.AST())
	w.scope("principal", p.Principal)
	w.scope("action", p.Action)
	w.scope("resource", p.Resource)
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), w.node)
	}
	slices.Sort(w.wrong)
	w.wrong = slices.Compact(w.wrong)
	return w
}

func (w *walk) add(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

func (w *walk) scope(variable string, s ast.IsScopeNode) {
	switch s := s.(type) {
	case ast.ScopeTypeEq:
		w.entity(variable, s.Entity)
	case ast.ScopeTypeIn:
		w.in(variable)
		w.entity(variable, s.Entity)
	case ast.ScopeTypeInSet:
		for _, one := range s.Entities {
			w.entity(variable, one)
		}
	case ast.ScopeTypeIs:
		w.kind(variable, s.Type)
	case ast.ScopeTypeIsIn:
		w.kind(variable, s.Type)
		w.in(variable)
	}
}

func (w *walk) in(variable string) {
	if variable != "action" {
		w.add("asks whether an entity is in another, which only actions are; use principal.groups.contains(..) or resource.process == ..")
	}
}

// entity checks one that is named where a variable stands; "" is anywhere.
func (w *walk) entity(variable string, e types.EntityUID) {
	if e.Type != "Action" {
		w.kind(variable, e.Type)
		return
	}
	if _, err := ParseAction(string(e.ID)); err != nil || variable != "action" && variable != "" {
		w.add("names Action::%q, which is no action", string(e.ID))
	}
}

func (w *walk) kind(variable string, kind types.EntityType) {
	principal, resource := kind == User || kind == Service, slices.Contains(Kinds(), Kind(kind))
	switch {
	case variable == "principal" && principal, variable == "resource" && resource, variable == "" && (principal || resource):
	default:
		w.add("names an entity of type %q; there are %s, %s, and of resources %s", string(kind), User, Service, listed(Kinds()))
	}
}

// node looks at one node, and reports whether to look below it.
func (w *walk) node(n ast.IsNode) bool {
	if w.nodes++; w.nodes > maxNodes {
		w.add("has more than %d nodes; make it simpler", maxNodes)
		return false
	}
	switch n := n.(type) {
	case ast.NodeTypeAccess:
		w.attribute(n)
	case ast.NodeValue:
		w.value(n.Value)
	case ast.NodeTypeIs:
		w.kind("", n.EntityType)
	case ast.NodeTypeIsIn:
		w.kind("", n.EntityType)
		w.in("")
	case ast.NodeTypeIn:
		v, _ := n.Left.(ast.NodeTypeVariable)
		w.in(string(v.Name))
	case ast.NodeTypeHas, ast.NodeTypeHasTag, ast.NodeTypeGetTag, ast.NodeTypeExtensionCall, ast.NodeTypeRecord:
		w.add("uses has, a tag, an extension or a record, which are not available")
	}
	return true
}

func (w *walk) attribute(n ast.NodeTypeAccess) {
	v, _ := n.Arg.(ast.NodeTypeVariable)
	for _, words := range Vocabulary() {
		if words.Variable != string(v.Name) {
			continue
		}
		if !slices.Contains(words.Attributes, string(n.Value)) {
			w.add("reads %s.%s; there are %s", v.Name, n.Value, listed(words.Attributes))
		}
		return
	}
	w.add("reads .%s of something else than principal, resource and context", n.Value)
}

func (w *walk) value(v types.Value) {
	switch v := v.(type) {
	case types.EntityUID:
		w.entity("", v)
	case types.Boolean, types.Long, types.String:
	default:
		w.add("uses has, a tag, an extension or a record, which are not available")
	}
}
