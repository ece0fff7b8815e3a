package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/underseal/underseal/internal/fault"
)

var errBusy = errors.New("checkpoint: readers kept the database busy")

// sqliteReaders is how many queries of a file run at a time.
const sqliteReaders = 4

// caches is the memory of a file's page caches, in KiB: the writer's and each
// reader's. What they miss the operating system's cache holds.
type caches struct{ writer, reader int }

func cacheSize(kib int) string { return fmt.Sprintf("cache_size = -%d", kib) }

// sqliteDB is the backend for one SQLite file.
type sqliteDB struct {
	readers *sql.DB
	health  *health
	writer  *writer
	points  *checkpointer
	observe func(ctx context.Context, tenant, query string, rows int) // nil: nobody is told
	fault   func(ctx context.Context, query string) error             // nil: there are none

	mu    sync.RWMutex
	stmts map[string]*sql.Stmt // guarded by mu
}

func openSQLite(ctx context.Context, cfg Config) (_ *DB, err error) {
	if err := makeDirectory(cfg.Path); err != nil {
		return nil, fault.New(fault.Invalid, "make the data directory %s: %w", cfg.Path, err)
	}
	unlock, err := lockDirectory(cfg.Path)
	if err != nil {
		return nil, err
	}
	db := &DB{health: newHealth(), unlock: unlock}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	// Where a clear value stood, or was moved from, no byte may stay behind when it is
	// erased. FAST overwrites within pages that are written anyway; pages that become
	// free are overwritten only by what erases (see writer.change).
	if db.data, err = openFile(ctx, db.health, cfg.Path, "data", caches{8192, 2048}, "secure_delete = FAST"); err != nil {
		return nil, err
	}
	// Of a destroyed key no byte may stay behind in the file. Keys are written in
	// batches in the order of their ids and read one by one, which takes no large caches.
	if db.keys, err = openFile(ctx, db.health, cfg.Path, "keys", caches{2048, 512}, "secure_delete = ON"); err != nil {
		return nil, err
	}
	db.scans = db.data
	for _, b := range []backend{db.data, db.keys} {
		b.(*sqliteDB).observe, b.(*sqliteDB).fault = cfg.Observe, cfg.Fault
	}
	return db, nil
}

// openFile opens name.db in dir and brings its schema up to date. It returns a
// nil interface with an error, so that Close can tell.
func openFile(ctx context.Context, h *health, dir, name string, sizes caches, pragmas ...string) (backend, error) {
	path := filepath.Join(dir, name+".db")
	if err := createFile(path); err != nil {
		return nil, fault.New(fault.Unavailable, "open the database %s: %w", path, err)
	}
	file := sqliteFile{path: path, pragmas: append([]string{cacheSize(sizes.writer), "journal_size_limit = 67108864"}, pragmas...)}
	conn, err := file.migrated(ctx, name, pragmas)
	if err != nil {
		return nil, err
	}
	return startSQLite(h, conn, path, sizes, pragmas), nil
}

// migrated returns the writing connection to a file whose schema it has brought up to
// date. Mostly it is: the connection itself finds out.
func (f sqliteFile) migrated(ctx context.Context, name string, pragmas []string) (*sqliteConn, error) {
	conn, err := f.writer()
	if err == nil && conn.hasSchema("migrations/sqlite/"+name) {
		return conn, nil
	}
	if err == nil {
		err = conn.Close()
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open the database: %w", err)
	}
	if err := migrateSQLite(ctx, f.path, name, pragmas); err != nil {
		return nil, err
	}
	if conn, err = f.writer(); err != nil {
		return nil, fault.New(fault.Unavailable, "open the database: %w", err)
	}
	return conn, nil
}

func startSQLite(h *health, conn *sqliteConn, path string, sizes caches, pragmas []string) *sqliteDB {
	background := sqliteFile{path: path, pragmas: append(slices.Clip(pragmas), cacheSize(sizes.reader))}
	db := &sqliteDB{
		readers: sql.OpenDB(sqliteFile{path: path, pragmas: []string{cacheSize(sizes.reader), "query_only = ON"}}),
		health:  h,
		points:  newCheckpointer(background, h),
		stmts:   map[string]*sql.Stmt{},
	}
	db.readers.SetMaxOpenConns(sqliteReaders)
	db.readers.SetMaxIdleConns(sqliteReaders)
	db.writer = startWriter(conn, h, db.points)
	return db
}

func (db *sqliteDB) close() error {
	db.writer.stop()
	errs := []error{db.points.stop(), db.readers.Close()}
	if db.health.err() == nil {
		errs = append(errs, checkpoint(db.writer.conn, "TRUNCATE"))
	}
	return errors.Join(append(errs, db.writer.conn.Close())...)
}

// stmt returns the prepared statement of a query. Queries are few, also those
// put together from parts.
func (db *sqliteDB) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	db.mu.RLock()
	stmt, ok := db.stmts[text]
	db.mu.RUnlock()
	if ok {
		return stmt, nil
	}
	stmt, err := db.readers.PrepareContext(ctx, numbered(text))
	if err != nil {
		return nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if former, ok := db.stmts[text]; ok {
		return former, stmt.Close()
	}
	db.stmts[text] = stmt
	return stmt, nil
}

func (db *sqliteDB) each(ctx context.Context, tenant, text string, args []any, fn func(row) error) error {
	if err := db.health.err(); err != nil {
		return err
	}
	count := 0
	if db.observe != nil {
		defer func() { db.observe(ctx, tenant, text, count) }()
	}
	if db.fault != nil {
		if err := db.fault(ctx, text); err != nil {
			return db.readError(err)
		}
	}
	stmt, err := db.stmt(ctx, text)
	if err != nil {
		return db.readError(err)
	}
	rows, err := stmt.QueryContext(ctx, bind(args)...)
	if err != nil {
		return db.readError(err)
	}
	defer rows.Close()
	for rows.Next() {
		count++
		if err := fn(row{rows}); err != nil {
			return err
		}
	}
	return db.readError(rows.Err())
}

func (db *sqliteDB) eachOf(ctx context.Context, tenant, text string, args [][]any, fn func(int, row) error) error {
	for i := range args {
		err := db.each(ctx, tenant, text, args[i], func(r row) error { return fn(i, r) })
		if err != nil {
			return err
		}
	}
	return nil
}

// readError gives an error of a query its kind. A disk that fails to read is
// not fatal: nothing is lost by trying again.
func (db *sqliteDB) readError(err error) error {
	if err == nil {
		return nil
	}
	if code, _ := sqliteCode(err); code == 1 {
		return fault.New(fault.Internal, "read from the database: %w", err)
	}
	return fault.New(fault.Unavailable, "read from the database: %w", err)
}

func (db *sqliteDB) apply(ctx context.Context, _ string, unit []statement) error {
	return db.write(ctx, sizeOf(unit), db.writer.unit(unit))
}

// sizeOf returns about how many bytes a unit writes. It also binds the arguments,
// which is better done here than by the writer, for whom all wait.
func sizeOf(unit []statement) int {
	size := 0
	for i := range unit {
		for _, arg := range bind(unit[i].args) {
			switch v := arg.(type) {
			case []byte:
				size += len(v)
			case string:
				size += len(v)
			default:
				size += 8
			}
		}
	}
	return size
}

func (db *sqliteDB) update(ctx context.Context, fn func(tx) error) error {
	return db.write(ctx, 0, func(c *sqliteConn) error { return classified(fn(sqliteTx{c})) })
}

// write runs a unit of about so many bytes.
func (db *sqliteDB) write(ctx context.Context, size int, unit func(*sqliteConn) error) error {
	if db.fault != nil {
		if err := db.fault(ctx, ""); err != nil {
			return notApplied(err)
		}
	}
	return db.writer.do(ctx, size, unit)
}

// forget empties the WAL, which holds former versions of pages. For readers SQLite
// waits; for a checkpoint that goes on beside the commits it does not. The writer
// is what starts those, so none begins meanwhile.
func (db *sqliteDB) forget(ctx context.Context) error {
	err := db.writer.between(ctx, func(c *sqliteConn) error {
		db.points.running.Wait()
		return checkpoint(c, "TRUNCATE")
	})
	switch {
	case err == nil || fault.Is(err, fault.Unavailable):
		return err
	case errors.Is(err, errBusy):
		return fault.New(fault.Unavailable, "empty the write-ahead log: %w", err)
	}
	db.health.fail(err)
	return db.health.err()
}

// sqliteTx is a unit that reads.
type sqliteTx struct{ conn *sqliteConn }

func (t sqliteTx) exec(text string, args ...any) (int64, error) {
	n, err := t.conn.run(text, args)
	switch {
	case sqliteTaken(err):
		err = errTaken
	case sqliteHangs(err):
		err = errHangs
	}
	return n, err
}

func (t sqliteTx) execOf(text string, args [][]any) (changed int64, err error) {
	for _, a := range args {
		n, err := t.exec(text, a...)
		if err != nil {
			return 0, err
		}
		changed += n
	}
	return changed, nil
}

// updateOf changes a power of two of rows at a time, so that few statements are prepared.
func (t sqliteTx) updateOf(u *update, args [][]any) (changed int64, err error) {
	joined := make([]any, 0, mostJoined*u.columns)
	for n := mostJoined; len(args) > 0; n /= 2 {
		for ; len(args) >= n; args = args[n:] {
			joined = joined[:0]
			for _, row := range args[:n] {
				joined = append(joined, row...)
			}
			rows, err := t.exec(u.text(n), joined...)
			if err != nil {
				return 0, err
			}
			changed += rows
		}
	}
	return changed, nil
}

func (t sqliteTx) each(text string, args []any, fn func(row) error) error {
	return t.conn.query(text, args, fn)
}

// makeDirectory makes dir, readable by its owner alone, and makes that durable.
func makeDirectory(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(filepath.Clean(dir)))
}

// createFile makes an empty file for SQLite with mode 0600, which SQLite also
// gives to the WAL beside it.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

func syncDirectory(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return f.Close()
}
