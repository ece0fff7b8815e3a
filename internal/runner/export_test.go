package runner

import (
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/store"
)

// LeaveEmptySeat has two hold a seat one after the other, the second of whom drops the
// instance and is gone before the first one left. It throws away what is stale then,
// and returns how many seats there are before and after.
func LeaveEmptySeat(scope store.Scope, stale func(*engine.Live) bool) (before, after int) {
	h := newHot(10)
	s := h.join(hotKey{scope: scope})
	h.join(s.key)
	<-s.turn // the first one's, who keeps the instance
	s.turn <- struct{}{}
	<-s.turn // the second one's
	h.release(s)
	h.leave(s, true)
	before = h.len()
	h.throwAway(scope, stale)
	return before, h.len()
}
