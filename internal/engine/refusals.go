package engine

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// Kinds of the entries about who was refused.
const (
	accessDenied = "access.denied"
	signInFailed = "sign_in.failed"
	accessMissed = "access.missed"
)

// refusalTimes is how long refusals are counted before the log is told of them: of
// somebody's first ones, of those after, and from then on. A kill loses no more than
// what came in that time.
var refusalTimes = []time.Duration{time.Second, 10 * time.Second, time.Minute}

const (
	// refusalQuiet is how long somebody must not have been refused to be forgotten.
	refusalQuiet = time.Minute
	// maxRefused bounds how many principals, or addresses, of a tenant are told apart at a
	// time. All others of it share one count.
	maxRefused = 256
	// maxResource bounds what of an id, which may be anything, is told.
	maxResource = 100
)

// refusals tell the tenants' logs who was refused: the first time at once, then how
// often, a second and ten seconds later and once a minute. So whoever asks again and
// again, with or without a credential, makes the log no longer than that.
type refusals struct {
	engine *Engine
	kind   string // leaf's kind, such as accessDenied

	mu   sync.Mutex // guards open and of
	open map[refusedBy]*refusal
	of   map[store.Scope]int // how many of a tenant are open
	some chan struct{}       // has room for one: open is not empty any more
}

// refusedBy is whom refusals are counted for: a principal, or an address.
type refusedBy struct {
	scope store.Scope
	who   string // "": all that are not told apart
}

// refusal is what was refused and is not in the log yet.
type refusal struct {
	actor   Caller
	since   time.Time // the log was told then, or was to be
	told    int       // how often the log was told of counts, as far as refusalTimes go
	count   int
	actions map[string]bool
}

func newRefusals(e *Engine, kind string, some chan struct{}) *refusals {
	return &refusals{engine: e, kind: kind, open: map[refusedBy]*refusal{}, of: map[store.Scope]int{}, some: some}
}

// note takes a refusal down. The first of somebody is in the log when note
// returns, unless the log could not be written; then it is told with the next.
func (r *refusals) note(ctx context.Context, actor Caller, who, action, resource string) {
	by := refusedBy{actor.Scope, who}
	now := r.engine.moment()
	if !r.count(&by, actor, action, now) {
		return
	}
	fields := []fieldWrite{{path: "$count", value: canon.NewNumber(1)}}
	if action != "" {
		fields = append(fields, fieldWrite{path: "$actions", value: canon.List{canon.String(action)}})
	}
	if resource != "" {
		fields = append(fields, fieldWrite{path: "$resource", value: canon.String(resource)})
	}
	if err := r.engine.record(ctx, actor.Scope, act{kind: r.kind, act: "user", actor: actor, fields: fields}); err != nil {
		r.count(&by, actor, action, now)
	}
}

// count counts a refusal and reports whether it is somebody's first one, which is
// told at once and so not counted.
func (r *refusals) count(by *refusedBy, actor Caller, action string, now time.Time) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.open[*by]
	if !ok && r.of[by.scope] >= maxRefused {
		by.who, actor = "", Caller{Scope: actor.Scope}
		known, ok = r.open[*by]
	}
	if !ok {
		r.open[*by] = &refusal{actor: actor, since: now, actions: map[string]bool{}}
		r.of[by.scope]++
		select {
		case r.some <- struct{}{}:
		default: // it is known
		}
		return true
	}
	known.count++
	if action != "" {
		known.actions[action] = true
	}
	return false
}

// tell puts into the log what was counted for long enough, or at all. What cannot be
// written is kept and told with the next.
func (r *refusals) tell(ctx context.Context, all bool) error {
	var errs []error
	for by, counted := range r.take(all) {
		names := make(canon.List, 0, len(counted.actions))
		for _, name := range slices.Sorted(maps.Keys(counted.actions)) {
			names = append(names, canon.String(name))
		}
		fields := []fieldWrite{
			{path: "$count", value: canon.NewNumber(int64(counted.count))},
			{path: "$since", value: canon.String(formatTime(counted.since))},
		}
		if len(names) > 0 {
			fields = append(fields, fieldWrite{path: "$actions", value: names})
		}
		err := r.engine.record(ctx, by.scope, act{kind: r.kind, act: "user", actor: counted.actor, fields: fields})
		if err != nil {
			r.putBack(by, counted)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// take returns the counts whose time is over and begins new ones. Who was not
// refused for a minute is forgotten.
func (r *refusals) take(all bool) map[refusedBy]refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, taken := r.engine.moment(), map[refusedBy]refusal{}
	for by, counted := range r.open {
		waited := now.Sub(counted.since)
		switch {
		case counted.count == 0:
			if all || waited >= refusalQuiet {
				r.forget(by)
			}
		case all || waited >= refusalTimes[counted.told]:
			taken[by] = *counted
			told := min(counted.told+1, len(refusalTimes)-1)
			r.open[by] = &refusal{actor: counted.actor, since: now, told: told, actions: map[string]bool{}}
		}
	}
	return taken
}

// forget is for a caller who holds mu.
func (r *refusals) forget(by refusedBy) {
	delete(r.open, by)
	if r.of[by.scope]--; r.of[by.scope] == 0 {
		delete(r.of, by.scope)
	}
}

func (r *refusals) putBack(by refusedBy, counted refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if newer, ok := r.open[by]; ok {
		counted.count += newer.count
		maps.Copy(counted.actions, newer.actions)
	} else {
		r.of[by.scope]++
	}
	r.open[by] = &counted
}

// TellRefusals puts into the log how often who was refused, once that was counted for
// long enough; with all at once.
func (e *Engine) TellRefusals(ctx context.Context, all bool) error {
	return errors.Join(e.denials.tell(ctx, all), e.strangers.tell(ctx, all), e.misses.tell(ctx, all))
}

// Refused gives something when somebody was refused and TellRefusals has to be called
// until CountsRefusals is false.
func (e *Engine) Refused() <-chan struct{} { return e.refused }

// CountsRefusals reports whether refusals are counted, or were within a minute.
func (e *Engine) CountsRefusals() bool {
	return e.denials.counts() || e.strangers.counts() || e.misses.counts()
}

func (r *refusals) counts() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open) > 0
}

// Authenticate admits the bearer of a credential. Anything but a valid one is
// Denied with the code "unauthenticated".
func (e *Engine) Authenticate(ctx context.Context, key, address string) (Caller, error) {
	c, err := e.recognize(ctx, key, address)
	if fault.CodeOf(err) == "unauthenticated" {
		e.strangeTo(ctx, c, address)
		return Caller{}, err
	}
	return c, err
}

// Missed takes down that a caller asked for what is not there or not for them to see, which
// are told apart nowhere: who tries ids that others have leaves a trace by it. What they
// named is not told; it may be anything, a person's id, too.
func (e *Engine) Missed(ctx context.Context, c Caller, operation string) {
	e.misses.note(ctx, c, c.Principal, operation, "")
}

// strange takes down that somebody did not prove who they are. Whose credential it was
// to be is not known, so the main tenant's log is told.
func (e *Engine) strange(ctx context.Context, address string) {
	e.strangeTo(ctx, Caller{}, address)
}

// strangeAt is strange for what names a tenant, in whatever way: the log of that is told, if
// there is one.
func (e *Engine) strangeAt(ctx context.Context, tenant, address string) {
	var whose Caller
	if there, err := e.identity.Exists(ctx, tenant); err == nil && there {
		whose.Scope = store.NewScope(tenant)
	}
	e.strangeTo(ctx, whose, address)
}

// strangeTo is strange for a credential that names a tenant, or is somebody's who may not
// come in by it: that tenant's log is told, so that the company learns of a key that goes on
// being tried after it was revoked, or from elsewhere.
func (e *Engine) strangeTo(ctx context.Context, whose Caller, address string) {
	stranger := Caller{Scope: whose.Scope, Principal: whose.Principal, Key: whose.Key, Address: address}
	if whose.Scope == (store.Scope{}) {
		stranger.Scope = e.TenantScope(identity.MainTenant)
	}
	e.strangers.note(ctx, stranger, prefixOf(address), "", "")
}

// prefixOf is what of an address its holder cannot change at will: IPv6 is given to
// people by /64.
func prefixOf(address string) string {
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		return "unknown"
	}
	parsed = parsed.Unmap().WithZone("")
	if parsed.Is4() {
		return parsed.String()
	}
	prefix, err := parsed.Prefix(64)
	if err != nil {
		return "unknown"
	}
	return prefix.String()
}

// denied takes down that a caller may not do something. A person's id stays out of
// it: what the log says of them could not be erased.
func (e *Engine) denied(ctx context.Context, c Caller, action access.Action, kind, id string) {
	resource := kind
	if id != "" && kind != targetSubject {
		resource += " " + strings.ToValidUTF8(id[:min(len(id), maxResource)], "")
	}
	e.denials.note(ctx, c, c.Principal, string(action), resource)
}
