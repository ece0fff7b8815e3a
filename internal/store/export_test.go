package store

import (
	"context"
	"runtime"

	"github.com/jackc/pgx/v5/pgconn"
)

// Points at which SetFault's function is called by the SQLite writer.
const (
	FaultStatement = "statement" // before a statement of a unit
	FaultCommit    = "commit"    // before the COMMIT
	FaultCommitted = "committed" // after the COMMIT, before the callers know
)

// SetFault makes fault happen in the writer of a SQLite data file.
func (db *DB) SetFault(fault func(point string) error) {
	db.data.(*sqliteDB).writer.testingOnlyFault.Store(&fault)
}

// AfterRead has f called when the next query for many keys was answered.
func (db *DB) AfterRead(f func()) { db.data = interposed{db.data, db, f} }

type interposed struct {
	backend
	in *DB
	f  func()
}

func (i interposed) eachOf(ctx context.Context, tenant, text string, args [][]any, fn func(int, row) error) error {
	err := i.backend.eachOf(ctx, tenant, text, args, fn)
	i.in.data = i.backend
	i.f()
	return err
}

// AwaitQueued returns when n units wait for the writer.
func (db *DB) AwaitQueued(n int) {
	for len(db.data.(*sqliteDB).writer.queue) < n {
		runtime.Gosched()
	}
}

// AwaitGathered returns when n units wait for Postgres beside those under way.
func (db *DB) AwaitGathered(n int) {
	g := db.data.(*postgresDB).gather
	for waiting := -1; waiting < n; runtime.Gosched() {
		g.mu.Lock()
		waiting = len(g.waiting)
		g.mu.Unlock()
	}
}

// AwaitWriters returns when n groups are under way.
func (db *DB) AwaitWriters(n int) {
	g := db.data.(*postgresDB).gather
	for busy := false; !busy; runtime.Gosched() {
		g.mu.Lock()
		busy = g.writers >= n && len(g.waiting) == 0
		g.mu.Unlock()
	}
}

// GroupWriters is how many groups are under way at a time on Postgres.
const GroupWriters = groupWriters

// OnWriter runs SQL on the writing connection of a SQLite data file.
func (db *DB) OnWriter(ctx context.Context, text string) error {
	return db.data.(*sqliteDB).writer.between(ctx, func(c *sqliteConn) error {
		return c.query(text, nil, func(row) error { return nil })
	})
}

// Plans returns how SQLite finds the rows of each query that was used so far, of
// either file.
func (db *DB) Plans(ctx context.Context) (map[string]string, error) {
	plans := map[string]string{}
	for _, file := range []*sqliteDB{db.data.(*sqliteDB), db.keys.(*sqliteDB)} {
		for text := range file.stmts {
			plan, err := file.plan(ctx, text)
			if err != nil {
				return nil, err
			}
			plans[text] = plan
		}
	}
	return plans, nil
}

func (db *sqliteDB) plan(ctx context.Context, text string) (plan string, err error) {
	rows, err := db.readers.QueryContext(ctx, "EXPLAIN QUERY PLAN "+numbered(text), make([]any, 9)...)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return "", err
		}
		plan += detail + "\n"
	}
	return plan, rows.Err()
}

// CheckpointPages is when the WAL is copied.
const CheckpointPages = checkpointPages

// WithDial makes the connections to Postgres through dial.
func (cfg Config) WithDial(dial pgconn.DialFunc) Config {
	cfg.testingOnlyDial = dial
	return cfg
}

// Settle closes the connections to Postgres that serve instances and waits until
// the server is done with all of them, also with broken ones.
func (db *DB) Settle(ctx context.Context) error {
	pool := db.data.(*postgresDB).pool
	pool.Reset()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	for others := 1; others > 0; {
		err := conn.QueryRow(ctx, `
			SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'underseal_app' AND pid <> pg_backend_pid()`).Scan(&others)
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckLease looks after the lock now.
func (db *DB) CheckLease(ctx context.Context) error { return db.data.(*postgresDB).lease.hold(ctx) }
