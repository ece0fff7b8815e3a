package bpmn

import (
	"slices"
	"strings"
)

// ruling is what becomes of a word of a vocabulary.
type ruling uint8

const (
	honored ruling = iota + 1
	inert          // without effect on execution
	refused
)

// rule is one row of a table. A zero rule is no row.
type rule struct {
	ruling ruling
	// on names the elements on which an honored word does something; on others
	// it is refused. Empty: on any that the word can stand on.
	on []string
	// only lists the values that are accepted; empty: any.
	only []string
	// why is the reason for refusing (also for a value outside only), or for
	// being without effect.
	why string
}

// element is the row of an element, with the rules of its own attributes and,
// for BPMN's elements, which of them are references ("." is the text).
type element struct {
	rule
	attrs map[string]rule
	refs  []string
}

// vocabulary is what is known of one namespace of extensions.
type vocabulary struct {
	prefix   string             // for messages
	attrs    map[string]rule    // on BPMN's elements
	elements map[string]element // anywhere below extensionElements
}

// vocabularies are the extension namespaces that are read. Those of Camunda 7's
// ancestor and descendants use its words.
var vocabularies = map[string]*vocabulary{
	namespaceZeebe:                                &zeebeVocabulary,
	namespaceCamunda:                              &camundaVocabulary,
	"http://activiti.org/bpmn":                    &camundaVocabulary,
	"http://www.activiti.com/bpmn":                &camundaVocabulary,
	"http://flowable.org/bpmn":                    &camundaVocabulary,
	"http://www.camunda.com/fox":                  &camundaVocabulary,
	"http://processmaker.com/BPMN/2.0/Schema.xsd": &pmVocabulary,
	NamespaceSeal:                                 &sealVocabulary,
}

// is reports whether the node is the given word of an extension vocabulary,
// under any of the vocabulary's namespaces.
func (v *vocabulary) is(n *Node, name string) bool {
	return n.Name == name && vocabularies[n.Space] == v
}

// child returns the first such word among n's extensions, or nil.
func (v *vocabulary) child(n *Node, name string) *Node {
	for _, c := range n.Children {
		if v.is(c, name) {
			return c
		}
		if c.Is("extensionElements") {
			if found := v.child(c, name); found != nil {
				return found
			}
		}
	}
	return nil
}

// children returns such words directly below n or in its extensionElements.
func (v *vocabulary) children(n *Node, name string) []*Node {
	var found []*Node
	for _, c := range n.Children {
		if c.Is("extensionElements") {
			found = append(found, v.children(c, name)...)
		} else if v.is(c, name) {
			found = append(found, c)
		}
	}
	return found
}

// attr returns an attribute of the vocabulary on a BPMN element.
func (v *vocabulary) attr(n *Node, name string) (string, bool) {
	for _, a := range n.Attrs {
		if a.Name == name && vocabularies[a.Space] == v {
			return a.Value, true
		}
	}
	return "", false
}

// checkTree holds everything from n down against the tables.
func (c *compiler) checkTree(n *Node) {
	n.Walk(func(n *Node) bool {
		switch {
		case n.Space == NamespaceBPMN:
			return c.checkElement(n)
		case vocabularies[n.Space] != nil:
			return c.checkExtension(n, vocabularies[n.Space])
		}
		return false // kept, not looked at
	})
}

func (c *compiler) checkElement(n *Node) (below bool) {
	e := bpmnElements[n.Name]
	if e.ruling == 0 {
		c.add(n, "<%s> is not an element of BPMN 2.0", n.Name)
		return false
	}
	if e.ruling == refused {
		c.add(n, "%s %s", article(n.Name), e.why)
		return scopes[n.Name]
	}
	if len(e.on) > 0 && !slices.Contains(e.on, n.Parent.Name) {
		c.add(n, "%s does nothing in %s", article(n.Name), article(n.Parent.Name))
	}
	for _, a := range n.Attrs {
		c.checkAttribute(n, e, a)
	}
	if (n.Is("conditionExpression") || n.Is("script")) && n.Parent.First(n.Name) != n {
		c.add(n, "%s is written twice", n.Name)
	}
	return true
}

func (c *compiler) checkAttribute(n *Node, e element, a Attr) {
	if v := vocabularies[a.Space]; v != nil {
		c.apply(v.attrs[a.Name], n, n.Name, v.prefix+":"+a.Name, a.Value)
		return
	}
	if a.Space != "" || e.ruling == inert || a.Name == "id" || a.Name == "name" {
		return
	}
	row, ok := e.attrs[a.Name]
	if !ok {
		c.add(n, "attribute %s is not one that BPMN gives %s", a.Name, article(n.Name))
		return
	}
	c.apply(row, n, n.Name, "attribute "+a.Name, a.Value)
}

func (c *compiler) checkExtension(n *Node, v *vocabulary) (below bool) {
	e := v.elements[n.Name]
	host := n.host()
	if host == nil {
		return false
	}
	if !c.apply(e.rule, n, host.Name, v.prefix+":"+n.Name, "") {
		return false
	}
	for _, a := range n.Attrs {
		switch word := v.prefix + ":" + n.Name + " " + a.Name; {
		case a.Space == "":
			c.apply(e.attrs[a.Name], n, host.Name, word, a.Value)
		case vocabularies[a.Space] != nil:
			c.add(n, "attribute %s of %s:%s is not read with a prefix; write it without", a.Name, v.prefix, n.Name)
		}
	}
	c.checkOnce(n, v)
	c.checkProperty(n)
	return true
}

// repeatable are the honored words that may stand more than once. Of others only
// the first would be read.
var repeatable = words("header input output inputParameter outputParameter properties property policy field")

func (c *compiler) checkOnce(n *Node, v *vocabulary) {
	if slices.Contains(repeatable, n.Name) {
		return
	}
	if first := v.child(n.host(), n.Name); first != n {
		c.add(n, "%s:%s is written twice, first in line %d", v.prefix, n.Name, first.Line)
	}
}

// apply records what a row says against a word; it reports whether the word may stand.
func (c *compiler) apply(row rule, n *Node, host, word, value string) bool {
	switch {
	case row.ruling == 0:
		c.add(n, "%s is not known here and would do nothing; remove it", word)
	case row.ruling == refused:
		c.add(n, "%s %s", word, row.why)
	case len(row.on) > 0 && !slices.Contains(row.on, host):
		c.add(n, "%s does nothing on %s", word, article(host))
	case len(row.only) > 0 && !slices.Contains(row.only, strings.TrimSpace(value)):
		c.add(n, "%s=%q %s", word, value, row.why)
	default:
		return true
	}
	return false
}

func article(name string) string {
	if name != "" && strings.ContainsRune("aeio", rune(name[0])) {
		return "an " + name
	}
	return "a " + name
}
