package engine

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/password"
	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// FailErasures lets what an erasure, or the end of its epoch, makes durable fail with
// the error that fault returns for it; nil ends that.
func FailErasures(e *Engine, fault func(point string) error) { e.testingOnlyFault = fault }

// ChangingPeople reports whether somebody changes the people of a tenant now.
func ChangingPeople(e *Engine, tenant string) bool {
	lock := e.people.changing.of(e.TenantScope(tenant))
	if lock.TryRLock() {
		lock.RUnlock()
		return false
	}
	return true
}

// Changing says what of a tenant somebody changes now: custodies (holds and erasures),
// signers, keys.
func Changing(e *Engine, tenant string) (what []string) {
	for name, l := range map[string]*locks{"custodies": &e.custodies, "signers": &e.signers.changing, "keys": &e.keyOrders} {
		lock := l.of(e.TenantScope(tenant))
		if lock.TryLock() {
			lock.Unlock()
			continue
		}
		what = append(what, name)
	}
	return what
}

// WhileReading has f called each time a custody was read as far as its head; nil ends
// that.
func WhileReading(e *Engine, f func()) { e.testingOnlyReading = f }

// PastEntry is a leaf of no object, opened and checked.
type PastEntry struct {
	Leaf   ledger.Leaf
	Fields map[string]canon.Value
}

// OpenEntry opens an entry of the caller's log.
func OpenEntry(ctx context.Context, e *Engine, c Caller, id store.ID) (PastEntry, error) {
	past, err := e.openEntry(ctx, c.Scope, id)
	if err != nil {
		return PastEntry{}, err
	}
	fields := map[string]canon.Value{}
	for _, f := range past.fields {
		fields[f.path] = f.value
	}
	return PastEntry{past.leaf, fields}, nil
}

// RecordEntry makes an entry with these fields durable.
func RecordEntry(ctx context.Context, e *Engine, c Caller, kind string, fields map[string]canon.Value) error {
	a := act{kind: kind, act: "user", actor: c}
	for path, value := range fields {
		a.fields = append(a.fields, fieldWrite{path: path, value: value})
	}
	return e.record(ctx, c.Scope, a)
}

// PastStep opens a step of an instance: its leaf and all that it wrote. It is Sealed
// when some of that was erased.
func PastStep(ctx context.Context, e *Engine, c Caller, id string, seq uint64) (leaf ledger.Leaf, values map[string]canon.Value, err error) {
	values = map[string]canon.Value{}
	err = e.use(ctx, c, access.ReadInstance, id, func(l *Live) error {
		steps, err := e.store.Steps(ctx, c.Scope, l.id, seq-1, 1)
		if err != nil || len(steps) != 1 {
			return err
		}
		if leaf, err = ledger.ParseLeaf(steps[0].Leaf.Body); err != nil {
			return err
		}
		fields, err := e.store.StepFields(ctx, c.Scope, l.id, seq)
		for _, f := range fields {
			p, _, opening := e.checkPast(ctx, &l.object, leaf, f)
			if err = errors.Join(err, opening); opening == nil {
				values[f.Path] = p.value
			}
		}
		return err
	})
	return leaf, values, err
}

// KeyRecord returns the kinds of the leaves in the record of what was done to keys,
// all of which it checks.
func KeyRecord(ctx context.Context, e *Engine, c Caller) (kinds []string, err error) {
	r, err := e.keyRecord(ctx, c.Scope)
	if err != nil {
		return nil, err
	}
	rows, err := e.store.Steps(ctx, c.Scope, r.id, 0, 1000)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		leaf, err := ledger.ParseLeaf(row.Leaf.Body)
		if err != nil {
			return nil, err
		}
		kinds = append(kinds, leaf.Kind)
	}
	return kinds, nil
}

// PlatformLinks returns the chain of the platform's keys with their places.
func PlatformLinks(ctx context.Context, e *Engine, c Caller) ([]ledger.KeyLink, error) {
	return e.platformLinks(ctx, c.Scope)
}

// Published returns the newest published checkpoint of the tenant's newest log.
func Published(ctx context.Context, e *Engine, c Caller) (signed []byte, err error) {
	all, err := e.store.Shards(ctx, c.Scope)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	_, signed, err = e.store.Checkpoint(ctx, c.Scope, all[len(all)-1].Number)
	return signed, err
}

// OpenSigner opens a signer and checks all its steps.
func OpenSigner(ctx context.Context, e *Engine, c Caller, name string) error {
	s, err := e.namedSigner(ctx, c.Scope, name)
	if err != nil {
		return err
	}
	_, err = e.signerChain(ctx, s)
	return err
}

// EnterShard keeps the open log of the caller's tenant open until leave is called.
func EnterShard(ctx context.Context, e *Engine, c Caller, at time.Time) (origin string, leave func(), err error) {
	return e.enterShard(ctx, c.Scope, at)
}

// SignAged signs a checkpoint with one of the platform's keys, of which 0 is the newest,
// whether it counts or not.
func SignAged(ctx context.Context, e *Engine, c Caller, says ledger.Checkpoint, age int) ([]byte, error) {
	keys, err := e.ring.PurposeKeys(ctx, c.Scope.Tenant(), keyring.Log)
	if err != nil {
		return nil, err
	}
	seed, _, err := platformKey(keys[age])
	if err != nil {
		return nil, err
	}
	signer, err := ledger.NoteSigner(says.Origin, seed)
	if err != nil {
		return nil, err
	}
	return ledger.SignCheckpoint(says, signer)
}

// Sequence gives every leaf of the caller's tenant its place in the log.
func Sequence(ctx context.Context, e *Engine, c Caller) error {
	shards, err := e.store.Shards(ctx, c.Scope)
	if err != nil {
		return err
	}
	_, _, err = e.sequencer.Finish(ctx, c.Scope, shards[len(shards)-1].Number)
	return err
}

// MaxSessions is in how many places a principal is signed in.
const MaxSessions = maxSessions

// BeginSession begins another session of a caller, who proved nothing for it.
func BeginSession(ctx context.Context, e *Engine, c Caller, from From) (api.NewSession, error) {
	known, err := e.knownPrincipal(ctx, c.Scope, c.Principal)
	if err != nil {
		return api.NewSession{}, err
	}
	return e.beginSession(ctx, signIn{scope: c.Scope, principal: c.Principal, how: "password", from: from, ended: known.Ended()})
}

// Passwords bounds how many passwords are hashed at once.
func Passwords(e *Engine) *password.Gate { return e.passwords }

// PeopleLock is held while somebody of a tenant changes.
func PeopleLock(e *Engine, scope store.Scope) *sync.RWMutex { return e.people.changing.of(scope) }

// AdmitMadeUp returns somebody who is admitted as Ann is, and of whom no object tells.
func AdmitMadeUp(e *Engine, ann Caller, who access.Principal) Caller {
	p := identity.Principal{Name: who.Name, Kind: who.Kind, State: identity.Active, Keys: []identity.APIKey{{ID: "made up"}}}
	known := identity.NewKnown(ann.Scope, ann.Rules, p, nil)
	c, err := known.Admit([32]byte{}, ann.Address, e.moment())
	if err != nil {
		panic(err)
	}
	e.people.remember(ann.Scope, acquaintance{known: known}, nil)
	c.Who = who.Effective()
	return c
}

// AdmitPrincipal admits somebody of whom no object tells, as whoever is in these groups and
// has an API key with these scopes.
func AdmitPrincipal(e *Engine, scope store.Scope, rules *identity.Rules, p identity.Principal, groups []identity.Group, scopes []access.Scope, address string) (Caller, error) {
	p.Keys = []identity.APIKey{{ID: "made up", Scopes: scopes}}
	known := identity.NewKnown(scope, rules, p, groups)
	c, err := known.Admit([32]byte{}, address, e.moment())
	if err == nil {
		e.people.remember(scope, acquaintance{known: known}, nil)
	}
	return c, err
}

// Readmitted is a caller as who they are now.
func Readmitted(ctx context.Context, e *Engine, c Caller) (Caller, error) { return e.again(ctx, c) }

// WhileUsing calls f while nobody else has an instance.
func WhileUsing(ctx context.Context, e *Engine, c Caller, id string, f func()) error {
	return e.use(ctx, c, access.ReadInstance, id, func(*Live) error {
		f()
		return nil
	})
}

// StepsLock is held while steps of a tenant's people are made durable.
func StepsLock(e *Engine, scope store.Scope) *sync.RWMutex { return e.people.acting.of(scope) }

// ForgetSession has a caller's session be read anew when it is needed again.
func ForgetSession(e *Engine, c Caller) { e.people.seats.remove(c.Scope, c.Session.Token) }

// SessionLock is held while a session of a tenant ends.
func SessionLock(e *Engine, scope store.Scope) *sync.RWMutex {
	return e.people.seats.changing.of(scope)
}

// BlocksWithToken lists where a search through a stretch of logs of these sizes finds a
// keyed hash, and counts how often it asked for the next.
func BlocksWithToken(ctx context.Context, e *Engine, c Caller, shards []store.Shard, from, to store.LogPlace, token []byte, newestFirst bool) (found []store.LogBlock, asked int, err error) {
	s := &termSource{finder: finder{e, c.Scope, shards, span{from, to}, 1}, term: sequencer.TokenTerm(token)}
	next := from.Block()
	if newestFirst {
		s.dir, next = -1, to.Block()
	}
	for {
		asked++
		block, mask, ok, err := s.at(ctx, next)
		if err != nil || !ok {
			return found, asked, err
		}
		if next = block; mask != 0 {
			found, next = append(found, block), s.dir.after(block)
		}
	}
}

// FormNames returns the paths that a form names.
func FormNames(form []byte) ([]string, error) {
	f, err := parseForm("form", form)
	if err != nil {
		return nil, err
	}
	return f.named, nil
}

// FillPage fills a page of numbers from 1 to n, of which its reader sees some, after one
// of them. Looked is how many rows were read.
func FillPage(n, after, limit int, seen func(int) bool) (items []int, next string, looked int, err error) {
	items, next, err = filling[int, int, int]{
		after: after, text: strconv.Itoa, at: func(row int) int { return row },
		read: func(after, most int) (rows []int, err error) {
			for i := after + 1; i <= min(n, after+most); i++ {
				rows = append(rows, i)
			}
			looked += len(rows)
			return rows, nil
		},
		look: func(row int) (int, bool, error) { return row, seen(row), nil },
	}.fill(limit)
	return items, next, looked, err
}
