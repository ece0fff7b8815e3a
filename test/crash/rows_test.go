//go:build unix

package crash_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	_ "modernc.org/sqlite"

	"github.com/underseal/underseal/ledger"
)

// rowChecks are counts of rows that must not be there, in both dialects (P3).
var rowChecks = []struct{ name, query string }{
	{"heads whose seq is not the number of their steps", `
		SELECT count(*) FROM heads h WHERE h.seq <> (
			SELECT count(*) FROM steps s WHERE s.tenant = h.tenant AND s.object = h.object)`},
	{"heads whose seq is not that of their newest leaf", `
		SELECT count(*) FROM heads h WHERE h.seq <> (
			SELECT coalesce(max(l.seq), 0) FROM leaves l WHERE l.tenant = h.tenant AND l.object = h.object)`},
	{"steps without a leaf", `
		SELECT count(*) FROM steps s LEFT JOIN leaves l USING (tenant, object, seq) WHERE l.hash IS NULL`},
	{"leaves without a step", `
		SELECT count(*) FROM leaves l LEFT JOIN steps s USING (tenant, object, seq) WHERE s.body IS NULL AND l.seq > 0`},
	{"steps without a head", `
		SELECT count(*) FROM steps s LEFT JOIN heads h USING (tenant, object) WHERE h.body IS NULL`},
	{"fields without a step", `
		SELECT count(*) FROM fields f LEFT JOIN steps s USING (tenant, object, seq) WHERE s.body IS NULL AND f.seq > 0`},
	{"heads of instances without a routing row", `
		SELECT count(*) FROM heads h LEFT JOIN instances i USING (tenant, object) WHERE h.kind = 'instance' AND i.status IS NULL`},
	{"routing rows without a head", `
		SELECT count(*) FROM instances i LEFT JOIN heads h USING (tenant, object) WHERE h.body IS NULL`},
	{"definitions without a head", `
		SELECT count(*) FROM definitions d LEFT JOIN heads h USING (tenant, object) WHERE h.body IS NULL`},
	{"tasks without an active instance", orphans("tasks")},
	{"jobs without an active instance", orphans("jobs")},
	{"timers without an active instance", orphans("timers")},
	{"incidents", `SELECT count(*) FROM incidents`},
	{"candidates without a task", `
		SELECT count(*) FROM task_candidates c LEFT JOIN tasks t
			ON t.tenant = c.tenant AND t.instance = c.instance AND t.id = c.task
		WHERE t.id IS NULL`},
	{"active instances that wait for nothing", `
		SELECT count(*) FROM instances i WHERE i.status = 'active'
			AND NOT EXISTS (SELECT 1 FROM tasks q WHERE q.tenant = i.tenant AND q.instance = i.object)
			AND NOT EXISTS (SELECT 1 FROM jobs q WHERE q.tenant = i.tenant AND q.instance = i.object)
			AND NOT EXISTS (SELECT 1 FROM timers q WHERE q.tenant = i.tenant AND q.instance = i.object)`},
	{"instances with other than one start token", `
		SELECT count(*) FROM instances i WHERE 1 <> (
			SELECT count(*) FROM unique_tokens u WHERE u.tenant = i.tenant AND u.object = i.object AND u.seq = 1)`},
	{"unique tokens without a step", `
		SELECT count(*) FROM unique_tokens u LEFT JOIN steps s USING (tenant, object, seq) WHERE s.body IS NULL`},
	{"entries of a log without their leaf", `
		SELECT count(*) FROM log_entries e LEFT JOIN leaves l USING (tenant, object, seq) WHERE l.hash IS NULL OR l.hash <> e.hash`},
	{"logs with another size than number of entries", `
		SELECT count(*) FROM log_shards s WHERE s.size <> (
			SELECT count(*) FROM log_entries e WHERE e.tenant = s.tenant AND e.shard = s.number)`},
	{"entries behind a gap", `
		SELECT count(*) FROM log_entries e WHERE e.idx > 0 AND NOT EXISTS (
			SELECT 1 FROM log_entries f WHERE f.tenant = e.tenant AND f.shard = e.shard AND f.idx = e.idx - 1)`},
	{"tokens without a step", `
		SELECT count(*) FROM tokens u LEFT JOIN steps s USING (tenant, object, seq) WHERE s.body IS NULL`},
}

func orphans(table string) string {
	return `SELECT count(*) FROM ` + table + ` q LEFT JOIN instances i ON i.tenant = q.tenant AND i.object = q.instance
		WHERE i.status IS NULL OR i.status <> 'active'`
}

// A database is the rows of a server, read behind its back.
type database struct{ data, keys *sql.DB }

func openSQLite(t *testing.T, dir string) database {
	t.Helper()
	open := func(name string) *sql.DB {
		path := url.URL{Scheme: "file", OmitHost: true, Path: filepath.Join(dir, name)}
		db, err := sql.Open("sqlite", path.String())
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	return database{open("data.db"), open("keys.db")}
}

func openPostgres(t *testing.T, dsn string) database {
	t.Helper()
	open := func(schema string) *sql.DB {
		c, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		c.RuntimeParams["search_path"] = schema
		return stdlib.OpenDB(*c)
	}
	return database{open("underseal"), open("underseal_keys")}
}

func (d database) close() {
	d.data.Close()
	d.keys.Close()
}

// check makes all row checks in one snapshot. It returns how many instances and
// steps there are.
func (d database) check(ctx context.Context) (instances, steps int, err error) {
	tx, err := d.data.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: false})
	if err != nil {
		return 0, 0, err
	}
	defer tx.Rollback() // nothing was written
	for _, c := range rowChecks {
		var n int
		if err := tx.QueryRowContext(ctx, c.query).Scan(&n); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", c.name, err)
		}
		if n != 0 {
			return 0, 0, fmt.Errorf("there are %d %s", n, c.name)
		}
	}
	err = tx.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM instances), (SELECT count(*) FROM steps)`).Scan(&instances, &steps)
	if err != nil {
		return 0, 0, err
	}
	return instances, steps, errors.Join(d.checkKeys(ctx, tx), d.checkTree(ctx, tx))
}

// checkTree requires that the newest checkpoints, the published one and that beside
// the keys, are those of the tree over the entries.
func (d database) checkTree(ctx context.Context, tx *sql.Tx) error {
	roots, err := treeRoots(tx.QueryContext(ctx, `SELECT hash FROM log_entries ORDER BY tenant, shard, idx`))
	if err != nil {
		return err
	}
	var published []byte
	err = tx.QueryRowContext(ctx, `SELECT signed FROM log_checkpoints ORDER BY size DESC LIMIT 1`).Scan(&published)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // killed in the first second
	}
	if err != nil {
		return err
	}
	var beside []byte
	if err := d.keys.QueryRowContext(ctx, `SELECT note FROM log_heads ORDER BY size DESC LIMIT 1`).Scan(&beside); err != nil {
		return err
	}
	for place, signed := range map[string][]byte{"published": published, "beside the keys": beside} {
		c, err := ledger.UnverifiedCheckpoint(signed)
		if err != nil {
			return err
		}
		if place == "beside the keys" && c.Size > uint64(len(roots)) {
			continue // the keys were read later, from a server that runs
		}
		if c.Size == 0 || c.Size > uint64(len(roots)) || roots[c.Size-1] != c.Root {
			return fmt.Errorf("the checkpoint %s is at size %d with root %s; there are %d entries", place, c.Size, c.Root, len(roots))
		}
	}
	return nil
}

// treeRoots returns the roots of the trees over the first 1, 2, 3 .. hashes, by an
// implementation that is not ours.
func treeRoots(rows *sql.Rows, err error) ([]ledger.Hash, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var roots []ledger.Hash
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	tree := factory.NewEmptyRange(0)
	for rows.Next() {
		var hash []byte
		if err := rows.Scan(&hash); err != nil {
			return nil, err
		}
		if err := tree.Append(hash, nil); err != nil {
			return nil, err
		}
		root, err := tree.GetRootHash(nil)
		if err != nil {
			return nil, err
		}
		roots = append(roots, ledger.Hash(root))
	}
	return roots, rows.Err()
}

// checkKeys requires that the key of every instance is stored and not destroyed.
func (d database) checkKeys(ctx context.Context, tx *sql.Tx) error {
	used, err := blobs(tx.QueryContext(ctx, `SELECT data_key FROM instances`))
	if err != nil {
		return err
	}
	stored, err := blobs(d.keys.QueryContext(ctx, `SELECT id FROM data_keys WHERE state <> 'destroyed'`))
	if err != nil {
		return err
	}
	for key := range used {
		if !stored[key] {
			return fmt.Errorf("an instance has the data key %x, which is not stored", key)
		}
	}
	return nil
}

func blobs(rows *sql.Rows, err error) (map[string]bool, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]bool{}
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return nil, err
		}
		all[string(b)] = true
	}
	return all, rows.Err()
}

// empty requires that nothing waits any more.
func (d database) empty(ctx context.Context) error {
	for _, table := range []string{"tasks", "task_candidates", "jobs", "timers", "incidents"} {
		var n int
		if err := d.data.QueryRowContext(ctx, `SELECT count(*) FROM `+table).Scan(&n); err != nil {
			return err
		}
		if n != 0 {
			return fmt.Errorf("all instances have ended, but %d rows are in %s", n, table)
		}
	}
	var left, unsigned int
	err := d.data.QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM leaves) - (SELECT count(*) FROM log_entries),
			(SELECT count(*) FROM log_entries) - (SELECT max(size) FROM log_checkpoints)`).Scan(&left, &unsigned)
	if err == nil && (left != 0 || unsigned != 0) {
		err = fmt.Errorf("the server has ended, but %d leaves have no place in the log, and %d no checkpoint", left, unsigned)
	}
	return err
}

// copySQLite copies the files of a dead server's database, so that looking at
// them does not recover them.
func copySQLite(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range []string{"data.db", "data.db-wal", "keys.db", "keys.db-wal"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if os.IsNotExist(err) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}
