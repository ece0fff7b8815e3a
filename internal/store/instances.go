package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
)

// ListedInstance is a row of an instance list.
type ListedInstance struct {
	ID ID
	InstanceRow
}

// InstanceFilter selects instances. Empty fields do not restrict.
type InstanceFilter struct {
	Process string
	Status  string
	Tokens  []Token // having one of these, all of one kind; only that and their bytes are looked at
	Reach   *Reach  // nil does not restrict
	After   ID      // the last instance of the page before; zero: begin
	Limit   int
}

const instanceColumns = `i.process, i.version, i.definition, i.mode, i.status, i.incidents, i.started, i.ended, i.data_key`

func (i *InstanceRow) targets() []any {
	return []any{&i.Process, &i.Version, &i.Definition, &i.Mode, &i.Status, &i.Incidents, &i.Started, &i.Ended, &i.Key}
}

// Instances lists instances, newest first.
func (db *DB) Instances(ctx context.Context, s Scope, f InstanceFilter) ([]ListedInstance, error) {
	if f.Reach != nil {
		return db.reachedInstances(ctx, s, f)
	}
	q := newQuery(`SELECT i.object, `+instanceColumns+` FROM instances i WHERE i.tenant = $1`, s.tenant)
	f.narrow(q)
	q.end("ORDER BY i.object DESC LIMIT $", f.Limit)
	return db.instances(ctx, s, q.text.String(), [][]any{q.args})
}

func (db *DB) instances(ctx context.Context, s Scope, text string, args [][]any) (list []ListedInstance, err error) {
	err = db.data.eachOf(ctx, s.tenant, text, args, func(_ int, r row) error {
		var i ListedInstance
		err := r.scan(append([]any{&i.ID}, i.targets()...)...)
		list = append(list, i)
		return err
	})
	return list, err
}

// reachedInstances finds the instances in reach, part by part, and then reads them.
func (db *DB) reachedInstances(ctx context.Context, s Scope, f InstanceFilter) ([]ListedInstance, error) {
	var found []ID
	err := db.eachBranch(ctx, s, f.branches(s), func(_ int, r row) error {
		var id ID
		err := r.scan(&id)
		found = append(found, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b ID) int { return bytes.Compare(b[:], a[:]) })
	found = slices.Compact(found)
	found = found[:min(f.Limit, len(found))]
	args := make([][]any, len(found))
	for i, id := range found {
		args[i] = []any{s.tenant, id}
	}
	return db.instances(ctx, s, `SELECT i.object, `+instanceColumns+` FROM instances i WHERE i.tenant = $1 AND i.object = $2`, args)
}

func (f InstanceFilter) branches(s Scope) []*query {
	var queries []*query
	for _, process := range f.Reach.Processes {
		q := newQuery(`SELECT i.object FROM instances i WHERE i.tenant = $1`, s.tenant)
		q.where("i.process = $", process)
		f.narrow(q)
		q.end("ORDER BY i.object DESC LIMIT $", f.Limit)
		queries = append(queries, q)
	}
	for _, id := range f.Reach.Instances {
		q := newQuery(`SELECT i.object FROM instances i WHERE i.tenant = $1`, s.tenant)
		q.where("i.object = $", id)
		f.narrow(q)
		queries = append(queries, q)
	}
	for _, of := range f.Reach.Where {
		for _, token := range of.Tokens {
			q := newQuery(`
				SELECT DISTINCT k.object FROM tokens k CROSS JOIN instances i
				WHERE k.tenant = $1 AND i.tenant = $1 AND i.object = k.object`, s.tenant)
			q.where("k.kind = $ AND k.token = $", SearchToken, token)
			f.narrow(q)
			q.end("ORDER BY k.object DESC LIMIT $", f.Limit)
			queries = append(queries, q)
		}
	}
	return queries
}

// narrow adds what the filter asks for besides reach.
func (f InstanceFilter) narrow(q *query) {
	if f.After != (ID{}) {
		q.where("i.object < $", f.After)
	}
	if f.Process != "" {
		q.where("i.process = $", f.Process)
	}
	if f.Status != "" {
		q.where("i.status = $", f.Status)
		if f.Status != "completed" {
			q.where("i.status <> 'completed'") // what the partial index covers
		}
	}
	if len(f.Tokens) > 0 {
		args := []any{f.Tokens[0].Kind}
		for _, t := range f.Tokens {
			args = append(args, t.Token)
		}
		list := strings.Repeat(", $", len(f.Tokens))[2:]
		q.where(`i.object IN (
			SELECT object FROM unique_tokens WHERE tenant = $1 AND kind = $ AND token IN (`+list+`)
			UNION SELECT object FROM tokens WHERE tenant = $1 AND kind = $ AND token IN (`+list+`))`,
			slices.Concat(args, args)...)
	}
}

func insertPersonKey(s Scope, object, key ID) statement {
	return statement{
		text: `INSERT INTO person_keys (tenant, data_key, object) VALUES ($1, $2, $3)`,
		args: []any{s.tenant, key, object},
	}
}

// KeysInUse returns those of the ids that are the data key of an instance, of an
// upload, or of a person whom an instance met without a name.
func (db *DB) KeysInUse(ctx context.Context, s Scope, ids []ID) (map[ID]bool, error) {
	args := make([][]any, len(ids))
	for i, id := range ids {
		args[i] = []any{s.tenant, id}
	}
	used := map[ID]bool{}
	err := db.data.eachOf(ctx, s.tenant, `
		SELECT 1 FROM instances WHERE tenant = $1 AND data_key = $2
		UNION ALL SELECT 1 FROM uploads WHERE tenant = $1 AND data_key = $2
		UNION ALL SELECT 1 FROM person_keys WHERE tenant = $1 AND data_key = $2`,
		args, func(i int, _ row) error {
			used[ids[i]] = true
			return nil
		})
	return used, err
}

var instanceRows = &insert{
	into: `
		INSERT INTO instances (tenant, object, process, version, definition, mode, status, incidents,
			started, ended, data_key)`,
	columns: 11,
	after: `
		ON CONFLICT (tenant, object) DO UPDATE SET
			process = excluded.process, version = excluded.version, definition = excluded.definition,
			mode = excluded.mode, status = excluded.status, incidents = excluded.incidents,
			started = excluded.started, ended = excluded.ended, data_key = excluded.data_key`,
}

func putInstance(s Scope, object ID, i *InstanceRow) statement {
	return instanceRows.one(s.tenant, object, i.Process, i.Version, i.Definition, i.Mode, i.Status, i.Incidents,
		i.Started, i.Ended, i.Key)
}

// query is a SELECT put together from conditions. Each $ that no digit follows
// takes the next argument; $1 is the tenant.
type query struct {
	text strings.Builder
	args []any
}

func newQuery(text string, tenant string) *query {
	q := &query{args: []any{tenant}}
	q.text.WriteString(text)
	return q
}

func (q *query) where(condition string, args ...any) { q.end("AND "+condition, args...) }

func (q *query) end(text string, args ...any) {
	q.text.WriteByte('\n')
	for i, c := range []byte(text) {
		q.text.WriteByte(c)
		if c == '$' && (i+1 == len(text) || text[i+1] < '0' || text[i+1] > '9') {
			q.args = append(q.args, args[0])
			args = args[1:]
			fmt.Fprint(&q.text, len(q.args))
		}
	}
}
