package feel

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// keywords end a name that nobody declared. All but "not" are reserved; a
// declared name may still contain them ("date and time").
var keywords = map[string]bool{
	"and": true, "or": true, "in": true, "between": true, "instance": true, "if": true, "then": true, "else": true,
	"for": true, "return": true, "some": true, "every": true, "satisfies": true, "function": true, "external": true,
	"true": true, "false": true, "null": true,
}

// nameTable finds the longest known name at a place of the source. Names of
// several words or with symbols can only be told from operators by knowing them.
type nameTable struct {
	byWord map[string][]string // first word -> names, longest first
}

func newNameTable(names []string) nameTable {
	t := nameTable{byWord: make(map[string][]string, len(names))}
	for _, name := range names {
		t.add(normalName(name))
	}
	return t
}

func (t *nameTable) add(name string) {
	if name == "" {
		return
	}
	word := firstWord(name)
	list := t.byWord[word]
	at, _ := slices.BinarySearchFunc(list, name, func(a, b string) int { return len(b) - len(a) })
	t.byWord[word] = slices.Insert(list, at, name)
}

// remove takes one occurrence of the name out again.
func (t *nameTable) remove(name string) {
	word := firstWord(name)
	list := t.byWord[word]
	if at := slices.Index(list, name); at >= 0 {
		t.byWord[word] = slices.Delete(list, at, at+1)
	}
}

// candidates returns how many names match compares at the offset.
func (t *nameTable) candidates(src string, offset int) int {
	return len(t.byWord[src[offset:scanWord(src, offset)]])
}

// match returns the longest known name at the offset and where it ends, or "".
func (t *nameTable) match(src string, offset int) (name string, end int) {
	for _, candidate := range t.byWord[src[offset:scanWord(src, offset)]] {
		if end, ok := matchName(src, offset, candidate); ok {
			return candidate, end
		}
	}
	return "", 0
}

// matchName reports whether the name stands at the offset: a space in the name
// matches any white space, all else itself, and the last word must end there.
func matchName(src string, i int, name string) (end int, ok bool) {
	for j := 0; j < len(name); j++ {
		if name[j] != ' ' {
			if i >= len(src) || src[i] != name[j] {
				return 0, false
			}
			i++
			continue
		}
		next := i
		for next < len(src) {
			r, size := utf8.DecodeRuneInString(src[next:])
			if !isSpace(r) {
				break
			}
			next += size
		}
		if next == i {
			return 0, false
		}
		i = next
	}
	last, _ := utf8.DecodeLastRuneInString(name)
	after, _ := utf8.DecodeRuneInString(src[i:])
	return i, i == len(src) || !isNamePart(last) || !isNamePart(after)
}

// normalName writes each run of white space as one space (DMN 1.5, 10.3.1.4).
func normalName(name string) string { return strings.Join(strings.FieldsFunc(name, isSpace), " ") }

func firstWord(name string) string { return name[:scanWord(name, 0)] }
