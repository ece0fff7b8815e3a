package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"time"

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
// browser asked. A voucher is bound to no host: the program may reach the server by another.
func (d *Directory) attemptPlace(scope store.Scope, i *Issuer, class, host string) envelope.Context {
	asked := sha256.Sum256(canon.EncodeItems(canon.String(i.URL), canon.String(i.Client)))
	return envelope.Context{
		Deployment: d.cfg.Deployment, Tenant: scope.Tenant(), Class: class, Object: i.ID,
		Path: host + " " + hex.EncodeToString(asked[:]),
	}
}

// Classes of what is sealed of a sign-in at an issuer.
const (
	attemptClass = "sign-in"
	voucherClass = "sign-in voucher"
)

// SealAttempt returns an attempt as whoever began it keeps it: letters, digits, - and _.
func (d *Directory) SealAttempt(ctx context.Context, scope store.Scope, i *Issuer, host string, a *Attempt) (string, error) {
	return d.sealItems(ctx, scope, d.attemptPlace(scope, i, attemptClass, host), a.items())
}

func (d *Directory) sealItems(ctx context.Context, scope store.Scope, place envelope.Context, items []canon.Value) (string, error) {
	key, err := d.cfg.Ring.TenantKey(ctx, scope.Tenant(), keyring.Audit)
	if err != nil {
		return "", err
	}
	sealed, err := envelope.Seal([]envelope.Key{key}, place, canon.EncodeItems(items...))
	return base64.RawURLEncoding.EncodeToString(sealed), err
}

func (a *Attempt) items() []canon.Value {
	return []canon.Value{
		canon.String(a.State), canon.String(a.Nonce), canon.String(a.Verifier), canon.String(a.Redirect), timeItem(a.Begun), canon.String(a.To), canon.Bool(a.Again),
		count(int64(a.Command.Port)), canon.String(a.Command.Challenge), canon.String(a.Command.Address),
	}
}

// OpenAttempt opens an attempt. Denied when it was made by others, for another issuer or
// at another host.
func (d *Directory) OpenAttempt(ctx context.Context, scope store.Scope, i *Issuer, host, text string) (Attempt, error) {
	none := fault.New(fault.Denied, "the browser has begun no sign-in at issuer %q here, or it is over", i.ID).WithCode("no_attempt")
	items, err := d.openItems(ctx, scope, d.attemptPlace(scope, i, attemptClass, host), text, len((&Attempt{}).items()), none)
	if err != nil {
		return Attempt{}, err
	}
	return Attempt{
		State: textOf(items[0]), Nonce: textOf(items[1]), Verifier: textOf(items[2]), Redirect: textOf(items[3]),
		Begun: timeOf(items[4]), To: textOf(items[5]), Again: items[6] == canon.Bool(true),
		Command: Command{Port: int(countOf(items[7])), Challenge: textOf(items[8]), Address: textOf(items[9])},
	}, nil
}

// openItems opens what sealItems made; none is the error where it did not.
func (d *Directory) openItems(ctx context.Context, scope store.Scope, place envelope.Context, text string, number int, none *fault.Error) ([]canon.Value, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, none
	}
	plain, err := d.unseal(ctx, scope, place, sealed)
	if fault.Is(err, fault.Integrity) { // nobody but who brings it has had it
		return nil, none.WithCause(err)
	}
	if err != nil {
		return nil, err
	}
	items, err := canon.DecodeItems(plain)
	if err != nil || len(items) != number {
		return nil, none
	}
	return items, nil
}

// SealVoucher returns a voucher as a browser carries it: letters, digits, - and _.
func (d *Directory) SealVoucher(ctx context.Context, scope store.Scope, i *Issuer, v *Voucher) (string, error) {
	return d.sealItems(ctx, scope, d.attemptPlace(scope, i, voucherClass, ""), v.items())
}

func (v *Voucher) items() []canon.Value {
	return []canon.Value{
		canon.String(v.Challenge), canon.String(v.State), canon.String(v.Principal), canon.String(v.Link), count(v.Ended.Principal), count(v.Ended.Tenant),
		canon.String(v.Claims.Issuer), canon.String(v.Claims.Subject), canon.String(v.Claims.Session), timeItem(v.Claims.Proved),
		timeItem(v.Asked), timeItem(v.Made), timeItem(v.Claims.Issued),
	}
}

// OpenVoucher opens a voucher for who knows the verifier of its challenge, while it counts.
// Denied: it was made by others, for another issuer or for another program, or too long ago.
func (d *Directory) OpenVoucher(ctx context.Context, scope store.Scope, i *Issuer, text, verifier string, now time.Time) (Voucher, error) {
	none := fault.New(fault.Denied, "the code is none that was made for a sign-in at issuer %q here", i.ID).WithCode("no_voucher")
	items, err := d.openItems(ctx, scope, d.attemptPlace(scope, i, voucherClass, ""), text, len((&Voucher{}).items()), none)
	if err != nil {
		return Voucher{}, err
	}
	v := Voucher{
		Challenge: textOf(items[0]), State: textOf(items[1]), Principal: textOf(items[2]), Link: textOf(items[3]),
		Ended:  Generations{countOf(items[4]), countOf(items[5])},
		Claims: Claims{Issuer: textOf(items[6]), Subject: textOf(items[7]), Session: textOf(items[8]), Proved: timeOf(items[9]), Issued: timeOf(items[12])},
		Asked:  timeOf(items[10]), Made: timeOf(items[11]),
	}
	known := sha256.Sum256([]byte(verifier))
	if subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(known[:])), []byte(v.Challenge)) != 1 {
		return Voucher{}, fault.New(fault.Denied, "the code was made for another program (verifier)").WithCode("no_voucher")
	}
	if !now.Before(v.Made.Add(VoucherAge)) {
		return Voucher{}, fault.New(fault.Denied, "the code is older than %v", VoucherAge).WithCode("no_voucher")
	}
	return v, nil
}

// IsChallenge reports whether a text is a SHA-256 in base64url (RFC 7636 section 4.2).
func IsChallenge(text string) bool {
	sum, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(sum) == sha256.Size && len(text) == 43 // else there may be line ends in it
}
