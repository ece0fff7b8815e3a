package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

// board is a server's jobs in memory: it leases, takes results from whoever
// holds the lease, and offers a job again when its lease has ended.
type board struct {
	fault func(r *http.Request) (*http.Response, error) // may answer instead

	mu       sync.Mutex // guards what follows
	jobs     []*posted
	changed  chan struct{} // closed when there is a new job
	reports  []report
	extended int
	leased   int // most jobs leased at once
	lost     int // answers to drop after the change was made
	byKey    map[string]bool
}

type posted struct {
	job   api.Job
	until time.Time
	epoch int
	done  bool
}

// report is what a worker said of a job.
type report struct {
	id, what string
	body     map[string]any
}

func newBoard() *board { return &board{changed: make(chan struct{}), byKey: map[string]bool{}} }

// post offers n jobs of a type.
func (b *board) post(jobType string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range n {
		id := fmt.Sprintf("j%d", len(b.jobs)+1)
		b.jobs = append(b.jobs, &posted{job: api.Job{ID: id, Type: jobType, Retries: 3, Variables: json.RawMessage(`{"amount":12345678901234567890}`)}})
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *board) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.fault != nil {
		if res, err := b.fault(r); res != nil || err != nil {
			return res, err
		}
	}
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return nil, err
	}
	if r.URL.Path == "/v1/jobs/activate" {
		return b.activate(r.Context(), body)
	}
	parts := strings.Split(r.URL.Path, "/")
	return b.change(parts[3], parts[4], r.Header.Get("Idempotency-Key"), body)
}

func (b *board) activate(ctx context.Context, in map[string]any) (*http.Response, error) {
	wait := time.NewTimer(time.Duration(in["wait_ms"].(float64)) * time.Millisecond)
	defer wait.Stop()
	for {
		jobs, changed := b.lease(in["type"].(string), int(in["max"].(float64)), time.Duration(in["lease_ms"].(float64))*time.Millisecond)
		if len(jobs) > 0 {
			return answer(200, api.Jobs{Items: jobs})
		}
		select {
		case <-changed:
		case <-wait.C:
			return answer(200, api.Jobs{Items: []api.Job{}})
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (b *board) lease(jobType string, most int, lease time.Duration) (jobs []api.Job, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := 0
	for _, p := range b.jobs {
		free := !p.done && p.job.Type == jobType && !p.until.After(time.Now())
		if free && len(jobs) < most {
			p.epoch++
			p.until = time.Now().Add(lease)
			p.job.Lease, p.job.Deadline = fmt.Sprint(p.epoch), p.until
			jobs = append(jobs, p.job)
		}
		if !p.done && p.until.After(time.Now()) {
			held++
		}
	}
	b.leased = max(b.leased, held)
	return jobs, b.changed
}

func (b *board) change(id, what, key string, body map[string]any) (*http.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.jobs, func(p *posted) bool { return p.job.ID == id })
	p := b.jobs[i]
	switch {
	case b.byKey[key]: // the same answer again
	case p.done || body["lease"] != p.job.Lease || !p.until.After(time.Now()):
		return refuse(409, "conflict", "stale_lease")
	case what == "extend":
		b.extended++
		p.until = time.Now().Add(time.Duration(body["lease_ms"].(float64)) * time.Millisecond)
		return answer(200, api.Lease{Deadline: p.until})
	default:
		delete(body, "lease")
		b.reports = append(b.reports, report{id, what, body})
		b.byKey[key], p.done = true, true
	}
	if b.lost > 0 {
		b.lost--
		return nil, errors.New("connection reset")
	}
	return answer(200, api.Receipt{Instance: "i", Seq: 2})
}

// running is a worker that runs.
type running struct {
	t    *testing.T
	stop context.CancelFunc
	done chan error
	log  *bytes.Buffer
}

// run starts a worker on the board with one handler for "check".
func run(t *testing.T, b http.RoundTripper, h client.Handler, change ...func(*client.WorkerConfig)) *running {
	t.Helper()
	w := &running{t: t, done: make(chan error, 1), log: &bytes.Buffer{}}
	config := client.WorkerConfig{Name: "w-1", Log: slog.New(slog.NewTextHandler(w.log, nil))}
	for _, f := range change {
		f(&config)
	}
	c := newClient(t, b.RoundTrip)
	worker := c.NewWorker(config)
	worker.Handle("check", h)
	var ctx context.Context
	ctx, w.stop = context.WithCancel(t.Context())
	go func() { w.done <- worker.Run(ctx) }()
	return w
}

// end stops the worker and fails the test if it did not end well.
func (w *running) end() {
	w.t.Helper()
	w.stop()
	if err := <-w.done; err != nil {
		w.t.Errorf("Run = %v", err)
	}
}

func ok(context.Context, client.Job) (client.Result, error) { return client.Result{"ok": true}, nil }

func TestWorkerReportsWhatHandlersReturn(t *testing.T) {
	three, long := 3, strings.Repeat("ü", 10_001)
	for _, c := range []struct {
		name    string
		handler client.Handler
		what    string
		body    string
	}{
		{"a result", ok, "complete", `{"variables":{"ok":true}}`},
		{"nothing", func(context.Context, client.Job) (client.Result, error) { return nil, nil }, "complete", `{}`},
		{"an error", func(context.Context, client.Job) (client.Result, error) { return nil, errors.New("no luck") }, "fail", `{"message":"no luck"}`},
		{"a long error", func(context.Context, client.Job) (client.Result, error) { return nil, errors.New(long) }, "fail", `{"message":"` + strings.Repeat("ü", 10_000) + `"}`},
		{"a failure", func(context.Context, client.Job) (client.Result, error) {
			return nil, client.Fail{Retries: three, Backoff: 1500 * time.Millisecond, Message: "later"}
		}, "fail", `{"backoff_ms":1500,"message":"later","retries":3}`},
		{"a failure for good", func(context.Context, client.Job) (client.Result, error) {
			return nil, fmt.Errorf("wrapped: %w", &client.Fail{Message: "never"})
		}, "fail", `{"message":"never","retries":0}`},
		{"a failure without a pause", func(context.Context, client.Job) (client.Result, error) {
			return nil, client.Fail{Retries: 1, Backoff: -1}
		},
			"fail", `{"backoff_ms":0,"retries":1}`},
		{"a BPMN error", func(context.Context, client.Job) (client.Result, error) {
			return nil, fmt.Errorf("wrapped: %w", client.BPMNError{Code: "REJECTED", Message: "too low", Variables: client.Result{"score": 3}})
		}, "error", `{"code":"REJECTED","message":"too low","variables":{"score":3}}`},
		{"a panic", func(context.Context, client.Job) (client.Result, error) { panic("oh") }, "fail", `{"message":"the handler panicked: oh"}`},
		{"a result that JSON cannot hold", func(context.Context, client.Job) (client.Result, error) {
			return client.Result{"x": math.NaN()}, nil
		}, "fail", `{"message":"the result was not accepted: json: unsupported value: NaN"}`},
		{"a result that is not UTF-8", func(context.Context, client.Job) (client.Result, error) {
			return client.Result{"a": 1, "x": []any{map[string]any{"b/c": "secret\xff"}}}, nil
		}, "fail", notUTF8("complete", "/variables/x/0/b~1c")},
		{"a BPMN error's variables that are not UTF-8", func(context.Context, client.Job) (client.Result, error) {
			return nil, client.BPMNError{Code: "NO", Variables: client.Result{"x": map[string]int{"secret\xff": 1}}}
		}, "fail", notUTF8("error", "/variables/x")},
		{"a BPMN error's code that is not UTF-8", func(context.Context, client.Job) (client.Result, error) {
			return nil, client.BPMNError{Code: "NO\xff"}
		}, "fail", notUTF8("error", "/code")},
		{"an error that is not UTF-8", func(context.Context, client.Job) (client.Result, error) { return nil, errors.New("no\xff\xfe") },
			"fail", "{\"message\":\"no\ufffd\"}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBoard()
				b.post("check", 1)
				w := run(t, b, c.handler)
				synctest.Wait()
				w.end()
				if len(b.reports) != 1 {
					t.Fatalf("%d reports: %+v; log %s", len(b.reports), b.reports, w.log)
				}
				body, err := json.Marshal(b.reports[0].body)
				if err != nil || b.reports[0].what != c.what || string(body) != c.body {
					t.Errorf("report = %s %s; want %s %s", b.reports[0].what, body, c.what, c.body)
				}
				for _, value := range []string{"no luck", "later", "too low", "oh"} {
					if strings.Contains(w.log.String(), `"`+value) {
						t.Errorf("the log holds what the handler said: %s", w.log)
					}
				}
			})
		})
	}
}

func TestJobsKeepEveryDigit(t *testing.T) {
	job := client.Job{Job: api.Job{ID: "j1", Variables: json.RawMessage(`{"amount":12345678901234567890.5,"name":"Ann"}`)}}
	var typed struct{ Name string }
	var loose map[string]any
	if err := errors.Join(job.Bind(&typed), job.Bind(&loose)); err != nil {
		t.Fatal(err)
	}
	if typed.Name != "Ann" || loose["amount"] != json.Number("12345678901234567890.5") {
		t.Errorf("bound %+v and %v", typed, loose)
	}
	if err := job.Bind(&struct{ Name int }{}); err == nil || !strings.Contains(err.Error(), "j1") {
		t.Errorf("Bind to the wrong type = %v", err)
	}
}

func TestWorkerHoldsNoMoreThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.post("check", 50)
		var mu sync.Mutex
		var now, most int
		w := run(t, b, func(context.Context, client.Job) (client.Result, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second) // simulated time: the handler's work
			mu.Lock()
			now--
			mu.Unlock()
			return nil, nil
		}, func(c *client.WorkerConfig) { c.Concurrency, c.MaxJobs = 4, 6 })
		began := time.Now()
		for len(b.reported()) < 50 {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("50 jobs of 1s by 4 handlers took %v; want 13s", took)
		}
		w.end()
		if most != 4 || b.leased != 6 {
			t.Errorf("%d handlers ran and %d jobs were leased at once; want 4 and 6", most, b.leased)
		}
	})
}

// reported lists the ids of the jobs that were reported.
func (b *board) reported() (ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.reports {
		ids = append(ids, r.id)
	}
	return ids
}

func TestLeaseIsKeptWhileTheHandlerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.post("check", 1)
		w := run(t, b, func(context.Context, client.Job) (client.Result, error) {
			time.Sleep(100 * time.Second)
			return nil, nil
		}, func(c *client.WorkerConfig) { c.Lease = 10 * time.Second })
		time.Sleep(101 * time.Second)
		w.end()
		if got := b.reported(); len(got) != 1 || b.jobs[0].epoch != 1 || b.extended < 18 {
			t.Errorf("reports %v after %d leases and %d extensions; want one of the first lease", got, b.jobs[0].epoch, b.extended)
		}
	})
}

// A job whose lease is gone is somebody else's: its handler must end and what
// it returns must not be reported.
func TestHandlerEndsWithItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.post("check", 1)
		causes := make(chan error, 1)
		w := run(t, b, func(ctx context.Context, _ client.Job) (client.Result, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return client.Result{"late": true}, nil
		}, func(c *client.WorkerConfig) { c.Lease = 10 * time.Second })
		synctest.Wait()
		b.mu.Lock()
		b.jobs[0].done = true // canceled, say
		b.mu.Unlock()
		if err := <-causes; !errors.Is(err, client.ErrLeaseLost) {
			t.Errorf("the handler's context ended with %v", err)
		}
		w.end()
		if got := b.reported(); len(got) != 0 {
			t.Errorf("reports %v after the lease was lost", got)
		}
	})
}

func TestLeaseSurvivesAShortOutageAndNotALongOne(t *testing.T) {
	for _, c := range []struct {
		outage  time.Duration
		reports int
	}{{4 * time.Second, 1}, {time.Minute, 0}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoard()
			b.post("check", 1)
			began := time.Now()
			b.fault = func(*http.Request) (*http.Response, error) {
				if at := time.Since(began); at > 4*time.Second && at < 4*time.Second+c.outage {
					return nil, errors.New("connection refused")
				}
				return nil, nil
			}
			w := run(t, b, func(ctx context.Context, _ client.Job) (client.Result, error) {
				select {
				case <-time.After(30 * time.Second):
				case <-ctx.Done():
				}
				return nil, nil
			}, func(c *client.WorkerConfig) { c.Lease = 10 * time.Second })
			time.Sleep(31 * time.Second)
			w.end()
			if got := b.reported(); len(got) != c.reports {
				t.Errorf("reports %v after an outage of %v; want %d", got, c.outage, c.reports)
			}
		})
	}
}

// The work is done: the report must get through, once.
func TestReportIsRepeatedUntilItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.post("check", 1)
		b.lost = 3
		w := run(t, b, ok)
		time.Sleep(10 * time.Second)
		w.end()
		if got := b.reported(); len(got) != 1 || b.lost != 0 {
			t.Errorf("reports %v with %d answers still to lose", got, b.lost)
		}
	})
}

func TestReportOutlivesALongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.post("check", 1)
		began := time.Now()
		b.fault = func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/complete") && time.Since(began) < 5*time.Minute {
				return refuse(503, "unavailable", "unavailable")
			}
			return nil, nil
		}
		w := run(t, b, ok)
		time.Sleep(5*time.Minute + 10*time.Second)
		w.end()
		if got := b.reported(); len(got) != 1 || b.jobs[0].epoch != 1 {
			t.Errorf("reports %v after %d leases", got, b.jobs[0].epoch)
		}
	})
}

// notUTF8 is the report of a job whose outcome was not sent.
func notUTF8(what, place string) string {
	return fmt.Sprintf(`{"message":"the result was not accepted: POST /v1/jobs/{job}/%s: the body was not sent: text in it is not UTF-8\n  %s: a text or name here is not UTF-8"}`, what, place)
}

func TestResultThatIsRefusedShowsAsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.post("check", 1)
		b.fault = func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/complete") {
				return refuse(413, "invalid", "too_large")
			}
			return nil, nil
		}
		w := run(t, b, ok)
		synctest.Wait()
		w.end()
		if len(b.reports) != 1 || b.reports[0].what != "fail" || !strings.Contains(fmt.Sprint(b.reports[0].body["message"]), "too_large") {
			t.Errorf("reports = %+v", b.reports)
		}
	})
}

// A worker that cannot work costs no job a try.
func TestHandlerMayStopTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.post("check", 1)
		gone := errors.New("the program is gone")
		w := run(t, b, func(context.Context, client.Job) (client.Result, error) { return nil, client.Stop{Err: gone} })
		if err := <-w.done; !errors.Is(err, gone) || len(b.reports) != 0 {
			t.Errorf("Run = %v, reports %+v; want the error and no report", err, b.reports)
		}
	})
}

// What is logged and told of a job is what the server knows, and no value.
func TestOutcomesAreToldOnceTheServerHasThem(t *testing.T) {
	for _, c := range []struct {
		name    string
		outcome error
		refused string // the report that the server refuses
		log     string
		failed  bool
	}{
		{"done", nil, "", `level=INFO msg="job done" type=check job=j1 element=`, false},
		{"failed", errors.New("secret"), "", `level=WARN msg="job failed" type=check job=j1 element="" outcome=*errors.errorString tries_left=2`, true},
		{"thrown", client.BPMNError{Code: "secret"}, "", `level=INFO msg="job done, with a BPMN error"`, true},
		{"not accepted", nil, "/complete", `level=WARN msg="job failed"`, true},
		{"not reported", errors.New("secret"), "/fail", `level=WARN msg="job not reported"`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBoard()
				b.post("check", 1)
				b.fault = func(r *http.Request) (*http.Response, error) {
					if c.refused != "" && strings.HasSuffix(r.URL.Path, c.refused) {
						return refuse(413, "invalid", "too_large")
					}
					return nil, nil
				}
				told := []error{}
				w := run(t, b, func(context.Context, client.Job) (client.Result, error) { return nil, c.outcome },
					func(config *client.WorkerConfig) {
						config.Reported = func(_ client.Job, outcome error) { told = append(told, outcome) }
					})
				synctest.Wait()
				w.end()
				if len(told) != 1 || (told[0] != nil) != c.failed {
					t.Errorf("told of %v", told)
				}
				if log := w.log.String(); !strings.Contains(log, c.log) || strings.Contains(log, "secret") {
					t.Errorf("log:\n%s\nwant %s and no secret", log, c.log)
				}
			})
		})
	}
}

func TestWorkerDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.post("check", 3)
		w := run(t, b, func(_ context.Context, job client.Job) (client.Result, error) {
			time.Sleep(20 * time.Second)
			return nil, nil
		}, func(c *client.WorkerConfig) { c.Concurrency, c.MaxJobs = 2, 2 })
		synctest.Wait()
		began := time.Now()
		w.end()
		if got := b.reported(); len(got) != 2 || time.Since(began) != 20*time.Second {
			t.Errorf("reports %v after %v; want those of the two running jobs after 20s", got, time.Since(began))
		}
	})
}

func TestDrainHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.post("check", 2)
		causes := make(chan error, 2)
		w := run(t, b, func(ctx context.Context, _ client.Job) (client.Result, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil, nil
		}, func(c *client.WorkerConfig) { c.Concurrency, c.MaxJobs, c.Drain = 1, 2, 5*time.Second })
		synctest.Wait()
		began := time.Now()
		w.end()
		if took := time.Since(began); took != 5*time.Second || !errors.Is(<-causes, client.ErrStopped) || len(b.reported()) != 0 {
			t.Errorf("stopped after %v with reports %v", took, b.reported())
		}
	})
}

// Jobs in an answer that comes just after the worker was told to stop are
// leased already; dropping them would hold them up for the length of a lease.
func TestJobsLeasedAtTheLastMomentAreCarriedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		w := run(t, b, ok)
		synctest.Wait()
		w.stop()
		b.post("check", 3)
		w.end()
		if got := b.reported(); len(got) != 3 {
			t.Errorf("reports %v; want all three", got)
		}
	})
}

func TestTypesDoNotStarveEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		worker := newClient(t, b.RoundTrip).NewWorker(client.WorkerConfig{Name: "w", Concurrency: 1})
		worker.Handle("slow", func(ctx context.Context, _ client.Job) (client.Result, error) {
			time.Sleep(time.Hour)
			return nil, nil
		})
		worker.Handle("check", ok)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- worker.Run(ctx) }()
		b.post("slow", 5)
		b.post("check", 5)
		time.Sleep(time.Minute)
		if got := b.reported(); len(got) != 5 {
			t.Errorf("reports %v; want the five quick ones", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestWorkerWaitsForAServerThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.post("check", 1)
		began := time.Now()
		var calls atomic.Int32
		b.fault = func(*http.Request) (*http.Response, error) {
			calls.Add(1)
			switch at := time.Since(began); {
			case at < time.Minute:
				return nil, errors.New("connection refused")
			case at < 2*time.Minute:
				return refuse(500, "internal", "internal")
			}
			return nil, nil
		}
		w := run(t, b, ok)
		time.Sleep(3 * time.Minute)
		w.end()
		if got := b.reported(); len(got) != 1 || calls.Load() > 70 {
			t.Errorf("reports %v after %d calls", got, calls.Load())
		}
	})
}

func TestWorkerThatIsRefusedReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.fault = func(*http.Request) (*http.Response, error) { return refuse(401, "denied", "unauthenticated") }
		w := run(t, b, ok)
		if err := <-w.done; !client.IsUnauthenticated(err) || !strings.Contains(err.Error(), `"w-1"`) {
			t.Errorf("Run = %v; want that the key is not accepted", err)
		}
	})
}

func TestWorkerConfigNamesTheBadField(t *testing.T) {
	c := newClient(t, func(*http.Request) (*http.Response, error) { return nil, io.EOF })
	for want, config := range map[string]client.WorkerConfig{
		"Name":        {},
		"Concurrency": {Name: "w", Concurrency: -1},
		"MaxJobs":     {Name: "w", MaxJobs: 1001},
		"Lease":       {Name: "w", Lease: time.Millisecond},
		"Wait":        {Name: "w", Wait: time.Hour},
		"Drain":       {Name: "w", Drain: -1},
		"handlers":    {Name: "w"},
	} {
		if err := c.NewWorker(config).Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run = %v; want an error that names %s", err, want)
		}
	}
}

func TestSecondHandlerOfATypePanics(t *testing.T) {
	w := newClient(t, func(*http.Request) (*http.Response, error) { return nil, io.EOF }).NewWorker(client.WorkerConfig{Name: "w"})
	w.Handle("check", ok)
	defer func() {
		if recover() == nil {
			t.Error("a second handler was taken")
		}
	}()
	w.Handle("check", ok)
}
