package engine

import (
	"cmp"
	"context"
	"iter"

	"github.com/google/uuid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// CreateLogReader makes a path by which somebody may read the tenant's log. The
// answer alone holds it. It is good from everywhere and without end, so nobody makes one with
// a key that is not, and who is revoked meanwhile makes none.
func (e *Engine) CreateLogReader(ctx context.Context, c Caller, in api.LogReaderRequest) (api.NewLogReader, error) {
	return asNow(ctx, e, c, func(c Caller) (api.NewLogReader, error) { return e.createLogReaderAs(ctx, c, in) })
}

func (e *Engine) createLogReaderAs(ctx context.Context, c Caller, in api.LogReaderRequest) (api.NewLogReader, error) {
	endless := identity.APIKey{Scopes: []access.Scope{access.Scope(access.ManageLogReaders)}}
	if err := cmp.Or(e.may(ctx, c, access.ManageLogReaders, "log", ""), e.freshPerson(c), notMightier(c, endless)); err != nil {
		return api.NewLogReader{}, err
	}
	r, secret, err := e.identity.NewReader(ctx, c, in.Name, e.moment())
	if err != nil {
		return api.NewLogReader{}, err
	}
	if _, err := e.putReader(ctx, c.Scope, byAdmin(c), r, act{kind: readerCreated}); err != nil {
		return api.NewLogReader{}, err
	}
	return api.NewLogReader{LogReader: readerOf(r), Path: "/log/" + secret}, nil
}

// LogReaders lists who was given a path, oldest first, revoked ones too.
func (e *Engine) LogReaders(ctx context.Context, c Caller, p Page) (api.LogReaders, error) {
	return readNow(ctx, e, c, func(c Caller) (api.LogReaders, error) { return e.logReadersAs(ctx, c, p) })
}

func (e *Engine) logReadersAs(ctx context.Context, c Caller, p Page) (api.LogReaders, error) {
	if err := e.may(ctx, c, access.ReadLog, "log", ""); err != nil {
		return api.LogReaders{}, err
	}
	limit, err := p.limit()
	if err != nil {
		return api.LogReaders{}, err
	}
	var after store.ID
	if p.After != "" {
		id, err := uuid.Parse(p.After)
		if err != nil {
			return api.LogReaders{}, badCursor(p.After)
		}
		after = store.ID(id)
	}
	rows, err := e.store.Readers(ctx, c.Scope, after, limit+1)
	if err != nil {
		return api.LogReaders{}, err
	}
	var out api.LogReaders
	for i, row := range rows {
		if i == limit {
			out.Next = textID(rows[i-1].ID)
			break
		}
		r, err := e.openReader(ctx, c.Scope, row)
		if err != nil {
			return api.LogReaders{}, err
		}
		out.Items = append(out.Items, readerOf(r))
	}
	return out, nil
}

// RevokeLogReader ends a path. Revoking one that is revoked changes nothing.
func (e *Engine) RevokeLogReader(ctx context.Context, c Caller, id string) (api.LogReader, error) {
	return asNow(ctx, e, c, func(c Caller) (api.LogReader, error) { return e.revokeLogReaderAs(ctx, c, id) })
}

func (e *Engine) revokeLogReaderAs(ctx context.Context, c Caller, id string) (api.LogReader, error) {
	if err := e.may(ctx, c, access.ManageLogReaders, "log", id); err != nil {
		return api.LogReader{}, err
	}
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.String() != id {
		return api.LogReader{}, noSuch("reader", id)
	}
	row, err := e.store.ReaderByID(ctx, c.Scope, store.ID(parsed))
	if fault.Is(err, fault.NotFound) {
		return api.LogReader{}, noSuch("reader", id)
	}
	if err != nil {
		return api.LogReader{}, err
	}
	r, err := e.openReader(ctx, c.Scope, row)
	if err != nil || !r.Revoked.IsZero() {
		return readerOf(r), err
	}
	err = e.revokeReader(ctx, c.Scope, byAdmin(c), &r)
	return readerOf(r), err
}

// endReadersOf ends the paths that somebody made, of whom nothing is to count any more.
func (e *Engine) endReadersOf(ctx context.Context, c Caller, maker string) error {
	for r, err := range e.readersOf(ctx, c.Scope, maker) {
		if err == nil {
			err = e.revokeReader(ctx, c.Scope, byAdmin(c).then(), &r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hasReaders reports whether somebody has made paths that are not revoked.
func (e *Engine) hasReaders(ctx context.Context, scope store.Scope, maker string) (bool, error) {
	for _, err := range e.readersOf(ctx, scope, maker) {
		return err == nil, err
	}
	return false, nil
}

// readersOf gives the paths that somebody made and that are not revoked, up to the first
// error.
func (e *Engine) readersOf(ctx context.Context, scope store.Scope, maker string) iter.Seq2[identity.Reader, error] {
	return func(yield func(identity.Reader, error) bool) {
		for after, more := (store.ID{}), true; more; {
			rows, err := e.store.Readers(ctx, scope, after, readersRead)
			for _, row := range rows {
				var r identity.Reader
				if r, err = e.openReader(ctx, scope, row); err != nil {
					break
				}
				if after = row.ID; r.By == maker && r.Revoked.IsZero() && !yield(r, nil) {
					return
				}
			}
			if err != nil {
				yield(identity.Reader{}, err)
				return
			}
			more = len(rows) == readersRead
		}
	}
}

// readersRead is how many readers are read at a time.
const readersRead = 500

// checkMaker requires of a reader that is asked by that who made it may still come in.
func (e *Engine) checkMaker(ctx context.Context, scope store.Scope, r identity.Reader) error {
	known, err := e.knownPrincipal(ctx, scope, r.By)
	if fault.Is(err, fault.NotFound) || err == nil && known.Who().Disabled {
		return noLog()
	}
	return err
}

// revokeReader ends a path, and pins the entry that says so.
func (e *Engine) revokeReader(ctx context.Context, scope store.Scope, by orderer, r *identity.Reader) error {
	r.Revoked = e.moment()
	id, err := e.revocationID(ctx, scope, r.ID)
	if err != nil {
		return err
	}
	leaf, err := e.putReader(ctx, scope, by, *r, act{id: id, kind: readerRevoked})
	if err != nil {
		return err
	}
	return e.store.PutPins(context.WithoutCancel(ctx), scope, store.Pin{Object: id, Kind: store.EntryKind, Hash: leaf})
}

// putReader stores a reader together with the entry that says so, and returns the hash
// of its leaf.
func (e *Engine) putReader(ctx context.Context, scope store.Scope, by orderer, r identity.Reader, a act) (leaf [32]byte, err error) {
	row, err := e.identity.SealReader(ctx, scope, r)
	if err != nil {
		return leaf, err
	}
	a.act, a.actor = by.act, by.caller
	a.fields = []fieldWrite{
		{path: "$name", value: canon.String(r.Name)},
		{path: "$reader", value: canon.String(textID(r.ID))},
	}
	entry, leave, err := e.entry(ctx, scope, a)
	if err != nil {
		return leaf, err
	}
	defer leave()
	release, err := e.people.hold(by.by)
	if err != nil {
		return leaf, err
	}
	defer release()
	if err := e.durable("commit " + a.kind); err != nil {
		return leaf, err
	}
	return entry.Leaf.Hash, e.store.PutReader(context.WithoutCancel(ctx), scope, row, entry)
}

// Kinds of the entries about readers of the log.
const (
	readerCreated = "reader.created"
	readerRevoked = "reader.revoked"
)

// revocationID is the id of the entry that a reader's revocation leaves. It follows from
// the reader's, so that whoever reads a row can ask the log whether the reader was
// revoked: by a row that was set back, nobody reads again.
func (e *Engine) revocationID(ctx context.Context, scope store.Scope, reader store.ID) (store.ID, error) {
	token, err := e.indexToken(ctx, scope.Tenant(), "reader revoked", textID(reader))
	return custodyID(token), err
}

// openReader opens a row and requires that it says the same as the log.
func (e *Engine) openReader(ctx context.Context, scope store.Scope, row store.ReaderRow) (identity.Reader, error) {
	r, err := e.identity.OpenReader(ctx, scope, row)
	if err != nil {
		return r, err
	}
	return r, e.checkRevocation(ctx, scope, r)
}

func (e *Engine) checkRevocation(ctx context.Context, scope store.Scope, r identity.Reader) error {
	id, err := e.revocationID(ctx, scope, r.ID)
	if err != nil {
		return err
	}
	pin, err := e.store.Pin(ctx, scope, id)
	if err != nil {
		return err
	}
	leaf, err := e.store.Leaf(ctx, scope, id, 0)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if revoked := err == nil || pin != nil; revoked == r.Revoked.IsZero() || pin != nil && *pin != (store.Pin{Object: id, Kind: entryKind, Hash: leaf.Hash}) {
		return fault.New(fault.Integrity, "reader %s of the log: its row and the log do not agree on whether it was revoked", textID(r.ID)).
			WithCode("tampered").WithHint("the database was changed behind our back; underseal fsck says what else was")
	}
	if r.Revoked.IsZero() || pin != nil || e.checksOnly {
		return nil
	}
	return e.store.PutPins(ctx, scope, store.Pin{Object: id, Kind: store.EntryKind, Hash: leaf.Hash}) // a crash came before it
}

func readerOf(r identity.Reader) api.LogReader {
	out := api.LogReader{ID: textID(r.ID), Name: r.Name, By: r.By, Made: r.Made}
	if !r.Revoked.IsZero() {
		out.Revoked = &r.Revoked
	}
	return out
}
