package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// departures are whom issuers have signed out lately: a session of theirs that is just
// being begun must not stay.
type departures struct {
	mu     sync.Mutex // guards lately
	lately map[store.Scope][]departure
}

type departure struct {
	of identity.Logout
	at time.Time
}

// departureAge is for how long an answer of an issuer may be on its way to becoming a
// session, also through a program.
const departureAge = time.Minute + identity.VoucherAge

func (d *departures) note(scope store.Scope, of identity.Logout, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	isOld := func(known departure) bool { return now.Sub(known.at) > departureAge }
	maps.DeleteFunc(d.lately, func(_ store.Scope, all []departure) bool { return isOld(all[len(all)-1]) })
	all := d.lately[scope]
	for len(all) > 0 && isOld(all[0]) {
		all = all[1:]
	}
	if d.lately == nil {
		d.lately = map[store.Scope][]departure{}
	}
	d.lately[scope] = append(all, departure{of, now})
}

// since reports whether somebody was signed out since a moment.
func (d *departures) since(scope store.Scope, c identity.Claims, began time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.lately[scope], func(known departure) bool {
		out := known.of
		return out.Issuer == c.Issuer && !known.at.Before(began) && out.Means(c.Issued) &&
			(out.Subject == "" || out.Subject == c.Subject) && meant(out, c.Session)
	})
}

// meant reports whether a logout is of a session at the issuer. One of which the issuer has
// not said what it is there ends with all of its person.
func meant(out identity.Logout, there string) bool {
	return out.Session == "" || out.Session == there || there == "" && out.Subject != ""
}

// stayed ends a session that has just begun, if its person was signed out at the issuer
// since the issuer was asked.
func (e *Engine) stayed(ctx context.Context, scope store.Scope, c identity.Claims, begun api.NewSession, asked time.Time) error {
	if !e.departures.since(scope, c, asked) {
		return nil
	}
	id, err := store.ParseID(begun.ID)
	if err != nil {
		return err
	}
	row, err := e.store.SessionByID(ctx, scope, id)
	if err != nil {
		return err
	}
	s, err := e.identity.OpenSession(ctx, scope, row)
	if err == nil {
		err = e.endSession(ctx, scope, s, byEngine)
	}
	if err != nil {
		return err
	}
	return nobody(fault.New(fault.Denied, "the issuer has signed them out meanwhile"))
}

// EndLogins ends the sessions of whom an issuer says that it has signed out, from the next
// request on (OpenID Connect Back-Channel Logout 1.0). Invalid: the token is not to be
// believed.
func (e *Engine) EndLogins(ctx context.Context, at At, token, address string) error {
	scope, i, err := e.loginAt(ctx, at)
	if err != nil {
		return err
	}
	var failed error
	err = e.issuers.Logout(ctx, scope.Tenant(), i, token, func(out identity.Logout) error {
		failed = e.depart(ctx, scope, out, orderer{"user", Caller{Principal: "issuer " + i.ID, Address: address}, nil})
		return failed
	})
	if failed == nil && fault.Is(err, fault.Denied) {
		err = fault.New(fault.Invalid, "the logout token is not accepted").WithCode("token_refused").WithCause(err)
	}
	return err
}

// depart ends the sessions that a logout means.
func (e *Engine) depart(ctx context.Context, scope store.Scope, out identity.Logout, by orderer) error {
	e.departures.note(scope, out, e.moment())
	sessions, err := e.departing(ctx, scope, out)
	all := []error{err} // what cannot be read keeps nobody else signed in
	for _, s := range sessions {
		all = append(all, e.endSession(ctx, scope, s, by))
	}
	return errors.Join(all...)
}

// departing returns the sessions that a logout means.
func (e *Engine) departing(ctx context.Context, scope store.Scope, out identity.Logout) (found []identity.Session, err error) {
	if out.Subject == "" {
		return e.departingFrom(ctx, scope, out)
	}
	token, err := e.identity.FederatedToken(ctx, scope, out.Issuer, out.Subject)
	if err != nil {
		return nil, err
	}
	who, err := e.store.Credential(ctx, scope, token)
	if fault.Is(err, fault.NotFound) { // nobody here
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rows, err := e.store.SessionsOf(ctx, scope, who.Object)
	if err != nil {
		return nil, err
	}
	return e.departingOf(ctx, scope, out, rows)
}

// departingFrom finds what a logout means that names a session at the issuer, and nobody.
func (e *Engine) departingFrom(ctx context.Context, scope store.Scope, out identity.Logout) ([]identity.Session, error) {
	there, err := e.identity.ThereToken(ctx, scope, out.Session)
	if err != nil {
		return nil, err
	}
	rows, err := e.store.SessionsFrom(ctx, scope, there)
	if err != nil {
		return nil, err
	}
	return e.departingOf(ctx, scope, out, rows)
}

// departingOf returns which of some sessions a logout means.
func (e *Engine) departingOf(ctx context.Context, scope store.Scope, out identity.Logout, rows []store.SessionRow) (found []identity.Session, err error) {
	var all []error
	for _, row := range rows {
		s, err := e.identity.OpenSession(ctx, scope, row)
		if err != nil {
			all = append(all, err)
			continue
		}
		if s.Link == "" || !out.Means(s.Vouched) || !meant(out, s.There) {
			continue
		}
		known, err := e.knownPrincipal(ctx, scope, s.Principal)
		switch {
		case err != nil:
			all = append(all, err)
		case known.Linked(s.Link) == out.Issuer:
			found = append(found, s)
		}
	}
	return found, errors.Join(all...)
}
