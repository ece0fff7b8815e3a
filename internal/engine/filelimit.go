package engine

import (
	"context"
	"sync"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// FileLimits bound the files of each tenant, in bytes.
type FileLimits struct {
	One int64 // largest file; 0: 1 GiB
	All int64 // all files and uploads together; 0: no limit

	Uploads int // uploads under way at once; 0: 32
}

// defaultUploads bounds the uploads under way of a tenant, unless the operator says
// otherwise.
const defaultUploads = 32

// defaultFileLimit is the largest file, unless the operator says otherwise.
const defaultFileLimit = 1 << 30

// fileLimits count what each tenant has. One server at a time writes, so what was
// read once stays true but for what this one does.
type fileLimits struct {
	FileLimits

	mu      sync.Mutex // guards tenants
	tenants map[string]*fileTotal
}

type fileTotal struct {
	known    bool // stored is what the database says
	stored   int64
	arriving int64 // by uploads under way
	uploads  int   // under way
}

func newFileLimits(l FileLimits) *fileLimits {
	if l.One == 0 {
		l.One = defaultFileLimit
	}
	if l.Uploads == 0 {
		l.Uploads = defaultUploads
	}
	return &fileLimits{FileLimits: l, tenants: map[string]*fileTotal{}}
}

// fits refuses a file of an announced size.
func (f *fileLimits) fits(size int64) error {
	if size <= f.One {
		return nil
	}
	return fault.New(fault.Invalid, "the file is larger than %d bytes, the most that is accepted", f.One).
		WithCode("too_large").WithHint("the operator's setting max_file bounds a file")
}

// begin counts an upload that begins, and refuses one too many. done ends it.
func (f *fileLimits) begin(scope store.Scope) (done func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.of(scope)
	if t.uploads >= f.Uploads {
		return nil, fault.New(fault.Unavailable, "%d uploads of the tenant are under way, the most at once", f.Uploads).
			WithCode("too_many_requests").WithHint("send the file again when another one has ended")
	}
	t.uploads++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		t.uploads--
	}, nil
}

// admit counts n more bytes of a file, which is now size bytes long.
func (e *Engine) admit(ctx context.Context, scope store.Scope, size, n int64) error {
	e.limits.arrived(scope, -n)
	if err := e.limits.fits(size); err != nil || e.limits.All == 0 {
		return err
	}
	total, known := e.limits.total(scope)
	if !known {
		stored, err := e.store.FilesTotal(ctx, scope)
		if err != nil {
			return err
		}
		total = e.limits.learn(scope, stored)
	}
	if total <= e.limits.All {
		return nil
	}
	return fault.New(fault.Conflict, "the tenant's files would take more than %d bytes together", e.limits.All).
		WithCode("files_full").WithHint("the operator's setting max_files_total bounds them")
}

func (f *fileLimits) of(scope store.Scope) *fileTotal {
	t := f.tenants[scope.Tenant()]
	if t == nil {
		t = &fileTotal{}
		f.tenants[scope.Tenant()] = t
	}
	return t
}

// arrived takes n bytes out of those that are arriving.
func (f *fileLimits) arrived(scope store.Scope, n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(scope).arriving -= n
}

func (f *fileLimits) total(scope store.Scope) (total int64, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.of(scope)
	return t.stored + t.arriving, t.known
}

// learn notes what the database says, and returns the total with it.
func (f *fileLimits) learn(scope store.Scope, stored int64) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.of(scope)
	t.known, t.stored = true, stored
	return t.stored + t.arriving
}

// changed has the database asked again.
func (f *fileLimits) changed(scope store.Scope) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(scope).known = false
}
