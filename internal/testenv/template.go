package testenv

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/node"
)

// template is the files of a node that has Ann and nothing else, by their names in a
// test's directory. To make a schema, keys and an administrator takes ten times as long
// as to open what has them.
var template struct {
	sync.Mutex
	files map[string][]byte
	key   string // Ann's API key
}

// started is when the tests were. In a bubble of virtual time it is in the future.
var started = time.Now()

// usual reports whether a node of that configuration begins like the template: with its
// schema, its key and a past of its clock's.
func usual(c node.Config) bool {
	return c.DSN == "" && c.Create && c.Now == nil && !time.Now().Before(started) &&
		c.KeyServices == nil && c.KeyService == "" && c.KeyFilePassphrase == "" &&
		len(c.Anchor.Witnesses) == 0 && c.Anchor.Authority == nil
}

// copyTemplate puts the template where a configuration wants data and key, and returns
// Ann's API key.
func copyTemplate(t testing.TB, to node.Config) string {
	t.Helper()
	template.Lock()
	defer template.Unlock()
	if template.files == nil {
		makeTemplate(t)
	}
	for name, content := range template.files {
		path := filepath.Join(to.Data, name)
		if name == keyName {
			path = to.KeyFile
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return template.key
}

// keyName stands for the key file, which is not beside the data.
const keyName = "key file"

func makeTemplate(t testing.TB) {
	t.Helper()
	e := NewDeployment(t, nil)
	e.close()
	paths, err := filepath.Glob(filepath.Join(e.Config.Data, "*"))
	if err != nil || len(paths) == 0 {
		t.Fatal("a new node left nothing in its data directory:", err)
	}
	files := map[string][]byte{}
	for _, path := range append(paths, e.Config.KeyFile) {
		name := filepath.Base(path)
		if path == e.Config.KeyFile {
			name = keyName
		}
		if files[name], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	template.files, template.key = files, e.annsKey
}
