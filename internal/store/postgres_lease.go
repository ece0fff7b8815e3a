package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/internal/fault"
)

// lockClass is the first half of our advisory locks ("unds"). The second is 1
// for the lock of the server that runs, 2 for the one that enter shares.
const lockClass = 0x756e6473

// How long a starting server waits for the lock of one that has just died, and
// how often a running one looks whether it still has its own.
const (
	leasePatience = 3 * time.Second
	leaseInterval = 2 * time.Second
)

// lease makes this the one server of a database. An advisory lock, which ends
// with its connection, keeps a second server from starting; the epoch in the
// lease row keeps a first one from writing that has lost the connection without
// noticing.
type lease struct {
	dsn    string
	health *health
	epoch  int64 // set by begin
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu   sync.Mutex
	conn *pgx.Conn // guarded by mu; nil while there is none

	check   func(context.Context) error // of the data when the lock was taken again; guarded by mu
	pending bool                        // the check is due; guarded by mu
}

// takeLease takes the lock, or tells who has it.
func takeLease(ctx context.Context, cfg Config, h *health) (*lease, error) {
	conn, err := connectOwner(ctx, cfg.DSN, dataSchema)
	if err != nil {
		return nil, err
	}
	patience, cancel := context.WithTimeout(ctx, leasePatience)
	defer cancel()
	locked, err := waitForLock(patience, conn)
	if err == nil && !locked {
		err = lockedError(conn.Config().Database, leaseHolder(ctx, conn))
	}
	if err != nil {
		conn.Close(ctx)
		return nil, postgresOpenError(err)
	}
	return &lease{dsn: cfg.DSN, health: h, conn: conn, stop: func() {}}, nil
}

// waitForLock tries until the lock is free or ctx ends.
func waitForLock(ctx context.Context, conn *pgx.Conn) (locked bool, err error) {
	for {
		err := conn.QueryRow(context.WithoutCancel(ctx), `SELECT pg_try_advisory_lock($1, 1)`, lockClass).Scan(&locked)
		if err != nil || locked {
			return locked, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func leaseHolder(ctx context.Context, conn *pgx.Conn) (holder string) {
	// Without an answer the message is less helpful, no more.
	_ = conn.QueryRow(ctx, `SELECT holder FROM lease`).Scan(&holder)
	return holder
}

// begin raises the epoch, after the last unit of a former server, and starts to
// watch the lock.
func (l *lease) begin(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, l.conn, func(t pgx.Tx) error {
		if _, err := t.Exec(ctx, `SELECT pg_advisory_xact_lock($1, 2)`, lockClass); err != nil {
			return err
		}
		return t.QueryRow(ctx, `
			UPDATE lease SET epoch = epoch + 1, holder = $1, since = $2
			RETURNING epoch`, holder(), time.Now().UnixMicro()).Scan(&l.epoch)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.New(fault.Integrity, "begin to write: the row of table lease is missing, by which a former server knows that it is replaced").
			WithCode("lease_missing").WithHint("somebody deleted it; restore the database from a backup")
	}
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.done.Go(func() { l.watch(watching) })
	return nil
}

// watch looks after the lock, and fails the database when another server has it.
func (l *lease) watch(ctx context.Context) {
	ticker := time.NewTicker(leaseInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := l.hold(ctx); err != nil && ctx.Err() == nil {
				l.health.fail(err)
				return
			}
		}
	}
}

// hold checks the connection that has the lock, and takes the lock again when
// Postgres was restarted. As long as Postgres is away that is no failure: units
// are Unavailable, and nobody else can take over either.
func (l *lease) hold(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*leaseInterval)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && l.conn.Ping(ctx) == nil {
		return l.checkData(ctx)
	}
	if l.conn != nil {
		l.conn.Close(ctx)
		l.conn = nil
	}
	conn, err := connectOwner(ctx, l.dsn, dataSchema)
	if err != nil {
		return nil
	}
	err = l.retake(ctx, conn)
	if err == nil {
		l.conn, l.pending = conn, true
		return l.checkData(ctx)
	}
	conn.Close(ctx)
	if fault.Is(err, fault.Conflict) {
		return err
	}
	return nil
}

// checkData has the data checked once the lock was taken again: a Postgres that was
// away may have come back with older data. Anything but Integrity is asked again.
func (l *lease) checkData(ctx context.Context) error {
	if !l.pending || l.check == nil {
		return nil
	}
	err := l.check(ctx)
	if fault.Is(err, fault.Integrity) {
		return err
	}
	l.pending = err != nil
	return nil
}

// OnLease has check called whenever the lock of the one server was lost and taken
// again. An Integrity fault of it fails the database.
func (db *DB) OnLease(check func(context.Context) error) {
	data, ok := db.data.(*postgresDB)
	if !ok {
		return // the lock of a file is lost only with the process
	}
	data.lease.mu.Lock()
	defer data.lease.mu.Unlock()
	data.lease.check = check
}

// retake takes the lock on a new connection. Conflict once another server has
// begun; while it only holds the lock, that may be the rest of our own former
// connection.
func (l *lease) retake(ctx context.Context, conn *pgx.Conn) error {
	locked, err := waitForLock(ctx, conn)
	if err != nil {
		return err
	}
	var epoch int64
	if err := conn.QueryRow(context.WithoutCancel(ctx), `SELECT epoch FROM lease`).Scan(&epoch); err != nil {
		return err
	}
	if epoch != l.epoch {
		return lockedError(conn.Config().Database, leaseHolder(context.WithoutCancel(ctx), conn))
	}
	if !locked {
		return errors.New("the lock is not free yet")
	}
	return nil
}

// release gives the lock back.
func (l *lease) release() error {
	l.stop()
	l.done.Wait()
	if l.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaseInterval)
	defer cancel()
	if err := l.conn.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
