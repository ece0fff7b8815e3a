package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

var main = store.NewScope("main")

// minimal returns the least that a step of an object writes.
func minimal(object store.ID, expect uint64) *store.WriteSet {
	return &store.WriteSet{
		Object: object, Kind: store.Instance, Expect: expect,
		Head: fmt.Appendf(nil, "head %d", expect+1), Step: fmt.Appendf(nil, "step %d", expect+1),
		Leaf: store.Leaf{Body: fmt.Appendf(nil, "leaf %d", expect+1), Hash: [32]byte{byte(expect + 1)}},
	}
}

// full returns a first step that writes a row of every sort.
func full(object store.ID) *store.WriteSet {
	at := time.Date(2026, 11, 21, 10, 0, 0, 123456000, time.UTC)
	set := minimal(object, 0)
	set.Fields = []store.Field{{Path: "$actor", Sealed: true, Value: []byte{0xf5, 0, 1}, Commitment: &[32]byte{31: 9}}, {Path: "amount", Value: []byte(`["n","1"]`)}}
	set.Instance = &store.InstanceRow{Process: "loan", Version: 3, Definition: store.ID{9}, Mode: "confidential",
		Status: "active", Incidents: 1, Started: at, Key: object}
	set.Tasks = []store.TaskRow{
		{ID: 1, Element: "decide", Process: "loan", Assignee: "ann", Groups: []string{"clerks", "heads"}, Users: []string{"ann", "bob"}, Created: at, Due: at.Add(time.Hour)},
		{ID: 2, Element: "file", Process: "loan", Created: at},
	}
	set.Jobs = []store.JobRow{
		{ID: 3, Element: "score", Process: "loan", Type: "credit-check", Retries: 3, NotBefore: at.Add(time.Minute), Created: at},
		{ID: 4, Element: "mail", Process: "loan", Type: "mail", Failed: true, Created: at},
	}
	set.Timers = []store.TimerRow{{ID: 5, Element: "late", Due: at.Add(time.Hour)}}
	set.Incidents = []store.IncidentRow{{ID: 6, Element: "mail", Process: "loan", Code: "job_failed", Job: 4, Created: at}}
	set.Tokens = []store.Token{
		{Kind: store.IdempotencyToken, Token: [32]byte{1, object[0]}, Unique: true, Print: []byte("print")},
		{Kind: store.BusinessKeyToken, Token: [32]byte{2}},
	}
	key := object
	key[15] = 0xee
	set.Keys = []store.ID{key}
	set.Resources = []store.Resource{{Hash: [32]byte{7}, Data: []byte("<bpmn/>")}}
	return set
}

// rowsOf returns what Rows must give after the set alone.
func rowsOf(set *store.WriteSet) store.Rows {
	return store.Rows{Instance: set.Instance, Tasks: set.Tasks, Jobs: set.Jobs, Timers: set.Timers, Incidents: set.Incidents}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must returns a value that came without an error.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		ok(t, err)
		return v
	}
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is\n%+v, want\n%+v", what, got, want)
	}
}

// is checks an error's kind and code ("": any).
func is(t testing.TB, what string, err error, kind fault.Kind, code string) {
	t.Helper()
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != kind || code != "" && e.Code != code {
		t.Errorf("%s: %v (%v), want %v %s", what, err, e, kind, code)
	}
}

func TestCommitWritesAllOfASet(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		cfg := d.config(t)
		db := must[*store.DB](t)(store.Open(ctx, cfg))
		object := store.ID{1}
		set := full(object)
		ok(t, db.Commit(ctx, main, set))
		checkFull(t, db, set)
		ok(t, db.Close())
		checkFull(t, openDB(t, cfg), set)
	})
}

// checkFull checks that everything reads back as full wrote it.
func checkFull(t *testing.T, db *store.DB, set *store.WriteSet) {
	t.Helper()
	ctx := t.Context()
	id := set.Object
	same(t, "Load", must[store.Loaded](t)(db.Load(ctx, main, id)),
		store.Loaded{Kind: store.Instance, Seq: 1, Head: set.Head, Leaf: set.Leaf, LeafSeq: 1})
	stored := []store.StoredField{
		{Path: "$actor", Seq: 1, Sealed: true, Value: set.Fields[0].Value},
		{Path: "amount", Seq: 1, Value: set.Fields[1].Value},
	}
	committed := slices.Clone(stored)
	committed[0].Commitment = set.Fields[0].Commitment
	same(t, "StepFields", must[[]store.StoredField](t)(db.StepFields(ctx, main, id, 1)), committed)
	same(t, "Fields", must[[]store.StoredField](t)(db.Fields(ctx, main, id,
		[]store.FieldRef{{Path: "amount", Seq: 1}, {Path: "amount", Seq: 2}, {Path: "gone", Seq: 1}, {Path: "$actor", Seq: 1}})),
		[]store.StoredField{stored[1], stored[0]})
	same(t, "Steps", must[[]store.StepRow](t)(db.Steps(ctx, main, id, 0, 9)),
		[]store.StepRow{{Seq: 1, Body: set.Step, Leaf: set.Leaf}})
	same(t, "Rows", must[store.Rows](t)(db.Rows(ctx, main, id)), rowsOf(set))
	same(t, "FindToken of a unique one", must[[]store.TokenRow](t)(db.FindToken(ctx, main, store.IdempotencyToken, set.Tokens[0].Token)),
		[]store.TokenRow{{Object: id, Seq: 1, Print: []byte("print")}})
	same(t, "FindToken", must[[]store.TokenRow](t)(db.FindToken(ctx, main, store.BusinessKeyToken, set.Tokens[1].Token)),
		[]store.TokenRow{{Object: id, Seq: 1, Print: []byte{}}})
	same(t, "Resource", must[[]byte](t)(db.Resource(ctx, main, [32]byte{7})), set.Resources[0].Data)
	same(t, "KeysInUse", must[map[store.ID]bool](t)(db.KeysInUse(ctx, main, []store.ID{{5}, id, set.Keys[0]})),
		map[store.ID]bool{id: true, set.Keys[0]: true})
}

func TestCommitReplacesRoutingRowsAndKeepsThePast(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		first := full(store.ID{1})
		ok(t, db.Commit(ctx, main, first))
		second := minimal(store.ID{1}, 1)
		second.Fields = []store.Field{{Path: "amount", Value: []byte(`["n","2"]`)}}
		row := *first.Instance
		row.Status, row.Ended, row.Incidents = "completed", row.Started.Add(time.Second), 0
		second.Instance = &row
		second.Tasks = []store.TaskRow{{ID: 1, Element: "decide", Process: "loan", Groups: []string{"clerks"}, Created: row.Started}}
		second.ClosedTasks, second.ClosedJobs = []uint64{2}, []uint64{3, 4}
		second.ClosedTimers, second.ClosedIncidents = []uint64{5, 77}, []uint64{6}
		ok(t, db.Commit(ctx, main, second))

		same(t, "Rows", must[store.Rows](t)(db.Rows(ctx, main, store.ID{1})), rowsOf(second))
		same(t, "Steps", must[[]store.StepRow](t)(db.Steps(ctx, main, store.ID{1}, 0, 9)),
			[]store.StepRow{{Seq: 1, Body: first.Step, Leaf: first.Leaf}, {Seq: 2, Body: second.Step, Leaf: second.Leaf}})
		same(t, "Steps after the first", len(must[[]store.StepRow](t)(db.Steps(ctx, main, store.ID{1}, 1, 9))), 1)
		same(t, "Steps, one", len(must[[]store.StepRow](t)(db.Steps(ctx, main, store.ID{1}, 0, 1))), 1)
		same(t, "the field's versions", must[[]store.StoredField](t)(db.Fields(ctx, main, store.ID{1},
			[]store.FieldRef{{Path: "amount", Seq: 2}, {Path: "amount", Seq: 1}})),
			[]store.StoredField{{Path: "amount", Seq: 2, Value: second.Fields[0].Value}, {Path: "amount", Seq: 1, Value: first.Fields[1].Value}})
		tasks := must[[]store.ListedTask](t)(db.Tasks(ctx, main, store.TaskFilter{Group: "heads", Limit: 9}))
		same(t, "tasks of a former group", len(tasks), 0)
	})
}

func TestCommitRefusesWholeUnits(t *testing.T) {
	taken := full(store.ID{1}).Tokens[:1]
	cases := map[string]struct {
		kind  fault.Kind
		code  string
		spoil func(*store.WriteSet)
	}{
		"an object that exists is not created": {fault.Conflict, "stale", func(w *store.WriteSet) { w.Object = store.ID{1} }},
		"an object that is missing has no seq": {fault.Conflict, "stale", func(w *store.WriteSet) { w.Expect = 4 }},
		"a set computed from a former head":    {fault.Conflict, "stale", func(w *store.WriteSet) { w.Object, w.Expect = store.ID{1}, 2 }},
		"a unique token is given once":         {fault.Conflict, "token_taken", func(w *store.WriteSet) { w.Tokens = taken }},
		"a definition's version is given once": {fault.Conflict, "version_taken", func(w *store.WriteSet) {
			w.Definition = &store.DefinitionRow{Process: "p", Version: 1, Deployed: time.Now()}
		}},
		"two instances do not share a data key": {fault.Internal, "", func(w *store.WriteSet) { w.Instance = full(store.ID{1}).Instance }},
		"a constraint of the schema is violated": {fault.Internal, "", func(w *store.WriteSet) {
			w.Instance = &store.InstanceRow{Version: 1, Status: "active", Ended: time.Now()}
		}},
		"a field comes twice":              {fault.Internal, "", func(w *store.WriteSet) { w.Fields = []store.Field{{Path: "a"}, {Path: "a"}} }},
		"a set without a leaf":             {fault.Internal, "", func(w *store.WriteSet) { w.Leaf.Body = nil }},
		"a set without an object":          {fault.Internal, "", func(w *store.WriteSet) { w.Object = store.ID{} }},
		"text with a NUL cannot be stored": {fault.Invalid, "", func(w *store.WriteSet) { w.Fields = []store.Field{{Path: "a\x00b"}} }},
		"text that is not UTF-8":           {fault.Invalid, "", func(w *store.WriteSet) { w.Fields = []store.Field{{Path: "a\xff"}} }},
		"a set of no known kind":           {fault.Internal, "", func(w *store.WriteSet) { w.Kind = "cat" }},
	}
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		ok(t, db.Commit(ctx, main, full(store.ID{1})))
		definition := minimal(store.ID{2}, 0)
		definition.Kind, definition.Definition = store.Definition, &store.DefinitionRow{Process: "p", Version: 1, Deployed: time.Now()}
		ok(t, db.Commit(ctx, main, definition))
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				neighbor, bad := full(store.ID{8}), minimal(store.ID{3}, 0)
				neighbor.Tokens = nil
				c.spoil(bad)
				is(t, "Commit", db.Commit(ctx, main, neighbor, bad), c.kind, c.code)
				for _, id := range []store.ID{{3}, {8}} {
					checkNothing(t, db, main, id)
				}
				same(t, "head of the other", must[store.Loaded](t)(db.Load(ctx, main, store.ID{1})).Seq, uint64(1))
			})
		}
	})
}

// checkNothing checks that nothing of the object is there.
func checkNothing(t *testing.T, db *store.DB, scope store.Scope, id store.ID) {
	t.Helper()
	ctx := t.Context()
	_, err := db.Load(ctx, scope, id)
	is(t, "Load", err, fault.NotFound, "")
	same(t, "Steps", len(must[[]store.StepRow](t)(db.Steps(ctx, scope, id, 0, 9))), 0)
	same(t, "StepFields", len(must[[]store.StoredField](t)(db.StepFields(ctx, scope, id, 1))), 0)
	same(t, "Rows", must[store.Rows](t)(db.Rows(ctx, scope, id)), store.Rows{})
}

func TestCommitOfNothingIsNothing(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) { ok(t, d.open(t).Commit(t.Context(), main)) })
}

func TestOfManyThatChangeOneHeadOneWins(t *testing.T) {
	const racers, rounds = 8, 10
	eachDialect(t, func(t *testing.T, d dialect) {
		db := d.open(t)
		for round := range uint64(rounds) {
			results := make([]error, racers)
			var wg sync.WaitGroup
			for i := range racers {
				wg.Go(func() {
					set := minimal(store.ID{1}, round)
					set.Head = []byte{byte(i)}
					set.Fields = []store.Field{{Path: "racer", Value: []byte{byte(i)}}}
					results[i] = db.Commit(t.Context(), main, set)
				})
			}
			wg.Wait()
			winner := -1
			for i, err := range results {
				if err != nil {
					is(t, "the loser's Commit", err, fault.Conflict, "stale")
				} else if winner >= 0 {
					t.Fatalf("round %d: %d and %d both won", round, winner, i)
				} else {
					winner = i
				}
			}
			loaded := must[store.Loaded](t)(db.Load(t.Context(), main, store.ID{1}))
			fields := must[[]store.StoredField](t)(db.StepFields(t.Context(), main, store.ID{1}, round+1))
			if winner < 0 || loaded.Seq != round+1 || !bytes.Equal(loaded.Head, []byte{byte(winner)}) || len(fields) != 1 || fields[0].Value[0] != byte(winner) {
				t.Fatalf("round %d: %d won, the head is %v and the field %v", round, winner, loaded, fields)
			}
		}
	})
}

func TestUnitsThatFailDoNotHurtTheirNeighbors(t *testing.T) {
	const units = 120
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		ok(t, db.Commit(ctx, main, full(store.ID{0xff})))
		results := make([]error, units)
		var wg sync.WaitGroup
		for i := range units {
			wg.Go(func() {
				id := store.ID{1, byte(i)}
				set := minimal(id, 0)
				set.Fields = []store.Field{{Path: "a", Value: []byte{1}}}
				switch i % 4 {
				case 1: // fails in its last statement
					set.Tokens = full(store.ID{0xff}).Tokens[:1]
				case 2: // fails in the database
					set.Tasks = []store.TaskRow{{ID: 1, Created: time.Now(), Groups: []string{"g", "g"}}}
				case 3: // fails in its first statement
					set.Expect = 9
				}
				results[i] = db.Commit(ctx, main, set)
			})
		}
		wg.Wait()
		for i, err := range results {
			id := store.ID{1, byte(i)}
			if i%4 != 0 {
				if err == nil {
					t.Errorf("unit %d was accepted", i)
				}
				checkNothing(t, db, main, id)
				continue
			}
			ok(t, err)
			same(t, "Load", must[store.Loaded](t)(db.Load(ctx, main, id)).Seq, uint64(1))
		}
	})
}

func TestCallersThatGiveUpAreToldTheTruth(t *testing.T) {
	const callers = 200
	eachDialect(t, func(t *testing.T, d dialect) {
		db := d.open(t)
		results := make([]error, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%20)*200*time.Microsecond)
				defer cancel()
				results[i] = db.Commit(ctx, main, minimal(store.ID{1, byte(i)}, 0))
			})
		}
		wg.Wait()
		// What is under way comes before what is asked for now, on SQLite; a broken
		// connection of Postgres may end later, so an unknown outcome stays unknown.
		ok(t, db.Commit(t.Context(), main, minimal(store.ID{2}, 0)))
		for i, err := range results {
			_, loading := db.Load(t.Context(), main, store.ID{1, byte(i)})
			var e *fault.Error
			switch {
			case err == nil && loading != nil:
				t.Errorf("caller %d was told done, and there is nothing: %v", i, loading)
			case errors.As(err, &e) && e.Code == "not_applied" && loading == nil:
				t.Errorf("caller %d was told nothing was written, and it is there", i)
			case err != nil && (e == nil || e.Kind != fault.Unavailable || e.Code != "not_applied" && e.Code != "outcome_unknown"):
				t.Errorf("caller %d: %v", i, err)
			}
		}
	})
}

func TestTenantsSeeNothingOfEachOther(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		set := full(store.ID{1})
		ok(t, db.Commit(ctx, main, set))
		principal := minimal(store.ID{9}, 0)
		principal.Kind, principal.Credentials = store.Principal, [][32]byte{{1}}
		ok(t, db.Commit(ctx, main, principal))
		other := store.NewScope("other")
		checkNothing(t, db, other, store.ID{1})
		same(t, "FindToken", len(must[[]store.TokenRow](t)(db.FindToken(ctx, other, store.BusinessKeyToken, set.Tokens[1].Token))), 0)
		same(t, "Instances", len(must[[]store.ListedInstance](t)(db.Instances(ctx, other, store.InstanceFilter{Limit: 9}))), 0)
		same(t, "Tasks", len(must[[]store.ListedTask](t)(db.Tasks(ctx, other, store.TaskFilter{Limit: 9}))), 0)
		same(t, "Incidents", len(must[[]store.ListedIncident](t)(db.Incidents(ctx, other, store.IncidentFilter{Limit: 9}))), 0)
		same(t, "KeysInUse", len(must[map[store.ID]bool](t)(db.KeysInUse(ctx, other, []store.ID{{1}, set.Keys[0]}))), 0)
		_, err := db.Resource(ctx, other, [32]byte{7})
		is(t, "Resource", err, fault.NotFound, "")
		_, err = db.Credential(ctx, other, [32]byte{1})
		is(t, "Credential", err, fault.NotFound, "")
		same(t, "Principals", len(must[[]store.ID](t)(db.Principals(ctx, other, store.ID{}, 0))), 0)
		is(t, "Commit to the other's object", db.Commit(ctx, other, minimal(store.ID{1}, 1)), fault.Conflict, "stale")

		// The same ids, tokens and hashes are free for the other tenant.
		ok(t, db.Commit(ctx, other, full(store.ID{1})))
		same(t, "the first one's head", must[store.Loaded](t)(db.Load(ctx, main, store.ID{1})).Seq, uint64(1))
	})
}

func TestCredentialsLeadToTheirObjects(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx, db := t.Context(), d.open(t)
		a, b := [32]byte{1}, [32]byte{2}
		for i, kind := range []store.Kind{store.Principal, store.Group, store.Tenant, store.Principal} {
			set := minimal(store.ID{byte(i + 1)}, 0)
			if set.Kind = kind; i == 0 {
				set.Credentials = [][32]byte{a, b}
			}
			ok(t, db.Commit(ctx, main, set))
		}
		one, four := store.ID{1}, store.ID{4}
		same(t, "Credential", must[store.Credential](t)(db.Credential(ctx, main, a)), store.Credential{Token: a, Object: one})
		same(t, "CredentialsOf", must[[]store.Credential](t)(db.CredentialsOf(ctx, main, one)),
			[]store.Credential{{Token: a, Object: one}, {Token: b, Object: one}})
		same(t, "Principals", must[[]store.ID](t)(db.Principals(ctx, main, store.ID{}, 0)), []store.ID{one, four})
		same(t, "Principals, a page", must[[]store.ID](t)(db.Principals(ctx, main, one, 1)), []store.ID{four})
		same(t, "Groups", must[[]store.ID](t)(db.Groups(ctx, main, store.ID{}, 5)), []store.ID{{2}})

		at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
		ok(t, db.CredentialsUsed(ctx, main, map[[32]byte]time.Time{a: at, {3}: at}))
		same(t, "used", must[store.Credential](t)(db.Credential(ctx, main, a)).Used, at)

		taken := minimal(four, 1)
		taken.Kind, taken.Credentials = store.Principal, [][32]byte{b}
		if err := db.Commit(ctx, main, taken); err == nil {
			t.Error("a credential leads to two objects")
		}
		others := minimal(four, 1)
		others.Kind, others.Ended = store.Principal, [][32]byte{a}
		ok(t, db.Commit(ctx, main, others))
		same(t, "ended by another", len(must[[]store.Credential](t)(db.CredentialsOf(ctx, main, one))), 2)
		next := minimal(one, 1)
		next.Kind, next.Credentials, next.Ended = store.Principal, [][32]byte{{4}}, [][32]byte{a, b}
		ok(t, db.Commit(ctx, main, next))
		same(t, "after the change", must[[]store.Credential](t)(db.CredentialsOf(ctx, main, one)), []store.Credential{{Token: [32]byte{4}, Object: one}})
	})
}
