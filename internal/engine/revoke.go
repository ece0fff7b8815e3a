package engine

import (
	"context"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/identity"
)

// RevokeUser ends all that admits a principal, in one step: it is disabled, its
// sessions end, and its keys, password and link are gone for good. It counts for the next request, and for calls that wait.
func (e *Engine) RevokeUser(ctx context.Context, c Caller, name string, r api.ReasonRequest, idem string) (api.User, error) {
	may := func(c Caller) error {
		if err := e.may(ctx, c, access.RevokeAPIKey, "principal", name); err != nil {
			return err
		}
		return e.may(ctx, c, access.DisablePrincipal, "principal", name)
	}
	p, err := e.changePrincipal(ctx, c, change{name, "revoke-user " + name, idem, r, r.Reason, false}, may, func(c Caller) (*principal, amendment, error) {
		p, err := e.namedPrincipal(ctx, c.Scope, name)
		if err != nil {
			return nil, amendment{}, err
		}
		if p.State == identity.Disabled && len(p.Keys) == 0 && p.Invitation == (identity.Link{}) && p.Password == "" {
			return nil, amendment{}, already("user", name, "disabled, without anything that admits them")
		}
		a := amendment{kind: principalDisabled}
		for _, k := range p.Keys {
			a.ended = append(a.ended, k.Token)
		}
		withdraw(&p.Invitation, &a)
		p.State, p.Keys, p.Password = identity.Disabled, nil, ""
		p.Ended++
		return p, a, e.requireAdministrator(ctx, c.Scope, &p.Principal, nil)
	})
	if err != nil {
		return api.User{}, err
	}
	return p.wire(), nil
}
