//go:build !windows

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// twoColumns writes rows side by side under a header with a rule below it.
func twoColumns(w io.Writer, header [2]string, rows [][2]string) {
	width := utf8.RuneCountInString(header[0])
	for _, row := range rows {
		width = max(width, utf8.RuneCountInString(row[0]))
	}
	line := func(left, right string) {
		left += strings.Repeat(" ", width-utf8.RuneCountInString(left))
		fmt.Fprintf(w, "  %s  |  %s\n", left, right)
	}
	line(header[0], header[1])
	fmt.Fprintf(w, "  %s--+--%s\n", strings.Repeat("-", width), strings.Repeat("-", 55))
	for _, row := range rows {
		line(printable(row[0]), row[1])
	}
}

// sealedBytes shows how a sealed value begins (marker, version, suite, flags,
// number of keys) and how it ends (ciphertext and tag).
func sealedBytes(value []byte) string {
	const head, tail = 5, 9
	if len(value) < head+tail {
		return fmt.Sprintf("% X", value)
	}
	return fmt.Sprintf("% X .. % X  %d bytes", value[:head], value[len(value)-tail:], len(value))
}

// hasParts reports whether parts of a field are fields of their own.
func hasParts(stored []storedField, path string) bool {
	return slices.ContainsFunc(stored, func(f storedField) bool { return strings.HasPrefix(f.path, path+".") })
}

// valueAt finds a field's value by its path, "applicant.ssn", as JSON text.
func valueAt(variables json.RawMessage, path string) (string, bool) {
	for name := range strings.SplitSeq(path, ".") {
		var object map[string]json.RawMessage
		if json.Unmarshal(variables, &object) != nil {
			return "", false
		}
		var ok bool
		if variables, ok = object[name]; !ok {
			return "", false
		}
	}
	return string(variables), true
}

// names lists the names of an object, sorted.
func names(object json.RawMessage) []string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil {
		return nil
	}
	all := make([]string, 0, len(fields))
	for name := range fields {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// texts lists all strings inside a JSON value, in the order of their names.
// Numbers are left out: a short one stands in any file by chance.
func texts(value json.RawMessage) []string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return []string{text}
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(value, &fields) != nil {
		return nil
	}
	var all []string
	for _, name := range names(value) {
		all = append(all, texts(fields[name])...)
	}
	return all
}
