package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// For how long a principal is told of what happened to their account, how many steps of it
// and how many tries of each kind at most, and how long before a key ends.
const (
	noticeAge  = 30 * 24 * time.Hour
	maxNotices = 100
	maxTries   = 50
	endsSoon   = 14 * 24 * time.Hour
)

// Notices tells the caller what happened to their own account lately: what lets them in was
// made, changed or taken away, by whom, and somebody tried in vain to be them. It is as the
// log has it, so that who got in cannot hide how. Of who is somebody else, no address.
func (e *Engine) Notices(ctx context.Context, c Caller) (api.Notices, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Notices, error) { return e.noticesAs(ctx, c) })
}

func (e *Engine) noticesAs(ctx context.Context, c Caller) (api.Notices, error) {
	out := api.Notices{Items: []api.Notice{}, Ending: []api.APIKey{}}
	if err := e.mayOwn(ctx, c, access.ReadPrincipal, "principal", c.Principal, c.Principal); err != nil {
		return out, err
	}
	p, err := e.namedPrincipal(ctx, c.Scope, c.Principal)
	if err != nil {
		return out, err
	}
	now := e.moment()
	keys := e.sees(c, access.ReadAPIKey, access.Resource{Kind: "apikey", Tenant: c.Scope.Tenant(), Owner: c.Principal})
	for i := range p.Keys {
		if k := &p.Keys[i]; keys && !k.Expires.IsZero() && now.Before(k.Expires) && k.Expires.Sub(now) <= endsSoon {
			out.Ending = append(out.Ending, wireKey(p.Name, k))
		}
	}
	since := now.Add(-noticeAge).Format(time.RFC3339)
	for _, f := range []api.AuditFilter{
		{Object: p.id.String(), From: since}, {Kind: signInFailed, Principal: p.Name, From: since}, {Kind: passkeyCopied, Principal: p.Name, From: since},
	} {
		found, more, err := e.noticed(ctx, c.Scope, f)
		if err != nil {
			return out, err
		}
		out.More = out.More || more
		for i := range found {
			x := &found[i]
			n := api.Notice{Kind: x.Kind, At: x.At, By: x.Principal, Count: x.Count}
			if x.Principal == p.Name && x.Tenant == "" {
				n.Address = x.Address
			}
			out.Items = append(out.Items, n)
		}
	}
	slices.SortStableFunc(out.Items, func(a, b api.Notice) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Kind, b.Kind)) })
	return out, nil
}

// noticed finds the newest entries that a filter names, and whether there may be more. Of an
// object these are its steps, not that it was shown or refused, nor that a passkey was used:
// whoever repeats these, or tries in vain to be somebody, pushes no step out.
func (e *Engine) noticed(ctx context.Context, scope store.Scope, f api.AuditFilter) (found []api.AuditEntry, more bool, err error) {
	question, err := readAuditFilter(f)
	if err != nil {
		return nil, false, err
	}
	s, err := e.newAuditSearch(ctx, scope, &question, direction(-1), "")
	if err != nil {
		return nil, false, err
	}
	limit := maxTries
	if f.Object != "" {
		limit = maxNotices
		s.walk.criteria[0].holds = func(_ *store.LogEntry, leaf *ledger.Leaf) bool {
			return leaf.Object == f.Object && leaf.Kind != passkeyUsed
		}
	}
	if found, err = s.take(ctx, limit+1); err != nil {
		return nil, false, err
	}
	return found[:min(len(found), limit)], len(found) > limit || !s.done, nil
}
