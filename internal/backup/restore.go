package backup

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	parts := []part{{Manifest: &data, dir: dataDir}}
	if keysDir != "" {
		keys, err := checkKeys(ctx, data, keysDir)
		if err != nil {
			return data, err
		}
		parts = []part{{Manifest: &keys, dir: keysDir}, parts[0]}
	}
	if data.Database != to.database() {
		return data, fault.New(fault.Invalid, "the backup is of %s, the configuration names %s", data.Database, to.database())
	}
	if to.DSN == "" {
		if err := to.checkEmpty(keysDir != ""); err != nil {
			return data, err
		}
	}
	key, err := to.manifestKey(ctx, keysDir)
	if err != nil {
		return data, err
	}
	for _, p := range parts {
		if err := p.authentic(key); err != nil {
			return data, err
		}
	}
	if to.DSN != "" {
		return data, to.restorePostgres(ctx, parts)
	}
	return data, to.restoreFiles(ctx, parts)
}

// manifestKey returns the key that authenticates manifests: that of the keys which are
// restored, or of those that are in place.
func (to Target) manifestKey(ctx context.Context, keysDir string) ([]byte, error) {
	if keysDir == "" {
		return Source{Data: to.Data, DSN: to.DSN, KeysDSN: to.KeysDSN}.manifestKey(ctx)
	}
	text, err := os.ReadFile(filepath.Join(keysDir, keyName))
	if err != nil {
		return nil, fault.New(fault.Integrity, "read the key of the manifests: %w", err).WithCode("backup_damaged")
	}
	key, err := hex.DecodeString(strings.TrimSuffix(string(text), "\n"))
	if err != nil || len(key) != manifestKeySize {
		return nil, fault.New(fault.Integrity, "the key of the manifests in %s is none", keysDir).WithCode("backup_damaged")
	}
	return key, nil
}

const manifestKeySize = 32

// part is one part of a backup, in its directory. Parts are in the order in which they
// are restored: the data last.
type part struct {
	*Manifest
	dir string
}

// checkKeys requires that the keys open the data: those that were made after an
// older backup of the keys would be missing for good.
func checkKeys(ctx context.Context, data Manifest, dir string) (keys Manifest, err error) {
	keys, err = Read(ctx, dir, Keys)
	switch {
	case err != nil:
		return keys, err
	case keys.Deployment != data.Deployment:
		return keys, fault.New(fault.Conflict, "the data are of deployment %s, the keys of %s", data.Deployment, keys.Deployment)
	case keys.Database != data.Database:
		return keys, fault.New(fault.Conflict, "the data are of %s, the keys of %s", data.Database, keys.Database)
	case keys.Backup != data.Backup && keys.Began.Before(data.Ended):
		return keys, tooOld("the keys were copied before the data")
	}
	return keys, data.with(keys.Logs)
}

func (to Target) database() string { return Source{DSN: to.DSN}.database() }

func (to Target) restoreFiles(ctx context.Context, parts []part) error {
	data := parts[len(parts)-1]
	if len(parts) == 1 {
		kept, err := copiedLogs(ctx, filepath.Join(to.Data, "keys.db"), Keys)
		if err == nil {
			err = data.with(kept)
		}
		if err != nil {
			return err
		}
	}
	if err := os.MkdirAll(to.Data, 0o700); err != nil {
		return fault.New(fault.Invalid, "make the data directory: %w", err)
	}
	if err := to.copyBlobs(ctx, data); err != nil {
		return err
	}
	for _, p := range parts {
		if err := to.place(ctx, p, func() error { return p.moveIn(ctx, to.Data) }); err != nil {
			return err
		}
		if err := syncTree(ctx, to.Data); err != nil {
			return err
		}
	}
	return nil
}

// place puts the database of a part into place, wholly or not at all. Before that of the
// data it marks beside the keys that the restore is not finished: no server starts with
// what is there before its logs go on.
func (to Target) place(ctx context.Context, p part, put func() error) error {
	if p.Part != Data {
		return put()
	}
	if err := to.mark(ctx, true); err != nil {
		return err
	}
	err := put()
	if err != nil {
		err = errors.Join(err, to.mark(context.WithoutCancel(ctx), false))
	}
	return err
}

func (to Target) mark(ctx context.Context, under bool) error {
	if to.DSN == "" {
		return store.MarkSQLite(ctx, filepath.Join(to.Data, "keys.db"), under)
	}
	dsn, _ := Source{DSN: to.DSN, KeysDSN: to.KeysDSN}.schema(Keys)
	return store.MarkPostgres(ctx, dsn, under)
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

// copyBlobs puts the files that a manifest names into place.
func (to Target) copyBlobs(ctx context.Context, data part) error {
	in, err := os.OpenRoot(data.dir)
	if err != nil {
		return fault.New(fault.Unavailable, "read the files of the backup: %w", err)
	}
	defer in.Close()
	below := filepath.Join(to.Data, blobsName)
	if err := os.MkdirAll(below, 0o700); err != nil {
		return fault.New(fault.Invalid, "make the directory of the files: %w", err)
	}
	out, err := os.OpenRoot(below)
	if err != nil {
		return fault.New(fault.Unavailable, "make the directory of the files: %w", err)
	}
	defer out.Close()
	for _, file := range data.Content {
		rel, found := strings.CutPrefix(file.Path, blobsName+"/")
		if !found {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := out.MkdirAll(filepath.Dir(rel), 0o700); err != nil {
			return fault.New(fault.Unavailable, "make the directory of %s: %w", file.Path, err)
		}
		if err := data.put(in, file, out, rel); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// put copies a file into place, as the manifest names it.
func (p part) put(in *os.Root, file File, out *os.Root, to string) error {
	copied, err := copyFile(in, file.Path, out, to)
	if err != nil {
		return fault.New(fault.Unavailable, "copy %s of the backup into place: %w", file.Path, err)
	}
	if copied != file {
		return errors.Join(p.damaged(p.dir, file.Path), out.Remove(to))
	}
	return nil
}

// moveIn copies a part's database beside its place, durably, and gives it its name
// when it has the logs that it is to have.
func (p part) moveIn(ctx context.Context, dir string) error {
	name := p.Part + ".db"
	i := slices.IndexFunc(p.Content, func(f File) bool { return f.Path == name })
	if i < 0 {
		return p.damaged(p.dir, name)
	}
	in, err := os.OpenRoot(p.dir)
	if err != nil {
		return fault.New(fault.Unavailable, "read the backup: %w", err)
	}
	defer in.Close()
	out, err := os.OpenRoot(dir)
	if err != nil {
		return fault.New(fault.Unavailable, "restore into %s: %w", dir, err)
	}
	defer out.Close()
	beside := name + ".restored"
	if err := p.put(in, p.Content[i], out, beside); err != nil {
		return err
	}
	logs, err := copiedLogs(ctx, filepath.Join(dir, beside), p.Part)
	if err != nil {
		return err
	}
	if err := p.holds(logs); err != nil {
		return errors.Join(err, out.Remove(beside))
	}
	if err := out.Rename(beside, name); err != nil {
		return fault.New(fault.Unavailable, "put %s into place: %w", name, err)
	}
	return nil
}

func (to Target) restorePostgres(ctx context.Context, parts []part) error {
	src := Source{DSN: to.DSN, KeysDSN: to.KeysDSN}
	data := parts[len(parts)-1]
	if len(parts) == 1 {
		kept, err := src.logs(ctx, Keys)
		if err == nil {
			err = data.with(kept)
		}
		if err != nil {
			return err
		}
	}
	for _, p := range parts {
		dsn, schema := src.schema(p.Part)
		if err := store.PrepareRestore(ctx, dsn, schema); err != nil {
			return err
		}
		err := to.place(ctx, p, func() error {
			return postgresTool(ctx, "pg_restore", dsn, "--exit-on-error", "--single-transaction", "--no-owner", "--no-password",
				filepath.Join(p.dir, p.Part+".dump"))
		})
		if err != nil {
			return err
		}
		logs, err := src.logs(ctx, p.Part)
		if err != nil {
			return err
		}
		if err := p.holds(logs); err != nil {
			return err
		}
	}
	return to.copyBlobs(ctx, data)
}
