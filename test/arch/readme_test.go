package arch_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheReadmesMapHasEveryPackage: whoever looks for something finds where it is, and
// nothing is named that is gone. What lies below a package goes with it.
func TestTheReadmesMapHasEveryPackage(t *testing.T) {
	root := filepath.Join("..", "..")
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(readme), "\n## The packages\n")
	if !ok {
		t.Fatal("the README has no map of packages")
	}
	named := map[string]bool{}
	for _, match := range regexp.MustCompile("`([a-z0-9/-]+)`").FindAllStringSubmatch(table, -1) {
		if named[match[1]] = true; strings.HasPrefix(match[1], "internal/") {
			if _, err := os.Stat(filepath.Join(root, match[1])); err != nil {
				t.Errorf("the README's map names %s, which is not there", match[1])
			}
		}
	}
	for _, p := range list(t) {
		parts := strings.SplitN(p.local(), "/", 3)
		dir := parts[0]
		if dir == "internal" || dir == "cmd" {
			dir += "/" + parts[1]
		}
		if !named[dir] && dir != "docs" {
			t.Errorf("the README's map lacks %s", dir)
		}
	}
}
