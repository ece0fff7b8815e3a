package engine_test

import (
	"bytes"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// under is a node in virtual time whose key service fails on command, while
// people start instances and workers complete jobs. Nobody gives up: what is
// Unavailable is tried again after a second.
type under struct {
	*testenv.Env
	t       *testing.T
	service *kmstest.Faulty
	ahead   atomic.Int64 // what the clock is wrong by
	log     bytes.Buffer

	stop    chan struct{}
	clients sync.WaitGroup

	mu       sync.Mutex // guards what follows
	started  []string
	answered time.Time      // when somebody last got something done
	refused  map[string]int // codes of Unavailable answers since the last look
}

// newUnder starts a node with nothing to do.
func newUnder(t *testing.T) *under {
	u := &under{t: t, service: kmstest.New(t), stop: make(chan struct{}), refused: map[string]int{}}
	u.Env = testenv.New(t, func(c *node.Config) {
		c.KeyServices, c.KeyService = map[string]kms.Service{"faulty": u.service}, "faulty"
		c.Log = slog.New(slog.NewTextHandler(&u.log, nil))
		c.Now = func() time.Time { return time.Now().Add(time.Duration(u.ahead.Load())) }
	})
	return u
}

func underLoad(t *testing.T, f func(t *testing.T, u *under)) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnder(t)
		u.Deploy("one.bpmn", strings.Replace(oneTask, "THE_MODE", "confidential", 1))
		u.Deploy("timed.bpmn", withTimer)
		for range 2 {
			u.clients.Go(u.starter)
			u.clients.Go(u.worker)
		}
		time.Sleep(5 * time.Minute)
		f(t, u)
		u.finish()
	})
}

// over reports whether the load has ended, after a pause.
func (u *under) over(pause time.Duration) bool {
	select {
	case <-u.stop:
		return true
	case <-time.After(pause):
		return false
	}
}

// noted takes note of an answer. Only Unavailable is a failure that is allowed.
func (u *under) noted(what string, err error) (ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case err == nil:
		u.answered = time.Now()
	case fault.Is(err, fault.Unavailable):
		u.refused[fault.CodeOf(err)]++
	default:
		u.t.Errorf("%s: %v, want success or Unavailable", what, err)
	}
	return err == nil
}

func (u *under) starter() {
	for !u.over(10 * time.Second) {
		for {
			got, err := u.Engine.Start(u.t.Context(), u.Ann, api.StartRequest{Process: "one_task"}, "")
			if u.noted("start", err) {
				u.mu.Lock()
				u.started = append(u.started, got.Instance)
				u.mu.Unlock()
				break
			}
			if u.over(time.Second) {
				return
			}
		}
	}
}

func (u *under) worker() {
	for !u.over(time.Second) {
		list, err := u.Engine.ActivateJobs(u.t.Context(), u.Ann, api.ActivateRequest{Type: "work", Worker: "w", Max: 10, LeaseMS: 60_000})
		// An answer without jobs took no key: it does not count as work that goes on.
		if err != nil || len(list.Items) > 0 {
			u.noted("activate", err)
		}
		for _, job := range list.Items {
			_, err := u.Engine.CompleteJob(u.t.Context(), u.Ann, job.ID, api.CompleteJobRequest{Lease: job.Lease}, "")
			// A lease that ran out meanwhile is somebody else's now.
			if !fault.Is(err, fault.Conflict) {
				u.noted("complete", err)
			}
		}
	}
}

// refusals returns the codes of Unavailable answers since the last call.
func (u *under) refusals() map[string]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	got := maps.Clone(u.refused)
	clear(u.refused)
	return got
}

// idle returns for how long nobody got anything done.
func (u *under) idle() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	return time.Since(u.answered)
}

// finish lets what waits go on for a while, and checks that all of it did.
func (u *under) finish() {
	u.service.Restore()
	time.Sleep(5 * time.Minute)
	if u.idle() > time.Minute {
		u.t.Errorf("nothing was done for %s after the key service came back", u.idle())
	}
	close(u.stop)
	u.clients.Wait()
	for {
		list, err := u.Engine.ActivateJobs(u.t.Context(), u.Ann, api.ActivateRequest{Type: "work", Worker: "w", Max: 10, WaitMS: 120_000})
		if err != nil {
			u.t.Fatal(err)
		}
		if len(list.Items) == 0 {
			break
		}
		for _, job := range list.Items {
			if _, err := u.Engine.CompleteJob(u.t.Context(), u.Ann, job.ID, api.CompleteJobRequest{Lease: job.Lease}, ""); err != nil {
				u.t.Fatal(err)
			}
		}
	}
	if len(u.started) < 50 {
		u.t.Errorf("only %d instances were started: there was no load", len(u.started))
	}
	for _, id := range u.started {
		if got := u.Instance(id); got.Status != "completed" || got.Incidents != 0 {
			u.t.Errorf("instance %s is %s with %d incidents, want completed", id, got.Status, got.Incidents)
		}
	}
}

// toldWithin fails when readiness does not change to that answer in time.
func (u *under) toldWithin(limit time.Duration, ready bool) {
	u.t.Helper()
	for began := time.Now(); ; time.Sleep(time.Second) {
		err := u.Engine.Ready(u.t.Context())["keys"]
		if time.Since(began) > limit {
			break
		}
		if (err == nil) == ready {
			return
		}
	}
	u.t.Errorf("readiness did not become %t within %s", ready, limit)
}

// failing returns what the gauges say is wrong with the key service.
func (u *under) failing() string {
	u.t.Helper()
	registry := prometheus.NewRegistry()
	for _, c := range u.Node.Collectors() {
		registry.MustRegister(c)
	}
	families, err := registry.Gather()
	if err != nil {
		u.t.Fatal(err)
	}
	var reasons []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "underseal_key_service_failing" && m.GetGauge().GetValue() == 1 && m.GetLabel()[1].GetValue() == "faulty" {
				reasons = append(reasons, m.GetLabel()[0].GetValue())
			}
		}
	}
	return strings.Join(reasons, ",")
}

// alarms counts the errors in the log that are about the key service itself.
func (u *under) alarms() int { return strings.Count(u.log.String(), `level=ERROR msg="key service `) }

// TestAnIdleServerTellsOfAnOutage asks for no readiness and does nothing: figures and log
// tell of an outage all the same, and of its end.
func TestAnIdleServerTellsOfAnOutage(t *testing.T) {
	for name, c := range map[string]struct {
		fails func(*kmstest.Faulty)
		want  string
	}{
		"connections refused":      {(*kmstest.Faulty).Unreachable, "unreachable"},
		"no answers":               {(*kmstest.Faulty).Hang, "unreachable"},
		"answers that ask to wait": {(*kmstest.Faulty).Throttle, "throttled"},
		"the right is taken away":  {(*kmstest.Faulty).Deny, "denied"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUnder(t)
				time.Sleep(10 * time.Minute)
				if got := u.failing(); got != "" || u.alarms() != 0 {
					t.Fatalf("before the outage: failing %q, %d alarms", got, u.alarms())
				}
				c.fails(u.service)
				time.Sleep(40 * time.Second) // three tries of 5 seconds, and as long between them
				if got := u.failing(); got != c.want || u.alarms() != 1 {
					t.Errorf("in the outage: failing %q, %d alarms, want %q and 1", got, u.alarms(), c.want)
				}
				time.Sleep(10 * time.Minute)
				if got := strings.Count(u.log.String(), "level=ERROR"); got != 1 {
					t.Errorf("after 10 minutes the log has %d errors, want the alarm alone", got)
				}
				u.service.Restore()
				time.Sleep(90 * time.Second) // it may have been told to wait for a minute
				if got := u.failing(); got != "" {
					t.Errorf("after the outage: failing %q", got)
				}
			})
		})
	}
}

// TestAnOutagePausesWorkAndFailsNothing is promise P7.
func TestAnOutagePausesWorkAndFailsNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("hours under load, and a checkpoint for each second of them")
	}
	for name, fails := range map[string]func(*kmstest.Faulty){
		"connections refused": (*kmstest.Faulty).Unreachable, "no answers": (*kmstest.Faulty).Hang, "answers that ask to wait": (*kmstest.Faulty).Throttle,
	} {
		t.Run(name, func(t *testing.T) {
			underLoad(t, func(t *testing.T, u *under) {
				timed := u.Start("timed", `{}`)
				if u.failing() != "" || u.alarms() != 0 || len(u.refusals()) != 0 {
					t.Fatalf("before the outage: failing %q, %d alarms", u.failing(), u.alarms())
				}
				u.toldWithin(0, true) // and so nobody is asked for a while
				fails(u.service)
				u.toldWithin(10*time.Second, false)
				time.Sleep(54 * time.Minute) // some 4 minutes may be over since the last confirmation
				if got := u.refusals(); len(got) != 0 || u.idle() > 20*time.Second {
					t.Errorf("before the hard age: refusals %v, idle for %s, want work to go on", got, u.idle())
				}
				if u.failing() == "" || strings.Contains(u.failing(), "denied") || u.alarms() != 1 {
					t.Errorf("in the outage: failing %q, %d alarms, want one", u.failing(), u.alarms())
				}
				time.Sleep(7 * time.Minute)
				paused := u.idle()
				time.Sleep(70 * time.Minute) // the timer's time comes
				if u.idle() < paused+70*time.Minute || u.refusals()["key_denied"] != 0 {
					t.Errorf("after the hard age: idle for %s, want all to wait", u.idle())
				}
				u.service.Restore()
				u.toldWithin(70*time.Second, true)
				time.Sleep(2 * time.Minute)
				if got := u.Instance(timed); got.Status != "completed" || got.Incidents != 0 {
					t.Errorf("the instance with a timer is %s with %d incidents", got.Status, got.Incidents)
				}
				if u.failing() != "" || u.alarms() != 1 {
					t.Errorf("after the outage: failing %q, %d alarms, want one:\n%s", u.failing(), u.alarms(), &u.log)
				}
			})
		})
	}
}

func TestARefusalStopsWorkWithinTheSoftAgeAndFailsNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("half an hour under load, and a checkpoint for each second of it")
	}
	underLoad(t, func(t *testing.T, u *under) {
		u.toldWithin(0, true)
		u.service.Deny()
		u.toldWithin(10*time.Second, false)
		time.Sleep(5*time.Minute - 10*time.Second)
		u.refusals()
		began := time.Now()
		time.Sleep(20 * time.Minute)
		if got := u.refusals(); u.idle() < time.Since(began) || len(got) != 1 || got["key_denied"] == 0 {
			t.Errorf("idle for %s with refusals %v, want 20 minutes of key_denied alone", u.idle(), got)
		}
		if u.failing() != "denied" || u.alarms() != 1 {
			t.Errorf("failing %q, %d alarms, want denied and one", u.failing(), u.alarms())
		}
	})
}

func TestAClockThatJumpsInAnOutageFailsNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("hours under load, and a checkpoint for each second of them")
	}
	for name, jumps := range map[string][]time.Duration{
		"ahead": {90 * time.Minute}, "back": {-2 * time.Hour}, "to and fro": {3 * time.Hour, -3 * time.Hour, -time.Minute, 25 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			underLoad(t, func(t *testing.T, u *under) {
				u.service.Unreachable()
				for _, jump := range jumps {
					time.Sleep(10 * time.Minute)
					u.ahead.Add(int64(jump))
				}
				time.Sleep(10 * time.Minute)
				if u.idle() < 9*time.Minute {
					t.Errorf("idle for %s: keys are used whose age nobody knows", u.idle())
				}
			})
		})
	}
}
