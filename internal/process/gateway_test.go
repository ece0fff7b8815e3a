package process_test

import (
	"testing"

	"github.com/underseal/underseal/internal/process"
)

const forkJoin = `
	start s
	and fork
	service a
	service b
	and join
	service last
	end e
	s -> fork
	fork -> a
	fork -> b
	a -> join
	b -> join
	join -> last
	last -> e
`

func TestParallelJoinWaitsForEveryFlow(t *testing.T) {
	d := define(t, forkJoin)
	play(t, d, "").wantOpen("a b").complete("b", "").wantOpen("a").complete("a", "").wantOpen("last").complete("last", "").wantDone()
}

func TestParallelJoinCountsFlowsNotTokens(t *testing.T) {
	// Two tokens come by one flow; the other flow is empty. The join must wait,
	// and the second token belongs to the next round.
	p := play(t, define(t, `
		start s
		and fork
		service a
		service b
		and join
		service last
		end e
		s -> fork
		fork -> a
		fork -> a
		fork -> b
		a -> join
		b -> join
		join -> last
		last -> e
	`), "")
	p.complete("a", "").complete("a", "").wantOpen("b")
	p.complete("b", "").wantOpen("last").complete("last", "").wantOpen("").wantStatus(process.Active)
	p.step(process.Canceled{}).wantStatus(process.Terminated)
}

func TestParallelGatewayJoinsAndForks(t *testing.T) {
	p := play(t, define(t, `
		start s
		and fork
		service a
		service b
		and both
		service c
		service d
		s -> fork
		fork -> a
		fork -> b
		a -> both
		b -> both
		both -> c
		both -> d
	`), "")
	p.complete("a", "").complete("b", "").wantOpen("c d").complete("d", "").complete("c", "").wantDone()
}

func TestParallelJoinInALoop(t *testing.T) {
	p := play(t, define(t, `
		start s
		xor top
		and fork
		service a
		service b
		and join
		xor again
		end e
		s -> top
		top -> fork
		fork -> a
		fork -> b
		a -> join
		b -> join
		join -> again
		again -> top if more
		again -> e default
	`), `{"more":true}`)
	for range 3 {
		p.wantOpen("a b").complete("a", "").complete("b", "")
	}
	p.complete("b", `{"more":false}`).complete("a", "").wantDone()
}

func TestExclusiveGateway(t *testing.T) {
	const text = `
		start s
		xor g
		service a
		service b
		s -> g
		g -> a if x > 1
		g -> b if x > 0
	`
	t.Run("the first condition that holds decides", func(t *testing.T) {
		play(t, define(t, text), `{"x":2}`).wantOpen("a")
		play(t, define(t, text), `{"x":1}`).wantOpen("b")
	})
	t.Run("none and no default is an incident, retried after a fix", func(t *testing.T) {
		p := play(t, define(t, text), `{"x":0}`).wantOpen("no_flow@g")
		p.step(process.IncidentRetried{Incident: p.s.Incidents()[0].ID}).wantOpen("no_flow@g")
		if got, want := p.commands(), "CloseIncident RaiseIncident"; got != want {
			t.Errorf("commands %q, want %q", got, want)
		}
		p.step(process.VariablesSet{Variables: vars(t, `{"x":1}`)}).wantOpen("no_flow@g")
		p.step(process.IncidentRetried{Incident: p.s.Incidents()[0].ID}).wantOpen("b")
	})
	t.Run("a mixed one joins nothing", func(t *testing.T) {
		p := play(t, define(t, `
			start s
			and fork
			xor merge
			service a
			s -> fork
			fork -> merge
			fork -> merge
			merge -> a
		`), "")
		p.wantOpen("a a")
	})
}

const inclusive = `
	start s
	or split
	service a
	service b
	service c
	or join
	service last
	end e
	s -> split
	split -> a if x > 0
	split -> b if x > 1
	split -> c default
	a -> join
	b -> join
	c -> join
	join -> last
	last -> e
`

func TestInclusiveGateway(t *testing.T) {
	d := define(t, inclusive)
	t.Run("all that hold are taken and joined", func(t *testing.T) {
		p := play(t, d, `{"x":2}`).wantOpen("a b").complete("b", "").wantOpen("a").complete("a", "").wantOpen("last")
		p.complete("last", "").wantDone()
	})
	t.Run("one alone is not waited for", func(t *testing.T) {
		play(t, d, `{"x":1}`).wantOpen("a").complete("a", "").wantOpen("last")
	})
	t.Run("the default is taken when none holds", func(t *testing.T) {
		play(t, d, `{"x":0}`).wantOpen("c").complete("c", "").wantOpen("last")
	})
}

func TestInclusiveJoinIsLookedAtAgainWhenTheLastTokenDies(t *testing.T) {
	p := play(t, define(t, `
		start s
		and split
		service a
		service b
		xor maybe
		or join
		service last
		end gone
		s -> split
		split -> a
		split -> b
		a -> join
		b -> maybe
		maybe -> join if go
		maybe -> gone default
		join -> last
	`), `{"go":false}`)
	p.complete("a", "").wantOpen("b")
	p.complete("b", "").wantOpen("last")
}

func TestInclusiveJoinIsLookedAtAgainWhenABranchIsInterrupted(t *testing.T) {
	p := play(t, define(t, `
		start s
		and split
		service a
		service b
		on-timer late | on b | interrupting | after duration("PT1H")
		end gone
		or join
		service last
		s -> split
		split -> a
		split -> b
		a -> join
		b -> join
		late -> gone
		join -> last
	`), "")
	p.complete("a", "").wantOpen("b late")
	p.fire("late").wantOpen("last")
}

func TestInclusiveJoinWaitsForBoundaryEventsOfItsBranches(t *testing.T) {
	p := play(t, define(t, `
		start s
		and split
		service a
		service b
		on-timer late | on b | interrupting | after duration("PT1H")
		service c
		end done
		or join
		service last
		s -> split
		split -> a
		split -> b
		a -> join
		b -> done
		late -> c
		c -> join
		join -> last
	`), "")
	p.complete("a", "").wantOpen("b late")
	p.fire("late").wantOpen("c").complete("c", "").wantOpen("last")
}

func TestInclusiveJoinInALoopWaitsForTheWholeRound(t *testing.T) {
	p := play(t, define(t, `
		start s
		or join
		or split
		service a
		service b
		xor again
		end e
		s -> join
		join -> split
		split -> a
		split -> b
		a -> again
		again -> join if more
		again -> e default
		b -> join
	`), `{"more":true}`)
	p.wantOpen("a b").complete("b", "").wantOpen("a").complete("a", "").wantOpen("a b")
	p.complete("b", "").wantOpen("a").complete("a", `{"more":false}`).wantOpen("a b")
	p.complete("a", "").wantOpen("b").complete("b", "").wantOpen("a b")
}

func TestInclusiveJoinDoesNotWaitForWhatMustPassItFirst(t *testing.T) {
	// b can come by the flow that holds a token, or round the loop, which leads
	// through the join itself.
	p := play(t, define(t, `
		start s
		and fork
		service a
		service b
		xor merge
		or join
		service last
		xor again
		end e
		s -> fork
		fork -> a
		fork -> b
		a -> merge
		b -> merge
		merge -> join
		join -> last
		last -> again
		again -> join if more
		again -> e default
	`), `{"more":false}`)
	p.complete("a", "").wantOpen("b last")
}

func TestInclusiveJoinsThatBlockEachOtherFireInDocumentOrder(t *testing.T) {
	// Each join's empty flow can be reached only from the other join.
	const text = `
		start s
		and split
		service a
		service b
		service other
		or first
		or second
		xor after1
		xor after2
		service x
		service y
		s -> split
		split -> a
		split -> b
		split -> other
		a -> first
		b -> second
		first -> after1
		after1 -> second if loop1
		after1 -> x default
		second -> after2
		after2 -> first if loop2
		after2 -> y default
	`
	t.Run("one at a time", func(t *testing.T) {
		p := play(t, define(t, text), `{"loop1":false,"loop2":false}`)
		p.complete("a", "").wantOpen("b other").complete("b", "").wantOpen("other x y")
	})
	t.Run("the second waits for what the first sends on", func(t *testing.T) {
		p := play(t, define(t, text), `{"loop1":true,"loop2":false}`)
		p.complete("b", "").wantOpen("a other").complete("a", "").wantOpen("other y")
	})
}

func TestTerminateEndsItsScopeOnly(t *testing.T) {
	const inner = `
		start s
		sub box
		start s1 | in box
		and fork1 | in box
		service a | in box
		service b | in box
		terminate stop | in box
		service after
		end e
		s -> box
		s1 -> fork1
		fork1 -> a
		fork1 -> b
		a -> stop
		box -> after
		after -> e
	`
	p := play(t, define(t, inner), "").wantOpen("a b").complete("a", "").wantOpen("after")
	if got, want := p.trail(), "completed a, taken a>stop, entered stop, terminated b, completed stop, completed box, taken box>after, entered after"; got != want {
		t.Errorf("trail %q, want %q", got, want)
	}
	p.complete("after", "").wantDone()

	p = play(t, define(t, `
		start s
		and fork
		sub box
		start s1 | in box
		service a | in box
		and join
		service b
		terminate stop
		s -> fork
		fork -> box
		fork -> b
		fork -> join
		s1 -> a
		box -> join
		b -> stop
	`), "")
	p.wantOpen("a b").complete("b", "").wantDone()
}
