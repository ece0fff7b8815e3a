package bpmn

import "strings"

// diagramRefs are the references inside diagram interchange that lead to other
// parts of the diagram; bpmnElement leads to the model.
var diagramRefs = map[string]bool{"sourceElement": true, "targetElement": true, "labelStyle": true, "choreographyActivityShape": true}

// link fills the indexes and resolves every reference.
func (m *Model) link() {
	m.byID, m.byDiagram = map[string]*Node{}, map[string]*Node{}
	m.Root.Walk(func(n *Node) bool { m.index(n); return true })
	m.Root.Walk(func(n *Node) bool { m.resolve(n); return true })
}

func (m *Model) index(n *Node) {
	id := n.ID()
	switch {
	case id == "":
	case n.Space == NamespaceBPMN && m.byID[id] != nil:
		m.duplicates = append(m.duplicates, n)
	case n.Space == NamespaceBPMN:
		m.byID[id] = n
	case n.Space == NamespaceDI && m.byDiagram[id] == nil:
		m.byDiagram[id] = n
	}
}

func (m *Model) resolve(n *Node) {
	switch n.Space {
	case NamespaceBPMN:
		m.resolveElement(n)
	case NamespaceDI:
		m.resolveDiagram(n)
	}
}

func (m *Model) resolveElement(n *Node) {
	e := bpmnElements[n.Name]
	for _, name := range e.refs {
		if name == "." {
			m.addRef(n, "", strings.TrimSpace(n.Text))
		} else if id := strings.TrimSpace(n.Attr(name)); id != "" {
			m.addRef(n, name, id)
		}
	}
}

func (m *Model) resolveDiagram(n *Node) {
	for _, a := range n.Attrs {
		if a.Space == "" && a.Name == "bpmnElement" {
			m.addRef(n, a.Name, a.Value)
		} else if a.Space == "" && diagramRefs[a.Name] {
			_, local, _ := n.qualified(a.Value)
			n.Refs = append(n.Refs, Ref{Name: a.Name, ID: a.Value, To: m.byDiagram[local]})
		}
	}
}

// addRef resolves an id or qualified name. Ids may hold no colon, so a name that
// is an id as it stands was written by a tool that does not qualify.
func (m *Model) addRef(n *Node, name, id string) {
	ref := Ref{Name: name, ID: id, To: m.byID[id]}
	if ref.To == nil {
		space, local, ok := n.qualified(id)
		ref.External = ok && space != "" && space != m.Root.Attr("targetNamespace")
		if ok && !ref.External {
			ref.To = m.byID[local]
		}
	}
	n.Refs = append(n.Refs, ref)
}
