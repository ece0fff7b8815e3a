package kms_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
)

func TestGuardedServiceIsAService(t *testing.T) {
	guard := func(s kms.Service) kms.Service {
		return kms.Guard(s, kms.GuardConfig{Name: "main", MaxPause: time.Nanosecond, MaxWait: time.Nanosecond})
	}
	kmstest.TestService(t, func(t *testing.T) kms.Service { return guard(kmstest.New(t)) })
	kmstest.TestFaults(t, func(t *testing.T) (kms.Service, kmstest.Faults) {
		s := kmstest.New(t)
		return guard(s), kmstest.Faults{Deny: s.Deny, Cut: s.Unreachable, Hang: s.Hang, Throttle: s.Throttle, Slow: s.Slow, Restore: s.Restore}
	})
}

// guarded is a faulty service behind a guard, with what they write.
type guarded struct {
	*kms.Guarded
	t       *testing.T
	service *kmstest.Faulty
	wrapped []byte
	log     *bytes.Buffer
}

func newGuarded(t *testing.T, edit func(*kms.GuardConfig)) *guarded {
	t.Helper()
	g := &guarded{t: t, service: kmstest.New(t), log: new(bytes.Buffer)}
	config := kms.GuardConfig{Name: "main", Log: slog.New(slog.NewTextHandler(g.log, nil))}
	if edit != nil {
		edit(&config)
	}
	g.Guarded = kms.Guard(g.service, config)
	var err error
	if g.wrapped, err = g.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	return g
}

// unwrap makes one call.
func (g *guarded) unwrap() error {
	_, err := g.Unwrap(g.t.Context(), kmstest.Context(), g.wrapped)
	return err
}

// asked calls every 100 ms for a while and returns how many calls were made.
func (g *guarded) asked(for_ time.Duration) int {
	before := g.service.Calls()
	for end := time.Now().Add(for_); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		_ = g.unwrap()
	}
	return g.service.Calls() - before
}

func (g *guarded) want(what string, err error, kind fault.Kind, code string) {
	g.t.Helper()
	if !fault.Is(err, kind) || fault.CodeOf(err) != code {
		g.t.Errorf("%s: %v (code %q), want %s with code %q", what, err, fault.CodeOf(err), kind, code)
	}
}

func TestAServiceThatDoesNotAnswerIsLeftAloneAndFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, nil)
		g.service.Unreachable()
		if n := g.asked(time.Minute); n < 3+8 || n > 3+20 {
			t.Errorf("in a minute of outage the service was asked %d times, want three times and then with pauses of up to 5 s", n)
		}
		g.want("during the outage", g.unwrap(), fault.Unavailable, "unavailable")
		g.service.Restore()
		time.Sleep(5 * time.Second)
		for range 5 {
			if err := g.unwrap(); err != nil {
				t.Fatalf("5 s after the outage: %v", err)
			}
		}
	})
}

func TestSingleFailuresPauseNothing(t *testing.T) {
	g := newGuarded(t, nil)
	for range 20 {
		g.service.Unreachable()
		g.want("failure", g.unwrap(), fault.Unavailable, "unavailable")
		g.want("failure", g.unwrap(), fault.Unavailable, "unavailable")
		g.service.Restore()
		if err := g.unwrap(); err != nil {
			t.Fatalf("after two failures: %v", err)
		}
	}
}

func TestARefusalComesThroughEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, nil)
		g.service.Deny()
		if n := g.asked(10 * time.Second); n != 100 {
			t.Errorf("the service was asked %d times of 100", n)
		}
		g.want("while refused", g.unwrap(), fault.Denied, "denied")
		g.service.Unreachable()
		g.asked(time.Minute)
		g.service.Deny()
		time.Sleep(5 * time.Second)
		g.want("refused after an outage", g.unwrap(), fault.Denied, "denied")
		g.service.Restore()
		if err := g.unwrap(); err != nil {
			t.Errorf("with the right given back: %v", err)
		}
	})
}

func TestAServiceThatAsksToWaitIsWaitedForButNotForEver(t *testing.T) {
	for name, test := range map[string]struct{ asks, waits time.Duration }{
		"half a minute":         {30 * time.Second, 30 * time.Second},
		"a day":                 {24 * time.Hour, time.Minute},
		"without saying a time": {0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuarded(t, nil)
				g.service.Hook(func(context.Context) error { return kms.Throttled(test.asks, "later") })
				g.want("first call", g.unwrap(), fault.Unavailable, kms.CodeThrottled)
				g.service.Restore()
				if n := g.asked(test.waits - time.Millisecond); n != 0 {
					t.Errorf("asked %d times while it was to be left alone", n)
				}
				time.Sleep(time.Millisecond)
				if err := g.unwrap(); err != nil {
					t.Errorf("after %s: %v", test.waits, err)
				}
			})
		})
	}
}

func TestOneCallFindsOutWhetherTheServiceIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, nil)
		g.service.Unreachable()
		g.asked(10 * time.Second)
		g.service.Hook(func(context.Context) error { time.Sleep(3 * time.Second); return nil })
		time.Sleep(5 * time.Second)
		before := g.service.Calls()
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() { _ = g.unwrap() })
		}
		calls.Wait()
		if n := g.service.Calls() - before; n != 1 {
			t.Errorf("%d calls found out whether the service is back, want 1", n)
		}
		if err := g.unwrap(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestACallThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, func(c *kms.GuardConfig) { c.Timeout = 2 * time.Second })
		g.service.Hang()
		began := time.Now()
		g.want("a call that hangs", g.unwrap(), fault.Unavailable, "unavailable")
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("given up after %s, want 2s", took)
		}
	})
}

func TestHowLongCallsTakeIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, nil)
		g.service.Hook(func(context.Context) error { time.Sleep(3 * time.Second); return nil })
		for range 2 {
			if err := g.unwrap(); err != nil {
				t.Fatal(err)
			}
		}
		g.wantFigures("after two slow calls", map[string]float64{"call_seconds unwrap": 6, "failing unreachable": 0})
	})
}

func TestCallersWhoGoAwayAreNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, nil)
		g.service.Hang()
		for range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_, err := g.Unwrap(ctx, kmstest.Context(), g.wrapped)
			g.want("canceled", err, fault.Unavailable, "unavailable")
		}
		g.service.Restore()
		if err := g.unwrap(); err != nil {
			t.Errorf("after ten callers who went away: %v", err)
		}
	})
}

func TestAClockThatJumpsDoesNotShutTheServiceOut(t *testing.T) {
	for name, jump := range map[string]time.Duration{"back": -24 * time.Hour, "ahead": 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1_000_000, 0)
			g := newGuarded(t, func(c *kms.GuardConfig) { c.Now = func() time.Time { return now } })
			g.service.Unreachable()
			for range 3 {
				g.want("outage", g.unwrap(), fault.Unavailable, "unavailable")
			}
			calls := g.service.Calls()
			g.service.Restore()
			g.want("the pause", g.unwrap(), fault.Unavailable, "unavailable")
			if g.service.Calls() != calls {
				t.Error("asked during the pause")
			}
			now = now.Add(jump)
			if err := g.unwrap(); err != nil {
				t.Errorf("after the jump: %v", err)
			}
		})
	}
}

func TestAGuardPassesRotationThroughOrSaysThatThereIsNone(t *testing.T) {
	g := newGuarded(t, nil)
	if version, err := g.Rotate(t.Context()); err != nil || version != "2" {
		t.Errorf("Rotate: %q, %v, want 2", version, err)
	}
	fixed := kms.Guard(struct{ kms.Service }{g.service}, kms.GuardConfig{Name: "fixed"})
	_, err := fixed.Rotate(t.Context())
	g.want("Rotate of a service that cannot", err, fault.Invalid, "invalid")
}

// figures returns the guard's metrics by name and labels.
func (g *guarded) figures() map[string]float64 {
	g.t.Helper()
	registry := prometheus.NewRegistry()
	for _, c := range g.Collectors() {
		registry.MustRegister(c)
	}
	families, err := registry.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	figures := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), "underseal_key_service_")
			for _, label := range m.GetLabel() {
				if label.GetName() != "service" {
					name += " " + label.GetValue()
				} else if label.GetValue() != "main" {
					g.t.Errorf("%s is of the service %q", name, label.GetValue())
				}
			}
			figures[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
		}
	}
	return figures
}

func (g *guarded) wantFigures(when string, want map[string]float64) {
	g.t.Helper()
	got := g.figures()
	for name, value := range want {
		if got[name] != value {
			g.t.Errorf("%s: %s is %g, want %g (all: %v)", when, name, got[name], value, got)
		}
	}
}

func TestMetricsAndLogTellOfEachChangeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, nil)
		lines := func() int { return strings.Count(g.log.String(), "level=ERROR") }
		time.Sleep(7 * time.Second)
		g.wantFigures("in peace", map[string]float64{
			"calls_total wrap ok": 1, "breaker": 0, "success_age_seconds": 7, "failing denied": 0, "failing unreachable": 0, "failing throttled": 0})

		g.service.Unreachable()
		g.asked(time.Minute)
		g.wantFigures("in an outage", map[string]float64{"breaker": 2, "success_age_seconds": 67, "failing unreachable": 1, "failing denied": 0})
		if got := g.figures(); got["calls_total unwrap unavailable"] < 3 || got["calls_total unwrap not_tried"] < 100 {
			t.Errorf("in an outage: %v", got)
		}
		if lines() != 1 || !strings.Contains(g.log.String(), "service=main") {
			t.Errorf("the log of an outage, want one error:\n%s", g.log)
		}
		time.Sleep(time.Minute)
		g.wantFigures("when the pause is over", map[string]float64{"breaker": 1, "failing unreachable": 1})

		g.service.Restore()
		g.asked(time.Second)
		g.wantFigures("after the outage", map[string]float64{"breaker": 0, "success_age_seconds": 0.1, "failing unreachable": 0})
		if n := strings.Count(g.log.String(), "answers again"); n != 1 {
			t.Errorf("the log of the end, want one line:\n%s", g.log)
		}

		g.service.Deny()
		g.asked(time.Minute)
		g.wantFigures("when refused", map[string]float64{"breaker": 0, "failing denied": 1, "failing unreachable": 0, "calls_total unwrap denied": 600})
		if lines() != 2 {
			t.Errorf("the log of a refusal, want one more error:\n%s", g.log)
		}
		g.service.Throttle()
		g.asked(time.Second)
		g.wantFigures("when asked to wait", map[string]float64{"failing throttled": 1, "failing unreachable": 0, "failing denied": 1, "calls_total unwrap throttled": 1})
		g.service.Restore()
		time.Sleep(time.Minute)
		g.asked(time.Second)
		g.wantFigures("in the end", map[string]float64{"failing throttled": 0, "failing denied": 0})
	})
}

// Who may not rotate or destroy, works all the same: that is no alarm.
func TestARefusalToRotateOrDestroyIsNoAlarm(t *testing.T) {
	g := newGuarded(t, nil)
	g.service.Deny()
	_, err := g.Rotate(t.Context())
	g.want("Rotate", err, fault.Denied, "denied")
	g.want("Destroy", g.Destroy(t.Context(), "1"), fault.Denied, "denied")
	g.service.Restore()
	g.wantFigures("when refused to rotate and destroy", map[string]float64{
		"failing denied": 0, "calls_total rotate denied": 1, "calls_total destroy denied": 1})
	if log := g.log.String(); strings.Contains(log, "level=ERROR") || strings.Count(log, "level=WARN") != 2 {
		t.Errorf("the log, want two warnings:\n%s", log)
	}
}

func TestAnErrorOfTheGuardNamesServiceAndCause(t *testing.T) {
	g := newGuarded(t, nil)
	g.service.Hook(func(context.Context) error {
		return fault.New(fault.Unavailable, "connection refused").WithHint("start it")
	})
	for range 3 {
		_ = g.unwrap()
	}
	var err *fault.Error
	if !errors.As(g.unwrap(), &err) || !strings.Contains(err.Message, "main") || !strings.Contains(err.Message, "connection refused") || err.Hint != "start it" {
		t.Errorf("the error says %v, want service, cause and its hint", err)
	}
	if !strings.Contains(g.log.String(), `hint="start it"`) {
		t.Errorf("the log says no hint:\n%s", g.log)
	}
}
