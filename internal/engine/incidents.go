package engine

import (
	"context"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// Incidents lists what failed and waits for help, oldest instance first.
func (e *Engine) Incidents(ctx context.Context, c Caller, process string, p Page) (api.Incidents, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Incidents, error) { return e.incidentsAs(ctx, c, process, p) })
}

func (e *Engine) incidentsAs(ctx context.Context, c Caller, process string, p Page) (api.Incidents, error) {
	if err := e.could(ctx, c, access.ReadIncident, access.Incident, ""); err != nil {
		return api.Incidents{}, err
	}
	reach, err := e.reach(ctx, c, access.ReadIncident, access.Incident)
	if err != nil {
		return api.Incidents{}, err
	}
	limit, err := p.limit()
	if err != nil {
		return api.Incidents{}, err
	}
	after, err := p.queue()
	if err != nil {
		return api.Incidents{}, err
	}
	items, next, err := filling[store.ListedIncident, store.QueueCursor, listed[api.Incident]]{
		after: after, text: queueText, at: func(r store.ListedIncident) store.QueueCursor {
			return store.QueueCursor{Instance: r.Instance, ID: r.ID}
		},
		read: func(after store.QueueCursor, n int) ([]store.ListedIncident, error) {
			return e.store.Incidents(ctx, c.Scope, store.IncidentFilter{Process: process, Reach: reach, After: after, Limit: n})
		},
		look: func(r store.ListedIncident) (listed[api.Incident], bool, error) { return e.listedIncident(ctx, c, r) },
	}.fill(limit)
	if err != nil {
		return api.Incidents{}, err
	}
	result := api.Incidents{Next: next}
	result.Items, err = tellListed(ctx, e, c, items)
	return result, err
}

// listedIncident looks at one; it is not seen when it was closed since it was listed.
func (e *Engine) listedIncident(ctx context.Context, c Caller, row store.ListedIncident) (item listed[api.Incident], seen bool, err error) {
	err = e.useListed(ctx, c, row.Instance, func(l *Live) error {
		incident, open := l.state.Incident(row.ID)
		if !open || !equalIncident(row.IncidentRow, l.incidentRow(incident)) { // a step since, or a changed row
			if err := e.checkRows(ctx, l); err != nil {
				return err
			}
		}
		if open && e.sees(c, access.ReadIncident, l.incidentResource(incident)) {
			v := e.lens(c, l, l.incidentResource(incident))
			item.item, seen = l.incident(incident, v), true
			item.shows = v.told(item.item.Element)
		}
		return nil
	})
	return item, seen, err
}

func (l *Live) incident(i process.OpenIncident, v *lens) api.Incident {
	item := api.Incident{
		ID: refText(l.id, i.ID), Instance: textID(l.id), Process: l.head.process, Element: i.Element,
		Code: i.Code, Created: i.Created,
	}
	if i.Job != 0 {
		item.Job = refText(l.id, i.Job)
	}
	path := process.IncidentPath(i.ID)
	text, _ := l.state.Field(path)
	if message, _ := text.(canon.String); message != "" && v.look(path, l.state.Label(path).Sensitive()) {
		item.Message = string(message)
	}
	item.Masked = v.mask()
	return item
}

// RetryIncident tries again what failed; a job gets new tries (0: the default).
func (e *Engine) RetryIncident(ctx context.Context, c Caller, id string, retries int, idem string) (api.Receipt, error) {
	if err := e.could(ctx, c, access.RetryIncident, access.Incident, id); err != nil {
		return api.Receipt{}, err
	}
	ref, err := parseRef("incident", id)
	if err != nil {
		return api.Receipt{}, err
	}
	h := happening{event: process.IncidentRetried{Incident: ref.Job, Retries: retries}, name: "incident_retried", act: "admin"}
	decide := func(c Caller, l *Live) error {
		incident, _ := l.state.Incident(ref.Job)
		return e.mayOn(ctx, c, access.RetryIncident, l.incidentResource(incident), noSuch("incident", id))
	}
	done, err := e.happen(ctx, c, textID(ref.Instance), decide, h, "retry "+id, idem, retries)
	if fault.Is(err, fault.NotFound) {
		return done, noSuch("incident", id)
	}
	return done, err
}
