package testenv

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
)

// Blobs are blobs in memory, which outlive the nodes that use them.
type Blobs struct {
	// Fault, if not nil, is called before each "create", "write", "commit",
	// "open" and "delete"; its error is what the call returns then.
	Fault func(point string) error

	mu         sync.Mutex // guards what follows
	tenants    map[string]map[blob.ID][]byte
	unfinished int // writers
}

var _ blob.Store = (*Blobs)(nil)

func (b *Blobs) fault(point string) error {
	if b.Fault == nil {
		return nil
	}
	return b.Fault(point)
}

// Create begins a blob.
func (b *Blobs) Create(_ context.Context, tenant string, id blob.ID) (blob.Writer, error) {
	if err := b.fault("create"); err != nil {
		return nil, err
	}
	b.count(1)
	return &blobWriter{blobs: b, tenant: tenant, id: id}, nil
}

func (b *Blobs) count(writers int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unfinished += writers
}

// Unfinished returns how many blobs were begun and neither committed nor aborted.
func (b *Blobs) Unfinished() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.unfinished
}

type blobWriter struct {
	bytes.Buffer
	blobs  *Blobs
	tenant string
	id     blob.ID
	ended  bool
}

func (w *blobWriter) Write(p []byte) (int, error) {
	if err := w.blobs.fault("write"); err != nil {
		return 0, err
	}
	return w.Buffer.Write(p)
}

// Commit makes the blob visible.
func (w *blobWriter) Commit() error {
	if err := w.blobs.fault("commit"); err != nil {
		return err
	}
	w.blobs.Put(w.tenant, w.id, w.Bytes())
	w.end()
	return nil
}

// Abort leaves nothing behind.
func (w *blobWriter) Abort() error {
	w.end()
	return nil
}

func (w *blobWriter) end() {
	if !w.ended {
		w.ended = true
		w.blobs.count(-1)
	}
}

// Put puts a blob behind the node's back.
func (b *Blobs) Put(tenant string, id blob.ID, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tenants == nil {
		b.tenants = map[string]map[blob.ID][]byte{}
	}
	if b.tenants[tenant] == nil {
		b.tenants[tenant] = map[blob.ID][]byte{}
	}
	b.tenants[tenant][id] = data
}

// Get returns a copy of a blob's bytes, nil when there is none.
func (b *Blobs) Get(tenant string, id blob.ID) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.tenants[tenant][id])
}

// Open opens a blob.
func (b *Blobs) Open(_ context.Context, tenant string, id blob.ID) (blob.Reader, error) {
	if err := b.fault("open"); err != nil {
		return nil, err
	}
	data := b.Get(tenant, id)
	if data == nil {
		return nil, fault.New(fault.NotFound, "there is no such blob")
	}
	return blobReader{bytes.NewReader(data)}, nil
}

type blobReader struct{ *bytes.Reader }

func (blobReader) Close() error { return nil }

var _ io.ReaderAt = blobReader{}

// Delete deletes a blob.
func (b *Blobs) Delete(_ context.Context, tenant string, id blob.ID) error {
	if err := b.fault("delete"); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.tenants[tenant], id)
	return nil
}

// List lists a tenant's blobs.
func (b *Blobs) List(_ context.Context, tenant string, after blob.ID, limit int) ([]blob.ID, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	compare := func(x, y blob.ID) int { return bytes.Compare(x[:], y[:]) }
	ids := slices.SortedFunc(maps.Keys(b.tenants[tenant]), compare)
	i, found := slices.BinarySearchFunc(ids, after, compare)
	if found {
		i++
	}
	return ids[i:min(i+limit, len(ids))], nil
}
