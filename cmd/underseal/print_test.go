package main

import (
	"bytes"
	"strings"
	"testing"
)

// Text of a person or a process stays where it belongs: none begins a row or a pair that
// nobody has written.
func TestNoTextPassesForARowOfItsOwn(t *testing.T) {
	var out bytes.Buffer
	table(&out, []string{"INSTANCE", "STATUS"}, [][]string{{"one\ntwo", "active"}})
	if got := out.String(); strings.Count(got, "\n") != 2 {
		t.Errorf("a table of one row is written as\n%s", got)
	}
	out.Reset()
	pairs(&out, "business key", "one\nstatus  completed", "status", "active")
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "status") && !strings.HasSuffix(line, "active\n") {
			t.Errorf("two pairs are written as\n%s", out.String())
		}
	}
	if !strings.Contains(out.String(), "completed") {
		t.Errorf("of the business key is written\n%s", out.String())
	}
}
