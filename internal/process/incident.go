package process

import (
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/canon"
)

// park stops a token where it stands until its incident is retried.
func (r *run) park(id uint64, at phase, p *problem) {
	t := r.s.token(id)
	r.went(t)
	t.phase = at
	r.came(t)
	r.raise(id, p.code, p.text, p.label, 0)
}

// raise opens an incident. Its text is a field, because it may hold what a worker
// was given.
func (r *run) raise(token uint64, code, text string, label *Label, job uint64) {
	id := r.s.next()
	r.s.incidents = append(r.s.incidents, incident{id: id, token: token, code: code, job: job, created: r.at})
	if len(text) > maxNote {
		text = strings.ToValidUTF8(text[:maxNote], "") + " ..."
	}
	r.set(noteScope, variable{
		name: IncidentPath(id), value: canon.String(text), label: join(r.d.Policy.tree.standard, label),
	})
	r.command(RaiseIncident{id})
}

// closeIncident ends an incident and resumes what the loop limit had stopped.
func (r *run) closeIncident(id uint64) {
	i := find(r.s.incidents, id)
	limit := r.s.incidents[i].code == "loop_limit"
	r.s.incidents = slices.Delete(r.s.incidents, i, i+1)
	r.forget(IncidentPath(id))
	r.withdraw(id, RaiseIncident{id}, CloseIncident{id})
	if limit {
		r.resume()
	}
}

// closeIncidents ends the incidents of a token.
func (r *run) closeIncidents(token uint64) {
	for i := len(r.s.incidents) - 1; i >= 0; i-- {
		if r.s.incidents[i].token == token {
			r.closeIncident(r.s.incidents[i].id)
		}
	}
}

// incidentRetried goes on from the point that failed: the token has not moved.
func (r *run) incidentRetried(e IncidentRetried) error {
	i := find(r.s.incidents, e.Incident)
	if i < 0 {
		return r.gone("incident", e.Incident)
	}
	failed := r.s.incidents[i]
	r.out.Element = r.s.elementOf(failed.token)
	r.closeIncident(e.Incident)
	if failed.job != 0 {
		r.retryJob(failed.job, e.Retries)
		return nil
	}
	t := r.s.token(failed.token)
	switch t.phase {
	case entering:
		r.enter(t.id)
	case completing:
		r.complete(t.id, nil, origin{})
	case leaving:
		r.leave(t.id)
	case throwing:
		r.throw(t.id, r.d.Elements[t.element].Error.Code)
	}
	return nil
}

// retryJob offers a failed job again.
func (r *run) retryJob(id uint64, retries int) {
	j := &r.s.jobs[find(r.s.jobs, id)]
	if retries <= 0 {
		retries = DefaultRetries
	}
	j.failed, j.retries = false, min(retries, maxRetries)
	r.command(OfferJob{id})
}
