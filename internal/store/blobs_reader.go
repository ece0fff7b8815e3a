package store

import (
	"context"
	"io"
	"sync"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
)

// blobReader is an open blob. It holds one chunk, so that a reader with a small
// buffer does not fetch it again and again.
type blobReader struct {
	ctx    context.Context // of all reading; a reader does not outlive it
	db     *postgresDB
	tenant string
	id     blob.ID
	size   int64

	mu    sync.Mutex // guards what follows
	held  int64      // number of the chunk; -1: none
	chunk []byte
}

// Size implements blob.Reader.
func (r *blobReader) Size() int64 { return r.size }

// Close implements blob.Reader.
func (r *blobReader) Close() error { return nil }

// ReadAt implements blob.Reader.
func (r *blobReader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fault.New(fault.Invalid, "read blob %s at %d", r.id, off)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for n < len(p) {
		at := off + int64(n)
		if at >= r.size {
			return n, io.EOF
		}
		if err := r.hold(at / chunkSize); err != nil {
			return n, err
		}
		n += copy(p[n:], r.chunk[at%chunkSize:])
	}
	return n, nil
}

// hold fetches a chunk unless it is there.
func (r *blobReader) hold(n int64) error {
	if r.held == n {
		return nil
	}
	chunks, err := collect(r.ctx, r.db, r.tenant,
		`SELECT data FROM blob_chunks WHERE tenant = $1 AND id = $2 AND n = $3`, []any{r.tenant, [16]byte(r.id), n},
		func(r row, data *[]byte) error { return r.scan(data) })
	switch {
	case err != nil:
		return err
	case len(chunks) == 0: // deleted since it was opened
		return blob.NotFound(r.id)
	case int64(len(chunks[0])) != min(chunkSize, r.size-n*chunkSize):
		return fault.New(fault.Integrity, "chunk %d of blob %s has %d bytes", n, r.id, len(chunks[0]))
	}
	r.held, r.chunk = n, chunks[0]
	return nil
}
