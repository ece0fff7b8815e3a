package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/underseal/underseal/internal/fault"
)

// postgresSchema is a schema with its migrations and the roles that use it.
type postgresSchema struct {
	name   string
	folder string
	roles  []string
}

var (
	dataSchema = postgresSchema{DataSchema, "data", []string{"underseal_app", "underseal_scan"}}
	keysSchema = postgresSchema{KeysSchema, "keys", []string{"underseal_keyring"}}
)

// connectOwner connects as the DSN's own user, who owns the schema.
func connectOwner(ctx context.Context, dsn string, schema postgresSchema) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, postgresOpenError(err)
	}
	c.RuntimeParams["search_path"] = schema.name
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, postgresOpenError(err)
	}
	return conn, nil
}

// prepareSchema makes schema and roles where missing and migrates.
func prepareSchema(ctx context.Context, dsn string, schema postgresSchema) error {
	conn, err := connectOwner(ctx, dsn, schema)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if err := checkServer(ctx, conn); err != nil {
		return err
	}
	for _, role := range schema.roles {
		if err := makeRole(ctx, conn, role); err != nil {
			return fault.New(fault.Denied, "open the Postgres database: make the role %s: %w", role, err).
				WithHint("as an administrator run: CREATE ROLE %s NOLOGIN; GRANT %s TO %s", role, role, conn.Config().User)
		}
	}
	if _, err := conn.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+schema.name); err != nil {
		return postgresOpenError(err)
	}
	folder := "migrations/postgres/" + schema.folder
	if upToDate, err := hasSchema(ctx, conn, folder); upToDate || err != nil {
		return err
	}
	db := stdlib.OpenDB(*conn.Config())
	defer db.Close()
	where := fmt.Sprintf("%s (schema %s)", conn.Config().Database, schema.name)
	return migrate(ctx, goose.DialectPostgres, db, folder, where)
}

// hasSchema reports whether the schema has all migrations of a folder, and none that we
// do not know.
func hasSchema(ctx context.Context, conn *pgx.Conn, folder string) (bool, error) {
	var begun bool
	var current *int64
	err := conn.QueryRow(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&begun)
	if err == nil && begun {
		err = conn.QueryRow(ctx, schemaVersion).Scan(&current)
	}
	if err != nil {
		return false, postgresOpenError(err)
	}
	last, err := lastMigration(folder)
	if err != nil {
		return false, fault.New(fault.Internal, "migrations %s: %w", folder, err)
	}
	return current != nil && *current == last, nil
}

// checkServer refuses a server that does not keep what it acknowledges.
func checkServer(ctx context.Context, conn *pgx.Conn) error {
	for _, setting := range []string{"fsync", "full_page_writes"} {
		var value string
		if err := conn.QueryRow(ctx, `SELECT current_setting($1)`, setting).Scan(&value); err != nil {
			return postgresOpenError(err)
		}
		if value != "on" {
			return fault.New(fault.Invalid, "open the Postgres database: its setting %s is %s: what was acknowledged could be lost", setting, value).
				WithHint("set %s = on in postgresql.conf and restart Postgres", setting)
		}
	}
	return nil
}

// makeRole makes a role without login and lets the connection's user act as it.
// Roles belong to all databases of a server: another may be making it now.
func makeRole(ctx context.Context, conn *pgx.Conn, role string) error {
	var exists, member bool
	err := conn.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, role).Scan(&exists)
	if err != nil {
		return err
	}
	if !exists {
		if _, err := conn.Exec(ctx, `CREATE ROLE `+role+` NOLOGIN`); err != nil && !roleExists(err) {
			return err
		}
	}
	err = conn.QueryRow(ctx, `SELECT pg_has_role(current_user, $1, 'MEMBER')`, role).Scan(&member)
	if err != nil || member {
		return err
	}
	_, err = conn.Exec(ctx, `GRANT `+role+` TO CURRENT_USER`)
	return err
}

// roleExists reports whether somebody made the role first: duplicate_object, or
// unique_violation when it was at the same moment.
func roleExists(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && strings.Contains("42710 23505", answer.Code)
}
