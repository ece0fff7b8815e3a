package store

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// StoredTenants lists the tenants of which any table has rows, with or without keys,
// ascending. On Postgres it asks as the owner of the data, whom row-level security does
// not bind: whoever put a row there may have given its tenant any name.
func (db *DB) StoredTenants(ctx context.Context) ([]string, error) {
	found := map[string]bool{}
	keys := asker(func(text string, args []any, fn func(row) error) error {
		return db.keys.each(ctx, "", text, args, fn)
	})
	if err := keys.tenants(db.tablesOf(KeysSchema), found); err != nil {
		return nil, err
	}
	data := asker(func(text string, args []any, fn func(row) error) error {
		return db.data.each(ctx, "", text, args, fn)
	})
	if db.owner != "" {
		conn, err := connectOwner(ctx, db.owner, dataSchema)
		if err != nil {
			return nil, err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		data = func(text string, args []any, fn func(row) error) error {
			rows, err := conn.Query(ctx, text, args...)
			if err == nil {
				err = eachRow(rows, fn)
			}
			return db.data.(*postgresDB).readError(err)
		}
	}
	if err := data.tenants(db.tablesOf(DataSchema), found); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// tablesOf is the query for the tables whose rows are of tenants, quoted: somebody may have
// added one of any name.
func (db *DB) tablesOf(schema string) string {
	return db.dialect(`
		SELECT '"' || replace(m.name, '"', '""') || '"' FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'tenant'`, `
		SELECT quote_ident(c.relname) FROM pg_class c
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND a.atttypid = 'text'::regtype AND NOT a.attisdropped
		WHERE c.relnamespace = '`+schema+`'::regnamespace AND c.relkind IN ('r', 'p')`)
}

// asker runs a query.
type asker func(text string, args []any, fn func(row) error) error

// tenants finds the tenants of the tables that a query lists: one look-up in the index of
// each table for each tenant, not one for each row.
func (ask asker) tenants(tables string, found map[string]bool) error {
	var each []string
	err := ask(tables, nil, func(r row) error {
		var table string
		err := r.scan(&table)
		each = append(each, `SELECT min(tenant) AS tenant FROM `+table+` WHERE tenant >= $1`)
		return err
	})
	text := `SELECT min(tenant) FROM (` + strings.Join(each, ` UNION ALL `) + `) t HAVING min(tenant) IS NOT NULL`
	last, first := "", text // a name that no tenant can have is one too
	text = strings.ReplaceAll(text, `>=`, `>`)
	for more := err == nil; more; first = text {
		more = false
		err = ask(first, []any{last}, func(r row) error {
			more = true
			return r.scan(&last)
		})
		if err != nil {
			return err
		}
		if more {
			found[last] = true
		}
	}
	return err
}
