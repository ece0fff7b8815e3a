package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteFile opens connections to one database file.
type sqliteFile struct {
	path     string
	pragmas  []string // beyond those that every connection has
	readOnly bool     // nothing is written, not even when the last connection closes
}

// Each connection of a file gets these.
//
// temp_store keeps sorters and statement journals out of temporary files.
// trusted_schema refuses functions with side effects in a schema that somebody
// changed.
var commonPragmas = []string{
	"busy_timeout = 10000",
	"foreign_keys = ON",
	"temp_store = MEMORY",
	"trusted_schema = OFF",
	"mmap_size = 0",
	// FULL: the WAL is synced at every commit. With NORMAL an acknowledged
	// commit can be lost with the power.
	"synchronous = FULL",
	// The WAL is checkpointed by checkpointer only: SQLite's own automatic
	// checkpoint does not report a failed fsync.
	"wal_autocheckpoint = 0",
}

// Connect implements driver.Connector.
func (f sqliteFile) Connect(context.Context) (driver.Conn, error) {
	name := url.URL{Scheme: "file", OmitHost: true, Path: f.path}
	if f.readOnly {
		name.RawQuery = "mode=ro"
	}
	conn, err := f.Driver().Open(name.String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.path, err)
	}
	c := &sqliteConn{Conn: conn}
	for _, pragma := range append(commonPragmas[:len(commonPragmas):len(commonPragmas)], f.pragmas...) {
		if _, err := c.run("PRAGMA "+pragma, nil); err != nil {
			conn.Close()
			return nil, fmt.Errorf("open %s: set %s: %w", f.path, pragma, err)
		}
	}
	return conn, nil
}

// Driver implements driver.Connector.
func (f sqliteFile) Driver() driver.Driver { return &sqlite.Driver{} }

// writer opens the one connection that writes.
func (f sqliteFile) writer() (*sqliteConn, error) {
	conn, err := f.Connect(context.Background())
	if err != nil {
		return nil, err
	}
	return &sqliteConn{Conn: conn, prepared: map[string]driver.Stmt{}}, nil
}

// sqliteConn is a connection used by one goroutine without database/sql, whose
// locks and conversions cost a sixth of a commit.
type sqliteConn struct {
	driver.Conn
	prepared map[string]driver.Stmt
	scratch  []driver.NamedValue
}

// Close finalizes the statements and closes the connection.
func (c *sqliteConn) Close() error {
	var errs []error
	for _, stmt := range c.prepared {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, c.Conn.Close())...)
}

// forSQLite turns the placeholders that Postgres takes, $1, into those that
// SQLite counts alike, ?1. No statement of ours has a dollar sign elsewhere. The
// value of a placeholder that is all of a LIMIT is looked at to plan the query, so that
// each use would compile it anew; that of a sum is not.
var forSQLite = strings.NewReplacer("LIMIT $", "LIMIT 0 + ?", "$", "?")

func numbered(text string) string { return forSQLite.Replace(text) }

func (c *sqliteConn) stmt(text string) (driver.Stmt, error) {
	if stmt, ok := c.prepared[text]; ok {
		return stmt, nil
	}
	stmt, err := c.Prepare(numbered(text))
	if err == nil && c.prepared != nil {
		c.prepared[text] = stmt
	}
	return stmt, err
}

func (c *sqliteConn) named(args []any) []driver.NamedValue {
	c.scratch = c.scratch[:0]
	for i, arg := range bind(args) {
		c.scratch = append(c.scratch, driver.NamedValue{Ordinal: i + 1, Value: arg})
	}
	return c.scratch
}

// run executes one statement and returns how many rows it changed.
func (c *sqliteConn) run(text string, args []any) (int64, error) {
	stmt, err := c.stmt(text)
	if err != nil {
		return 0, err
	}
	if c.prepared == nil {
		defer stmt.Close()
	}
	result, err := stmt.(driver.StmtExecContext).ExecContext(context.Background(), c.named(args))
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// query calls fn for every row.
func (c *sqliteConn) query(text string, args []any, fn func(row) error) (err error) {
	stmt, err := c.stmt(text)
	if err != nil {
		return err
	}
	rows, err := stmt.(driver.StmtQueryContext).QueryContext(context.Background(), c.named(args))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	vs := make(values, len(rows.Columns()))
	for {
		if err := rows.Next(vs); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := fn(row{vs}); err != nil {
			return err
		}
	}
}

// pagesWritten returns how many pages the connection wrote since the last call.
func (c *sqliteConn) pagesWritten() int {
	n, _, err := c.Conn.(sqlite.DBStatus).Status(sqlite.DBStatusCacheWrite, true)
	if err != nil {
		return 0
	}
	return n
}

// sqliteCode returns the primary and the extended result code of an error, or
// zeros when it is not SQLite's.
func sqliteCode(err error) (primary, extended int) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0, 0
	}
	return e.Code() & 0xff, e.Code()
}

// sqliteTaken reports whether a row of that key exists already.
func sqliteTaken(err error) bool {
	_, code := sqliteCode(err)
	return code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || code == sqlite3.SQLITE_CONSTRAINT_UNIQUE
}

// sqliteHangs reports whether a foreign key was violated.
func sqliteHangs(err error) bool {
	_, code := sqliteCode(err)
	return code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}

// sqliteFatal reports whether an error of a statement says something about the
// disk rather than about the statement. Unknown ones do.
func sqliteFatal(err error) bool {
	code, _ := sqliteCode(err)
	switch code {
	case 0, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG,
		sqlite3.SQLITE_RANGE, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_INTERRUPT:
		return false
	}
	return true
}
