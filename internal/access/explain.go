package access

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Explanation says why a decision is as it is. Its texts are for people.
type Explanation struct {
	Allowed    bool       // by what does not depend on values that who asks does not see
	Depends    bool       // on such a value, whether it is allowed
	Reasons    []Reason   // the policies that decided
	Grants     []Grant    // that match and give a right to it
	NearMisses []NearMiss // of a denial: what would be permitted but for one thing
	Ways       []Reason   // of a denial for want of a permit: the policies that can permit it
}

// Reason is a policy that decided.
type Reason struct {
	Policy string // id
	Text   string
}

// NearMiss is what would permit it, but for one thing.
type NearMiss struct {
	Policy string // the one that forbids, if it would be permitted without
	Grant  string // id of the grant that would match otherwise
	Unmet  Unmet  // its one condition that is not met
	Text   string
}

// Explain answers as Decide does, and says why. Unseen are paths of values that who asks
// does not see: no grant on one of these matches, and nothing of the answer says whether it
// does.
func (p *Policies) Explain(who *Effective, action Action, on Resource, in Circumstances, unseen ...string) Explanation {
	on.Values = maps.Clone(on.Values)
	for _, path := range unseen {
		delete(on.Values, path)
	}
	q := p.question(who, action, &on, in)
	decision := q.decide(all)
	x := Explanation{Allowed: decision.Allowed}
	for _, id := range slices.Concat(decision.Policies, decision.Failed) {
		x.Reasons = append(x.Reasons, Reason{id, p.reason(id, decision)})
	}
	missed := p.grants(who, action, &on, &in, &x, unseen)
	if decision.Allowed {
		return x
	}
	permitted := q.decide(permits).Allowed
	if permitted && len(x.Reasons) == 1 {
		x.NearMisses = []NearMiss{{Policy: x.Reasons[0].Policy, Text: "it would be permitted, but: " + x.Reasons[0].Text}}
	}
	if permitted {
		return x
	}
	for _, one := range p.of(permits, action) {
		x.Ways = append(x.Ways, Reason{string(one.id), p.reason(string(one.id), decision)})
	}
	if len(x.Reasons) == 0 {
		x.NearMisses = missed
		x.Depends = slices.ContainsFunc(missed, func(m NearMiss) bool { return m.Unmet == UnseenValue })
	}
	return x
}

// Ways returns the texts of the policies that can permit an action to somebody, but for
// what is everybody's own.
func (p *Policies) Ways(action Action) []string {
	var texts []string
	for _, one := range p.of(permits, action) {
		if text := p.reasons[string(one.id)]; text != "" && one.id != "own" {
			texts = append(texts, text)
		}
	}
	return texts
}

func (p *Policies) reason(id string, d Decision) string {
	text := p.reasons[id]
	if text == "" {
		text = "policy " + id + " forbids it"
	}
	if slices.Contains(d.Failed, id) {
		return "policy " + id + " could not be evaluated, so nothing is permitted that it applies to"
	}
	return text
}

// grants adds the grants that match, and returns those that do not for one condition.
func (p *Policies) grants(who *Effective, action Action, on *Resource, in *Circumstances, x *Explanation, unseen []string) []NearMiss {
	var missed []NearMiss
	for _, g := range who.principal.Grants {
		if !slices.Contains(p.rights[action], g.Right) {
			continue
		}
		switch unmet := g.unmet(on, in); len(unmet) {
		case 0:
			x.Grants = append(x.Grants, g)
		case 1:
			if unmet[0] == OtherValue && slices.Contains(unseen, g.Where.Path) {
				unmet[0] = UnseenValue
			}
			missed = append(missed, NearMiss{Grant: g.ID, Unmet: unmet[0], Text: g.misses(unmet[0], on)})
		}
	}
	return missed
}

// misses says which condition of the grant is not met. It names no value of the
// instance: who asks may not be somebody to see it.
func (g *Grant) misses(what Unmet, on *Resource) string {
	text := fmt.Sprintf("grant %s (%s) would permit it, but ", g.ID, g.Right)
	switch what {
	case Expired:
		return text + "expired at " + g.Expires.UTC().Format(time.RFC3339)
	case OtherProcess:
		return text + fmt.Sprintf("is for process %s, not %s", g.Process, orNone(on.Process))
	case OtherInstance:
		return text + fmt.Sprintf("is for instance %s, not %s", g.Instance, orNone(on.Instance))
	case OtherTask:
		return text + fmt.Sprintf("is for task %s, not %s", g.Task, orNone(on.Element))
	case OtherValue:
		return text + fmt.Sprintf("is for instances whose %s is %q", g.Where.Path, g.Where.Value)
	case UnseenValue:
		return text + fmt.Sprintf("is for instances by their %s, which is not shown to you: whether this is one of them is not said", g.Where.Path)
	case OtherField:
		return text + fmt.Sprintf("is for %s, not %s", listed(g.Fields), orNone(on.Field))
	case OtherName:
		return text + fmt.Sprintf("is for %s, not %s", g.Name, orNone(on.Name))
	case NoPurpose:
		return text + "needs a purpose, which the request does not give"
	}
	return text + "does not match"
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
