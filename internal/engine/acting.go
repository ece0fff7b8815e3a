package engine

import (
	"context"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// What somebody changes or orders, of instances, people, definitions, holds, erasures,
// signers, keys, readers of the log, is decided by what was known of them when they were
// admitted, and may be made durable much later: a body comes slowly, an instance is held by
// others. So it is looked at last whether that is known of them still; if not, they are
// admitted and everything is decided anew. And who changes what is known waits, before
// anybody is told, for the steps that were looked at before: after a revocation was
// answered, nothing of the revoked one becomes durable.
//
// It is looked at once the log was entered, and given back before anything is waited for:
// who turns a log waits for all who are in it, and who ends something for all who hold it.
//
// What somebody only sees is decided likewise: it waits for an instance that others have, or
// for a proof, and is answered to who they are then. Nobody waits for who looks at something,
// but for the entry of the log that tells what they see.

// codeChanged is the code of a step that was not made, since its author may be somebody
// else by now.
const codeChanged = "caller_changed"

// asNow carries out what a caller does, as who they are when it is made durable.
func asNow[T any](ctx context.Context, e *Engine, c Caller, f func(Caller) (T, error)) (T, error) {
	for {
		done, err := f(c)
		if fault.CodeOf(err) != codeChanged {
			return done, err
		}
		if c, err = e.again(ctx, c); err != nil {
			return *new(T), err
		}
	}
}

// readNow answers what a caller asks to see, as who they are when it is answered; so it does
// with a refusal, which may say something, too.
func readNow[T any](ctx context.Context, e *Engine, c Caller, f func(Caller) (T, error)) (T, error) {
	return asNow(ctx, e, c, func(c Caller) (T, error) {
		seen, err := f(c)
		if changed := e.people.unchanged(c); changed != nil {
			return *new(T), changed
		}
		return seen, err
	})
}

// hold keeps what is known of a caller, nil: of nobody, as it is until release is called. It
// is a Conflict ("caller_changed") if that is not what the caller was admitted by. Whoever
// holds it waits for nothing but the database.
func (p *people) hold(c *Caller) (release func(), err error) {
	if c == nil {
		return func() {}, nil
	}
	lock := p.acting.of(c.Scope)
	lock.RLock()
	if err := p.unchanged(*c); err != nil {
		lock.RUnlock()
		return nil, err
	}
	return lock.RUnlock, nil
}

// unchanged is a Conflict ("caller_changed") if what is known of a caller is not what they
// were admitted by.
func (p *people) unchanged(c Caller) error {
	if p.admitted(c) {
		return nil
	}
	return fault.New(fault.Conflict, "what is known of %s has changed meanwhile", c.Principal).WithCode(codeChanged)
}

// admitted reports whether a caller would be admitted by what they were admitted by.
func (p *people) admitted(c Caller) bool {
	if c.Session != nil {
		if _, open := p.seats.get(c.Scope, c.Session.Token); !open {
			return false
		}
	}
	k := p.named(c.Scope, c.Principal)
	return k != nil && k.Admitted(c)
}

// settle waits for the steps of a tenant's people that were held before. What is known
// of who is concerned has changed already.
func (p *people) settle(scope store.Scope) {
	lock := p.acting.of(scope)
	lock.Lock() // those who held it are through
	defer lock.Unlock()
}
