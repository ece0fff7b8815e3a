package sequencer_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
)

// BenchmarkLeaves gives places to leaves that wait, in one go.
func BenchmarkLeaves(b *testing.B) {
	w := newWorld(b)
	w.cfg.Batch = 0
	s := w.tenant("main")
	for left := b.N; left > 0; left -= 1000 {
		w.write(s, min(left, 1000))
	}
	b.ResetTimer()
	if err := sequencer.New(w.cfg).Work(b.Context(), "main"); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "leaves/s")
}

// BenchmarkUnderACheckpoint commits 1,000 leaves a second and measures how long each
// waits until a checkpoint over it is published.
func BenchmarkUnderACheckpoint(b *testing.B) {
	const every, at, lasts = 10 * time.Millisecond, 10, 5 * time.Second
	w := newWorld(b)
	w.cfg.Batch = 0
	s := w.tenant("main")
	var mu sync.Mutex
	var committed []time.Time // of all leaves, in order
	var waits []time.Duration // of those under a checkpoint
	w.cfg.Published = func(_ context.Context, _ string, _ store.Shard, size uint64, _ []byte) {
		mu.Lock()
		defer mu.Unlock()
		for uint64(len(waits)) < min(size, uint64(len(committed))) {
			waits = append(waits, time.Since(committed[len(waits)]))
		}
	}
	seq := sequencer.New(w.cfg)
	ok(b, seq.Start(b.Context()))
	for b.Loop() {
		ticker := time.NewTicker(every)
		for begun := time.Now(); time.Since(begun) < lasts; {
			<-ticker.C
			w.write(s, at)
			now := time.Now()
			mu.Lock()
			for range at {
				committed = append(committed, now)
			}
			mu.Unlock()
			seq.Wrote("main")
		}
		ticker.Stop()
	}
	seq.Stop(b.Context())
	slices.Sort(waits)
	if len(waits) < 100 {
		b.Fatalf("%d leaves came under a checkpoint", len(waits))
	}
	b.ReportMetric(float64(len(committed))/b.Elapsed().Seconds(), "leaves/s")
	b.ReportMetric(waits[len(waits)*99/100].Seconds()*1000, "p99-ms")
}

// BenchmarkProofIn10M proves leaves of a log of ten million, whose tiles alone are
// there.
func BenchmarkProofIn10M(b *testing.B) {
	const size = 10_000_000
	w := newWorld(b)
	s := w.tenant("main")
	ok(b, sequencer.FillTiles(b.Context(), w.db, s, size))
	rng := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		if _, err := sequencer.Inclusion(b.Context(), w.db, s, 1, rng.Uint64N(size), size); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/proof")
}
