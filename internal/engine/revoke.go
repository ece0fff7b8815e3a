package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/identity"
)

// RevokeUser ends all that admits a principal, in one step: it is disabled, its sessions
// end, and its keys, passkeys, password and link are gone for good, as is that it is somebody
// elsewhere. The readers of the log that it made, which show nothing while it is disabled,
// end after that, however many they are; asked again, what is left of them does. It counts for the next request, and for calls that wait.
func (e *Engine) RevokeUser(ctx context.Context, c Caller, name string, r api.ReasonRequest, idem string) (api.User, error) {
	may := func(c Caller) error {
		if err := e.may(ctx, c, access.RevokeAPIKey, "principal", name); err != nil {
			return err
		}
		return e.may(ctx, c, access.DisablePrincipal, "principal", name)
	}
	ch := change{name, "revoke-user " + name, idem, r, r.Reason, false}
	u, err := e.changeUserAs(ctx, c, ch, may, principalDisabled, func(c Caller, p *principal, a *amendment) error {
		if p.State == identity.Disabled && !p.isAdmittedBySomething() {
			if readers, err := e.hasReaders(ctx, c.Scope, name); err != nil || !readers {
				return cmp.Or(err, already("user", name, "disabled, without anything that admits them"))
			}
		}
		var err error
		if a.signers, err = e.revokedKeys(ctx, p, p.Passkeys...); err != nil {
			return err
		}
		p.disable(a)
		p.endWays(a, e.moment())
		return e.requireAdministrator(ctx, c, p)
	})
	if err != nil {
		return api.User{}, err
	}
	return u, e.endReadersOf(ctx, c, name)
}

// disable has nothing admit a principal until it is enabled. Its link, which would outlive
// that, is gone.
func (p *principal) disable(a *amendment) {
	withdraw(&p.Invitation, a)
	p.State = identity.Disabled
	p.Ended++
}

// endWays ends the ways in that a principal would have again when it is enabled. Who it is
// elsewhere stays taken, else an issuer that creates principals would make another of it.
func (p *principal) endWays(a *amendment, at time.Time) {
	for _, k := range p.Keys {
		a.ended = append(a.ended, k.Token)
	}
	p.Keys, p.Passkeys, p.Password, p.Federated = nil, nil, "", slices.Clone(p.Federated)
	for i := range p.Federated {
		if p.Federated[i].Ended.IsZero() {
			p.Federated[i].Ended = at
		}
	}
}

// isAdmittedBySomething reports whether a principal has a way in, should it be enabled.
func (p *principal) isAdmittedBySomething() bool {
	return len(p.Keys) > 0 || len(p.Passkeys) > 0 || p.Invitation != (identity.Link{}) || p.Password != "" ||
		slices.ContainsFunc(p.Federated, func(f identity.Federated) bool { return f.Ended.IsZero() })
}
