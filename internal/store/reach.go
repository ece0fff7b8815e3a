package store

import (
	"bytes"
	"cmp"
	"context"
	"slices"
)

// Reach is where that lies which somebody may see. A list looks for each part by itself,
// in an index, and merges what it finds: one query for all of them would read the whole
// table.
type Reach struct {
	User      string        // tasks that they are assignee of or a candidate for; empty: none
	Groups    []string      // tasks that these are candidates for
	Processes []string      // what is of these
	Tasks     []TasksOf     // tasks of an element
	Where     []InstancesOf // instances that have a token, and what is in them
}

// TasksOf are the tasks of an element of a process.
type TasksOf struct{ Process, Element string }

// InstancesOf are the instances of a process that have one of some search tokens.
type InstancesOf struct {
	Process string
	Tokens  [][32]byte
}

// having narrows a query to rows of instances that have one of the tokens.
func (w InstancesOf) having(q *query, instance string) {
	args, list := []any{SearchToken}, ""
	for i, t := range w.Tokens {
		if i > 0 {
			list += ", "
		}
		args, list = append(args, t), list+"$"
	}
	q.where(`EXISTS (
		SELECT 1 FROM tokens k WHERE k.tenant = $1 AND k.kind = $ AND k.object = `+instance+` AND k.token IN (`+list+`))`, args...)
}

// eachBranch runs the queries of a list, those of the same text together.
func (db *DB) eachBranch(ctx context.Context, s Scope, queries []*query, fn func(row) error) error {
	for len(queries) > 0 {
		text := queries[0].text.String()
		var args [][]any
		queries = slices.DeleteFunc(queries, func(q *query) bool {
			same := q.text.String() == text
			if same {
				args = append(args, q.args)
			}
			return same
		})
		if err := db.data.eachOf(ctx, s.tenant, text, args, func(_ int, r row) error { return fn(r) }); err != nil {
			return err
		}
	}
	return nil
}

// firstPlaces returns the first rows that the queries of a list find, in order.
func (db *DB) firstPlaces(ctx context.Context, s Scope, queries []*query, limit int) ([]QueueCursor, error) {
	var found []QueueCursor
	err := db.eachBranch(ctx, s, queries, func(r row) error {
		var c QueueCursor
		err := r.scan(&c.Instance, &c.ID)
		found = append(found, c)
		return err
	})
	slices.SortFunc(found, func(a, b QueueCursor) int {
		return cmp.Or(bytes.Compare(a.Instance[:], b.Instance[:]), cmp.Compare(a.ID, b.ID))
	})
	found = slices.Compact(found)
	return found[:min(limit, len(found))], err
}
