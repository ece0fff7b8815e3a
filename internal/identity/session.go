package identity

import (
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
)

// Ways to sign in.
const (
	ByPassword = "password"
	ByPasskey  = "passkey"

	ByIssuer = "federated " // and the id of the issuer
)

// Session is where a person is signed in, from when to when. Its text is shown by a
// browser as a cookie, or by a program in a header, and never by the one for the other.
type Session struct {
	ID        store.ID
	Token     [32]byte // keyed hash of its text
	Object    store.ID // of the principal
	Principal string
	Ended     Generations // of when it was begun

	How     string // it was begun: ByPassword, ByPasskey or ByIssuer with its id
	Link    string // of the principal to the issuer that signed them in; empty: none did
	Passkey string // of the principal that signed them in, or proved last who they are; empty: none did
	There   string // the session at that issuer; empty: it has said none
	// Vouched is when that issuer said so, by its clock; zero: none did.
	Vouched time.Time
	Host    string // that the cookie is for; empty: it is no cookie
	Address string // where it was begun

	Made     time.Time
	Verified time.Time     // when they last proved here, or anew to the issuer, who they are; zero: never
	Used     time.Time     // last
	Expires  time.Time     // however much it is used
	Idle     time.Duration // that it lasts without being used
}

// Generations say how often all sessions of a principal, and of the tenant, were ended.
// A session counts in the generations that it was begun in.
type Generations struct{ Principal, Tenant int64 }

// Live reports whether a session is neither too old nor unused for too long.
func (s *Session) Live(at time.Time) bool { return at.Before(s.ends()) }

// ends returns when a session is over if it is not used again.
func (s *Session) ends() time.Time {
	if idle := s.Used.Add(s.Idle); idle.Before(s.Expires) {
		return idle
	}
	return s.Expires
}

// place is what a session's row is bound to.
func (d *Directory) place(scope store.Scope, r *store.SessionRow) envelope.Context {
	return envelope.Context{
		Deployment: d.cfg.Deployment, Tenant: scope.Tenant(), Class: "session", Object: hex.EncodeToString(r.Token[:]),
		Path: r.ID.String() + " " + r.Object.String() + " " + strconv.FormatInt(r.Expires.UnixMicro(), 10) + " " + hex.EncodeToString(r.There),
	}
}

// ThereToken is the keyed hash under which sessions are found that came from one at an
// issuer. It is of an issuer's own name for that, whichever issuer it is: few have the same.
func (d *Directory) ThereToken(ctx context.Context, scope store.Scope, there string) ([]byte, error) {
	token, err := d.Token(ctx, scope, elsewhere, there)
	return token[:], err
}

// SealSession returns a session as it is stored.
func (d *Directory) SealSession(ctx context.Context, scope store.Scope, s *Session) (store.SessionRow, error) {
	row := store.SessionRow{Token: s.Token, ID: s.ID, Object: s.Object, Expires: s.Expires}
	var err error
	if s.There != "" {
		if row.There, err = d.ThereToken(ctx, scope, s.There); err != nil {
			return row, err
		}
	}
	key, err := d.cfg.Ring.TenantKey(ctx, scope.Tenant(), keyring.Audit)
	if err != nil {
		return row, err
	}
	row.Sealed, err = envelope.Seal([]envelope.Key{key}, d.place(scope, &row), canon.EncodeItems(s.items()...))
	return row, err
}

// items are what is sealed of a session.
func (s *Session) items() []canon.Value {
	return []canon.Value{
		canon.String(s.Principal), count(s.Ended.Principal), count(s.Ended.Tenant),
		canon.String(s.How), canon.String(s.Host), canon.String(s.Address),
		timeItem(s.Made), timeItem(s.Verified), timeItem(s.Used), count(int64(s.Idle)),
		canon.String(s.Link), canon.String(s.Passkey), canon.String(s.There), timeItem(s.Vouched),
	}
}

// OpenSession opens a stored session; a row that was made by others, changed or moved is
// an Integrity fault.
func (d *Directory) OpenSession(ctx context.Context, scope store.Scope, row store.SessionRow) (Session, error) {
	plain, err := d.unseal(ctx, scope, d.place(scope, &row), row.Sealed)
	if err != nil {
		return Session{}, err
	}
	malformed := fault.New(fault.Integrity, "the row of a session is malformed").WithCode("malformed")
	items, err := canon.DecodeItems(plain)
	if err != nil || len(items) != len((&Session{}).items()) {
		return Session{}, malformed
	}
	s := Session{
		ID: row.ID, Token: row.Token, Object: row.Object, Expires: row.Expires, Principal: textOf(items[0]),
		Ended: Generations{countOf(items[1]), countOf(items[2])},
		How:   textOf(items[3]), Host: textOf(items[4]), Address: textOf(items[5]),
		Made: timeOf(items[6]), Verified: timeOf(items[7]), Used: timeOf(items[8]), Idle: time.Duration(countOf(items[9])),
		Link: textOf(items[10]), Passkey: textOf(items[11]), There: textOf(items[12]), Vouched: timeOf(items[13]),
	}
	for i, item := range s.items() {
		if !canon.Equal(item, items[i]) {
			return Session{}, malformed
		}
	}
	return s, nil
}
