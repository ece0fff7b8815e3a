package store

import (
	"context"
	"database/sql"
	"embed"
	"path"

	"github.com/pressly/goose/v3"

	"github.com/underseal/underseal/internal/fault"
)

//go:embed migrations
var migrations embed.FS

// migrateSQLite brings the schema of name.db up to date.
func migrateSQLite(ctx context.Context, path, name string, pragmas []string) error {
	pragmas = append([]string{"journal_mode = WAL"}, pragmas...)
	db := sql.OpenDB(sqliteFile{path: path, pragmas: pragmas})
	db.SetMaxOpenConns(1)
	defer db.Close()
	return migrate(ctx, goose.DialectSQLite3, db, "migrations/sqlite/"+name, path)
}

// readMigrations returns the migrations of a folder. Each is one string of SQL for
// the driver: goose would cut it into statements with 12 MB of buffers, which
// would make the heap of a new server twice as large for long.
func readMigrations(folder string) ([]*goose.Migration, error) {
	entries, err := migrations.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var all []*goose.Migration
	for _, entry := range entries {
		version, err := goose.NumericComponent(entry.Name())
		if err != nil {
			return nil, err
		}
		statements, err := migrations.ReadFile(path.Join(folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, string(statements))
			return err
		}}, nil))
	}
	return all, nil
}

// lastMigration is the version that the migrations of a folder lead to.
func lastMigration(folder string) (int64, error) {
	entries, err := migrations.ReadDir(folder)
	if err != nil {
		return 0, err
	}
	return goose.NumericComponent(entries[len(entries)-1].Name())
}

// schemaVersion asks for the newest migration that was applied.
const schemaVersion = `SELECT max(version_id) FROM goose_db_version`

// hasSchema reports whether the file has all migrations of a folder, and none that we
// do not know. What else there may be, also an error, migrate finds out.
func (c *sqliteConn) hasSchema(folder string) bool {
	var current int64
	err := c.query(schemaVersion, nil, func(r row) error { return r.scan(&current) })
	last, unknown := lastMigration(folder)
	return err == nil && unknown == nil && current == last
}

// migrate applies the migrations of a folder that the database does not have
// yet, each in a transaction of its own.
func migrate(ctx context.Context, dialect goose.Dialect, db *sql.DB, folder, where string) error {
	all, err := readMigrations(folder)
	if err != nil {
		return fault.New(fault.Internal, "migrations %s: %w", folder, err)
	}
	provider, err := goose.NewProvider(dialect, db, nil, goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(all...))
	if err != nil {
		return fault.New(fault.Internal, "migrations %s: %w", folder, err)
	}
	current, known, err := provider.GetVersions(ctx)
	if err != nil {
		return fault.New(fault.Unavailable, "read the schema version of %s: %w", where, err)
	}
	if current > known {
		return fault.New(fault.Conflict, "open the database %s: its schema is version %d, this program knows up to %d",
			where, current, known).
			WithCode("newer_schema").WithHint("a newer version of the program has used it; start that one")
	}
	if _, err := provider.Up(ctx); err != nil {
		return fault.New(fault.Unavailable, "migrate the database %s: %w", where, err)
	}
	return nil
}
