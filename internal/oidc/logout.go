package oidc

import (
	"context"
	"crypto/sha256"
	"maps"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
)

const (
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	logoutAge   = 5 * time.Minute // a logout token counts for no longer
	maxLogouts  = 10_000          // of one issuer of a tenant are known at a time
)

// Logout checks a logout token of a tenant's issuer (OpenID Connect Back-Channel Logout 1.0
// section 2.6), which counts once. One that does not count is Denied; Unavailable when the
// issuer cannot be asked, or signs out too many at a time.
func (c *Client) Logout(ctx context.Context, tenant string, i identity.Issuer, text string) (identity.Logout, error) {
	t, err := c.open(ctx, &i, text, []string{i.Client})
	if err != nil {
		return identity.Logout{}, err
	}
	issued, ok := t.time("iat")
	until := issued.Add(logoutAge)
	out := identity.Logout{Issuer: i.URL, Subject: t.text("sub"), Session: t.text("sid")}
	switch {
	case t.kind != "logout+jwt" || !t.signsOut() || t.has("nonce"):
		return identity.Logout{}, refused("the token of %s is no logout token", i.URL)
	case !ok || !c.now().Before(until.Add(skew)):
		return identity.Logout{}, refused("the logout token of %s is too old (iat)", i.URL)
	case out.Subject == "" && out.Session == "" || t.has("sub") && out.Subject == "" || t.has("sid") && out.Session == "":
		return identity.Logout{}, refused("the logout token of %s names nobody (sub, sid)", i.URL)
	case t.text("jti") == "":
		return identity.Logout{}, refused("the logout token of %s has no id (jti)", i.URL)
	}
	return out, c.once(signsOut{tenant, i.URL, i.Client}, t.text("jti"), until.Add(skew))
}

// signsOut reports whether the event of a token is a logout.
func (t *token) signsOut() bool {
	v, _ := t.claims.Get("events")
	events, _ := v.(*canon.Context)
	event, _ := events.Get(logoutEvent)
	_, ok := event.(*canon.Context)
	return ok
}

// signsOut is who signs people out: an issuer of a tenant, as a client. What one of them
// sends uses up nothing of another's.
type signsOut struct{ tenant, issuer, client string }

// once refuses a logout token that was used before. It is known until it would not count
// any more.
func (c *Client) once(by signsOut, id string, until time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if !within(now, c.swept, logoutAge) {
		c.forgetLogouts(now)
	}
	name := sha256.Sum256([]byte(id))
	if at, used := c.logouts[by][name]; used && now.Before(at) {
		return refused("the logout token of %s was used before (jti)", by.issuer)
	}
	if len(c.logouts[by]) >= maxLogouts {
		return fault.New(fault.Unavailable, "%s signs out too many people at a time", by.issuer).WithHint("try again in a few minutes")
	}
	if c.logouts[by] == nil {
		c.logouts[by] = map[[32]byte]time.Time{}
	}
	c.logouts[by][name] = until
	return nil
}

// forgetLogouts forgets the tokens that would not count any more.
func (c *Client) forgetLogouts(now time.Time) {
	for by, ids := range c.logouts {
		maps.DeleteFunc(ids, func(_ [32]byte, at time.Time) bool { return !now.Before(at) })
		if len(ids) == 0 {
			delete(c.logouts, by)
		}
	}
	c.swept = now
}
