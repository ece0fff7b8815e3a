package process

import (
	"slices"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// prepareTask evaluates who may do a user task and by when.
func (r *run) prepareTask(t *task, n *node, v *view) *problem {
	steps := []struct {
		what string
		x    *expression
		want string
		take func(canon.Value) bool
	}{
		{"assignee", n.user.assignee, "a text", func(value canon.Value) bool { return takeText(&t.assignee, value) }},
		{"candidate groups", n.user.groups, "a list of texts", func(value canon.Value) bool { return takeTexts(&t.groups, value) }},
		{"candidate users", n.user.users, "a list of texts", func(value canon.Value) bool { return takeTexts(&t.users, value) }},
		{"due date", n.user.due, "a date and time", func(value canon.Value) bool { return r.takeDue(&t.due, value) }},
	}
	for _, s := range steps {
		if s.x == nil {
			continue
		}
		value, warnings, text := r.evaluateAll(s.x, v)
		if text == "" && !s.take(value) {
			text = mismatch(s.x, s.want, value, warnings)
		}
		if text != "" {
			return &problem{"expression", s.what + ": " + text, v.labelOf(s.x)}
		}
	}
	return nil
}

// takeText accepts a text; null is none.
func takeText(to *string, v canon.Value) bool {
	switch v := v.(type) {
	case canon.String:
		*to = string(v)
		return true
	case canon.Null:
		return true
	}
	return false
}

// takeTexts accepts a list of texts, one text, or null.
func takeTexts(to *[]string, v canon.Value) bool {
	list, ok := v.(canon.List)
	if !ok {
		list = canon.List{v}
	}
	for _, item := range list {
		var text string
		if !takeText(&text, item) {
			return false
		}
		if text != "" {
			*to = append(*to, text)
		}
	}
	slices.Sort(*to)
	*to = slices.Compact(*to)
	return true
}

func (r *run) takeDue(to *int64, v canon.Value) bool {
	if _, null := v.(canon.Null); null {
		return true
	}
	due, ok := r.dateTime(v)
	*to = due
	return ok
}

func (r *run) openTask(token uint64, t task) {
	t.id, t.token, t.created = r.s.next(), token, r.at
	r.s.tasks = append(r.s.tasks, t)
	r.command(OpenTask{t.id})
}

func (r *run) closeTask(id uint64) {
	r.s.tasks = remove(r.s.tasks, id)
	r.forget(draftPath(id))
	r.withdraw(id, OpenTask{id}, CloseTask{id})
}

// waitingTask finds an open task, or rejects the event.
func (r *run) waitingTask(id uint64) (*task, error) {
	i := find(r.s.tasks, id)
	if i < 0 {
		return nil, r.gone("task", id)
	}
	r.out.Element = r.s.elementOf(r.s.tasks[i].token)
	return &r.s.tasks[i], nil
}

func (r *run) taskClaimed(e TaskClaimed) error {
	t, err := r.waitingTask(e.Task)
	if err != nil {
		return err
	}
	if t.assignee == e.Assignee {
		return nil
	}
	if t.assignee != "" {
		return fault.New(fault.Conflict, "task %d is held by another person", e.Task).WithCode("task_claimed")
	}
	t.assignee = e.Assignee
	r.command(ChangeTask{e.Task})
	return nil
}

func (r *run) taskUnclaimed(e TaskUnclaimed) error {
	t, err := r.waitingTask(e.Task)
	if err != nil {
		return err
	}
	if t.assignee != "" {
		t.assignee = ""
		r.command(ChangeTask{e.Task})
	}
	return nil
}

// taskSaved keeps a draft. It may hold what the form's fields will hold, so its
// label covers theirs and those of what the person is shown.
func (r *run) taskSaved(e TaskSaved) error {
	t, err := r.waitingTask(e.Task)
	if err != nil {
		return err
	}
	o := r.d.fromWork(r.s.labelGiven(r.s.token(t.token), true))
	label := o.loose
	for i := range e.Draft.Len() {
		v := r.d.newVariable(0, e.Draft.At(i).Name, e.Draft.At(i).Value, o)
		label = join(label, v.labelOfAll())
	}
	draft := e.Draft
	if draft == nil {
		draft = contextOf(nil)
	}
	r.set(noteScope, variable{name: draftPath(e.Task), value: draft, label: label})
	return nil
}

func (r *run) taskCompleted(e TaskCompleted) error {
	t, err := r.waitingTask(e.Task)
	if err != nil {
		return err
	}
	token := t.token
	o := r.d.fromWork(r.s.labelGiven(r.s.token(token), true))
	r.closeTask(e.Task)
	r.complete(token, e.Variables, o)
	return nil
}
