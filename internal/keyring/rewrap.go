package keyring

import (
	"context"
	"crypto/hmac"
	"math"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// pageRows is how many rows are rewrapped in one transaction: enough that its sync
// costs little for each, and few enough that nobody waits long for the writer.
const pageRows = 1024

// Rewrap moves all data keys, tombstones and subjects of a tenant under its newest
// tenant key. No key changes by it, and so nothing that was sealed.
//
// It keeps no notes: what is left to do is what stands under an older version, so
// it may be stopped anywhere and begun again, also by several processes. A row that
// somebody changed since it was read is passed over and met again. Rows that do not
// open are left as they are, and are an Integrity fault once all others are done.
//
// perSecond bounds the rows per second, 0 does not. progress, which may be nil, is
// told after each page how many rows are done and how many are left.
func (r *Ring) Rewrap(ctx context.Context, tenant string, perSecond int, progress func(done, left int)) error {
	return r.rewrap(ctx, r.tenant(tenant), perSecond, progress)
}

func (r *Ring) rewrap(ctx context.Context, t *tenant, perSecond int, progress func(done, left int)) error {
	rows, err := t.notice(ctx)
	if err != nil {
		return err
	}
	w := &rewrap{ring: r, tenant: t, to: newestOf(rows), page: pageRows, limit: rate.NewLimiter(rate.Inf, pageRows), progress: progress}
	if perSecond > 0 {
		w.page = min(pageRows, max(perSecond/4, 1))
		w.limit = rate.NewLimiter(rate.Limit(perSecond), w.page)
	}
	if w.left, err = r.config.Storage.CountBelow(ctx, t.name, w.to); err != nil || w.left == 0 {
		return err
	}
	return w.run(ctx)
}

// A rewrap is one run of Rewrap.
type rewrap struct {
	ring     *Ring
	tenant   *tenant
	to       uint32
	page     int
	limit    *rate.Limiter
	progress func(done, left int)

	done, left int    // owned by who writes
	damaged    damage // owned by who reads
}

// damage counts rows that do not open.
type damage struct {
	rows  int
	first error
}

func (d *damage) add(err error) {
	if d.rows++; d.first == nil {
		d.first = err
	}
}

func (w *rewrap) run(ctx context.Context) error {
	// Rows passed over are met in the next round. A round that changes none ends it.
	for {
		before := w.done
		w.damaged = damage{}
		if err := w.dataKeys(ctx); err != nil {
			return err
		}
		if err := w.subjects(ctx); err != nil {
			return err
		}
		left, err := w.ring.config.Storage.CountBelow(ctx, w.tenant.name, w.to)
		switch {
		case err != nil || left == 0:
			return err
		case left <= w.damaged.rows || w.done == before:
			return w.stuck(left)
		}
	}
}

// stuck is what is said of rows that cannot be rewrapped.
func (w *rewrap) stuck(left int) error {
	if w.damaged.rows == 0 {
		return fault.New(fault.Conflict, "rewrap keys of tenant %q: %d rows were changed each time they were read", w.tenant.name, left)
	}
	return fault.New(fault.Integrity, "rewrap keys of tenant %q: %d rows do not open and stay under the old version; the first: %w",
		w.tenant.name, w.damaged.rows, w.damaged.first)
}

func (w *rewrap) dataKeys(ctx context.Context) error {
	return pipe(ctx, w, func(ctx context.Context, give func([]DataKeyChange) error) error {
		var after [16]byte
		for {
			page, err := w.ring.config.Storage.DataKeysBelow(ctx, w.tenant.name, after, w.to, w.page)
			if err != nil || len(page) == 0 {
				return err
			}
			after = page[len(page)-1].ID
			changes, err := change(ctx, w, page, func(row DataKeyRow) uint32 { return row.KeyVersion }, w.ring.config.rewrapped)
			if err == nil {
				err = give(changes)
			}
			if err != nil {
				return err
			}
		}
	}, w.ring.config.Storage.RewrapDataKeys)
}

func (w *rewrap) subjects(ctx context.Context) error {
	return pipe(ctx, w, func(ctx context.Context, give func([]SubjectChange) error) error {
		var after [32]byte
		for {
			page, err := w.ring.config.Storage.SubjectsBelow(ctx, w.tenant.name, after, w.to, w.page)
			if err != nil || len(page) == 0 {
				return err
			}
			after = page[len(page)-1].Token
			changes, err := change(ctx, w, page, func(row SubjectRow) uint32 { return row.KeyVersion }, w.ring.config.relinked)
			if err == nil {
				err = give(changes)
			}
			if err != nil {
				return err
			}
		}
	}, w.ring.config.Storage.RewrapSubjects)
}

// pipe has the changes of the next page made while those of one are written.
func pipe[C any](ctx context.Context, w *rewrap, read func(context.Context, func([]C) error) error, store func(context.Context, []C) (int, error)) error {
	group, ctx := errgroup.WithContext(ctx)
	ready := make(chan []C)
	group.Go(func() error {
		defer close(ready)
		return read(ctx, func(changes []C) error {
			select {
			case ready <- changes:
				return nil
			case <-ctx.Done():
				return fault.New(fault.Unavailable, "rewrap keys: %w", ctx.Err())
			}
		})
	})
	group.Go(func() error {
		for changes := range ready {
			if err := w.write(ctx, len(changes), func() (int, error) { return store(ctx, changes) }); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

// write stores what is new of a page, no faster than allowed.
func (w *rewrap) write(ctx context.Context, changes int, store func() (int, error)) error {
	if changes == 0 {
		return nil
	}
	if err := w.limit.WaitN(ctx, changes); err != nil {
		return fault.New(fault.Unavailable, "rewrap keys: %w", err)
	}
	n, err := store()
	if err != nil {
		return err
	}
	w.done, w.left = w.done+n, max(w.left-n, 0)
	w.tenant.progress(w.done, w.left)
	if w.progress != nil {
		w.progress(w.done, w.left)
	}
	return nil
}

// change computes the changes of a page, on all processors. Rows that do not open
// are counted and left out.
func change[R, C any](ctx context.Context, w *rewrap, page []R, version func(R) uint32, f func(from, to *secrets, version uint32, row R) (C, error)) ([]C, error) {
	to, err := w.tenant.version(w.to).use(ctx)
	if err != nil {
		return nil, err
	}
	from := map[uint32]*secrets{}
	for _, row := range page {
		v := version(row)
		if _, ok := from[v]; ok {
			continue
		}
		s, err := w.tenant.version(v).use(ctx)
		if err != nil && !fault.Is(err, fault.Integrity) {
			return nil, err
		}
		from[v] = s // nil: a version that is not there, or not allowed any more
	}
	changes, errs := make([]C, len(page)), make([]error, len(page))
	each(len(page), func(i int) {
		if s := from[version(page[i])]; s != nil {
			changes[i], errs[i] = f(s, to, w.to, page[i])
		} else {
			errs[i] = fault.New(fault.Integrity, "tenant %q: a key names version %d of the tenant key, which is none", w.tenant.name, version(page[i]))
		}
	})
	kept := changes[:0]
	for i, err := range errs {
		if err != nil {
			w.damaged.add(err)
			continue
		}
		kept = append(kept, changes[i])
	}
	return kept, nil
}

// each calls f with 0 to n-1, on all processors.
func each(n int, f func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n/64+1)
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for i := worker; i < n; i += workers {
				f(i)
			}
		})
	}
	all.Wait()
}

// rewrapped returns the change that moves a data key's row, which is Integrity
// when it does not stand as we wrote it.
func (c *Config) rewrapped(from, to *secrets, version uint32, row DataKeyRow) (DataKeyChange, error) {
	key, former, err := c.unseal(from, row)
	anew := row
	anew.KeyVersion = version
	switch {
	case fault.Is(err, fault.Sealed):
		anew.Tombstone = c.tombstoneMAC(to, anew)
	case err != nil:
		return DataKeyChange{}, err
	default:
		if anew, err = c.sealAfter(to, version, row.Tenant, row.Scope, key, former); err != nil {
			return DataKeyChange{}, err
		}
	}
	return DataKeyChange{Old: row, New: anew}, nil
}

// relinked returns the change that moves a subject's row.
func (c *Config) relinked(from, to *secrets, version uint32, row SubjectRow) (SubjectChange, error) {
	if !hmac.Equal(row.MAC, c.subjectMAC(from, row)) {
		return SubjectChange{}, fault.New(fault.Integrity, "tenant %q: the row that gives a person data key %s was changed", row.Tenant, envelope.KeyID(row.KeyID))
	}
	anew := row
	anew.KeyVersion, anew.MAC = version, c.subjectMAC(to, row)
	return SubjectChange{Old: row, New: anew}, nil
}

// readAll opens every row of a tenant under the version it names, whichever that
// is, and returns how many it read and how many do not open.
func (r *Ring) readAll(ctx context.Context, tenant string) (read int, damaged damage, err error) {
	w := &rewrap{ring: r, tenant: r.tenant(tenant)}
	rows, err := w.tenant.notice(ctx)
	if err != nil {
		return 0, damage{}, err
	}
	w.to = newestOf(rows)
	var id [16]byte
	for {
		page, err := r.config.Storage.DataKeysBelow(ctx, tenant, id, math.MaxUint32, pageRows)
		if err != nil {
			return read, w.damaged, err
		}
		if len(page) == 0 {
			break
		}
		id, read = page[len(page)-1].ID, read+len(page)
		opens := func(from, _ *secrets, _ uint32, row DataKeyRow) (struct{}, error) {
			_, _, err := r.config.unseal(from, row)
			if row.State == keyrow.Destroyed && fault.Is(err, fault.Sealed) {
				err = nil
			}
			return struct{}{}, err
		}
		if _, err := change(ctx, w, page, func(row DataKeyRow) uint32 { return row.KeyVersion }, opens); err != nil {
			return read, w.damaged, err
		}
	}
	var token [32]byte
	for {
		page, err := r.config.Storage.SubjectsBelow(ctx, tenant, token, math.MaxUint32, pageRows)
		if err != nil || len(page) == 0 {
			return read, w.damaged, err
		}
		token, read = page[len(page)-1].Token, read+len(page)
		if _, err := change(ctx, w, page, func(row SubjectRow) uint32 { return row.KeyVersion }, r.config.relinked); err != nil {
			return read, w.damaged, err
		}
	}
}
