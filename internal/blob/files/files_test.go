package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/blob/blobtest"
	"github.com/underseal/underseal/internal/blob/files"
	"github.com/underseal/underseal/internal/fault"
)

// directory is storage that fails where a test wants it to.
type directory struct {
	path string

	mu     sync.Mutex // guards what follows
	left   int        // changes that may still happen; negative: any number
	room   int        // bytes that may still be written; negative: any number
	failed bool
	steps  []string
}

func newDirectory(t testing.TB) *directory {
	return &directory{path: filepath.Join(t.TempDir(), "blobs"), left: -1, room: -1}
}

func TestFilesAreAStore(t *testing.T) {
	blobtest.TestStore(t, func(t *testing.T) blobtest.Storage { return newDirectory(t) })
}

func (d *directory) Open(t testing.TB) blob.Store {
	t.Helper()
	d.Fail(-1)
	d.Full(t, -1)
	s, err := files.Open(d.path)
	if err != nil {
		t.Fatal(err)
	}
	s.Before(d.before)
	return s
}

func (d *directory) Fail(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.failed, d.steps = n, false, nil
}

func (d *directory) Full(_ testing.TB, bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = bytes
}

func (d *directory) Failed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

func (d *directory) Piece() int { return 64 << 10 }

// Left counts the files.
func (d *directory) Left(t testing.TB) (n int) {
	t.Helper()
	err := filepath.WalkDir(d.path, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// before fails what is not to happen. A crashed process does nothing more.
func (d *directory) before(step, path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		d.failed = true
		return errors.New("the process has ended")
	}
	d.left = max(d.left-1, -1)
	d.steps = append(d.steps, step+" "+d.short(path))
	if step == "write" && d.room >= 0 {
		if d.room -= 70_001; d.room < 0 {
			d.room = 0
			return &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
		}
	}
	return nil
}

// short replaces what differs from run to run.
func (d *directory) short(path string) string {
	rel, err := filepath.Rel(d.path, path)
	switch parts := strings.Split(rel, string(filepath.Separator)); {
	case err != nil || rel == ".":
		return "directory"
	case parts[0] == "new":
		return "new file"
	case len(parts) > 3: // outside, which a test of its own names
		return rel
	default:
		return []string{"tenant", "folder", "file"}[len(parts)-1]
	}
}

// Every name on the way to a blob is durable before the commit is acknowledged,
// and its bytes are before its name.
func TestACommitSyncsBytesBeforeNamesAndAllNames(t *testing.T) {
	d := newDirectory(t)
	s := d.Open(t)
	w, err := s.Create(t.Context(), "main", blob.NewID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	d.Fail(-1)
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	want := []string{"sync new file", "mkdir tenant", "mkdir folder", "rename file", "sync folder", "sync tenant", "sync directory"}
	if !slices.Equal(d.steps, want) {
		t.Errorf("a commit is %q, want %q", d.steps, want)
	}
}

func TestADeletionIsDurable(t *testing.T) {
	d := newDirectory(t)
	s := d.Open(t)
	id := blob.NewID()
	w, err := s.Create(t.Context(), "main", id)
	if err == nil {
		err = w.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	d.Fail(-1)
	if err := s.Delete(t.Context(), "main", id); err != nil {
		t.Fatal(err)
	}
	if want := []string{"remove file", "sync folder"}; !slices.Equal(d.steps, want) {
		t.Errorf("a deletion is %q, want %q", d.steps, want)
	}
}

func TestATenantsNameStaysInTheDirectory(t *testing.T) {
	d := newDirectory(t)
	s := d.Open(t)
	for _, tenant := range []string{"../../outside", "/outside", "new", "..", "a/../../b"} {
		w, err := s.Create(t.Context(), tenant, blob.NewID())
		if err == nil {
			err = w.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	beside, err := os.ReadDir(filepath.Dir(d.path))
	if err != nil || len(beside) != 1 {
		t.Errorf("beside the directory is %v, %v", beside, err)
	}
	below, err := os.ReadDir(d.path)
	if err != nil || len(below) != 6 {
		t.Errorf("in the directory is %v, %v", below, err)
	}
	for _, entry := range below {
		if entry.Name() != "new" && len(entry.Name()) != 64 {
			t.Errorf("a tenant's folder is called %s", entry.Name())
		}
	}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	d := newDirectory(t)
	s := d.Open(t)
	w, err := s.Create(t.Context(), "main", blob.NewID())
	if err == nil {
		err = w.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = filepath.WalkDir(d.path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		seen++
		return err
	})
	if err != nil || seen < 5 {
		t.Errorf("%d entries seen: %v", seen, err)
	}
}

func TestForeignFilesAreNotListed(t *testing.T) {
	d := newDirectory(t)
	s := d.Open(t)
	folder := filepath.Join(d.path, blob.Folder("main"), "ab")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"readme.txt", "ab", strings.Repeat("cd", 16), strings.ToUpper(strings.Repeat("ab", 16))} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if ids, err := s.List(t.Context(), "main", blob.ID{}, 10); len(ids) > 0 || err != nil {
		t.Errorf("listed %v, %v", ids, err)
	}
}

func TestErrorsNameNoPathOfTheServer(t *testing.T) {
	d := newDirectory(t)
	s := d.Open(t)
	d.Fail(0)
	_, err := s.Create(t.Context(), "main", blob.NewID())
	if !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), d.path) {
		t.Errorf("%v", err)
	}
	if _, err := files.Open(filepath.Join(os.DevNull, "x")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a directory that cannot be: %v", err)
	}
}
