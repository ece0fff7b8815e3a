package process

import (
	"fmt"
	"slices"
	"strings"
)

// Class says how confidential a field is; a higher one is stricter.
type Class uint8

// The four classes.
const (
	Public Class = iota
	Internal
	Confident // "confidential"
	Regulated
)

var classNames = [...]string{"public", "internal", "confidential", "regulated"}

// String returns the class's name as models and stored states spell it.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// ParseClass reads a class's name; false means there is no such class.
func ParseClass(name string) (Class, bool) {
	i := slices.Index(classNames[:], name)
	return Class(max(i, 0)), i >= 0
}

// Label is what decides how a field is sealed: its class and the persons it is
// about. Subjects are concrete field paths of the same instance ("applicant.id",
// "people[0].id"), sorted and unique. What an expression, mapping or undeclared
// result writes carries the join of the labels of what it read.
type Label struct {
	Class    Class
	Subjects []string
}

// Covers reports whether l is at least as strict as other: of no lower class
// and with all of its subjects.
func (l Label) Covers(other Label) bool {
	if l.Class < other.Class || len(l.Subjects) < len(other.Subjects) {
		return false
	}
	for _, subject := range other.Subjects {
		if _, found := slices.BinarySearch(l.Subjects, subject); !found {
			return false
		}
	}
	return true
}

// Join returns the least label that covers both: the higher class and all
// subjects.
func (l Label) Join(other Label) Label { return *join(&l, &other) }

// DefaultLabel returns the label of fields that the policy does not declare.
func DefaultLabel(p *Policy) Label { return Label{Class: p.Default} }

// Sealed reports whether a field with the label is stored encrypted: in a
// confidential process always, else if it is at least confidential or about a
// person.
func Sealed(mode Mode, l Label) bool {
	return mode == Confidential || l.Sensitive()
}

// Sensitive reports whether not everybody who sees the instance is to see the field: it
// is at least confidential or about a person.
func (l Label) Sensitive() bool { return l.Class >= Confident || len(l.Subjects) > 0 }

// join is Join on shared labels. Labels in a state are never changed, so one
// that already covers the other is returned as it is, without a copy. Nil is the
// label of nothing.
func join(a, b *Label) *Label {
	switch {
	case a == b || b == nil:
		return a
	case a == nil || b.Covers(*a):
		return b
	case a.Covers(*b):
		return a
	}
	subjects := slices.Concat(a.Subjects, b.Subjects)
	slices.Sort(subjects)
	return &Label{max(a.Class, b.Class), slices.Compact(subjects)}
}

// union joins many labels at once. Their subjects are sorted only in the end: a
// list of thousands of persons joined one by one would be sorted as often.
type union struct {
	top   *Label // covers all that was added while one label did
	mixed bool   // it does not any more; what follows has the rest
	class Class
	more  []string
}

func (u *union) add(l *Label) {
	switch {
	case l == nil || l == u.top:
	case u.top == nil:
		u.top = l
	case u.mixed || !u.top.Covers(*l):
		u.mix(l)
	}
}

// mix adds a label that the first does not cover.
func (u *union) mix(l *Label) {
	if !u.mixed && l.Covers(*u.top) {
		u.top = l
		return
	}
	u.mixed, u.class = true, max(u.class, l.Class)
	u.more = append(u.more, l.Subjects...)
}

// label returns the join of all labels added, nil if there were none.
func (u *union) label() *Label {
	if !u.mixed {
		return u.top
	}
	subjects := slices.Concat(u.top.Subjects, u.more)
	slices.Sort(subjects)
	return &Label{max(u.top.Class, u.class), slices.Compact(subjects)}
}

// rename drops the prefix from the listed subjects; l itself if it has none.
func (l *Label) rename(listed []string, prefix string) *Label {
	if !slices.ContainsFunc(l.Subjects, func(s string) bool { return slices.Contains(listed, s) }) {
		return l
	}
	subjects := slices.Clone(l.Subjects)
	for i, s := range subjects {
		if slices.Contains(listed, s) {
			subjects[i] = strings.TrimPrefix(s, prefix)
		}
	}
	slices.Sort(subjects)
	return &Label{l.Class, slices.Compact(subjects)}
}

func sameLabel(a, b *Label) bool {
	return a == b || a.Class == b.Class && slices.Equal(a.Subjects, b.Subjects)
}
