package engine_test

import (
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// TestTextIsNeverSQL asks with text that would be more than a value if a statement were
// made of it.
func TestTextIsNeverSQL(t *testing.T) { onBoth(t, textIsNeverSQL) }

func textIsNeverSQL(t *testing.T, env *testenv.Env) {
	ctx, e := t.Context(), env.Engine
	env.Deploy("all.bpmn", everything)
	task := env.Task(env.Start("everything", `{"note": "a"}`))
	for _, text := range []string{`' OR '1'='1`, `" OR "1"="1`, `'; DELETE FROM tasks; --`, `') OR 1=1 --`, `\' OR 1=1 --`, `%`, `_%`, `$1`, `?`, `x'00'`} {
		for name, f := range map[string]engine.TaskFilter{"process": {Process: text}, "assignee": {Assignee: text}, "group": {Group: text}, "user": {User: text}} {
			if list, err := e.Tasks(ctx, env.Ann, f, pageOf(0)); err != nil || len(list.Items) > 0 {
				t.Errorf("tasks by the %s %q: %+v, %v, want none", name, text, list, err)
			}
		}
		if list, err := e.Instances(ctx, env.Ann, engine.InstanceFilter{Process: text}, pageOf(0)); err != nil || len(list.Items) > 0 {
			t.Errorf("instances of the process %q: %+v, %v, want none", text, list, err)
		}
		if jobs, err := e.ActivateJobs(ctx, env.Ann, api.ActivateRequest{Type: text, Worker: text}); err != nil || len(jobs.Items) > 0 {
			t.Errorf("jobs of the type %q: %+v, %v, want none", text, jobs, err)
		}
		if found, err := e.Audit(ctx, env.Ann, api.AuditQuery{AuditFilter: api.AuditFilter{Kind: text, Principal: text, Object: text, Process: text}}); err != nil || len(found.Items) > 0 {
			t.Errorf("entries by %q: %+v, %v, want none", text, found, err)
		}
		started, err := e.Start(ctx, env.Ann, api.StartRequest{Process: "everything", BusinessKey: text, Variables: []byte(`{}`)}, text)
		if err != nil {
			t.Fatal(err)
		}
		list, err := e.Instances(ctx, env.Ann, engine.InstanceFilter{BusinessKey: text}, pageOf(0))
		if err != nil || len(list.Items) != 1 || list.Items[0].ID != started.Instance {
			t.Errorf("instances by the business key %q: %+v, %v, want the one that has it", text, list, err)
		}
	}
	if _, err := e.Start(ctx, env.Ann, api.StartRequest{Process: "every\x00thing"}, ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("a process whose id has a NUL: %v, want NotFound", err)
	}
	if now := env.Task(task.Instance); now.ID != task.ID {
		t.Errorf("the task is %+v, want %s as before", now, task.ID)
	}
}
