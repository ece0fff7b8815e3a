package runner

import (
	"container/list"
	"context"
	"sync"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// hot is the instances that are open, least recently used first. An instance
// that somebody uses or waits for is never dropped.
type hot struct {
	mu    sync.Mutex // guards everything below and seat.users, seat.idle
	limit int
	seats map[hotKey]*seat
	idle  *list.List // of *seat with no users
}

type hotKey struct {
	scope store.Scope
	id    store.ID
}

// seat is the place of one instance. Whoever has received from turn holds it.
type seat struct {
	key   hotKey
	turn  chan struct{} // holds one token while nobody holds the seat
	live  *engine.Live  // nil: not open; owned by the holder
	users int
	idle  *list.Element
}

func newHot(limit int) *hot {
	return &hot{limit: limit, seats: map[hotKey]*seat{}, idle: list.New()}
}

func (h *hot) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.seats)
}

// take waits for the seat of an instance.
func (h *hot) take(ctx context.Context, key hotKey) (*seat, error) {
	s := h.join(key)
	select {
	case <-s.turn:
		return s, nil
	case <-ctx.Done():
		h.leave(s, false)
		return nil, fault.New(fault.Unavailable, "gave up waiting for the instance: %w", ctx.Err())
	}
}

func (h *hot) join(key hotKey) *seat {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.seats[key]
	if !ok {
		s = &seat{key: key, turn: make(chan struct{}, 1)}
		s.turn <- struct{}{}
		h.seats[key] = s
	}
	if s.idle != nil {
		h.idle.Remove(s.idle)
		s.idle = nil
	}
	s.users++
	return s
}

// release gives the seat to the next one. What is not known to be durable is
// thrown away, and so is an instance that has ended.
func (h *hot) release(s *seat) {
	if s.live != nil && s.live.Dirty() {
		s.live = nil
	}
	keep := s.live != nil && s.live.State().Status() == process.Active
	s.turn <- struct{}{}
	h.leave(s, keep)
}

func (h *hot) leave(s *seat, keep bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.users--
	if s.users > 0 {
		return
	}
	if !keep {
		delete(h.seats, s.key)
		return
	}
	s.idle = h.idle.PushBack(s)
	for h.idle.Len() > h.limit {
		oldest := h.idle.Remove(h.idle.Front()).(*seat)
		oldest.idle = nil
		delete(h.seats, oldest.key)
	}
}

// throwAway forgets those instances of a tenant that nobody uses and that are stale,
// and returns those that are in use.
func (h *hot) throwAway(scope store.Scope, stale func(*engine.Live) bool) (inUse []hotKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, s := range h.seats {
		switch {
		case key.scope != scope:
		case s.users > 0:
			inUse = append(inUse, key)
		case s.live == nil || stale(s.live): // nil: dropped by the last holder while the one before was leaving
			h.idle.Remove(s.idle)
			delete(h.seats, key)
		}
	}
	return inUse
}
