// Package identity knows who is calling.
//
// For now that is the bearer of an API key. A key is looked up by a keyed hash
// (an index token) and its row is sealed, so that neither reading nor writing
// the database gives anybody a usable key.
package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/blindindex"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
)

// MainTenant is the one tenant that exists so far.
const MainTenant = "main"

// Caller is somebody who proved who they are. Only this package makes one.
type Caller struct {
	Scope     store.Scope // the tenant the caller was admitted to
	Principal string      // the principal's id
	Roles     []string
	Who       *access.Effective // nil: what Roles say
	Key       string            // id of the credential that was used
	Address   string            // network address the request came from
}

// Config is what a Directory works with; all but Now are required.
type Config struct {
	Store      *store.DB
	Ring       *keyring.Ring
	Deployment string
	Now        func() time.Time // nil: time.Now
}

// Directory issues and recognizes credentials. It is safe for concurrent use.
type Directory struct {
	cfg Config

	mu     sync.Mutex // guards recent
	recent map[[sha256.Size]byte]recognized
}

// recognized is a credential that was good a moment ago. It is asked for anew
// after recentAge, counted from when it was read and not from its last use.
type recognized struct {
	caller Caller
	at     time.Time
}

const (
	recentAge = time.Second
	recentMax = 10_000
)

// New returns a Directory.
func New(cfg Config) *Directory {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Directory{cfg: cfg, recent: map[[sha256.Size]byte]recognized{}}
}

// APIKey is a new API key. Its text is kept nowhere else.
type APIKey struct {
	Scope  store.Scope // the tenant it is for
	Text   string
	ID     string // as Caller.Key
	Token  [32]byte
	Sealed []byte // record to be stored under the token
}

// NewAPIKey makes a principal's API key. It admits nobody before it is stored.
func (d *Directory) NewAPIKey(ctx context.Context, principal string, roles ...string) (APIKey, error) {
	k := APIKey{Scope: store.NewScope(MainTenant), Text: generateKey(keyPrefix, MainTenant)}
	var err error
	if k.Token, err = d.token(ctx, k.Scope, "api_key", k.Text); err != nil {
		return APIKey{}, err
	}
	k.ID = keyID(k.Token)
	k.Sealed, err = d.seal(ctx, k.Scope, k.Token, principal, roles)
	return k, err
}

// keyID names a key without saying what it is.
func keyID(token [32]byte) string { return hex.EncodeToString(token[:8]) }

// Authenticate admits the bearer of an API key. Whatever is wrong with the key,
// the answer is the same.
func (d *Directory) Authenticate(ctx context.Context, key, address string) (Caller, error) {
	print := sha256.Sum256([]byte(key)) // of 256 random bits; nothing to guess
	caller, ok := d.remembered(print)
	if !ok {
		var err error
		if caller, err = d.recognize(ctx, key); err != nil {
			return Caller{}, err
		}
		d.remember(print, caller)
	}
	caller.Address = address
	return caller, nil
}

func (d *Directory) remembered(print [sha256.Size]byte) (Caller, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.recent[print]
	return r.caller, ok && d.cfg.Now().Sub(r.at) < recentAge
}

func (d *Directory) remember(print [sha256.Size]byte, c Caller) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.recent) >= recentMax {
		clear(d.recent)
	}
	d.recent[print] = recognized{c, d.cfg.Now()}
}

func (d *Directory) recognize(ctx context.Context, key string) (Caller, error) {
	tenant, ok := parseKey(keyPrefix, key)
	if !ok || tenant != MainTenant {
		return Caller{}, errUnauthenticated
	}
	scope := store.NewScope(tenant)
	token, err := d.token(ctx, scope, "api_key", key)
	if err != nil {
		return Caller{}, err
	}
	sealed, err := d.cfg.Store.APIKey(ctx, scope, token)
	if fault.Is(err, fault.NotFound) {
		return Caller{}, errUnauthenticated
	}
	if err != nil {
		return Caller{}, err
	}
	return d.open(ctx, scope, token, sealed)
}

var errUnauthenticated = fault.New(fault.Denied, "the API key is missing, malformed or not known").
	WithCode("unauthenticated").WithHint("send the header Authorization: Bearer usk_...")

// token is the keyed hash under which a credential of a kind is found. It is under the
// tenant's first index key: a credential is random, there is nothing to guess.
func (d *Directory) token(ctx context.Context, scope store.Scope, kind, text string) ([32]byte, error) {
	keys, err := d.cfg.Ring.IndexKeys(ctx, scope.Tenant())
	if err != nil {
		return [32]byte{}, err
	}
	return blindindex.Token(keys[len(keys)-1], kind, text), nil
}

func (d *Directory) context(scope store.Scope, token [32]byte) envelope.Context {
	return envelope.Context{
		Deployment: d.cfg.Deployment, Tenant: scope.Tenant(), Class: "api_key", Object: hex.EncodeToString(token[:]), Path: "row",
	}
}

func (d *Directory) seal(ctx context.Context, scope store.Scope, token [32]byte, principal string, roles []string) ([]byte, error) {
	key, err := d.cfg.Ring.TenantKey(ctx, scope.Tenant(), keyring.Audit)
	if err != nil {
		return nil, err
	}
	list := make([]canon.Value, 0, len(roles)+1)
	list = append(list, canon.String(principal))
	for _, role := range roles {
		list = append(list, canon.String(role))
	}
	return envelope.Seal([]envelope.Key{key}, d.context(scope, token), canon.EncodeItems(list...))
}

// unseal opens a row under the audit key that it was sealed under.
func (d *Directory) unseal(ctx context.Context, scope store.Scope, place envelope.Context, sealed []byte) ([]byte, error) {
	ids, err := envelope.KeyIDs(sealed)
	if err != nil {
		return nil, err
	}
	key, err := d.cfg.Ring.PurposeKey(ctx, scope.Tenant(), keyring.Audit, ids[0])
	if err != nil {
		return nil, err
	}
	return envelope.Open([]envelope.Key{key}, place, sealed)
}

// open reads a sealed row: the principal's id, then the roles.
func (d *Directory) open(ctx context.Context, scope store.Scope, token [32]byte, sealed []byte) (Caller, error) {
	plain, err := d.unseal(ctx, scope, d.context(scope, token), sealed)
	if err != nil {
		return Caller{}, err
	}
	items, err := canon.DecodeItems(plain)
	if err != nil || len(items) == 0 {
		return Caller{}, fault.New(fault.Integrity, "the row of an API key is malformed")
	}
	caller := Caller{Scope: scope, Key: keyID(token)}
	for i, item := range items {
		text, ok := item.(canon.String)
		switch {
		case !ok:
			return Caller{}, fault.New(fault.Integrity, "the row of an API key is malformed")
		case i == 0:
			caller.Principal = string(text)
		default:
			caller.Roles = append(caller.Roles, string(text))
		}
	}
	return caller, nil
}
