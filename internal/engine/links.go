package engine

import (
	"cmp"
	"context"
	"slices"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
)

// Kinds of leaves about who principals are elsewhere.
const (
	identityLinked   = "identity.linked"
	identityUnlinked = "identity.unlinked"
)

// maxFederated bounds who a principal is elsewhere.
const maxFederated = 20

// LinkUser says who a principal is elsewhere, which is another way in: it is given by who
// may give an API key.
func (e *Engine) LinkUser(ctx context.Context, c Caller, name string, r api.LinkRequest, idem string) (api.User, error) {
	may := func(c Caller) error {
		return cmp.Or(e.mayOwn(ctx, c, access.CreateAPIKey, "apikey", name, name), e.freshPerson(c))
	}
	if err := may(c); err != nil {
		return api.User{}, err
	}
	if err := e.learnLinks(ctx, c.Scope); err != nil {
		return api.User{}, err
	}
	return e.changeUserAs(ctx, c, change{name, "link-user " + name, idem, r, r.Reason, false}, may, identityLinked, func(c Caller, p *principal, a *amendment) error {
		if err := notMightier(c, identity.APIKey{}); err != nil {
			return err
		}
		if err := e.requireGivable(ctx, c, p); err != nil {
			return err
		}
		issuer, err := e.issuerFor(ctx, p, r.Issuer)
		if err == nil {
			err = identity.CheckSubject(issuer, r.Subject)
		}
		if err != nil {
			return err
		}
		return e.link(ctx, p, issuer, r.Subject, a)
	})
}

// issuerFor returns how principals name an issuer of the tenant, by its id. People and
// services have issuers of their own, so that nobody signs in as a program.
func (e *Engine) issuerFor(ctx context.Context, p *principal, id string) (string, error) {
	if id == identity.ByFingerprint && p.Kind == access.Service {
		return id, nil
	}
	t, err := e.openTenant(ctx, p.scope)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(t.Issuers, func(i identity.Issuer) bool { return i.ID == id })
	if i < 0 {
		return "", noSuch("issuer", id)
	}
	if (t.Issuers[i].Kind == identity.People) != (p.Kind == access.User) {
		return "", fault.New(fault.Conflict, "issuer %q is for %s, and %q is a %s", id, t.Issuers[i].Kind, p.Name, p.Kind).WithCode("other_kind")
	}
	return t.Issuers[i].Named(), nil
}

// link makes a principal somebody elsewhere, whom nobody else is.
func (e *Engine) link(ctx context.Context, p *principal, issuer, subject string, a *amendment) error {
	token, err := e.identity.FederatedToken(ctx, p.scope, issuer, subject)
	if err != nil {
		return err
	}
	switch _, err := e.store.Credential(ctx, p.scope, token); {
	case err == nil:
		return fault.New(fault.Conflict, "%s of %s is linked already", subject, issuer).WithCode("linked_already").
			WithHint("`underseal users unlink` ends that; users that are linked show it")
	case !fault.Is(err, fault.NotFound):
		return err
	}
	switch taken, err := e.people.linked.has(p.scope, token); {
	case err != nil:
		return err
	case taken:
		return fault.New(fault.Integrity, "somebody is linked to %s of %s by what is sealed of them, and the row of the table credentials that leads there is gone", subject, issuer).
			WithCode("tampered").WithHint("underseal fsck names the user")
	}
	if len(p.Federated) >= maxFederated {
		return fault.New(fault.Invalid, "user %q is linked %d times; more are not possible", p.Name, len(p.Federated)).WithCode("too_many_links")
	}
	p.Federated = append(slices.Clone(p.Federated), identity.Federated{
		ID: refText(p.id, p.head.seq+1), Issuer: issuer, Subject: subject, Token: token, Made: e.moment(),
	})
	a.given = append(a.given, token)
	return nil
}

// UnlinkUser ends that a principal is somebody elsewhere, from the next request on, and for
// calls that wait.
func (e *Engine) UnlinkUser(ctx context.Context, c Caller, name string, r api.UnlinkRequest, idem string) (api.User, error) {
	may := func(c Caller) error { return e.may(ctx, c, access.RevokeAPIKey, "apikey", name) }
	return e.changeUserAs(ctx, c, change{name, "unlink-user " + name, idem, r, r.Reason, false}, may, identityUnlinked, func(c Caller, p *principal, a *amendment) error {
		i := slices.IndexFunc(p.Federated, func(f identity.Federated) bool { return f.ID == r.ID })
		if i < 0 {
			return noSuch("link", r.ID)
		}
		a.ended = append(a.ended, p.Federated[i].Token)
		p.Federated = slices.Delete(slices.Clone(p.Federated), i, i+1)
		return e.requireAdministrator(ctx, c, p)
	})
}
