package keyring

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

const (
	// maxBatch is the most rows that a method of Storage takes.
	maxBatch = 8192
	// sweepAge is the age at which a key that nothing uses is deleted.
	sweepAge = 24 * time.Hour
	// poolAge is the age at which a key made ahead is no longer handed out, so
	// that whoever got it has half a day to commit before it may be swept.
	poolAge = sweepAge / 2
)

// A pool is a tenant's data keys made ahead, durably stored and not handed out.
// It is guarded by the tenant's mu.
type pool struct {
	batches []batch // oldest first, none empty
	size    int     // of the last batch made; 0 before the first
	filling *fill   // the running one, nil when none is
	retry   time.Time
}

// A batch is keys made at once.
type batch struct {
	keys []envelope.Key
	made time.Time
}

// A fill is the making of a batch that callers may wait for.
type fill struct {
	done chan struct{} // closed when over
	err  error         // readable then
}

// NewKey returns a data key that was never handed out and is stored durably. It
// makes no call and no commit of its own as long as keys made ahead are left,
// and these are made in the background. Tell Assigned when something durable
// uses the key.
func (r *Ring) NewKey(ctx context.Context, tenant string) (envelope.Key, error) {
	t := r.tenant(tenant)
	for {
		k, err := t.current(ctx)
		if err != nil {
			return envelope.Key{}, err
		}
		if _, err := k.use(ctx); err != nil {
			return envelope.Key{}, err
		}
		key, wait := t.take()
		if wait == nil {
			return key, nil
		}
		if err := wait.over(ctx); err != nil {
			return envelope.Key{}, err
		}
	}
}

// over waits until a fill is over and returns its error.
func (f *fill) over(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "waiting for new data keys: %w", ctx.Err())
	}
}

// take hands out the oldest key, or what to wait for. It has more made when
// half a batch or less is left.
func (t *tenant) take() (envelope.Key, *fill) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.ring.config.Now()
	left := t.pool.trim(now)
	if left == 0 {
		return envelope.Key{}, t.fill()
	}
	if left <= t.pool.size/2 && isDue(now, t.pool.retry) {
		t.fill()
	}
	first := &t.pool.batches[0]
	key := first.keys[0]
	first.keys = first.keys[1:]
	return key, nil
}

// trim drops what must not be handed out any more and returns how many are left.
func (p *pool) trim(now time.Time) (left int) {
	p.batches = slices.DeleteFunc(p.batches, func(b batch) bool {
		age := now.Sub(b.made)
		return len(b.keys) == 0 || age < 0 || age >= poolAge
	})
	for _, b := range p.batches {
		left += len(b.keys)
	}
	return left
}

// fill makes a batch in the background, unless that is under way. Batches grow
// to PoolSize, so that a tenant with few instances leaves few unused keys. The
// caller holds mu.
func (t *tenant) fill() *fill {
	if t.pool.filling != nil {
		return t.pool.filling
	}
	f := &fill{done: make(chan struct{})}
	size := min(max(2*t.pool.size, t.ring.config.PoolSize/8, 1), t.ring.config.PoolSize)
	if !t.ring.start(func(ctx context.Context) { t.fillNow(ctx, f, size) }) {
		f.err = t.ring.open()
		close(f.done)
		return f
	}
	t.pool.filling = f
	return f
}

// fillNow makes and stores a batch. After a failure those that find the pool
// empty try again at once, the others a little later.
func (t *tenant) fillNow(ctx context.Context, f *fill, size int) {
	now := t.ring.config.Now()
	var keys []envelope.Key
	err := t.underNewest(ctx, func(k *tenantKey, s *secrets) (err error) {
		keys, err = t.ring.makeKeys(ctx, t.name, k, s, now, size)
		return err
	})

	t.mu.Lock()
	defer t.mu.Unlock()
	t.pool.filling = nil
	if f.err = err; err != nil {
		t.pool.retry = now.Add(retryAfter)
	} else {
		t.pool.size = size
		t.pool.batches = append(t.pool.batches, batch{keys: keys, made: now})
	}
	close(f.done)
}

// makeKeys makes data keys and stores them in one durable batch.
func (r *Ring) makeKeys(ctx context.Context, tenant string, k *tenantKey, s *secrets, now time.Time, n int) ([]envelope.Key, error) {
	keys, rows := make([]envelope.Key, n), make([]DataKeyRow, n)
	for i := range keys {
		keys[i] = newKey(now)
	}
	slices.SortFunc(keys, func(a, b envelope.Key) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for i, key := range keys {
		var err error
		if rows[i], err = r.config.seal(s, k.version, tenant, keyrow.Pool, key); err != nil {
			return nil, err
		}
	}
	return keys, r.config.Storage.AddDataKeys(ctx, rows)
}
