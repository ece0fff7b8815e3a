package engine

import (
	"context"

	"github.com/google/uuid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// CreateLogReader makes a path by which somebody may read the tenant's log. The
// answer alone holds it.
func (e *Engine) CreateLogReader(ctx context.Context, c Caller, in api.LogReaderRequest) (api.NewLogReader, error) {
	if err := e.may(ctx, c, access.ManageLogReaders, "log", ""); err != nil {
		return api.NewLogReader{}, err
	}
	r, secret, err := e.identity.NewReader(ctx, c, in.Name, e.moment())
	if err != nil {
		return api.NewLogReader{}, err
	}
	err = e.putReader(ctx, c, r, "reader.created")
	return api.NewLogReader{LogReader: readerOf(r), Path: "/log/" + secret}, err
}

// LogReaders lists who was given a path, oldest first, revoked ones too.
func (e *Engine) LogReaders(ctx context.Context, c Caller, p Page) (api.LogReaders, error) {
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
		r, err := e.identity.OpenReader(ctx, c.Scope, row)
		if err != nil {
			return api.LogReaders{}, err
		}
		out.Items = append(out.Items, readerOf(r))
	}
	return out, nil
}

// RevokeLogReader ends a path. Revoking one that is revoked changes nothing.
func (e *Engine) RevokeLogReader(ctx context.Context, c Caller, id string) (api.LogReader, error) {
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
	r, err := e.identity.OpenReader(ctx, c.Scope, row)
	if err != nil || !r.Revoked.IsZero() {
		return readerOf(r), err
	}
	r.Revoked = e.moment()
	err = e.putReader(ctx, c, r, "reader.revoked")
	return readerOf(r), err
}

// putReader stores a reader together with the entry that says so.
func (e *Engine) putReader(ctx context.Context, c Caller, r identity.Reader, kind string) error {
	row, err := e.identity.SealReader(ctx, c.Scope, r)
	if err != nil {
		return err
	}
	entry, leave, err := e.entry(ctx, c.Scope, act{kind: kind, act: "admin", actor: c, fields: []fieldWrite{
		{path: "$name", value: canon.String(r.Name)},
		{path: "$reader", value: canon.String(textID(r.ID))},
	}})
	if err != nil {
		return err
	}
	defer leave()
	return e.store.PutReader(context.WithoutCancel(ctx), c.Scope, row, entry)
}

func readerOf(r identity.Reader) api.LogReader {
	out := api.LogReader{ID: textID(r.ID), Name: r.Name, By: r.By, Made: r.Made}
	if !r.Revoked.IsZero() {
		out.Revoked = &r.Revoked
	}
	return out
}
