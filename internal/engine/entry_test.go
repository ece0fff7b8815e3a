package engine_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
)

// dataOf opens the database of an environment behind its back, of whichever kind.
func dataOf(t *testing.T, env *testenv.Env) *sql.DB {
	t.Helper()
	if env.Config.DSN == "" {
		return openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	}
	db, err := sql.Open("pgx", env.Config.DSN+" search_path="+store.DataSchema)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// entryIDs returns the ids of all leaves of no object, oldest first.
func entryIDs(t *testing.T, env *testenv.Env) []store.ID {
	t.Helper()
	db := dataOf(t, env)
	defer db.Close()
	rows, err := db.Query(`SELECT object FROM leaves WHERE tenant = $1 AND seq = 0 ORDER BY object`, env.Ann.Scope.Tenant())
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var ids []store.ID
	for rows.Next() {
		var id []byte
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, store.ID(id))
	}
	return ids
}

// entriesOf opens all entries of a kind, oldest first.
func entriesOf(t *testing.T, env *testenv.Env, kind string) []engine.PastEntry {
	t.Helper()
	var found []engine.PastEntry
	for _, id := range entryIDs(t, env) {
		past, err := engine.OpenEntry(t.Context(), env.Engine, env.Ann, id)
		if err != nil {
			t.Fatal(err)
		}
		if past.Leaf.Kind == kind {
			found = append(found, past)
		}
	}
	return found
}

func TestAnEntryOfTheLogIsOpenedWithWhatItSays(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	fields := map[string]canon.Value{"$purpose": canon.String("a look"), "$shown": canon.List{canon.String("a")}}
	if err := engine.RecordEntry(t.Context(), env.Engine, env.Ann, "test.told", fields); err != nil {
		t.Fatal(err)
	}
	env.Restart(nil)
	found := entriesOf(t, env, "test.told")
	if len(found) != 1 {
		t.Fatalf("%d entries", len(found))
	}
	leaf := found[0].Leaf
	if leaf.Object != "" || leaf.Act != "user" || leaf.N != 3 {
		t.Errorf("its leaf is %+v", leaf)
	}
	actor, _ := found[0].Fields["$actor"].(*canon.Context)
	if who, _ := actor.Get("principal"); who != canon.String("ann") {
		t.Errorf("it was %v", actor)
	}
	for path, want := range fields {
		if got := found[0].Fields[path]; !canon.Equal(got, want) {
			t.Errorf("%s is %v", path, got)
		}
	}
}

func TestAChangedEntryOfTheLogIsRefused(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	deployLoan(t, env)
	db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	defer db.Close()
	for name, change := range map[string]string{
		"a field is missing":          `DELETE FROM fields WHERE object = $1 AND path = '$said' AND $2 <> ''`,
		"a field has another's value": `UPDATE fields SET value = (SELECT value FROM fields WHERE object = $2 AND path = '$said') WHERE object = $1 AND path = '$said'`,
		"a field has another name":    `UPDATE fields SET path = '$told' WHERE object = $1 AND path = '$said' AND $2 <> ''`,
		"a field came later":          `INSERT INTO fields SELECT tenant, $1, seq, '$more', sealed, value, commitment FROM fields WHERE object = $2 AND path = '$said'`,
		"a field is called clear":     `UPDATE fields SET sealed = 0 WHERE object = $1 AND path = '$said' AND $2 <> ''`,
		"a field is not sealed":       `UPDATE fields SET value = CAST('["string","one"]' AS BLOB) WHERE object = $1 AND path = '$said' AND $2 <> ''`,
		"the leaf is another's":       `UPDATE leaves SET (hash, body) = (SELECT hash, body FROM leaves WHERE object = $2) WHERE object = $1`,
		"the leaf's hash is another":  `UPDATE leaves SET hash = (SELECT hash FROM leaves WHERE object = $2) WHERE object = $1`,
		"the leaf is a step's":        `UPDATE leaves SET (hash, body) = (SELECT hash, body FROM leaves WHERE seq = 1 AND $2 <> '') WHERE object = $1`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, text := range []string{"one", "two"} {
				if err := engine.RecordEntry(t.Context(), env.Engine, env.Ann, "test.told", map[string]canon.Value{"$said": canon.String(text)}); err != nil {
					t.Fatal(err)
				}
			}
			ids := entryIDs(t, env)
			first, second := ids[len(ids)-2], ids[len(ids)-1]
			if _, err := engine.OpenEntry(t.Context(), env.Engine, env.Ann, first); err != nil {
				t.Fatal(err)
			}
			result, err := db.Exec(change, first[:], second[:])
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := result.RowsAffected(); n == 0 {
				t.Fatal("nothing was changed")
			}
			if _, err := engine.OpenEntry(t.Context(), env.Engine, env.Ann, first); !fault.Is(err, fault.Integrity) {
				t.Errorf("it opens: %v", err)
			}
		})
	}
}
