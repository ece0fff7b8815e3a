package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/underseal/underseal/api"
)

type instancesCmd struct {
	List   instancesListCmd   `cmd:"" default:"withargs" help:"List instances, newest first."`
	Show   instancesShowCmd   `cmd:"" help:"Show one instance: where it is, its variables, how each field is kept."`
	Steps  instancesStepsCmd  `cmd:"" help:"List the steps of an instance with their leaf hashes."`
	Export instancesExportCmd `cmd:"" help:"Write all data of an instance as JSON."`
	Cancel instancesCancelCmd `cmd:"" help:"Cancel an instance."`
	Set    instancesSetCmd    `cmd:"" help:"Change variables of a running instance."`
}

func (instancesCmd) Help() string {
	return withoutCommand("instances") + `

    underseal instances --process loan --status active
    underseal instances show ID --purpose "call of Tuesday"    # in clear what a grant to reveal is for
    underseal instances steps ID                               # what each step wrote, and its leaf in the log
    underseal instances cancel ID                              # takes a grant to manage`
}

// instanceArg names the instance a command is about.
type instanceArg struct {
	Instance string `arg:"" help:"Id of the instance."`
	clientFlags
}

type instancesListCmd struct {
	Process     string `help:"Only of this process." placeholder:"ID"`
	Status      string `help:"Only active, completed, canceled or erased ones." placeholder:"STATUS"`
	BusinessKey string `help:"Only with this business key." placeholder:"TEXT"`
	Field       string `help:"Only where this searchable field has the value of --value or --value-file." placeholder:"PATH"`
	Value       string `help:"The value of --field. Others on this machine can see it." placeholder:"TEXT"`
	ValueFile   string `help:"The value of --field, in a file or on stdin (-)." placeholder:"FILE|-"`
	pageFlags
	purposeFlag
	clientFlags
}

func (instancesListCmd) Help() string { return talksToServer }

func (c *instancesListCmd) Run(ctx context.Context, e *env) error {
	value, err := c.value(e)
	if err != nil {
		return err
	}
	cl, err := e.connectFor(c.purposeFlag)
	if err != nil {
		return err
	}
	list, err := cl.Instances(ctx, api.InstanceFilter{
		Process: c.Process, Status: c.Status, BusinessKey: c.BusinessKey, Field: c.Field, Value: value,
	}, c.page())
	if err != nil {
		return err
	}
	return e.result(list, func(w io.Writer) {
		var rows [][]string
		for _, i := range list.Items {
			rows = append(rows, []string{i.ID, i.Process, strconv.Itoa(i.Version), i.Mode, i.Status, stamp(i.Started), stampOf(i.Ended), strconv.Itoa(i.Incidents)})
		}
		table(w, []string{"INSTANCE", "PROCESS", "VERSION", "MODE", "STATUS", "STARTED", "ENDED", "INCIDENTS"}, rows)
		more(w, list.Next)
	})
}

func (c *instancesListCmd) value(e *env) (string, error) {
	if c.ValueFile == "" {
		return c.Value, nil
	}
	data, err := e.readInput(c.ValueFile)
	return strings.TrimRight(string(data), "\r\n"), err
}

type instancesShowCmd struct {
	instanceArg
	purposeFlag
}

func (instancesShowCmd) Help() string { return talksToServer }

func (c *instancesShowCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connectFor(c.purposeFlag)
	if err != nil {
		return err
	}
	i, err := cl.Instance(ctx, c.Instance)
	if err != nil {
		return err
	}
	return e.result(i, func(w io.Writer) { writeInstance(w, i) })
}

func writeInstance(w io.Writer, i api.Instance) {
	pairs(w, "instance", i.ID, "process", fmt.Sprintf("%s version %d", i.Process, i.Version), "mode", i.Mode,
		"status", i.Status, "started", stamp(i.Started), "ended", stampOf(i.Ended), "business key", i.BusinessKey,
		"steps", strconv.FormatUint(i.Seq, 10))
	for _, at := range i.Waiting {
		pairs(w, "waits at", fmt.Sprintf("%s for %s (%s)", at.Element, withArticle(at.For), at.ID))
	}
	fmt.Fprintf(w, "variables\n%s\n", printable(indented(i.Variables, "  ")))
	writeMasked(w, i.Masked)
	var rows [][]string
	for _, f := range i.Fields {
		rows = append(rows, []string{f.Path, f.Class, restText(f, i.Erased), strconv.FormatUint(f.Seq, 10), strings.Join(f.Subjects, " ")})
	}
	table(w, []string{"FIELD", "CLASS", "AT REST", "STEP", "SUBJECTS"}, rows)
	writeFiles(w, i.Files)
}

// writeMasked says what was left out, and is silent if nothing was.
func writeMasked(w io.Writer, paths []string) {
	if len(paths) > 0 {
		pairs(w, "masked", strings.Join(paths, " "))
	}
}

// writeFiles lists an instance's files, if it has any.
func writeFiles(w io.Writer, files []api.FileInfo) {
	if len(files) == 0 {
		return
	}
	var rows [][]string
	for _, f := range files {
		size := strconv.FormatInt(f.Size, 10)
		if f.Erased {
			size = "erased"
		}
		rows = append(rows, []string{f.File, f.Name, f.Type, size, f.Class, strings.Join(f.Subjects, " ")})
	}
	table(w, []string{"FILE", "NAME", "TYPE", "SIZE", "CLASS", "SUBJECTS"}, rows)
}

// restText says how a field is kept at rest.
func restText(f api.FieldInfo, erased []string) string {
	switch {
	case slices.Contains(erased, f.Path):
		return "erased"
	case f.Sealed:
		return "sealed"
	}
	return "clear"
}

type instancesStepsCmd struct {
	instanceArg
	pageFlags
}

func (instancesStepsCmd) Help() string {
	return talksToServer + " ABOUT is the id of the task, job or whatever the step was about: underseal evidence takes it as --task or --job."
}

func (c *instancesStepsCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	list, err := cl.Steps(ctx, c.Instance, c.page())
	if err != nil {
		return err
	}
	return e.result(list, func(w io.Writer) {
		writeSteps(w, list.Items)
		more(w, list.Next)
	})
}

func writeSteps(w io.Writer, steps []api.Step) {
	var rows [][]string
	for _, s := range steps {
		event := s.Event
		if s.Rejected != "" {
			event += " (rejected: " + s.Rejected + ")"
		}
		rows = append(rows, []string{strconv.FormatUint(s.Seq, 10), stamp(s.At), event, s.Element, s.About, s.Actor, strings.Join(s.Fields, " "), s.Leaf})
	}
	table(w, []string{"STEP", "AT", "EVENT", "ELEMENT", "ABOUT", "BY", "FIELDS WRITTEN", "LEAF"}, rows)
}

type instancesExportCmd struct {
	instanceArg
	purposeFlag
}

func (instancesExportCmd) Help() string {
	return talksToServer + " Always writes JSON: what the instance holds now, and what each step wrote, so drafts, messages of incidents and overwritten values too. Bytes of files are got by underseal files get."
}

func (c *instancesExportCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connectFor(c.purposeFlag)
	if err != nil {
		return err
	}
	all, err := cl.Export(ctx, c.Instance)
	if err != nil {
		return err
	}
	return writeJSON(e.stdout, all, "  ")
}

type instancesCancelCmd struct{ instanceArg }

func (instancesCancelCmd) Help() string { return talksToServer }

func (c *instancesCancelCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	receipt, err := cl.Cancel(ctx, c.Instance)
	if err != nil {
		return err
	}
	return e.done("canceled", receipt)
}

type instancesSetCmd struct {
	instanceArg
	variableFlags
	purposeFlag
}

func (instancesSetCmd) Help() string {
	return talksToServer + " A variable that is an object is replaced as a whole."
}

func (c *instancesSetCmd) Run(ctx context.Context, e *env) error {
	if err := c.wholeVariables(); err != nil {
		return err
	}
	variables, err := c.required(e)
	if err != nil {
		return err
	}
	cl, err := e.connectFor(c.purposeFlag)
	if err != nil {
		return err
	}
	receipt, err := cl.SetVariables(ctx, c.Instance, variables)
	if err != nil {
		return err
	}
	return e.done("changed", receipt)
}

// required is variables that must not be missing.
func (f variableFlags) required(e *env) (json.RawMessage, error) {
	variables, err := f.variables(e)
	if err == nil && variables == nil {
		return nil, &usage{text: "name the variables with --var or --data"}
	}
	return variables, err
}
