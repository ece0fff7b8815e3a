package engine

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// dossier is the object of a principal, a group or a tenant: what it may is what its
// fields say. Each step has a leaf and is pinned, so that no row counts which somebody
// changed, put back or took away.
type dossier struct {
	object
	values map[string]canon.Value // as they were read
}

// principal, group and tenant are dossiers with what they say.
type (
	principal struct {
		dossier
		identity.Principal
	}
	group struct {
		dossier
		identity.Group
	}
	tenant struct {
		dossier
		identity.Tenant
	}
)

// people is what is known of who may sign in, and as whom. It is read once and again
// after each change, which happens here only: one server writes.
type people struct {
	// changing is held for writing while one of a tenant's dossiers changes, and for
	// reading while one is read to be known. So nothing is known that has changed.
	changing locks
	// acting is held for reading while a step of somebody is made durable, and taken
	// for writing before a change of who they are is answered.
	acting locks

	mu     sync.RWMutex // guards what follows and what is in it
	tenant map[string]*acquaintances
	rules  map[string]*identity.Rules // by tenant

	used   uses
	seats  seats
	linked linked
}

// acquaintances are the principals of a tenant that are known, and the credentials that
// led to them, which need not lead to them any more.
type acquaintances struct {
	byName  map[string]acquaintance
	byToken map[[32]byte]string // their names
}

// acquaintance is a principal that is known, with the objects that this comes from.
type acquaintance struct {
	known  *identity.Known
	object store.ID
	groups []store.ID
}

// change has the dossiers of a tenant be changed by nobody else until unlock is called,
// nor those of the tenant that the caller is of, if it is another one: then it is main.
// Main is locked last, always: nobody waits in a circle, and main's people do not wait for
// those of another tenant.
func (p *people) change(home, scope store.Scope) (unlock func()) {
	lock := p.changing.of(scope)
	lock.Lock()
	if home == scope {
		return lock.Unlock
	}
	main := p.changing.of(home)
	main.RLock()
	return func() {
		main.RUnlock()
		lock.Unlock()
	}
}

// maxKnown bounds how many principals, and credentials, of a tenant are known at a time.
// More than that are read anew each time they were displaced.
const maxKnown = 10_000

func (p *people) named(scope store.Scope, name string) *identity.Known {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if a := p.tenant[scope.Tenant()]; a != nil {
		return a.byName[name].known
	}
	return nil
}

func (p *people) bearer(scope store.Scope, token [32]byte) *identity.Known {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if a := p.tenant[scope.Tenant()]; a != nil {
		return a.byName[a.byToken[token]].known
	}
	return nil
}

// remember takes a principal in, to whom a token led (nil: none). The caller holds the
// tenant's lock.
func (p *people) remember(scope store.Scope, k acquaintance, token *[32]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.tenant[scope.Tenant()]
	if a == nil || len(a.byName) >= maxKnown || len(a.byToken) >= maxKnown {
		if p.tenant == nil {
			p.tenant = map[string]*acquaintances{}
		}
		a = &acquaintances{map[string]acquaintance{}, map[[32]byte]string{}}
		p.tenant[scope.Tenant()] = a
	}
	name := k.known.Who().Name
	a.byName[name] = k
	if token != nil {
		a.byToken[*token] = name
	}
}

// forget forgets whom a change of a dossier concerns: of a tenant, everybody. Nothing is
// done any more afterwards by who they were.
func (p *people) forget(d *dossier) {
	p.drop(d)
	p.settle(d.scope)
}

func (p *people) drop(d *dossier) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.kind == store.Tenant {
		delete(p.tenant, d.scope.Tenant())
		delete(p.rules, d.scope.Tenant())
		return
	}
	a := p.tenant[d.scope.Tenant()]
	if a == nil {
		return
	}
	maps.DeleteFunc(a.byName, func(_ string, k acquaintance) bool { return k.object == d.id || slices.Contains(k.groups, d.id) })
	maps.DeleteFunc(a.byToken, func(_ [32]byte, name string) bool { _, known := a.byName[name]; return !known })
}

// dossierID returns the id of a dossier, which follows from its name.
func (e *Engine) dossierID(ctx context.Context, scope store.Scope, kind store.Kind, name string) (store.ID, error) {
	token, err := e.indexToken(ctx, scope.Tenant(), string(kind), name)
	return custodyID(token), err
}

// openDossier reads a dossier and checks every row of it. One that is refused raises the
// alarm, as it does when the check of everything comes to it. As there, it is looked at
// twice before that, and what a step that came in between makes of it does not count: it
// is read by many statements, and not everybody who reads it keeps others from changing
// it. One that never stands still is refused all the same, and left to the check.
func (e *Engine) openDossier(ctx context.Context, scope store.Scope, id store.ID, kind store.Kind) (dossier, error) {
	d, err := e.readDossier(ctx, scope, id, kind)
	if !fault.Is(err, fault.Integrity) || e.integrity == nil || e.restoring || e.checksOnly {
		return d, err
	}
	before, outage := e.stepOf(ctx, scope, id)
	for look := 1; outage == nil && look < looksAtOnce; look++ {
		if d, err = e.readDossier(ctx, scope, id, kind); !fault.Is(err, fault.Integrity) {
			return d, err
		}
		var now uint64
		if now, outage = e.stepOf(ctx, scope, id); outage == nil && now == before {
			e.integrity.Refused(foundObject(scope, "heads", id, err))
			return d, err
		}
		before = now
	}
	return d, cmp.Or(outage, err)
}

// stepOf returns the step that an object's head is said to be of; 0: there is none, or none
// that can be read.
func (e *Engine) stepOf(ctx context.Context, scope store.Scope, id store.ID) (uint64, error) {
	row, err := e.store.Load(ctx, scope, id)
	if malformed(err) || fault.Is(err, fault.NotFound) {
		return 0, nil
	}
	return row.Seq, err
}

// readDossier is openDossier for who tells of what is refused by other means.
func (e *Engine) readDossier(ctx context.Context, scope store.Scope, id store.ID, kind store.Kind) (dossier, error) {
	o, err := e.load(ctx, scope, id, kind)
	if err != nil {
		return dossier{}, err
	}
	values, err := e.checkedValues(ctx, o)
	return dossier{*o, values}, err
}

// newDossier returns a dossier that has no step yet.
func (e *Engine) newDossier(ctx context.Context, scope store.Scope, kind store.Kind, name string) (dossier, error) {
	id, err := e.dossierID(ctx, scope, kind, name)
	if err != nil {
		return dossier{}, err
	}
	key, err := e.ring.TenantKey(ctx, scope.Tenant(), keyring.Audit)
	if err != nil {
		return dossier{}, err
	}
	return dossier{object: object{
		scope: scope, id: id, kind: kind, owner: key,
		head: &head{mode: process.Standard, started: e.moment(), owners: []owner{{key.ID, 1}}},
	}}, nil
}

// isNamed requires that a dossier has the id of the name that it says.
func (e *Engine) isNamed(ctx context.Context, d *dossier, name string, parsing error) error {
	if parsing != nil {
		return d.tampered("has a field that cannot be read").WithCause(parsing)
	}
	want, err := e.dossierID(ctx, d.scope, d.kind, name)
	if err == nil && want != d.id {
		err = d.tampered("has the name of another")
	}
	return err
}

func (e *Engine) openPrincipal(ctx context.Context, scope store.Scope, id store.ID) (*principal, error) {
	d, err := e.openDossier(ctx, scope, id, store.Principal)
	if err != nil {
		return nil, err
	}
	return e.parsedPrincipal(ctx, d)
}

func (e *Engine) parsedPrincipal(ctx context.Context, d dossier) (*principal, error) {
	said, err := identity.ParsePrincipal(d.values)
	return &principal{d, said}, e.isNamed(ctx, &d, said.Name, err)
}

func (e *Engine) openGroup(ctx context.Context, scope store.Scope, id store.ID) (*group, error) {
	d, err := e.openDossier(ctx, scope, id, store.Group)
	if err != nil {
		return nil, err
	}
	return e.parsedGroup(ctx, d)
}

func (e *Engine) parsedGroup(ctx context.Context, d dossier) (*group, error) {
	said, err := identity.ParseGroup(d.values)
	return &group{d, said}, e.isNamed(ctx, &d, said.Name, err)
}

// openTenant reads a tenant's own dossier.
func (e *Engine) openTenant(ctx context.Context, scope store.Scope) (*tenant, error) {
	id, err := e.dossierID(ctx, scope, store.Tenant, scope.Tenant())
	if err != nil {
		return nil, err
	}
	d, err := e.openDossier(ctx, scope, id, store.Tenant)
	if err != nil {
		return nil, err
	}
	return e.parsedTenant(ctx, d)
}

func (e *Engine) parsedTenant(ctx context.Context, d dossier) (*tenant, error) {
	said, err := identity.ParseTenant(d.values)
	return &tenant{d, said}, e.isNamed(ctx, &d, said.Name, err)
}

func (e *Engine) namedPrincipal(ctx context.Context, scope store.Scope, name string) (*principal, error) {
	id, err := e.dossierID(ctx, scope, store.Principal, name)
	if err != nil {
		return nil, err
	}
	p, err := e.openPrincipal(ctx, scope, id)
	if fault.Is(err, fault.NotFound) {
		return nil, noSuch("user", name)
	}
	return p, err
}

// namedGroup opens a group that was not deleted.
func (e *Engine) namedGroup(ctx context.Context, scope store.Scope, name string) (*group, error) {
	g, err := e.anyGroup(ctx, scope, name)
	if fault.Is(err, fault.NotFound) || err == nil && g.State == identity.Deleted {
		return nil, noSuch("group", name)
	}
	return g, err
}

func (e *Engine) anyGroup(ctx context.Context, scope store.Scope, name string) (*group, error) {
	id, err := e.dossierID(ctx, scope, store.Group, name)
	if err != nil {
		return nil, err
	}
	return e.openGroup(ctx, scope, id)
}

// know returns a principal with the groups and the tenant that it is in.
func (e *Engine) know(ctx context.Context, p *principal) (acquaintance, error) {
	rules, err := e.rulesOf(ctx, p.scope)
	if err != nil {
		return acquaintance{}, err
	}
	a := acquaintance{object: p.id}
	var groups []identity.Group
	for _, name := range p.Groups {
		g, err := e.anyGroup(ctx, p.scope, name)
		if fault.Is(err, fault.NotFound) {
			err = p.tampered("is in a group that is not there")
		}
		if err != nil {
			return acquaintance{}, err
		}
		groups, a.groups = append(groups, g.Group), append(a.groups, g.id)
	}
	a.known = identity.NewKnown(p.scope, rules, p.Principal, groups)
	return a, nil
}

// knownBearer returns to whom a credential leads. NotFound when to nobody.
func (e *Engine) knownBearer(ctx context.Context, scope store.Scope, token [32]byte) (*identity.Known, error) {
	if k := e.people.bearer(scope, token); k != nil {
		return k, nil
	}
	lock := e.people.changing.of(scope)
	lock.RLock()
	defer lock.RUnlock()
	row, err := e.store.Credential(ctx, scope, token)
	if err != nil {
		return nil, err
	}
	p, err := e.openPrincipal(ctx, scope, row.Object)
	if err != nil {
		return nil, err
	}
	k, err := e.know(ctx, p)
	if err == nil {
		e.people.remember(scope, k, &token)
	}
	return k.known, err
}

// knownPrincipal returns a principal by name. NotFound when there is none.
func (e *Engine) knownPrincipal(ctx context.Context, scope store.Scope, name string) (*identity.Known, error) {
	if k := e.people.named(scope, name); k != nil {
		return k, nil
	}
	lock := e.people.changing.of(scope)
	lock.RLock()
	defer lock.RUnlock()
	return e.presentPrincipal(ctx, scope, name)
}

// presentPrincipal is knownPrincipal for who holds the tenant's lock.
func (e *Engine) presentPrincipal(ctx context.Context, scope store.Scope, name string) (*identity.Known, error) {
	if k := e.people.named(scope, name); k != nil {
		return k, nil
	}
	p, err := e.namedPrincipal(ctx, scope, name)
	if err != nil {
		return nil, err
	}
	k, err := e.know(ctx, p)
	if err == nil {
		e.people.remember(scope, k, nil)
	}
	return k.known, err
}

// recognize admits the bearer of an API key or of a session's text. Whatever is wrong
// with it, the error is the same; with it comes whose it is, as far as that is known.
func (e *Engine) recognize(ctx context.Context, key, address string) (Caller, error) {
	scope, token, found, err := e.identity.Find(ctx, identity.SessionText, key)
	if found && err == nil {
		c, err := e.signedIn(ctx, scope, token, address, "")
		if err != nil {
			c = Caller{Scope: scope}
		}
		return c, err
	}
	scope, token, found, err = e.identity.Find(ctx, identity.APIKeyText, key)
	if err != nil {
		return Caller{}, err
	}
	if !found {
		return Caller{}, identity.Unauthenticated()
	}
	if err := e.comesFrom(ctx, scope, identity.APIKeyText, token, address); err != nil {
		return Caller{Scope: scope}, err
	}
	known, err := e.knownBearer(ctx, scope, token)
	if fault.Is(err, fault.NotFound) {
		return Caller{Scope: scope}, identity.Unauthenticated()
	}
	if err != nil {
		return Caller{}, err
	}
	now := e.moment()
	c, err := known.Admit(token, address, now)
	if err != nil {
		return Caller{Scope: scope, Principal: known.Who().Name}, err
	}
	e.used(ctx, c, token, now)
	return c, nil
}

// again admits a caller whose call has waited: what was taken away meanwhile counts.
func (e *Engine) again(ctx context.Context, c Caller) (Caller, error) {
	if err := e.admitted(c.Scope); err != nil {
		return Caller{}, err
	}
	if k := e.people.named(c.Scope, c.Principal); k != nil && c.Session == nil {
		return k.Again(c, e.moment())
	}
	lock := e.people.changing.of(c.Scope)
	lock.RLock()
	defer lock.RUnlock()
	return e.present(ctx, c)
}

// present is again for who holds the lock of the caller's tenant.
func (e *Engine) present(ctx context.Context, c Caller) (Caller, error) {
	if c.Session != nil {
		s, err := e.session(ctx, c.Scope, c.Session.Token)
		if fault.Is(err, fault.NotFound) {
			err = identity.Unauthenticated()
		}
		if err != nil {
			return Caller{}, err
		}
		c.Session = &s // as it is now: it may have been used meanwhile
	}
	known, err := e.presentPrincipal(ctx, c.Scope, c.Principal)
	if fault.Is(err, fault.NotFound) {
		return Caller{}, identity.Unauthenticated()
	}
	if err != nil {
		return Caller{}, err
	}
	return known.Again(c, e.moment())
}

// amendment is what one step does to a dossier.
type amendment struct {
	of           *dossier
	kind         string           // leaf's kind, "role.given"
	act          string           // leaf's act, if it is not the amender's
	fields       []identity.Field // of the dossier, from now on
	given, ended [][32]byte       // tokens of credentials
	facts        []fieldWrite     // about the step
	files        []store.Resource // that it names
	signers      []signerChange   // durable with it
}

// signerChange is a step of a signer that comes with one of a dossier.
type signerChange struct {
	signer *signer
	step   signerStep
}

// amender is who changes dossiers, and why.
type amender struct {
	act    string // leaf's act: user or admin
	actor  *canon.Context
	reason string   // may be empty
	again  *request // of the first amendment
	by     *Caller  // who asks for it, as they are known; nil: nobody who was admitted
}

// amend makes steps of a tenant's dossiers durable, all or none. The caller holds the
// tenant's lock for writing.
func (e *Engine) amend(ctx context.Context, scope store.Scope, by amender, all ...amendment) error {
	for _, a := range all {
		defer e.people.forget(a.of)
	}
	if slices.ContainsFunc(all, func(a amendment) bool { return len(a.signers) > 0 }) {
		defer e.signers.changing.lock(scope)()
		defer e.forgetSigners(scope)
	}
	at := e.moment()
	shard, leave, err := e.enterShard(ctx, scope, at)
	if err != nil {
		return err
	}
	defer leave()
	var sets []*store.WriteSet
	for _, a := range all {
		set, err := e.amended(ctx, by, a, shard, at)
		if err != nil {
			return err
		}
		sets = append(sets, set)
		by.again = nil
		for _, s := range a.signers {
			if set, err = e.amendedSigner(ctx, by, a, s, shard, at); err != nil {
				return err
			}
			sets = append(sets, set)
		}
	}
	// The lock keeps what the caller may as it is, but not their session, which somebody ends.
	release, err := e.people.hold(by.by)
	if err != nil {
		return err
	}
	defer release() // before it is waited for, by what forgets
	if err := e.durable("commit " + all[0].kind); err != nil {
		return err
	}
	err = e.commitPinned(ctx, scope, sets...)
	e.people.linked.note(scope, all, err)
	return err
}

func (e *Engine) amended(ctx context.Context, by amender, a amendment, shard string, at time.Time) (*store.WriteSet, error) {
	tokens, err := e.requestTokens(ctx, &a.of.object, by.again)
	if err != nil {
		return nil, err
	}
	fields := append(slices.Clone(a.facts), fieldWrite{path: "$actor", value: by.actor, label: confidential, fact: true})
	if by.reason != "" {
		fields = append(fields, fieldWrite{path: "$reason", value: canon.String(by.reason), label: confidential, fact: true})
	}
	for _, f := range a.fields {
		if before := a.of.values[f.Path]; before == nil || !canon.Equal(before, f.Value) {
			fields = append(fields, fieldWrite{path: f.Path, value: f.Value, label: confidential})
		}
	}
	_, event, _ := strings.Cut(a.kind, ".")
	set, err := e.write(ctx, &a.of.object, step{
		shard: shard, kind: a.kind, act: cmp.Or(a.act, by.act), at: at, tokens: tokens, record: record(event, process.Outcome{}, at), fields: fields,
	})
	if err != nil {
		return nil, err
	}
	set.Credentials, set.Ended, set.Resources = a.given, a.ended, a.files
	return set, nil
}

// amendedSigner is the step of a signer that comes with an amendment. The caller holds
// signers.changing.
func (e *Engine) amendedSigner(ctx context.Context, by amender, a amendment, s signerChange, shard string, at time.Time) (*store.WriteSet, error) {
	if err := e.unused(ctx, s.signer.scope, s.step.key); err != nil {
		return nil, err
	}
	s.step.act, s.step.actor, s.step.reason = cmp.Or(a.act, by.act), by.actor, by.reason
	return e.signerSet(ctx, s.signer, s.step, shard, at)
}

// openPage opens some of a tenant's dossiers of a kind, by id, and returns the cursor of
// the next; limit 0: all.
func openPage[D any](ctx context.Context, e *Engine, scope store.Scope, kind store.Kind, p Page, limit int,
	open func(context.Context, store.Scope, store.ID) (D, error),
) (all []D, next string, err error) {
	after, err := p.instance()
	if err != nil {
		return nil, "", err
	}
	ids, more, err := e.dossierIDs(ctx, scope, kind, after, limit)
	if err != nil {
		return nil, "", err
	}
	if more {
		next = textID(ids[len(ids)-1])
	}
	for _, id := range ids {
		d, err := open(ctx, scope, id)
		if err != nil {
			return nil, "", err
		}
		all = append(all, d)
	}
	return all, next, nil
}

// dossierIDs lists some of a tenant's dossiers of a kind, by id, after one, and says
// whether there are more; limit 0: all. Integrity when one that was there is gone.
func (e *Engine) dossierIDs(ctx context.Context, scope store.Scope, kind store.Kind, after store.ID, limit int) (ids []store.ID, more bool, err error) {
	list := e.store.Principals
	if kind == store.Group {
		list = e.store.Groups
	}
	if limit == 0 {
		if err := e.requireAllPinned(ctx, scope, kind); err != nil {
			return nil, false, err
		}
		ids, err = list(ctx, scope, after, 0)
		return ids, false, err
	}
	pins, err := e.store.PinsOf(ctx, scope, kind, after, limit+1) // first: what is pinned then, is there
	if err != nil {
		return nil, false, err
	}
	if ids, err = list(ctx, scope, after, limit+1); err != nil {
		return nil, false, err
	}
	if more = len(ids) > limit; more {
		ids = ids[:limit]
	}
	return ids, more, e.requireListed(scope, pins, ids, more)
}

// requireListed requires of what is pinned in the stretch of a list that the list has it.
// Of one dossier more than the list has, the pins are given: then one that is missing in
// the stretch is among them.
func (e *Engine) requireListed(scope store.Scope, pins []store.Pin, ids []store.ID, more bool) error {
	for _, pin := range pins {
		at, found := slices.BinarySearchFunc(ids, pin.Object, func(a, b store.ID) int { return bytes.Compare(a[:], b[:]) })
		beyond := more && at == len(ids)
		if !found && !beyond && !e.restoring {
			b := behindPin{pin: pin}
			return b.fault(scope)
		}
	}
	return nil
}
