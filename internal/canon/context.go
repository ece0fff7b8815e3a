package canon

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/underseal/underseal/internal/fault"
)

// NewContext returns a context of the entries, in any order; they are copied.
// A name that occurs twice or is not UTF-8 is Invalid.
func NewContext(entries ...Entry) (*Context, error) {
	sorted := slices.Clone(entries)
	for _, e := range sorted {
		if !utf8.ValidString(e.Name) {
			return nil, fault.New(fault.Invalid, "name %q of a context is not UTF-8", e.Name)
		}
	}
	if name, twice := sortEntries(sorted); twice {
		return nil, fault.New(fault.Invalid, "name %q occurs twice in a context", name)
	}
	return &Context{sorted}, nil
}

// sortEntries sorts by the bytes of the names and returns the first name that
// occurs twice.
func sortEntries(entries []Entry) (name string, twice bool) {
	byName := func(a, b Entry) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(entries, byName) {
		slices.SortFunc(entries, byName)
	}
	for i := 1; i < len(entries); i++ {
		if entries[i-1].Name == entries[i].Name {
			return entries[i].Name, true
		}
	}
	return "", false
}

// Len returns the number of entries. A nil context has none.
func (c *Context) Len() int {
	if c == nil {
		return 0
	}
	return len(c.entries)
}

// At returns the entry at position i in the order of names.
func (c *Context) At(i int) Entry { return c.entries[i] }

// Get returns the value of a name and whether there is one.
func (c *Context) Get(name string) (Value, bool) {
	i, found := c.find(name)
	if !found {
		return nil, false
	}
	return c.entries[i].Value, true
}

// With returns a copy of c in which name has the value v. The name must be
// UTF-8; bytes that are not become U+FFFD, as in Encode.
func (c *Context) With(name string, v Value) *Context {
	name = strings.ToValidUTF8(name, "\ufffd")
	i, found := c.find(name)
	entries := make([]Entry, c.Len(), c.Len()+1)
	if c != nil {
		copy(entries, c.entries)
	}
	if found {
		entries[i].Value = v
		return &Context{entries}
	}
	return &Context{slices.Insert(entries, i, Entry{name, v})}
}

// Without returns a copy of c that lacks name, or c itself if it has no such name.
func (c *Context) Without(name string) *Context {
	i, found := c.find(name)
	if !found {
		return c
	}
	entries := make([]Entry, 0, len(c.entries)-1)
	entries = append(entries, c.entries[:i]...)
	return &Context{append(entries, c.entries[i+1:]...)}
}

func (c *Context) find(name string) (int, bool) {
	if c == nil {
		return 0, false
	}
	return slices.BinarySearchFunc(c.entries, name, func(e Entry, name string) int {
		return strings.Compare(e.Name, name)
	})
}
