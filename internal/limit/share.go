package limit

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Share is where the nodes of a cluster meet.
type Share interface {
	// Exchange adds what this node admitted of buckets of one tenant to what all nodes
	// did, and returns in the same order up to when the calls of all of them speak for
	// each bucket. No bucket is there twice.
	Exchange(ctx context.Context, tenant string, now time.Time, taken []Taken) ([]time.Time, error)
}

// Taken is what this node admitted of a bucket since it last told the others.
type Taken struct {
	Bucket Bucket
	For    time.Duration // how long the calls speak for it, all together
	Most   time.Duration // no calls speak further ahead than this: whatever was added by mistake is over then
}

// ShareEvery is how often nodes tell each other.
const ShareEvery = time.Second

// Run tells the other nodes until ctx ends; failed hears of what could not be told, once
// until it can be again. Without a Share it returns at once.
func (l *Limiter) Run(ctx context.Context, failed func(error)) {
	if l.config.Share == nil {
		return
	}
	ticker := time.NewTicker(ShareEvery)
	defer ticker.Stop()
	for told := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := l.Tell(ctx)
		if err != nil && told && ctx.Err() == nil {
			failed(err)
		}
		told = err == nil
	}
}

// Tell tells the other nodes what was admitted here and takes in what they admitted.
// While that fails, each node goes by what it knows.
func (l *Limiter) Tell(ctx context.Context) error {
	var errs []error
	for tenant, taken := range l.takeUntold() {
		for part := range slices.Chunk(taken, maxTold) {
			spoken, err := l.config.Share.Exchange(ctx, tenant, l.config.Now(), part)
			errs = append(errs, err)
			if err != nil {
				spoken = nil
			}
			l.takeIn(part, spoken)
		}
	}
	return errors.Join(errs...)
}

// maxTold bounds the buckets of one exchange.
const maxTold = 1000

func (l *Limiter) takeUntold() map[string][]Taken {
	l.mu.Lock()
	defer l.mu.Unlock()
	told := map[string][]Taken{}
	for name, b := range l.untold {
		told[name.Tenant] = append(told[name.Tenant], Taken{name, time.Duration(b.taken), b.most})
		b.taken = 0
	}
	l.untold = map[Bucket]*bucket{}
	return told
}

// takeIn puts what all nodes admitted in place of what this one knew of, and what it has
// admitted since on top. Without an answer what was to be told is still to be told.
func (l *Limiter) takeIn(told []Taken, spoken []time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, t := range told {
		b := l.buckets[t.Bucket]
		switch {
		case b == nil: // forgotten meanwhile
		case spoken == nil:
			b.taken += int64(t.For)
			l.untold[t.Bucket] = b
		default:
			b.spoken = spoken[i].UnixNano() + b.taken
		}
	}
}

// Buckets returns how many persons, keys, tenants and addresses are told apart now.
func (l *Limiter) Buckets() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.buckets)
}
