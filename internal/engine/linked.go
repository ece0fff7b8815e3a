package engine

import (
	"context"
	"sync"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// linked are whom the principals of tenants are elsewhere, as their sealed objects say. The
// table of credentials leads to who is linked already; where somebody has deleted a row of
// it, a subject whom the tenant has revoked would be nobody's, and come back as another
// principal. What is known is all of a tenant, or what was read of it so far: reading goes
// on where it ended.
type linked struct {
	reading locks // of a tenant one reads at a time

	mu     sync.Mutex // guards what follows and what is in it
	tenant map[store.Scope]*linksRead
}

// linksRead are the tokens of a tenant's credentials that were read, or given since.
type linksRead struct {
	tokens map[[32]byte]bool
	after  store.ID // the last principal that was read
	all    bool
}

func (l *linked) of(scope store.Scope) *linksRead {
	if l.tenant == nil {
		l.tenant = map[store.Scope]*linksRead{}
	}
	r := l.tenant[scope]
	if r == nil {
		r = &linksRead{tokens: map[[32]byte]bool{}}
		l.tenant[scope] = r
	}
	return r
}

func (l *linked) progress(scope store.Scope) (after store.ID, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.of(scope)
	return r.after, r.all
}

// learn takes in what was read of the principals after one, up to another, unless all is
// read anew by now.
func (l *linked) learn(scope store.Scope, from, to store.ID, found []identity.Federated, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.of(scope)
	if r.after != from {
		return
	}
	for _, f := range found {
		r.tokens[f.Token] = true
	}
	r.after, r.all = to, all
}

// note follows amendments of a tenant. Where it is not known whether they are durable, all
// is read anew.
func (l *linked) note(scope store.Scope, all []amendment, failed error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if failed != nil {
		delete(l.tenant, scope)
		return
	}
	r := l.of(scope)
	for _, a := range all {
		for _, token := range a.ended {
			delete(r.tokens, token)
		}
		for _, token := range a.given {
			r.tokens[token] = true
		}
	}
}

// has reports whether somebody of a tenant has a token. Unavailable: not all is read.
func (l *linked) has(scope store.Scope, token [32]byte) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.of(scope)
	if !r.all {
		return false, fault.New(fault.Unavailable, "it is not known yet who is linked to issuers").WithHint("try again")
	}
	return r.tokens[token], nil
}

// linksBatch is how many principals are read at a time, while none of the tenant changes:
// whoever waits to change one waits for these, and with them who is not known here yet.
const linksBatch = 8

// learnLinks reads whom the principals of a tenant are elsewhere, if that is not known.
func (e *Engine) learnLinks(ctx context.Context, scope store.Scope) error {
	if _, all := e.people.linked.progress(scope); all {
		return nil
	}
	lock := e.people.linked.reading.of(scope)
	lock.Lock()
	defer lock.Unlock()
	for {
		if done, err := e.learnSomeLinks(ctx, scope); done || err != nil {
			return err
		}
	}
}

func (e *Engine) learnSomeLinks(ctx context.Context, scope store.Scope) (done bool, err error) {
	lock := e.people.changing.of(scope)
	lock.RLock()
	defer lock.RUnlock()
	from, all := e.people.linked.progress(scope)
	if all {
		return true, nil
	}
	ids, more, err := e.dossierIDs(ctx, scope, store.Principal, from, linksBatch)
	if err != nil {
		return false, err
	}
	var found []identity.Federated
	to := from
	for _, id := range ids {
		p, err := e.openPrincipal(ctx, scope, id)
		if err != nil {
			return false, err
		}
		found, to = append(found, p.Federated...), id
	}
	e.people.linked.learn(scope, from, to, found, !more)
	return !more, nil
}
