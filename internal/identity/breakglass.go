package identity

import (
	"slices"
	"time"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// BreakGlass is access to one process or one instance in an emergency, which somebody
// asks for and somebody else approves. It is kept for a day after it ended.
type BreakGlass struct {
	ID       string
	By       string // who asked, and who it is for
	Key      string // id of the API key that they asked with; empty: they were signed in
	Reason   string // one line; counts as the purpose of what is shown by it
	Process  string // its id; of one for an instance, once it is approved, that instance's
	Instance string // empty: all of the process
	Lasts    time.Duration
	Made     time.Time
	Expires  time.Time // while it waits: until when it can be approved; then: until when it counts
	State    BreakGlassState
	Approver string      // empty: nobody yet
	Ender    string      // who ended it before its time; empty: nobody
	Of       Generations // of sessions of By, when it was approved
}

// BreakGlassState is what became of a break-glass.
type BreakGlassState string

// The states of a break-glass. What ends by time alone stays what it was.
const (
	Asked       BreakGlassState = "pending"
	InForce     BreakGlassState = "approved"
	EndedByHand BreakGlassState = "ended"
	keepsOver                   = 24 * time.Hour
)

// Over reports whether a break-glass ended, or was not approved in time.
func (b *BreakGlass) Over(at time.Time) bool { return b.State == EndedByHand || !at.Before(b.Expires) }

// forgotten reports whether a break-glass has been over for so long that it is left out.
func (b *BreakGlass) forgotten(at time.Time) bool { return !at.Before(b.Expires.Add(keepsOver)) }

const (
	maxBreakGlass = 50 // of a tenant
	maxOwnGlass   = 3  // that wait or count, of one person
)

// Ask adds a break-glass that somebody asks for. It refuses somebody who has too many that
// wait or count, so that they do not use up those of everybody else. Of those that are over
// the oldest makes room, their own first: the log has it.
func (t *Tenant) Ask(asked BreakGlass, now time.Time) error {
	list := slices.DeleteFunc(slices.Clone(t.BreakGlass), func(b BreakGlass) bool { return b.forgotten(now) })
	own, over := 0, -1
	for i := range list {
		b := &list[i]
		switch {
		case !b.Over(now) && b.By == asked.By:
			own++
		case b.Over(now) && (over < 0 || b.By == asked.By && list[over].By != asked.By):
			over = i
		}
	}
	switch {
	case own >= maxOwnGlass:
		return tooManyGlasses(asked.By, maxOwnGlass)
	case len(list) >= maxBreakGlass && over < 0:
		return tooManyGlasses("the company", maxBreakGlass)
	case len(list) >= maxBreakGlass:
		list = slices.Delete(list, over, over+1)
	}
	t.BreakGlass = append(list, asked)
	return nil
}

func tooManyGlasses(who string, most int) error {
	return fault.New(fault.Conflict, "%s has %d break-glasses that wait or count; more are not possible", who, most).
		WithCode("too_many_break_glass").WithHint("end one of them: underseal breakglass end")
}

// grant is what an approved break-glass gives to whom it is for.
func (b *BreakGlass) grant() access.Grant {
	return access.Grant{ID: b.ID, Right: access.ByBreakGlass, Process: b.Process, Instance: b.Instance, Purpose: b.Reason, Expires: b.Expires}
}

// brokenFor returns what a principal has by break-glass who came with an API key, by its
// id, or is signed in (""). It counts for the person who asked: where they are signed in,
// and for the key that they asked with, since other keys may be in other hands. Nor does it
// count any more once all of their sessions, or of the tenant's, were ended, or something
// new admits them, which whoever may give that would see the values by.
func (t *Tenant) brokenFor(p *Principal, key string) []access.Grant {
	var grants []access.Grant
	for i := range t.BreakGlass {
		b := &t.BreakGlass[i]
		if b.By == p.Name && b.State == InForce && b.Of == (Generations{p.Ended, t.Ended}) &&
			(key == "" || key == b.Key) && !p.newlyAdmitted(b.Expires.Add(-b.Lasts)) {
			grants = append(grants, b.grant())
		}
	}
	return grants
}

func (b *BreakGlass) value() canon.Value {
	return contextOf(
		text("id", b.ID), text("by", b.By), text("key", b.Key), text("reason", b.Reason), text("process", b.Process), text("instance", b.Instance),
		canon.Entry{Name: "lasts", Value: count(int64(b.Lasts))},
		canon.Entry{Name: "made", Value: timeItem(b.Made)}, canon.Entry{Name: "expires", Value: timeItem(b.Expires)},
		text("state", string(b.State)), text("approver", b.Approver), text("ender", b.Ender),
		canon.Entry{Name: "of_principal", Value: count(b.Of.Principal)}, canon.Entry{Name: "of_tenant", Value: count(b.Of.Tenant)},
	)
}

func breakGlassOf(v canon.Value) BreakGlass {
	return BreakGlass{
		ID: textOf(entryOf(v, "id")), By: textOf(entryOf(v, "by")), Key: textOf(entryOf(v, "key")), Reason: textOf(entryOf(v, "reason")),
		Process: textOf(entryOf(v, "process")), Instance: textOf(entryOf(v, "instance")), Lasts: time.Duration(countOf(entryOf(v, "lasts"))),
		Made: timeOf(entryOf(v, "made")), Expires: timeOf(entryOf(v, "expires")),
		State: BreakGlassState(textOf(entryOf(v, "state"))), Approver: textOf(entryOf(v, "approver")), Ender: textOf(entryOf(v, "ender")),
		Of: Generations{countOf(entryOf(v, "of_principal")), countOf(entryOf(v, "of_tenant"))},
	}
}

func broken(list []BreakGlass) canon.List {
	out := make(canon.List, len(list))
	for i := range list {
		out[i] = list[i].value()
	}
	return out
}
