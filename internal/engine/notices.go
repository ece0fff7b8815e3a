package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/store"
)

// For how long a principal is told of what happened to their account, how much of it at
// most, and how long before a key ends.
const (
	noticeAge  = 30 * 24 * time.Hour
	maxNotices = 100
	endsSoon   = 14 * 24 * time.Hour
)

// Notices tells the caller what happened to their own account lately: what lets them in was
// made, changed or taken away, by whom, and somebody tried in vain to be them. It is as the
// log has it, so that who got in cannot hide how. Of who is somebody else, no address.
func (e *Engine) Notices(ctx context.Context, c Caller) (api.Notices, error) {
	out := api.Notices{Items: []api.Notice{}, Ending: []api.APIKey{}}
	if err := e.admitted(c.Scope); err != nil {
		return out, err
	}
	p, err := e.namedPrincipal(ctx, c.Scope, c.Principal)
	if err != nil {
		return out, err
	}
	now := e.moment()
	for i := range p.Keys {
		if k := &p.Keys[i]; !k.Expires.IsZero() && now.Before(k.Expires) && k.Expires.Sub(now) <= endsSoon {
			out.Ending = append(out.Ending, wireKey(p.Name, k))
		}
	}
	since := now.Add(-noticeAge).Format(time.RFC3339)
	for _, f := range []api.AuditFilter{
		{Object: p.id.String(), From: since}, {Kind: signInFailed, Principal: p.Name, From: since}, {Kind: passkeyCopied, Principal: p.Name, From: since},
	} {
		found, err := e.noticed(ctx, c.Scope, f)
		if err != nil {
			return out, err
		}
		for i := range found {
			x := &found[i]
			if f.Object != "" && (x.Object != f.Object || x.Kind == passkeyUsed) { // shown or refused, or a use
				continue
			}
			n := api.Notice{Kind: x.Kind, At: x.At, By: x.Principal, Count: x.Count}
			if x.Principal == p.Name && x.Tenant == "" {
				n.Address = x.Address
			}
			out.Items = append(out.Items, n)
		}
	}
	slices.SortStableFunc(out.Items, func(a, b api.Notice) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Kind, b.Kind)) })
	out.Items = out.Items[:min(len(out.Items), maxNotices)]
	return out, nil
}

// noticed finds the newest entries that a filter names.
func (e *Engine) noticed(ctx context.Context, scope store.Scope, f api.AuditFilter) ([]api.AuditEntry, error) {
	question, err := readAuditFilter(f)
	if err != nil {
		return nil, err
	}
	s, err := e.newAuditSearch(ctx, scope, &question, direction(-1), "")
	if err != nil {
		return nil, err
	}
	return s.take(ctx, maxNotices)
}
