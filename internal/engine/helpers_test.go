package engine_test

import (
	"os"
	"testing"

	"github.com/underseal/underseal/internal/engine"
)

func pageOf(limit int) engine.Page { return engine.Page{Limit: limit} }

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
