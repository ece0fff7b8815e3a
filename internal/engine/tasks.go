package engine

import (
	"context"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// TaskFilter selects open tasks; empty fields do not restrict.
type TaskFilter struct {
	Process, Assignee, Group, User string
	Unassigned                     bool
}

// Tasks lists open tasks, oldest instance first. Each row shown was compared
// with its instance's sealed head.
func (e *Engine) Tasks(ctx context.Context, c Caller, f TaskFilter, p Page) (api.Tasks, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Tasks, error) { return e.tasksAs(ctx, c, f, p) })
}

func (e *Engine) tasksAs(ctx context.Context, c Caller, f TaskFilter, p Page) (api.Tasks, error) {
	if err := e.could(ctx, c, access.ReadTask, access.Task, ""); err != nil {
		return api.Tasks{}, err
	}
	reach, err := e.reach(ctx, c, access.ReadTask, access.Task)
	if err != nil {
		return api.Tasks{}, err
	}
	limit, err := p.limit()
	if err != nil {
		return api.Tasks{}, err
	}
	after, err := p.queue()
	if err != nil {
		return api.Tasks{}, err
	}
	items, next, err := filling[store.ListedTask, store.QueueCursor, api.Task]{
		after: after, text: queueText, at: func(r store.ListedTask) store.QueueCursor { return store.QueueCursor{Instance: r.Instance, ID: r.ID} },
		read: func(after store.QueueCursor, n int) ([]store.ListedTask, error) {
			return e.store.Tasks(ctx, c.Scope, store.TaskFilter{
				Process: f.Process, Assignee: f.Assignee, Group: f.Group, User: f.User, Unassigned: f.Unassigned,
				Reach: reach, After: after, Limit: n,
			})
		},
		look: func(r store.ListedTask) (api.Task, bool, error) { return e.listedTask(ctx, c, r) },
	}.fill(limit)
	if err != nil {
		return api.Tasks{}, err
	}
	return api.Tasks{Items: append([]api.Task{}, items...), Next: next}, nil
}

// listedTask looks at one; it is not seen when it was done since it was listed.
func (e *Engine) listedTask(ctx context.Context, c Caller, row store.ListedTask) (item api.Task, seen bool, err error) {
	err = e.useListed(ctx, c, row.Instance, func(l *Live) error {
		task, open := l.state.Task(row.ID)
		if !open || !equalTask(row.TaskRow, l.taskRow(task)) { // a step since, or a changed row
			if err := e.checkRows(ctx, l); err != nil {
				return err
			}
		}
		if open && e.sees(c, access.ReadTask, l.taskResource(task.ID)) {
			item, seen = l.taskSummary(task), true
		}
		return nil
	})
	return item, seen, err
}

func (l *Live) taskSummary(t process.OpenUserTask) api.Task {
	return api.Task{
		ID: refText(l.id, t.ID), Instance: textID(l.id), Process: l.head.process, Element: t.Element,
		Name: l.elementName(t.Element), Assignee: t.Assignee, Groups: t.Groups, Users: t.Users,
		Created: t.Created, Due: timeOrNil(t.Due), Signed: l.wantsSignature(t.Element),
	}
}

func (l *Live) elementName(id string) string {
	if i, ok := l.def.compiled.Element(id); ok {
		return l.def.compiled.Elements[i].Name
	}
	return ""
}

// Task returns an open task with its form, its data and the draft.
func (e *Engine) Task(ctx context.Context, c Caller, id string) (api.Task, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Task, error) { return e.taskAs(ctx, c, id) })
}

func (e *Engine) taskAs(ctx context.Context, c Caller, id string) (api.Task, error) {
	var item api.Task
	var told shown
	err := e.useTask(ctx, c, access.ReadTask, id, func(l *Live, n uint64) (err error) {
		task, ok := l.state.Task(n)
		if !ok {
			return noSuch("task", id)
		}
		item = l.taskSummary(task)
		told, err = e.fillTask(ctx, c, l, task, &item)
		return err
	})
	if err == nil {
		err = e.tellShown(ctx, c, dataShown, "user", told)
	}
	if err != nil {
		return api.Task{}, err
	}
	return item, nil
}

func (e *Engine) fillTask(ctx context.Context, c Caller, l *Live, t process.OpenUserTask, item *api.Task) (shown, error) {
	v, form, err := e.taskLens(ctx, c, l, t)
	if err != nil {
		return shown{}, err
	}
	variables, err := l.state.TaskVariables(t.ID, v.see)
	if err != nil {
		return shown{}, err
	}
	item.Variables, item.Erased = canon.EncodeJSON(variables), v.erasedOf(t.ID)
	path := process.DraftPath(t.ID)
	if draft, ok := l.state.TaskDraft(t.ID); ok && v.look(path, l.state.Label(path).Sensitive()) {
		item.Draft = canon.EncodeJSON(draft)
	}
	if form != nil {
		item.Form = form.data
	}
	item.Masked = v.mask()
	return v.told(t.Element), nil
}

func (e *Engine) taskForm(ctx context.Context, l *Live, t process.OpenUserTask) (*form, error) {
	i, ok := l.def.compiled.Element(t.Element)
	if !ok || l.def.compiled.Elements[i].User == nil {
		return nil, fault.New(fault.Internal, "engine: task of unknown element %q", t.Element)
	}
	return e.form(ctx, l.def, l.def.compiled.Elements[i].User.FormKey)
}

// useTask opens the instance of a task, decides and compares its routing rows first.
func (e *Engine) useTask(ctx context.Context, c Caller, action access.Action, id string, f func(*Live, uint64) error) error {
	if err := e.could(ctx, c, action, access.Task, id); err != nil {
		return err
	}
	ref, err := parseRef("task", id)
	if err != nil {
		return err
	}
	decided := false
	err = e.runner.Use(ctx, c.Scope, ref.Instance, func(l *Live) error {
		if err := e.mayOnTask(ctx, c, action, l, ref.Job); err != nil {
			return err
		}
		decided = true
		if err := e.checkRows(ctx, l); err != nil {
			return err
		}
		return f(l, ref.Job)
	})
	if !decided && fault.Is(err, fault.Sealed) {
		err = e.unlessUnseen(ctx, c, ref.Instance, err)
	}
	if fault.Is(err, fault.NotFound) {
		return noSuch("task", id)
	}
	return err
}

// mayOnTask decides about a task. Whose one was that is done is not known any more; who sees
// the instance, and so that it is done, is told that they come too late.
func (e *Engine) mayOnTask(ctx context.Context, c Caller, action access.Action, l *Live, n uint64) error {
	on := l.taskResource(n)
	if gone := l.state.TaskGone(n); gone != nil && action != access.ReadTask && !e.sees(c, action, on) && e.sees(c, access.ReadInstance, l.resource()) {
		return e.withState(&c, l, gone)
	}
	return e.mayOn(ctx, c, action, on, noSuch("task", on.ID))
}

// Claim makes somebody the task's assignee; "" is the caller.
func (e *Engine) Claim(ctx context.Context, c Caller, id, assignee, idem string) (api.Receipt, error) {
	if assignee == "" {
		assignee = c.Principal
	}
	return e.happenTask(ctx, c, claiming(c, assignee), id, "claim", idem, assignee, func(_ context.Context, _ *Live, n uint64) (happening, error) {
		return happening{event: process.TaskClaimed{Task: n, Assignee: assignee}, name: "task_claimed"}, nil
	})
}

// claiming returns the action of making somebody a task's assignee.
func claiming(c Caller, assignee string) access.Action {
	if assignee == c.Principal {
		return access.ClaimTask
	}
	return access.AssignTask
}

// Unclaim gives a task back.
func (e *Engine) Unclaim(ctx context.Context, c Caller, id, idem string) (api.Receipt, error) {
	return e.happenTask(ctx, c, access.ClaimTask, id, "unclaim", idem, nil, func(_ context.Context, _ *Live, n uint64) (happening, error) {
		return happening{event: process.TaskUnclaimed{Task: n}, name: "task_unclaimed"}, nil
	})
}

// SaveTask keeps a draft of what a person enters. A draft need not fit the form.
func (e *Engine) SaveTask(ctx context.Context, c Caller, id string, draft []byte, idem string) (api.Receipt, error) {
	parsed, err := parseVariables(draft)
	if err != nil {
		return api.Receipt{}, err
	}
	return e.happenTask(ctx, c, access.SaveTask, id, "save", idem, string(draft), func(_ context.Context, _ *Live, n uint64) (happening, error) {
		return happening{event: process.TaskSaved{Task: n, Draft: parsed}, name: "task_saved"}, nil
	})
}

// CompleteTask completes a task with what a person entered, which must fit the
// task's form.
func (e *Engine) CompleteTask(ctx context.Context, c Caller, id string, variables []byte, idem string) (api.Receipt, error) {
	return e.CompleteSignedTask(ctx, c, id, api.CompleteTaskRequest{Variables: variables}, idem)
}

// CompleteSignedTask is CompleteTask for what the person may have signed.
func (e *Engine) CompleteSignedTask(ctx context.Context, c Caller, id string, r api.CompleteTaskRequest, idem string) (api.Receipt, error) {
	entered, err := parseVariables(r.Variables)
	if err != nil {
		return api.Receipt{}, err
	}
	in := signedEntry{task: id, entered: entered, signed: r.Signed}
	var body any = string(r.Variables)
	if r.Signed != nil {
		known, err := e.knownPrincipal(ctx, c.Scope, c.Principal)
		if err != nil {
			return api.Receipt{}, err
		}
		in.keys, body = known.Passkeys(), r
	}
	return e.happenTask(ctx, c, access.CompleteTask, id, "complete", idem, body, func(ctx context.Context, l *Live, n uint64) (h happening, err error) {
		h = happening{
			event: process.TaskCompleted{Task: n, Variables: entered}, name: "task_completed",
			check: func(entered *canon.Context) error { return e.checkEntered(ctx, l, n, entered) },
		}
		h.signed, err = e.checkPerson(ctx, c, l, n, in)
		return h, err
	})
}

func (e *Engine) checkEntered(ctx context.Context, l *Live, n uint64, entered *canon.Context) error {
	task, ok := l.state.Task(n)
	if !ok {
		return nil // the step says so, and is recorded
	}
	form, err := e.taskForm(ctx, l, task)
	if err != nil {
		return err
	}
	return form.check(canon.EncodeJSON(entered))
}

// happenTask delivers what a person did to a task.
func (e *Engine) happenTask(ctx context.Context, c Caller, action access.Action, id, operation, idem string, body any,
	make func(context.Context, *Live, uint64) (happening, error)) (api.Receipt, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Receipt, error) {
		return e.happenTaskAs(ctx, c, action, id, operation, idem, body, make)
	})
}

func (e *Engine) happenTaskAs(ctx context.Context, c Caller, action access.Action, id, operation, idem string, body any,
	make func(context.Context, *Live, uint64) (happening, error)) (api.Receipt, error) {
	again, err := e.request(ctx, c, operation+" "+id, idem, body)
	if err != nil {
		return api.Receipt{}, err
	}
	var done api.Receipt
	decided := false
	err = e.useTask(ctx, c, action, id, func(l *Live, n uint64) error {
		decided = true
		lock := e.signers.changing.of(c.Scope)
		lock.RLock() // what is signed is durable before its key is revoked
		defer lock.RUnlock()
		h, err := make(ctx, l, n)
		if err != nil {
			return err
		}
		if task, open := l.state.Task(n); open && variablesOf(h.event) != nil {
			if h.through, _, err = e.taskLens(ctx, c, l, task); err != nil {
				return err
			}
		}
		h.act, h.by, h.actor, h.again = "user", &c, actorOf(c), again
		done, err = e.deliver(ctx, l, h)
		return err
	})
	if fault.Is(err, fault.NotFound) || !decided && fault.Is(err, fault.Conflict) { // a task that was done does not say any more who might do it
		if earlier, found, failed := e.repeated(ctx, c.Scope, again); found || failed != nil {
			return earlier, failed
		}
	}
	return done, err
}
