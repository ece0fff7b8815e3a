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
	Instances []ID          // these, and what is in them
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

// eachBranch runs the queries of a list, those of the same text together; fn is told which
// one a row is of.
func (db *DB) eachBranch(ctx context.Context, s Scope, queries []*query, fn func(int, row) error) error {
	var texts []string
	alike := map[string][]int{}
	for i, q := range queries {
		text := q.text.String()
		if alike[text] == nil {
			texts = append(texts, text)
		}
		alike[text] = append(alike[text], i)
	}
	for _, text := range texts {
		var args [][]any
		for _, i := range alike[text] {
			args = append(args, queries[i].args)
		}
		if err := db.data.eachOf(ctx, s.tenant, text, args, func(j int, r row) error { return fn(alike[text][j], r) }); err != nil {
			return err
		}
	}
	return nil
}

// branch is a part of a list: its rows of a stretch, in the order of their places.
type branch func(stretch) *query

// stretch is what is asked of a list: so many rows after a place, up to another one; zero:
// to the end.
type stretch struct {
	after, until QueueCursor
	limit        int
}

// within adds a stretch to a query whose rows have their place in two columns.
func (t stretch) within(q *query, instance, id string) {
	q.where("("+instance+", "+id+") > ($, $)", t.after.Instance, t.after.ID)
	if t.until != (QueueCursor{}) {
		q.where("("+instance+", "+id+") <= ($, $)", t.until.Instance, t.until.ID)
	}
	q.end("ORDER BY "+instance+", "+id+" LIMIT $", t.limit)
}

func (c QueueCursor) compare(d QueueCursor) int {
	return cmp.Or(bytes.Compare(c.Instance[:], d.Instance[:]), cmp.Compare(c.ID, d.ID))
}

// reached returns the first rows of a list: it finds their places, and then reads them. A
// row can go between the two, and whoever asks takes a list that is short for its end: so
// it goes on until there are as many, or there is nothing more.
func reached[R any](ctx context.Context, db *DB, s Scope, branches []branch, after QueueCursor, limit int, read func(places [][]any) ([]R, error)) ([]R, error) {
	var list []R
	for len(list) < limit {
		places, err := db.firstPlaces(ctx, s, branches, after, limit-len(list))
		if err != nil {
			return nil, err
		}
		args := make([][]any, len(places))
		for i, p := range places {
			args[i], after = []any{s.tenant, p.Instance, p.ID}, p
		}
		rows, err := read(args)
		if err != nil {
			return nil, err
		}
		ended := len(places) < limit-len(list)
		if list = append(list, rows...); ended {
			break
		}
	}
	return list, nil
}

// firstPlaces returns the first rows of a list, in order. Of many branches few have more
// than their part of them: so a few rows of each are read at first, and then, of those
// that may have more, what comes before the last of what was found.
func (db *DB) firstPlaces(ctx context.Context, s Scope, branches []branch, after QueueCursor, limit int) (found []QueueCursor, err error) {
	if len(branches) == 0 {
		return nil, nil
	}
	ends, counts := make([]QueueCursor, len(branches)), make([]int, len(branches))
	read := func(which []int, until QueueCursor, limit int) error {
		queries := make([]*query, len(which))
		for i, b := range which {
			queries[i] = branches[b](stretch{ends[b], until, limit})
		}
		err := db.eachBranch(ctx, s, queries, func(i int, r row) error {
			var c QueueCursor
			err := r.scan(&c.Instance, &c.ID)
			found, ends[which[i]] = append(found, c), c
			counts[which[i]]++
			return err
		})
		slices.SortFunc(found, QueueCursor.compare)
		found = slices.Compact(found)
		return err
	}
	all := make([]int, len(branches))
	for i := range all {
		all[i], ends[i] = i, after
	}
	few := min(limit, max(2, 2*limit/len(branches)))
	if err := read(all, QueueCursor{}, few); err != nil || few == limit {
		return found[:min(limit, len(found))], err
	}
	var until QueueCursor
	if len(found) >= limit {
		until = found[limit-1]
	}
	more := slices.DeleteFunc(all, func(b int) bool {
		return counts[b] < few || until != (QueueCursor{}) && ends[b].compare(until) >= 0
	})
	err = read(more, until, limit)
	return found[:min(limit, len(found))], err
}
