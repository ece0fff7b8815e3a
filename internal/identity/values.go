package identity

import (
	"encoding/hex"
	"strconv"
	"time"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/network"
)

// Field is a field of an object: a path of its own, so that a leaf says what changed.
type Field struct {
	Path  string
	Value canon.Value
}

func text(name, value string) canon.Entry { return canon.Entry{Name: name, Value: canon.String(value)} }

func contextOf(entries ...canon.Entry) *canon.Context {
	c, err := canon.NewContext(entries...)
	if err != nil {
		panic("identity: internal error: a context with equal names")
	}
	return c
}

func texts[T ~string](list []T) canon.List {
	out := make(canon.List, len(list))
	for i, t := range list {
		out[i] = canon.String(t)
	}
	return out
}

func networks(list network.List) canon.List { return texts(list.Strings()) }

func grants(list []access.Grant) canon.List {
	out := make(canon.List, len(list))
	for i, g := range list {
		out[i] = g.Value()
	}
	return out
}

// count is a number as it is sealed.
func count(n int64) canon.Value { return canon.String(strconv.FormatInt(n, 10)) }

// timeItem is a time as it is sealed; the zero time is empty.
func timeItem(t time.Time) canon.Value {
	if t.IsZero() {
		return canon.String("")
	}
	return canon.String(t.UTC().Format(time.RFC3339Nano))
}

// Readers of values take anything: what they make of a value that is not as it must be
// does not give that value again, which is compared in the end.

func textOf(v canon.Value) string {
	s, _ := v.(canon.String)
	return string(s)
}

func entryOf(v canon.Value, name string) canon.Value {
	c, _ := v.(*canon.Context)
	e, _ := c.Get(name)
	return e
}

func listOf[T any](v canon.Value, read func(canon.Value) T) []T {
	list, _ := v.(canon.List)
	var out []T
	for _, item := range list {
		out = append(out, read(item))
	}
	return out
}

func textsOf[T ~string](v canon.Value) []T {
	return listOf(v, func(v canon.Value) T { return T(textOf(v)) })
}

func timeOf(v canon.Value) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, textOf(v))
	return t
}

func countOf(v canon.Value) int64 {
	n, _ := strconv.ParseInt(textOf(v), 10, 64)
	return n
}

func tokenOf(v canon.Value) (token [32]byte) {
	data, _ := hex.DecodeString(textOf(v))
	copy(token[:], data)
	return token
}

func grantOf(v canon.Value) access.Grant {
	g, _ := access.ParseGrant(v)
	return g
}

// same requires that fields give the values that they were read from.
func same(what string, fields []Field, values map[string]canon.Value) error {
	for _, f := range fields {
		if v := values[f.Path]; v == nil || !canon.Equal(v, f.Value) {
			return fault.New(fault.Integrity, "field %q of a %s is malformed", f.Path, what).WithCode("malformed")
		}
	}
	return nil
}
