package access

import (
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// Right is what a grant allows.
type Right string

// The rights; docs/design/access.md says what each is on.
const (
	ToView   Right = "view"
	ToStart  Right = "start"
	ToWork   Right = "work"
	ToManage Right = "manage"
	ToDesign Right = "design"
	ToRead   Right = "read"
	ToReveal Right = "reveal"
	ToUse    Right = "use"
)

// ByBreakGlass is the right of a break-glass. It is not among Rights: nobody can give it.
const ByBreakGlass Right = "break-glass"

// Rights returns all rights.
func Rights() []Right {
	return []Right{ToView, ToStart, ToWork, ToManage, ToDesign, ToRead, ToReveal, ToUse}
}

// All is the Process of a grant on all processes and the Fields of one on all fields.
const All = "*"

// MaxGrants is how many grants a principal or a group has at most.
const MaxGrants = 1000

// Grant gives a right to a principal or to the members of a group. What of it is empty
// does not restrict.
type Grant struct {
	ID       string // unique among those of whom it is given to
	Right    Right
	Process  string    // id or All; empty with ToUse
	Instance string    // with ByBreakGlass: id of the one that it is for
	Where    *Where    // with ToView and ToManage: instances that it holds for
	Task     string    // with ToWork: id of the task's element
	Fields   []string  // with ToRead and ToReveal: paths, or All alone
	Name     string    // with ToUse: of the secret or connector, or All
	Purpose  string    // with ToReveal and ByBreakGlass: counts as the purpose of each request
	Expires  time.Time // to the microsecond, UTC; zero: never
}

// Where is instances whose searchable field has a value.
type Where struct {
	Path  string
	Value string
}

const (
	maxGrantText   = 255
	maxGrantFields = 100
)

// Validate refuses a grant that cannot be given (Invalid); each detail's place is the
// name of a field, its message the cure.
func (g Grant) Validate() error {
	var c complaints
	c.add(!oneLine(g.ID, true), "id", "give it an id of one line of at most 255 bytes")
	c.add(!slices.Contains(Rights(), g.Right), "right", "choose one of "+listed(Rights()))
	g.checkProcess(&c)
	g.checkFields(&c)
	c.add(g.Where != nil && g.Right != ToView && g.Right != ToManage, "where", "leave it out, or choose the right view or manage")
	c.add(g.Where != nil && g.Process == All, "where", "name the process whose field it is")
	c.add(g.Where != nil && !(oneLine(g.Where.Path, true) && len(g.Where.Value) <= maxGrantText && utf8.ValidString(g.Where.Value)), "where",
		"name the path of a searchable field and a value of at most 255 bytes")
	c.add(g.Task != "" && g.Right != ToWork, "task", "leave it out, or choose the right work")
	c.add(g.Task != "" && g.Process == All, "task", "name the process that the task is of")
	c.add(!oneLine(g.Task, false), "task", "give the id of an element, at most 255 bytes")
	c.add(g.Right == ToUse && !oneLine(g.Name, true), "name", "name the secret or connector, or * for all")
	c.add(g.Right != ToUse && g.Name != "", "name", "leave it out, or choose the right use")
	c.add(g.Purpose != "" && g.Right != ToReveal, "purpose", "leave it out, or choose the right reveal")
	c.add(g.Purpose != "" && !isPurpose(g.Purpose), "purpose", "say in a few words what for, in one line of at most 255 bytes")
	c.add(!g.Expires.Equal(g.Expires.Truncate(time.Microsecond)) || g.Expires.Year() > 9999, "expires", "give a time to the microsecond, at the latest in the year 9999")
	return c.err()
}

func (g Grant) checkProcess(c *complaints) {
	if g.Right == ToUse {
		c.add(g.Process != "", "process", "leave it out: secrets and connectors belong to no process")
		return
	}
	c.add(!oneLine(g.Process, true), "process", "give the id of a process, or * for all")
}

func (g Grant) checkFields(c *complaints) {
	if g.Right != ToRead && g.Right != ToReveal {
		c.add(len(g.Fields) > 0, "fields", "leave them out, or choose the right read or reveal")
		return
	}
	c.add(len(g.Fields) == 0 || len(g.Fields) > maxGrantFields, "fields", "name 1 to 100 paths of fields, or * alone for all")
	for i, f := range g.Fields {
		c.add(!oneLine(f, true), "fields", "each path is one line of at most 255 bytes")
		c.add(f == All && len(g.Fields) > 1, "fields", "name * alone: it is all fields")
		c.add(slices.Contains(g.Fields[:i], f), "fields", "name each path once")
	}
}

// complaints collects what is wrong with a grant.
type complaints []fault.Detail

func (c *complaints) add(wrong bool, field, cure string) {
	if d := (fault.Detail{Place: field, Message: cure}); wrong && !slices.Contains(*c, d) {
		*c = append(*c, d)
	}
}

func (c complaints) err() error {
	if len(c) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, "the grant cannot be given").WithCode("invalid_grant").WithDetails(c...)
}

// oneLine reports whether text is short and of one line; empty is, unless there must be
// some.
func oneLine(text string, must bool) bool {
	if must && text == "" || len(text) > maxGrantText || !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// Value returns the grant as it is sealed: a context of texts, empty for what is not
// given, and of the list of fields; where is null or a context of path and value.
func (g Grant) Value() *canon.Context {
	var where canon.Value = canon.Null{}
	if g.Where != nil {
		where = contextOf(text("path", g.Where.Path), text("value", g.Where.Value))
	}
	fields := make(canon.List, len(g.Fields))
	for i, f := range g.Fields {
		fields[i] = canon.String(f)
	}
	expires := ""
	if !g.Expires.IsZero() {
		expires = g.Expires.UTC().Format(time.RFC3339Nano)
	}
	return contextOf(
		text("id", g.ID), text("right", string(g.Right)), text("process", g.Process),
		canon.Entry{Name: "where", Value: where}, text("task", g.Task), canon.Entry{Name: "fields", Value: fields},
		text("name", g.Name), text("purpose", g.Purpose), text("expires", expires),
	)
}

func text(name, value string) canon.Entry { return canon.Entry{Name: name, Value: canon.String(value)} }

func contextOf(entries ...canon.Entry) *canon.Context {
	c, err := canon.NewContext(entries...)
	if err != nil {
		panic("access: internal error: a grant with equal names")
	}
	return c
}

// ParseGrant reads what Value returns of a valid grant; anything else is an Integrity
// fault ("grant_malformed").
func ParseGrant(v canon.Value) (Grant, error) {
	c, _ := v.(*canon.Context)
	g := Grant{
		ID: textOf(c, "id"), Right: Right(textOf(c, "right")), Process: textOf(c, "process"), Task: textOf(c, "task"),
		Name: textOf(c, "name"), Purpose: textOf(c, "purpose"),
	}
	where, _ := c.Get("where")
	if w, ok := where.(*canon.Context); ok {
		g.Where = &Where{Path: textOf(w, "path"), Value: textOf(w, "value")}
	}
	fields, _ := c.Get("fields")
	list, _ := fields.(canon.List)
	for _, f := range list {
		path, _ := f.(canon.String)
		g.Fields = append(g.Fields, string(path))
	}
	if expires := textOf(c, "expires"); expires != "" {
		g.Expires, _ = time.Parse(time.RFC3339Nano, expires) // compared below
	}
	if v == nil || !canon.Equal(g.Value(), v) || g.Validate() != nil {
		return Grant{}, fault.New(fault.Integrity, "what a grant's step says is malformed").WithCode("grant_malformed")
	}
	return g, nil
}

// textOf returns a context's text of a name, "" if it has none.
func textOf(c *canon.Context, name string) string {
	v, _ := c.Get(name)
	s, _ := v.(canon.String)
	return string(s)
}
