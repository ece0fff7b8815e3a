package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// seats are the sessions that are known, and when each was last used, until that is
// written down.
type seats struct {
	// changing is held for writing while a session of the tenant ends, and for reading
	// while one is read to be known. So none is known that has ended.
	changing locks

	mu   sync.Mutex // guards what follows
	open map[usedBy]identity.Session
	used map[usedBy]bool // since that was written down
}

// maxSeats bounds how many sessions are known at a time. Where they are more, all are
// read anew, and what is not written down of their use is lost.
const maxSeats = 100_000

func (s *seats) get(scope store.Scope, token [32]byte) (identity.Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.open[usedBy{scope, token}]
	return found, ok
}

func (s *seats) put(scope store.Scope, session identity.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil || len(s.open) >= maxSeats {
		s.open, s.used = map[usedBy]identity.Session{}, map[usedBy]bool{}
	}
	s.open[usedBy{scope, session.Token}] = session
}

// touch notes that a session was used, if it is known still.
func (s *seats) touch(scope store.Scope, token [32]byte, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := usedBy{scope, token}
	if session, ok := s.open[by]; ok && at.After(session.Used) {
		session.Used = at
		s.open[by], s.used[by] = session, true
	}
}

func (s *seats) remove(scope store.Scope, token [32]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, usedBy{scope, token})
	delete(s.used, usedBy{scope, token})
}

// take returns the sessions whose use is not written down, by tenant, and forgets those
// that are over.
func (s *seats) take(now time.Time) map[store.Scope][]identity.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := map[store.Scope][]identity.Session{}
	for by, session := range s.open {
		switch {
		case !session.Live(now):
			delete(s.open, by)
		case s.used[by]:
			taken[by.scope] = append(taken[by.scope], session)
		}
	}
	s.used = map[usedBy]bool{}
	return taken
}

// WriteSessionUses writes down when sessions were last used. The node does so every five
// minutes and when it ends; by so much those that are used may end too early after a
// crash.
func (e *Engine) WriteSessionUses(ctx context.Context) error {
	var errs []error
	for scope, sessions := range e.people.seats.take(e.moment()) {
		errs = append(errs, e.writeUses(ctx, scope, sessions)) // what one tenant lacks is not the others' loss
	}
	return errors.Join(errs...)
}

func (e *Engine) writeUses(ctx context.Context, scope store.Scope, sessions []identity.Session) error {
	rows := make([]store.SessionRow, len(sessions))
	for i := range sessions {
		var err error
		if rows[i], err = e.identity.SealSession(ctx, scope, &sessions[i]); err != nil {
			return err
		}
	}
	return e.store.SealSessions(ctx, scope, rows...)
}

// SweepSessions takes away the rows of sessions that are over.
func (e *Engine) SweepSessions(ctx context.Context) error {
	return e.store.DeleteSessions(ctx, e.moment())
}
