package store_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
)

// brokenWire is a connection that breaks at its nth write or read, counted over
// all connections of a database while armed.
type brokenWire struct {
	armed, seen, at atomic.Int64
	afterWrite      bool // the write goes out, the answer does not come back
}

func (b *brokenWire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	return &wire{Conn: conn, broken: b}, err
}

type wire struct {
	net.Conn
	broken *brokenWire
	deaf   atomic.Bool
}

func (w *wire) Write(p []byte) (int, error) {
	if w.broken.armed.Load() == 0 || w.broken.seen.Add(1) != w.broken.at.Load() {
		return w.Conn.Write(p)
	}
	if !w.broken.afterWrite {
		w.Conn.Close()
		return 0, net.ErrClosed
	}
	w.deaf.Store(true)
	return w.Conn.Write(p)
}

// Read of a connection that lost its reply waits for the end of the server's
// answer, which is a ReadyForQuery message, and gives nothing of it away.
func (w *wire) Read(p []byte) (int, error) {
	if !w.deaf.Load() {
		return w.Conn.Read(p)
	}
	answer := make([]byte, 1<<16)
	for {
		n, err := w.Conn.Read(answer)
		if err != nil {
			return 0, err
		}
		if n >= 6 && bytes.Equal(answer[n-6:n-1], []byte{'Z', 0, 0, 0, 5}) {
			return 0, io.ErrUnexpectedEOF
		}
	}
}

// TestAReplyThatIsLost breaks the wire before and after each thing that is sent.
// What the caller is told must fit what a later reader finds.
func TestAReplyThatIsLost(t *testing.T) {
	t.Parallel()
	for name, afterWrite := range map[string]bool{"the request is lost": false, "the reply is lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &brokenWire{afterWrite: afterWrite}
			db := openDB(t, store.Config{DSN: pgtest.Database(t), Connections: 2}.WithDial(b.dial))
			outcomes := map[string]int{}
			for n := int64(1); n < 6; n++ {
				id := store.ID{1, byte(n)}
				b.seen.Store(0)
				b.at.Store(n)
				b.armed.Store(1)
				set := full(id)
				set.Tokens[0].Token[5] = byte(n)
				err := db.Commit(t.Context(), main, set)
				b.armed.Store(0)
				_, loading := settled(t, db, id)
				switch {
				case err == nil:
					outcomes["done"]++
					ok(t, loading)
				case fault.Is(err, fault.Unavailable) && strings.Contains(err.Error(), "nothing was written"):
					outcomes["not applied"]++
					is(t, "Load after "+err.Error(), loading, fault.NotFound, "")
				default:
					is(t, "Commit", err, fault.Unavailable, "outcome_unknown")
					if loading == nil {
						outcomes["written, but not told"]++
						rows := must[store.Rows](t)(db.Rows(t.Context(), main, id))
						same(t, "Rows", rows, rowsOf(set))
					} else {
						outcomes["not written, and not told"]++
						checkNothing(t, db, main, id)
					}
				}
			}
			t.Log(outcomes)
			if afterWrite && outcomes["written, but not told"] == 0 {
				t.Error("no reply of a unit that was written got lost")
			}
			ok(t, db.Err())
		})
	}
}

// settled loads an object once the server is done with a broken connection: it
// asks for a lock that the unit shares until its end.
func settled(t *testing.T, db *store.DB, id store.ID) (store.Loaded, error) {
	t.Helper()
	ok(t, db.Settle(t.Context()))
	return db.Load(t.Context(), main, id)
}

// TestAServerThatWasReplacedCannotWrite takes the lease away behind its back,
// as after a pause in which another server began, or as an administrator can.
func TestAServerThatWasReplacedCannotWrite(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"another's":    `UPDATE underseal.lease SET epoch = epoch + 1, holder = 'process 1 on elsewhere'`,
		"an older one": `UPDATE underseal.lease SET epoch = epoch - 1`,
		"none":         `DELETE FROM underseal.lease`,
	} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			db := openDB(t, store.Config{DSN: dsn})
			ok(t, db.Commit(t.Context(), main, minimal(store.ID{1}, 0)))
			admin(t, dsn, change)
			is(t, "Commit", db.Commit(t.Context(), main, minimal(store.ID{1}, 1)), fault.Unavailable, "database_failed")
			failed(t, db)
			if err := db.Err(); !strings.Contains(err.Error(), "another server has taken over") {
				t.Errorf("Err is %v", err)
			}
		})
	}
}

// TestALeaseThatIsGoneIsNamed deletes the row that every start raises.
func TestALeaseThatIsGoneIsNamed(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	ok(t, must[*store.DB](t)(store.Open(t.Context(), store.Config{DSN: dsn})).Close())
	admin(t, dsn, `DELETE FROM underseal.lease`)
	_, err := store.Open(t.Context(), store.Config{DSN: dsn})
	is(t, "Open", err, fault.Integrity, "lease_missing")
}

// TestALostLockIsTakenAgain ends the connection that holds the lock, as a
// restart of Postgres does.
func TestALostLockIsTakenAgain(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db := openDB(t, store.Config{DSN: dsn})
	ok(t, db.CheckLease(t.Context()))
	admin(t, dsn, `SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	ok(t, db.CheckLease(t.Context()))
	_, err := store.Open(t.Context(), store.Config{DSN: dsn})
	is(t, "Open of a second server", err, fault.Conflict, "locked")
	ok(t, db.Commit(t.Context(), main, minimal(store.ID{1}, 0)))
	admin(t, dsn, `UPDATE underseal.lease SET epoch = epoch + 1`)
	ok(t, db.CheckLease(t.Context()))
	admin(t, dsn, `SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	is(t, "CheckLease after another server", db.CheckLease(t.Context()), fault.Conflict, "locked")
}

// TestStepsThatWaitShareATransaction keeps Postgres busy until units have gathered.
func TestStepsThatWaitShareATransaction(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db := openDB(t, store.Config{DSN: dsn})
	const units = 40
	errs := gathered(t, dsn, db, units, func(int, *store.WriteSet) {})
	for i, err := range errs {
		ok(t, err)
		set := minimal(store.ID{2, byte(i)}, 0)
		same(t, "Load", must[store.Loaded](t)(db.Load(t.Context(), main, set.Object)).Leaf, set.Leaf)
		same(t, "StepFields", len(must[[]store.StoredField](t)(db.StepFields(t.Context(), main, set.Object, 1))), i%14)
	}
	conn := must[*pgx.Conn](t)(pgx.Connect(t.Context(), dsn))
	defer conn.Close(t.Context())
	var transactions int
	ok(t, conn.QueryRow(t.Context(), `SELECT count(DISTINCT xid) FROM underseal.leaves WHERE get_byte(object, 0) = 2`).Scan(&transactions))
	if transactions != 1 {
		t.Errorf("%d units that waited took %d transactions", units, transactions)
	}
}

// TestAUnitThatIsRefusedTakesNobodyAlong has some units refused, for each reason,
// of a group that is otherwise accepted.
func TestAUnitThatIsRefusedTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	taken := full(store.ID{0xff}).Tokens[:1]
	for name, c := range map[string]struct {
		code   string
		change func(*store.WriteSet)
	}{
		"stale":         {"stale", func(w *store.WriteSet) { w.Expect = 9 }},
		"a token twice": {"token_taken", func(w *store.WriteSet) { w.Tokens = taken }},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			db := openDB(t, store.Config{DSN: dsn})
			ok(t, db.Commit(t.Context(), main, full(store.ID{0xff})))
			errs := gathered(t, dsn, db, 20, func(i int, w *store.WriteSet) {
				if i == 7 {
					c.change(w)
				}
			})
			for i, err := range errs {
				if i == 7 {
					is(t, "Commit", err, fault.Conflict, c.code)
					checkNothing(t, db, main, store.ID{2, 7})
					continue
				}
				ok(t, err)
				same(t, "Load", must[store.Loaded](t)(db.Load(t.Context(), main, store.ID{2, byte(i)})).Seq, uint64(1))
			}
		})
	}
}

// TestStepsOfOneObjectDoNotShareATransaction has a step close what the one before
// it opens, while both wait: within a transaction rows are added last.
func TestStepsOfOneObjectDoNotShareATransaction(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db := openDB(t, store.Config{DSN: dsn})
	object := store.ID{2}
	ok(t, db.Commit(t.Context(), main, minimal(object, 0)))
	opens, closes := minimal(object, 1), minimal(object, 2)
	opens.Jobs = full(object).Jobs[:1]
	closes.ClosedJobs = []uint64{opens.Jobs[0].ID}
	release := hold(t, dsn, db)
	var wg sync.WaitGroup
	for i, set := range []*store.WriteSet{opens, closes} {
		wg.Go(func() {
			if err := db.Commit(t.Context(), main, set); err != nil {
				t.Error(err)
			}
		})
		db.AwaitGathered(i + 1)
	}
	release()
	wg.Wait()
	if jobs := must[store.Rows](t)(db.Rows(t.Context(), main, object)).Jobs; len(jobs) > 0 {
		t.Errorf("a job that was closed is still there: %v", jobs)
	}
}

// TestAUnitThatWaitsCanBeWithdrawn has a caller go while Postgres is busy.
func TestAUnitThatWaitsCanBeWithdrawn(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db := openDB(t, store.Config{DSN: dsn})
	release := hold(t, dsn, db)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- db.Commit(ctx, main, minimal(store.ID{2}, 0)) }()
	db.AwaitGathered(1)
	cancel()
	is(t, "Commit", <-left, fault.Unavailable, "not_applied")
	release()
	ok(t, db.Commit(t.Context(), main, minimal(store.ID{2}, 0)))
}

// gathered commits n sets that wait together, and returns their errors.
func gathered(t *testing.T, dsn string, db *store.DB, n int, change func(int, *store.WriteSet)) []error {
	t.Helper()
	release := hold(t, dsn, db)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		set := minimal(store.ID{2, byte(i)}, 0)
		for f := range i % 14 {
			set.Fields = append(set.Fields, store.Field{Path: string(rune('a' + f)), Value: []byte{1}})
		}
		change(i, set)
		wg.Go(func() { errs[i] = db.Commit(t.Context(), main, set) })
	}
	db.AwaitGathered(n)
	release()
	wg.Wait()
	return errs
}

// hold keeps all who commit waiting until the function that it returns is called.
func hold(t *testing.T, dsn string, db *store.DB) (release func()) {
	t.Helper()
	conn := must[*pgx.Conn](t)(pgx.Connect(t.Context(), dsn))
	_, err := conn.Exec(t.Context(), `BEGIN; LOCK TABLE underseal.heads IN SHARE MODE`)
	ok(t, err)
	var wg sync.WaitGroup
	for i := range store.GroupWriters {
		wg.Go(func() {
			if err := db.Commit(t.Context(), main, minimal(store.ID{3, byte(i)}, 0)); err != nil {
				t.Error(err)
			}
		})
		db.AwaitWriters(i + 1)
	}
	return func() {
		ok(t, conn.Close(t.Context())) // which ends its transaction
		wg.Wait()
	}
}

// TestRolesSeeWhatTheyNeed asks the database directly, as the roles of the
// product's connections.
func TestRolesSeeWhatTheyNeed(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db := openDB(t, store.Config{DSN: dsn})
	ok(t, db.Commit(t.Context(), main, full(store.ID{1})))
	ok(t, db.Commit(t.Context(), store.NewScope("other"), full(store.ID{2})))
	for name, c := range map[string]struct {
		role, text string
		want       int64 // -1: permission denied
	}{
		"no tenant sees nothing":                {"underseal_app", `SELECT count(*) FROM heads`, 0},
		"a tenant sees its own":                 {"underseal_app", `SELECT count(*) FROM heads, set_config('app.tenant', 'main', false)`, 0},
		"a tenant's own, once set":              {"underseal_app", `SET app.tenant = 'main'; SELECT count(*) FROM heads`, 1},
		"not the other's":                       {"underseal_app", `SET app.tenant = 'main'; SELECT count(*) FROM steps WHERE tenant = 'other'`, 0},
		"not writing the other's":               {"underseal_app", `SET app.tenant = 'main'; INSERT INTO steps VALUES ('other', '\x00000000000000000000000000000009', 1, '')`, -1},
		"not changing the other's":              {"underseal_app", `SET app.tenant = 'main'; WITH c AS (UPDATE heads SET seq = 9 WHERE tenant = 'other' RETURNING 1) SELECT count(*) FROM c`, 0},
		"not rewriting steps":                   {"underseal_app", `SET app.tenant = 'main'; UPDATE steps SET body = ''`, -1},
		"not rewriting fields":                  {"underseal_app", `SET app.tenant = 'main'; DELETE FROM fields`, -1},
		"not rewriting leaves":                  {"underseal_app", `SET app.tenant = 'main'; DELETE FROM leaves`, -1},
		"not deleting heads":                    {"underseal_app", `SET app.tenant = 'main'; DELETE FROM heads`, -1},
		"not taking the lease":                  {"underseal_app", `UPDATE lease SET epoch = 9`, -1},
		"not reading keys":                      {"underseal_app", `SELECT count(*) FROM underseal_keys.data_keys`, -1},
		"the scheduler sees what waits":         {"underseal_scan", `SELECT count(id) FROM jobs`, 4},
		"the scheduler sees no heads":           {"underseal_scan", `SELECT count(*) FROM heads`, -1},
		"the scheduler sees no fields":          {"underseal_scan", `SELECT count(*) FROM fields`, -1},
		"the scheduler changes nothing":         {"underseal_scan", `DELETE FROM jobs`, -1},
		"the keyring sees no data":              {"underseal_keyring", `SELECT count(*) FROM underseal.heads`, -1},
		"the keyring does not change schemas":   {"underseal_keyring", `DROP TABLE underseal_keys.data_keys`, -1},
		"the server does not change the schema": {"underseal_app", `DROP TABLE heads`, -1},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := asRole(t, dsn, c.role, c.text)
			if c.want >= 0 && err != nil || got != c.want {
				t.Errorf("%s: %d, %v, want %d", c.text, got, err, c.want)
			}
		})
	}
}

// asRole runs statements as a role and returns the last one's number, or -1 when
// that was forbidden.
func asRole(t *testing.T, dsn, role, text string) (int64, error) {
	t.Helper()
	conn := must[*pgx.Conn](t)(pgx.Connect(t.Context(), dsn))
	defer conn.Close(t.Context())
	_, err := conn.Exec(t.Context(), `SET search_path = underseal; SET ROLE `+role)
	ok(t, err)
	parts := strings.Split(text, "; ")
	for _, p := range parts[:len(parts)-1] {
		_, err := conn.Exec(t.Context(), p)
		ok(t, err)
	}
	var n int64
	err = conn.QueryRow(t.Context(), parts[len(parts)-1]).Scan(&n)
	if err != nil && (strings.Contains(err.Error(), "42501") || strings.Contains(err.Error(), "must be owner")) {
		return -1, err
	}
	return n, err
}

func admin(t *testing.T, dsn, text string) {
	t.Helper()
	conn := must[*pgx.Conn](t)(pgx.Connect(t.Context(), dsn))
	defer conn.Close(t.Context())
	_, err := conn.Exec(t.Context(), text)
	ok(t, err)
}
