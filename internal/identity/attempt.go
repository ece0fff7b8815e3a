package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
)

// The server keeps nothing of a sign-in that was begun at an issuer: whoever began it keeps
// it, sealed. So nobody fills the server with attempts, and a restart loses none.

// attemptPlace is what an attempt is bound to: the issuer with what it was asked as, so
// that one whose settings have changed meanwhile is not believed, and the host that the
// browser asked.
func (d *Directory) attemptPlace(scope store.Scope, i *Issuer, host string) envelope.Context {
	asked := sha256.Sum256(canon.EncodeItems(canon.String(i.URL), canon.String(i.Client)))
	return envelope.Context{
		Deployment: d.cfg.Deployment, Tenant: scope.Tenant(), Class: "sign-in", Object: i.ID,
		Path: host + " " + hex.EncodeToString(asked[:]),
	}
}

// SealAttempt returns an attempt as whoever began it keeps it: letters, digits, - and _.
func (d *Directory) SealAttempt(ctx context.Context, scope store.Scope, i *Issuer, host string, a *Attempt) (string, error) {
	key, err := d.cfg.Ring.TenantKey(ctx, scope.Tenant(), keyring.Audit)
	if err != nil {
		return "", err
	}
	sealed, err := envelope.Seal([]envelope.Key{key}, d.attemptPlace(scope, i, host), canon.EncodeItems(a.items()...))
	return base64.RawURLEncoding.EncodeToString(sealed), err
}

func (a *Attempt) items() []canon.Value {
	return []canon.Value{
		canon.String(a.State), canon.String(a.Nonce), canon.String(a.Verifier), canon.String(a.Redirect), timeItem(a.Begun), canon.String(a.To), canon.Bool(a.Again),
	}
}

// OpenAttempt opens an attempt. Denied when it was made by others, for another issuer or
// at another host.
func (d *Directory) OpenAttempt(ctx context.Context, scope store.Scope, i *Issuer, host, text string) (Attempt, error) {
	none := fault.New(fault.Denied, "the browser has begun no sign-in at issuer %q here, or it is over", i.ID).WithCode("no_attempt")
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return Attempt{}, none
	}
	plain, err := d.unseal(ctx, scope, d.attemptPlace(scope, i, host), sealed)
	if fault.Is(err, fault.Integrity) { // nobody but the browser has had it
		return Attempt{}, none.WithCause(err)
	}
	if err != nil {
		return Attempt{}, err
	}
	items, err := canon.DecodeItems(plain)
	if err != nil || len(items) != len((&Attempt{}).items()) {
		return Attempt{}, none
	}
	return Attempt{
		State: textOf(items[0]), Nonce: textOf(items[1]), Verifier: textOf(items[2]), Redirect: textOf(items[3]),
		Begun: timeOf(items[4]), To: textOf(items[5]), Again: items[6] == canon.Bool(true),
	}, nil
}
