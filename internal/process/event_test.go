package process_test

import (
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

func TestTimerCatchEvent(t *testing.T) {
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	cases := []struct {
		name, timer string
		want        time.Time
	}{
		{"a duration", `after duration("PT90M")`, begin.Add(90 * time.Minute)},
		{"the text of a duration", `after "P1DT1H"`, begin.Add(25 * time.Hour)},
		{"a duration from a variable", `after wait`, begin.Add(time.Hour)},
		{"months", `after duration("P3M")`, at("2027-02-21T12:00:00Z")},
		{"a date and time", `at date and time("2026-12-24T18:00:00Z")`, at("2026-12-24T18:00:00Z")},
		{"the text of one with an offset", `at "2026-12-24T18:00:00+02:00"`, at("2026-12-24T16:00:00Z")},
		{"one in a named zone", `at "2026-12-24T18:00:00@Europe/Paris"`, at("2026-12-24T17:00:00Z")},
		{"one without a zone is UTC", `at "2026-12-24T18:00:00"`, at("2026-12-24T18:00:00Z")},
		{"one in the past is due at once", `at "2020-01-01T00:00:00Z"`, at("2020-01-01T00:00:00Z")},
		{"what now() says", `at now() + duration("PT1S")`, begin.Add(time.Second)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := play(t, define(t, "start s\ntimer w | "+c.timer+"\nend e\ns -> w\nw -> e"), `{"wait":"PT1H"}`)
			if got := p.timer("w").Due; !got.Equal(c.want) {
				t.Errorf("due %v, want %v", got, c.want)
			}
			p.fire("w").wantDone()
		})
	}
}

func TestMonthsEndOnTheLastDay(t *testing.T) {
	p := &player{t: t, d: define(t, "start s\ntimer w | after \"P1M\"\ns -> w"), s: process.NewState(), fields: map[string]process.Change{}}
	p.now = time.Date(2027, 1, 31, 8, 0, 0, 0, time.UTC)
	p.step(process.Start{})
	if got, want := p.timer("w").Due, time.Date(2027, 2, 28, 8, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("due %v, want %v", got, want)
	}
}

func TestTimersThatCannotBeUnderstood(t *testing.T) {
	for _, timer := range []string{
		`after 5`, `after "soon"`, `after null`, `after missing`, `at "2026-13-01T00:00:00Z"`, `at duration("PT1H")`,
		`at "2026-12-24T18:00:00@Mars/Olympus"`, `at date and time("12345-01-01T00:00:00Z")`,
	} {
		t.Run(timer, func(t *testing.T) {
			p := play(t, define(t, "start s\ntimer w | "+timer+"\nend e\ns -> w\nw -> e"), "").wantOpen("expression@w")
			p.step(process.IncidentRetried{Incident: p.s.Incidents()[0].ID}).wantOpen("expression@w")
		})
	}
	for _, cycle := range []string{`"R0/PT1H"`, `"PT1H"`, `"R3/PT0S"`, `"R3/soon"`, `"Rx/PT1H"`, `"R/1/2/PT1H"`, `"R3/-PT1H"`, `"R3/tomorrow/PT1H"`, `7`} {
		t.Run("cycle "+cycle, func(t *testing.T) {
			play(t, define(t, "start s\nservice a\non-timer w | on a | every "+cycle+"\ns -> a"), "").wantOpen("expression@a")
		})
	}
}

const withTimer = `
	start s
	service a
	on-timer late | on a | interrupting | after "PT1H"
	service b
	service c
	end e
	s -> a
	a -> b
	late -> c
	b -> e
	c -> e
`

func TestInterruptingTimer(t *testing.T) {
	t.Run("ends its activity", func(t *testing.T) {
		p := play(t, define(t, withTimer), "").wantOpen("a late")
		job := p.job("a")
		p.fire("late").wantOpen("c")
		if got, want := p.trail(), "terminated a, entered late, completed late, taken late>c, entered c"; got != want {
			t.Errorf("trail %q, want %q", got, want)
		}
		if got, want := p.commands(), "CloseTimer CloseJob OfferJob"; got != want {
			t.Errorf("commands %q, want %q", got, want)
		}
		p.reject(process.JobCompleted{Job: job}, fault.Conflict)
		p.complete("c", "").wantDone()
	})
	t.Run("does not fire after completion", func(t *testing.T) {
		p := play(t, define(t, withTimer), "")
		timer := p.timer("late")
		p.now = timer.Due.Add(time.Hour) // the order of events decides, not the clock
		p.complete("a", "").wantOpen("b")
		p.reject(process.TimerFired{Timer: timer.ID}, fault.Conflict)
	})
	t.Run("does not fire early", func(t *testing.T) {
		p := play(t, define(t, withTimer), "")
		p.now = p.timer("late").Due.Add(-time.Microsecond)
		p.reject(process.TimerFired{Timer: p.timer("late").ID}, fault.Conflict)
	})
}

func TestNonInterruptingTimer(t *testing.T) {
	p := play(t, define(t, `
		start s
		service a
		on-timer remind | on a | after "PT1H"
		service mail
		end e
		s -> a
		a -> e
		remind -> mail
		mail -> e
	`), "")
	p.fire("remind").wantOpen("a mail").complete("a", "").wantOpen("mail").wantStatus(process.Active)
	p.complete("mail", "").wantDone()
}

func TestCycles(t *testing.T) {
	every := func(cycle string) *process.Definition {
		return define(t, "start s\nservice a\non-timer w | on a | every \""+cycle+"\"\ntask m\ns -> a\nw -> m")
	}
	t.Run("fire as often as they say", func(t *testing.T) {
		p := play(t, every("R3/PT10M"), "")
		for i := range 3 {
			if want := begin.Add(time.Duration(i+1) * 10 * time.Minute); !p.timer("w").Due.Equal(want) {
				t.Fatalf("firing %d is due %v, want %v", i, p.timer("w").Due, want)
			}
			p.fire("w")
		}
		p.wantOpen("a").complete("a", "").wantDone()
	})
	t.Run("without a count go on until the activity ends", func(t *testing.T) {
		p := play(t, every("R/PT1S"), "")
		for range 50 {
			p.fire("w").wantOpen("a w")
		}
		p.complete("a", "").wantDone()
	})
	t.Run("may begin at a date", func(t *testing.T) {
		p := play(t, every("R2/2027-01-01T00:00:00Z/P1M"), "")
		p.fire("w")
		if want := time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC); !p.timer("w").Due.Equal(want) {
			t.Errorf("second firing is due %v, want %v", p.timer("w").Due, want)
		}
		p.fire("w").wantOpen("a")
	})
	t.Run("do not make up for what was missed", func(t *testing.T) {
		for _, c := range []struct {
			cycle string
			want  time.Time
		}{
			{"R5/PT10M", begin.Add(25*time.Hour + 10*time.Minute)},
			{"R5/P1M", time.Date(2027, 12, 21, 12, 0, 0, 0, time.UTC)},
		} {
			p := play(t, every(c.cycle), "")
			p.now = begin.Add(25 * time.Hour)
			if c.cycle == "R5/P1M" {
				p.now = begin.AddDate(1, 0, 0)
			}
			p.fire("w")
			if !p.timer("w").Due.Equal(c.want) {
				t.Errorf("%s: due %v, want %v", c.cycle, p.timer("w").Due, c.want)
			}
		}
	})
}

const nested = `
	start s
	sub outer
	on-error any | on outer
	on-error known | on outer | code E1
	start s1 | in outer
	and fork | in outer
	sub inner | in outer
	on-error two | on inner | code E2
	start s2 | in inner
	service a | in inner
	end e2 | in inner
	service b | in outer
	end e1 | in outer
	service c
	service d
	service f | in outer
	s -> outer
	s1 -> fork
	fork -> inner
	fork -> b
	s2 -> a
	a -> e2
	inner -> e1
	b -> e1
	two -> f
	any -> c
	known -> d
`

func TestErrorsAreCaughtByTheNearest(t *testing.T) {
	throw := func(t *testing.T, code string) *player {
		p := play(t, define(t, nested), `{"keep":1}`).wantOpen("a b")
		return p.step(process.JobErrored{Job: p.job("a"), Code: code, Variables: vars(t, `{"why":"x"}`)})
	}
	t.Run("the one for the code before the one for any", func(t *testing.T) {
		p := throw(t, "E1").wantOpen("d").wantVariables(`{"keep":1,"why":"x"}`)
		if got, want := p.trail(), "terminated a, terminated inner, terminated b, terminated outer, entered known, completed known, taken known>d, entered d"; got != want {
			t.Errorf("trail %q, want %q", got, want)
		}
	})
	t.Run("any code", func(t *testing.T) { throw(t, "E9").wantOpen("c").complete("c", "").wantDone() })
	t.Run("the inner one leaves its siblings alone", func(t *testing.T) {
		throw(t, "E2").wantOpen("b f").complete("b", "").complete("f", "").wantDone()
	})
}

func TestErrorEndEvent(t *testing.T) {
	const text = `
		start s
		sub box
		on-error caught | on box | code E1
		start s1 | in box
		and fork | in box
		service a | in box
		xor g | in box
		error bad | in box | code E1
		error worse | in box | code E2
		end fine | in box
		service handle
		end e
		s -> box
		s1 -> fork
		fork -> a
		fork -> g
		g -> bad if x = 1
		g -> worse if x = 2
		g -> fine default
		caught -> handle
		handle -> e
		box -> e
	`
	t.Run("goes to the boundary event and ends its siblings", func(t *testing.T) {
		p := play(t, define(t, text), `{"x":1}`).wantOpen("handle")
		if got, want := p.commands(), "OfferJob"; got != want {
			t.Errorf("commands %q, want %q: the job that nobody saw is not closed either", got, want)
		}
	})
	t.Run("is an incident when nothing catches it", func(t *testing.T) {
		p := play(t, define(t, text), `{"x":2}`).wantOpen("a unhandled_error@worse").complete("a", "").wantStatus(process.Active)
		p.step(process.IncidentRetried{Incident: p.s.Incidents()[0].ID}).wantOpen("unhandled_error@worse")
		p.step(process.Canceled{}).wantStatus(process.Terminated)
	})
}

func TestErrorOfAWorkerThatNothingCatches(t *testing.T) {
	p := play(t, define(t, sequence), `{"amount":1}`)
	id := p.job("check")
	p.step(process.JobErrored{Job: id, Code: "E1", Message: "why"}).wantOpen("check unhandled_error@check")
	if i := p.s.Incidents()[0]; i.Job != id {
		t.Errorf("incident %+v does not name its job", i)
	}
	for _, message := range []string{"why", ""} {
		want := strings.TrimSuffix(`error "E1" is not caught: `+message, ": ")
		if text, _ := p.s.Field(process.IncidentPath(p.s.Incidents()[0].ID)); text != canon.String(want) {
			t.Errorf("the incident says %v, want %s", text, want)
		}
		p.step(process.IncidentRetried{Incident: p.s.Incidents()[0].ID}).wantOpen("check")
		p.step(process.JobErrored{Job: id, Code: "E1"}).wantOpen("check unhandled_error@check")
	}
	p.step(process.IncidentRetried{Incident: p.s.Incidents()[0].ID}).wantOpen("check").complete("check", "").wantDone()
}

func TestInterruptWhileAJoinHoldsAToken(t *testing.T) {
	p := play(t, define(t, `
		start s
		xor top
		sub box
		on-timer late | on box | interrupting | after "PT1H"
		start s1 | in box
		and fork | in box
		service a | in box
		service b | in box
		and join | in box
		service c | in box
		end e
		s -> top
		top -> box
		late -> top
		box -> e
		s1 -> fork
		fork -> a
		fork -> b
		a -> join
		b -> join
		join -> c
	`), "")
	p.complete("a", "").wantOpen("b late").fire("late").wantOpen("a b late")
	p.complete("b", "").wantOpen("a late") // the first round's token at the join is gone
	p.complete("a", "").wantOpen("c late").complete("c", "").wantDone()
}

func TestSecondInterruptIsRejected(t *testing.T) {
	p := play(t, define(t, `
		start s
		sub box
		on-timer one | on box | interrupting | after "PT1H"
		on-timer two | on box | interrupting | after "PT1H"
		on-error bad | on box
		start s1 | in box
		service a | in box
		end e
		s -> box
		s1 -> a
		one -> e
		two -> e
		bad -> e
		box -> e
	`), "")
	first, second, job := p.timer("one"), p.timer("two"), p.job("a")
	p.fire("one").wantDone()
	p.reject(process.TimerFired{Timer: second.ID}, fault.Conflict)
	p.reject(process.TimerFired{Timer: first.ID}, fault.Conflict)
	p.reject(process.JobErrored{Job: job}, fault.Conflict)
}
