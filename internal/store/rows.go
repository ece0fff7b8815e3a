package store

import "context"

// Rows are all routing rows of one instance, ascending by number, to be
// compared with its head.
type Rows struct {
	Instance  *InstanceRow // nil when the row is missing
	Tasks     []TaskRow
	Jobs      []JobRow
	Timers    []TimerRow
	Incidents []IncidentRow
}

// Rows returns an instance's routing rows. They are not all of one moment: a
// step that commits meanwhile may show in some of them only.
func (db *DB) Rows(ctx context.Context, s Scope, instance ID) (Rows, error) {
	var rows Rows
	one := []any{s.tenant, instance}
	list := func(text string, fn func(row) error) error {
		return db.data.each(ctx, s.tenant, text, append([]any(nil), one...), fn)
	}
	if err := list(`SELECT `+instanceColumns+` FROM instances i WHERE i.tenant = $1 AND i.object = $2`,
		func(r row) error {
			rows.Instance = new(InstanceRow)
			return r.scan(rows.Instance.targets()...)
		}); err != nil {
		return Rows{}, err
	}
	q := newQuery(`SELECT t.* FROM tasks t WHERE t.tenant = $1`, s.tenant)
	q.where("t.instance = $", instance)
	tasks, err := db.tasks(ctx, s, q)
	if err != nil {
		return Rows{}, err
	}
	for i := range tasks {
		rows.Tasks = append(rows.Tasks, tasks[i].TaskRow)
	}
	if err := list(`SELECT `+jobColumns+` FROM jobs WHERE tenant = $1 AND instance = $2 ORDER BY id`,
		func(r row) error {
			var j JobRow
			err := r.scan(j.targets()...)
			rows.Jobs = append(rows.Jobs, j)
			return err
		}); err != nil {
		return Rows{}, err
	}
	if err := list(`SELECT id, element, due FROM timers WHERE tenant = $1 AND instance = $2 ORDER BY id`,
		func(r row) error {
			var t TimerRow
			err := r.scan(&t.ID, &t.Element, &t.Due)
			rows.Timers = append(rows.Timers, t)
			return err
		}); err != nil {
		return Rows{}, err
	}
	err = list(`SELECT `+incidentColumns+` FROM incidents WHERE tenant = $1 AND instance = $2 ORDER BY id`,
		func(r row) error {
			var i IncidentRow
			err := r.scan(i.targets()...)
			rows.Incidents = append(rows.Incidents, i)
			return err
		})
	return rows, err
}
