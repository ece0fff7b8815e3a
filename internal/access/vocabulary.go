package access

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/underseal/underseal/internal/canon"
)

// Words are the attributes that a tenant's policy may read of a variable.
type Words struct {
	Variable   string
	Attributes []string // sorted
}

// Vocabulary returns all that a tenant's policy may read.
func Vocabulary() []Words {
	return []Words{
		wordsOf("principal", principalEntity(Principal{}).Attributes),
		wordsOf("resource", resourceEntity(&Resource{}).Attributes),
		wordsOf("context", (&facts{}).record()),
	}
}

func wordsOf(variable string, attributes types.Record) Words {
	w := Words{Variable: variable}
	for name := range attributes.Keys() {
		w.Attributes = append(w.Attributes, string(name))
	}
	slices.Sort(w.Attributes)
	return w
}

// walk goes through a policy's JSON form, whose nodes are objects with the operator's
// name, and collects what is not in the vocabulary.
type walk struct{ wrong []string }

func newWalk(p *cedar.Policy) walk {
	var w walk
	data, err := p.MarshalJSON()
	if err != nil {
		w.add("is too deep; make it simpler")
		return w
	}
	body, err := canon.DecodeJSON(data)
	if err != nil {
		w.add("has a number that is too large, or is too deep; make it simpler")
		return w
	}
	for _, variable := range []string{"principal", "action", "resource"} {
		w.scope(variable, part(body, variable))
	}
	conditions, _ := part(body, "conditions").(canon.List)
	for _, c := range conditions {
		w.node(part(c, "body"))
	}
	slices.Sort(w.wrong)
	w.wrong = slices.Compact(w.wrong)
	return w
}

// part returns what an object has of a name, nil if there is nothing or it is none.
func part(v canon.Value, name string) canon.Value {
	object, _ := v.(*canon.Context)
	value, _ := object.Get(name)
	return value
}

func textPart(v canon.Value, name string) string {
	s, _ := part(v, name).(canon.String)
	return string(s)
}

func (w *walk) add(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

func (w *walk) scope(variable string, s canon.Value) {
	if one := part(s, "entity"); one != nil {
		w.entity(variable, one)
	}
	several, _ := part(s, "entities").(canon.List)
	for _, one := range several {
		w.entity(variable, one)
	}
	if kind := textPart(s, "entity_type"); kind != "" {
		w.kind(variable, kind)
	}
	if variable != "action" && (textPart(s, "op") == "in" || part(s, "in") != nil) {
		w.in()
	}
}

func (w *walk) in() {
	w.add("asks whether an entity is in another, which only actions are; use principal.groups.contains(..) or resource.process == ..")
}

// entity checks one that is named where a variable stands; "" is anywhere.
func (w *walk) entity(variable string, e canon.Value) {
	kind, id := textPart(e, "type"), textPart(e, "id")
	if kind != "Action" {
		w.kind(variable, kind)
		return
	}
	if _, err := ParseAction(id); err != nil || variable != "action" && variable != "" {
		w.add("names Action::%q, which is no action", id)
	}
}

func (w *walk) kind(variable, kind string) {
	principal, resource := kind == User || kind == Service, slices.Contains(Kinds(), Kind(kind))
	switch {
	case variable == "principal" && principal, variable == "resource" && resource, variable == "" && (principal || resource):
	default:
		w.add("names an entity of type %q; there are %s, %s, and of resources %s", kind, User, Service, listed(Kinds()))
	}
}

// operators have nodes below them and need no look themselves.
var operators = []string{
	"==", "!=", "<", "<=", ">", ">=", "&&", "||", "+", "-", "*", "!", "neg", "in", "contains", "containsAll", "containsAny", "isEmpty",
	"if-then-else", "Set",
}

func (w *walk) node(n canon.Value) {
	object, _ := n.(*canon.Context)
	for i := range object.Len() {
		w.operator(object.At(i).Name, object.At(i).Value)
	}
}

func (w *walk) operator(name string, operand canon.Value) {
	switch {
	case name == ".":
		w.attribute(operand)
	case name == "Value":
		w.value(operand)
	case name == "Var":
	case name == "is":
		w.kind("", textPart(operand, "entity_type"))
		if part(operand, "in") != nil {
			w.in()
		}
		w.node(part(operand, "left"))
	case name == "like":
		w.node(part(operand, "left"))
	case !slices.Contains(operators, name):
		w.add("uses %s, which is not available", name)
	default:
		w.below(name, operand)
	}
}

// below goes through what an operator is applied to.
func (w *walk) below(name string, operand canon.Value) {
	if name == "in" && textPart(part(operand, "left"), "Var") != "action" {
		w.in()
	}
	switch operand := operand.(type) {
	case canon.List:
		for _, n := range operand {
			w.node(n)
		}
	case *canon.Context:
		for i := range operand.Len() {
			w.node(operand.At(i).Value)
		}
	}
}

func (w *walk) attribute(operand canon.Value) {
	variable, name := textPart(part(operand, "left"), "Var"), textPart(operand, "attr")
	for _, words := range Vocabulary() {
		if words.Variable != variable {
			continue
		}
		if !slices.Contains(words.Attributes, name) {
			w.add("reads %s.%s; there are %s", variable, name, listed(words.Attributes))
		}
		return
	}
	w.add("reads .%s of something else than principal, resource and context", name)
}

func (w *walk) value(v canon.Value) {
	switch v := v.(type) {
	case canon.List:
		for _, item := range v {
			w.value(item)
		}
	case *canon.Context:
		entity := part(v, "__entity")
		if entity == nil {
			w.add("uses a record or an extension, which are not available")
			return
		}
		w.entity("", entity)
	}
}
