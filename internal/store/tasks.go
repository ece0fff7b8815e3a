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
	Reach      *Reach // nil does not restrict
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
	if f.Reach != nil {
		return db.reachedTasks(ctx, s, f)
	}
	q := newQuery(`SELECT t.* FROM tasks t WHERE t.tenant = $1`, s.tenant)
	q.where("(t.instance, t.id) > ($, $)", f.After.Instance, f.After.ID)
	f.narrow(q)
	q.end("ORDER BY t.instance, t.id LIMIT $", f.Limit)
	return db.tasks(ctx, s, q.text.String(), [][]any{q.args})
}

// narrow adds what the filter asks for besides reach and place.
func (f TaskFilter) narrow(q *query) {
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
}

// reachedTasks finds the tasks in reach, part by part, and then reads them.
func (db *DB) reachedTasks(ctx context.Context, s Scope, f TaskFilter) ([]ListedTask, error) {
	return reached(ctx, db, s, f.branches(s), f.After, f.Limit, func(args [][]any) ([]ListedTask, error) {
		return db.tasks(ctx, s, `SELECT t.* FROM tasks t WHERE t.tenant = $1 AND t.instance = $2 AND t.id = $3`, args)
	})
}

func (f TaskFilter) branches(s Scope) []branch {
	var branches []branch
	add := func(narrow func(q *query)) {
		branches = append(branches, func(t stretch) *query {
			q := newQuery(`SELECT t.instance, t.id FROM tasks t WHERE t.tenant = $1`, s.tenant)
			narrow(q)
			f.narrow(q)
			t.within(q, "t.instance", "t.id")
			return q
		})
	}
	for _, process := range f.Reach.Processes {
		add(func(q *query) { q.where("t.process = $", process) })
	}
	for _, id := range f.Reach.Instances {
		add(func(q *query) { q.where("t.instance = $", id) })
	}
	for _, of := range f.Reach.Tasks {
		add(func(q *query) { q.where("t.process = $ AND t.element = $", of.Process, of.Element) })
	}
	for _, of := range f.Reach.Where {
		add(func(q *query) {
			q.where("t.process = $", of.Process)
			of.having(q, "t.instance")
		})
	}
	for _, group := range f.Reach.Groups {
		branches = append(branches, f.candidates(s, "group", group))
	}
	if f.Reach.User != "" {
		add(func(q *query) { q.where("t.assignee = $", f.Reach.User) })
		branches = append(branches, f.candidates(s, "user", f.Reach.User))
	}
	return branches
}

// candidates goes along the names of candidates, in the order of their tasks.
func (f TaskFilter) candidates(s Scope, kind, name string) branch {
	return func(t stretch) *query {
		q := newQuery(`
			SELECT c.instance, c.task FROM task_candidates c CROSS JOIN tasks t
			WHERE c.tenant = $1 AND t.tenant = $1 AND t.instance = c.instance AND t.id = c.task`, s.tenant)
		q.where("c.kind = $ AND c.name = $", kind, name)
		f.narrow(q)
		t.within(q, "c.instance", "c.task")
		return q
	}
}

func candidate(q *query, kind, name string) {
	if name != "" {
		q.where(`(t.instance, t.id) IN (
			SELECT instance, task FROM task_candidates WHERE tenant = $1 AND kind = $ AND name = $)`, kind, name)
	}
}

// tasks runs a query for rows of tasks, once per entry of args, and adds the candidates.
func (db *DB) tasks(ctx context.Context, s Scope, text string, args [][]any) ([]ListedTask, error) {
	var found []ListedTask
	err := db.data.eachOf(ctx, s.tenant, `
		SELECT t.instance, t.id, t.element, t.process, t.assignee, t.created, t.due,
			coalesce(c.kind, ''), coalesce(c.name, '')
		FROM (`+text+`) t
		LEFT JOIN task_candidates c ON c.tenant = $1 AND c.instance = t.instance AND c.task = t.id
		ORDER BY t.instance, t.id, c.kind, c.name`,
		args, func(_ int, r row) error {
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
