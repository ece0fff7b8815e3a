package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// credentialUsed is the entry of somebody who was admitted by a credential, other than by
// signing in: at the first use from an address, and once an hour how many followed.
const credentialUsed = "credential.used"

// maxUsers bounds from how many addresses the uses of one credential are told apart at a
// time. All others share one count.
const maxUsers = 64

// uses remembers how often credentials were used, and when last, until that is written down.
type uses struct {
	mu   sync.Mutex // guards what follows
	open map[usedFrom]*use
	last map[usedBy]time.Time
	from map[usedBy]int // how many addresses are told apart
}

// usedBy is a credential.
type usedBy struct {
	scope store.Scope
	token [32]byte
}

type usedFrom struct {
	usedBy
	prefix string // of the address; "": all that are not told apart
}

// use is what the log was not told of yet.
type use struct {
	by    Caller
	since time.Time // the log was told then
	count int
}

// note takes a use down, and reports whether it is the first from its address, which is
// told at once.
func (u *uses) note(c Caller, token [32]byte, at time.Time) (first bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.begin()
	by := usedFrom{usedBy{c.Scope, token}, prefixOf(c.Address)}
	u.last[by.usedBy] = at
	if known, ok := u.open[by]; ok {
		known.count++
		return false
	}
	if u.from[by.usedBy] >= maxUsers {
		by.prefix, c.Address = "", ""
		if known, ok := u.open[by]; ok {
			known.count++
			return false
		}
	}
	u.from[by.usedBy]++
	u.open[by] = &use{by: Caller{Scope: c.Scope, Principal: c.Principal, Key: c.Key, Address: c.Address}, since: at}
	return true
}

// untold takes back that the log was told of a use.
func (u *uses) untold(c Caller, token [32]byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, prefix := range []string{prefixOf(c.Address), ""} {
		if known, ok := u.open[usedFrom{usedBy{c.Scope, token}, prefix}]; ok {
			known.count++
			return
		}
	}
}

// of returns when a credential was last used, if that is not written down yet.
func (u *uses) of(scope store.Scope, token [32]byte) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last[usedBy{scope, token}]
}

// take returns what is not written down: when credentials were used last, by tenant, and
// what the log is to be told.
func (u *uses) take() (last map[store.Scope]map[[32]byte]time.Time, counted map[usedFrom]*use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	last, counted = map[store.Scope]map[[32]byte]time.Time{}, map[usedFrom]*use{}
	for of, at := range u.last {
		if last[of.scope] == nil {
			last[of.scope] = map[[32]byte]time.Time{}
		}
		last[of.scope][of.token] = at
	}
	for by, known := range u.open {
		if known.count > 0 {
			counted[by] = known
		}
	}
	u.open, u.last, u.from = nil, nil, nil
	return last, counted
}

// lastAgain takes back when credentials of a tenant were used last.
func (u *uses) lastAgain(scope store.Scope, used map[[32]byte]time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.begin()
	for token, at := range used {
		if by := (usedBy{scope, token}); at.After(u.last[by]) {
			u.last[by] = at
		}
	}
}

// countAgain takes back a count that the log could not be told.
func (u *uses) countAgain(by usedFrom, counted *use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.begin()
	if newer, ok := u.open[by]; ok {
		counted.count += newer.count
	} else {
		u.from[by.usedBy]++
	}
	u.open[by] = counted
}

// begin is for a caller who holds mu.
func (u *uses) begin() {
	if u.open == nil {
		u.open, u.last, u.from = map[usedFrom]*use{}, map[usedBy]time.Time{}, map[usedBy]int{}
	}
}

// used takes down that a credential admitted somebody. What the log cannot be told now, it
// is told with the count: nothing is shown or done by this alone.
func (e *Engine) used(ctx context.Context, c Caller, token [32]byte, at time.Time) {
	if e.people.used.note(c, token, at) && e.tellUse(ctx, &use{by: c, count: 1}) != nil {
		e.people.used.untold(c, token)
	}
}

func (e *Engine) tellUse(ctx context.Context, u *use) error {
	fields := []fieldWrite{{path: "$count", value: canon.NewNumber(int64(u.count))}}
	if !u.since.IsZero() {
		fields = append(fields, fieldWrite{path: "$since", value: canon.String(formatTime(u.since))})
	}
	return e.record(ctx, u.by.Scope, act{kind: credentialUsed, act: "user", actor: u.by, fields: fields})
}

// WriteUses writes down when credentials were last used, and tells the log how often. The
// node does so every hour and when it ends; what a crash loses is no more than that. What
// cannot be written now is written with what comes.
func (e *Engine) WriteUses(ctx context.Context) error {
	last, counted := e.people.used.take()
	var errs []error
	for scope, used := range last {
		if err := e.store.CredentialsUsed(ctx, scope, used); err != nil {
			e.people.used.lastAgain(scope, used)
			errs = append(errs, err)
		}
	}
	for by, u := range counted {
		if err := e.tellUse(ctx, u); err != nil && !fault.Is(err, fault.NotFound) { // of a tenant that is gone
			e.people.used.countAgain(by, u)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
