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
	After    QueueCursor
	Limit    int
}

const incidentColumns = `id, element, process, code, job, created`

func (i *IncidentRow) targets() []any {
	return []any{&i.ID, &i.Element, &i.Process, &i.Code, &i.Job, &i.Created}
}

// Incidents lists open incidents, those of the oldest instances first.
func (db *DB) Incidents(ctx context.Context, s Scope, f IncidentFilter) ([]ListedIncident, error) {
	q := newQuery(`SELECT instance, `+incidentColumns+` FROM incidents WHERE tenant = $1`, s.tenant)
	q.where("(instance, id) > ($, $)", f.After.Instance, f.After.ID)
	if f.Process != "" {
		q.where("process = $", f.Process)
	}
	if f.Instance != (ID{}) {
		q.where("instance = $", f.Instance)
	}
	q.end("ORDER BY instance, id LIMIT $", f.Limit)

	return collect(ctx, db.data, s.tenant, q.text.String(), q.args, func(r row, i *ListedIncident) error {
		return r.scan(append([]any{&i.Instance}, i.targets()...)...)
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
