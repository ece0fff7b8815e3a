package engine_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// rotatedPerson gives a person a new data key, which an instance about them uses from
// its next step on.
func rotatedPerson(t *testing.T, env *testenv.Env, id, instance string) (number string) {
	t.Helper()
	number = rotated(t, env, api.RotateKeyRequest{Key: "subject", Subject: id})
	if _, err := env.Engine.SetVariables(t.Context(), env.Ann, instance, []byte(`{"shoe": `+number+`}`), ""); err != nil {
		t.Fatal(err)
	}
	return number
}

func TestAPersonWithFormerKeysIsErased(t *testing.T) { onBoth(t, formerKeysErased) }

// formerKeysErased has data of one person sealed under three keys in turn.
func formerKeysErased(t *testing.T, env *testenv.Env) {
	ctx := t.Context()
	env.Deploy("c.bpmn", classified)
	running := env.Start("classified", somebody)
	other := env.Start("classified", strings.Replace(somebody, "p-1", "p-2", 1))
	if number := rotatedPerson(t, env, "p-1", running); number != "2" {
		t.Errorf("the second key has number %s", number)
	}
	later := env.Start("classified", somebody)
	if number := rotated(t, env, api.RotateKeyRequest{Key: "subject", Subject: "p-1", After: "1"}); number != "2" {
		t.Errorf("rotated after the first key, which another one follows: %s", number)
	}
	if number := rotatedPerson(t, env, "p-1", later); number != "3" {
		t.Errorf("the third key has number %s", number)
	}
	rotated(t, env, api.RotateKeyRequest{Key: "tenant"})
	rewrapped(t, env)
	retired(t, env, api.RetireKeyRequest{Key: "tenant", Version: "1"})
	env.Restart(nil)
	for _, id := range []string{running, later, other} {
		if i := env.Instance(id); len(i.Erased) > 0 || !strings.Contains(string(i.Variables), "flu") {
			t.Errorf("variables are %s", i.Variables)
		}
		if _, err := env.Engine.Export(ctx, env.Ann, id); err != nil {
			t.Error(err)
		}
	}
	keys, err := env.Engine.Keys(ctx, env.Ann)
	if err != nil || keys.Subjects.Subjects != 2 || keys.Subjects.Former != 2 || keys.Subjects.Oldest == nil {
		t.Errorf("keys: %+v, %v", keys.Subjects, err)
	}
	if p := preview(t, env, "subject", "p-1"); p.Keys != 3 || p.Instances != 2 || p.Fields != 8 {
		t.Errorf("preview = %+v, want three keys, two instances, eight fields", p)
	}
	done := erase(t, env, "subject", "p-1")
	check := func(when string) {
		t.Helper()
		for _, id := range []string{running, later} {
			if i := env.Instance(id); erasedPaths(i) != "copied person.diagnosis person.id shoe" {
				t.Errorf("%s: erased: %s, variables %s", when, erasedPaths(i), i.Variables)
			}
		}
		if i := env.Instance(other); len(i.Erased) > 0 {
			t.Errorf("%s: of another person erased: %v", when, i.Erased)
		}
		if sum := verified(t, env, done.ID); sum.Erased != 4+1+4+1 {
			t.Errorf("%s: verified %+v, want ten field versions", when, sum)
		}
		receipt, err := env.Engine.ErasureReceipt(ctx, env.Ann, done.ID)
		if err != nil || len(receipt.Keys) != 3 {
			t.Errorf("%s: receipt = %+v, %v, want three keys", when, receipt, err)
		}
	}
	check("at once")
	env.Restart(nil)
	check("restarted")
	for what, err := range map[string]error{
		"erasing":  errorOf(order(t, env, "subject", "p-1", 0)),
		"rotating": errorOf(env.Engine.RotateKey(ctx, env.Ann, api.RotateKeyRequest{Key: "subject", Subject: "p-1"})),
	} {
		if fault.CodeOf(err) != "no_such_subject" {
			t.Errorf("%s an erased person: %v", what, err)
		}
	}
	back := env.Start("classified", somebody)
	if number := rotated(t, env, api.RotateKeyRequest{Key: "subject", Subject: "p-1", After: "1"}); number != "2" {
		t.Errorf("who came back has key %s", number)
	}
	again := erase(t, env, "subject", "p-1")
	if i := env.Instance(back); again.ID != done.ID || len(i.Erased) != 4 {
		t.Errorf("erased: %v", i.Erased)
	}
	verified(t, env, again.ID)
}

func errorOf[T any](_ T, err error) error { return err }

// keysOfField returns the ids of the keys that the newest version of each instance's
// field is sealed under.
func keysOfField(t *testing.T, env *testenv.Env, path string) (keys [][]envelope.KeyID) {
	t.Helper()
	env.Restart(func() {
		db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
		defer db.Close()
		rows, err := db.Query(`SELECT value, max(seq) FROM fields WHERE path = ? GROUP BY object ORDER BY object`, path)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var value []byte
			var seq int
			if err := rows.Scan(&value, &seq); err != nil {
				t.Fatal(err)
			}
			ids, err := envelope.KeyIDs(value)
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, ids)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	})
	return keys
}

// TestAStepTakesThePersonsNewestKey looks at which keys envelopes name.
func TestAStepTakesThePersonsNewestKey(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	first := keysOfField(t, env, "shoe")
	rotated(t, env, api.RotateKeyRequest{Key: "subject", Subject: "p-1"})
	if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, []byte(`{"salary": 2}`), ""); err != nil {
		t.Fatal(err)
	}
	if got := keysOfField(t, env, "shoe"); !slices.Equal(got[0], first[0]) {
		t.Error("a step about nobody wrote the person's field anew")
	}
	if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, []byte(`{"shoe": 44}`), ""); err != nil {
		t.Fatal(err)
	}
	second := keysOfField(t, env, "shoe")
	if len(second[0]) != 2 || slices.Equal(second[0], first[0]) || second[0][0] != first[0][0] {
		t.Errorf("the field is sealed under %v, before under %v", second[0], first[0])
	}
	if got := keysOfField(t, env, "person.diagnosis"); !slices.Equal(got[0], first[0]) {
		t.Error("a field that was not written was sealed anew")
	}
	env.Start("classified", somebody)
	if got := keysOfField(t, env, "shoe"); len(got) != 2 || got[1][1] != second[0][1] {
		t.Errorf("another instance's field is sealed under %v, want the same key of the person as in %v", got, second)
	}
}

// TestAKeyGivenDuringAnErasureIsDestroyedToo rotates the person's key when the plan of
// their erasure stands already.
func TestAKeyGivenDuringAnErasureIsDestroyedToo(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	var number string
	engine.FailErasures(env.Engine, func(point string) error {
		if point != "destroy a key" {
			return nil
		}
		engine.FailErasures(env.Engine, nil)
		number = rotatedPerson(t, env, "p-1", id)
		return nil
	})
	done := erase(t, env, "subject", "p-1")
	if number != "2" {
		t.Fatalf("the person's key was not rotated meanwhile: %q", number)
	}
	receipt, err := env.Engine.ErasureReceipt(t.Context(), env.Ann, done.ID)
	if err != nil || len(receipt.Keys) != 2 {
		t.Errorf("receipt = %+v, %v, want two keys", receipt, err)
	}
	for range 2 {
		if i := env.Instance(id); len(i.Erased) != 4 {
			t.Errorf("erased: %v, variables %s", i.Erased, i.Variables)
		}
		verified(t, env, done.ID)
		env.Restart(nil)
	}
}

// TestAFormerKeyIsFoundWithoutItsTokens deletes the rows that name keys of persons
// beside the data: those that the person's own row names are destroyed all the same.
func TestAFormerKeyIsFoundWithoutItsTokens(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	rotatedPerson(t, env, "p-1", id)
	env.Restart(func() {
		db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
		defer db.Close()
		if _, err := db.Exec(`DELETE FROM tokens`); err != nil {
			t.Fatal(err)
		}
	})
	if p := preview(t, env, "subject", "p-1"); p.Keys != 2 {
		t.Errorf("preview = %+v, want two keys", p)
	}
	done := erase(t, env, "subject", "p-1")
	env.Restart(nil)
	if i := env.Instance(id); len(i.Erased) != 4 {
		t.Errorf("erased: %v, variables %s", i.Erased, i.Variables)
	}
	verified(t, env, done.ID)
}

// TestAHiddenFormerKeyIsNoticed does by SQL what would keep a key from an erasure.
func TestAHiddenFormerKeyIsNoticed(t *testing.T) {
	t.Parallel()
	for name, hide := range map[string]string{
		"the row does not name it": `UPDATE subjects SET former = x''`,
		"it is gone":               `DELETE FROM data_keys WHERE scope = 'replaced'`,
		"it is in the pool":        `UPDATE data_keys SET scope = 'pool' WHERE scope = 'replaced'`,
		"the row of before":        `UPDATE subjects SET key_id = before.key_id, former = before.former, mac = before.mac FROM before`,
	} {
		t.Run(name, func(t *testing.T) {
			env := testenv.New(t, nil)
			env.Deploy("c.bpmn", classified)
			id := env.Start("classified", somebody)
			exec := func(statement string) {
				env.Restart(func() {
					db := openRaw(t, filepath.Join(env.Config.Data, "keys.db"))
					defer db.Close()
					if _, err := db.Exec(statement); err != nil {
						t.Fatal(err)
					}
				})
			}
			exec(`CREATE TABLE before AS SELECT * FROM subjects`)
			rotatedPerson(t, env, "p-1", id)
			exec(hide)
			for what, err := range map[string]error{
				"preview": errorOf(env.Engine.PreviewErasure(t.Context(), withPurpose(env.Ann), api.ErasureTarget{Kind: "subject", ID: "p-1"})),
				"order":   errorOf(order(t, env, "subject", "p-1", 0)),
				"rotate":  errorOf(env.Engine.RotateKey(t.Context(), env.Ann, api.RotateKeyRequest{Key: "subject", Subject: "p-1"})),
			} {
				if !fault.Is(err, fault.Integrity) {
					t.Errorf("%s: %v, want that it is noticed", what, err)
				}
			}
		})
	}
}

func TestPersonsKeysAreRenewedByTheirAge(t *testing.T) {
	t.Parallel()
	env, now := clocked(t)
	env.Deploy("c.bpmn", classified)
	var started []string
	for n := range 5 {
		started = append(started, env.Start("classified", strings.Replace(somebody, "p-1", fmt.Sprintf("p-%d", n), 1)))
	}
	renewed := func(olderThan time.Duration, limit int) (seen, renewed int) {
		page := api.RenewKeysRequest{Of: "subjects", OlderThanMS: int(olderThan.Milliseconds()), Limit: limit}
		for range 10 {
			out, err := env.Engine.RenewKeys(t.Context(), env.Ann, page)
			if err != nil || len(out.Failed) > 0 {
				t.Fatalf("RenewKeys: %+v, %v", out, err)
			}
			seen, renewed = seen+out.Seen, renewed+out.Renewed
			if page.After = out.Next; out.Next == "" {
				return seen, renewed
			}
			now.pass(time.Second)
		}
		t.Fatal("RenewKeys has no end")
		return 0, 0
	}
	now.pass(time.Hour)
	for _, test := range []struct {
		olderThan time.Duration
		want      int
	}{{2 * time.Hour, 0}, {time.Minute, 5}, {time.Minute, 0}, {0, 5}} {
		now.pass(time.Second)
		if seen, done := renewed(test.olderThan, 2); seen != test.want || done != test.want {
			t.Errorf("older than %s: saw %d and renewed %d, want %d", test.olderThan, seen, done, test.want)
		}
	}
	keys, err := env.Engine.Keys(t.Context(), env.Ann)
	if err != nil || keys.Subjects.Subjects != 5 || keys.Subjects.Former != 10 {
		t.Errorf("keys: %+v, %v", keys.Subjects, err)
	}
	for _, id := range started {
		if i := env.Instance(id); !strings.Contains(string(i.Variables), "flu") {
			t.Errorf("variables are %s", i.Variables)
		}
	}
	for what, in := range map[string]api.RenewKeysRequest{
		"of nobody we know":     {Of: "users"},
		"a cursor that is none": {Of: "subjects", After: "7"},
	} {
		if _, err := env.Engine.RenewKeys(t.Context(), env.Ann, in); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", what, err)
		}
	}
	for what, in := range map[string]api.RotateKeyRequest{
		"a person's key at a key service": {Key: "subject", Subject: "p-1", Service: "keyfile"},
		"nobody's key":                    {Key: "subject"},
		"somebody's tenant key":           {Key: "tenant", Subject: "p-1"},
	} {
		if _, err := env.Engine.RotateKey(t.Context(), env.Ann, in); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", what, err)
		}
	}
	if _, err := env.Engine.RotateKey(t.Context(), env.Ann, api.RotateKeyRequest{Key: "subject", Subject: "p-9"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a person who is not there: %v", err)
	}
}

// TestAnOrderAboutAPersonsKeyIsSettled lets the outcome be lost, as a crash does.
func TestAnOrderAboutAPersonsKeyIsSettled(t *testing.T) {
	t.Parallel()
	crash := errors.New("the power failed")
	for point, want := range map[string]string{
		"commit subject_key.rotated": "subject_key.rotated",
		"rotate a key":               "subject_key.rotation_unfinished",
	} {
		env := testenv.New(t, nil)
		env.Deploy("c.bpmn", classified)
		id := env.Start("classified", somebody)
		down := false
		engine.FailErasures(env.Engine, func(at string) error {
			if down = down || at == point; down {
				return crash
			}
			return nil
		})
		if _, err := env.Engine.RotateKey(t.Context(), env.Ann, api.RotateKeyRequest{Key: "subject", Subject: "p-1"}); !errors.Is(err, crash) {
			t.Fatalf("%s: %v", point, err)
		}
		if got := keySteps(t, env); got[len(got)-1] != "subject_key.rotation_ordered" {
			t.Fatalf("%s: the record says %v", point, got)
		}
		env.Restart(nil)
		if got := keySteps(t, env); got[len(got)-1] != want {
			t.Errorf("%s: the record says %v, want that it ends with %s", point, got, want)
		}
		if i := env.Instance(id); !strings.Contains(string(i.Variables), "flu") {
			t.Errorf("variables are %s", i.Variables)
		}
	}
}
