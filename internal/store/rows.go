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
func (db *DB) Rows(ctx context.Context, s Scope, instance ID) (rows Rows, err error) {
	if rows.Instance, err = db.instanceRow(ctx, s, instance); err != nil {
		return Rows{}, err
	}
	if rows.Tasks, err = db.instanceTasks(ctx, s, instance); err != nil {
		return Rows{}, err
	}
	if rows.Jobs, err = collect(ctx, db.data, s.tenant,
		`SELECT `+jobColumns+` FROM jobs WHERE tenant = $1 AND instance = $2 ORDER BY id`,
		[]any{s.tenant, instance},
		func(r row, j *JobRow) error { return r.scan(j.targets()...) }); err != nil {
		return Rows{}, err
	}
	if rows.Timers, err = collect(ctx, db.data, s.tenant,
		`SELECT id, element, due FROM timers WHERE tenant = $1 AND instance = $2 ORDER BY id`,
		[]any{s.tenant, instance},
		func(r row, t *TimerRow) error { return r.scan(&t.ID, &t.Element, &t.Due) }); err != nil {
		return Rows{}, err
	}
	if rows.Incidents, err = collect(ctx, db.data, s.tenant,
		`SELECT `+incidentColumns+` FROM incidents WHERE tenant = $1 AND instance = $2 ORDER BY id`,
		[]any{s.tenant, instance},
		func(r row, i *IncidentRow) error { return r.scan(i.targets()...) }); err != nil {
		return Rows{}, err
	}
	return rows, nil
}

// ProcessOf returns the id of an instance's process, "" when there is no such
// instance.
func (db *DB) ProcessOf(ctx context.Context, s Scope, instance ID) (string, error) {
	found, err := db.instanceRow(ctx, s, instance)
	if err != nil || found == nil {
		return "", err
	}
	return found.Process, nil
}

// instanceRow returns nil when there is none.
func (db *DB) instanceRow(ctx context.Context, s Scope, instance ID) (*InstanceRow, error) {
	found, err := collect(ctx, db.data, s.tenant,
		`SELECT `+instanceColumns+` FROM instances i WHERE i.tenant = $1 AND i.object = $2`,
		[]any{s.tenant, instance},
		func(r row, i *InstanceRow) error { return r.scan(i.targets()...) })
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

func (db *DB) instanceTasks(ctx context.Context, s Scope, instance ID) (tasks []TaskRow, err error) {
	found, err := db.tasks(ctx, s, `SELECT t.* FROM tasks t WHERE t.tenant = $1 AND t.instance = $2`, [][]any{{s.tenant, instance}})
	for i := range found {
		tasks = append(tasks, found[i].TaskRow)
	}
	return tasks, err
}
