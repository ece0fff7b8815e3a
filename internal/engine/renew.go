package engine

import (
	"bytes"
	"context"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// RenewKeys gives running instances, or persons, whose own data key has an age a new
// one, a page of them at a time: instances newest first, persons by the age of their
// keys, oldest first. What is sealed stays as it is
// and needs the old key; what comes is sealed under the new one. Or it makes the index
// tokens of instances anew under the newest index key. Doing it again renews nothing twice.
//
// An instance that cannot be opened does not hold up the others: it is among the
// Failed, and its key stays. An outage of the key service or database ends the
// call with its error.
func (e *Engine) RenewKeys(ctx context.Context, c Caller, r api.RenewKeysRequest) (api.KeysRenewed, error) {
	return asNow(ctx, e, c, func(c Caller) (api.KeysRenewed, error) { return e.renewKeysAs(ctx, c, r) })
}

func (e *Engine) renewKeysAs(ctx context.Context, c Caller, r api.RenewKeysRequest) (api.KeysRenewed, error) {
	if err := e.may(ctx, c, access.RotateKey, "key", ""); err != nil {
		return api.KeysRenewed{}, err
	}
	if r.OlderThanMS < 0 {
		return api.KeysRenewed{}, fault.New(fault.Invalid, "older_than_ms is %d; no key can be newer than now", r.OlderThanMS)
	}
	before := e.moment().Add(-time.Duration(r.OlderThanMS) * time.Millisecond)
	page := Page{After: r.After, Limit: r.Limit}
	limit, err := page.limit()
	if err != nil {
		return api.KeysRenewed{}, err
	}
	switch r.Of {
	case "", "instances":
	case renewIndex:
		if r.OlderThanMS > 0 {
			return api.KeysRenewed{}, fault.New(fault.Invalid, "older_than_ms is of keys of instances and subjects; index tokens have no age")
		}
		return e.renewTerms(ctx, c, page, min(limit, maxRenewed))
	case renewSubjects:
		return e.renewPersons(ctx, c, page, min(limit, maxRenewed), before)
	default:
		return api.KeysRenewed{}, fault.New(fault.Invalid, "keys of %q are not renewed; those of instances and subjects are, and the tokens under index keys", r.Of)
	}
	after, err := page.instance()
	if err != nil {
		return api.KeysRenewed{}, err
	}
	rows, err := e.store.Instances(ctx, c.Scope, store.InstanceFilter{Status: string(process.Active), After: after, Limit: limit + 1})
	if err != nil {
		return api.KeysRenewed{}, err
	}
	rows, next := cut(rows, limit, func(r store.ListedInstance) string { return textID(r.ID) })
	out, oldest := api.KeysRenewed{Next: next}, store.ID(keyrow.IDAt(before))
	for _, row := range rows {
		out.Seen++
		if bytes.Compare(row.Key[:], oldest[:]) >= 0 {
			continue
		}
		switch err := e.renewKey(ctx, c, row.ID, oldest); {
		case err == nil:
			out.Renewed++
		case fault.Is(err, fault.Unavailable), fault.CodeOf(err) == codeChanged:
			return api.KeysRenewed{}, err
		default:
			out.Failed = append(out.Failed, textID(row.ID))
		}
	}
	return out, nil
}

// renewKey lets a new data key take over an instance, as a step of its own. An
// instance that has ended meanwhile, or has a newer key, is left as it is.
func (e *Engine) renewKey(ctx context.Context, c Caller, id, before store.ID) error {
	return e.useListed(ctx, c, id, func(l *Live) error {
		if l.state.Status() != process.Active || bytes.Compare(l.owner.ID[:], before[:]) >= 0 {
			return nil
		}
		key, err := e.keyMadeSince(ctx, l.scope.Tenant(), before)
		if err != nil {
			return err
		}
		l.dirty = true
		// From now on only the sealed head names the old key, so the sweep of
		// unused keys has to be told that it is in use.
		l.nameless = append(l.nameless, store.ID(l.owner.ID))
		l.owner = key
		l.head.owners = append(l.head.owners, owner{key.ID, l.head.seq + 1})
		if err := e.commitRenewal(ctx, c, l); err != nil {
			return err
		}
		l.dirty = false
		e.ring.Assigned(l.scope.Tenant(), key.ID)
		return nil
	})
}

// keyMadeSince returns a new data key with at least this id. Keys made ahead that
// are older are passed over; what nobody uses is swept.
func (e *Engine) keyMadeSince(ctx context.Context, tenant string, before store.ID) (envelope.Key, error) {
	for {
		key, err := e.ring.NewKey(ctx, tenant)
		if err != nil || bytes.Compare(key.ID[:], before[:]) >= 0 {
			return key, err
		}
	}
}

// commitRenewal makes the step durable in which the key changes; it writes no field
// but who caused it.
func (e *Engine) commitRenewal(ctx context.Context, c Caller, l *Live) error {
	at := e.moment()
	shard, leave, err := e.enterShard(ctx, l.scope, at)
	if err != nil {
		return err
	}
	defer leave()
	l.head.state = l.state.Encode()
	set, err := e.write(ctx, &l.object, step{
		shard: shard, kind: "instance.key_renewed", act: "admin", at: at, record: record("key_renewed", process.Outcome{}, at),
		fields: []fieldWrite{{path: "$actor", value: actorOf(c), label: process.Label{Class: process.Confident}, fact: true}},
	})
	l.head.state = nil
	if err != nil {
		return err
	}
	l.route(set, nil)
	release, err := e.people.hold(&c)
	if err != nil {
		return err
	}
	defer release()
	if err := e.durable("commit instance.key_renewed"); err != nil {
		return err
	}
	return e.store.Commit(context.WithoutCancel(ctx), l.scope, set)
}
