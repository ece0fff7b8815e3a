package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/underseal/underseal/api"
)

// Job is work that this worker has leased.
type Job struct {
	api.Job
}

// Bind fills v, a pointer to a struct or map, from the job's variables, as
// json.Unmarshal does; but a number that goes into an interface becomes a
// json.Number and so keeps every digit.
func (j Job) Bind(v any) error {
	d := json.NewDecoder(bytes.NewReader(j.Variables))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("variables of job %s: %w", j.ID, err)
	}
	return nil
}

// Result are the variables that a job gives back; nil is none.
type Result map[string]any

// BPMNError is returned by a handler to throw a BPMN error into the process.
type BPMNError struct {
	Code      string // the errorCode that a boundary event of the model catches
	Message   string
	Variables Result
}

// Error says which error is thrown.
func (e BPMNError) Error() string { return fmt.Sprintf("BPMN error %q: %s", e.Code, e.Message) }

// Fail is returned by a handler that knows how its job should be tried again.
type Fail struct {
	// Retries is how many tries are left; 0 makes an incident at once.
	Retries int
	// Backoff is the pause before the next try. 0 leaves it to the server (one
	// second, doubled each time); a negative one is none at all.
	Backoff time.Duration
	Message string
}

// Error returns the message.
func (f Fail) Error() string { return f.Message }

// Stop is returned by a handler that cannot do its work, whatever the job: its
// program is gone, its credentials are refused. The job is not reported, so no
// try of it is lost, and falls to another worker when its lease ends. The worker
// ends in order and Run returns the error.
type Stop struct {
	Err error // required
}

// Error returns the text of the cause.
func (s Stop) Error() string { return s.Err.Error() }

// Unwrap returns the cause.
func (s Stop) Unwrap() error { return s.Err }

// Causes of the end of a handler's context.
var (
	// ErrLeaseLost means that the job is no longer this worker's: it was done,
	// canceled, or leased to another.
	ErrLeaseLost = errors.New("the lease of the job is lost")
	// ErrStopped means that the time to drain is over.
	ErrStopped = errors.New("the worker has stopped")
)

// carryOut runs the handler of one job and reports what became of it.
func (p *poller) carryOut(job api.Job) {
	defer p.release(1)
	ctx, cancel := context.WithCancelCause(p.handling)
	defer cancel(nil)
	defer p.keepLease(ctx, cancel, job)()
	select {
	case p.running <- struct{}{}:
	case <-ctx.Done():
		return
	}
	result, err := p.handle(ctx, Job{job})
	<-p.running
	var stop Stop
	switch {
	case ctx.Err() != nil:
	case as(err, &stop):
		p.stop(stop.Err)
	default:
		outcome := p.report(ctx, job, result, err)
		if isKeyRefused(outcome) { // as will be every other report
			p.stop(outcome)
		}
		p.reported(job, outcome)
	}
}

// handle calls the handler and makes an error of its panic.
func (p *poller) handle(ctx context.Context, job Job) (result Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the handler panicked: %v", v)
			p.worker.config.Log.Error("handler panicked", "type", p.jobType, "job", job.ID,
				"what", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
		}
	}()
	return p.handler(ctx, job)
}

// keepLease lengthens the lease whenever half of it is over, until the function
// that it returns is called. It cancels the job when the lease is gone.
func (p *poller) keepLease(ctx context.Context, cancel context.CancelCauseFunc, job api.Job) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.extendUntil(ctx, job); err != nil {
			p.worker.config.Log.Warn("lease lost", "type", p.jobType, "job", job.ID, "error", err.Error())
			cancel(ErrLeaseLost)
		}
	}()
	return func() { cancel(nil); <-done }
}

// extendUntil returns nil when ctx ends, and why when the lease ends before.
// A failed try is repeated as long as the lease may still be held.
func (p *poller) extendUntil(ctx context.Context, job api.Job) error {
	lease := p.worker.config.Lease
	ends, timer := time.Now().Add(lease), time.NewTimer(lease/2)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		asked := time.Now()
		err := p.extend(ctx, job)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			ends = asked.Add(lease)
			timer.Reset(lease / 2)
		case permanent(err) || !time.Now().Before(ends):
			return err
		default:
			timer.Reset(lease / 20)
		}
	}
}

func (p *poller) extend(ctx context.Context, job api.Job) error {
	r := send("POST", "/v1/jobs/{job}/extend", api.ExtendJobRequest{
		Lease: job.Lease, LeaseMS: int(p.worker.config.Lease.Milliseconds()),
	}, job.ID)
	r.tries = 1
	_, err := call[api.Lease](ctx, p.worker.client, r)
	return err
}

// report tells the server what became of a job, as long as the lease is held:
// the work is done, and giving up would have it done again. A result that the
// server will never take makes the try a failed one, so that it shows. It returns
// what became of the job.
func (p *poller) report(ctx context.Context, job api.Job, result Result, outcome error) error {
	r, err := outcomeRequest(job, result, outcome)
	if err == nil {
		r, err = p.worker.signRequest(job, r)
	}
	if err == nil {
		err = p.deliver(ctx, r)
	}
	if IsInvalid(err) || isEncoding(err) || isSigning(err) {
		outcome = &notAccepted{err}
		r = failRequest(job, api.FailJobRequest{Message: outcome.Error()})
		if again, err := p.worker.signRequest(job, r); err == nil {
			r = again // else the failure itself is reported without a signature
		}
		err = p.deliver(ctx, r)
	}
	if err != nil {
		return &notReported{err}
	}
	return outcome
}

// notAccepted is a result that the server refused.
type notAccepted struct{ err error }

func (e *notAccepted) Error() string        { return "the result was not accepted: " + e.err.Error() }
func (e *notAccepted) Unwrap() error        { return e.err }
func (e *notAccepted) LogValue() slog.Value { return slog.StringValue(e.Error()) }

// notReported is an outcome that the server does not know.
type notReported struct{ err error }

func (e *notReported) Error() string        { return "the outcome was not reported: " + e.err.Error() }
func (e *notReported) Unwrap() error        { return e.err }
func (e *notReported) LogValue() slog.Value { return slog.StringValue(e.Error()) }

// reported logs what became of a job, in one line, and tells whoever wants to know.
func (p *poller) reported(job api.Job, outcome error) {
	log := p.worker.config.Log.With("type", p.jobType, "job", job.ID, "element", job.Element)
	var thrown BPMNError
	var lost *notReported
	switch {
	case outcome == nil:
		log.Info("job done")
	case errors.As(outcome, &lost):
		log.Warn("job not reported", "outcome", loggable(outcome))
	case as(outcome, &thrown): // its code is the handler's own text
		log.Info("job done, with a BPMN error")
	default:
		log.Warn("job failed", "outcome", loggable(outcome), "tries_left", triesLeft(job, outcome))
	}
	if f := p.worker.config.Reported; f != nil {
		f(Job{job}, outcome)
	}
}

// loggable is what may be logged of an error: its text may hold values.
func loggable(err error) slog.Value {
	if v, ok := err.(slog.LogValuer); ok {
		return v.LogValue()
	}
	return slog.StringValue(fmt.Sprintf("%T", err))
}

// triesLeft is how often a job will be tried again after a failure.
func triesLeft(job api.Job, outcome error) int {
	var fail Fail
	if as(outcome, &fail) {
		return fail.Retries
	}
	return max(job.Retries-1, 0)
}

// deliver repeats a report, always with the same key, until it is answered.
func (p *poller) deliver(ctx context.Context, r request) error {
	c := p.worker.client.Idempotent(newKey())
	for failures := c.tries; ; failures++ {
		_, err := call[api.Receipt](ctx, c, r)
		if err == nil || ctx.Err() != nil || !repeatable(err) {
			return err
		}
		pause(ctx, failures, 0)
	}
}

// outcomeRequest is the report of what a handler returned.
func outcomeRequest(job api.Job, result Result, outcome error) (request, error) {
	var thrown BPMNError
	var fail Fail
	switch {
	case outcome == nil:
		variables, err := encodeResult(result)
		return send("POST", "/v1/jobs/{job}/complete", api.CompleteJobRequest{Lease: job.Lease, Variables: variables}, job.ID), err
	case as(outcome, &thrown):
		variables, err := encodeResult(thrown.Variables)
		return send("POST", "/v1/jobs/{job}/error", api.ErrorJobRequest{
			Lease: job.Lease, Code: thrown.Code, Message: cut(thrown.Message), Variables: variables,
		}, job.ID), err
	case as(outcome, &fail):
		in := api.FailJobRequest{Message: fail.Message, Retries: &fail.Retries}
		if ms := max(int(fail.Backoff.Milliseconds()), 0); fail.Backoff != 0 {
			in.BackoffMS = &ms
		}
		return failRequest(job, in), nil
	}
	return failRequest(job, api.FailJobRequest{Message: outcome.Error()}), nil
}

func failRequest(job api.Job, in api.FailJobRequest) request {
	in.Lease, in.Message = job.Lease, cut(in.Message)
	return send("POST", "/v1/jobs/{job}/fail", in, job.ID)
}

// encodeResult returns no variables for no result.
func encodeResult(result Result) (json.RawMessage, error) {
	if len(result) == 0 {
		return nil, nil
	}
	return encode(result)
}

// isEncoding reports whether a result is nothing that JSON can hold.
func isEncoding(err error) bool {
	var unsupportedType *json.UnsupportedTypeError
	var unsupportedValue *json.UnsupportedValueError
	var marshaler *json.MarshalerError
	return errors.As(err, &unsupportedType) || errors.As(err, &unsupportedValue) || errors.As(err, &marshaler)
}

// as finds a T or a *T in err's chain.
func as[T error, P interface {
	*T
	error
}](err error, target *T) bool {
	if errors.As(err, target) {
		return true
	}
	var p P
	if !errors.As(err, &p) || p == nil {
		return false
	}
	*target = *p
	return true
}

// maxMessage is how many characters of a message the server takes.
const maxMessage = 10_000

// cut returns as much of a message as the server takes, and as text: of a failure
// more matters than its last byte, and a signature must be of what arrives.
func cut(message string) string {
	message = strings.ToValidUTF8(message, "\ufffd")
	if utf8.RuneCountInString(message) <= maxMessage {
		return message
	}
	return string([]rune(message)[:maxMessage])
}
