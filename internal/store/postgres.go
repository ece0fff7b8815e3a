package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/underseal/underseal/internal/fault"
)

// Connections besides those of Config.
const (
	keyConnections  = 4
	scanConnections = 2
)

// postgresDB is the backend for one role's connections to Postgres.
type postgresDB struct {
	pool   *pgxpool.Pool
	health *health
	lease  *lease                          // nil where units do not name its epoch
	before string                          // runs first in every update
	gather *gatherer                       // nil: units don't share transactions
	vacuum func(ctx context.Context) error // nil: nothing is ever erased here
}

func openPostgres(ctx context.Context, cfg Config) (_ *DB, err error) {
	db := &DB{health: newHealth(), unlock: func() error { return nil }, owner: cfg.DSN}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	lease, err := takeLease(ctx, cfg, db.health)
	if err != nil {
		return nil, err
	}
	db.unlock = lease.release
	if err := prepareSchema(ctx, cfg.DSN, dataSchema); err != nil {
		return nil, err
	}
	if err := prepareSchema(ctx, cfg.keysDSN(), keysSchema); err != nil {
		return nil, err
	}
	if err := lease.begin(ctx); err != nil {
		return nil, postgresOpenError(err)
	}
	return db, db.startPools(ctx, cfg, lease)
}

func (db *DB) startPools(ctx context.Context, cfg Config, lease *lease) error {
	connections := cfg.Connections
	if connections == 0 {
		connections = 16
	}
	data, err := startPool(ctx, cfg, cfg.DSN, dataSchema, "underseal_app", connections)
	if err != nil {
		return err
	}
	tenants := &postgresDB{pool: data, health: db.health, lease: lease, vacuum: func(ctx context.Context) error { return vacuum(ctx, cfg.DSN) }}
	tenants.gather = &gatherer{apply: tenants.applyAlone, objects: map[string]bool{}}
	db.data = tenants
	scans, err := startPool(ctx, cfg, cfg.DSN, dataSchema, "underseal_scan", scanConnections)
	if err != nil {
		return err
	}
	db.scans = &postgresDB{pool: scans, health: db.health}
	keys, err := startPool(ctx, cfg, cfg.keysDSN(), keysSchema, "underseal_keyring", keyConnections)
	if err != nil {
		return err
	}
	// Keys are written seldom and in batches, so their units go one by one, which
	// spares them every race between reading and writing.
	db.keys = &postgresDB{pool: keys, health: db.health, before: `LOCK TABLE tenant_keys IN EXCLUSIVE MODE`}
	return nil
}

func (cfg Config) keysDSN() string {
	if cfg.KeysDSN != "" {
		return cfg.KeysDSN
	}
	return cfg.DSN
}

// startPool opens connections that act as role, which owns nothing, so that
// row-level security binds them.
func startPool(ctx context.Context, cfg Config, dsn string, schema postgresSchema, role string, connections int) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, postgresOpenError(err)
	}
	c.MaxConns = int32(connections)
	if cfg.testingOnlyDial != nil {
		c.ConnConfig.DialFunc = cfg.testingOnlyDial
	}
	c.ConnConfig.RuntimeParams["search_path"] = schema.name
	c.ConnConfig.RuntimeParams["application_name"] = role
	c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		// A commit that does not wait for the disk is not one.
		_, err := conn.Exec(ctx, `
			SET ROLE `+role+`;
			SELECT set_config('synchronous_commit', 'on', false)
			WHERE current_setting('synchronous_commit') = 'off'`, pgx.QueryExecModeSimpleProtocol)
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, postgresOpenError(err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, postgresOpenError(err)
	}
	return pool, nil
}

// postgresOpenError hides the password that a connection error may quote.
func postgresOpenError(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		return fault.New(fault.Invalid, "open the Postgres database: the DSN cannot be read: want a URL or key=value pairs")
	}
	return fault.New(fault.Unavailable, "open the Postgres database: %w", err)
}

func (db *postgresDB) close() error {
	db.pool.Close()
	return nil
}

// forget vacuums the data. For keys it can do nothing: Postgres keeps former
// versions of rows in pages and in its log until it reuses them. What a destroyed
// key wrapped ends with the tenant key that wrapped it.
func (db *postgresDB) forget(ctx context.Context) error {
	if db.vacuum == nil {
		return nil
	}
	return db.vacuum(ctx)
}

// vacuum clears the tables that erasing deletes from. Only their owner may.
func vacuum(ctx context.Context, dsn string) error {
	conn, err := connectOwner(ctx, dsn, dataSchema)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `VACUUM heads, fields, instances, tasks, task_candidates, jobs, timers, incidents, tokens, unique_tokens, files, blobs, blob_chunks`); err != nil {
		return fault.New(fault.Unavailable, "vacuum what was erased: %w", err)
	}
	return nil
}

const setTenant = `SELECT set_config('app.tenant', $1, true)`

func (db *postgresDB) each(ctx context.Context, tenant, text string, args []any, fn func(row) error) error {
	if tenant != "" {
		return db.eachOf(ctx, tenant, text, [][]any{args}, func(_ int, r row) error { return fn(r) })
	}
	if err := db.health.err(); err != nil {
		return err
	}
	rows, err := db.pool.Query(ctx, text, bind(args)...)
	if err != nil {
		return db.readError(err)
	}
	return db.readError(eachRow(rows, fn))
}

// maxBatch bounds the statements of one round trip, and the entries of one list.
const maxBatch = 500

// eachOf runs a query for a list of entries, or sends a batch, which is one transaction,
// so that the tenant set at its beginning ends with it.
func (db *postgresDB) eachOf(ctx context.Context, tenant, text string, args [][]any, fn func(int, row) error) error {
	for from := 0; from < len(args); from += maxBatch {
		part := args[from:min(from+maxBatch, len(args))]
		for i := range part {
			bind(part[i])
		}
		run, each := text, func(i int, r row) error { return fn(from+i, r) }
		if joined, list, ok := joinEntries(text, part); ok {
			run, part, each = joined, [][]any{list}, func(_ int, r row) error {
				i, r, err := splitEntry(r)
				if err != nil {
					return err
				}
				return fn(from+i, r)
			}
		}
		if err := db.eachBatch(ctx, tenant, run, part, each); err != nil {
			return err
		}
	}
	return nil
}

func (db *postgresDB) eachBatch(ctx context.Context, tenant, text string, args [][]any, fn func(int, row) error) (err error) {
	if err := db.health.err(); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(setTenant, tenant)
	for i := range args {
		batch.Queue(text, args[i]...)
	}
	results := db.pool.SendBatch(ctx, batch)
	defer func() {
		if closing := results.Close(); err == nil {
			err = db.readError(closing)
		}
	}()
	if _, err := results.Exec(); err != nil {
		return db.readError(err)
	}
	for i := range args {
		rows, err := results.Query()
		if err != nil {
			return db.readError(err)
		}
		if err := eachRow(rows, func(r row) error { return fn(i, r) }); err != nil {
			return db.readError(err)
		}
	}
	return nil
}

func eachRow(rows pgx.Rows, fn func(row) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := fn(row{rows}); err != nil {
			return err
		}
	}
	return rows.Err()
}

// readError gives an error of a query its kind.
func (db *postgresDB) readError(err error) error {
	var known *fault.Error
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.As(err, &refused) && refused.Code[:2] == "42": // syntax error or access rule violation
		return fault.New(fault.Internal, "read from the database: %w", err)
	}
	return fault.New(fault.Unavailable, "read from the database: %w", err)
}

// update runs fn in a transaction, with a round trip per statement.
func (db *postgresDB) update(ctx context.Context, fn func(tx) error) error {
	if err := db.health.err(); err != nil {
		return err
	}
	t, err := db.pool.Begin(ctx)
	if err != nil {
		return notApplied(err)
	}
	// The rollback's error is of no interest: without a commit nothing is written.
	defer t.Rollback(context.WithoutCancel(ctx))
	if db.before != "" {
		if _, err := t.Exec(ctx, db.before); err != nil {
			return db.writeError(err, nil)
		}
	}
	if err := fn(postgresTx{ctx, t}); err != nil {
		return db.unitError(err)
	}
	if err := t.Commit(ctx); err != nil {
		return db.writeError(err, nil)
	}
	return nil
}

// unitError is for errors before the commit was asked for: nothing is written.
func (db *postgresDB) unitError(err error) error {
	var known *fault.Error
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &refused):
		return db.writeError(err, nil)
	}
	return notApplied(err)
}

// postgresTx is a unit that reads.
type postgresTx struct {
	ctx context.Context // of the update; a tx does not outlive it
	tx  pgx.Tx
}

func (t postgresTx) exec(text string, args ...any) (int64, error) {
	tag, err := t.tx.Exec(t.ctx, text, bind(args)...)
	return tag.RowsAffected(), postgresRefused(err)
}

func (t postgresTx) execOf(text string, args [][]any) (changed int64, err error) {
	for from := 0; from < len(args); from += maxBatch {
		batch := &pgx.Batch{}
		for _, a := range args[from:min(from+maxBatch, len(args))] {
			batch.Queue(text, bind(a)...).Exec(func(tag pgconn.CommandTag) error {
				changed += tag.RowsAffected()
				return nil
			})
		}
		if err := t.tx.SendBatch(t.ctx, batch).Close(); err != nil {
			return 0, postgresRefused(err)
		}
	}
	return changed, nil
}

func (t postgresTx) updateOf(u *update, args [][]any) (changed int64, err error) {
	return t.execOf(u.one(), args)
}

func (t postgresTx) each(text string, args []any, fn func(row) error) error {
	rows, err := t.tx.Query(t.ctx, text, bind(args)...)
	if err != nil {
		return err
	}
	return eachRow(rows, fn)
}

// SQLSTATEs that we act on. The first two are ours, raised by functions in the
// schema; https://www.postgresql.org/docs/15/errcodes-appendix.html has the others.
const (
	stateNotOne     = "US001"
	stateReplaced   = "US002"
	stateTaken      = "23505" // unique_violation
	stateHangs      = "23503" // foreign_key_violation
	stateSerialize  = "40001"
	stateDeadlock   = "40P01"
	stateDiskFull   = "53100"
	classSystem     = "58" // system error: I/O
	classCorruption = "XX" // internal error: corrupted data or index
)

// postgresRefused names the constraint that a statement broke.
func postgresRefused(err error) error {
	var refused *pgconn.PgError
	switch {
	case !errors.As(err, &refused):
	case refused.Code == stateTaken:
		return errTaken
	case refused.Code == stateHangs:
		return errHangs
	}
	return err
}

// writeError gives the error of a unit its kind. refused is what the statement
// gives for a row that exists or a swap that failed, nil if it cannot.
func (db *postgresDB) writeError(err, refused error) error {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		if pgconn.SafeToRetry(err) {
			return notApplied(err)
		}
		return outcomeUnknown(err)
	}
	switch code := answer.Code; {
	case refused != nil && (code == stateNotOne || code == stateTaken):
		return refused
	case code == stateReplaced || code == stateDiskFull || code[:2] == classSystem || code[:2] == classCorruption:
		db.health.fail(err)
		return db.health.err()
	case answer.Severity == "FATAL" || answer.Severity == "PANIC":
		// The server ended the connection; the commit may have come before.
		return outcomeUnknown(err)
	case code == stateSerialize || code == stateDeadlock || code[:2] == "53" || code[:2] == "57":
		return notApplied(err)
	}
	return fault.New(fault.Internal, "write to the database: %w", err)
}
