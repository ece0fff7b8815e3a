package bpmn

import (
	"errors"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

// compiler compiles one model and collects what stands against it.
type compiler struct {
	diagnostics
	model *Model
}

// Compile returns one sealed definition per executable process of the model, in
// document order. A process without isExecutable="true" is a drawing: it is left
// alone beside executable ones, but a file of nothing else is refused. All that
// stands against the model is reported at once, as fault.Invalid with one detail
// per reason ("loan.bpmn:12 check_credit").
func Compile(m *Model) ([]*process.Definition, error) {
	c := &compiler{model: m, diagnostics: diagnostics{model: m.Name, seen: map[diagnostic]bool{}}}
	var executable []*Node
	for _, p := range m.Processes() {
		if isTrue(p.Attr("isExecutable")) {
			executable = append(executable, p)
		}
	}
	if len(executable) == 0 {
		c.refuseDrawing()
		return nil, c.err()
	}
	c.checkDocument(executable)
	var definitions []*process.Definition
	for _, p := range executable {
		definitions = append(definitions, c.process(p))
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	return definitions, c.seal(definitions)
}

func (c *compiler) refuseDrawing() {
	for _, p := range c.model.Processes() {
		c.add(p, `process is not executable: set isExecutable="true"`)
	}
	if len(c.model.Processes()) == 0 {
		c.add(c.model.Root, "file holds no process")
	}
}

// seal lets the interpreter check the graphs too. The compiler should have found
// it all; what it missed is reported with what the interpreter knows.
func (c *compiler) seal(definitions []*process.Definition) error {
	for _, d := range definitions {
		err := d.Seal()
		var found *fault.Error
		if err == nil {
			continue
		}
		if !errors.As(err, &found) || len(found.Details) == 0 {
			return err
		}
		for _, detail := range found.Details {
			n := c.model.Find(detail.Place)
			if n == nil {
				n = c.model.Find(d.ID)
			}
			c.add(n, "%s", detail.Message)
		}
	}
	return c.err()
}

// checkDocument holds everything but drawings against the tables, and checks ids
// and references.
func (c *compiler) checkDocument(executable []*Node) {
	c.checkElement(c.model.Root)
	for _, n := range c.model.Root.Children {
		if n.Is("process") && !isTrue(n.Attr("isExecutable")) || isEventDefinition(n) {
			continue // drawings; event definitions are checked where they are used
		}
		c.checkTree(n)
		c.checkReferences(n)
	}
	for _, n := range c.model.duplicates {
		c.add(n, "id %q is already used in line %d", n.ID(), c.model.Find(n.ID()).Line)
	}
	c.checkExtensions()
}

// checkExtensions refuses BPMN's own way of saying that a model means nothing
// without a certain extension.
func (c *compiler) checkExtensions() {
	for _, n := range c.model.Root.All("extension") {
		if isTrue(n.Attr("mustUnderstand")) {
			c.add(n, "extension %q must be understood, and is not", n.Attr("definition"))
		}
	}
}

// checkReferences reports references to nothing. Diagram interchange is not
// executed, and names of other files are left to what uses them.
func (c *compiler) checkReferences(n *Node) {
	n.Walk(func(n *Node) bool {
		if n.Space == NamespaceBPMN {
			for _, r := range n.Refs {
				c.checkReference(n, r)
			}
		}
		return n.Space == NamespaceBPMN
	})
}

// typed are references that may name a type of another language instead of an
// element.
var typed = map[string]bool{"structureRef": true, "itemSubjectRef": true}

func (c *compiler) checkReference(n *Node, r Ref) {
	if r.To != nil || r.External || typed[r.Name] {
		return
	}
	if r.Name == "" {
		c.add(n, "%s names %q, which does not exist", n.Name, r.ID)
		return
	}
	c.add(n, "%s of %s names %q, which does not exist", r.Name, article(n.Name), r.ID)
}

func isTrue(value string) bool { return value == "true" || value == "1" }
