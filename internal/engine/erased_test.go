package engine_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
)

// destroyKey destroys, while the node is down, the n-th key that a field of an
// instance's first step is sealed under: 1 is the first person's.
func destroyKey(t *testing.T, env *testenv.Env, instance, path string, n int) {
	t.Helper()
	env.Restart(func() {
		db, err := store.Open(t.Context(), store.Config{Path: env.Config.Data, DSN: env.Config.DSN})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		meta, _, err := db.Deployment(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		service, err := kms.OpenKeyFile(env.Config.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := keyring.Open(t.Context(), keyring.Config{Services: map[string]kms.Service{"keyfile": service}, Default: "keyfile", Storage: db.Keys(), Deployment: meta.Deployment})
		if err != nil {
			t.Fatal(err)
		}
		defer ring.Close()
		id, err := store.ParseID(instance)
		if err != nil {
			t.Fatal(err)
		}
		fields, err := db.StepFields(t.Context(), store.NewScope(identity.MainTenant), id, 1)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(fields, func(f store.StoredField) bool { return f.Path == path })
		if i < 0 {
			t.Fatalf("step 1 did not write %s", path)
		}
		keys, err := envelope.KeyIDs(fields[i].Value)
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.Destroy(t.Context(), identity.MainTenant, keys[n]); err != nil {
			t.Fatal(err)
		}
	})
}

// erasedPaths returns which fields of an instance are erased, joined.
func erasedPaths(i api.Instance) string { return strings.Join(i.Erased, " ") }

func TestAnErasedFieldReadsAsNull(t *testing.T) { onBoth(t, anErasedFieldReadsAsNull) }

func anErasedFieldReadsAsNull(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	env.Work("work", `{"undeclared": "result"}`)
	destroyKey(t, env, id, "person.id", 1)

	const gone = "copied person.diagnosis person.id shoe undeclared"
	i := env.Instance(id)
	if got := erasedPaths(i); got != gone {
		t.Errorf("erased: %s, want %s", got, gone)
	}
	for _, want := range []string{`"person":{"diagnosis":null,"id":null}`, `"shoe":null`, `"undeclared":null`, `"salary":1000`, `"room":"B2"`} {
		if !strings.Contains(string(i.Variables), want) {
			t.Errorf("variables are %s, want %s", i.Variables, want)
		}
	}
	if got := strings.Join(env.Task(id).Erased, " "); got != gone {
		t.Errorf("the task says erased: %s", got)
	}
	export, err := env.Engine.Export(t.Context(), env.Ann, id)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(export.Steps[0].Erased, " "); got != "copied person.diagnosis person.id shoe" || export.Steps[0].Actor != "ann" {
		t.Errorf("step 1 by %s says erased: %s", export.Steps[0].Actor, got)
	}
	if got := erasedPaths(export.Instance); got != gone {
		t.Errorf("the export says erased: %s", got)
	}
}

func TestAnErasedFieldIsWrittenAnew(t *testing.T) { onBoth(t, anErasedFieldIsWrittenAnew) }

func anErasedFieldIsWrittenAnew(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	other := env.Start("classified", strings.Replace(somebody, "p-1", "p-2", 1))
	destroyKey(t, env, id, "person.id", 1)
	set := func(variables string) {
		t.Helper()
		if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, []byte(variables), ""); err != nil {
			t.Fatal(err)
		}
	}
	set(`{"shoe": 44}`) // somebody whose name is not known
	env.Restart(nil)
	if i := env.Instance(id); !strings.Contains(string(i.Variables), `"shoe":44`) || erasedPaths(i) != "copied person.diagnosis person.id" {
		t.Errorf("variables are %s, erased %s", i.Variables, erasedPaths(i))
	}
	set(`{"person": {"id": "p-1", "diagnosis": "cough"}}`) // who came back
	env.Restart(nil)
	i := env.Instance(id)
	for _, want := range []string{`"shoe":44`, `"diagnosis":"cough"`} {
		if !strings.Contains(string(i.Variables), want) || erasedPaths(i) != "copied" {
			t.Errorf("variables are %s, erased %s", i.Variables, erasedPaths(i))
		}
	}
	if _, err := env.Engine.Export(t.Context(), env.Ann, id); err != nil {
		t.Error(err)
	}
	if i := env.Instance(other); len(i.Erased) > 0 || !strings.Contains(string(i.Variables), `"diagnosis":"flu"`) {
		t.Errorf("another person's variables are %s, erased %s", i.Variables, erasedPaths(i))
	}
}

func TestOneOfManyPersonsIsErased(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("crowd.bpmn", crowd)
	id := env.Start("crowd", `{"people": [{"id": "a", "phone": "1"}, {"id": "b", "phone": "2"}, {"id": "c", "phone": "3"}, {"id": "d", "phone": "4"}, {"id": "e", "phone": "5"}]}`)
	env.Work("work", `{"summary": "five people"}`)
	destroyKey(t, env, id, "people[4].id", 1)
	i := env.Instance(id)
	if got := erasedPaths(i); got != "people[4].id people[4].phone summary" {
		t.Errorf("erased: %s", got)
	}
	if !strings.Contains(string(i.Variables), `{"id":"d","phone":"4"},{"id":null,"phone":null}]`) {
		t.Errorf("variables are %s, want the others", i.Variables)
	}
	// The fourth turns out to be somebody else: of the summary nothing is left.
	if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, []byte(`{"people": [{"id": "a"}, {"id": "b"}, {"id": "c"}, {"id": "x", "phone": "4"}]}`), ""); err != nil {
		t.Fatal(err)
	}
	env.Restart(nil)
	if got := erasedPaths(env.Instance(id)); got != "summary" {
		t.Errorf("erased: %s, want the summary to stay so", got)
	}
}

// Commitments are stored where values can be erased without their neighbors. The leaf
// says which they are: with the key, without it, and when all of the instance is gone.
func TestAChangedCommitmentIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, sql string }{
		{"another", `UPDATE fields SET commitment = zeroblob(32) WHERE object = ? AND path = 'shoe'`},
		{"none", `UPDATE fields SET commitment = NULL WHERE object = ? AND path = 'shoe'`},
		{"one too many", `UPDATE fields SET commitment = zeroblob(32) WHERE object = ? AND path = 'salary'`},
	} {
		for _, erased := range []string{"subject", "instance", "nothing"} {
			if testing.Short() && erased != "subject" {
				continue
			}
			t.Run(c.name+" when "+erased+" is erased", func(t *testing.T) {
				env := testenv.New(t, nil)
				env.Deploy("c.bpmn", classified)
				id := env.Start("classified", somebody)
				switch erased {
				case "subject":
					erase(t, env, erased, "p-1")
				case "instance":
					erase(t, env, erased, id)
				}
				env.Restart(func() { forge(t, env, id).exec(c.sql, idBytes(t, id)) })
				if _, err := env.Engine.Steps(t.Context(), env.Ann, id, pageOf(0)); err == nil || erased != "instance" && !fault.Is(err, fault.Integrity) {
					t.Errorf("reading: %v, want an integrity fault", err)
				}
				env.Restart(func() {
					for _, withoutKeys := range []bool{false, true} {
						found, err := (&world{config: env.Config}).fsck(t, env.Config.Data, withoutKeys)
						if err != nil || len(found) != 1 || found[0].Object != id {
							t.Errorf("the check (without keys: %t) finds %v, %v", withoutKeys, found, err)
						}
					}
				})
			})
		}
	}
}

// A value in clear is what its leaf says also when a neighbor is gone.
func TestAValueBesideAnErasedOneIsChecked(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, []byte(`{"room": "B3"}`), ""); err != nil {
		t.Fatal(err)
	}
	erase(t, env, "subject", "p-1")
	env.Restart(func() {
		forge(t, env, id).exec(`UPDATE fields SET value = ? WHERE object = ? AND path = 'room' AND seq = 1`, []byte(`["string","A1"]`), idBytes(t, id))
	})
	if _, err := env.Engine.Steps(t.Context(), env.Ann, id, pageOf(0)); !fault.Is(err, fault.Integrity) {
		t.Errorf("reading: %v, want an integrity fault", err)
	}
}

// The values of an erased field cannot be read any more; its bytes can be checked.
func TestAChangedErasedFieldIsRefused(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, []byte(`{"shoe": 44}`), ""); err != nil {
		t.Fatal(err)
	}
	destroyKey(t, env, id, "shoe", 1)
	env.Restart(func() {
		forge(t, env, id).exec(`
			UPDATE fields AS f SET value = (SELECT value FROM fields WHERE object = f.object AND path = 'copied')
			WHERE object = ? AND path = 'shoe' AND seq = 1`, idBytes(t, id))
	})
	if _, err := env.Engine.Steps(t.Context(), env.Ann, id, pageOf(0)); !fault.Is(err, fault.Integrity) {
		t.Errorf("reading: %v, want an integrity fault", err)
	}
}

func idBytes(t *testing.T, text string) []byte {
	t.Helper()
	id, err := store.ParseID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id[:]
}

// TestTokensNameThePersonsKey looks at the rows: what is about a person is deleted
// by the person's keys.
func TestTokensNameThePersonsKey(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	searchable := strings.NewReplacer(`path="shoe" class="internal"`, `path="shoe" class="internal" search="exact"`,
		`path="room" class="public"`, `path="room" class="public" search="exact"`).Replace(classified)
	env.Deploy("c.bpmn", searchable)
	env.Start("classified", somebody)
	late := env.Start("classified", `{"shoe": 45, "salary": 1, "room": "B3", "person": {"diagnosis": "flu"}}`)
	if _, err := env.Engine.SetVariables(t.Context(), env.Ann, late, []byte(`{"person": {"id": "p-1"}}`), ""); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	env.Restart(func() {
		db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
		defer db.Close()
		rows, err := db.Query(`SELECT kind, length(data_key), count(*), count(DISTINCT data_key) FROM tokens GROUP BY 1, 2`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var kind, size, n, keys int
			if err := rows.Scan(&kind, &size, &n, &keys); err != nil {
				t.Fatal(err)
			}
			got[fmt.Sprintf("kind %d key of %d bytes", kind, size)] = n*100 + keys
		}
	})
	for what, want := range map[string]int{
		"kind 3 key of 0 bytes":  201, // both rooms, about nobody
		"kind 3 key of 16 bytes": 302, // the shoe of p-1, of nobody known, and of p-1 again
		"kind 4 key of 16 bytes": 302, // p-1, the one who turned out to be p-1, and p-1 again
	} {
		if got[what] != want {
			t.Errorf("%s: %d rows with %d keys, want %d with %d", what, got[what]/100, got[what]%100, want/100, want%100)
		}
	}
}
