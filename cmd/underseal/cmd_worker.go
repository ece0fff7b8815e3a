package main

import (
	"context"
	"encoding/json"
	"os"
	"sync/atomic"

	"github.com/underseal/underseal/client"
)

type workerCmd struct {
	Type        string   `arg:"" help:"Type of the jobs."`
	Command     []string `arg:"" passthrough:"partial" help:"The command and its arguments, after --."`
	Jobs        int      `help:"End after this many jobs, done one after the other (default: go on)." placeholder:"N"`
	Concurrency int      `help:"How many commands run at once." default:"4" placeholder:"N"`
	Name        string   `help:"A name shown to administrators (default: the machine's)." placeholder:"TEXT"`
	LogLevel    string   `conf:"log_level" help:"${doc_log_level}" placeholder:"LEVEL"`
	LogFormat   string   `conf:"log_format" help:"${doc_log_format}" placeholder:"FORMAT"`
	clientFlags
}

func (workerCmd) Help() string {
	return talksToServer + ` Runs the command once for each job.

The job is JSON on its stdin: id, instance, process, element, type, retries, headers, variables. Nothing of it is in the arguments or the environment, and no variable UNDERSEAL_* reaches the command.

Exit code 0: done, stdout is a JSON object with the result's variables, or empty. Exit code 3: a BPMN error, stdout is {"code": .., "message": .., "variables": {..}}. Any other: this try failed, the last lines of stderr are the message.

SIGTERM and Ctrl-C end it in order: no new jobs, running commands may finish.`
}

func (c *workerCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	command := c.Command
	if command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 || c.Jobs < 0 || c.Concurrency < 1 {
		return &usage{text: "name the command after --, and positive counts", command: "underseal worker"}
	}
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	log := e.logger()
	w := cl.NewWorker(c.config(e))
	environ := childEnviron(os.Environ(), e.settings)
	var done atomic.Int64
	w.Handle(c.Type, func(ctx context.Context, job client.Job) (client.Result, error) {
		answer, err := runChild(ctx, command, environ, job.Job)
		log.Info("job", "id", job.ID, "outcome", outcomeName(answer, err))
		if done.Add(1) == int64(c.Jobs) {
			enough()
		}
		return answer.result(err)
	})
	return w.Run(ctx)
}

func (c *workerCmd) config(e *env) client.WorkerConfig {
	name := c.Name
	if name == "" {
		name, _ = os.Hostname() // an empty name is refused by the worker, which says so
	}
	config := client.WorkerConfig{Name: name, Concurrency: c.Concurrency, Log: e.logger()}
	if c.Jobs > 0 {
		config.Concurrency, config.MaxJobs = 1, 1 // leases no job that it will not do
	}
	return config
}

func outcomeName(answer childAnswer, err error) string {
	switch {
	case err != nil:
		return "failed"
	case answer.thrown != nil:
		return "BPMN error" // its code is the command's own text, which may hold data
	}
	return "done"
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

// asResult keeps every value as the bytes the command wrote, so every digit too.
func asResult(object json.RawMessage) client.Result {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil || len(fields) == 0 {
		return nil
	}
	result := client.Result{}
	for name, value := range fields {
		result[name] = value
	}
	return result
}
