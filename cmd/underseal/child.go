package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// Bounds of what a job's command may answer.
const (
	maxResult       = 4 << 20 // bytes of stdout
	maxMessage      = 2000    // bytes of the failure message
	maxMessageLines = 10
	exitBPMNError   = 3
)

// childInput is what a job's command reads from stdin. The lease is left out:
// only this process reports the result.
type childInput struct {
	ID        string            `json:"id"`
	Instance  string            `json:"instance"`
	Process   string            `json:"process"`
	Element   string            `json:"element"`
	Type      string            `json:"type"`
	Retries   int               `json:"retries"`
	Headers   map[string]string `json:"headers"`
	Variables json.RawMessage   `json:"variables"`
}

// childError is what a command that exits with 3 writes to stdout.
type childError struct {
	Code      string         `json:"code"`
	Message   string         `json:"message"`
	Variables childVariables `json:"variables"`
}

// childVariables are a JSON object, each value as the bytes that the command wrote,
// so every digit too.
type childVariables map[string]json.RawMessage

// childAnswer is the outcome of a command that did not fail: either variables or
// a BPMN error.
type childAnswer struct {
	variables childVariables
	thrown    *childError
}

// runChild runs the command for one job. Data reach it through stdin alone:
// arguments and environment can be read by other processes. An error is a failed
// try, its text what the incident will say; but a command that cannot even be
// started stops the worker, since no other job would fare better.
func runChild(ctx context.Context, command, environ []string, job api.Job) (childAnswer, error) {
	input, err := json.Marshal(childInput{job.ID, job.Instance, job.Process, job.Element, job.Type, job.Retries, job.Headers, job.Variables})
	if err != nil {
		return childAnswer{}, fmt.Errorf("encode the job: %w", err)
	}
	stdout, stderr := &headBuffer{limit: maxResult}, &tailBuffer{limit: maxMessage}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), stdout, stderr
	cmd.Env = environ
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return childAnswer{}, client.Stop{Err: cannotRun(command[0], err)}
	}
	return childOutcome(cmd.Wait(), stdout, stderr)
}

// cannotRun says why a command cannot be started.
func cannotRun(command string, err error) error {
	var lookup *exec.Error
	if errors.As(err, &lookup) {
		err = lookup.Err
	}
	var call *fs.PathError
	if errors.As(err, &call) {
		err = call.Err
	}
	why := err.Error()
	if errors.Is(err, exec.ErrNotFound) {
		why = "not found in PATH"
	}
	return fault.New(fault.Invalid, "command %q cannot be run: %s", command, why).WithCode("command_not_runnable")
}

// failedTry is why a try failed. What it says is kept with the instance, what it
// logs is not about the data.
type failedTry struct{ said, logged string }

func (f *failedTry) Error() string        { return f.said }
func (f *failedTry) LogValue() slog.Value { return slog.StringValue(f.logged) }

// failed is a try that failed for a reason without values.
func failed(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	return &failedTry{text, text}
}

func childOutcome(err error, stdout *headBuffer, stderr *tailBuffer) (childAnswer, error) {
	var exit *exec.ExitError
	switch {
	case stdout.full:
		return childAnswer{}, failed("the command wrote more than %d bytes to stdout", maxResult)
	case err == nil:
		variables, err := object(stdout.data.Bytes())
		return childAnswer{variables: variables}, err
	case errors.As(err, &exit) && exit.ExitCode() == exitBPMNError:
		return thrown(stdout.data.Bytes())
	}
	return childAnswer{}, childFailure(err, stderr.text())
}

// object checks that a command's answer is a JSON object; nothing at all is an
// empty one. The answer itself is not quoted, since it may hold sealed values.
func object(data []byte) (childVariables, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return nil, nil
	}
	var variables childVariables
	if data[0] != '{' || json.Unmarshal(data, &variables) != nil {
		return nil, failed("the command's stdout is not one JSON object")
	}
	return variables, strict(data)
}

// strict refuses what the server would, before anything of it is lost on the way
// there: of a name that is there twice, encoding/json takes the last value.
func strict(data []byte) error {
	err := canon.CheckJSON(data)
	if err == nil {
		return nil
	}
	var f *fault.Error
	errors.As(err, &f)
	return failed("the command's stdout is no JSON that is accepted: %s: %s", f.Details[0].Place, f.Details[0].Message)
}

func thrown(data []byte) (childAnswer, error) {
	var e childError
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if !json.Valid(data) || dec.Decode(&e) != nil || e.Code == "" {
		return childAnswer{}, failed(`the command exited with 3 but its stdout is not {"code": .., "message": .., "variables": {..}}`)
	}
	return childAnswer{thrown: &e}, strict(data)
}

func childFailure(err error, said string) error {
	logged := err.Error() // "exit status 1", "signal: killed"
	if said == "" {
		said = "the command failed: " + logged
	}
	return &failedTry{said, logged}
}

// childEnviron is the environment of a command: ours without the variables that
// are or name our own secrets.
func childEnviron(environ []string, s *settings) []string {
	secret := map[string]bool{}
	for _, reference := range s.references() {
		if name, ok := strings.CutPrefix(reference, "env:"); ok {
			secret[name] = true
		}
	}
	kept := []string{}
	for _, line := range environ {
		name, _, _ := strings.Cut(line, "=")
		if !secret[name] && !strings.HasPrefix(name, "UNDERSEAL_") {
			kept = append(kept, line)
		}
	}
	return kept
}

// headBuffer keeps the first limit bytes and remembers that there were more.
type headBuffer struct {
	data  bytes.Buffer
	limit int
	full  bool
}

func (b *headBuffer) Write(p []byte) (int, error) {
	room := b.limit - b.data.Len()
	b.full = b.full || len(p) > room
	b.data.Write(p[:min(len(p), room)])
	return len(p), nil
}

// tailBuffer keeps the last limit bytes.
type tailBuffer struct {
	data  []byte
	limit int
}

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.data = append(b.data, p...)
	if len(b.data) > b.limit {
		b.data = append([]byte(nil), b.data[len(b.data)-b.limit:]...)
	}
	return len(p), nil
}

// text is the last lines, as valid UTF-8.
func (b *tailBuffer) text() string {
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(b.data), "\uFFFD")), "\n")
	if len(lines) > maxMessageLines {
		lines = lines[len(lines)-maxMessageLines:]
	}
	return strings.Join(lines, "\n")
}
