package store

import (
	"context"
	"database/sql"

	"github.com/underseal/underseal/internal/fault"
)

// A restore is marked beside the keys before the data's database is in place, and until
// their logs go on where nothing is forked. What breaks off between is no state that a
// server may go on from: the old log would.

const markRestoring = `UPDATE deployment SET restoring = $1`

// SetRestoring marks that a restore is under way, or takes the mark away.
func (db *DB) SetRestoring(ctx context.Context, under bool) error {
	return db.keys.update(ctx, func(t tx) error {
		_, err := t.exec(markRestoring, under)
		return err
	})
}

// Restoring reports whether a restore was begun and not finished.
func (db *DB) Restoring(ctx context.Context) (under bool, err error) {
	err = db.keys.each(ctx, "", `SELECT restoring FROM deployment`, nil, func(r row) error { return r.scan(&under) })
	return under, err
}

// MarkSQLite does what SetRestoring does with a file of the keys that nobody uses.
func MarkSQLite(ctx context.Context, path string, under bool) error {
	db := sql.OpenDB(sqliteFile{path: path})
	defer db.Close()
	if _, err := db.ExecContext(ctx, markRestoring, under); err != nil {
		return notMarked(path, err)
	}
	return nil
}

// MarkPostgres does what SetRestoring does with keys that nobody uses.
func MarkPostgres(ctx context.Context, dsn string, under bool) error {
	conn, err := connectOwner(ctx, dsn, keysSchema)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, markRestoring, under); err != nil {
		return notMarked(KeysSchema, err)
	}
	return nil
}

func notMarked(where string, err error) error {
	return fault.New(fault.Unavailable, "mark beside the keys in %s that they are being restored: %w", where, err)
}
