package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/underseal/underseal/api"
)

type tasksCmd struct {
	List    tasksListCmd    `cmd:"" default:"withargs" help:"List open tasks, those of the oldest instance first."`
	Show    tasksShowCmd    `cmd:"" help:"Show one task: its form, its variables, its draft."`
	Claim   tasksClaimCmd   `cmd:"" help:"Take a task, for yourself or somebody else."`
	Unclaim tasksUnclaimCmd `cmd:"" help:"Give a task back."`
	Save    tasksSaveCmd    `cmd:"" help:"Save a draft of a task's form without completing it."`
}

func (tasksCmd) Help() string {
	return withoutCommand("tasks") + `

    underseal tasks --group loan-officers
    underseal tasks claim ID
    underseal tasks show ID                        # its form, and the values that you may see
    underseal complete ID --data decision.json     # done by underseal complete`
}

// taskArg names the task a command is about.
type taskArg struct {
	Task string `arg:"" help:"Id of the task."`
	clientFlags
}

type tasksListCmd struct {
	Process    string `help:"Only of this process." placeholder:"ID"`
	Assignee   string `help:"Only claimed by this person." placeholder:"NAME"`
	Group      string `help:"Only for this group." placeholder:"NAME"`
	User       string `help:"Only for this person." placeholder:"NAME"`
	Unassigned bool   `help:"Only those that nobody has claimed."`
	IDs        bool   `name:"ids" help:"Print only the ids, one on each line."`
	pageFlags
	clientFlags
}

func (tasksListCmd) Help() string { return talksToServer }

func (c *tasksListCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	filter := api.TaskFilter{Process: c.Process, Assignee: c.Assignee, Group: c.Group, User: c.User, Unassigned: c.Unassigned}
	list, err := cl.Tasks(ctx, filter, c.page())
	if err != nil {
		return err
	}
	return e.result(list, func(w io.Writer) {
		if c.IDs {
			for _, t := range list.Items {
				fmt.Fprintln(w, t.ID)
			}
			return
		}
		var rows [][]string
		for _, t := range list.Items {
			rows = append(rows, []string{t.ID, t.Process, t.Element, t.Assignee, strings.Join(append(t.Groups, t.Users...), " "), stamp(t.Created), stampOf(t.Due), t.Instance})
		}
		table(w, []string{"TASK", "PROCESS", "ELEMENT", "ASSIGNEE", "FOR", "CREATED", "DUE", "INSTANCE"}, rows)
		more(w, list.Next)
	})
}

type tasksShowCmd struct {
	taskArg
	purposeFlag
}

func (tasksShowCmd) Help() string { return talksToServer }

func (c *tasksShowCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connectFor(c.purposeFlag)
	if err != nil {
		return err
	}
	t, err := cl.Task(ctx, c.Task)
	if err != nil {
		return err
	}
	return e.result(t, func(w io.Writer) { writeTask(w, t) })
}

func writeTask(w io.Writer, t api.Task) {
	pairs(w, "task", t.ID, "name", t.Name, "process", t.Process, "element", t.Element, "instance", t.Instance,
		"assignee", t.Assignee, "groups", strings.Join(t.Groups, " "), "users", strings.Join(t.Users, " "),
		"created", stamp(t.Created), "due", stampOf(t.Due))
	fmt.Fprintf(w, "variables\n%s\n", printable(indented(t.Variables, "  ")))
	writeMasked(w, t.Masked)
	if len(t.Draft) > 0 {
		fmt.Fprintf(w, "draft\n%s\n", printable(indented(t.Draft, "  ")))
	}
	if len(t.Form) > 0 {
		fmt.Fprintf(w, "form\n%s\n", printable(indented(t.Form, "  ")))
	}
}

type tasksClaimCmd struct {
	taskArg
	Assignee string `help:"Who takes it (default: you)." placeholder:"NAME"`
}

func (tasksClaimCmd) Help() string { return talksToServer }

func (c *tasksClaimCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	receipt, err := cl.Claim(ctx, c.Task, c.Assignee)
	if err != nil {
		return err
	}
	return e.done("claimed", receipt)
}

type tasksUnclaimCmd struct{ taskArg }

func (tasksUnclaimCmd) Help() string { return talksToServer }

func (c *tasksUnclaimCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	receipt, err := cl.Unclaim(ctx, c.Task)
	if err != nil {
		return err
	}
	return e.done("given back", receipt)
}

type tasksSaveCmd struct {
	taskArg
	variableFlags
}

func (tasksSaveCmd) Help() string { return talksToServer }

func (c *tasksSaveCmd) Run(ctx context.Context, e *env) error {
	draft, err := c.required(e)
	if err != nil {
		return err
	}
	cl, err := e.connect()
	if err != nil {
		return err
	}
	receipt, err := cl.SaveTask(ctx, c.Task, draft)
	if err != nil {
		return err
	}
	return e.done("saved", receipt)
}
