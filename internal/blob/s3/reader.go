package s3

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

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
	stop func()        // ends the request of body
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
		if off == r.next && off > 0 {
			end = r.size
		}
		if err := r.get(off, end); err != nil {
			return 0, err
		}
	}
	stalled := time.AfterFunc(callTimeout, r.stop)
	n, err := io.ReadFull(r.body, p)
	stalled.Stop()
	r.next = off + int64(n)
	if err != nil || r.next == r.end {
		r.drop()
	}
	return n, failed("read", r.id, err)
}

// get asks for the bytes from off to end. The answer may take as long as it is
// read, so no deadline ends it, but one without progress does.
func (r *reader) get(off, end int64) error {
	var opts minio.GetObjectOptions
	if err := opts.SetRange(off, end-1); err != nil {
		return failed("read", r.id, err)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	slow := time.AfterFunc(callTimeout, cancel)
	body, _, header, err := r.store.core.GetObject(ctx, r.store.bucket, r.name, opts)
	if !slow.Stop() || err != nil {
		cancel()
	}
	if err != nil {
		return failed("read", r.id, err)
	}
	r.body, r.end, r.stop = body, end, cancel
	if got := header.Get("Content-Range"); !strings.HasPrefix(got, fmt.Sprintf("bytes %d-%d/", off, end-1)) {
		r.drop()
		return fault.New(fault.Unavailable, "read blob %s: the S3 service answers with the range %q", r.id, got)
	}
	return nil
}

// drop ends an answer that is not read on.
func (r *reader) drop() {
	if r.body != nil {
		r.stop()
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
