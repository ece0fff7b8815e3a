package access

import "github.com/cedar-policy/cedar-go"

// Could reports whether the principal may do the action on anything of a kind, as far as
// can be told without knowing what there is: nothing that holds for everything forbids
// it, and something permits it somewhere.
func (p *Policies) Could(who *Effective, action Action, kind Kind, in Circumstances) bool {
	on := Resource{Kind: kind, Tenant: who.principal.Tenant}
	var always policyList // a tenant's own may look at facts that are not known yet
	for _, one := range p.of(cedar.Forbid, action) {
		if !one.own {
			always = append(always, one)
		}
	}
	if d := p.question(who, action, &on, in).decide(always); len(d.Policies)+len(d.Failed) > 0 {
		return false
	}
	r := p.Reach(who, action, kind, in)
	return r.All || r.Candidate || len(r.Processes)+len(r.Tasks)+len(r.Where)+len(r.Instances) > 0
}
