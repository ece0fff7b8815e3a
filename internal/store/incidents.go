package store

import "context"

// ListedIncident is a row of an incident list.
type ListedIncident struct {
	Instance ID
	IncidentRow
}

// IncidentFilter selects open incidents. Empty fields do not restrict.
type IncidentFilter struct {
	Process  string
	Instance ID
	Reach    *Reach // nil does not restrict
	After    QueueCursor
	Limit    int
}

const incidentColumns = `id, element, process, code, job, created`

func (i *IncidentRow) targets() []any {
	return []any{&i.ID, &i.Element, &i.Process, &i.Code, &i.Job, &i.Created}
}

// Incidents lists open incidents, those of the oldest instances first.
func (db *DB) Incidents(ctx context.Context, s Scope, f IncidentFilter) ([]ListedIncident, error) {
	if f.Reach != nil {
		return db.reachedIncidents(ctx, s, f)
	}
	q := f.query(s, "instance, "+incidentColumns, func(*query) {}, stretch{after: f.After, limit: f.Limit})
	return db.incidents(ctx, s, q.text.String(), [][]any{q.args})
}

func (db *DB) incidents(ctx context.Context, s Scope, text string, args [][]any) (list []ListedIncident, err error) {
	err = db.data.eachOf(ctx, s.tenant, text, args, func(_ int, r row) error {
		var i ListedIncident
		err := r.scan(append([]any{&i.Instance}, i.targets()...)...)
		list = append(list, i)
		return err
	})
	return list, err
}

func (f IncidentFilter) query(s Scope, columns string, narrow func(*query), t stretch) *query {
	q := newQuery(`SELECT `+columns+` FROM incidents WHERE tenant = $1`, s.tenant)
	narrow(q)
	if f.Process != "" {
		q.where("process = $", f.Process)
	}
	if f.Instance != (ID{}) {
		q.where("instance = $", f.Instance)
	}
	t.within(q, "instance", "id")
	return q
}

// reachedIncidents finds the incidents in reach, part by part, and then reads them.
func (db *DB) reachedIncidents(ctx context.Context, s Scope, f IncidentFilter) ([]ListedIncident, error) {
	var branches []branch
	add := func(narrow func(q *query)) {
		branches = append(branches, func(t stretch) *query { return f.query(s, "instance, id", narrow, t) })
	}
	for _, process := range f.Reach.Processes {
		add(func(q *query) { q.where("process = $", process) })
	}
	for _, id := range f.Reach.Instances {
		add(func(q *query) { q.where("instance = $", id) })
	}
	for _, of := range f.Reach.Where {
		add(func(q *query) {
			q.where("process = $", of.Process)
			of.having(q, "incidents.instance")
		})
	}
	return reached(ctx, db, s, branches, f.After, f.Limit, func(args [][]any) ([]ListedIncident, error) {
		return db.incidents(ctx, s, `SELECT instance, `+incidentColumns+` FROM incidents WHERE tenant = $1 AND instance = $2 AND id = $3`, args)
	})
}

const deleteIncident = `DELETE FROM incidents WHERE tenant = $1 AND instance = $2 AND id = $3`

func putIncident(s Scope, instance ID, i *IncidentRow) statement {
	return statement{
		text: `
			INSERT INTO incidents (tenant, instance, id, element, process, code, job, created)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (tenant, instance, id) DO UPDATE SET
				element = excluded.element, process = excluded.process, code = excluded.code,
				job = excluded.job, created = excluded.created`,
		args: []any{s.tenant, instance, i.ID, i.Element, i.Process, i.Code, i.Job, i.Created},
	}
}
