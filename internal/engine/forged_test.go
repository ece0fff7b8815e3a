package engine_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/ledger"
)

// twoSteps returns an instance of two steps, with a version of the clear field
// "note" of each.
func twoSteps(t *testing.T) (*testenv.Env, string) {
	t.Helper()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	id := env.Start("everything", `{"note": "first"}`)
	if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, []byte(`{"note": "second"}`), ""); err != nil {
		t.Fatal(err)
	}
	return env, id
}

// forgery changes rows of one object by SQL.
type forgery struct {
	t      *testing.T
	db     *sql.DB
	object uuid.UUID
}

func forge(t *testing.T, env *testenv.Env, id string) *forgery {
	t.Helper()
	db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	t.Cleanup(func() { db.Close() })
	return &forgery{t, db, uuid.MustParse(id)}
}

func (f *forgery) exec(text string, args ...any) {
	f.t.Helper()
	result, err := f.db.Exec(text, args...)
	if err != nil {
		f.t.Fatal(err)
	}
	if n, err := result.RowsAffected(); n == 0 || err != nil {
		f.t.Fatalf("%s changed %d rows, %v", text, n, err)
	}
}

// value puts another value into the row of the note that a step wrote.
func (f *forgery) value(seq int) {
	f.t.Helper()
	f.exec(`UPDATE fields SET value = ? WHERE object = ? AND path = 'note' AND seq = ?`, []byte(`["string","forged"]`), f.object[:], seq)
}

// leaf says of a step's leaf that somebody else acted. The hash beside it is made
// to fit, if told so.
func (f *forgery) leaf(seq int, fits bool) {
	f.t.Helper()
	var body, hash []byte
	row := f.db.QueryRow(`SELECT body, hash FROM leaves WHERE object = ? AND seq = ?`, f.object[:], seq)
	if err := row.Scan(&body, &hash); err != nil {
		f.t.Fatal(err)
	}
	leaf, err := ledger.ParseLeaf(body)
	if err != nil {
		f.t.Fatal(err)
	}
	leaf.Act = "engine"
	body = leaf.Encode()
	if fits {
		sum := ledger.LeafHash(body)
		hash = sum[:]
	}
	f.exec(`UPDATE leaves SET body = ?, hash = ? WHERE object = ? AND seq = ?`, body, hash, f.object[:], seq)
}

// TestForgedRowsAreRefused makes changes that fit together better than one
// column at a time, and reads only what has to notice.
func TestForgedRowsAreRefused(t *testing.T) {
	t.Parallel()
	instance := func(env *testenv.Env, id string) error {
		_, err := env.Engine.Instance(context.Background(), env.Ann, id)
		return err
	}
	steps := func(env *testenv.Env, id string) error {
		_, err := env.Engine.Steps(context.Background(), env.Ann, id, pageOf(0))
		return err
	}
	for _, c := range []struct {
		name  string
		forge func(*forgery)
		read  func(*testenv.Env, string) error
	}{
		{"a value in clear", func(f *forgery) { f.value(2) }, instance},
		{"a former value in clear", func(f *forgery) { f.value(1) }, steps},
		{"the newest leaf with its hash", func(f *forgery) { f.leaf(2, true) }, instance},
		{"a former leaf with its hash", func(f *forgery) { f.leaf(1, true) }, steps},
		{"a former leaf beside its old hash", func(f *forgery) { f.leaf(1, false) }, steps},
		{"a deleted head", func(f *forgery) { f.exec(`DELETE FROM heads WHERE object = ?`, f.object[:]) }, instance},
		{"a model that means something else", func(f *forgery) {
			f.exec(`UPDATE resources SET data = CAST(replace(CAST(data AS TEXT), 'type="work"', 'type="else"') AS BLOB)`)
		}, instance},
	} {
		t.Run(c.name, func(t *testing.T) {
			env, id := twoSteps(t)
			env.Restart(func() { c.forge(forge(t, env, id)) })
			if err := c.read(env, id); !fault.Is(err, fault.Integrity) {
				t.Errorf("reading: %v, want an integrity fault", err)
			}
		})
	}
}

// An instance that is open in memory was checked when it was opened; what happens
// to its past afterwards shows when that is read.
func TestAPastThatIsCutOffIsRefused(t *testing.T) {
	t.Parallel()
	env, id := twoSteps(t)
	f := forge(t, env, id)
	for _, table := range []string{"steps", "leaves", "fields"} {
		f.exec(`DELETE FROM `+table+` WHERE object = ? AND seq = 2`, f.object[:])
	}
	if _, err := env.Engine.Steps(t.Context(), env.Ann, id, pageOf(0)); !fault.Is(err, fault.Integrity) {
		t.Errorf("reading: %v, want an integrity fault", err)
	}
}
