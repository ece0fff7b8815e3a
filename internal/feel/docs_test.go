package feel_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/feel"
)

// TestDocsListTheBuiltins compares docs/design/feel.md with the code.
func TestDocsListTheBuiltins(t *testing.T) {
	data, err := os.ReadFile("../../docs/design/feel.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(string(data)) {
		if signature, ok := strings.CutPrefix(strings.TrimSpace(line), "- `"); ok && strings.HasSuffix(signature, ")`") {
			listed = append(listed, strings.TrimSuffix(signature, "`"))
		}
	}
	want := feel.Builtins()
	if len(want) == 0 {
		t.Fatal("there are no built-ins")
	}
	if !slices.Equal(listed, want) {
		t.Errorf("the page lists %d signatures, the code has %d:\n%s", len(listed), len(want), strings.Join(want, "\n"))
	}
}
