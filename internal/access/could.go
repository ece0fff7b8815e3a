package access

import "slices"

// Could reports whether the principal may do the action on anything of a kind, as far as
// can be told without knowing what there is: nothing that holds for everything forbids
// it, and something permits it somewhere.
func (p *Policies) Could(who *Effective, action Action, kind Kind, in Circumstances) bool {
	on := Resource{Kind: kind, Tenant: who.principal.Tenant}
	q := p.question(who, action, &on, in)
	if d := q.decide(forbids); len(d.Policies)+len(d.Failed) > 0 {
		return false
	}
	return q.decide(permits).Allowed || p.asCandidate(who, action, on, in) ||
		slices.ContainsFunc(who.principal.Grants, func(g Grant) bool { return p.reachedBy(&g, action, &on, &in) })
}
