package keyring

import (
	"context"
	"sync"
	"time"

	"github.com/underseal/underseal/envelope"
)

// marks are keys known to be in use and not yet marked so in storage. Losing
// them loses nothing: before a key is swept, its use is looked up.
type marks struct {
	wake chan struct{} // holds one token when there is something to do

	mu      sync.Mutex            // guards what follows
	pending map[string][][16]byte // by tenant
	count   int
}

const (
	markDelay = time.Second // how long marks are gathered
	maxMarks  = 1 << 16     // more are forgotten while storage is away
)

// Assigned says that something durable uses the keys. It returns at once; that
// is written down in the background, many together.
func (r *Ring) Assigned(tenant string, ids ...envelope.KeyID) {
	r.marks.mu.Lock()
	defer r.marks.mu.Unlock()
	if r.marks.pending == nil {
		r.marks.pending = map[string][][16]byte{}
	}
	for _, id := range ids {
		if r.marks.count < maxMarks {
			r.marks.pending[tenant] = append(r.marks.pending[tenant], id)
			r.marks.count++
		}
	}
	r.marks.wakeUp()
}

// wakeUp makes sure that mark looks again.
func (m *marks) wakeUp() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take empties the marks.
func (m *marks) take() map[string][][16]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	pending := m.pending
	m.pending, m.count = nil, 0
	return pending
}

// mark writes marks down until the ring is closed.
func (r *Ring) mark(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.marks.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(markDelay):
			r.writeMarks(ctx)
		}
	}
}

// lastMarks writes down what is left when the ring closes.
func (r *Ring) lastMarks() {
	ctx, cancel := context.WithTimeout(context.Background(), r.config.CallTimeout)
	defer cancel()
	r.writeMarks(ctx)
}

// writeMarks writes all marks down, and takes back those that it could not.
func (r *Ring) writeMarks(ctx context.Context) {
	for tenant, ids := range r.marks.take() {
		for len(ids) > 0 {
			n := min(len(ids), maxBatch)
			if err := r.config.Storage.MarkAssigned(ctx, tenant, ids[:n]); err != nil {
				r.takeBack(tenant, ids)
				break
			}
			ids = ids[n:]
		}
	}
}

// takeBack keeps marks for the next try.
func (r *Ring) takeBack(tenant string, ids [][16]byte) {
	again := make([]envelope.KeyID, len(ids))
	for i, id := range ids {
		again[i] = id
	}
	r.Assigned(tenant, again...)
}
