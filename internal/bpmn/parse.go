package bpmn

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"github.com/underseal/underseal/internal/fault"
)

// Limits of a file. Go's XML token stream has no limit of depth, and memory per
// element is many times its bytes, so each has its own.
const (
	MaxBytes      = 5 << 20
	MaxDepth      = 256
	MaxElements   = 20_000
	MaxAttributes = 1_000 // of one element
)

// Parse reads a BPMN 2.0 file. The name serves for diagnostics. Files may be
// UTF-8, UTF-16 with a byte order mark, or any encoding of the WHATWG list that
// their XML declaration names. A file with a DOCTYPE, an entity declaration, a
// processing instruction, an undeclared prefix, or one beyond the limits is
// refused, as is a root that is not BPMN's definitions. Errors are
// fault.Invalid with one detail that has the place "name:line".
func Parse(name string, data []byte) (*Model, error) {
	r := &reader{name: name}
	if len(data) > MaxBytes {
		return nil, r.refuse("has %d bytes, at most %d are read", len(data), MaxBytes)
	}
	text, err := toUTF8(data)
	if err != nil {
		return nil, r.refuse("%v", err)
	}
	r.dec = xml.NewDecoder(bytes.NewReader(text))
	r.dec.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		return decodeCharset(label, in, len(text) != len(data) || !bytes.Equal(text, data))
	}
	if err := r.read(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	m := &Model{Name: name, Hash: hex.EncodeToString(sum[:]), Root: r.root}
	m.link()
	return m, nil
}

// reader builds the tree from raw tokens. It resolves prefixes and matches end
// tags itself, because the decoder's own way accepts prefixes nobody declared.
type reader struct {
	name     string
	dec      *xml.Decoder
	root     *Node
	open     []*openNode
	elements int
	line     int  // where the present token begins
	begun    bool // something other than white space was read
}

// openNode is an element whose end has not come yet.
type openNode struct {
	*Node
	raw  xml.Name // as written, to match the end tag
	text strings.Builder
}

func (r *reader) refuse(format string, args ...any) error {
	e := fault.New(fault.Invalid, format, args...)
	return at(r.name, r.line, "", e.Message)
}

func (r *reader) read() error {
	for {
		r.line, _ = r.dec.InputPos()
		token, err := r.dec.RawToken()
		if errors.Is(err, io.EOF) && token == nil {
			return r.finish()
		}
		if err != nil {
			return r.malformed(err)
		}
		if err := r.take(token); err != nil {
			return err
		}
		if _, blank := token.(xml.Comment); !blank {
			r.begun = true
		}
	}
}

func (r *reader) malformed(err error) error {
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) {
		r.line = syntax.Line
		return r.refuse("is not well-formed XML: %s", syntax.Msg)
	}
	return r.refuse("is not well-formed XML: %v", err)
}

func (r *reader) finish() error {
	if len(r.open) > 0 {
		return r.refuse("ends inside <%s>", r.open[len(r.open)-1].Name)
	}
	if r.root == nil {
		return r.refuse("holds no element")
	}
	if !r.root.Is("definitions") {
		r.line = r.root.Line
		return r.refuse("is no BPMN 2.0 model: its root is <%s> of namespace %q", r.root.Name, r.root.Space)
	}
	return nil
}

func (r *reader) take(token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		return r.start(t)
	case xml.EndElement:
		return r.end(t)
	case xml.CharData:
		return r.text(t)
	case xml.Directive:
		return r.refuse("holds a <!%s>: document types and entities are not read", firstWord(string(t)))
	case xml.ProcInst:
		if t.Target != "xml" || r.begun {
			return r.refuse("holds a processing instruction <?%s?>: none is read", t.Target)
		}
	}
	return nil
}

func (r *reader) start(t xml.StartElement) error {
	if r.elements++; r.elements > MaxElements {
		return r.refuse("has more than %d elements", MaxElements)
	}
	if len(r.open) >= MaxDepth {
		return r.refuse("is nested more than %d deep", MaxDepth)
	}
	if len(t.Attr) > MaxAttributes {
		return r.refuse("<%s> has %d attributes, at most %d are read", t.Name.Local, len(t.Attr), MaxAttributes)
	}
	if len(r.open) == 0 && r.root != nil {
		return r.refuse("has a second root <%s>", t.Name.Local)
	}
	n := &Node{Line: r.line}
	if err := r.resolve(n, t); err != nil {
		return err
	}
	r.push(n, t.Name)
	return nil
}

func (r *reader) push(n *Node, raw xml.Name) {
	if len(r.open) == 0 {
		r.root = n
	} else {
		n.Parent = r.open[len(r.open)-1].Node
		n.Parent.Children = append(n.Parent.Children, n)
	}
	r.open = append(r.open, &openNode{Node: n, raw: raw})
}

func (r *reader) end(t xml.EndElement) error {
	if len(r.open) == 0 {
		return r.refuse("closes </%s>, which is not open", t.Name.Local)
	}
	top := r.open[len(r.open)-1]
	if top.raw != t.Name {
		return r.refuse("closes </%s> inside <%s> of line %d", t.Name.Local, top.Name, top.Line)
	}
	if text := top.text.String(); strings.TrimSpace(text) != "" {
		top.Text = text
	}
	r.open = r.open[:len(r.open)-1]
	return nil
}

func (r *reader) text(t xml.CharData) error {
	if len(r.open) > 0 {
		r.open[len(r.open)-1].text.Write(t)
		return nil
	}
	if len(bytes.TrimSpace(t)) > 0 {
		return r.refuse("has text outside its root element")
	}
	return nil
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	return word[:min(len(word), 20)]
}
