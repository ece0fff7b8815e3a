package backup_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/backup"
	"github.com/underseal/underseal/internal/fault"
)

// FuzzManifest looks for a panic, a second spelling of a manifest, and one that names
// other files than are there.
func FuzzManifest(f *testing.F) {
	dir := f.TempDir()
	var content []backup.File // as it is there, ascending by path
	for _, file := range [][2]string{{"blobs/d/main/ab", "sealed"}, {"data.db", "a database"}} {
		name, text := file[0], file[1]
		content = append(content, backup.File{Path: name, Size: int64(len(text)), SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(text)))})
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	whole := backup.Manifest{
		Format: "underseal-backup/1", Backup: "0192f0c1-0000-7000-8000-000000000001", Part: backup.Data, Deployment: "0192f0c1", Database: "sqlite",
		Files: backup.FilesBelow, Began: time.Date(2026, 6, 1, 12, 0, 0, 1, time.UTC), Ended: time.Date(2026, 6, 1, 12, 0, 1, 0, time.UTC),
		Logs:    []backup.Log{{Tenant: "main", Origin: "underseal/d/main/2026", Size: 12, Root: strings.Repeat("0a", 32)}},
		Content: content,
		MAC:     strings.Repeat("0b", 32),
	}
	good, err := backup.Encoded(whole)
	if err != nil {
		f.Fatal(err)
	}
	text := string(good)
	f.Add(good)
	for _, change := range []struct{ old, new string }{
		{"\n", ""}, {"data.db", "../data.db"}, {"data.db", "data.dB"}, {"data.db", `d\u0061ta.db`}, {`"part": "data"`, `"part": "keys"`}, {`"part"`, `"Part"`},
		{`"mac"`, `"more": 1, "mac"`}, {`"mac"`, `"format": "x", "mac"`}, {"backup/1", "backup/2"}, {`"size": 12`, `"size": 12.0`}, {`"size": 12`, `"size": -1`},
		{`"size": 10`, `"size": 1e1`}, {"12:00:00.000000001Z", "12:00:00.0000000010Z"}, {"underseal/d", "\xff"}, {`"logs": [`, `"logs": [null, `},
	} {
		f.Add([]byte(strings.Replace(text, change.old, change.new, 1)))
	}
	for _, other := range []string{"", "{}", "null", "[]", text + text, text + " ", " " + text, text[:len(text)/2], strings.Repeat("[", 1<<14)} {
		f.Add([]byte(other))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, "manifest.json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := backup.Read(t.Context(), dir, backup.Data)
		if err != nil {
			if !fault.Is(err, fault.Invalid) && fault.CodeOf(err) != "backup_damaged" {
				t.Errorf("refused with %v", err)
			}
			return
		}
		again, err := backup.Encoded(m)
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("%q is written again as %q, %v", text, again, err)
		}
		slices.SortFunc(m.Content, func(a, b backup.File) int { return strings.Compare(a.Path, b.Path) })
		if !slices.Equal(m.Content, content) {
			t.Errorf("%+v is taken for what is there", m.Content)
		}
	})
}
