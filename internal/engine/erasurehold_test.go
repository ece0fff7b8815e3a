package engine_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
)

// TestAHoldCoversWhatIsPartOfAnother places a hold on an instance or on a person, and
// erases the other.
func TestAHoldCoversWhatIsPartOfAnother(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, held, erased, person string }{
		{"an instance of a person", "instance", "subject", `"p-1"`}, {"a person of an instance", "subject", "instance", `"p-1"`},
		{"an instance of a number", "instance", "subject", `17`}, {"a number of an instance", "subject", "instance", `17`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env, now := clocked(t)
			env.Deploy("c.bpmn", classified)
			id := env.Start("classified", strings.Replace(somebody, `"p-1"`, c.person, 1))
			ids := map[string]string{"instance": id, "subject": strings.Trim(c.person, `"`)}
			place := func() api.Hold {
				t.Helper()
				h, err := env.Engine.PlaceHold(t.Context(), env.Ann, api.HoldRequest{Kind: c.held, ID: ids[c.held]}, "")
				if err != nil {
					t.Fatal(err)
				}
				return h
			}
			release := func(h api.Hold) {
				t.Helper()
				if _, err := env.Engine.ReleaseHold(t.Context(), env.Ann, h.ID, ""); err != nil {
					t.Fatal(err)
				}
			}
			h := place()
			if _, err := order(t, env, c.erased, ids[c.erased], 0); fault.CodeOf(err) != "on_hold" || !strings.Contains(err.Error(), h.ID) {
				t.Errorf("erasing the %s: %v, want that %s holds it", c.erased, err, h.ID)
			}
			if p := preview(t, env, c.erased, ids[c.erased]); len(p.Holds) != 1 || p.Holds[0].ID != h.ID {
				t.Errorf("preview = %+v", p)
			}
			release(h)
			if _, err := order(t, env, c.erased, ids[c.erased], time.Hour); err != nil {
				t.Fatal(err)
			}
			h = place()
			now.pass(2 * time.Hour)
			if err := env.Engine.EraseDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			if i := env.Instance(id); len(i.Erased) > 0 {
				t.Errorf("erased in spite of a hold placed after the order: %v", i.Erased)
			}
			release(h)
			if err := env.Engine.EraseDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			if p, err := env.Engine.Erasures(t.Context(), env.Ann, pageOf(0)); err != nil || len(p.Items) != 1 || p.Items[0].State != "done" {
				t.Errorf("erasures = %+v, %v", p, err)
			}
		})
	}
}

// TestAHoldThatTheListHidesIsSeen has SQL say that nothing is held, before an order and
// after one.
func TestAHoldThatTheListHidesIsSeen(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) { hiddenHold(t, "") })
	t.Run("Postgres", func(t *testing.T) { hiddenHold(t, pgtest.Database(t)) })
}

func hiddenHold(t *testing.T, dsn string) {
	clock := newClock(time.Now())
	env := testenv.New(t, func(c *node.Config) { c.DSN, c.Now = dsn, clock.now })
	env.Deploy("c.bpmn", classified)
	early, late := env.Start("classified", somebody), env.Start("classified", strings.Replace(somebody, "p-1", "p-2", 1))
	hidden := func(instance string) string {
		t.Helper()
		h, err := env.Engine.PlaceHold(t.Context(), env.Ann, api.HoldRequest{Kind: "instance", ID: instance}, "")
		if err != nil {
			t.Fatal(err)
		}
		changeData(t, env, `UPDATE custodies SET holds = 0`)
		return h.ID
	}
	h := hidden(early)
	if p := preview(t, env, "subject", "p-1"); len(p.Holds) != 1 || p.Holds[0].ID != h {
		t.Errorf("preview = %+v, want the hold %s", p.Holds, h)
	}
	if _, err := order(t, env, "subject", "p-1", 0); fault.CodeOf(err) != "on_hold" || !strings.Contains(err.Error(), h) {
		t.Errorf("erasing a person of a held instance: %v, want that %s holds it", err, h)
	}
	if _, err := order(t, env, "subject", "p-2", time.Hour); err != nil {
		t.Fatal(err)
	}
	hidden(late)
	clock.pass(2 * time.Hour)
	if err := env.Engine.EraseDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i := env.Instance(late); len(i.Erased) > 0 {
		t.Errorf("erased in spite of a hold placed after the order: %v", i.Erased)
	}
	change := `UPDATE leaves SET body = CAST(replace(CAST(body AS TEXT), 'hold.placed', 'erasure.ordered') AS BLOB)`
	if dsn != "" {
		change = `UPDATE leaves SET body = convert_to(replace(convert_from(body, 'UTF8'), 'hold.placed', 'erasure.ordered'), 'UTF8')`
	}
	changeData(t, env, change)
	if _, err := order(t, env, "subject", "p-1", 0); fault.CodeOf(err) != "tampered" {
		t.Errorf("a hold whose leaf says that it is none: %v, want that it is tampered with", err)
	}
}

// changeData changes rows behind the back of a server that works.
func changeData(t *testing.T, env *testenv.Env, text string) {
	t.Helper()
	if env.Config.DSN == "" {
		execRaw(t, env, text)
		return
	}
	if _, err := administered(t, env.Config.DSN).admin["data.db"].Exec(text); err != nil {
		t.Fatal(err)
	}
}

func TestOtherSpellingsOfANumberAreOtherPersons(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	env.Start("classified", strings.Replace(somebody, `"p-1"`, `17`, 1))
	if _, err := env.Engine.PlaceHold(t.Context(), env.Ann, api.HoldRequest{Kind: "subject", ID: "17"}, ""); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"17.0", "1.7e1", " 17", "17 ", "170e-1"} {
		if _, err := order(t, env, "subject", id, 0); !fault.Is(err, fault.NotFound) {
			t.Errorf("erasing %q in spite of the hold on 17: %v", id, err)
		}
	}
}

// TestAPersonsErasureDestroysNothingOfOthers lets an administrator of the database
// call another person's key, and another's file, the person's.
func TestAPersonsErasureDestroysNothingOfOthers(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	start := func(person string) uuid.UUID {
		shoe := `"shoe": ` + named(put(t, env, env.Ann, content(100)).File)
		return uuid.MustParse(env.Start("classified", strings.NewReplacer("p-1", person, `"shoe": 43`, shoe).Replace(somebody)))
	}
	one, other := start("p-1"), start("p-2")
	change := func(text string, args ...any) {
		t.Helper()
		env.Restart(func() { forge(t, env, one.String()).exec(text, args...) })
	}
	const key = `(SELECT data_key FROM file_keys k JOIN files f USING (tenant, blob) WHERE f.object = ?)`
	change(`INSERT INTO tokens SELECT tenant, kind, token, object, seq, print, `+key+` FROM tokens WHERE kind = ? AND object = ?`,
		other[:], int(store.SubjectToken), one[:])
	if _, err := order(t, env, "subject", "p-1", 0); !fault.Is(err, fault.Integrity) {
		t.Errorf("erasing a person to whom another's key was given: %v", err)
	}
	change(`DELETE FROM tokens WHERE object = ? AND kind = ? AND data_key = `+key, one[:], int(store.SubjectToken), other[:])
	change(`INSERT INTO file_keys SELECT tenant, `+key+`, blob FROM files WHERE object = ?`, one[:], other[:])
	erase(t, env, "subject", "p-1")
	change(`DELETE FROM file_keys WHERE data_key = `+key+` AND blob IN (SELECT blob FROM files WHERE object = ?)`, one[:], other[:])
	i := env.Instance(other.String())
	if len(i.Erased) > 0 || len(i.Files) != 1 {
		t.Fatalf("of another person erased: %v", i.Erased)
	}
	if _, err := get(t, env, i.ID, i.Files[0].File); err != nil {
		t.Errorf("the file of another person: %v", err)
	}
}

// TestABrokenCustodyHoldsUpNoOther breaks the first of two orders, and requires that
// the second is carried out all the same.
func TestABrokenCustodyHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	env, now := clocked(t)
	env.Deploy("c.bpmn", classified)
	orders := map[string]string{}
	for _, person := range []string{"p-1", "p-2"} {
		id := env.Start("classified", strings.Replace(somebody, "p-1", person, 1))
		pending, err := order(t, env, "subject", person, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		orders[pending.ID] = id
	}
	list, err := env.Engine.Erasures(t.Context(), env.Ann, pageOf(0))
	if err != nil || len(list.Items) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	first := uuid.MustParse(list.Items[0].ID)
	_, err = db.Exec(`UPDATE heads SET body = zeroblob(100) WHERE object = ?`, first[:])
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	now.pass(2 * time.Hour)
	if err := env.Engine.EraseDue(t.Context()); !fault.Is(err, fault.Integrity) {
		t.Errorf("erasing what is due: %v, want that one is changed", err)
	}
	for n, want := range []int{0, 4} {
		if i := env.Instance(orders[list.Items[n].ID]); len(i.Erased) != want {
			t.Errorf("of person %d erased: %v, want %d", n, i.Erased, want)
		}
	}
}

// explain says of an order to erase what the order would be told: what is on hold is not.
func TestExplainKnowsWhatIsOnHold(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("timed.bpmn", withTimer)
	held, free := env.Start("timed", "{}"), env.Start("timed", "{}")
	h, err := env.Engine.PlaceHold(t.Context(), env.Ann, api.HoldRequest{Kind: "instance", ID: held}, "")
	if err != nil {
		t.Fatal(err)
	}
	explained := func(id string, allowed bool, policy string) {
		t.Helper()
		for _, kind := range []string{"", "instance"} {
			x, err := env.Engine.Explain(t.Context(), env.Ann, api.ExplainQuery{Principal: "ann", Action: "erasure:order", Kind: kind, ID: id})
			if err != nil || x.Allowed != allowed || len(x.Reasons) != 1 || x.Reasons[0].Policy != policy {
				t.Errorf("of kind %q: %+v, %v, want that it is allowed: %v, by %s", kind, x, err, allowed, policy)
			}
		}
	}
	explained(held, false, "legal-hold")
	explained(free, true, "role-admin")
	if _, err := env.Engine.ReleaseHold(t.Context(), env.Ann, h.ID, ""); err != nil {
		t.Fatal(err)
	}
	explained(held, true, "role-admin")
}
