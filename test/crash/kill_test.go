//go:build unix

package crash_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/pgtest"
)

// rowsEvery is how many kills apart the rows are read behind the servers' back.
const rowsEvery = 15

func TestServerKilledOnSQLiteLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t, "")
	killLoop(t, s, 155, func(running bool) database {
		if running {
			return openSQLite(t, s.path("data"))
		}
		return openSQLite(t, copySQLite(t, s.path("data")))
	})
}

func TestServerKilledOnPostgresLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	killLoop(t, newServer(t, dsn), 62, func(bool) database { return openPostgres(t, dsn) })
}

// killLoop kills a server under load, starts the next on the same data, checks,
// and so on; in the end everything that was started must be done.
func killLoop(t *testing.T, s *server, kills int, open func(stopped bool) database) {
	rng := newRand(t)
	s.start()
	l := startLoad(t, s)
	k := &killer{t: t, server: s, load: l, rng: rng}
	for i := range kills {
		k.kill(i)
		if i%rowsEvery == rowsEvery-1 {
			k.checkRows(open(false))
		}
		k.restart()
	}
	l.starting.Store(false)
	k.drain()
	l.end()
	k.finish()
	s.stop()

	db := open(true)
	defer db.close()
	if err := db.empty(s.ctx); err != nil {
		t.Error(err)
	}
	k.checkRows(db)
	k.report(kills)
}

// A killer kills one server again and again, and checks what is left.
type killer struct {
	t       *testing.T
	server  *server
	load    *load
	rng     *rand.Rand
	checked int // acknowledgments that were found after a crash
	early   int // kills of a server that was still starting
}

// kill waits for some acknowledgments and for a moment, and kills.
func (k *killer) kill(i int) {
	k.t.Helper()
	if err := k.load.awaitAcks(k.load.ctx, 1+k.rng.IntN(50)); err != nil {
		k.t.Fatalf("before kill %d: %v", i+1, err)
	}
	k.moment(3 * time.Millisecond)
	k.server.kill()
}

// moment lets up to most pass.
func (k *killer) moment(most time.Duration) {
	select {
	case <-time.After(time.Duration(k.rng.Int64N(int64(most)))):
	case <-k.load.ctx.Done():
	}
}

// restart starts the next server, sometimes after others that are killed while
// they start, and checks what has been acknowledged since the last check.
func (k *killer) restart() {
	k.t.Helper()
	var options []string
	if k.rng.IntN(3) == 0 { // read everything from the database each time
		options = []string{"--hot-instances", "2"}
	}
	for k.rng.IntN(5) == 0 {
		k.server.launch(options...)
		k.moment(200 * time.Millisecond)
		k.server.kill()
		k.early++
	}
	k.server.start(options...)
	acks := k.load.acknowledged()[k.checked:]
	if err := checkPresent(k.load.ctx, k.load.client, acks); err != nil {
		k.t.Fatal(k.cause(err))
	}
	if err := checkRepeats(k.load.ctx, k.sample(acks, 4)); err != nil {
		k.t.Fatal(k.cause(err))
	}
	k.checked += len(acks)
}

// cause prefers what ended the load to what came of that.
func (k *killer) cause(err error) error {
	if own := k.load.err(); own != nil {
		return own
	}
	return err
}

// sample returns up to n of the acknowledgments.
func (k *killer) sample(acks []ack, n int) []ack {
	var some []ack
	for range min(n, len(acks)) {
		some = append(some, acks[k.rng.IntN(len(acks))])
	}
	return some
}

// drain waits until no instance is active.
func (k *killer) drain() {
	k.t.Helper()
	for {
		active, err := k.load.client.Instances(k.load.ctx, api.InstanceFilter{Process: "crash", Status: "active"}, api.Page{Limit: 10})
		if err != nil {
			k.t.Fatalf("waiting for the end of all instances: %v", k.cause(err))
		}
		if len(active.Items) == 0 {
			return
		}
		k.moment(100 * time.Millisecond)
	}
}

// finish checks everything that was acknowledged, from the first on.
func (k *killer) finish() {
	k.t.Helper()
	if err := k.load.err(); err != nil {
		k.t.Fatal(err)
	}
	acks := k.load.acknowledged()
	if len(acks) == 0 {
		k.t.Fatal("nothing was acknowledged, so nothing was checked")
	}
	ctx := k.server.ctx
	if err := checkOnce(acks); err != nil {
		k.t.Error(err)
	}
	if err := checkFinished(ctx, k.load.client, acks); err != nil {
		k.t.Error(err)
	}
	if err := checkRepeats(ctx, k.sample(acks, 200)); err != nil {
		k.t.Error(err)
	}
}

// checkRows reads the rows behind the server's back.
func (k *killer) checkRows(db database) {
	k.t.Helper()
	defer db.close()
	ctx, cancel := context.WithCancel(k.server.ctx)
	defer cancel()
	instances, steps, err := db.check(ctx)
	if err != nil {
		k.t.Fatal(err)
	}
	if instances == 0 || steps == 0 {
		k.t.Fatalf("%d instances and %d steps were checked", instances, steps)
	}
	k.t.Logf("rows agree: %d instances, %d steps", instances, steps)
}

func (k *killer) report(kills int) {
	doubts := k.load.doubts.Load()
	if k.checked == 0 || kills > 50 && doubts == 0 { // a few kills may all come between requests
		k.t.Errorf("%d acknowledgments were checked after a crash, %d requests were cut off by one", k.checked, doubts)
	}
	k.t.Logf("%d kills under load, %d while starting; %d acknowledgments, %d checked after the next start; %d tries unanswered; lost races: %v",
		kills, k.early, len(k.load.acknowledged()), k.checked, doubts, k.load.refused)
}
