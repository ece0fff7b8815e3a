package process

import (
	"slices"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// prepareTask evaluates who may do a user task and by when.
func (r *run) prepareTask(t *task, n *node, v *view) *problem {
	u := &n.user
	assignees, trouble := r.texts("assignee", u.assignee, v)
	switch {
	case len(assignees) > 1:
		trouble = v.mistyped("assignee", u.assignee, "one text", canon.List{}, nil, "")
	case len(assignees) == 1:
		t.assignee = assignees[0]
	}
	if trouble == nil {
		t.groups, trouble = r.texts("candidate groups", u.groups, v)
	}
	if trouble == nil {
		t.users, trouble = r.texts("candidate users", u.users, v)
	}
	if trouble == nil {
		t.due, trouble = r.dueDate(u.due, v)
	}
	return trouble
}

// texts evaluates to a list of texts, sorted and unique. One text stands for a
// list of it; null and "" are nobody.
func (r *run) texts(what string, x *expression, v *view) ([]string, *problem) {
	if x == nil {
		return nil, nil
	}
	value, warnings, trouble, sealed := r.routed(what, x, v)
	if sealed != nil {
		return nil, sealed
	}
	list, ok := value.(canon.List)
	if !ok {
		list = canon.List{value}
	}
	var texts []string
	for _, item := range list {
		text, isText := item.(canon.String)
		_, isNull := item.(canon.Null)
		if !isText && !isNull {
			return nil, v.mistyped(what, x, "text or a list of texts", value, warnings, trouble)
		}
		if text != "" {
			texts = append(texts, string(text))
		}
	}
	slices.Sort(texts)
	return slices.Compact(texts), nil
}

// dueDate evaluates to a date and time in microseconds, 0 for null.
func (r *run) dueDate(x *expression, v *view) (int64, *problem) {
	if x == nil {
		return 0, nil
	}
	value, warnings, trouble, sealed := r.routed("due date", x, v)
	if sealed != nil {
		return 0, sealed
	}
	if _, null := value.(canon.Null); null {
		return 0, nil
	}
	due, ok := r.dateTime(value)
	if !ok {
		return 0, v.mistyped("due date", x, "a date and time", value, warnings, trouble)
	}
	return due, nil
}

func (r *run) openTask(token uint64, t task) {
	t.id, t.token, t.created = r.s.next(), token, r.at
	r.s.tasks = append(r.s.tasks, t)
	r.command(OpenTask{t.id})
}

func (r *run) closeTask(id uint64) {
	r.s.tasks = remove(r.s.tasks, id)
	r.forget(DraftPath(id))
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
		return fault.New(fault.Conflict, "task %d is held by %s", e.Task, t.assignee).WithCode("task_claimed").
			WithHint("ask them to give it back, or an administrator to")
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
		r.command(ChangeTask{t.id})
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
	label := r.d.labelOfWork(t.given, e.Draft)
	draft := e.Draft
	if draft == nil {
		draft, _ = canon.NewContext() // without names there are none to be equal
	}
	note := variable{name: DraftPath(e.Task), value: draft, label: label}
	if r.d.tooLarge(noteScope, &note) != "" {
		return largeField(note.name)
	}
	r.set(noteScope, note)
	return nil
}

// EnteredLabel returns the label of what a person enters in a task could tell: of what
// they were shown, and of what its variables are declared to be.
func (s *State) EnteredLabel(task uint64, entered *canon.Context) Label {
	i := find(s.tasks, task)
	if i < 0 {
		return Label{}
	}
	return *s.d.labelOfWork(s.tasks[i].given, entered)
}

func (r *run) taskCompleted(e TaskCompleted) error {
	t, err := r.waitingTask(e.Task)
	if err != nil {
		return err
	}
	token := t.token
	at := r.s.token(token)
	entered, o, err := r.keepUnseen(max(at.scope, at.inner), e.Variables, e.Unseen, r.d.fromWork(t.given))
	if err != nil {
		return err
	}
	if err := r.admitResults(token, entered); err != nil {
		return err
	}
	r.closeTask(e.Task)
	r.complete(token, entered, o)
	return nil
}
