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
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	// Wait is for how long is waited until every step of a signer is under a signed head of
	// its log: restored, one that is not may never get a proof, and nothing that its key
	// signs. Default a minute. Then the backup is refused, unless Unproven allows it.
	Wait     time.Duration
	Unproven bool
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
	key, err := src.manifestKey(ctx)
	if err != nil {
		return data, keys, err
	}
	id := uuid.NewString()
	data = Manifest{Format: format, Backup: id, Part: Data, Began: src.Now().UTC(), Files: src.Files, Database: src.database()}
	if err = src.part(ctx, dir, &data, key); err != nil {
		return data, keys, err
	}
	keys = Manifest{Format: format, Backup: id, Part: Keys, Began: src.Now().UTC(), Database: src.database()}
	err = src.part(ctx, dir, &keys, key)
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

// manifestKey returns the deployment's key for manifests.
func (src Source) manifestKey(ctx context.Context) (key []byte, err error) {
	if src.DSN == "" {
		return store.ManifestKey(ctx, filepath.Join(src.Data, "keys.db"))
	}
	dsn, schema := src.schema(Keys)
	err = store.CopyPostgres(ctx, dsn, schema, func(c store.PostgresCopy) error {
		key = c.ManifestKey
		return nil
	})
	return key, err
}

// part copies one part and writes its manifest.
func (src Source) part(ctx context.Context, dir string, m *Manifest, key []byte) (err error) {
	to := filepath.Join(dir, m.Part)
	if err := os.Mkdir(to, 0o700); errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Conflict, "%s exists: a backup never overwrites one", to).WithHint("name a directory of its own for each backup")
	} else if err != nil {
		return fault.New(fault.Invalid, "make the directory of the backup: %w", err)
	}
	if err := src.copyDatabase(ctx, m, to); fault.CodeOf(err) == codeUnproven {
		return errors.Join(err, os.Remove(to)) // nothing is in it
	} else if err != nil {
		return err
	}
	if m.Part == Data && src.Files == FilesBelow {
		if err := copyFiles(ctx, src.Data, to, m.Deployment); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return fault.New(fault.Unavailable, "read what was copied: %w", err)
	}
	defer root.Close()
	if m.Part == Keys {
		if err := root.WriteFile(keyName, []byte(hex.EncodeToString(key)+"\n"), 0o600); err != nil {
			return fault.New(fault.Unavailable, "write the key of the manifests: %w", err)
		}
	}
	if m.Content, err = hashTree(ctx, to, root); err != nil {
		return err
	}
	m.Ended = src.Now().UTC()
	return m.write(to, key)
}

// codeUnproven is the code of a backup that would have a step of a signer under no head.
const codeUnproven = "signer_unproven"

// proven refuses a moment at which so many steps of signers are under no signed head.
func (src Source) proven(steps int) error {
	if steps == 0 || src.Unproven {
		return nil
	}
	return fault.New(fault.Unavailable, "back up the data: %d steps of signers' keys are under no signed head of the log yet; after a restore there would be no evidence of what these keys sign", steps).
		WithCode(codeUnproven).
		WithHint("let the server run and its witnesses answer (underseal doctor), then try again; --accept-unproven makes the backup all the same")
}

// pause is how long is waited before another moment is tried.
const pause = 100 * time.Millisecond

// copyDatabase copies the database of a part as of one moment, and says in the
// manifest what is in the copy.
func (src Source) copyDatabase(ctx context.Context, m *Manifest, to string) error {
	try := src.copySQLite
	if src.DSN != "" {
		try = src.dump
	}
	for end := time.Now().Add(cmp.Or(src.Wait, time.Minute)); ; {
		err := try(ctx, m, to)
		if fault.CodeOf(err) != codeUnproven || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// copySQLite copies the file of a part. Whether steps of signers lack a head is asked before,
// since a copy may take long, and of the copy, whose moment counts.
func (src Source) copySQLite(ctx context.Context, m *Manifest, to string) (err error) {
	file := filepath.Join(to, m.Part+".db")
	if err := src.provenIn(ctx, m, filepath.Join(src.Data, m.Part+".db")); err != nil {
		return err
	}
	if err := store.CopySQLite(ctx, src.Data, m.Part, file); err != nil {
		return err
	}
	if err := src.provenIn(ctx, m, file); fault.CodeOf(err) == codeUnproven {
		return errors.Join(err, os.Remove(file))
	} else if err != nil {
		return err
	}
	if m.Deployment, err = store.CopiedDeployment(ctx, file); err == nil {
		m.Logs, err = copiedLogs(ctx, file, m.Part)
	}
	return err
}

// provenIn is proven of a file of the data; of the keys it asks nothing.
func (src Source) provenIn(ctx context.Context, m *Manifest, file string) error {
	if m.Part == Keys {
		return nil
	}
	steps, err := store.UnprovenSteps(ctx, file)
	if err != nil {
		return err
	}
	return src.proven(steps)
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
	below := filepath.Join(blobsName, deployment)
	in, err := os.OpenRoot(filepath.Join(from, below))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Unavailable, "copy the files: %w", err)
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Join(to, below), 0o700); err != nil {
		return fault.New(fault.Unavailable, "copy the files: %w", err)
	}
	out, err := os.OpenRoot(filepath.Join(to, below))
	if err != nil {
		return fault.New(fault.Unavailable, "copy the files: %w", err)
	}
	defer out.Close()
	return walk(ctx, in.Name(), func(path string, entry fs.DirEntry) error {
		rel, err := filepath.Rel(in.Name(), path)
		switch {
		case err != nil || rel == ".":
			return err
		case rel == "new" && entry.IsDir(): // not finished yet
			return filepath.SkipDir
		case entry.IsDir():
			return out.MkdirAll(rel, 0o700)
		}
		_, err = copyFile(in, rel, out, rel)
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

// copyFile makes a durable copy with mode 0600 and says what is in it. No link leads
// out of either place.
func copyFile(in *os.Root, from string, out *os.Root, to string) (copied File, err error) {
	source, err := in.Open(from)
	if err != nil {
		return copied, err
	}
	defer source.Close()
	target, err := out.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return copied, err
	}
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(target, sum), source)
	if err != nil {
		return copied, errors.Join(err, target.Close())
	}
	return File{Path: filepath.ToSlash(from), Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}, errors.Join(target.Sync(), target.Close())
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
