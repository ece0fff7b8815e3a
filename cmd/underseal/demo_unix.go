//go:build !windows

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/examples"
	"github.com/underseal/underseal/internal/fault"
)

// A demo walks through the loan example. It acts on the server through the public
// client alone, as the worker, as the loan officer and as people of two companies.
type demo struct {
	out    io.Writer
	to     string // directory of what an auditor gets
	server *demoServer
	client *client.Client

	big, small       api.Instance // decided by a person, decided by the process
	task             api.Task     // as the loan officer saw it
	before           storedHead   // of big, before the decision
	open             string       // id of an instance that waits for a decision
	evidence, policy string       // files that the auditor gets
}

// demonstrate runs the walk, then serves until ctx ends unless it runs once.
func demonstrate(ctx context.Context, e *env, once bool, to string) (err error) {
	out := e.stdout
	if e.json {
		out = e.stderr // the walk is for people; --json has no result to show
	}
	dir, err := os.MkdirTemp("", "underseal-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{out: out, to: to}
	d.say("Starting a server of its own in %s", dir)
	if d.server, err = startDemoServer(ctx, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.server.stop()) }()
	if err := d.walk(ctx); err != nil {
		return err
	}
	if once {
		d.say("Done. The server ends and the directory is removed.")
		return nil
	}
	d.pointAround()
	<-ctx.Done()
	d.say("Ending the server, removing the directory.")
	return nil
}

// walk is the demonstration, step by step; the first error ends it.
func (d *demo) walk(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		d.connect, d.deploy, d.start, d.work, d.keepHead, d.decide, d.showInstance, d.showSteps, d.proveSealed,
		d.exportEvidence, d.verifyEvidence, d.apply, d.showPeople, d.playAdministrator,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, "\n"+format+"\n", args...) }

func (d *demo) tell(format string, args ...any) { fmt.Fprintf(d.out, "  "+format+"\n", args...) }

// connect uses the server's setup link.
func (d *demo) connect(ctx context.Context) error {
	d.tell("it made its keys and the tenant main, and answers at %s", d.server.URL)
	config := client.Config{URL: d.server.URL}
	err := writeSecret(d.server.apiKey(), func() (string, error) {
		done, err := client.Setup(ctx, config, api.SetupRequest{Link: d.server.Made.Link, Name: "ann"})
		config.Key = done.Key.Text
		return config.Key, err
	})
	if err != nil {
		return err
	}
	if err := giveAllRights(ctx, config); err != nil {
		return err
	}
	d.tell("its setup link, which counts once, let Ann in, and she gave herself all rights")
	d.client, err = client.New(config)
	return err
}

func (d *demo) deploy(ctx context.Context) error {
	d.say("Deploying the loan process with its form (examples/loan)")
	var files []api.File
	for _, name := range []string{"loan.bpmn", "decide.schema.json"} {
		files = append(files, api.File{Name: name, Content: d.example(name)})
	}
	made, err := d.client.Deploy(ctx, files...)
	if err != nil {
		return err
	}
	for _, p := range made.Processes {
		d.tell("%s version %d, %s: every field is encrypted under the instance's own key,", p.ID, p.Version, p.Mode)
		d.tell("what is about the applicant under the applicant's key as well")
	}
	return nil
}

func (d *demo) example(name string) []byte {
	content, err := examples.Loan.ReadFile("loan/" + name)
	if err != nil {
		panic("underseal: the example is embedded: " + err.Error())
	}
	return content
}

func (d *demo) start(ctx context.Context) error {
	d.say("Two people apply for a loan")
	for _, each := range []struct {
		file string
		into *api.Instance
	}{{"application.json", &d.big}, {"small.json", &d.small}} {
		receipt, err := d.client.Start(ctx, api.StartRequest{Process: "loan", Variables: d.example(each.file)})
		if err != nil {
			return err
		}
		each.into.ID = receipt.Instance
		d.tell("%-18s instance %s, leaf %s..", each.file, receipt.Instance, receipt.Leaf[:16])
	}
	return nil
}

// work is the worker: it asks the credit bureau, which is a formula here.
func (d *demo) work(ctx context.Context) error {
	d.say("A worker does the credit-check jobs")
	return d.doJobs(ctx, 2)
}

// doJobs runs a worker until it has done that many jobs.
func (d *demo) doJobs(ctx context.Context, jobs int) error {
	ctx, enough := context.WithTimeout(ctx, 30*time.Second)
	defer enough()
	done := 0
	w := d.client.NewWorker(client.WorkerConfig{Name: "demo-worker", Concurrency: 1})
	w.Handle("credit-check", func(_ context.Context, job client.Job) (client.Result, error) {
		score, err := creditScore(job)
		if err != nil {
			return nil, err
		}
		d.tell("was given %s, answers score %d", strings.Join(names(job.Variables), ", "), score)
		if done++; done == jobs {
			enough()
		}
		return client.Result{"score": score}, nil
	})
	if err := w.Run(ctx); err != nil && done < jobs {
		return err
	}
	if done < jobs {
		return fault.New(fault.Unavailable, "the worker got %d of %d jobs within 30 s", done, jobs)
	}
	return nil
}

// creditScore stands for a credit bureau.
func creditScore(job client.Job) (int, error) {
	var in struct{ Income, Amount float64 }
	if err := job.Bind(&in); err != nil {
		return 0, err
	}
	if in.Amount > in.Income/4 {
		return 640, nil
	}
	return 720, nil
}

// decide is the loan officer.
func (d *demo) decide(ctx context.Context) error {
	d.say("A loan officer decides on the application that needs one")
	tasks, err := d.client.Tasks(ctx, api.TaskFilter{Group: "loan-officers"}, api.Page{})
	if err != nil {
		return err
	}
	if len(tasks.Items) != 1 || tasks.Items[0].Instance != d.big.ID {
		return fault.New(fault.Internal, "the loan officers have %d tasks, not one", len(tasks.Items))
	}
	if d.task, err = d.client.Task(ctx, tasks.Items[0].ID); err != nil {
		return err
	}
	d.tell("the list shows one task, %q for %s", d.task.Name, strings.Join(d.task.Groups, ", "))
	if _, err := d.client.Claim(ctx, d.task.ID, ""); err != nil {
		return err
	}
	_, err = d.client.CompleteTask(ctx, d.task.ID, json.RawMessage(`{"approved": "yes"}`))
	if !client.IsInvalid(err) {
		return fault.New(fault.Internal, "an answer that does not fit the form was accepted: %v", err)
	}
	d.tell("an answer that does not fit the form is refused:")
	for _, f := range describe(ctx, err).Findings {
		d.tell("  %s: %s", f.Place, f.Message)
	}
	receipt, err := d.client.CompleteTask(ctx, d.task.ID, d.example("decision.json"))
	if err != nil {
		return err
	}
	d.tell("the right one is step %d of the instance, leaf %s..", receipt.Seq, receipt.Leaf[:16])
	return d.reload(ctx)
}

// reload reads both instances and sees that they ended.
func (d *demo) reload(ctx context.Context) (err error) {
	for _, i := range []*api.Instance{&d.big, &d.small} {
		if *i, err = d.client.Instance(ctx, i.ID); err != nil {
			return err
		}
		if i.Status != "completed" {
			return fault.New(fault.Internal, "instance %s is %s", i.ID, i.Status)
		}
	}
	d.tell("both instances are completed; the small loan needed nobody")
	return nil
}

// showInstance puts what a person with the right to see it is shown beside what
// is in the database file.
func (d *demo) showInstance(ctx context.Context) error {
	stored, err := storedFields(ctx, d.server.data(), d.big.ID)
	if err != nil {
		return err
	}
	var rows [][2]string
	for _, f := range stored {
		clear, ok := valueAt(d.big.Variables, f.path)
		if !ok {
			continue // not a variable: who did it, from where
		}
		if f.value[0] != 0xF5 {
			return fault.New(fault.Integrity, "field %s is not sealed in the database", f.path)
		}
		if hasParts(stored, f.path) {
			clear = "(what else it has)" // its parts are fields of their own, in the rows below
		}
		rows = append(rows, [2]string{fmt.Sprintf("%-18s %s", f.path, clear), sealedBytes(f.value)})
	}
	if len(rows) == 0 {
		return fault.New(fault.Internal, "the database file shows no field of the instance")
	}
	d.say("The same fields, for a person and for who has the database file")
	twoColumns(d.out, [2]string{"the loan officer sees", "the database holds"}, rows)
	d.tell("F5 begins every sealed value and no text; then come version, suite and how many keys it takes")
	return nil
}

func (d *demo) showSteps(ctx context.Context) error {
	steps, err := d.client.Steps(ctx, d.big.ID, api.Page{})
	if err != nil {
		return err
	}
	d.say("Each step committed to a leaf, in the same transaction as its data")
	for _, s := range steps.Items {
		d.tell("step %d  %-16s %-14s leaf %s..", s.Seq, s.Event, s.Element, s.Leaf[:32])
	}
	return nil
}

// proveSealed looks for what the two people told us in every file of the server.
func (d *demo) proveSealed(context.Context) error {
	secrets := append(texts(d.big.Variables), texts(d.small.Variables)...)
	const known = "check_credit" // an element's id, which is not sealed
	found, err := scanFiles(d.server.dir, append(secrets, known))
	if err != nil {
		return err
	}
	d.say("Looking for what the applicants said in all files of the server")
	for _, s := range secrets {
		if found.hits[s] > 0 {
			return fault.New(fault.Integrity, "a sealed value stands %d times in clear in the server's files", found.hits[s])
		}
	}
	if found.hits[known] == 0 {
		return fault.New(fault.Internal, "the search does not even find the element id %s", known)
	}
	d.tell("%d files, %d bytes (%s)", len(found.files), found.size, strings.Join(found.files, ", "))
	d.tell("%s: 0 times", strings.Join(secrets, ", "))
	d.tell("%s, an element's id, which is not sealed: %d times, so the search does find", known, found.hits[known])
	return nil
}

// pointAround says where to look next.
func (d *demo) pointAround() {
	binary, err := os.Executable()
	if err != nil {
		binary = "underseal"
	}
	d.say("The server goes on until Ctrl-C. Where to look:")
	pairs(prefixed{d.out}, "API", d.server.URL+"/openapi.json", "metrics", d.server.Metrics,
		"API key", d.server.apiKey(), "database", filepath.Join(d.server.data(), "data.db"), "log", filepath.Join(d.server.dir, "server.log"))
	d.say("To try in another terminal:")
	d.tell("export UNDERSEAL_SERVER=%s UNDERSEAL_API_KEY_FILE=%s", d.server.URL, d.server.apiKey())
	for _, command := range []string{"instances", "instances show " + d.big.ID, "instances steps " + d.big.ID, "start loan --data examples/loan/application.json"} {
		d.tell("%s %s", binary, command)
	}
}

// prefixed indents every line that is written whole.
type prefixed struct{ w io.Writer }

func (p prefixed) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		if _, err := io.WriteString(p.w, "  "+line); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}
