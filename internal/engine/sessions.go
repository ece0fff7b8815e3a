package engine

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// A session is a row beside the keys, which only the server can make: it is sealed, with
// its token, its principal and its end as its place. Its beginning and its end are entries
// of the log. The id of the entry of the end follows from the session's, so that a row
// that somebody brings back admits nobody: the log says that the session has ended. When
// all sessions of a principal or tenant end, that is a step of theirs, which is pinned:
// the sessions that were begun before are of a former generation and do not count.

// Kinds of the entries about sessions, and of the steps that end all of them.
const (
	sessionStarted     = "session.started"
	sessionEnded       = "session.ended"
	principalSignedOut = "principal.signed_out"
	tenantSignedOut    = "tenant.signed_out"
)

// maxSessions bounds in how many places a principal is signed in. One more ends the
// oldest.
const maxSessions = 100

// From is where somebody signs in.
type From struct {
	Address string
	Host    string // that a browser asked; empty: no browser, and no cookie
	Former  string // text of a session that ends with that; may be empty
}

// signIn is a person who proved who they are.
type signIn struct {
	scope     store.Scope
	principal string
	how       string // identity.ByPassword, ..
	from      From
	instead   *identity.Session // which this one takes the place of, with its end; nil: none
	// The generations that counted when they proved it: who proves something with what
	// ends meanwhile, such as the former password, begins nothing that counts.
	ended identity.Generations

	passkey string // as a Session has it: by which they proved it; empty: by another way

	// Of who signed in by an issuer's word:
	link   string    // as a Session has it
	there  string    // as a Session has it
	issued time.Time // the word
	proved time.Time // to the issuer, who they are; zero: nobody has asked them anew
	entry  store.ID  // of the log's entry of the beginning, which there is once
}

// beginSession makes a session of a person who proved who they are, however they did; nobody may
// call it before that. Its text is new each time, and a session that it takes the place
// of ends: what somebody else made a browser show before is worth nothing afterwards.
// Who may not come in is Denied, as anybody is who proves nothing.
func (e *Engine) beginSession(ctx context.Context, a signIn) (api.NewSession, error) {
	if err := e.admitted(a.scope); err != nil {
		return api.NewSession{}, err
	}
	known, err := e.knownPrincipal(ctx, a.scope, a.principal)
	if fault.Is(err, fault.NotFound) || err == nil && !(known.SignsIn(a.from.Address) && a.counts(known)) {
		err = identity.Unauthenticated()
	}
	if err != nil {
		return api.NewSession{}, err
	}
	s, text, err := e.newSession(ctx, a)
	if err != nil {
		return api.NewSession{}, err
	}
	if err := e.makeRoom(ctx, a.scope, s.Object); err != nil {
		return api.NewSession{}, err
	}
	by := orderer{"user", Caller{Principal: s.Principal, Address: s.Address, Key: s.ID.String()}, nil}
	err = e.recordSession(ctx, a.scope, sessionStarted, a.entry, &s, by)
	if fault.Is(err, fault.Conflict) {
		err = nobody(finishedBefore())
	}
	if err != nil {
		return api.NewSession{}, err
	}
	row, err := e.identity.SealSession(ctx, a.scope, &s)
	if err != nil {
		return api.NewSession{}, err
	}
	if err := e.store.PutSession(context.WithoutCancel(ctx), a.scope, row); err != nil {
		return api.NewSession{}, err
	}
	// It is not known here yet: between the row and that, somebody could have ended it.
	if err := e.endFormer(ctx, a); err != nil { // then nobody has two
		return api.NewSession{}, errors.Join(err, e.endSession(ctx, a.scope, s, byEngine))
	}
	return api.NewSession{Session: wireSession(&s, nil), Text: text}, nil
}

// counts reports whether what somebody proved a while ago counts still: neither were all
// their sessions ended since, as by another password, nor their link to the issuer.
func (a *signIn) counts(known *identity.Known) bool {
	return a.ended == known.Ended() && (a.link == "" || known.Linked(a.link) != "")
}

// newSession returns a session that is nowhere yet, and its text.
func (e *Engine) newSession(ctx context.Context, a signIn) (s identity.Session, text string, err error) {
	text = identity.SessionText.Generate(a.scope.Tenant())
	now := e.moment()
	s = identity.Session{
		ID: newID(), Principal: a.principal, Ended: a.ended, How: a.how, Host: a.from.Host, Address: a.from.Address,
		Made: now, Verified: now, Used: now, Expires: now.Add(e.sessionAge), Idle: e.sessionIdle, Link: a.link, Passkey: a.passkey, There: a.there, Vouched: a.issued,
	}
	if a.instead == nil && strings.HasPrefix(a.how, identity.ByIssuer) { // who may know them from a sign-in of hours ago
		s.Verified = a.proved
	}
	if a.instead != nil { // it ends when that one would have, also by the issuer or with the passkey
		s.Expires, s.Link, s.There, s.Vouched = a.instead.Expires, a.instead.Link, a.instead.There, a.instead.Vouched
		s.Passkey = cmp.Or(a.passkey, a.instead.Passkey)
	}
	if s.Object, err = e.dossierID(ctx, a.scope, store.Principal, a.principal); err != nil {
		return s, "", err
	}
	s.Token, err = e.identity.Token(ctx, a.scope, identity.SessionText, text)
	return s, text, err
}

// endFormer ends what a new session takes the place of. Who went by one that somebody has
// ended meanwhile, as while a password was compared, gets none in its place, nor do two
// who go by the same one.
func (e *Engine) endFormer(ctx context.Context, a signIn) error {
	if a.instead != nil {
		by := orderer{"user", Caller{Principal: a.principal, Address: a.from.Address, Key: a.instead.ID.String()}, nil}
		open, err := e.endOpen(ctx, a.scope, *a.instead, by)
		if err == nil && !open {
			err = identity.Unauthenticated()
		}
		return err
	}
	scope, token, found, err := e.identity.Find(ctx, identity.SessionText, a.from.Former)
	if err != nil || !found {
		return err
	}
	s, err := e.session(ctx, scope, token)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return e.endSession(ctx, scope, s, orderer{"user", Caller{Principal: s.Principal, Address: a.from.Address, Key: s.ID.String()}, nil})
}

// makeRoom ends the oldest session of a principal who has too many.
func (e *Engine) makeRoom(ctx context.Context, scope store.Scope, object store.ID) error {
	rows, err := e.store.SessionsOf(ctx, scope, object)
	if err != nil || len(rows) < maxSessions {
		return err
	}
	var oldest *identity.Session
	for _, row := range rows {
		s, err := e.identity.OpenSession(ctx, scope, row)
		if err != nil {
			return err
		}
		if oldest == nil || s.Made.Before(oldest.Made) {
			oldest = &s
		}
	}
	return e.endSession(ctx, scope, *oldest, byEngine)
}

// recordSession tells the log that a session begins or ends.
func (e *Engine) recordSession(ctx context.Context, scope store.Scope, kind string, id store.ID, s *identity.Session, by orderer) error {
	return e.recordOrder(ctx, scope, by, act{id: id, kind: kind, fields: []fieldWrite{
		{path: "$how", value: canon.String(s.How)},
		{path: "$session", value: canon.String(s.ID.String())},
		{path: "$user", value: canon.String(s.Principal)},
	}})
}

// endID is the id of the entry that the end of a session leaves.
func (e *Engine) endID(ctx context.Context, scope store.Scope, session store.ID) (store.ID, error) {
	token, err := e.indexToken(ctx, scope.Tenant(), "session ended", session.String())
	return custodyID(token), err
}

// hasEnded reports whether the log says that a session has ended.
func (e *Engine) hasEnded(ctx context.Context, scope store.Scope, session store.ID) (store.ID, bool, error) {
	id, err := e.endID(ctx, scope, session)
	if err != nil {
		return id, false, err
	}
	_, err = e.store.Leaf(ctx, scope, id, 0)
	if fault.Is(err, fault.NotFound) {
		return id, false, nil
	}
	return id, err == nil, err
}

// endSession ends a session, from the next request on; the jobs that somebody holds by it
// are offered anew.
func (e *Engine) endSession(ctx context.Context, scope store.Scope, s identity.Session, by orderer) error {
	_, err := e.endOpen(ctx, scope, s, by)
	return err
}

// endOpen is endSession, and reports whether the session was open until then.
func (e *Engine) endOpen(ctx context.Context, scope store.Scope, s identity.Session, by orderer) (open bool, err error) {
	open, err = e.endSessionNow(ctx, scope, s, by)
	if err == nil {
		e.endLeases(ctx, scope)
	}
	return open, err
}

// endSessionNow tells the log first; where a crash comes before the row is gone, that is
// enough.
func (e *Engine) endSessionNow(ctx context.Context, scope store.Scope, s identity.Session, by orderer) (open bool, err error) {
	lock := e.people.seats.changing.of(scope)
	lock.Lock()
	defer lock.Unlock()
	id, ended, err := e.hasEnded(ctx, scope, s.ID)
	if err == nil && !ended {
		err = e.recordSession(ctx, scope, sessionEnded, id, &s, by)
	}
	if err != nil {
		return false, err
	}
	e.people.seats.remove(scope, s.Token)
	e.people.settle(scope)
	return !ended, e.store.DeleteSession(context.WithoutCancel(ctx), scope, s.Token)
}

// session returns the session of a token. NotFound when there is none, or it has ended.
// Whether it still counts is for others to say.
func (e *Engine) session(ctx context.Context, scope store.Scope, token [32]byte) (identity.Session, error) {
	if s, ok := e.people.seats.get(scope, token); ok {
		return s, nil
	}
	lock := e.people.seats.changing.of(scope)
	lock.RLock()
	defer lock.RUnlock()
	row, err := e.store.Session(ctx, scope, token)
	if err != nil {
		return identity.Session{}, err
	}
	s, err := e.openSession(ctx, scope, row)
	if err == nil {
		e.people.seats.put(scope, s)
	}
	return s, err
}

// openSession opens the row of a session. NotFound when the log says that it has ended.
func (e *Engine) openSession(ctx context.Context, scope store.Scope, row store.SessionRow) (identity.Session, error) {
	s, err := e.identity.OpenSession(ctx, scope, row)
	if err != nil {
		return s, err
	}
	_, ended, err := e.hasEnded(ctx, scope, s.ID)
	if err == nil && ended {
		err = noSuch("session", s.ID.String())
	}
	return s, err
}

// signedIn admits who is signed in by a session. Whatever is wrong with it, the answer is
// the same. Host is what a cookie came to; empty: it came in the header for programs.
func (e *Engine) signedIn(ctx context.Context, scope store.Scope, token [32]byte, address, host string) (Caller, error) {
	c, err := e.seated(ctx, scope, token, address, host)
	if err == nil {
		c.Session.Used = e.moment()
		e.people.seats.touch(scope, token, c.Session.Used)
	}
	return c, err
}

// seated is signedIn without using the session.
func (e *Engine) seated(ctx context.Context, scope store.Scope, token [32]byte, address, host string) (Caller, error) {
	if err := e.comesFrom(ctx, scope, identity.SessionText, token, address); err != nil {
		return Caller{}, err
	}
	s, err := e.session(ctx, scope, token)
	if fault.Is(err, fault.NotFound) || err == nil && s.Host != host {
		return Caller{}, identity.Unauthenticated()
	}
	if err != nil {
		return Caller{}, err
	}
	known, err := e.knownPrincipal(ctx, scope, s.Principal)
	if fault.Is(err, fault.NotFound) {
		return Caller{}, identity.Unauthenticated()
	}
	if err != nil {
		return Caller{}, err
	}
	return known.AdmitSession(&s, address, e.moment())
}

// AuthenticateCookie admits whom a browser says to be signed in, by the host that it
// asked. Anything but a session that was begun there is Denied with the code
// "unauthenticated".
func (e *Engine) AuthenticateCookie(ctx context.Context, text, host, address string) (Caller, error) {
	scope, token, found, err := e.identity.Find(ctx, identity.SessionText, text)
	var c Caller
	switch {
	case err != nil:
		return c, err
	case !found || host == "":
		err = identity.Unauthenticated()
	default:
		c, err = e.signedIn(ctx, scope, token, address, host)
	}
	if fault.CodeOf(err) == "unauthenticated" {
		e.strangeTo(ctx, Caller{Scope: scope}, address)
	}
	return c, err
}

func wireSession(s, this *identity.Session) api.Session {
	idle := s.Used.Add(s.Idle)
	if s.Expires.Before(idle) {
		idle = s.Expires
	}
	return api.Session{
		ID: s.ID.String(), User: s.Principal, How: s.How, Cookie: s.Host != "", Address: s.Address,
		Made: s.Made, Verified: s.Verified, Used: s.Used, Idle: idle, Expires: s.Expires, This: this != nil && this.ID == s.ID,
	}
}

// maySessions is may for sessions of somebody ("": of anybody). Everybody may see and end
// their own.
func (e *Engine) maySessions(ctx context.Context, c Caller, action access.Action, user, id string) error {
	if err := e.admitted(c.Scope); err != nil {
		return err
	}
	on := access.Resource{Kind: "session", ID: id, Tenant: c.Scope.Tenant(), Owner: user}
	if e.sees(c, action, on) {
		return nil
	}
	return e.refuse(ctx, c, action, "session", id)
}

// Sessions lists where a user, or anybody, is signed in.
func (e *Engine) Sessions(ctx context.Context, c Caller, user string, p Page) (api.Sessions, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Sessions, error) { return e.sessionsAs(ctx, c, user, p) })
}

func (e *Engine) sessionsAs(ctx context.Context, c Caller, user string, p Page) (api.Sessions, error) {
	if err := e.maySessions(ctx, c, access.ReadSession, user, ""); err != nil {
		return api.Sessions{}, err
	}
	limit, err := p.limit()
	if err != nil {
		return api.Sessions{}, err
	}
	out := api.Sessions{Items: []api.Session{}}
	var rows []store.SessionRow
	if user != "" {
		p, err := e.namedPrincipal(ctx, c.Scope, user)
		if err != nil {
			return api.Sessions{}, err
		}
		rows, err = e.store.SessionsOf(ctx, c.Scope, p.id)
		if err != nil {
			return api.Sessions{}, err
		}
	} else {
		after, err := sessionCursor(p.After)
		if err != nil {
			return api.Sessions{}, err
		}
		rows, err = e.store.Sessions(ctx, c.Scope, after, limit+1)
		if err != nil {
			return api.Sessions{}, err
		}
		rows, out.Next = cut(rows, limit, func(r store.SessionRow) string { return hex.EncodeToString(r.Token[:]) })
	}
	for _, row := range rows {
		s, live, err := e.liveSession(ctx, c.Scope, row)
		if err != nil {
			return api.Sessions{}, err
		}
		if live {
			out.Items = append(out.Items, wireSession(&s, c.Session))
		}
	}
	slices.SortFunc(out.Items, func(a, b api.Session) int { return a.Made.Compare(b.Made) })
	return out, nil
}

func sessionCursor(text string) (after [32]byte, err error) {
	if text == "" {
		return after, nil
	}
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != len(after) {
		return after, badCursor(text)
	}
	return [32]byte(data), nil
}

// liveSession opens the row of a session and reports whether it would admit somebody from
// where it was begun.
func (e *Engine) liveSession(ctx context.Context, scope store.Scope, row store.SessionRow) (identity.Session, bool, error) {
	s, err := e.openSession(ctx, scope, row)
	if fault.Is(err, fault.NotFound) {
		return s, false, nil
	}
	if err != nil {
		return s, false, err
	}
	if known, ok := e.people.seats.get(scope, s.Token); ok {
		s = known // with when it was used just now
	}
	known, err := e.knownPrincipal(ctx, scope, s.Principal)
	if fault.Is(err, fault.NotFound) {
		return s, false, nil
	}
	if err != nil {
		return s, false, err
	}
	_, refused := known.AdmitSession(&s, s.Address, e.moment())
	return s, refused == nil, nil
}

// RevokeSession ends a session, one's own or, for who may, somebody's.
func (e *Engine) RevokeSession(ctx context.Context, c Caller, id string) (api.Session, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Session, error) { return e.revokeSessionAs(ctx, c, id) })
}

func (e *Engine) revokeSessionAs(ctx context.Context, c Caller, id string) (api.Session, error) {
	parsed, bad := store.ParseID(id)
	var row store.SessionRow
	err := bad
	if bad == nil {
		row, err = e.store.SessionByID(ctx, c.Scope, parsed)
	}
	var s identity.Session
	if err == nil {
		s, err = e.openSession(ctx, c.Scope, row)
	}
	if err != nil && bad == nil && !fault.Is(err, fault.NotFound) {
		return api.Session{}, err
	}
	// Who may end no sessions but their own is not told which there are.
	if refused := e.maySessions(ctx, c, access.RevokeSession, s.Principal, id); refused != nil {
		return api.Session{}, refused
	}
	if err != nil {
		return api.Session{}, noSuch("session", id)
	}
	return wireSession(&s, c.Session), e.endSession(ctx, c.Scope, s, byUser(c))
}

// SignOut ends the session that the caller is signed in by.
func (e *Engine) SignOut(ctx context.Context, c Caller) (api.Session, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Session, error) { return e.signOutAs(ctx, c) })
}

func (e *Engine) signOutAs(ctx context.Context, c Caller) (api.Session, error) {
	if err := signedInBySession(c); err != nil {
		return api.Session{}, err
	}
	return wireSession(c.Session, c.Session), e.endSession(ctx, c.Scope, *c.Session, byUser(c))
}

// signedInBySession refuses who is not.
func signedInBySession(c Caller) error {
	if c.Session != nil {
		return nil
	}
	return fault.New(fault.Conflict, "this is for who is signed in by a session").WithCode("no_session").WithHint("sign in first")
}

// EndUserSessions ends all sessions of a user, one's own or, for who may, somebody's.
func (e *Engine) EndUserSessions(ctx context.Context, c Caller, name string, r api.ReasonRequest, idem string) (api.User, error) {
	may := func(c Caller) error { return e.maySessions(ctx, c, access.RevokeSession, name, "") }
	p, err := e.changePrincipal(ctx, c, change{name: name, operation: "end-sessions " + name, idem: idem, body: r, reason: r.Reason}, may, func(c Caller) (*principal, amendment, error) {
		p, err := e.namedPrincipal(ctx, c.Scope, name)
		if err != nil {
			return nil, amendment{}, err
		}
		p.Ended++
		return p, amendment{kind: principalSignedOut}, nil
	})
	if err != nil {
		return api.User{}, err
	}
	return p.wire(), nil
}

// EndAllSessions ends all sessions of the caller's tenant.
func (e *Engine) EndAllSessions(ctx context.Context, c Caller, r api.ReasonRequest, idem string) (api.Tenant, error) {
	may := func(c Caller) error { return e.maySessions(ctx, c, access.RevokeSession, "", "") }
	var t *tenant
	found, err := e.changed(ctx, c, c.Scope, change{operation: "end-all-sessions", idem: idem, body: r, reason: r.Reason}, may, func(c Caller) (a amendment, err error) {
		if t, err = e.openTenant(ctx, c.Scope); err != nil {
			return a, err
		}
		t.Ended++
		return amendment{of: &t.dossier, kind: tenantSignedOut, fields: t.Fields()}, nil
	})
	if found && err == nil {
		t, err = e.openTenant(ctx, c.Scope)
	}
	if err != nil {
		return api.Tenant{}, err
	}
	return t.wire(), nil
}

// defaultSessionAge and defaultSessionIdle are how long a session lasts, and how long
// without being used.
const (
	defaultSessionAge  = 12 * time.Hour
	defaultSessionIdle = time.Hour
)
