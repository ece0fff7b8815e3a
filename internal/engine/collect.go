package engine

import (
	"context"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/store"
)

// collectBatch is how many uploads or blobs are looked at at once.
const collectBatch = 256

// CollectFiles clears away, of one tenant, what uploads leave behind: those that
// nobody claimed within a day, the keys of those that were claimed, and, a day
// after they were first seen, blobs that no row knows. It returns how many it
// cleared away. Every part of it can be repeated. It goes on after an error and
// tells of the first.
func (e *Engine) CollectFiles(ctx context.Context, tenant string) (int, error) {
	scope := store.NewScope(tenant)
	if e.admitted(scope) != nil {
		return 0, nil
	}
	var failed failures
	if err := e.adoptBlobs(ctx, scope); err != nil {
		failed.add(err)
	}
	cleared, after := 0, store.ID{}
	for {
		rows, err := e.store.SpentUploads(ctx, scope, e.moment().Add(-uploadAge), after, collectBatch)
		if err != nil {
			return cleared, err
		}
		for _, row := range rows {
			if err := e.clearAway(ctx, scope, row); err != nil {
				failed.add(err)
				continue
			}
			cleared++
		}
		if len(rows) < collectBatch {
			return cleared, failed.err()
		}
		after = rows[len(rows)-1].Blob
	}
}

func (e *Engine) clearAway(ctx context.Context, scope store.Scope, row store.UploadRow) error {
	if row.State == store.UploadClaimed {
		return e.finishClaim(ctx, scope, row.Blob)
	}
	return e.discard(ctx, scope, row)
}

// discard deletes an upload that nobody has claimed. From the first statement on
// nobody can any more; the row goes last, so that whatever fails is tried again.
func (e *Engine) discard(ctx context.Context, scope store.Scope, row store.UploadRow) error {
	if err := e.store.DropUpload(ctx, scope, row.Blob); err != nil {
		return err
	}
	if err := e.checkUnheld(ctx, scope, row.Blob); err != nil {
		return err
	}
	if err := e.blobs.Delete(ctx, scope.Tenant(), blob.ID(row.Blob)); err != nil {
		return err
	}
	if err := e.destroyUploadKey(ctx, scope, row); err != nil {
		return err
	}
	if err := e.store.DeleteUpload(ctx, scope, row.Blob); err != nil {
		return err
	}
	e.limits.changed(scope)
	return nil
}

// checkUnheld requires that no instance has a file whose upload says that nobody has.
func (e *Engine) checkUnheld(ctx context.Context, scope store.Scope, id store.ID) error {
	_, held, err := e.store.FileHolder(ctx, scope, id)
	if err == nil && held {
		err = changedUpload(id)
	}
	return err
}

// adoptBlobs gives a row to each blob that has none, which is what a restore of
// an older database leaves behind. It is collected like any upload, a day later:
// until then a database that does know it can be put back.
func (e *Engine) adoptBlobs(ctx context.Context, scope store.Scope) error {
	for after := (blob.ID{}); ; {
		ids, err := e.blobs.List(ctx, scope.Tenant(), after, collectBatch)
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := e.adopt(ctx, scope, ids); err != nil {
			return err
		}
		after = ids[len(ids)-1]
	}
}

func (e *Engine) adopt(ctx context.Context, scope store.Scope, ids []blob.ID) error {
	asked := make([]store.ID, len(ids))
	for i, id := range ids {
		asked[i] = store.ID(id)
	}
	known, err := e.store.KnownBlobs(ctx, scope, asked)
	if err != nil {
		return err
	}
	for _, id := range asked {
		if known[id] {
			continue
		}
		row := store.UploadRow{Blob: id, State: store.UploadOpen, Made: e.moment()}
		if err := e.store.AddUpload(ctx, scope, row); err != nil {
			return err
		}
	}
	return nil
}
