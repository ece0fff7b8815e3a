package store

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// applyTries bounds how often a unit is sent again that lost a deadlock. Two
// units can lock each other out only when both touch several objects or tokens.
const applyTries = 4

// apply sends the whole unit in one round trip. A batch is one transaction; the
// first statement that fails ends it, so that the compare-and-swap is decided
// before the commit although nobody waits for it.
func (db *postgresDB) apply(ctx context.Context, tenant string, unit []statement) error {
	if db.gather != nil && canJoin(unit) {
		return db.gather.do(ctx, tenant, unit)
	}
	return db.applyAlone(ctx, tenant, unit)
}

func (db *postgresDB) applyAlone(ctx context.Context, tenant string, unit []statement) (err error) {
	for range applyTries {
		if err = db.health.err(); err != nil {
			return err
		}
		if err = db.applyOnce(ctx, tenant, unit); !deadlocked(err) {
			return err
		}
	}
	return err
}

func diskFull(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && answer.Code == stateDiskFull
}

func deadlocked(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && (answer.Code == stateDeadlock || answer.Code == stateSerialize)
}

func (db *postgresDB) applyOnce(ctx context.Context, tenant string, unit []statement) error {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return notApplied(err)
	}
	defer conn.Release()
	batch := &pgx.Batch{}
	batch.Queue(`SELECT enter($1, $2)`, tenant, db.lease.epoch)
	for i := range unit {
		batch.Queue(unit[i].postgres(), bind(unit[i].args)...)
	}
	results := conn.SendBatch(ctx, batch)
	if _, err := results.Exec(); err != nil {
		results.Close()
		return db.writeError(err, nil)
	}
	for i := range unit {
		if _, err := results.Exec(); err != nil {
			results.Close()
			if unit[i].full != nil && diskFull(err) {
				return unit[i].full
			}
			return db.writeError(err, unit[i].refused)
		}
	}
	// Only now comes the answer to the commit itself.
	if err := results.Close(); err != nil {
		return db.writeError(err, nil)
	}
	return nil
}

var swaps sync.Map // text of an UPDATE -> the same, refused unless it changes one row

// postgres returns the statement's text for Postgres.
func (s *statement) postgres() string {
	switch {
	case s.postgresText != "":
		return s.postgresText
	case !s.one:
		return s.text
	}
	if text, ok := swaps.Load(s.text); ok {
		return text.(string)
	}
	text := `WITH changed AS (` + s.text + ` RETURNING 1) SELECT exactly_one((SELECT count(*) FROM changed))`
	swaps.Store(s.text, text)
	return text
}
