package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/testenv"
)

// outages makes reads of a database fail. Its function is a node's Fault.
type outages struct {
	mu     sync.Mutex      // guards what follows
	seen   map[string]bool // queries since begin
	broken string          // the query that fails, each time
	units  int             // from this one on none is made durable; 0: all are
	all    bool            // all queries fail, and no unit is made durable
	asked  int             // since begin
	at     int             // when then is called; 0: never
	then   func()
	hit    bool
	only   any // if not nil, what is asked without this key in its context counts for nothing
}

var errAway = errors.New("the database is away")

func (o *outages) fault(ctx context.Context, query string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.only != nil && ctx.Value(o.only) == nil {
		return nil
	}
	o.asked++
	o.seen[query] = true
	if o.asked == o.at {
		o.hit = true
		o.then()
	}
	switch {
	case o.all:
	case query == "" && o.units > 0:
		if o.units--; o.units > 0 {
			return nil
		}
		o.units = 1 // and none after it
	case query == "" || query != o.broken:
		return nil
	}
	o.hit = true
	return errAway
}

// begin has one query fail, "" none, and something happen before the at-th.
func (o *outages) begin(broken string, at int, then func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen, o.asked, o.hit = map[string]bool{}, 0, false
	o.broken, o.at, o.then, o.units, o.all = broken, at, then, 0, false
}

// stop has no unit made durable from the n-th on.
func (o *outages) stop(n int) {
	o.begin("", 0, nil)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.units = n
}

// away has the database away until begin.
func (o *outages) away() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = true
}

// since returns which queries there were since begin, how many, and whether something
// failed or happened.
func (o *outages) since() (queries []string, n int, hit bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Sorted(maps.Keys(o.seen)), o.asked, o.hit
}

// interruptible is a node on data of its own, whose database and key service can be away.
type interruptible struct {
	*node.Node
	outages outages
	keyFile string

	mu   sync.Mutex    // guards back
	back time.Duration // so far is the clock set back
}

func newInterruptible(t *testing.T, w *world, spoil string) *interruptible {
	t.Helper()
	config := w.config
	config.Data = w.copy(t, config.Data)
	if spoil != "" {
		db := openRaw(t, filepath.Join(config.Data, "data.db"))
		_, err := db.Exec(spoil)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	n := &interruptible{keyFile: filepath.Join(t.TempDir(), "key")}
	writeFile(t, n.keyFile, readFile(t, config.KeyFile))
	n.outages.begin("", 0, nil)
	config.KeyFile, config.Fault, config.Now = n.keyFile, n.outages.fault, n.now
	var err error
	if n.Node, err = node.Open(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func (n *interruptible) now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Now().Add(-n.back)
}

// forget has all keys asked for anew: none is remembered when the clock is set back.
func (n *interruptible) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.back += time.Minute
}

// keys takes the key service away or brings it back.
func (n *interruptible) keys(away bool) {
	from, to := n.keyFile, n.keyFile+".away"
	if !away {
		from, to = to, from
	}
	os.Rename(from, to) // it may be there already
	n.forget()
}

// TestAnOutageAmidACheckIsNoFinding has each query of each part of a check fail for a
// while, and the key service go away before many of them: the part is Unavailable, finds
// nothing and stays where it was, and tried again it finds what it finds without.
func TestAnOutageAmidACheckIsNoFinding(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("each part of a check, for each of its queries")
	}
	w := theWorld(t)
	const spoil = `UPDATE tasks SET assignee = 'mallory'; DELETE FROM log_terms; DELETE FROM credentials; DELETE FROM person_keys;
		DELETE FROM unique_tokens WHERE token = (SELECT max(token) FROM unique_tokens)`
	for _, test := range []struct {
		name, spoil string
		o           engine.CheckOptions
	}{
		{"honest", "", engine.CheckOptions{Part: 200, Files: engine.FilesWhole}},
		{"changed", spoil, engine.CheckOptions{Part: 200, Files: engine.FilesThere}},
		{"without keys", "", engine.CheckOptions{Part: 200, WithoutKeys: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			newInterruptible(t, w, test.spoil).interrupted(t, test.o, test.spoil != "")
		})
	}
}

func (n *interruptible) interrupted(t *testing.T, o engine.CheckOptions, spoiled bool) {
	type checking struct{} // and not what the server asks by itself
	n.outages.only = checking{}
	ctx := context.WithValue(t.Context(), checking{}, true)
	check, all := n.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, o), 0
	for !check.Done() {
		before := check.State.Clone()
		n.outages.begin("", 0, nil)
		n.forget()
		want, err := check.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if all += len(want); len(want) > 0 && !spoiled {
			t.Fatalf("nobody changed anything: %+v", want)
		}
		after := check.State.Clone()
		queries, asked, _ := n.outages.since()
		try := func(what string) {
			found, err := check.Next(ctx)
			_, _, hit := n.outages.since()
			n.outages.begin("", 0, nil)
			switch {
			case err == nil && !sameFindings(found, want):
				t.Errorf("phase %s, %s: found %+v, want %+v", before.Phase, what, found, want)
			case err != nil && (!fault.Is(err, fault.Unavailable) || len(found) > 0 || !sameState(t, check.State, before)):
				t.Errorf("phase %s, %s: %v, found %+v, at %+v", before.Phase, what, err, found, check.State)
			case hit && err == nil && what[0] == 'q':
				t.Errorf("phase %s: goes on though it could not read: %s", before.Phase, what)
			}
		}
		for _, query := range queries {
			check.State = before.Clone()
			n.forget()
			n.outages.begin(query, 0, nil)
			try("query " + query)
		}
		for at := 1; at <= asked; at += 1 + asked/10 {
			check.State = before.Clone()
			n.forget()
			n.outages.begin("", at, func() { n.keys(true) })
			try("keys away")
			n.keys(false)
		}
		check.State = after
	}
	if spoiled && all < 3 {
		t.Errorf("%d findings, want some", all)
	}
}

func sameFindings(a, b []engine.Finding) bool {
	names := func(all []engine.Finding) (names []string) {
		for _, f := range all {
			names = append(names, f.Name())
		}
		slices.Sort(names)
		return names
	}
	return slices.Equal(names(a), names(b))
}

func sameState(t *testing.T, a, b engine.CheckState) bool {
	t.Helper()
	var texts [2]string
	for i, s := range []engine.CheckState{a, b} {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	return texts[0] == texts[1]
}

// TestAnOutageKeepsTheServersOwnCheckWhereItWas takes something away for hours in the
// middle of the server's own check, which has found something by then. It goes on where it
// was, finds nothing else, and what it found stands all the while.
func TestAnOutageKeepsTheServersOwnCheckWhereItWas(t *testing.T) {
	if testing.Short() {
		t.Skip("hours in which the server checks itself")
	}
	for _, test := range []struct {
		name        string
		long        time.Duration
		away, again func(*outages, *testenv.Env) error
	}{
		{"the database", 10 * time.Minute, func(o *outages, _ *testenv.Env) error { o.away(); return nil }, nil},
		{"room on the disk", 10 * time.Minute, func(o *outages, _ *testenv.Env) error { o.stop(1); return nil }, nil},
		{"the key service", 62 * time.Minute, // keys are held for an hour
			func(_ *outages, env *testenv.Env) error {
				return os.Rename(env.Config.KeyFile, env.Config.KeyFile+".away")
			},
			func(_ *outages, env *testenv.Env) error {
				return os.Rename(env.Config.KeyFile+".away", env.Config.KeyFile)
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var o outages
				o.begin("", 0, nil)
				env := testenv.New(t, func(c *node.Config) { c.CheckRate, c.Fault = 1, o.fault })
				env.Deploy("all.bpmn", everything)
				for i := range 8 {
					if _, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "everything", Variables: []byte(`{"note": "a"}`)}, fmt.Sprint("key-", i)); err != nil {
						t.Fatal(err)
					}
				}
				execRaw(t, env, `DELETE FROM unique_tokens WHERE token = (SELECT max(token) FROM unique_tokens)`)
				status := func() api.Integrity { return env.Node.CheckStatus(identity.MainTenant) }
				for now := status(); now.Current == nil || len(now.Current.Findings) == 0; now = status() {
					time.Sleep(time.Second)
				}
				if err := test.away(&o, env); err != nil {
					t.Fatal(err)
				}
				time.Sleep(test.long)
				before := status()
				if n := findings(t, env); n != 1 || before.Current == nil {
					t.Fatalf("meanwhile %v findings, and under way is %+v", n, before.Current)
				}
				o.begin("", 0, nil)
				if test.again != nil {
					if err := test.again(&o, env); err != nil {
						t.Fatal(err)
					}
				}
				over := func(began time.Time) bool { // a check that began then, or later
					now := status()
					return now.Last != nil && !now.Last.Began.Before(began)
				}
				for !over(before.Current.Began) {
					time.Sleep(time.Second)
				}
				if now := status(); !now.Last.Began.Equal(before.Current.Began) {
					t.Errorf("the check that was cut short began at %v, and the next one that is over at %v", before.Current.Began, now.Last.Began)
				}
				for began := time.Now(); !over(began); {
					time.Sleep(time.Second)
				}
				if n, told := findings(t, env), alarms(t, env); n != 1 || told != 1 {
					t.Errorf("%v findings and %d alarms, want 1 and 1", n, told)
				}
			})
		})
	}
}

// TestALostConnectionIsNoFinding cuts all connections to Postgres before each part of a
// check, and in the middle of what it reads of custodies.
func TestALostConnectionIsNoFinding(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("Postgres, and new connections for each part of a check")
	}
	dsn := pgtest.Database(t)
	env := testenv.New(t, func(c *node.Config) { c.DSN = dsn })
	deployLoan(t, env)
	env.Start("loan", example(t, "application.json"))
	for _, person := range []string{"p-1", "p-2", "C-10423"} {
		if _, err := env.Engine.PlaceHold(t.Context(), env.Ann, api.HoldRequest{Kind: "subject", ID: person}, ""); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	cuts, lost := 0, 0
	cut := func() {
		cuts++
		if _, err := conn.Exec(t.Context(), `
			SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name IN ('underseal_app', 'underseal_keyring')`); err != nil {
			t.Error(err)
		}
	}
	check := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{Part: 10})
	for !check.Done() {
		before, reads := check.State.Clone(), 0
		engine.WhileReading(env.Engine, func() {
			if reads++; reads == 1 {
				cut()
			}
		})
		cut()
		for {
			found, err := check.Next(t.Context())
			if len(found) > 0 || err != nil && (!fault.Is(err, fault.Unavailable) || !sameState(t, check.State, before)) {
				t.Fatalf("phase %s: found %+v, %v", before.Phase, found, err)
			}
			if err == nil {
				break
			}
			lost++
		}
	}
	if cuts < 5 || lost < 5 {
		t.Errorf("%d cuts, %d parts lost a connection, want some", cuts, lost)
	}
}
