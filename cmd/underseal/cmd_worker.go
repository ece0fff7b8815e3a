package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"

	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

type workerCmd struct {
	Type        string   `arg:"" help:"Type of the jobs."`
	Command     []string `arg:"" passthrough:"partial" help:"The command and its arguments, after --."`
	Jobs        int      `help:"End after this many jobs, done one after the other (default: go on)." placeholder:"N"`
	Concurrency int      `help:"How many commands run at once." default:"4" placeholder:"N"`
	SignWith    string   `help:"The worker's key: sign every result, so that nobody else can have made it (underseal signers keygen)." placeholder:"FILE"`
	Name        string   `help:"A name shown to administrators (default: the machine's)." placeholder:"TEXT"`
	LogLevel    string   `conf:"log_level" help:"${doc_log_level}" placeholder:"LEVEL"`
	LogFormat   string   `conf:"log_format" help:"${doc_log_format}" placeholder:"FORMAT"`
	clientFlags
}

func (workerCmd) Help() string {
	return talksToServer + ` Runs the command once for each job.

The job is JSON on its stdin: id, instance, process, element, type, retries, headers, variables. Nothing of it is in the arguments or the environment, and no variable UNDERSEAL_* reaches the command.

Exit code 0: done, stdout is a JSON object with the result's variables, or empty. Exit code 3: a BPMN error, stdout is {"code": .., "message": .., "variables": {..}}. Any other: this try failed, the last lines of stderr are the message.

A command that cannot be run ends the worker, and costs no job a try. With --jobs the exit code is 12 when the last job failed.

A worker belongs to a service, by a key for jobs alone: underseal users invite NAME --kind service --role Executor; underseal apikeys create NAME FILE --scope 'job:*'. With your own key it acts as you, and what it calls counts for your limit (limit_user).

SIGTERM and Ctrl-C end it in order: no new jobs, running commands may finish.`
}

func (c *workerCmd) Run(ctx context.Context, e *env) error {
	command := c.Command
	if command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 || c.Jobs < 0 || c.Concurrency < 1 {
		return &usage{text: "name the command after --, and positive counts", command: "underseal worker"}
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		return cannotRun(command[0], err)
	}
	cl, err := e.connect()
	if err != nil {
		return err
	}
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	log := e.logger()
	environ := childEnviron(os.Environ(), e.settings)
	t := &tally{jobs: c.Jobs, enough: enough}
	config := c.config(log, t)
	if c.SignWith != "" {
		if config.Key, err = signingKey(c.SignWith); err != nil {
			return err
		}
	}
	w := cl.NewWorker(config)
	w.Handle(c.Type, func(ctx context.Context, job client.Job) (client.Result, error) {
		defer t.run()()
		answer, err := runChild(ctx, command, environ, job.Job)
		return answer.result(err)
	})
	log.Info(fmt.Sprintf("waiting for %s jobs at %s", c.Type, e.settings.Server))
	defer context.AfterFunc(ctx, func() { t.farewell(log) })()
	if err := w.Run(ctx); err != nil {
		return err
	}
	return t.failed()
}

func (c *workerCmd) config(log *slog.Logger, t *tally) client.WorkerConfig {
	name := c.Name
	if name == "" {
		name, _ = os.Hostname() // an empty name is refused by the worker, which says so
	}
	config := client.WorkerConfig{Name: name, Concurrency: c.Concurrency, Log: log, Reported: t.reported}
	if c.Jobs > 0 {
		config.Concurrency, config.MaxJobs = 1, 1 // leases no job that it will not do
	}
	return config
}

// tally counts a worker's jobs.
type tally struct {
	jobs   int // to end after; 0: never
	enough func()

	mu      sync.Mutex // guards what follows
	running int
	done    int
	last    error // what became of the last job
}

// run counts a command that runs, until the function that it returns is called.
func (t *tally) run() func() {
	t.add(1)
	return func() { t.add(-1) }
}

func (t *tally) add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running += n
}

// reported takes note of a job that is done with, and ends the worker after the last.
func (t *tally) reported(_ client.Job, outcome error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
	t.last = outcome
	if t.done == t.jobs {
		t.enough()
	}
}

// farewell says what a worker that was asked to end still waits for.
func (t *tally) farewell(log *slog.Logger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running > 0 {
		log.Info("no new jobs; waiting for " + counted(t.running, "running command") + "; another signal ends at once")
	}
}

// failed is an error when a worker for a number of jobs ended with a failed one.
// A BPMN error is an outcome that the model foresees.
func (t *tally) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var thrown client.BPMNError
	if t.jobs == 0 || t.last == nil || errors.As(t.last, &thrown) {
		return nil
	}
	return fault.New(fault.Conflict, "the last job failed").WithCode("job_failed").
		WithHint("the line above says how; underseal incidents lists jobs without a try left")
}

// result is the answer as the client's worker reports it.
func (a childAnswer) result(err error) (client.Result, error) {
	switch {
	case err != nil:
		return nil, err
	case a.thrown != nil:
		return nil, client.BPMNError{Code: a.thrown.Code, Message: a.thrown.Message, Variables: asResult(a.thrown.Variables)}
	}
	return asResult(a.variables), nil
}

// asResult is nil for no variables.
func asResult(variables childVariables) client.Result {
	if len(variables) == 0 {
		return nil
	}
	result := client.Result{}
	for name, value := range variables {
		result[name] = value
	}
	return result
}
