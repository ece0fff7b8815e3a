package identity

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/google/uuid"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
)

// Reader is somebody who may read a tenant's log, which holds no values, and
// nothing else. Clients of such logs send no header, so the secret stands in the
// path they ask for; whoever has the path is the reader, until it is revoked.
type Reader struct {
	ID      store.ID
	Name    string // whom the path was given to
	By      string // the principal who made it
	Made    time.Time
	Revoked time.Time // zero: it is good

	token [32]byte
}

// NewReader makes a reader of the caller's tenant and the secret of its path, which
// is kept nowhere else. Nothing is stored yet: see SealReader.
func (d *Directory) NewReader(ctx context.Context, c Caller, name string, at time.Time) (Reader, string, error) {
	secret := readerText.Generate(c.Scope.Tenant())
	token, err := d.Token(ctx, c.Scope, readerText, secret)
	id := store.ID(uuid.Must(uuid.NewV7()))
	return Reader{ID: id, Name: name, By: c.Principal, Made: at, token: token}, secret, err
}

// Reader recognizes the secret of a path. Whatever is wrong with it (malformed,
// unknown, revoked), the answer is the same NotFound. Nothing is remembered, so a
// revocation counts from the next request on.
func (d *Directory) Reader(ctx context.Context, secret string) (store.Scope, Reader, error) {
	scope, token, found, err := d.Find(ctx, readerText, secret)
	if err != nil {
		return store.Scope{}, Reader{}, err
	}
	if !found {
		return store.Scope{}, Reader{}, errNoReader
	}
	row, err := d.cfg.Store.Reader(ctx, scope, token)
	if fault.Is(err, fault.NotFound) {
		return store.Scope{}, Reader{}, errNoReader
	}
	if err != nil {
		return store.Scope{}, Reader{}, err
	}
	r, err := d.OpenReader(ctx, scope, row)
	if err == nil && !r.Revoked.IsZero() {
		err = errNoReader
	}
	return scope, r, err
}

var errNoReader = fault.New(fault.NotFound, "there is no such log")

func (d *Directory) readerContext(scope store.Scope, id store.ID, token [32]byte) envelope.Context {
	return envelope.Context{
		Deployment: d.cfg.Deployment, Tenant: scope.Tenant(), Class: "reader", Object: hex.EncodeToString(token[:]), Path: uuid.UUID(id).String(),
	}
}

// SealReader returns a reader as it is stored.
func (d *Directory) SealReader(ctx context.Context, scope store.Scope, r Reader) (store.ReaderRow, error) {
	key, err := d.cfg.Ring.TenantKey(ctx, scope.Tenant(), keyring.Audit)
	if err != nil {
		return store.ReaderRow{}, err
	}
	plain := canon.EncodeItems(canon.String(r.Name), canon.String(r.By), timeItem(r.Made), timeItem(r.Revoked))
	sealed, err := envelope.Seal([]envelope.Key{key}, d.readerContext(scope, r.ID, r.token), plain)
	return store.ReaderRow{ID: r.ID, Token: r.token, Sealed: sealed}, err
}

// OpenReader opens a stored reader; a row that was changed or moved is an Integrity
// fault.
func (d *Directory) OpenReader(ctx context.Context, scope store.Scope, row store.ReaderRow) (Reader, error) {
	plain, err := d.unseal(ctx, scope, d.readerContext(scope, row.ID, row.Token), row.Sealed)
	if err != nil {
		return Reader{}, err
	}
	malformed := fault.New(fault.Integrity, "the row of a reader of the log is malformed")
	items, err := canon.DecodeItems(plain)
	if err != nil || len(items) != 4 {
		return Reader{}, malformed
	}
	var texts [4]string
	for i, item := range items {
		text, ok := item.(canon.String)
		if !ok {
			return Reader{}, malformed
		}
		texts[i] = string(text)
	}
	r := Reader{ID: row.ID, Name: texts[0], By: texts[1], token: row.Token}
	for i, at := range []*time.Time{&r.Made, &r.Revoked} {
		if text := texts[2+i]; text != "" {
			if *at, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return Reader{}, malformed
			}
		}
	}
	return r, nil
}
