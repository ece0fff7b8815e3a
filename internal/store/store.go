// Package store keeps objects in SQLite or Postgres.
//
// It sees ciphertext, clear routing columns and records without values, never
// a plaintext or a key. What it promises:
//
//   - A unit given to Commit is applied whole or not at all, and once Commit has
//     returned nil it survives the loss of power.
//   - A write set is applied only to the head it was computed from
//     (compare-and-swap on the object's seq).
//   - Steps, fields and leaves are only appended.
//   - Once the disk has failed, nothing is tried again: every later call is
//     refused and Failed says so. Which of the last writes are there is found by
//     starting anew.
//   - One server at a time.
//
// Nothing read is to be believed before it was compared with the head, which
// only its key opens. docs/design/store.md has the reasons.
package store

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/underseal/underseal/internal/fault"
)

// Config says where the data is.
type Config struct {
	// Path is the data directory for SQLite; made with mode 0700 when missing.
	// It holds data.db, keys.db and lock.
	Path string
	// DSN is a Postgres database (URL or key=value). When set, Path is not used.
	DSN string
	// KeysDSN is the Postgres database of the key tables, so that it can have a
	// backup of its own. Default: another schema of DSN.
	KeysDSN string
	// Connections bounds the Postgres connections that serve instances. Default
	// 16. A handful more serve keys, scans and the server's lock.
	Connections int

	// Observe is told of each query outside of a unit, and how many rows came of it; nil:
	// nobody is. It is for tests, on SQLite alone.
	Observe func(ctx context.Context, tenant, query string, rows int)
	// Fault is asked before each query outside of a unit, and before each unit, whose query
	// is empty; its error is an outage. It is for tests, too, on SQLite alone.
	Fault func(ctx context.Context, query string) error

	testingOnlyDial pgconn.DialFunc // breaks connections to Postgres
}

// backend is one database: a file, or one role's pool of connections.
type backend interface {
	// each runs one query with the tenant's rights ("": no tenant's) and calls
	// row for every row.
	each(ctx context.Context, tenant, text string, args []any, row func(row) error) error
	// eachOf runs the query once per entry of args, in one round trip where
	// possible, and tells row which entry it belongs to.
	eachOf(ctx context.Context, tenant, text string, args [][]any, row func(int, row) error) error
	// apply runs statements as one durable unit. None of them sees a result.
	apply(ctx context.Context, tenant string, unit []statement) error
	// update runs fn as one durable unit that may read what it writes. fn may be
	// run again, and must not keep what it learned in a run that failed.
	update(ctx context.Context, fn func(tx) error) error
	// forget makes bytes that were overwritten unreadable in the database's own
	// files, as far as it can.
	forget(ctx context.Context) error
	close() error
}

// statement is one INSERT, UPDATE or DELETE of a unit.
type statement struct {
	text string
	args []any
	// insert, if not nil, is what text is of.
	insert *insert
	// early says that it may run before the inserts of its unit, in whichever order
	// it stands, and touches rows of the unit's own object only.
	early bool
	// one demands of an UPDATE that it changes exactly one row.
	one bool
	// erases demands that the bytes of deleted rows do not stay in the file.
	erases bool
	// postgresText takes the place of text on Postgres, with the same arguments; "":
	// it is the same.
	postgresText string
	// refused is returned when one is not met or a row of that key exists
	// already; nil: that is a defect.
	refused error
	// full is returned when there is no room for a unit of which the database can
	// do without; nil: a database that is full is not used any more.
	full error
}

// errTaken is what a tx returns for a row whose key exists already.
var errTaken = errors.New("a row of that key exists already")

// errHangs is what a tx returns when a row names one that is not there, or one
// that is to go is still named.
var errHangs = errors.New("a row and one that it names do not go together")

// tx is a running unit.
type tx interface {
	exec(text string, args ...any) (changed int64, err error)
	execOf(text string, args [][]any) (changed int64, err error)
	updateOf(u *update, args [][]any) (changed int64, err error)
	each(text string, args []any, row func(row) error) error
}

// DB is an open database. Its methods are safe for concurrent use.
type DB struct {
	data   backend
	keys   backend
	scans  backend // sees routing columns of all tenants
	owner  string  // DSN of the data's owner on Postgres
	health *health
	unlock func() error // last to go
}

// Open opens the database, brings its schema up to date and takes the lock of
// the one server. Conflict (code "locked") when another server has it, Conflict
// (code "newer_schema") when a newer version wrote the database.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.DSN != "" {
		return openPostgres(ctx, cfg)
	}
	if cfg.Path == "" {
		return nil, fault.New(fault.Invalid, "open the database: neither a data directory nor a Postgres DSN is given")
	}
	return openSQLite(ctx, cfg)
}

// Close waits for running commits and closes the database. Calls after it are
// Unavailable.
func (db *DB) Close() error {
	var errs []error
	closed := map[backend]bool{nil: true}
	for _, b := range []backend{db.scans, db.data, db.keys} {
		if !closed[b] {
			errs = append(errs, b.close())
			closed[b] = true
		}
	}
	errs = append(errs, db.unlock())
	return errors.Join(errs...)
}

// Failed is closed once the database can no longer be trusted: the disk is full
// or failed, or another server has taken over. The process should end; Err says
// why.
func (db *DB) Failed() <-chan struct{} { return db.health.failed }

// Err returns why Failed was closed, else nil.
func (db *DB) Err() error { return db.health.err() }

// Check reports whether the database answers, for readiness.
func (db *DB) Check(ctx context.Context) error {
	if err := db.Err(); err != nil {
		return err
	}
	for _, b := range []backend{db.data, db.keys} {
		if err := b.each(ctx, "", `SELECT 1`, nil, func(row) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// health remembers the first reason not to trust the database. It is shared by
// all connections, and never healed.
type health struct {
	once   sync.Once
	failed chan struct{}
	reason error // written before failed is closed
}

func newHealth() *health { return &health{failed: make(chan struct{})} }

// fail notes why the database is not to be used again.
func (h *health) fail(reason error) {
	h.once.Do(func() {
		h.reason = fault.New(fault.Unavailable, "the database failed and is not used any more: %w", reason).
			WithCode("database_failed").
			WithHint("check the disk (space, errors), then start the server again; nothing that was acknowledged is lost")
		close(h.failed)
	})
}

func (h *health) err() error {
	select {
	case <-h.failed:
		return h.reason
	default:
		return nil
	}
}

// closedError is what a call on a closed database returns.
func closedError() error {
	return fault.New(fault.Unavailable, "the database is closed").WithCode("not_applied")
}

// notApplied is for a unit of which it is certain that nothing was written.
func notApplied(cause error) error {
	return fault.New(fault.Unavailable, "write to the database: nothing was written: %w", cause).
		WithCode("not_applied")
}

// outcomeUnknown is for a unit that may or may not have been written. The
// caller learns which by reading.
func outcomeUnknown(cause error) error {
	return fault.New(fault.Unavailable, "write to the database: the answer did not come, it may have been written or not: %w", cause).
		WithCode("outcome_unknown")
}

// classified gives an error a kind if it has none.
func classified(err error) error {
	var e *fault.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return fault.New(fault.Internal, "write to the database: %w", err)
}
