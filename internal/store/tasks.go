package store

import "context"

// ListedTask is a row of a task list.
type ListedTask struct {
	Instance ID
	TaskRow
}

// TaskFilter selects open tasks. Empty fields do not restrict.
type TaskFilter struct {
	Process    string
	Assignee   string
	Group      string // one of the candidate groups
	User       string // one of the candidate users
	Unassigned bool
	After      QueueCursor
	Limit      int
}

// QueueCursor is the last row of the page before; zero: begin.
type QueueCursor struct {
	Instance ID
	ID       uint64
}

// Tasks lists open tasks, those of the oldest instances first.
func (db *DB) Tasks(ctx context.Context, s Scope, f TaskFilter) ([]ListedTask, error) {
	q := newQuery(`SELECT t.* FROM tasks t WHERE t.tenant = $1`, s.tenant)
	q.where("(t.instance, t.id) > ($, $)", f.After.Instance, f.After.ID)
	if f.Process != "" {
		q.where("t.process = $", f.Process)
	}
	if f.Assignee != "" {
		q.where("t.assignee = $", f.Assignee)
	}
	if f.Unassigned {
		q.where("t.assignee = ''")
	}
	candidate(q, "group", f.Group)
	candidate(q, "user", f.User)
	q.end("ORDER BY t.instance, t.id LIMIT $", f.Limit)
	return db.tasks(ctx, s, q)
}

func candidate(q *query, kind, name string) {
	if name != "" {
		q.where(`(t.instance, t.id) IN (
			SELECT instance, task FROM task_candidates WHERE tenant = $1 AND kind = $ AND name = $)`, kind, name)
	}
}

// tasks runs a query for rows of tasks and adds the candidates.
func (db *DB) tasks(ctx context.Context, s Scope, q *query) ([]ListedTask, error) {
	var found []ListedTask
	err := db.data.each(ctx, s.tenant, `
		SELECT t.instance, t.id, t.element, t.process, t.assignee, t.created, t.due,
			coalesce(c.kind, ''), coalesce(c.name, '')
		FROM (`+q.text.String()+`) t
		LEFT JOIN task_candidates c ON c.tenant = $1 AND c.instance = t.instance AND c.task = t.id
		ORDER BY t.instance, t.id, c.kind, c.name`,
		q.args, func(r row) error {
			var t ListedTask
			var kind, name string
			err := r.scan(&t.Instance, &t.ID, &t.Element, &t.Process, &t.Assignee, &t.Created, &t.Due, &kind, &name)
			if n := len(found); n == 0 || found[n-1].Instance != t.Instance || found[n-1].ID != t.ID {
				found = append(found, t)
			}
			last := &found[len(found)-1]
			switch kind {
			case "group":
				last.Groups = append(last.Groups, name)
			case "user":
				last.Users = append(last.Users, name)
			}
			return err
		})
	return found, err
}

// deleteTask takes the candidates along.
const deleteTask = `DELETE FROM tasks WHERE tenant = $1 AND instance = $2 AND id = $3`

// putTask replaces the row and its candidates.
func putTask(unit []statement, s Scope, instance ID, t *TaskRow) []statement {
	unit = append(unit, statement{
		text: `
			INSERT INTO tasks (tenant, instance, id, element, process, assignee, created, due)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (tenant, instance, id) DO UPDATE SET
				element = excluded.element, process = excluded.process, assignee = excluded.assignee,
				created = excluded.created, due = excluded.due`,
		args: []any{s.tenant, instance, t.ID, t.Element, t.Process, t.Assignee, t.Created, t.Due},
	}, statement{
		text: `DELETE FROM task_candidates WHERE tenant = $1 AND instance = $2 AND task = $3`,
		args: []any{s.tenant, instance, t.ID},
	})
	unit = putCandidates(unit, s, instance, t.ID, "group", t.Groups)
	return putCandidates(unit, s, instance, t.ID, "user", t.Users)
}

func putCandidates(unit []statement, s Scope, instance ID, task uint64, kind string, names []string) []statement {
	for _, name := range names {
		unit = append(unit, statement{
			text: `INSERT INTO task_candidates (tenant, instance, task, kind, name) VALUES ($1, $2, $3, $4, $5)`,
			args: []any{s.tenant, instance, task, kind, name},
		})
	}
	return unit
}
