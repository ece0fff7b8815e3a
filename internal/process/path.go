package process

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/underseal/underseal/internal/fault"
)

// A field's path names it within its instance. "amount" and "applicant.ssn" and
// "people[0].phone" are fields of the root scope's variables, "@7/amount" is one
// of scope 7. Pseudo-fields begin with a dollar sign: "$incident.3" is the text
// of incident 3, "@7/$draft" the draft of task 7. In names the characters
// . [ ] @ / $ and % are written as percent and two hexadecimal digits, so that no
// variable can be taken for anything else.

const special = ".[]@/$%"

// escape writes a name as it stands in paths; the empty one is a lone percent.
func escape(name string) string {
	if name == "" {
		return "%"
	}
	if !strings.ContainsAny(name, special) {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if strings.IndexByte(special, name[i]) >= 0 {
			fmt.Fprintf(&b, "%%%02X", name[i])
			continue
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

// unescape reads a name as it stands in paths; false if it is not spelled as
// escape would.
func unescape(text string) (string, bool) {
	if !strings.ContainsAny(text, special) {
		return text, text != ""
	}
	if text == "%" {
		return "", true
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", false
		}
		code, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(code))
		i += 2
	}
	return b.String(), escape(b.String()) == text
}

// scopePrefix is what stands before the paths of a scope: nothing for the root.
func scopePrefix(scope uint64) string {
	if scope == 0 {
		return ""
	}
	return "@" + strconv.FormatUint(scope, 10) + "/"
}

// pathStep is one step of a path into a value: to the entry called name, or to the
// item at index when name is "". Index anyItem stands for "[]", every item.
type pathStep struct {
	name  string
	index int
}

const anyItem = -1

// String returns the step as it stands in paths.
func (s pathStep) String() string {
	switch {
	case s.name != "":
		return "." + escape(s.name)
	case s.index == anyItem:
		return "[]"
	}
	return "[" + strconv.Itoa(s.index) + "]"
}

// splitPath cuts "people[0].phone" or "people[].phone" into a variable's name
// and the steps inside it.
func splitPath(path string) (name string, steps []pathStep, ok bool) {
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		end = len(path)
	}
	if name, ok = unescape(path[:end]); ok {
		steps, ok = splitSuffix(path[end:])
	}
	return name, steps, ok
}

// splitSuffix cuts what follows a variable's name, "[0].phone", into steps.
func splitSuffix(suffix string) (steps []pathStep, ok bool) {
	for ok = true; ok && suffix != ""; {
		var s pathStep
		s, suffix, ok = cutStep(suffix)
		steps = append(steps, s)
	}
	return steps, ok
}

// cutStep cuts ".phone", "[0]" or "[]" off a path.
func cutStep(path string) (s pathStep, rest string, ok bool) {
	if path[0] == '.' {
		end := strings.IndexAny(path[1:], ".[")
		if end < 0 {
			end = len(path) - 1
		}
		s.name, ok = unescape(path[1 : 1+end])
		return s, path[1+end:], ok && s.name != ""
	}
	digits, rest, ok := strings.Cut(path[1:], "]")
	if !ok || digits == "" {
		return pathStep{index: anyItem}, rest, ok
	}
	index, err := strconv.Atoi(digits)
	return pathStep{index: index}, rest, err == nil && index >= 0 && strconv.Itoa(index) == digits
}

// parseFieldPath cuts the path of a field into its scope, its variable's name
// and the rest, which begins with a dot or bracket or is empty. Pseudo-fields
// are not accepted.
func parseFieldPath(path string) (scope uint64, name, suffix string, err error) {
	rest := path
	if strings.HasPrefix(path, "@") {
		number, after, _ := strings.Cut(path[1:], "/")
		scope, err = strconv.ParseUint(number, 10, 64)
		if err != nil || scopePrefix(scope)+after != path {
			return 0, "", "", badPath(path)
		}
		rest = after
	}
	name, steps, ok := splitPath(rest)
	if !ok {
		return 0, "", "", badPath(path)
	}
	for _, s := range steps {
		if s.index == anyItem {
			return 0, "", "", badPath(path)
		}
	}
	return scope, name, rest[len(escape(name)):], nil
}

func badPath(path string) error {
	return fault.New(fault.Integrity, "field path %q is not spelled canonically", path)
}

// CutScope returns the scope of a field and what its path is within it: 7 and
// "applicant.id" of "@7/applicant.id". A scope has a higher number than those around it.
func CutScope(path string) (scope uint64, rest string) {
	scope, _, _, err := parseFieldPath(path)
	if err != nil || scope == 0 {
		return 0, path
	}
	return scope, strings.TrimPrefix(path, scopePrefix(scope))
}

// PolicyPath returns the path of a field as a policy or a grant spells it: without a
// scope, and with "[]" for every index. "people[].phone" of "@7/people[0].phone",
// "$draft" of "@7/$draft".
func PolicyPath(path string) string {
	if strings.HasPrefix(path, "@") {
		_, path, _ = strings.Cut(path, "/")
	}
	if !strings.Contains(path, "[") {
		return path
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(path, "[")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("[]")
		_, path, _ = strings.Cut(after, "]")
	}
}

// VariableOf returns the name of the variable that a path of the root scope is in; "" for
// what is no such path.
func VariableOf(path string) string {
	name, _, ok := splitPath(path)
	if !ok {
		return ""
	}
	return name
}

// EntryPath returns the path of an entry of the context at a path, and of a variable, whose
// outer path is "".
func EntryPath(outer, name string) string {
	if outer == "" {
		return escape(name)
	}
	return outer + "." + escape(name)
}

// ItemsPath returns the path of all items of the list at a path.
func ItemsPath(outer string) string { return outer + "[]" }

// Owner returns the path of the field that holds a place, both as PolicyPath has them:
// the longest path that is declared and holds it, else the variable.
func (p *Policy) Owner(place string) string {
	name, steps, ok := splitPath(place)
	if !ok {
		return place
	}
	path := escape(name)
	owner, n := path, p.compiled().roots[name]
	for _, s := range steps {
		n, path = n.below(s), path+s.String()
		if n == nil {
			break
		}
		if n.declared {
			owner = path
		}
	}
	return owner
}

// Holds reports whether what is at a place of a field's variable belongs to the field, or
// holds it: whoever is to have the one has to have the other. Both are spelled as
// PolicyPath has them.
func (p *Policy) Holds(field, place string) bool {
	return p.Owner(place) == field || strings.HasPrefix(field, place) &&
		(len(field) == len(place) || strings.ContainsRune(".[", rune(field[len(place)])))
}

// isPseudo reports whether a path names an incident's text or a draft.
func isPseudo(path string) bool {
	return strings.HasPrefix(path, "$") || strings.HasPrefix(path, "@") && strings.Contains(path, "/$")
}

// generic takes the indices out of a path or suffix: "[0].phone" becomes ".phone".
// Two that concern the same data have generic ones of which one begins the other.
func generic(path string) string {
	if !strings.Contains(path, "[") {
		return path
	}
	var b strings.Builder
	for path != "" {
		before, after, _ := strings.Cut(path, "[")
		b.WriteString(before)
		_, path, _ = strings.Cut(after, "]")
	}
	return b.String()
}

// within reports whether the generic path inner is outer or lies inside it.
func within(inner, outer string) bool {
	return strings.HasPrefix(inner, outer) && (len(inner) == len(outer) || inner[len(outer)] == '.')
}
