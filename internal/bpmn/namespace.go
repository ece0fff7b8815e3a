package bpmn

import (
	"encoding/xml"
	"strings"
)

// bindings are the prefixes that one start tag declares, above those of the
// elements around it.
type bindings struct {
	outer  *bindings
	prefix string // "" is the default namespace
	uri    string
	depth  int // declarations in scope
}

// maxBindings bounds the namespace declarations in scope, and with them the
// time a prefix takes to look up.
const maxBindings = 256

func (b *bindings) declare(prefix, uri string) *bindings {
	depth := 1
	if b != nil {
		depth += b.depth
	}
	return &bindings{outer: b, prefix: prefix, uri: uri, depth: depth}
}

func (b *bindings) find(prefix string) (string, bool) {
	for ; b != nil; b = b.outer {
		if b.prefix == prefix {
			return b.uri, true
		}
	}
	switch prefix {
	case "":
		return "", true
	case "xml":
		return namespaceXML, true
	}
	return "", false
}

// resolve gives n the expanded names of a start tag and of its attributes.
func (r *reader) resolve(n *Node, t xml.StartElement) error {
	if len(r.open) > 0 {
		n.names = r.open[len(r.open)-1].names
	}
	for _, a := range t.Attr {
		if prefix, ok := declares(a.Name); ok {
			n.names = n.names.declare(prefix, a.Value)
		}
	}
	if n.names != nil && n.names.depth > maxBindings {
		return r.refuse("has more than %d namespaces in scope", maxBindings)
	}
	space, ok := n.names.find(t.Name.Space)
	if !ok {
		return r.refuse("<%s:%s> has a prefix that nothing declares", t.Name.Space, t.Name.Local)
	}
	n.Space, n.Name = space, t.Name.Local
	return r.attributes(n, t.Attr)
}

func (r *reader) attributes(n *Node, attrs []xml.Attr) error {
	seen := make(map[xml.Name]bool, len(attrs))
	for _, a := range attrs {
		name := a.Name
		if _, ok := declares(name); ok {
			name.Space = namespaceXMLNS
		} else if name.Space != "" {
			space, ok := n.names.find(name.Space)
			if !ok {
				return r.refuse("attribute %s:%s of <%s> has a prefix that nothing declares", name.Space, name.Local, n.Name)
			}
			name.Space = space
		}
		if seen[name] {
			return r.refuse("<%s> has its attribute %q twice", n.Name, name.Local)
		}
		seen[name] = true
		if name.Space != namespaceXMLNS {
			n.Attrs = append(n.Attrs, Attr{Space: name.Space, Name: name.Local, Value: a.Value})
		}
	}
	return nil
}

// declares reports the prefix that an attribute xmlns or xmlns:prefix declares.
func declares(name xml.Name) (prefix string, ok bool) {
	if name.Space == "xmlns" {
		return name.Local, true
	}
	return "", name.Space == "" && name.Local == "xmlns"
}

// qualified splits a name inside an attribute value ("tns:order") and returns
// its namespace; ok is false when its prefix is not declared.
func (n *Node) qualified(value string) (space, local string, ok bool) {
	prefix, local, found := strings.Cut(value, ":")
	if !found {
		return "", value, true
	}
	space, ok = n.names.find(prefix)
	return space, local, ok
}
