package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/network"
	"github.com/underseal/underseal/internal/store"
)

// Kinds of leaves about API keys, in the chain of whom they are for.
const (
	apiKeyCreated = "api_key.created"
	apiKeyRotated = "api_key.rotated"
	apiKeyRevoked = "api_key.revoked"
)

const (
	maxKeys         = 100            // of a principal
	rotationOverlap = 24 * time.Hour // unless it is said otherwise
)

// APIKeys lists API keys, a user's or all.
func (e *Engine) APIKeys(ctx context.Context, c Caller, user string, p Page) (api.APIKeys, error) {
	return readNow(ctx, e, c, func(c Caller) (api.APIKeys, error) { return e.apiKeysAs(ctx, c, user, p) })
}

func (e *Engine) apiKeysAs(ctx context.Context, c Caller, user string, p Page) (api.APIKeys, error) {
	if err := e.mayOwn(ctx, c, access.ReadAPIKey, "apikey", "", user); err != nil {
		return api.APIKeys{}, err
	}
	limit, err := p.limit()
	if err != nil {
		return api.APIKeys{}, err
	}
	list := owned[api.APIKey]{kinds: []store.Kind{store.Principal}, id: func(k *api.APIKey) string { return k.ID }}
	list.of = func(ctx context.Context, _ store.Kind, id store.ID) ([]api.APIKey, error) {
		p, err := e.openPrincipal(ctx, c.Scope, id)
		if err != nil {
			return nil, err
		}
		return e.wireKeys(ctx, p)
	}
	if user != "" {
		who, err := e.namedPrincipal(ctx, c.Scope, user)
		if err != nil {
			return api.APIKeys{}, err
		}
		list.only = who.id
	}
	items, next, err := ownedPage(ctx, e, c.Scope, p, limit, list)
	return api.APIKeys{Items: items, Next: next}, err
}

// wireKeys shows a principal's keys, with when each was last used.
func (e *Engine) wireKeys(ctx context.Context, p *principal) ([]api.APIKey, error) {
	if len(p.Keys) == 0 {
		return nil, nil
	}
	rows, err := e.store.CredentialsOf(ctx, p.scope, p.id)
	if err != nil {
		return nil, err
	}
	out := make([]api.APIKey, len(p.Keys))
	for i := range p.Keys {
		k := &p.Keys[i]
		out[i] = wireKey(p.Name, k)
		used := e.people.used.of(p.scope, k.Token)
		if j := slices.IndexFunc(rows, func(r store.Credential) bool { return r.Token == k.Token }); used.IsZero() && j >= 0 {
			used = rows[j].Used
		}
		out[i].Used = optional(used)
	}
	return out, nil
}

func wireKey(user string, k *identity.APIKey) api.APIKey {
	return api.APIKey{ID: k.ID, User: user, Name: k.Name, Scopes: plain(k.Scopes), Networks: k.Networks.Strings(), Made: k.Made, Expires: optional(k.Expires)}
}

// CreateAPIKey makes an API key of a principal. The answer alone holds its text.
func (e *Engine) CreateAPIKey(ctx context.Context, c Caller, r api.APIKeyRequest, idem string) (api.NewAPIKey, error) {
	var key identity.APIKey
	may := func(c Caller) (err error) {
		if err = cmp.Or(e.mayOwn(ctx, c, access.CreateAPIKey, "apikey", r.User, r.User), e.freshPerson(c)); err != nil {
			return err
		}
		if key, err = e.keyOf(r); err != nil {
			return err
		}
		return notMightier(c, key)
	}
	var made api.NewAPIKey
	_, err := e.changePrincipal(ctx, c, change{r.User, "create-api-key", idem, r, r.Reason, true}, may, func(c Caller) (*principal, amendment, error) {
		p, err := e.namedPrincipal(ctx, c.Scope, r.User)
		if err == nil {
			err = e.requireGivable(ctx, c, p)
		}
		if err != nil {
			return nil, amendment{}, err
		}
		a := amendment{kind: apiKeyCreated}
		made, err = e.addKey(ctx, p, key, &a)
		return p, a, err
	})
	return made, err
}

// keyOf reads what a key is to be like.
func (e *Engine) keyOf(r api.APIKeyRequest) (identity.APIKey, error) {
	k := identity.APIKey{Name: r.Name}
	for _, text := range r.Scopes {
		scope, err := access.ParseScope(text)
		if err != nil {
			return k, err
		}
		k.Scopes = append(k.Scopes, scope)
	}
	var err error
	if k.Networks, err = network.Parse(r.Networks); err != nil {
		return k, err
	}
	if r.Expires != nil {
		if k.Expires = r.Expires.UTC().Truncate(time.Microsecond); !k.Expires.After(e.moment()) {
			return k, fault.New(fault.Invalid, "the key would be expired already").WithCode("expired")
		}
	}
	return k, nil
}

// notMightier refuses to give the text of a key that is for more than the caller's own:
// who has a key that was made for little would get one for everything with it.
func notMightier(c Caller, k identity.APIKey) error {
	if in := c.Exceeds(k); in != "" {
		return fault.New(fault.Denied, "the key would be for more than the one that asks, in its %s", in).WithCode("scope_exceeded").
			WithHint("stay within the scopes, networks and end of your own key, or use one without such limits")
	}
	return nil
}

// addKey gives a principal a key, and takes away those that are expired.
func (e *Engine) addKey(ctx context.Context, p *principal, k identity.APIKey, a *amendment) (api.NewAPIKey, error) {
	text := identity.APIKeyText.Generate(p.scope.Tenant())
	var err error
	if k.Token, err = e.identity.Token(ctx, p.scope, identity.APIKeyText, text); err != nil {
		return api.NewAPIKey{}, err
	}
	k.ID, k.Made = refText(p.id, p.head.seq+1), e.moment()
	var keys []identity.APIKey
	for _, old := range p.Keys {
		if !old.Expires.IsZero() && !k.Made.Before(old.Expires) {
			a.ended = append(a.ended, old.Token)
			continue
		}
		keys = append(keys, old)
	}
	if len(keys) >= maxKeys {
		return api.NewAPIKey{}, fault.New(fault.Invalid, "user %q has %d API keys; more are not possible", p.Name, len(keys)).
			WithCode("too_many_keys").WithHint("revoke some")
	}
	p.Keys = append(keys, k)
	a.given = append(a.given, k.Token)
	return api.NewAPIKey{APIKey: wireKey(p.Name, &k), Text: text}, nil
}

// RotateAPIKey puts another key in a key's place, with the same scopes and networks and
// as long a life. The old one counts for a while, so that whoever has it can change over.
func (e *Engine) RotateAPIKey(ctx context.Context, c Caller, id string, r api.RotateAPIKeyRequest, idem string) (api.NewAPIKey, error) {
	may := func(c Caller) error {
		owner, err := e.ownerOfPart(ctx, c, id)
		return cmp.Or(err, e.mayOwn(ctx, c, access.RotateAPIKey, "apikey", id, owner), e.freshPerson(c))
	}
	overlap := rotationOverlap
	if r.OverlapMS != nil {
		overlap = time.Duration(*r.OverlapMS) * time.Millisecond
	}
	var made api.NewAPIKey
	err := e.changeKey(ctx, c, id, change{"", "rotate-api-key " + id, idem, r, r.Reason, true}, may, func(c Caller, p *principal, i int) (amendment, error) {
		a, old := amendment{kind: apiKeyRotated}, p.Keys[i]
		next := identity.APIKey{Name: old.Name, Scopes: old.Scopes, Networks: old.Networks}
		now := e.moment()
		if !old.Expires.IsZero() {
			next.Expires = now.Add(old.Expires.Sub(old.Made))
		}
		if err := cmp.Or(notMightier(c, next), e.requireGivable(ctx, c, p)); err != nil {
			return a, err
		}
		if until := now.Add(overlap); old.Expires.IsZero() || until.Before(old.Expires) {
			p.Keys = slices.Clone(p.Keys)
			p.Keys[i].Expires = until
		}
		var err error
		made, err = e.addKey(ctx, p, next, &a)
		return a, err
	})
	return made, err
}

// RevokeAPIKey ends a key at once: it counts for no request that comes after, and for no
// call that waits.
func (e *Engine) RevokeAPIKey(ctx context.Context, c Caller, id string, r api.ReasonRequest, idem string) (api.APIKey, error) {
	may := func(c Caller) error {
		owner, err := e.ownerOfPart(ctx, c, id)
		if err != nil {
			return err
		}
		return e.mayOwn(ctx, c, access.RevokeAPIKey, "apikey", id, owner)
	}
	revoked := api.APIKey{ID: id}
	err := e.changeKey(ctx, c, id, change{"", "revoke-api-key " + id, idem, r, r.Reason, false}, may, func(c Caller, p *principal, i int) (amendment, error) {
		revoked = wireKey(p.Name, &p.Keys[i])
		a := amendment{kind: apiKeyRevoked, ended: [][32]byte{p.Keys[i].Token}}
		p.Keys = slices.Delete(slices.Clone(p.Keys), i, i+1)
		return a, e.requireAdministrator(ctx, c, p)
	})
	return revoked, err
}

// ownerOfPart returns the caller's name if a key, passkey or grant is theirs, else "".
func (e *Engine) ownerOfPart(ctx context.Context, c Caller, id string) (string, error) {
	own, err := e.dossierID(ctx, c.Scope, store.Principal, c.Principal)
	if object, _, _ := strings.Cut(id, "."); err != nil || object != textID(own) {
		return "", err
	}
	return c.Principal, nil
}

// changeKey carries out a change of a key; edit gets its principal, and its place there.
func (e *Engine) changeKey(ctx context.Context, c Caller, id string, ch change, may func(Caller) error,
	edit func(Caller, *principal, int) (amendment, error),
) error {
	if err := may(c); err != nil {
		return err
	}
	ref, err := parseRef("API key", id)
	if err != nil {
		return err
	}
	_, err = e.changed(ctx, c, c.Scope, ch, may, func(c Caller) (amendment, error) {
		p, err := e.openPrincipal(ctx, c.Scope, ref.Instance)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return amendment{}, err
		}
		i := -1
		if err == nil {
			i = slices.IndexFunc(p.Keys, func(k identity.APIKey) bool { return k.ID == id })
		}
		if i < 0 {
			return amendment{}, noSuch("API key", id)
		}
		a, err := edit(c, p, i)
		a.of, a.fields = &p.dossier, p.Fields()
		return a, err
	})
	return err
}
