package kms

import (
	"errors"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// A breaker decides whether a service is asked. Closed: it is. Open: it is left
// alone for a pause. Half open: the pause is over and one call, the probe, finds
// out; its answer closes the breaker, its failure begins a longer pause.
//
// Only a service that does not answer opens it. One that asks to wait opens it
// at once, for as long as it asked.
type breaker struct {
	config *GuardConfig

	mu       sync.Mutex    // guards what follows
	failures int           // in a row
	pause    time.Duration // 0: closed
	since    time.Time     // when the pause began
	probing  bool          // the probe is under way
	because  error         // the failure that the pause is for
}

// The states of a breaker, as the gauge shows them.
const (
	closed = iota
	halfOpen
	open
)

// state returns the state and, when it is open, how much of the pause is left. A
// clock that was set back ends the pause: it might last for ever.
func (b *breaker) state() (state int, left time.Duration) {
	if b.pause == 0 {
		return closed, 0
	}
	if waited := b.config.Now().Sub(b.since); waited >= 0 && waited < b.pause {
		return open, b.pause - waited
	}
	return halfOpen, 0
}

// enter says whether a call may be made and whether it is the probe. The error
// is Unavailable.
func (b *breaker) enter() (probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	state, left := b.state()
	switch {
	case state == closed:
		return false, nil
	case state == halfOpen && !b.probing:
		b.probing = true
		return true, nil
	}
	return false, b.refusal(left)
}

// refusal is the answer while the service is left alone.
func (b *breaker) refusal(left time.Duration) error {
	const text = "key service %s is not asked for another %s: %w"
	left = left.Round(time.Millisecond)
	if fault.CodeOf(b.because) == CodeThrottled {
		return Throttled(left, text, b.config.Name, left, b.because)
	}
	return fault.New(fault.Unavailable, text, b.config.Name, left, b.because).WithHint("%s", hint(b.because))
}

// hint returns what the error says is to be done, "" when it says nothing.
func hint(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Hint
	}
	return ""
}

// forget ends a call that told nothing.
func (b *breaker) forget(probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
}

// leave takes note of a call's outcome.
func (b *breaker) leave(probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	if err == nil || !fault.Is(err, fault.Unavailable) {
		b.close()
		return
	}
	b.failures++
	throttled := fault.CodeOf(err) == CodeThrottled
	// What was under way when the pause began does not lengthen it.
	if probe || b.pause == 0 && (throttled || b.failures >= b.config.Failures) {
		b.open(err, throttled)
	}
}

// close says that the service answers.
func (b *breaker) close() {
	if b.pause != 0 {
		b.config.Log.Info("key service answers again", "service", b.config.Name, "failures", b.failures)
	}
	b.failures, b.pause, b.because = 0, 0, nil
}

// open begins a pause. The log says so once, not again for each failed probe.
func (b *breaker) open(err error, throttled bool) {
	if b.pause == 0 {
		b.config.Log.Error("key service does not answer: keys in memory serve until they are too old, then work waits",
			"service", b.config.Name, "throttled", throttled, "error", err, "hint", hint(err))
	}
	b.pause = min(max(2*b.pause, b.config.FirstPause), b.config.MaxPause)
	if wait := Wait(err); throttled && wait > b.pause {
		b.pause = min(wait, b.config.MaxWait)
	}
	b.since, b.because = b.config.Now(), err
}

// view is what the gauges show.
func (b *breaker) view() (state int, throttled bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	state, _ = b.state()
	return state, fault.CodeOf(b.because) == CodeThrottled
}
