package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
)

// finds says what a filter has to find, by what entries tell.
func finds(f api.AuditFilter, x api.AuditEntry) bool {
	from, _ := time.Parse(time.RFC3339Nano, f.From)
	to, err := time.Parse(time.RFC3339Nano, f.To)
	object := f.Object == "" || x.Object == f.Object || slices.ContainsFunc(x.Shown, func(s api.AuditShown) bool { return s.Object == f.Object })
	return !x.At.Before(from) && (err != nil || x.At.Before(to)) &&
		(f.Kind == "" || x.Kind == f.Kind || strings.HasSuffix(f.Kind, ".") && strings.HasPrefix(x.Kind, f.Kind)) &&
		(f.Principal == "" || x.Principal == f.Principal) && (f.Address == "" || x.Address == f.Address) &&
		(f.Process == "" || x.Process == f.Process) && (f.Result == "" || x.Result == f.Result) && object
}

// sequenced waits until everything that was done has its place in the log.
func sequenced(t *testing.T, env *testenv.Env) {
	t.Helper()
	if err := engine.Sequence(t.Context(), env.Engine, env.Ann); err != nil {
		t.Fatal(err)
	}
}

// placeOf returns the number of an entry in its log, of which there is one.
func placeOf(t *testing.T, x api.AuditEntry) int {
	t.Helper()
	_, number, _ := strings.Cut(x.Entry, "/")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func names(all []api.AuditEntry) []string {
	list := make([]string, len(all))
	for i, x := range all {
		list[i] = x.Entry + " " + x.Kind
	}
	return list
}

func TestTheAuditFindsWhatItsEntriesSay(t *testing.T) {
	if testing.Short() {
		t.Skip("entries of every kind, searched by all they say")
	}
	t.Parallel()
	onBoth(t, theAuditFindsWhatItsEntriesSay)
}

func theAuditFindsWhatItsEntriesSay(t *testing.T, env *testenv.Env) {
	key := env.PersonsKey("bob", "Viewer")
	env.Deploy("all.bpmn", everything)
	if _, err := env.Engine.GiveGrant(t.Context(), env.Ann, api.GrantRequest{User: "bob", Right: "manage", Process: "everything"}, ""); err != nil {
		t.Fatal(err)
	}
	bob := env.SignIn(key)
	bob.Address = "192.0.2.7"
	loan := env.Start("everything", `{"note": "a", "other": 1}`)
	auditable(t, env)
	newIndexKey(t, env)
	if _, err := env.Engine.Instance(t.Context(), bob, loan); err != nil {
		t.Fatal(err)
	}
	for range 70 { // more than a block
		if _, err := env.Engine.SetVariables(t.Context(), bob, loan, []byte(`{"note": "later"}`), ""); err != nil {
			t.Fatal(err)
		}
	}
	sequenced(t, env)
	all := audit(t, env, api.AuditQuery{OldestFirst: true})
	middle := all[len(all)/2].At.Format(time.RFC3339Nano)
	filters := []api.AuditFilter{
		{}, {Kind: "data."}, {Kind: "data.shown"}, {Kind: "data"}, {Kind: "nothing"}, {Kind: "instance.started"}, {Principal: "bob"}, {Principal: "ann"}, {Principal: "engine"},
		{Principal: "nobody"}, {Address: "192.0.2.7"}, {Object: loan}, {Object: "no id"}, {Process: "everything"}, {Process: "none"}, {Result: "denied"}, {Result: "failed"},
		{Result: "done", Kind: "instance."}, {From: middle}, {To: middle}, {From: middle, To: middle}, {From: middle, Principal: "bob", Kind: "instance.", Object: loan},
		{To: middle, Principal: "ann", Process: "everything"}, {From: "2100-01-01T00:00:00Z"}, {To: "1999-01-01T00:00:00+01:00"}, {Principal: "bob", Kind: "data.", Object: loan},
	}
	found := 0
	for _, f := range filters {
		var want []api.AuditEntry
		for _, x := range all {
			if finds(f, x) {
				want = append(want, x)
			}
		}
		for _, oldest := range []bool{true, false} {
			// Reading the audit goes on in the log; what came after the list of all is left out.
			got := slices.DeleteFunc(audit(t, env, api.AuditQuery{AuditFilter: f, OldestFirst: oldest}), func(x api.AuditEntry) bool {
				return placeOf(t, x) >= len(all)
			})
			if !oldest {
				slices.Reverse(got)
			}
			if !slices.Equal(names(got), names(want)) {
				t.Errorf("%+v, oldest first %v:\n%q, want\n%q", f, oldest, names(got), names(want))
			}
			found += len(got)
		}
	}
	if found < 500 {
		t.Errorf("only %d entries were found", found)
	}
	for _, q := range []api.AuditQuery{
		{Page: api.Page{After: "x"}}, {Page: api.Page{After: "1.1-1.01"}}, {Page: api.Page{Limit: 1001}}, {AuditFilter: api.AuditFilter{From: "yesterday"}}, {AuditFilter: api.AuditFilter{Result: "x"}},
	} {
		if _, err := env.Engine.Audit(t.Context(), env.Ann, q); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v, want Invalid", q, err)
		}
	}
}

func TestTheAuditTellsWhoActedAndWhatWasShown(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	id := env.Start("everything", `{"note": "a", "other": 1}`)
	env.Instance(id)
	refuse(t, env, env.Ann, 1)
	sequenced(t, env)
	only := func(f api.AuditFilter) api.AuditEntry {
		t.Helper()
		found := audit(t, env, api.AuditQuery{AuditFilter: f})
		if len(found) == 0 {
			t.Fatalf("nothing is found by %+v", f)
		}
		return found[0]
	}
	shown := only(api.AuditFilter{Kind: "data.shown", Object: id})
	if shown.Principal != "ann" || shown.Key == "" || shown.Result != "done" || len(shown.Shown) != 1 || shown.Shown[0].Object != id || len(shown.Shown[0].Paths) == 0 {
		t.Errorf("what was shown is told as %+v", shown)
	}
	if started := only(api.AuditFilter{Kind: "instance.started"}); started.Principal != "ann" || started.Process != "everything" || started.Object != id || started.Step != 1 || started.Details != nil {
		t.Errorf("the start is told as %+v", started)
	}
	if denied := only(api.AuditFilter{Result: "denied"}); denied.Kind != "access.denied" || denied.Count == 0 || !strings.Contains(string(denied.Details), "actions") {
		t.Errorf("the refusal is told as %+v", denied)
	}
	sequenced(t, env)
	if read := only(api.AuditFilter{Kind: "audit.read"}); read.Principal != "ann" || !strings.Contains(string(read.Details), `"query"`) {
		t.Errorf("that the audit was read is told as %+v", read)
	}
	erase(t, env, "instance", id)
	sequenced(t, env)
	if gone := only(api.AuditFilter{Kind: "instance.started", Object: id}); !gone.Erased || gone.Principal != "" || gone.Process != "everything" {
		t.Errorf("the start of an erased instance is told as %+v", gone)
	}
}

func TestAnExportIsToldOfBeforeItsFirstEntry(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	env.Start("everything", `{"note": "a", "other": 1}`)
	sequenced(t, env)
	before := names(audit(t, env, api.AuditQuery{OldestFirst: true}))
	sequenced(t, env)
	entries, err := env.Engine.ExportAudit(t.Context(), env.Ann, api.AuditExportQuery{Format: "ocsf"})
	if err != nil {
		t.Fatal(err)
	}
	sequenced(t, env)
	told := audit(t, env, api.AuditQuery{AuditFilter: api.AuditFilter{Kind: "audit.exported"}})
	if len(told) != 1 || !strings.Contains(string(told[0].Details), "ocsf") {
		t.Fatalf("before anything was read, the log tells of exports %+v", told)
	}
	var got []api.AuditEntry
	for x, err := range entries {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, x)
	}
	if len(got) < len(before) || !slices.Equal(names(got)[:len(before)], before) {
		t.Errorf("the export has %q, want first %q", names(got), before)
	}
}

func TestAChangedEntryIsNotTold(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"another kind in the leaf":    `UPDATE leaves SET body = CAST(replace(CAST(body AS TEXT), 'instance.started', 'instance.canceled') AS BLOB)`,
		"a leaf that is gone":         `DELETE FROM leaves WHERE CAST(body AS TEXT) LIKE '%instance.started%'`,
		"a MAC of nobody":             `UPDATE leaves SET mac = zeroblob(32)`,
		"other terms":                 `UPDATE leaves SET terms = zeroblob(16)`,
		"a field of an entry":         `UPDATE fields SET value = zeroblob(length(value)) WHERE path = '$actor' AND seq = 0`,
		"a field of a step":           `UPDATE fields SET value = zeroblob(length(value)) WHERE path = '$actor' AND seq = 1`,
		"an entry at another's place": `UPDATE log_entries SET hash = (SELECT hash FROM log_entries WHERE idx = 1) WHERE idx = 2`,
		"the record of a step":        `UPDATE steps SET body = CAST(replace(CAST(body AS TEXT), 'started', 'changed') AS BLOB)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := testenv.New(t, nil)
			env.Deploy("all.bpmn", everything)
			env.Instance(env.Start("everything", `{"note": "a", "other": 1}`))
			sequenced(t, env)
			entries, err := env.Engine.ExportAudit(t.Context(), env.Ann, api.AuditExportQuery{})
			if err != nil {
				t.Fatal(err)
			}
			db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
			if _, err := db.Exec(text); err != nil {
				t.Fatal(err)
			}
			db.Close()
			err = nil
			for _, err = range entries {
			}
			if !fault.Is(err, fault.Integrity) {
				t.Errorf("the export ends with %v, want Integrity", err)
			}
		})
	}
}

func TestOnlyWhoMayReadTheLogReadsTheAudit(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	eve := env.Person("eve")
	for name, do := range map[string]func(context.Context) error{
		"Audit": func(ctx context.Context) error { _, err := env.Engine.Audit(ctx, eve, api.AuditQuery{}); return err },
		"ExportAudit": func(ctx context.Context) error {
			_, err := env.Engine.ExportAudit(ctx, eve, api.AuditExportQuery{})
			return err
		},
	} {
		if err := do(t.Context()); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v, want Denied", name, err)
		}
	}
}

// TestASearchMissesNothingUnnoticed deletes and changes rows of terms: what is no longer
// found is named by the check.
func TestASearchMissesNothingUnnoticed(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a row deleted":   `DELETE FROM log_terms WHERE term = CAST('kinstance.started' AS BLOB)`,
		"bits taken away": `UPDATE log_terms SET bits = bits & ~2 WHERE bits & ~2 <> 0`,
		"bits added":      `UPDATE log_terms SET bits = 255`,
		"another block":   `UPDATE log_terms SET block = 9 WHERE term = CAST('kdata.shown' AS BLOB)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := testenv.New(t, nil)
			env.Deploy("all.bpmn", everything)
			env.Instance(env.Start("everything", `{"note": "a", "other": 1}`))
			sequenced(t, env)
			env.Restart(func() {
				db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
				defer db.Close()
				if _, err := db.Exec(text); err != nil {
					t.Fatal(err)
				}
			})
			check := env.Engine.NewCheck("main", engine.CheckState{}, engine.CheckOptions{})
			found, err := check.Next(t.Context())
			if err != nil || !slices.ContainsFunc(found, func(f engine.Finding) bool { return f.Where == "log_terms" }) {
				t.Errorf("the check found %s, %v", fmt.Sprint(found), err)
			}
		})
	}
}

// streamed has a sink take the next entries, and returns them.
func streamed(t *testing.T, env *testenv.Env, sink string, limit int) engine.AuditStretch {
	t.Helper()
	s, err := env.Engine.NextAudit(t.Context(), "main", sink, limit)
	if err == nil {
		err = env.Engine.AuditTaken(t.Context(), sink, s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAStreamOfTheAuditHasNoGap(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		auditable(t, env)
		sequenced(t, env)
		all := audit(t, env, api.AuditQuery{OldestFirst: true})
		var got []string
		for number := uint64(1); len(got) < len(all); number++ {
			s := streamed(t, env, "a", 7)
			if s.First != uint64(len(got)) || s.Number != number || len(s.Entries) == 0 || s.Behind < uint64(len(s.Entries)) {
				t.Fatalf("stretch %d begins at %d with %d entries of %d, want %d", s.Number, s.First, len(s.Entries), s.Behind, len(got))
			}
			got = append(got, names(s.Entries)...)
		}
		if !slices.Equal(got[:len(all)], names(all)) {
			t.Errorf("the stream has %q, want %q", got, names(all))
		}
		if s := streamed(t, env, "another", 1); s.First != 0 || s.Number != 1 {
			t.Errorf("another sink begins at %d with stretch %d", s.First, s.Number)
		}
	})
}

// TestAChangedEntryDoesNotEndTheStream has somebody change an entry before it is sent.
func TestAChangedEntryDoesNotEndTheStream(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	env.Start("everything", `{"note": "a", "other": 1}`)
	sequenced(t, env)
	db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	if _, err := db.Exec(`UPDATE leaves SET body = CAST(replace(CAST(body AS TEXT), 'instance.started', 'instance.canceled') AS BLOB)`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	s := streamed(t, env, "a", 1000)
	kinds := map[string]int{}
	for _, x := range s.Entries {
		kinds[x.Kind]++
		if x.Kind == "audit.unreadable" && (x.Result != "failed" || x.Entry == "" || !strings.Contains(string(x.Details), "not the one")) {
			t.Errorf("what cannot be read is sent as %+v", x)
		}
	}
	if kinds["audit.unreadable"] != 1 || kinds["log.opened"] != 1 || kinds["instance.started"] != 0 {
		t.Errorf("the stream has %v, want one entry that cannot be read", kinds)
	}
}

// Keyed hashes stand anew in each run of blocks: a search goes through all of them.
func TestASearchGoesThroughAllRunsOfBlocks(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	token := bytes.Repeat([]byte{7}, store.TermSize)
	shards := []store.Shard{{Number: 4, Size: 5 * sequencer.RunBlocks * store.BlockSize}, {Number: 5}, {Number: 6, Size: 3 * sequencer.RunBlocks * store.BlockSize}}
	var want []store.LogBlock
	for _, b := range []uint64{0, 3, sequencer.RunBlocks - 1, sequencer.RunBlocks, 4*sequencer.RunBlocks + 9, 5*sequencer.RunBlocks - 1} {
		want = append(want, store.LogBlock{Shard: 4, Block: b})
	}
	for b := range uint64(300) { // more than are read at once
		want = append(want, store.LogBlock{Shard: 6, Block: 2*sequencer.RunBlocks + b})
	}
	env.Restart(func() {
		var rows []string
		for _, b := range want {
			rows = append(rows, fmt.Sprintf("('main', x'%x', %d, %d, 1)", sequencer.Stored(sequencer.TokenTerm(token), b), b.Shard, b.Block))
		}
		execRaw(t, env, `INSERT INTO log_terms (tenant, term, shard, block, bits) VALUES `+strings.Join(rows, ", "))
	})
	first, last := store.LogPlace{Shard: 4}, store.LogPlace{Shard: 6, Index: shards[2].Size}
	for _, newestFirst := range []bool{false, true} {
		got, _, err := engine.BlocksWithToken(t.Context(), env.Engine, env.Ann, shards, first, last, token, newestFirst)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("newest first %t: found %d blocks %v, want %d; %v", newestFirst, len(got), got, len(want), err)
		}
		slices.Reverse(want)
	}
	another := bytes.Repeat([]byte{8}, store.TermSize)
	got, asked, err := engine.BlocksWithToken(t.Context(), env.Engine, env.Ann, shards, first, last, another, false)
	if err != nil || len(got) > 0 || asked < 8 {
		t.Errorf("another hash is found in %v, %v, asked %d times in 8 runs of blocks, want that it is asked for in each by itself", got, err, asked)
	}
	stretch := store.LogPlace{Shard: 6, Index: shards[2].Size - 1000}
	for newestFirst, from := range map[bool]store.LogPlace{true: stretch, false: {Shard: 4, Index: 4 * sequencer.RunBlocks * store.BlockSize}} {
		to := last
		if !newestFirst {
			to = store.LogPlace{Shard: 4, Index: from.Index + 1000}
		}
		_, asked, err := engine.BlocksWithToken(t.Context(), env.Engine, env.Ann, shards, from, to, another, newestFirst)
		if err != nil || asked > 2 {
			t.Errorf("newest first %t: asked %d times in a stretch of one run of blocks, %v", newestFirst, asked, err)
		}
	}
}

// TestAMissingPlaceSpoilsNoOther has somebody take the place of an entry away before it is
// sent: it alone cannot be read.
func TestAMissingPlaceSpoilsNoOther(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	env.Start("everything", `{"note": "a", "other": 1}`)
	sequenced(t, env)
	whole := streamed(t, env, "a", 6).Entries
	execRaw(t, env, `DELETE FROM log_entries WHERE idx IN (1, 4)`)
	for _, limit := range []int{6, 2} {
		var got []api.AuditEntry
		for len(got) < 6 {
			got = append(got, streamed(t, env, fmt.Sprint("in ", limit), limit).Entries...)
		}
		for i, x := range got {
			gone := i == 1 || i == 4
			if x.Entry != whole[i].Entry || (x.Kind == "audit.unreadable") != gone || !gone && x.Kind != whole[i].Kind {
				t.Errorf("in stretches of %d, entry %d is %s %s, want %s", limit, i, x.Entry, x.Kind, whole[i].Kind)
			}
		}
	}
}

// FuzzAudit asks for whatever somebody may ask for: it is refused, or what is found fits it.
func FuzzAudit(f *testing.F) {
	env := testenv.New(f, nil)
	f.Add("", "", "", "", "", "", "", "", "")
	f.Add("2026-01-01T00:00:00Z", "2126-01-01T00:00:00Z", "principal.", "ann", "192.0.2.1", "ann", "loan", "done", "")
	f.Add("now", "-1", ".", "operator", "::1", "01a205e8-84f3-7d59-be9c-0c5387d5adaa", "\x00", "denied", "main/7")
	f.Add("9999-12-31T23:59:60Z", "0000-01-01T00:00:00+23:59", "%_", "ann'--", "0x7f.1", "\xff", "*", "other", "2026/-1")
	f.Fuzz(func(t *testing.T, from, to, kind, principal, address, object, process, result, after string) {
		q := api.AuditQuery{AuditFilter: api.AuditFilter{From: from, To: to, Kind: kind, Principal: principal, Address: address, Object: object, Process: process, Result: result},
			Page: api.Page{After: after, Limit: 5}}
		found, err := env.Engine.Audit(t.Context(), env.Ann, q)
		if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.NotFound) {
			t.Fatalf("%+v: %v", q, err)
		}
		for _, x := range found.Items {
			if !finds(q.AuditFilter, x) {
				t.Errorf("%+v finds %+v", q.AuditFilter, x)
			}
		}
	})
}

// TestAnExportWithAFilterLosesNothing asks for entries of one kind, of which there are many,
// and which stand among others.
func TestAnExportWithAFilterLosesNothing(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("timed.bpmn", withTimer)
	want := map[string]bool{}
	for i := range 150 {
		want[env.Start("timed", `{}`)] = true
		want[env.Start("timed", `{}`)] = true
		if i%3 == 0 {
			if _, err := env.Engine.GiveGrant(t.Context(), env.Ann, api.GrantRequest{User: env.Ann.Principal, Right: "view", Process: "timed"}, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	env.Restart(nil) // all of them have their places
	entries, err := env.Engine.ExportAudit(t.Context(), env.Ann, api.AuditExportQuery{AuditFilter: api.AuditFilter{Kind: "instance.started"}})
	if err != nil {
		t.Fatal(err)
	}
	for entry, err := range entries {
		if err != nil || !want[entry.Object] {
			t.Fatalf("an entry of %q, %v", entry.Object, err)
		}
		delete(want, entry.Object)
	}
	if len(want) > 0 {
		t.Errorf("%d of 300 instances that were started are not in the export", len(want))
	}
}
