package store

import (
	"context"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
)

// blobWriter is a blob that is being written. It holds one chunk.
type blobWriter struct {
	ctx    context.Context // of the whole upload; a writer does not outlive it
	db     *postgresDB
	tenant string
	id     blob.ID
	n      int64  // chunks that are stored
	chunk  []byte // the next one
	ended  bool
	err    error // the first failure
}

// Write implements blob.Writer.
func (w *blobWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if err := w.usable(); err != nil {
			return n, err
		}
		part := min(len(p)-n, chunkSize-len(w.chunk))
		w.chunk = append(w.chunk, p[n:n+part]...)
		n += part
		if len(w.chunk) == chunkSize {
			w.store()
		}
	}
	return n, w.err
}

func (w *blobWriter) usable() error {
	if w.err == nil && w.ended {
		return fault.New(fault.Invalid, "blob %s was committed or aborted already", w.id)
	}
	return w.err
}

// store writes a chunk. It need not wait for the disk, since the commit does so
// for all that was written before.
func (w *blobWriter) store() {
	unit := []statement{{text: `SELECT set_config('synchronous_commit', 'off', true)`}, w.insert()}
	if w.err = w.db.apply(w.ctx, w.tenant, unit); w.err == nil {
		w.n++
		w.chunk = w.chunk[:0]
	}
}

func (w *blobWriter) insert() statement {
	return statement{
		text: `INSERT INTO blob_chunks (tenant, id, n, data) VALUES ($1, $2, $3, $4)`,
		args: []any{w.tenant, [16]byte(w.id), w.n, w.chunk},
		full: blob.Full(w.id, nil),
	}
}

// Commit implements blob.Writer.
func (w *blobWriter) Commit() error {
	if err := w.usable(); err != nil {
		return err
	}
	unit := []statement{{
		text:    `UPDATE blobs SET size = $3 WHERE tenant = $1 AND id = $2 AND size IS NULL`,
		args:    []any{w.tenant, [16]byte(w.id), w.n*chunkSize + int64(len(w.chunk))},
		one:     true,
		refused: fault.New(fault.Conflict, "blob %s was removed while it was written", w.id),
		full:    blob.Full(w.id, nil),
	}}
	if len(w.chunk) > 0 {
		unit = append([]statement{w.insert()}, unit...)
	}
	w.err = w.db.apply(w.ctx, w.tenant, unit)
	w.ended = w.err == nil
	return w.err
}

// Abort implements blob.Writer. It spares a blob whose commit came through
// although its answer was lost.
func (w *blobWriter) Abort() error {
	if w.ended {
		return nil
	}
	w.ended = true
	return w.db.apply(context.WithoutCancel(w.ctx), w.tenant, []statement{{
		text: `DELETE FROM blobs WHERE tenant = $1 AND id = $2 AND size IS NULL`,
		args: []any{w.tenant, [16]byte(w.id)},
	}})
}
