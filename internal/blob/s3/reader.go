package s3

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
)

// reader is an open blob. Who reads on where the last read ended gets the rest of
// one long answer; every other read is a request of its own.
type reader struct {
	ctx   context.Context // of all reading; a reader does not outlive it
	store *Store
	id    blob.ID
	name  string
	size  int64

	mu   sync.Mutex    // guards what follows
	next int64         // where the last read ended
	body io.ReadCloser // from next on; nil: not asked for
	end  int64         // of body
}

// Size implements blob.Reader.
func (r *reader) Size() int64 { return r.size }

// ReadAt implements blob.Reader.
func (r *reader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fault.New(fault.Invalid, "read blob %s at %d", r.id, off)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if rest := r.size - off; rest < int64(len(p)) {
		p, err = p[:max(rest, 0)], io.EOF
	}
	if len(p) == 0 {
		return 0, err
	}
	n, readErr := r.read(p, off)
	if readErr != nil {
		return n, readErr
	}
	return n, err
}

// read fills p, which is within the blob.
func (r *reader) read(p []byte, off int64) (int, error) {
	end := off + int64(len(p))
	if off != r.next || end > r.end {
		r.drop()
	}
	if r.body == nil {
		r.end = end
		if off == r.next && off > 0 {
			r.end = r.size
		}
		body, err := r.get(off, r.end)
		if err != nil {
			return 0, err
		}
		r.body = body
	}
	n, err := io.ReadFull(r.body, p)
	r.next = off + int64(n)
	if err != nil || r.next == r.end {
		r.drop()
	}
	return n, failed("read", r.id, err)
}

// get asks for the bytes from off to end.
func (r *reader) get(off, end int64) (io.ReadCloser, error) {
	var opts minio.GetObjectOptions
	if err := opts.SetRange(off, end-1); err != nil {
		return nil, failed("read", r.id, err)
	}
	body, _, header, err := r.store.core.GetObject(r.ctx, r.store.bucket, r.name, opts)
	if err != nil {
		return nil, failed("read", r.id, err)
	}
	if got := header.Get("Content-Range"); !strings.HasPrefix(got, fmt.Sprintf("bytes %d-%d/", off, end-1)) {
		body.Close()
		return nil, fault.New(fault.Unavailable, "read blob %s: the S3 service answers with the range %q", r.id, got)
	}
	return body, nil
}

// drop ends an answer that is not read on.
func (r *reader) drop() {
	if r.body != nil {
		r.body.Close() // nothing is lost by what goes wrong here
		r.body = nil
	}
}

// Close implements blob.Reader.
func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
	r.next = -1
	return nil
}
