package engine

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// maxBackoffMS is the longest pause before a job's next try, 30 days; the API
// refuses a longer one.
const maxBackoffMS = 30 * 24 * 60 * 60 * 1000

// defaultLease is how long a job is a worker's when the worker does not say.
const defaultLease = time.Minute

// ActivateJobs leases waiting jobs to a worker; it waits for the first one as
// long as the request says.
func (e *Engine) ActivateJobs(ctx context.Context, c Caller, r api.ActivateRequest) (api.Jobs, error) {
	if err := e.could(ctx, c, access.WorkJobs, access.Job, r.Type); err != nil {
		return api.Jobs{}, err
	}
	take := Take{
		Type: r.Type, Worker: r.Worker, Max: max(1, r.Max),
		Lease: time.Duration(r.LeaseMS) * time.Millisecond, Wait: time.Duration(r.WaitMS) * time.Millisecond,
	}
	if take.Lease == 0 {
		take.Lease = defaultLease
	}
	given, c, err := e.takeJobs(ctx, c, take)
	for err == nil {
		var jobs api.Jobs
		if jobs, err = e.giveJobs(ctx, c, given); fault.CodeOf(err) != codeChanged {
			return jobs, err
		}
		given, c, err = e.worksNow(ctx, c, given)
	}
	return api.Jobs{}, err
}

// takeJobs waits for jobs, and returns them with the worker as they were shown to them. Where
// what is known of the worker changes, it goes on as who they are then, or ends if they may
// not wait any more.
func (e *Engine) takeJobs(ctx context.Context, c Caller, take Take) (given []offered, now Caller, err error) {
	until := e.now().Add(take.Wait)
	for {
		take.By, take.May = c, e.mayWork(c)
		take.Changed = func() bool { return !e.people.admitted(take.By) }
		err := e.runner.Take(ctx, c.Scope, take, func(l *Live, lease Lease) error {
			job, err := e.offer(c, l, lease)
			if err == nil {
				given = append(given, job)
			}
			return err
		})
		changed := take.Changed()
		if err == nil {
			given, c, err = e.worksNow(ctx, c, given)
		}
		if err == nil && changed {
			err = e.could(ctx, c, access.WorkJobs, access.Job, take.Type)
		}
		if take.Wait = until.Sub(e.now()); err != nil || len(given) > 0 || !changed || take.Wait <= 0 {
			return given, c, err
		}
	}
}

// giveJobs answers with jobs that are a worker's.
func (e *Engine) giveJobs(ctx context.Context, c Caller, given []offered) (api.Jobs, error) {
	jobs := api.Jobs{Items: []api.Job{}}
	var told []shown
	for _, g := range given {
		jobs.Items, told = append(jobs.Items, g.job), append(told, g.shows)
	}
	// Jobs that cannot be told of are the worker's all the same, until the lease
	// ends: as if the answer had been lost on its way.
	if err := e.tellShown(ctx, c, dataShown, "worker", told...); err != nil {
		return api.Jobs{}, err
	}
	return jobs, nil
}

// mayWork returns what says from where the caller may take jobs; nil: from anywhere.
// There are few places, and each is decided once.
func (e *Engine) mayWork(c Caller) func(JobPlace) bool {
	if !c.Rules.Policies.Own(access.WorkJobs) && e.policies.Reach(c.Who, access.WorkJobs, access.Job, e.circumstances(c)).All {
		return nil
	}
	decided := map[JobPlace]bool{}
	return func(p JobPlace) bool {
		may, known := decided[p]
		if !known {
			may = e.sees(c, access.WorkJobs, access.Resource{Kind: access.Job, Tenant: c.Scope.Tenant(), Process: p.Process, Element: p.Element})
			decided[p] = may
		}
		return may
	}
}

// jobResource returns what decisions know of a job; of one that is closed, nothing but its
// process.
func (l *Live) jobResource(n uint64) access.Resource {
	job, _ := l.state.Job(n)
	return access.Resource{Kind: access.Job, ID: refText(l.id, n), Tenant: l.scope.Tenant(), Process: l.head.process, Element: job.Element}
}

// offered is a job that is a worker's, and what it shows.
type offered struct {
	job   api.Job
	shows shown
	on    access.Resource
	lease Lease
}

// worksNow is stillWorks for jobs that are shown: to who the worker is now.
func (e *Engine) worksNow(ctx context.Context, c Caller, given []offered) (kept []offered, now Caller, err error) {
	given, now, err = e.stillWorks(ctx, c, given)
	if err != nil || now.KnownAs(c) {
		return given, now, err
	}
	for _, g := range given {
		g, err := e.offerAnew(ctx, now, g)
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) || fault.Is(err, fault.Sealed) {
			continue // it has ended meanwhile, or is another's
		}
		if err != nil {
			return nil, now, err
		}
		kept = append(kept, g)
	}
	return kept, now, nil
}

// offerAnew shows a job that is a worker's to who the worker is now.
func (e *Engine) offerAnew(ctx context.Context, c Caller, g offered) (anew offered, err error) {
	err = e.runner.Use(ctx, c.Scope, g.lease.Instance, func(l *Live) error {
		if err := e.runner.Holds(ctx, l, g.lease.JobRef, g.lease.Token); err != nil {
			return err
		}
		anew, err = e.offer(c, l, g.lease)
		return err
	})
	return anew, err
}

// stillWorks decides again, when jobs are a worker's, whether they may be: what the
// worker may could have changed since the call began. It returns those that still may be,
// and the worker as they are now; the others are offered anew. An error: none may.
func (e *Engine) stillWorks(ctx context.Context, c Caller, given []offered) (kept []offered, now Caller, err error) {
	defer func() {
		if len(kept) < len(given) {
			e.endLeases(ctx, c.Scope)
		}
	}()
	if now, err = e.again(ctx, c); err == nil {
		err = e.admitted(c.Scope)
	}
	if err != nil {
		return nil, now, err
	}
	var refused error
	for _, g := range given {
		if e.sees(now, access.WorkJobs, g.on) {
			kept = append(kept, g)
			continue
		}
		refused = e.refuse(ctx, now, access.WorkJobs, string(g.on.Kind), g.on.ID)
	}
	if len(kept) > 0 {
		refused = nil
	}
	return kept, now, refused
}

// endLeases offers those jobs of a tenant anew that somebody holds who may not work them
// any more, and has nobody wait for jobs as who they are not any more. Of whom that cannot be
// told now, the leases end by themselves.
func (e *Engine) endLeases(ctx context.Context, scope store.Scope) {
	ctx = context.WithoutCancel(ctx)
	e.runner.Release(scope, func(c Caller, at JobPlace) bool {
		c, err := e.again(ctx, c)
		if err != nil {
			return fault.Is(err, fault.Denied)
		}
		return !e.sees(c, access.WorkJobs, access.Resource{Kind: access.Job, Tenant: scope.Tenant(), Process: at.Process, Element: at.Element})
	})
}

// offer shows a leased job to its worker.
func (e *Engine) offer(c Caller, l *Live, lease Lease) (offered, error) {
	job, ok := l.state.Job(lease.Job)
	if !ok {
		return offered{}, noSuch("job", refText(l.id, lease.Job))
	}
	v := e.jobLens(c, l, job)
	variables, err := l.state.JobVariables(lease.Job, v.see)
	if err != nil {
		return offered{}, err
	}
	return offered{api.Job{
		ID: refText(l.id, lease.Job), Lease: lease.Token, Instance: textID(l.id), Process: l.head.process,
		Version: l.head.version, Model: l.head.model, Deployment: e.deployment, Tenant: l.scope.Tenant(),
		Element: job.Element, Type: job.Type, Retries: job.Retries, Deadline: lease.Deadline,
		Headers: l.headers(job.Element), Variables: canon.EncodeJSON(variables), Masked: v.mask(),
	}, v.told(job.Element), l.jobResource(lease.Job), lease}, nil
}

func (l *Live) headers(element string) map[string]string {
	i, ok := l.def.compiled.Element(element)
	if !ok || l.def.compiled.Elements[i].Job == nil || len(l.def.compiled.Elements[i].Job.Headers) == 0 {
		return nil
	}
	headers := map[string]string{}
	for _, h := range l.def.compiled.Elements[i].Job.Headers {
		headers[h.Name] = h.Value
	}
	return headers
}

// CompleteJob reports a job's result.
func (e *Engine) CompleteJob(ctx context.Context, c Caller, id string, r api.CompleteJobRequest, idem string) (api.Receipt, error) {
	result, err := parseVariables(r.Variables)
	if err != nil {
		return api.Receipt{}, err
	}
	said := report{kind: ledger.JobCompleted, lease: r.Lease, result: ledger.Flatten(result), signed: r.Signed, given: result}
	return e.happenJob(ctx, c, id, said, "complete", idem, r, func(job uint64) happening {
		return happening{event: process.JobCompleted{Job: job, Variables: result}, name: "job_completed"}
	})
}

// FailJob reports a failed try. At no retries left an incident is raised.
func (e *Engine) FailJob(ctx context.Context, c Caller, id string, r api.FailJobRequest, idem string) (api.Receipt, error) {
	retries, backoff := -1, time.Duration(-1)
	if r.Retries != nil {
		retries = *r.Retries
	}
	if r.BackoffMS != nil {
		backoff = time.Duration(min(*r.BackoffMS, maxBackoffMS)) * time.Millisecond
	}
	said := report{kind: ledger.JobFailed, lease: r.Lease, result: ledger.Failure(r.Message), signed: r.Signed}
	return e.happenJob(ctx, c, id, said, "fail", idem, r, func(job uint64) happening {
		return happening{event: process.JobFailed{Job: job, Retries: retries, Backoff: backoff, Message: r.Message}, name: "job_failed"}
	})
}

// ErrorJob throws a BPMN error, which a boundary event may catch.
func (e *Engine) ErrorJob(ctx context.Context, c Caller, id string, r api.ErrorJobRequest, idem string) (api.Receipt, error) {
	result, err := parseVariables(r.Variables)
	if err != nil {
		return api.Receipt{}, err
	}
	said := report{kind: ledger.JobErrored, lease: r.Lease, result: ledger.Thrown(r.Code, r.Message, result), signed: r.Signed, given: result}
	return e.happenJob(ctx, c, id, said, "error", idem, r, func(job uint64) happening {
		return happening{event: process.JobErrored{Job: job, Code: r.Code, Message: r.Message, Variables: result}, name: "job_errored"}
	})
}

// ExtendJob lengthens a lease, counted from now.
func (e *Engine) ExtendJob(ctx context.Context, c Caller, id string, r api.ExtendJobRequest) (api.Lease, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Lease, error) { return e.extendJobAs(ctx, c, id, r) })
}

func (e *Engine) extendJobAs(ctx context.Context, c Caller, id string, r api.ExtendJobRequest) (api.Lease, error) {
	if err := e.could(ctx, c, access.WorkJobs, access.Job, id); err != nil {
		return api.Lease{}, err
	}
	ref, err := parseRef("job", id)
	if err != nil {
		return api.Lease{}, err
	}
	until := Take{By: c, Lease: time.Duration(r.LeaseMS) * time.Millisecond}.Until(e.moment())
	var extended []offered
	err = e.runner.Use(ctx, c.Scope, ref.Instance, func(l *Live) error {
		on := l.jobResource(ref.Job)
		if !e.sees(c, access.WorkJobs, on) {
			return noSuch("job", id)
		}
		extended = []offered{{on: on}}
		if _, waits := l.state.Job(ref.Job); !waits {
			return e.withState(&c, l, fault.New(fault.Conflict, "job %s does not wait any more", id).WithCode("job_closed"))
		}
		return e.runner.Extend(ctx, l, c, ref, r.Lease, until)
	})
	if fault.Is(err, fault.NotFound) {
		err = noSuch("job", id)
	}
	if err == nil {
		_, _, err = e.stillWorks(ctx, c, extended)
	}
	return api.Lease{Deadline: until}, err
}

// happenJob delivers what a worker reports, if the job is still the worker's.
func (e *Engine) happenJob(ctx context.Context, c Caller, id string, said report, operation, idem string, body any, make func(uint64) happening) (api.Receipt, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Receipt, error) {
		return e.happenJobAs(ctx, c, id, said, operation, idem, body, make)
	})
}

func (e *Engine) happenJobAs(ctx context.Context, c Caller, id string, said report, operation, idem string, body any, make func(uint64) happening) (api.Receipt, error) {
	if err := e.could(ctx, c, access.WorkJobs, access.Job, id); err != nil {
		return api.Receipt{}, err
	}
	ref, err := parseRef("job", id)
	if err != nil {
		return api.Receipt{}, err
	}
	again, err := e.request(ctx, c, operation+" "+id, idem, body)
	if err != nil {
		return api.Receipt{}, err
	}
	h := make(ref.Job)
	h.act, h.by, h.actor, h.again = "worker", &c, actorOf(c), again
	var done api.Receipt
	err = e.runner.Use(ctx, c.Scope, ref.Instance, func(l *Live) error {
		if !e.sees(c, access.WorkJobs, l.jobResource(ref.Job)) { // or it is closed, and so nothing is known of it
			earlier, found, err := e.repeated(ctx, c.Scope, again)
			if done = earlier; found || err != nil {
				return err
			}
			return noSuch("job", id)
		}
		if said.signed != nil {
			lock := e.signers.changing.of(c.Scope)
			lock.RLock()
			defer lock.RUnlock()
		}
		if job, waits := l.state.Job(ref.Job); waits {
			h.through = e.jobLens(c, l, job)
			if h.signed, err = e.checkReport(ctx, c, l, ref, said); err != nil {
				earlier, found, again := e.repeated(ctx, c.Scope, again)
				if done = earlier; found || again != nil {
					return again
				}
				return err
			}
		}
		done, err = e.deliver(ctx, l, h)
		return err
	})
	if fault.Is(err, fault.NotFound) {
		return done, noSuch("job", id)
	}
	return done, err
}

// checkReport refuses what is said of a job by somebody who does not hold it, or who
// signed something else.
func (e *Engine) checkReport(ctx context.Context, c Caller, l *Live, ref JobRef, said report) (*signature, error) {
	if err := e.runner.Holds(ctx, l, ref, said.lease); err != nil {
		if fault.Is(err, fault.Conflict) {
			err = e.withState(&c, l, err)
		}
		return nil, err
	}
	return e.checkSignature(ctx, c, l, ref, said)
}

// Fire delivers a timer whose time has come. A timer that does not wait any
// more is none of the caller's errors.
func (e *Engine) Fire(ctx context.Context, scope store.Scope, instance store.ID, timer uint64) error {
	return e.runner.Use(ctx, scope, instance, func(l *Live) error {
		if _, waits := l.state.Timer(timer); !waits {
			return nil
		}
		if err := e.checkRows(ctx, l); err != nil {
			return err
		}
		_, err := e.deliver(ctx, l, happening{event: process.TimerFired{Timer: timer}, name: "timer_fired", act: "engine", actor: engineActor})
		return err
	})
}

// LeaseToken returns the text that proves that a job was leased in an epoch, for
// its present try. It is a keyed hash, so a lease given before a restart is known
// again after it. With each key of a person that was destroyed it is another one: who
// leased the job before was given what is erased now.
func (e *Engine) LeaseToken(ctx context.Context, l *Live, job JobRef, epoch int64) (string, error) {
	destroyed, err := e.destroyedPersons(ctx, l)
	if err != nil {
		return "", err
	}
	number := strconv.FormatInt(epoch, 36)
	open, _ := l.state.Job(job.Job)
	mac, err := e.indexToken(ctx, l.scope.Tenant(), "lease", fmt.Sprintf("%s/%d/%s/%d", refText(job.Instance, job.Job), open.Tries, number, destroyed))
	return number + "." + hex.EncodeToString(mac[:16]), err
}

// destroyedPersons counts the keys of persons that an instance ever had and that were
// destroyed.
func (e *Engine) destroyedPersons(ctx context.Context, l *Live) (n int, err error) {
	for _, id := range l.head.keys {
		switch _, err := e.ring.Key(ctx, l.scope.Tenant(), id); {
		case fault.Is(err, fault.Sealed):
			n++
		case err != nil:
			return 0, err
		}
	}
	return n, nil
}
