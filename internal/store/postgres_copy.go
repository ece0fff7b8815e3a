package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/internal/fault"
)

// Names of the schemas in Postgres.
const (
	DataSchema = "underseal"
	KeysSchema = "underseal_keys"
)

// PostgresCopy is a schema as it is at one moment.
type PostgresCopy struct {
	Deployment string // whose data or keys it holds
	Logs       []CopiedLog
	Snapshot   string // what pg_dump is told to see the same moment

	ManifestKey []byte // see ManifestKey; of the keys only
	Unproven    int    // see UnprovenSteps; of the data only
}

// CopyPostgres calls dump with what a schema holds at one moment, which stays visible
// until dump returns.
func CopyPostgres(ctx context.Context, dsn, schema string, dump func(PostgresCopy) error) (err error) {
	conn, err := connectOwner(ctx, dsn, postgresSchema{name: schema})
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) // which ends the transaction
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return postgresOpenError(err)
	}
	var c PostgresCopy
	if err := tx.QueryRow(ctx, `SELECT deployment, pg_export_snapshot() FROM deployment`).Scan(&c.Deployment, &c.Snapshot); err != nil {
		return fault.New(fault.NotFound, "there are no Underseal data in the schema %s: %w", schema, err)
	}
	text := publishedLogs
	if schema == KeysSchema {
		text = keptLogs
		if err := tx.QueryRow(ctx, `SELECT manifest_key FROM deployment`).Scan(&c.ManifestKey); err != nil {
			return fault.New(fault.Integrity, "read the deployment of the keys in the schema %s: %w", schema, err)
		}
	} else if err := tx.QueryRow(ctx, unprovenSteps).Scan(&c.Unproven); err != nil {
		return fault.New(fault.Integrity, "read the steps of signers in the schema %s: %w", schema, err)
	}
	rows, err := tx.Query(ctx, text)
	if err == nil {
		c.Logs, err = pgx.CollectRows(rows, pgx.RowToStructByPos[CopiedLog])
	}
	if err != nil {
		return fault.New(fault.Integrity, "read the logs in the schema %s: %w", schema, err)
	}
	return dump(c)
}

// PrepareRestore makes the roles that a copied schema names. Conflict when the
// schema is there already.
func PrepareRestore(ctx context.Context, dsn, schema string) error {
	roles := dataSchema.roles
	if schema == KeysSchema {
		roles = keysSchema.roles
	}
	conn, err := connectOwner(ctx, dsn, postgresSchema{name: schema})
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, schema).Scan(&exists); err != nil {
		return postgresOpenError(err)
	}
	if exists {
		return fault.New(fault.Conflict, "restore into Postgres: there is a schema %s already", schema).WithCode("not_empty").
			WithHint("name an empty database, or rename the schema that is there; nothing is ever overwritten")
	}
	for _, role := range roles {
		if err := makeRole(ctx, conn, role); err != nil {
			return fault.New(fault.Denied, "make the role %s: %w", role, err).
				WithHint("as an administrator run: CREATE ROLE %s NOLOGIN; GRANT %s TO %s", role, role, conn.Config().User)
		}
	}
	return nil
}
