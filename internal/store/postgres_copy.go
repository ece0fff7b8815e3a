package store

import (
	"context"

	"github.com/underseal/underseal/internal/fault"
)

// Names of the schemas in Postgres.
const (
	DataSchema = "underseal"
	KeysSchema = "underseal_keys"
)

// PostgresDeployment returns whose data or keys a schema holds.
func PostgresDeployment(ctx context.Context, dsn, schema string) (deployment string, err error) {
	conn, err := connectOwner(ctx, dsn, postgresSchema{name: schema})
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := conn.QueryRow(ctx, `SELECT deployment FROM deployment`).Scan(&deployment); err != nil {
		return "", fault.New(fault.NotFound, "there are no Underseal data in the schema %s: %w", schema, err)
	}
	return deployment, nil
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
