package oidc

import (
	"context"
	"maps"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
)

const (
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	logoutAge   = 5 * time.Minute // a logout token counts for no longer
	maxLogouts  = 100_000         // are known at a time
)

// Logout checks a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6), which
// counts once. One that does not count is Denied; Unavailable when the issuer cannot be
// asked.
func (c *Client) Logout(ctx context.Context, i identity.Issuer, text string) (identity.Logout, error) {
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
	return out, c.once(i.URL, i.Client+" "+t.text("jti"), until.Add(skew))
}

// signsOut reports whether the event of a token is a logout.
func (t *token) signsOut() bool {
	v, _ := t.claims.Get("events")
	events, _ := v.(*canon.Context)
	event, _ := events.Get(logoutEvent)
	_, ok := event.(*canon.Context)
	return ok
}

// once refuses a logout token that was used before. It is known until it would not count
// any more.
func (c *Client) once(issuer, id string, until time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	name := issuer + " " + id
	if at, used := c.logouts[name]; used && now.Before(at) {
		return refused("the logout token of %s was used before (jti)", issuer)
	}
	if len(c.logouts) >= maxLogouts {
		maps.DeleteFunc(c.logouts, func(_ string, at time.Time) bool { return !now.Before(at) })
	}
	if len(c.logouts) >= maxLogouts {
		return fault.New(fault.Unavailable, "too many people are signed out at a time").WithHint("try again in a minute")
	}
	c.logouts[name] = until
	return nil
}
