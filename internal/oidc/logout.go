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
// section 2.6) and has end do what it says. It counts once; one of which end fails counts
// again, for the issuer sends it anew. One that does not count is Denied; Unavailable when
// the issuer cannot be asked, or signs out too many at a time.
func (c *Client) Logout(ctx context.Context, tenant string, i identity.Issuer, text string, end func(identity.Logout) error) error {
	t, err := c.open(ctx, &i, text, []string{i.Client})
	if err != nil {
		return err
	}
	issued, ok := t.time("iat")
	until := issued.Add(logoutAge)
	out := identity.Logout{Issuer: i.URL, Subject: t.text("sub"), Session: t.text("sid"), Until: issued.Add(skew)}
	switch {
	case t.kind != "logout+jwt" || !t.signsOut() || t.has("nonce"):
		return refused("the token of %s is no logout token", i.URL)
	case !ok || !c.now().Before(until.Add(skew)):
		return refused("the logout token of %s is too old (iat)", i.URL)
	case out.Subject == "" && out.Session == "" || t.has("sub") && out.Subject == "" || t.has("sid") && out.Session == "":
		return refused("the logout token of %s names nobody (sub, sid)", i.URL)
	case t.text("jti") == "":
		return refused("the logout token of %s has no id (jti)", i.URL)
	}
	return c.once(signsOut{tenant, i.URL, i.Client}, t.text("jti"), until.Add(skew), func() error { return end(out) })
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

// logout is a logout token that was used, or is just being used.
type logout struct {
	until time.Time // it would count
	done  bool
}

// once has end do what a logout token says, unless it was used before. It is known until it
// would not count any more. The same token at the same time, which an issuer sends that did
// not wait for the answer, is Unavailable: it is not known yet whether it is to come again.
func (c *Client) once(by signsOut, id string, until time.Time, end func() error) error {
	name := sha256.Sum256([]byte(id))
	if err := c.use(by, name, until); err != nil {
		return err
	}
	done := false
	defer func() { c.used(by, name, done) }()
	err := end()
	done = err == nil
	return err
}

// used notes that a token was used, or that it counts again.
func (c *Client) used(by signsOut, name [32]byte, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !done {
		delete(c.logouts[by], name)
	} else if known, ok := c.logouts[by][name]; ok {
		known.done = true
		c.logouts[by][name] = known
	}
}

// use takes a token that nobody uses.
func (c *Client) use(by signsOut, name [32]byte, until time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if !within(now, c.swept, logoutAge) {
		c.forgetLogouts(now)
	}
	switch known, used := c.logouts[by][name]; {
	case used && now.Before(known.until) && known.done:
		return refused("the logout token of %s was used before (jti)", by.issuer)
	case used && !known.done:
		return fault.New(fault.Unavailable, "the logout token of %s is just being carried out (jti)", by.issuer).WithHint("try again in a moment")
	}
	if len(c.logouts[by]) >= maxLogouts {
		return fault.New(fault.Unavailable, "%s signs out too many people at a time", by.issuer).WithHint("try again in a few minutes")
	}
	if c.logouts[by] == nil {
		c.logouts[by] = map[[32]byte]logout{}
	}
	c.logouts[by][name] = logout{until: until}
	return nil
}

// forgetLogouts forgets the tokens that would not count any more.
func (c *Client) forgetLogouts(now time.Time) {
	for by, ids := range c.logouts {
		maps.DeleteFunc(ids, func(_ [32]byte, known logout) bool { return known.done && !now.Before(known.until) })
		if len(ids) == 0 {
			delete(c.logouts, by)
		}
	}
	c.swept = now
}
