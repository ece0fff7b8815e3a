package store_test

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/store"
)

// oneTask returns the two units of an instance with one job, in the sizes that
// they have in the product: 11 and 5 fields, a token, a job opened and closed.
func oneTask(n uint64) (start, complete *store.WriteSet) {
	id := newID(n)
	row := store.InstanceRow{Process: "one_task", Version: 1, Definition: store.ID{1}, Mode: "confidential",
		Status: "active", Started: time.UnixMicro(int64(n)), Key: newID(n)}
	start = &store.WriteSet{
		Object: id, Kind: store.Instance, Head: random(1300), Step: random(250),
		Leaf: store.Leaf{Body: random(600), Hash: hash()}, Fields: fields(11),
		Instance: &row,
		Jobs:     []store.JobRow{{ID: 1, Element: "work", Process: "one_task", Type: "work", Retries: 3, Created: row.Started}},
		Tokens:   []store.Token{{Kind: store.IdempotencyToken, Token: hash(), Unique: true, Print: random(32)}},
	}
	ended := row
	ended.Status, ended.Ended = "completed", row.Started.Add(time.Second)
	complete = &store.WriteSet{
		Object: id, Kind: store.Instance, Expect: 1, Head: random(1300), Step: random(250),
		Leaf: store.Leaf{Body: random(600), Hash: hash()}, Fields: fields(5),
		Instance: &ended, ClosedJobs: []uint64{1},
	}
	return start, complete
}

// newID returns ids in the order of n, random at the end, like UUIDv7.
func newID(n uint64) (id store.ID) {
	rand.Read(id[:])
	binary.BigEndian.PutUint64(id[:], n)
	return id
}

func fields(n int) []store.Field {
	fields := make([]store.Field, n)
	for i := range fields {
		fields[i] = store.Field{Path: fmt.Sprintf("variable%02d", i), Sealed: true, Value: random(250)}
	}
	return fields
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func hash() (h [32]byte) {
	rand.Read(h[:])
	return h
}

// BenchmarkOneTask commits the two units of an instance, with as many
// committers at a time as there are callers in the product's benchmark, and with
// one and with many.
func BenchmarkOneTask(b *testing.B) {
	for _, d := range dialects() {
		for _, committers := range []int{1, 36, 128} {
			b.Run(fmt.Sprintf("%s/committers=%d", d.name, committers), func(b *testing.B) {
				benchmarkOneTask(b, d.open(b), committers)
			})
		}
	}
}

func benchmarkOneTask(b *testing.B, db *store.DB, committers int) {
	var n atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range committers {
		wg.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				start, complete := oneTask(uint64(i))
				for _, set := range []*store.WriteSet{start, complete} {
					if err := db.Commit(b.Context(), main, set); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "instances/s")
}
