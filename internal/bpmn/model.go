// Package bpmn reads BPMN 2.0 models and compiles what can be executed.
//
// Parse turns a file into its whole model: every element with its attributes,
// text, line and resolved references, diagram interchange and foreign
// extensions included. It refuses hostile XML (see Limits) and nothing else: a
// model that cannot be executed can still be looked at.
//
// Compile turns a model into definitions for the interpreter, or says all that
// stands against it at once. It follows one rule: nothing deploys that does
// nothing. Each element and attribute of BPMN and of the extension namespaces
// zeebe, camunda, pm and seal is in a table (vocabulary*.go): honored, without
// effect on execution, or refused with a reason. What is in no table is refused
// too. Other namespaces are kept and not looked at.
//
// A model is never written back: what is stored, hashed and signed are the
// original bytes.
package bpmn

// Namespaces, by which elements are told apart; prefixes mean nothing.
const (
	NamespaceBPMN = "http://www.omg.org/spec/BPMN/20100524/MODEL"
	NamespaceDI   = "http://www.omg.org/spec/BPMN/20100524/DI"
	NamespaceSeal = "urn:underseal:bpmn:1"

	namespaceXML   = "http://www.w3.org/XML/1998/namespace"
	namespaceXMLNS = "http://www.w3.org/2000/xmlns/"
)

// Model is one BPMN file. It is not changed after Parse.
type Model struct {
	Name string // of the file, as given to Parse
	Hash string // hex SHA-256 of the original bytes
	Root *Node  // the definitions element

	byID       map[string]*Node // BPMN elements; the first of duplicates
	byDiagram  map[string]*Node // diagram interchange has references of its own
	duplicates []*Node          // later elements with an id that is taken
}

// Node is one XML element of a model.
type Node struct {
	Space    string // namespace URI
	Name     string // local name
	Attrs    []Attr // without namespace declarations, in document order
	Text     string // character data directly inside; "" when only white space
	Line     int    // of the start tag, from 1
	Parent   *Node  // nil for the root
	Children []*Node

	// Refs are the references that BPMN gives this element, attributes first.
	Refs []Ref

	names *bindings // prefixes in scope, for names inside attribute values
}

// Attr is an attribute. Space is "" for one without prefix.
type Attr struct{ Space, Name, Value string }

// Ref is a reference from one element to another.
type Ref struct {
	Name     string // attribute that holds it; "" when it is the element's text
	ID       string // as written
	To       *Node  // nil: dangling, or External
	External bool   // the name is in another file's namespace
}

// Find returns the BPMN element with the given id, or nil.
func (m *Model) Find(id string) *Node { return m.byID[id] }

// Processes returns the model's processes in document order.
func (m *Model) Processes() []*Node { return m.Root.All("process") }

// Is reports whether the node is the BPMN element of the given name.
func (n *Node) Is(name string) bool { return n.Space == NamespaceBPMN && n.Name == name }

// ID returns the element's id, or "".
func (n *Node) ID() string { return n.Attr("id") }

// Attr returns the value of an attribute without prefix, or "".
func (n *Node) Attr(name string) string {
	value, _ := n.Lookup("", name)
	return value
}

// Lookup returns an attribute by namespace and name.
func (n *Node) Lookup(space, name string) (string, bool) {
	for _, a := range n.Attrs {
		if a.Space == space && a.Name == name {
			return a.Value, true
		}
	}
	return "", false
}

// All returns the children that are BPMN elements of the given name.
func (n *Node) All(name string) []*Node { return n.in(NamespaceBPMN, name) }

// First returns the first child that is a BPMN element of the given name, or nil.
func (n *Node) First(name string) *Node {
	for _, c := range n.Children {
		if c.Is(name) {
			return c
		}
	}
	return nil
}

// Ref returns the element that the named reference leads to, or nil.
func (n *Node) Ref(name string) *Node {
	for _, r := range n.Refs {
		if r.Name == name {
			return r.To
		}
	}
	return nil
}

// Walk calls visit for the node and everything below it, in document order.
// Where visit returns false, it does not go below.
func (n *Node) Walk(visit func(*Node) bool) {
	if !visit(n) {
		return
	}
	for _, c := range n.Children {
		c.Walk(visit)
	}
}

func (n *Node) in(space, name string) []*Node {
	var found []*Node
	for _, c := range n.Children {
		if c.Space == space && c.Name == name {
			found = append(found, c)
		}
	}
	return found
}

// owner returns the nearest element with an id, for naming what has none.
func (n *Node) owner() *Node {
	for o := n; o != nil; o = o.Parent {
		if o.Space == NamespaceBPMN && o.ID() != "" {
			return o
		}
	}
	return n
}

// host returns the BPMN element that an extension belongs to.
func (n *Node) host() *Node {
	p := n.Parent
	for p != nil && p.Is("extensionElements") {
		p = p.Parent
	}
	return p
}
