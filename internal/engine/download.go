package engine

import (
	"cmp"
	"context"
	"io"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// Download is a file that is open for reading, at any place. Close it.
type Download struct {
	Name   string
	Type   string // media type, as the uploader named it
	Size   int64
	SHA256 string // hex

	io.ReadSeeker
	io.Closer
}

// File opens a file of an instance. Only its beginning and end are known to be
// whole then: a read of a part that was changed is an Integrity fault, and gives
// nothing of it. A read after the caller may not any more is Denied, or NotFound, and one
// after the file was erased is Sealed.
func (e *Engine) File(ctx context.Context, c Caller, instance, name string) (*Download, error) {
	return asNow(ctx, e, c, func(c Caller) (*Download, error) {
		d, err := e.fileAs(ctx, c, instance, name)
		if err == nil {
			return d, nil // each part of it is decided again
		}
		return nil, cmp.Or(e.people.unchanged(c), err)
	})
}

func (e *Engine) fileAs(ctx context.Context, c Caller, instance, name string) (*Download, error) {
	if err := e.could(ctx, c, access.ReadFile, access.Instance, instance); err != nil {
		return nil, err
	}
	id, ok := parseFileName(name)
	if !ok {
		return nil, noSuch("file", name)
	}
	var f *file
	var keys []envelope.KeyID
	var through []*lens
	var v *lens
	decide := func(c Caller, l *Live) (err error) {
		through, err = e.fileLenses(ctx, c, l)
		switch {
		case err != nil || len(through) > 0:
			return err
		case e.sees(c, access.ReadInstance, l.resource()):
			return e.refuse(ctx, c, access.ReadFile, string(access.Instance), instance)
		}
		return noSuch("instance", instance)
	}
	err := e.useAs(ctx, c, instance, decide, func(l *Live) error {
		err := e.checkRows(ctx, l)
		if field, held := l.head.field(filePath(id)); held && err == nil {
			keys = l.head.keysOf(field)
			f, err = e.openFile(ctx, l, id)
		}
		if f != nil && err == nil {
			v = lookThrough(through, f)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case f == nil || len(v.seen)+len(v.masked) == 0:
		return nil, noSuch("file", name)
	case len(v.seen) == 0:
		return nil, e.refuseMasked(ctx, c, instance, filePath(id))
	}
	d, err := e.openBlob(ctx, c.Scope, f)
	if err != nil {
		return nil, err
	}
	if err := e.tellShown(ctx, c, dataShown, "user", v.told("")); err != nil {
		_ = d.Close() // nothing was read of it
		return nil, err
	}
	d.ReadSeeker = &decided{d.ReadSeeker, e.still(ctx, c, func(c Caller) error {
		if !v.still(c) {
			return e.refuseMasked(ctx, c, instance, filePath(id))
		}
		return e.stand(ctx, c.Scope, keys)
	})}
	return d, nil
}

// stand requires that there are keys still under which something was sealed: what is open
// of it can be read however they were destroyed meanwhile.
func (e *Engine) stand(ctx context.Context, scope store.Scope, keys []envelope.KeyID) error {
	for _, id := range keys {
		if _, err := e.ring.Key(ctx, scope.Tenant(), id); err != nil {
			return err
		}
	}
	return nil
}

// decided is a file each part of which is decided again before it is read.
type decided struct {
	io.ReadSeeker
	still func() error
}

func (d *decided) Read(p []byte) (int, error) {
	if err := d.still(); err != nil {
		return 0, err
	}
	return d.ReadSeeker.Read(p)
}

// fileLenses returns those by which a caller may read files of an instance: as who sees
// it, who does one of its open tasks, and who works one of its jobs.
func (e *Engine) fileLenses(ctx context.Context, c Caller, l *Live) (list []*lens, err error) {
	if on := l.resource(); e.readsFiles(c, on) {
		list = append(list, e.lens(c, l, on))
	}
	for _, t := range l.state.Tasks() {
		if !e.readsFiles(c, l.taskResource(t.ID)) {
			continue
		}
		v, _, err := e.taskLens(ctx, c, l, t)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	for _, j := range l.state.Jobs() {
		if v := e.jobLens(c, l, j); e.readsFiles(c, v.on) {
			list = append(list, v)
		}
	}
	return list, nil
}

// readsFiles reports whether a caller may read files of an instance, task or job.
func (e *Engine) readsFiles(c Caller, of access.Resource) bool {
	return e.sees(c, sights[of.Kind], of) && e.sees(c, access.ReadFile, of)
}

// lookThrough returns the first lens that shows a file, else one by which it is masked.
func lookThrough(list []*lens, f *file) *lens {
	best := list[0]
	for _, v := range list {
		if v.lookFile(f) {
			return v
		}
		if len(best.masked) == 0 {
			best = v
		}
	}
	return best
}

func (e *Engine) openBlob(ctx context.Context, scope store.Scope, f *file) (*Download, error) {
	tampered := fault.New(fault.Integrity, "the blob of file %s is missing or changed", fileName(f.id)).
		WithCode("tampered").WithHint("restore it from the backup that belongs to the database")
	b, err := e.blobs.Open(ctx, scope.Tenant(), blob.ID(f.id))
	if fault.Is(err, fault.NotFound) {
		return nil, tampered.WithCause(err)
	}
	if err != nil {
		return nil, err
	}
	opener, err := envelope.NewOpener(b, b.Size(), []envelope.Key{f.key}, e.fileContext(scope, "blob", f.id))
	if err == nil && opener.Size() != f.size {
		err = fault.New(fault.Integrity, "it has %d bytes", opener.Size())
	}
	if err != nil {
		_ = b.Close() // nothing was read of it that counts
		// NotFound: it is there, but a piece of it is missing.
		if fault.Is(err, fault.Integrity) || fault.Is(err, fault.NotFound) {
			return nil, tampered.WithCause(err)
		}
		return nil, err
	}
	return &Download{
		Name: f.name, Type: f.media, Size: f.size, SHA256: f.sum,
		ReadSeeker: io.NewSectionReader(opener, 0, f.size), Closer: b,
	}, nil
}
