package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	provider "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
)

// How long what an issuer has published is taken for what it publishes.
const (
	softAge   = 10 * time.Minute // then it is looked at again,
	hardAge   = time.Hour        // and if that fails for as long, no key of it counts
	lookEvery = 10 * time.Second // it is not looked at more often, whatever comes
)

// Bounds of what is kept.
const (
	maxIssuers = 10_000
	maxKeys    = 100
)

// issuer is one that is asked, and what it has published.
type issuer struct {
	url  string
	turn chan struct{} // has room for who looks

	mu   sync.Mutex // guards what follows
	seen *published // nil: never
	when time.Time  // of the newest look
	err  error      // of the newest look
}

// published is what an issuer says of itself, with its keys. It is immutable.
type published struct {
	metadata
	at   time.Time
	keys []jose.JSONWebKey
}

// metadata is what counts of OpenID Connect Discovery 1.0 section 3, RFC 8414 and RFC
// 9207.
type metadata struct {
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Keys          string   `json:"jwks_uri"`
	Challenges    []string `json:"code_challenge_methods_supported"`
	ClientAuth    []string `json:"token_endpoint_auth_methods_supported"`
	NamesItself   bool     `json:"authorization_response_iss_parameter_supported"`
}

// whose is an issuer of a tenant. What one of them was asked for is known to nobody else's:
// by how long asking takes, a tenant would learn whose people sign in where.
type whose struct{ tenant, url string }

func (c *Client) issuer(of *identity.Issuer) *issuer {
	by := whose{of.Tenant, of.URL}
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.issuers[by]
	if i == nil {
		if len(c.issuers) >= maxIssuers {
			clear(c.issuers)
		}
		i = &issuer{url: of.URL, turn: make(chan struct{}, 1)}
		c.issuers[by] = i
	}
	return i
}

// published returns what an issuer has published. It is looked at anew when what is known
// is old, or is not enough; that this was in vain, the caller sees by asking enough again.
func (c *Client) published(ctx context.Context, of *identity.Issuer, enough func(*published) bool) (*published, error) {
	i, url := c.issuer(of), of.URL
	p, settled, err := i.known(c.now(), enough)
	if settled {
		return p, err
	}
	if p != nil && enough(p) { // only old: one who asks looks, the others need not wait
		select {
		case i.turn <- struct{}{}:
		default:
			return p, nil
		}
	} else {
		select {
		case i.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, unreachable(url, ctx.Err())
		}
	}
	defer func() { <-i.turn }()
	if p, settled, err = i.known(c.now(), enough); settled { // somebody else has looked meanwhile
		return p, err
	}
	// A caller who leaves must not make the look fail for all who come after.
	looking, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	i.take(c.look(looking, url))
	p, _, err = i.known(c.now(), enough)
	return p, err
}

// known returns what counts of what is known at a time, and whether no look is due.
func (i *issuer) known(now time.Time, enough func(*published) bool) (p *published, settled bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.seen != nil && within(now, i.seen.at, hardAge) {
		p = i.seen
	}
	if p != nil && within(now, p.at, softAge) && enough(p) {
		return p, true, nil
	}
	if settled = within(now, i.when, lookEvery); settled && p == nil {
		err = unreachable(i.url, i.err)
	}
	return p, settled, err
}

// within reports whether less than an age has passed since a time. A clock that was set
// back makes everything old.
func within(now, since time.Time, age time.Duration) bool {
	passed := now.Sub(since)
	return !since.IsZero() && passed >= 0 && passed < age
}

func (i *issuer) take(p *published, at time.Time, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.when, i.err = at, err
	if err == nil {
		i.seen = p
	}
}

func unreachable(url string, cause error) error {
	return fault.New(fault.Unavailable, "ask the issuer %s: %w", url, cause).WithCode("issuer_unavailable")
}

// look asks an issuer for its metadata, which must name that issuer, and for its keys.
func (c *Client) look(ctx context.Context, url string) (*published, time.Time, error) {
	p := &published{at: c.now()}
	found, err := provider.NewProvider(provider.ClientContext(ctx, &c.web.own), url)
	if err != nil {
		// Its text may hold all that was answered.
		return nil, p.at, errors.New("it does not answer at /.well-known/openid-configuration as an OpenID provider of this address does")
	}
	if err := found.Claims(&p.metadata); err != nil {
		return nil, p.at, errors.New("its metadata cannot be read")
	}
	if err := p.check(url); err != nil {
		return nil, p.at, err
	}
	body, err := c.web.get(ctx, url, p.Keys)
	if err != nil {
		return nil, p.at, fmt.Errorf("get its keys: %w", err)
	}
	p.keys, err = keysOf(body)
	return p, p.at, err
}

// check refuses endpoints that are less secure than the issuer's own address.
func (m *metadata) check(issuer string) error {
	own, err := url.Parse(issuer)
	if err != nil {
		return err
	}
	for name, address := range map[string]string{"jwks_uri": m.Keys, "authorization_endpoint": m.Authorization, "token_endpoint": m.Token} {
		u, err := url.Parse(address)
		if address == "" && name != "jwks_uri" {
			continue // it has none: it gives tokens in another way
		}
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != own.Scheme {
			return fmt.Errorf("its %s is no https address", name)
		}
	}
	return nil
}

// keysOf reads a set of keys (RFC 7517 section 5), without those that are not for us.
func keysOf(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil || len(set.Keys) > maxKeys {
		return nil, errors.New("its keys cannot be read")
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if err := json.Unmarshal(raw, &k); err == nil && signs(&k) {
			keys = append(keys, k)
		}
	}
	if keys == nil {
		return nil, errors.New("it publishes no key for signatures")
	}
	return keys, nil
}

// signs reports whether signatures may be by a key.
func signs(k *jose.JSONWebKey) bool {
	return k.IsPublic() && (k.Use == "" || k.Use == "sig") && identity.IsGoodKey(k.Key)
}

// keysFor returns the keys that a signature may be by: those of its key id or, if it names
// none, all.
func (p *published) keysFor(id string, by jose.SignatureAlgorithm) []jose.JSONWebKey {
	return slices.DeleteFunc(slices.Clone(p.keys), func(k jose.JSONWebKey) bool {
		return id != "" && k.KeyID != id || k.Algorithm != "" && k.Algorithm != string(by)
	})
}
