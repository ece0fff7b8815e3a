package store

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

// joinEntries returns a query that does for all entries of arguments, which are bound, what
// one does for each, in their order: for a query along an index planning takes Postgres
// longer than running it. What the entries have in common stays an argument, and the rest
// is a list, of which the query is run for each item. The first column is the entry's
// number, from 1. Not ok: it can't be done.
func joinEntries(text string, entries [][]any) (joined string, args []any, ok bool) {
	if len(entries) < 2 || !strings.HasPrefix(strings.TrimSpace(text), "SELECT") {
		return "", nil, false
	}
	var lists, names []string
	own := map[string]string{} // parameters that are columns
	for i := range entries[0] {
		arg, kind := column(entries, i)
		if kind == "" {
			return "", nil, false
		}
		if args = append(args, arg); kind != shared {
			parameter, name := fmt.Sprintf("$%d", i+1), fmt.Sprintf("p%d", i+1)
			lists, names = append(lists, parameter+"::"+kind+"[]"), append(names, name)
			own[parameter] = "e." + name
		}
	}
	if len(lists) == 0 {
		return "", nil, false
	}
	text = parameters.ReplaceAllStringFunc(text, func(p string) string {
		if name, ok := own[p]; ok {
			return name
		}
		return p
	})
	// The offset keeps the query apart, so that it is planned and ordered as it is alone.
	return fmt.Sprintf(`SELECT e.n, q.* FROM unnest(%s) WITH ORDINALITY AS e(%s, n) CROSS JOIN LATERAL (%s OFFSET 0) q`,
		strings.Join(lists, ", "), strings.Join(names, ", "), text), args, true
}

var parameters = regexp.MustCompile(`\$[0-9]+`)

// shared is in place of a type what all entries have in common.
const shared = "shared"

// column returns the i-th argument of all entries, as a list and with its type unless it
// is the same for all. No type: a list can't have it.
func column(entries [][]any, i int) (arg any, kind string) {
	switch first := entries[0][i].(type) {
	case []byte:
		return listOf(entries, i, first, "bytea", bytes.Equal)
	case string:
		return listOf(entries, i, first, "text", func(a, b string) bool { return a == b })
	case int64:
		return listOf(entries, i, first, "bigint", func(a, b int64) bool { return a == b })
	}
	return nil, ""
}

func listOf[T any](entries [][]any, i int, first T, kind string, equal func(a, b T) bool) (any, string) {
	list, alike := make([]T, len(entries)), true
	for e := range entries {
		v, ok := entries[e][i].(T)
		if !ok {
			return nil, ""
		}
		list[e], alike = v, alike && equal(v, first)
	}
	if alike {
		return first, shared
	}
	return list, kind
}

// splitEntry returns which entry a row of a joined query is of, from 0, and the row as the
// query alone has it.
func splitEntry(r row) (int, row, error) {
	rows := r.scanner.(pgx.Rows)
	var n int
	err := rows.Scan(append([]any{&n}, make([]any, len(rows.FieldDescriptions())-1)...)...)
	return n - 1, row{entryRow{rows}}, err
}

// entryRow is a row without its first column.
type entryRow struct{ pgx.Rows }

// Scan implements scanner.
func (r entryRow) Scan(dest ...any) error { return r.Rows.Scan(append([]any{nil}, dest...)...) }
