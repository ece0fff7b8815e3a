package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// Target is where a backup is put.
type Target struct {
	Data    string // data directory
	DSN     string // Postgres instead of SQLite
	KeysDSN string
}

// Restore verifies the parts of a backup and puts them into a place that holds
// nothing. Without keys ("") those that are in place stay, which must be of the same
// deployment. The database of the data comes last: before it is there, no server
// starts.
func Restore(ctx context.Context, to Target, dataDir, keysDir string) (data Manifest, err error) {
	if data, err = Read(ctx, dataDir, Data); err != nil {
		return data, err
	}
	if keysDir != "" {
		if err := checkKeys(ctx, data, keysDir); err != nil {
			return data, err
		}
	}
	if data.Database != to.database() {
		return data, fault.New(fault.Invalid, "the backup is of %s, the configuration names %s", data.Database, to.database())
	}
	if to.DSN != "" {
		return data, to.restorePostgres(ctx, dataDir, keysDir)
	}
	return data, to.restoreFiles(ctx, dataDir, keysDir)
}

// checkKeys requires that the keys open the data: those that were made after an
// older backup of the keys would be missing for good.
func checkKeys(ctx context.Context, data Manifest, dir string) error {
	keys, err := Read(ctx, dir, Keys)
	switch {
	case err != nil:
		return err
	case keys.Deployment != data.Deployment:
		return fault.New(fault.Conflict, "the data are of deployment %s, the keys of %s", data.Deployment, keys.Deployment)
	case keys.Database != data.Database:
		return fault.New(fault.Conflict, "the data are of %s, the keys of %s", data.Database, keys.Database)
	case keys.Backup != data.Backup && keys.Began.Before(data.Ended):
		return fault.New(fault.Conflict, "the keys were copied before the data: keys that the data need are missing").WithCode("keys_too_old").
			WithHint("take the keys of the same backup or of a later one, best the newest there are")
	}
	return nil
}

func (to Target) database() string { return Source{DSN: to.DSN}.database() }

func (to Target) restoreFiles(ctx context.Context, dataDir, keysDir string) error {
	if err := to.checkEmpty(keysDir != ""); err != nil {
		return err
	}
	if err := os.MkdirAll(to.Data, 0o700); err != nil {
		return fault.New(fault.Invalid, "make the data directory: %w", err)
	}
	for _, step := range []func() error{
		func() error { return to.copyBlobs(ctx, dataDir) },
		func() error { return to.copyKeys(keysDir) },
		func() error { return syncTree(ctx, to.Data) },
		func() error { return moveIn(filepath.Join(dataDir, "data.db"), filepath.Join(to.Data, "data.db")) },
		func() error { return syncTree(ctx, to.Data) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// checkEmpty requires that nothing can be overwritten, or taken for a part of what
// is restored. Files may be there: one of a name is never another.
func (to Target) checkEmpty(withKeys bool) error {
	unwanted := []string{"data.db", "data.db-wal"}
	if withKeys {
		unwanted = append(unwanted, "keys.db", "keys.db-wal")
	}
	for _, name := range unwanted {
		if _, err := os.Lstat(filepath.Join(to.Data, name)); !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Conflict, "restore into %s: there is %s already", to.Data, name).WithCode("not_empty").
				WithHint("move what is there away; nothing is ever overwritten")
		}
	}
	if _, err := os.Lstat(filepath.Join(to.Data, "keys.db")); !withKeys && err != nil {
		return fault.New(fault.NotFound, "restore into %s: there are no keys", to.Data).WithHint("name a backup of the keys: --keys-backup")
	}
	return nil
}

func (to Target) copyBlobs(ctx context.Context, dataDir string) error {
	root := filepath.Join(dataDir, "blobs")
	return walk(ctx, root, func(path string, entry fs.DirEntry) error {
		rel, err := filepath.Rel(dataDir, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to.Data, rel)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		if err := copyFile(path, target); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

func (to Target) copyKeys(keysDir string) error {
	if keysDir == "" {
		return nil
	}
	return moveIn(filepath.Join(keysDir, "keys.db"), filepath.Join(to.Data, "keys.db"))
}

// moveIn copies a database beside its place, durably, and then gives it its name.
func moveIn(from, to string) error {
	err := copyFile(from, to+".restored")
	if err == nil {
		err = os.Rename(to+".restored", to)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "copy %s into place: %w", from, err)
	}
	return nil
}

func (to Target) restorePostgres(ctx context.Context, dataDir, keysDir string) error {
	src := Source{DSN: to.DSN, KeysDSN: to.KeysDSN}
	for _, part := range []struct{ name, dir string }{{Keys, keysDir}, {Data, dataDir}} {
		if part.dir == "" {
			continue
		}
		dsn, schema := src.schema(part.name)
		if err := store.PrepareRestore(ctx, dsn, schema); err != nil {
			return err
		}
		if err := postgresTool(ctx, "pg_restore", dsn, "--exit-on-error", "--single-transaction", "--no-owner", "--no-password",
			filepath.Join(part.dir, part.name+".dump")); err != nil {
			return err
		}
	}
	target := Target{Data: to.Data}
	return target.copyBlobs(ctx, dataDir)
}
