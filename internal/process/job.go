package process

import (
	"strconv"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// maxRetries bounds what a model may ask for.
const maxRetries = 1_000_000

// prepareJob evaluates a job's type and retries.
func (r *run) prepareJob(j *job, n *node, v *view) *problem {
	value, warnings, trouble, sealed := r.routed("job type", n.jobType, v)
	if sealed != nil {
		return sealed
	}
	name, ok := value.(canon.String)
	if !ok || name == "" {
		return v.mistyped("job type", n.jobType, "a text that is not empty", value, warnings, trouble)
	}
	j.typ, j.retries = string(name), DefaultRetries
	if n.retries == nil {
		return nil
	}
	if value, warnings, trouble, sealed = r.routed("job retries", n.retries, v); sealed != nil {
		return sealed
	}
	j.retries, ok = wholeNumber(value)
	if !ok || j.retries < 1 || j.retries > maxRetries {
		return v.mistyped("job retries", n.retries, "a whole number from 1 to 1000000", value, warnings, trouble)
	}
	return nil
}

// wholeNumber reads a number, or a text of digits as models write retries.
func wholeNumber(v canon.Value) (int, bool) {
	text := ""
	switch v := v.(type) {
	case canon.String:
		text = string(v)
	case canon.Number:
		text = v.String()
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

func (r *run) offerJob(token uint64, j job) {
	j.id, j.token, j.created = r.s.next(), token, r.at
	r.s.jobs = append(r.s.jobs, j)
	r.command(OfferJob{j.id})
}

func (r *run) closeJob(id uint64) {
	r.s.jobs = remove(r.s.jobs, id)
	r.withdraw(id, OfferJob{id}, CloseJob{id})
}

// waitingJob finds a job that a worker may report on, or rejects the event.
func (r *run) waitingJob(id uint64) (*job, error) {
	i := find(r.s.jobs, id)
	if i < 0 {
		return nil, r.gone("job", id)
	}
	j := &r.s.jobs[i]
	r.out.Element = r.s.elementOf(j.token)
	if j.failed {
		return nil, fault.New(fault.Conflict, "job %d has failed and waits for its incident to be retried", id).WithCode("job_failed")
	}
	return j, nil
}

func (r *run) jobCompleted(e JobCompleted) error {
	j, err := r.waitingJob(e.Job)
	if err != nil {
		return err
	}
	token := j.token
	if err := r.admitResults(token, e.Variables); err != nil {
		return err
	}
	o := r.d.fromWork(j.given)
	r.closeJob(e.Job)
	r.complete(token, e.Variables, o)
	return nil
}

// jobFailed plans the next try after a pause, or raises an incident when there is
// none left.
func (r *run) jobFailed(e JobFailed) error {
	j, err := r.waitingJob(e.Job)
	if err != nil {
		return err
	}
	left := e.Retries
	if left < 0 {
		left = j.retries - 1
	}
	j.retries = min(max(left, 0), maxRetries)
	j.tries++
	if j.retries > 0 {
		j.notBefore = r.at + backoff(e.Backoff, j.tries).Microseconds()
		r.command(OfferJob{e.Job})
		return nil
	}
	r.failJob(j, "job_failed", e.Message)
	return nil
}

// ResultLabel returns the label of what a job's result could tell: of what its worker
// may have been given, and of what the result's variables are declared to be.
func (s *State) ResultLabel(job uint64, result *canon.Context) Label {
	i := find(s.jobs, job)
	if i < 0 {
		return Label{}
	}
	return *s.d.labelOfWork(s.jobs[i].given, result)
}

// labelOfWork is of what variables could tell, that somebody made of what they were given.
func (d *Definition) labelOfWork(given *Label, made *canon.Context) *Label {
	o := d.fromWork(given)
	label := o.loose
	for i := range made.Len() {
		v := d.newVariable(0, made.At(i).Name, made.At(i).Value, o)
		label = join(label, v.labelOfAll())
	}
	return label
}

// failJob stops a job until its incident is retried.
func (r *run) failJob(j *job, code, message string) {
	j.failed, j.notBefore = true, 0
	r.command(OfferJob{j.id})
	r.raise(j.token, code, message, j.given, j.id)
}

// backoff is the pause before the next try: the worker's, or the default doubled
// with every try.
func backoff(asked time.Duration, tries int) time.Duration {
	if asked >= 0 {
		return asked
	}
	pause := DefaultBackoff
	for i := 1; i < tries && pause < MaxBackoff; i++ {
		pause *= 2
	}
	return min(pause, MaxBackoff)
}

// jobErrored throws a worker's BPMN error; if nothing catches it the job fails.
func (r *run) jobErrored(e JobErrored) error {
	j, err := r.waitingJob(e.Job)
	if err != nil {
		return err
	}
	host, boundary, ok := r.catcher(j.token, e.Code)
	if ok {
		if err := r.admit(r.s.token(host).scope, e.Variables); err != nil {
			return err
		}
	}
	if !ok {
		j.tries++
		j.retries = 0
		text := "error " + strconv.Quote(e.Code) + " is not caught"
		if e.Message != "" {
			text += ": " + e.Message
		}
		r.failJob(j, "unhandled_error", text)
		return nil
	}
	o := r.d.fromWork(j.given)
	scope := r.interrupt(host, boundary)
	r.merge(scope, e.Variables, o)
	return nil
}
