// Package backup copies a deployment while its server runs, and puts copies back.
//
// A backup has two parts, to be kept apart: data (the database and the files) and
// keys (the wrapped keys). Each is a directory with a manifest that names every file
// with its size and hash, written last: a directory without one is no backup.
//
// The order is data, files, keys. So every key that the copied data need, and that
// was not destroyed meanwhile, is among the copied keys, and so is the plan of every
// erasure that the copied data do not know of yet.
package backup

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// Source is what is copied.
type Source struct {
	Data    string // data directory; with a DSN only its files are copied
	DSN     string // Postgres instead of SQLite
	KeysDSN string // Postgres of the key tables; default: DSN
	// Files says where files are kept: FilesBelow, FilesInRows or another store, of
	// which nothing is copied.
	Files string
	Now   func() time.Time
}

// Where files are kept.
const (
	FilesBelow  = "files"    // the folder blobs of the data directory
	FilesInRows = "postgres" // the database
)

// Names of the parts, which are also those of their directories.
const (
	Data = "data"
	Keys = "keys"
)

// Make copies a deployment to dir/data and dir/keys, which must not exist. What it
// returns is on the disk. A copy that was not finished is left without a manifest.
func Make(ctx context.Context, src Source, dir string) (data, keys Manifest, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return data, keys, fault.New(fault.Invalid, "make the directory of the backup: %w", err)
	}
	id := uuid.NewString()
	data = Manifest{Format: format, Backup: id, Part: Data, Began: src.Now().UTC(), Files: src.Files, Database: src.database()}
	if err = src.part(ctx, dir, &data); err != nil {
		return data, keys, err
	}
	keys = Manifest{Format: format, Backup: id, Part: Keys, Began: src.Now().UTC(), Database: src.database()}
	err = src.part(ctx, dir, &keys)
	if err == nil && keys.Deployment != data.Deployment {
		err = fault.New(fault.Integrity, "the data belongs to deployment %q, the keys beside it to %q", data.Deployment, keys.Deployment)
	}
	if err == nil {
		err = data.with(keys.Logs)
	}
	return data, keys, err
}

func (src Source) database() string {
	if src.DSN != "" {
		return "postgres"
	}
	return "sqlite"
}

// part copies one part and writes its manifest.
func (src Source) part(ctx context.Context, dir string, m *Manifest) (err error) {
	to := filepath.Join(dir, m.Part)
	if err := os.Mkdir(to, 0o700); errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Conflict, "%s exists: a backup never overwrites one", to).WithHint("name a directory of its own for each backup")
	} else if err != nil {
		return fault.New(fault.Invalid, "make the directory of the backup: %w", err)
	}
	if err := src.copyDatabase(ctx, m, to); err != nil {
		return err
	}
	if m.Part == Data && src.Files == FilesBelow {
		if err := copyFiles(ctx, src.Data, to, m.Deployment); err != nil {
			return err
		}
	}
	if m.Content, err = hashTree(ctx, to); err != nil {
		return err
	}
	m.Ended = src.Now().UTC()
	return m.write(to)
}

// copyDatabase copies the database of a part as of one moment, and says in the
// manifest what is in the copy.
func (src Source) copyDatabase(ctx context.Context, m *Manifest, to string) (err error) {
	if src.DSN != "" {
		return src.dump(ctx, m, to)
	}
	file := filepath.Join(to, m.Part+".db")
	if err := store.CopySQLite(ctx, src.Data, m.Part, file); err != nil {
		return err
	}
	if m.Deployment, err = store.CopiedDeployment(ctx, file); err == nil {
		m.Logs, err = copiedLogs(ctx, file, m.Part)
	}
	return err
}

// copiedLogs lists the logs in a copied file.
func copiedLogs(ctx context.Context, file, part string) ([]Log, error) {
	copied, err := store.CopiedLogs(ctx, file, part == Keys)
	if err != nil {
		return nil, err
	}
	return logsOf(copied)
}

// copyFiles copies the folder of a deployment's files. One that is gone by now was
// deleted: its row in the copy is of an upload that nobody claimed, or of a file
// whose erasure the keys know of.
func copyFiles(ctx context.Context, from, to, deployment string) error {
	root := filepath.Join(from, "blobs", deployment)
	return walk(ctx, root, func(path string, entry fs.DirEntry) error {
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if entry.IsDir() {
			if rel == filepath.Join("blobs", deployment, "new") { // not finished yet
				return filepath.SkipDir
			}
			return os.MkdirAll(target, 0o700)
		}
		err = copyFile(path, target)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// walk calls f for everything below root, which need not exist.
func walk(ctx context.Context, root string, f func(path string, entry fs.DirEntry) error) error {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		return f(path, entry)
	})
	var known *fault.Error
	if err == nil || errors.As(err, &known) || ctx.Err() != nil {
		return err
	}
	return fault.New(fault.Unavailable, "copy %s: %w", root, err)
}

// copyFile makes a durable copy with mode 0600.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(err, out.Close())
	}
	return errors.Join(out.Sync(), out.Close())
}

// syncTree makes the names in all directories of a tree durable.
func syncTree(ctx context.Context, root string) error {
	return walk(ctx, root, func(path string, entry fs.DirEntry) error {
		if !entry.IsDir() {
			return nil
		}
		dir, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(dir.Sync(), dir.Close())
	})
}
