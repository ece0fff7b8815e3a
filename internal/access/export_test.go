package access

// KeepAtMost bounds how many decisions are kept.
func (p *Policies) KeepAtMost(most int) { p.kept.most = most }

// Kept returns how many decisions are kept, as they are counted and as they are there.
func (p *Policies) Kept() (counted, there int) {
	for _, a := range p.kept.where {
		there += len(a.known)
	}
	return p.kept.total, there
}
