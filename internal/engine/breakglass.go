package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
)

// A break-glass shows somebody one process or one instance in clear for a short time, in
// an emergency: they ask with a reason, and somebody else approves. It stands in the
// tenant's object, so that it comes with every caller's rules and none counts that the log
// does not have. What it shows is told as revealed, with its id, before it is shown.

// Kinds of leaves about break-glasses, in the tenant's chain.
const (
	breakGlassRequested = "breakglass.requested"
	breakGlassApproved  = "breakglass.approved"
	breakGlassEnded     = "breakglass.ended"
)

const (
	defaultLongestGlass = 4 * time.Hour
	defaultSettled      = 24 * time.Hour
	glassWaits          = 24 * time.Hour // for somebody who approves
)

// RequestBreakGlass asks for sight of one process or one instance, for the caller.
func (e *Engine) RequestBreakGlass(ctx context.Context, c Caller, r api.BreakGlassRequest, idem string) (api.BreakGlass, error) {
	may := func(c Caller) error {
		on := access.Resource{Kind: access.Breach, Tenant: c.Scope.Tenant(), Owner: c.Principal, Process: r.Process}
		return cmp.Or(e.mayBreak(ctx, c, access.RequestBreakGlass, on), isPerson(c))
	}
	if err := may(c); err != nil {
		return api.BreakGlass{}, err
	}
	asked, err := e.askedGlass(c, r)
	if err != nil {
		return api.BreakGlass{}, err
	}
	ch, found := change{c.Scope.Tenant(), "request-break-glass", idem, r, r.Reason, false}, true
	t, err := e.changeTenant(ctx, c, ch, may, func(_ Caller, t *tenant) (amendment, error) {
		found = false
		now := e.moment()
		asked.ID, asked.Made, asked.Expires = refText(t.id, t.head.seq+1), now, now.Add(glassWaits)
		if err := t.Ask(asked, now); err != nil {
			return amendment{}, err
		}
		return glassStep(breakGlassRequested, &asked), nil
	})
	if err == nil && !found {
		e.glasses.asked.Add(1)
	}
	if err == nil && found {
		asked.ID, err = e.madeAgain(ctx, c, ch)
	}
	if err != nil {
		return api.BreakGlass{}, err
	}
	b, err := t.breakGlass(asked.ID, e.moment())
	if err != nil {
		return api.BreakGlass{}, err
	}
	return b, nil
}

// mayBreak is may for a break-glass of which more is known: whose it is, and the process.
func (e *Engine) mayBreak(ctx context.Context, c Caller, action access.Action, on access.Resource) error {
	if err := e.admitted(c.Scope); err != nil || e.sees(c, action, on) {
		return err
	}
	return e.refuse(ctx, c, action, string(on.Kind), on.ID)
}

// BreakGlassCount is how many break-glasses were asked for, and approved, since the start.
func (e *Engine) BreakGlassCount() (asked, approved uint64) {
	return e.glasses.asked.Load(), e.glasses.approved.Load()
}

// isPerson refuses programs: nobody would answer for what they see or approve.
func isPerson(c Caller) error {
	if c.Person() {
		return nil
	}
	return fault.New(fault.Denied, "%s is a program, and this is for people", c.Principal).WithCode("no_person")
}

// askedGlass reads a request, of which the id and the times are still missing. Whether
// there is what it names is not looked at: who asks may not be somebody to know.
func (e *Engine) askedGlass(c Caller, r api.BreakGlassRequest) (b identity.BreakGlass, err error) {
	b = identity.BreakGlass{By: c.Principal, Reason: r.Reason, Process: r.Process, Lasts: time.Duration(r.LastsMS) * time.Millisecond, State: identity.Asked, Key: usedKey(c)}
	switch {
	case !access.Readable(r.Reason):
		return b, fault.New(fault.Invalid, "break-glass needs a reason").WithCode("reason_missing").WithHint("say in a few words what has happened; it is in the log for good")
	case (r.Instance == "") == (r.Process == "") || r.Process == access.All:
		return b, fault.New(fault.Invalid, "break-glass is for one instance or one process").WithCode("invalid_break_glass").WithHint("name either")
	case b.Lasts <= 0 || b.Lasts > e.longestGlass:
		return b, fault.New(fault.Invalid, "break-glass for %s is not possible", b.Lasts).WithCode("too_long").WithHint("ask for %s at most (break_glass_longest)", e.longestGlass)
	}
	if r.Instance != "" {
		id, err := parseInstanceID(r.Instance)
		if err != nil {
			return b, err
		}
		b.Instance = textID(id)
	}
	return b, access.CheckPurpose(r.Reason)
}

// glassStep returns the amendment that says what became of a break-glass.
func glassStep(kind string, b *identity.BreakGlass) amendment {
	text := func(name, value string) canon.Entry { return canon.Entry{Name: name, Value: canon.String(value)} }
	said := newContext(text("id", b.ID), text("by", b.By), text("reason", b.Reason), text("process", b.Process), text("instance", b.Instance),
		text("approver", b.Approver), text("until", b.Expires.UTC().Format(time.RFC3339)))
	return amendment{kind: kind, facts: []fieldWrite{{path: "$break_glass", value: said, label: confidential, fact: true}}}
}

func (t *tenant) glass(id string) (*identity.BreakGlass, error) {
	i := slices.IndexFunc(t.BreakGlass, func(b identity.BreakGlass) bool { return b.ID == id })
	if i < 0 {
		return nil, noSuch("break-glass", id)
	}
	return &t.BreakGlass[i], nil
}

func (t *tenant) breakGlass(id string, now time.Time) (api.BreakGlass, error) {
	b, err := t.glass(id)
	if err != nil {
		return api.BreakGlass{}, err
	}
	return wireGlass(b, now), nil
}

func wireGlass(b *identity.BreakGlass, now time.Time) api.BreakGlass {
	state := string(b.State)
	if b.State != identity.EndedByHand && b.Over(now) {
		state = "expired"
	}
	return api.BreakGlass{
		ID: b.ID, By: b.By, Reason: b.Reason, Process: b.Process, Instance: b.Instance, LastsMS: int(b.Lasts / time.Millisecond),
		Made: b.Made, Expires: b.Expires, State: state, Approver: b.Approver, Ender: b.Ender,
	}
}

// BreakGlasses lists the break-glasses that the caller may know of, until a day after they
// ended: their own, or all.
func (e *Engine) BreakGlasses(ctx context.Context, c Caller) (api.BreakGlasses, error) {
	return readNow(ctx, e, c, func(c Caller) (api.BreakGlasses, error) { return e.breakGlassesAs(ctx, c) })
}

func (e *Engine) breakGlassesAs(ctx context.Context, c Caller) (api.BreakGlasses, error) {
	if err := e.mayKnowGlass(ctx, c, ""); err != nil {
		return api.BreakGlasses{}, err
	}
	t, err := e.openTenant(ctx, c.Scope)
	if err != nil {
		return api.BreakGlasses{}, err
	}
	out, now := api.BreakGlasses{Items: []api.BreakGlass{}}, e.moment()
	for i := range t.BreakGlass {
		if b := &t.BreakGlass[i]; e.sees(c, access.ReadBreakGlass, glassResource(c, b)) {
			out.Items = append(out.Items, wireGlass(b, now))
		}
	}
	return out, nil
}

// mayKnowGlass refuses who may neither ask for a break-glass nor know of those of others.
func (e *Engine) mayKnowGlass(ctx context.Context, c Caller, id string) error {
	if err := e.admitted(c.Scope); err != nil {
		return err
	}
	if e.sees(c, access.RequestBreakGlass, access.Resource{Kind: access.Breach, Tenant: c.Scope.Tenant()}) {
		return nil
	}
	return e.may(ctx, c, access.ReadBreakGlass, string(access.Breach), id)
}

// glassResource is a break-glass, which is both people's: whose it is for, and who
// approved it.
func glassResource(c Caller, b *identity.BreakGlass) access.Resource {
	on := access.Resource{Kind: access.Breach, ID: b.ID, Tenant: c.Scope.Tenant(), Owner: b.By, Process: b.Process}
	if b.Approver == c.Principal {
		on.Owner = b.Approver
	}
	return on
}

// ApproveBreakGlass has a break-glass that somebody else asked for begin.
func (e *Engine) ApproveBreakGlass(ctx context.Context, c Caller, id string, r api.ReasonRequest, idem string) (api.BreakGlass, error) {
	may := func(c Caller) error {
		return cmp.Or(e.may(ctx, c, access.ApproveBreakGlass, string(access.Breach), id), isPerson(c))
	}
	if err := may(c); err != nil {
		return api.BreakGlass{}, err
	}
	into, err := readNow(ctx, e, c, func(c Caller) (access.Resource, error) { return e.brokenInto(ctx, c, id) })
	if err != nil {
		return api.BreakGlass{}, err
	}
	began := false
	b, err := e.changeGlass(ctx, c, change{"", "approve-break-glass " + id, idem, r, r.Reason, false}, id, may, func(c Caller, t *tenant, b *identity.BreakGlass) (amendment, error) {
		now := e.moment()
		if b.State != identity.Asked || b.Over(now) {
			return amendment{}, decidedGlass(b, now)
		}
		on := glassResource(c, b)
		on.Process = into.Process
		if err := e.mayBreak(ctx, c, access.ApproveBreakGlass, on); err != nil {
			return amendment{}, err
		}
		if err := e.mayOn(ctx, c, sights[into.Kind], into, noSuch(string(into.Kind), into.ID)); err != nil { // still
			return amendment{}, err
		}
		by, err := e.secondPerson(ctx, c, b, on)
		if err != nil {
			return amendment{}, err
		}
		b.State, b.Approver, b.Process, b.Expires = identity.InForce, c.Principal, into.Process, now.Add(b.Lasts)
		b.Of = identity.Generations{Principal: by.Ended, Tenant: t.Ended}
		began = true
		return glassStep(breakGlassApproved, b), nil
	})
	if err == nil && began {
		e.glasses.approved.Add(1)
	}
	return b, err
}

// brokenInto returns the process or the instance that a break-glass is for, which who
// approves it must see. An instance may be waited for, so the caller holds nothing.
func (e *Engine) brokenInto(ctx context.Context, c Caller, id string) (on access.Resource, err error) {
	t, err := e.openTenant(ctx, c.Scope)
	if err != nil {
		return on, err
	}
	b, err := t.glass(id)
	if err != nil {
		return on, err
	}
	if b.Instance == "" {
		if err := e.mayProcess(ctx, c, access.ReadProcess, b.Process, 0); err != nil {
			return on, err
		}
		_, err := e.version(ctx, c.Scope, b.Process, 0)
		return processResource(c.Scope, b.Process), err
	}
	err = e.use(ctx, c, access.ReadInstance, b.Instance, func(l *Live) error {
		on = l.resource()
		return nil
	})
	return on, err
}

func decidedGlass(b *identity.BreakGlass, now time.Time) error {
	return fault.New(fault.Conflict, "break-glass %q is %s", b.ID, wireGlass(b, now).State).WithCode("decided")
}

// changeGlass carries out a change of a break-glass of the caller's tenant.
func (e *Engine) changeGlass(ctx context.Context, c Caller, ch change, id string, may func(Caller) error,
	edit func(Caller, *tenant, *identity.BreakGlass) (amendment, error),
) (api.BreakGlass, error) {
	ch.name = c.Scope.Tenant()
	t, err := e.changeTenant(ctx, c, ch, may, func(c Caller, t *tenant) (amendment, error) {
		t.BreakGlass = slices.Clone(t.BreakGlass)
		b, err := t.glass(id)
		if err != nil {
			return amendment{}, err
		}
		return edit(c, t, b)
	})
	if err != nil {
		return api.BreakGlass{}, err
	}
	return t.breakGlass(id, e.moment())
}

// secondPerson requires that who approves a break-glass is somebody else than who asked
// for it, and that both have been who they are for a while, so that nobody makes the other
// one up. It returns who asked.
func (e *Engine) secondPerson(ctx context.Context, c Caller, b *identity.BreakGlass, on access.Resource) (*principal, error) {
	if b.By == c.Principal {
		e.denied(ctx, c, access.ApproveBreakGlass, string(access.Breach), b.ID)
		return nil, fault.New(fault.Denied, "%s asked for this, and somebody else has to approve it", c.Principal).WithCode("own_break_glass")
	}
	first, asker, err := e.inPlaceOf(ctx, c, b.By)
	if err != nil {
		return nil, err
	}
	if !e.sees(asker, access.RequestBreakGlass, on) {
		return nil, fault.New(fault.Conflict, "%s, who asked for this, may not any more", first.Name).WithCode("asker_may_not")
	}
	return first, e.twoSettled(ctx, c, first, b.Key)
}

// inPlaceOf returns a principal, and the caller as if they were that one: whoever began
// what a second person decides must still be one who may.
func (e *Engine) inPlaceOf(ctx context.Context, c Caller, name string) (*principal, Caller, error) {
	p, err := e.namedPrincipal(ctx, c.Scope, name)
	if err != nil {
		return nil, c, err
	}
	known, err := e.know(ctx, p)
	if err != nil {
		return nil, c, err
	}
	c.Who = known.known.Who().Effective()
	return p, c, nil
}

// twoSettled requires of the caller, and of who began what they decide, with that key, that
// neither made the other one up.
func (e *Engine) twoSettled(ctx context.Context, c Caller, first *principal, key string) error {
	second, err := e.namedPrincipal(ctx, c.Scope, c.Principal)
	if err != nil {
		return err
	}
	return cmp.Or(e.settled(ctx, second, usedKey(c), first.Name), e.settled(ctx, first, key, second.Name))
}

// usedKey returns the id of the API key that the caller used; "": they are signed in.
func usedKey(c Caller) string {
	if c.Session != nil {
		return ""
	}
	return c.Key
}

// admitting are the fields of a principal and of a group by which somebody is let in, or
// may more.
var admitting = []string{"state", "roles", "groups", "keys", "invitation", "password", "federated", "passkeys"}

// admits reports whether a step changed what lets somebody in, or may more. A passkey that
// counts its signatures changes with each sign-in, which lets nobody else in.
func admits(s api.Step) bool {
	_, used, _ := strings.Cut(passkeyUsed, ".")
	return s.Event != used && slices.ContainsFunc(s.Fields, func(path string) bool { return slices.Contains(admitting, path) })
}

// madeByOther refuses who came with an API key that the other one of two people made: who
// makes a key has it.
func madeByOther(p *principal, steps []api.Step, key, other string) error {
	ref, _ := parseRef("key", key) // of who is signed in: of no step
	for _, s := range steps {
		if ref.Instance == p.id && s.Seq == ref.Job && s.Actor == other {
			return fault.New(fault.Conflict, "%s came with an API key that %s made", p.Name, other).WithCode("others_key").
				WithHint("sign in, or use a key that nobody else has")
		}
	}
	return nil
}

// settled requires of a person, and of their groups, that nothing that lets them in or
// gives them a role has changed for a while, and that they did not come with a key of the
// other one.
func (e *Engine) settled(ctx context.Context, p *principal, key, other string) error {
	steps, err := e.settledSteps(ctx, p.Name, &p.object)
	if err == nil {
		err = madeByOther(p, steps, key, other)
	}
	if err != nil {
		return err
	}
	for _, name := range p.Groups {
		g, err := e.anyGroup(ctx, p.scope, name)
		if err == nil {
			_, err = e.settledSteps(ctx, p.Name, &g.object)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settledSteps returns the steps of a person, or of a group of theirs, of which none is
// new that lets somebody in or gives a role.
func (e *Engine) settledSteps(ctx context.Context, person string, o *object) ([]api.Step, error) {
	since := e.moment().Add(-e.settling)
	steps, err := e.history(ctx, o)
	for _, s := range steps {
		if s.At.After(since) && admits(s) {
			return nil, fault.New(fault.Conflict, "what lets %s in, or what they may, has changed in the last %s", person, e.settling).WithCode("not_settled").
				WithHint("two people do this who have been who they are for that long (break_glass_settled), so that nobody makes up the other one")
		}
	}
	return steps, err
}

// EndBreakGlass ends a break-glass at once, or refuses one that waits. Both people can,
// and whoever may approve.
func (e *Engine) EndBreakGlass(ctx context.Context, c Caller, id string, r api.ReasonRequest, idem string) (api.BreakGlass, error) {
	if err := e.mayKnowGlass(ctx, c, id); err != nil {
		return api.BreakGlass{}, err
	}
	t, err := e.openTenant(ctx, c.Scope)
	if err != nil {
		return api.BreakGlass{}, err
	}
	b, err := t.glass(id)
	if err == nil && !e.sees(c, access.ReadBreakGlass, glassResource(c, b)) {
		err = noSuch("break-glass", id)
	}
	if err != nil {
		return api.BreakGlass{}, err
	}
	on := glassResource(c, b)
	may := func(c Caller) error {
		return e.mayOwn(ctx, c, access.EndBreakGlass, string(access.Breach), id, on.Owner)
	}
	return e.changeGlass(ctx, c, change{"", "end-break-glass " + id, idem, r, r.Reason, false}, id, may, func(c Caller, _ *tenant, b *identity.BreakGlass) (amendment, error) {
		now := e.moment()
		if b.Over(now) {
			return amendment{}, decidedGlass(b, now)
		}
		b.State, b.Ender = identity.EndedByHand, c.Principal
		return glassStep(breakGlassEnded, b), nil
	})
}
