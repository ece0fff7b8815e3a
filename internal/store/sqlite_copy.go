package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"

	"github.com/underseal/underseal/internal/fault"
)

// CopySQLite copies the database file name.db of a data directory, which a server
// may be writing to, to a new file, durably and as it is at one moment. Nothing that
// was deleted or overwritten is in the copy. While it goes on, the write-ahead log
// grows, and an erasure waits.
func CopySQLite(ctx context.Context, dir, name, to string) error {
	from := filepath.Join(dir, name+".db")
	if _, err := os.Stat(from); errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.NotFound, "copy the database: there is no %s", from)
	}
	if err := createFile(to); err != nil {
		return fault.New(fault.Unavailable, "copy the database to %s: %w", to, err)
	}
	db := sql.OpenDB(sqliteFile{path: from, readOnly: true})
	defer db.Close()
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, to); err != nil {
		return fault.New(fault.Unavailable, "copy the database %s to %s: %w", from, to, err).
			WithHint("is there room? is the target empty?")
	}
	return syncFile(to)
}

// syncFile makes what SQLite wrote durable: to a copy it does not wait for the disk.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err == nil {
		err = syncDirectory(filepath.Dir(path))
	}
	if err != nil {
		return fault.New(fault.Unavailable, "write %s to the disk: %w", path, err)
	}
	return nil
}

// CopiedLog is the newest checkpoint of a log that a copy has, as a signed note.
type CopiedLog struct {
	Tenant string
	Signed []byte
}

// The newest checkpoints in a copy of the data, which are those that were published,
// and in one of the keys.
const (
	publishedLogs = `
		SELECT c.tenant, c.signed FROM log_checkpoints c
		WHERE c.size = (SELECT max(m.size) FROM log_checkpoints m WHERE m.tenant = c.tenant AND m.shard = c.shard)
		ORDER BY c.tenant, c.shard`
	keptLogs = `SELECT tenant, note FROM log_heads ORDER BY tenant, origin`
)

// CopiedLogs lists the newest checkpoints in a copied file, of the data or the keys.
func CopiedLogs(ctx context.Context, path string, keys bool) (logs []CopiedLog, err error) {
	db := sql.OpenDB(sqliteFile{path: path, readOnly: true})
	defer db.Close()
	text := publishedLogs
	if keys {
		text = keptLogs
	}
	rows, err := db.QueryContext(ctx, text)
	if err != nil {
		return nil, fault.New(fault.Integrity, "read the logs of the copied database %s: %w", path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var log CopiedLog
		if err := rows.Scan(&log.Tenant, &log.Signed); err != nil {
			return nil, err
		}
		logs = append(logs, log)
	}
	if err := rows.Err(); err != nil {
		return nil, fault.New(fault.Integrity, "read the logs of the copied database %s: %w", path, err)
	}
	return logs, nil
}

// unprovenSteps counts the steps of signers that no published head covers. Those of a log
// that is closed are left out: either nothing covers them any more, or it will after a
// restore too.
const unprovenSteps = `
	SELECT count(*) FROM heads h JOIN leaves l ON l.tenant = h.tenant AND l.object = h.object
	WHERE h.kind = 'signer' AND NOT EXISTS (
		SELECT 1 FROM log_entries e JOIN log_shards s ON s.tenant = e.tenant AND s.number = e.shard
		WHERE e.tenant = l.tenant AND e.object = l.object AND e.seq = l.seq AND (s.open = (1 = 0) OR EXISTS (
			SELECT 1 FROM log_checkpoints c WHERE c.tenant = e.tenant AND c.shard = e.shard AND c.size > e.idx)))`

// UnprovenSteps counts, in a file of the data, in use or copied, the steps of signers that
// no published head of their log covers yet. Restored, such a step may never get a proof,
// and with it nothing that its key signs.
func UnprovenSteps(ctx context.Context, path string) (n int, err error) {
	db := sql.OpenDB(sqliteFile{path: path, readOnly: true})
	defer db.Close()
	if err := db.QueryRowContext(ctx, unprovenSteps).Scan(&n); err != nil {
		return 0, fault.New(fault.Integrity, "read the steps of signers in %s: %w", path, err)
	}
	return n, nil
}

// CopiedDeployment returns whose data or keys a copied file holds.
func CopiedDeployment(ctx context.Context, path string) (deployment string, err error) {
	db := sql.OpenDB(sqliteFile{path: path, readOnly: true})
	defer db.Close()
	err = db.QueryRowContext(ctx, `SELECT deployment FROM deployment`).Scan(&deployment)
	if err != nil {
		return "", fault.New(fault.Integrity, "read the copied database %s: %w", path, err)
	}
	return deployment, nil
}

// ManifestKey returns, from a file of the keys, in use or copied, the key under which
// the manifests of the deployment's backups are authenticated.
func ManifestKey(ctx context.Context, path string) (key []byte, err error) {
	db := sql.OpenDB(sqliteFile{path: path, readOnly: true})
	defer db.Close()
	err = db.QueryRowContext(ctx, `SELECT manifest_key FROM deployment`).Scan(&key)
	if err != nil {
		return nil, fault.New(fault.Integrity, "read the deployment of the keys in %s: %w", path, err)
	}
	return key, nil
}
