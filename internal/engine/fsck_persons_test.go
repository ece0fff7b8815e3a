package engine_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
)

// coupled has fields that can be searched: one about two persons, one about one of them, one
// about nobody, and one that is not sealed.
const coupled = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:seal="urn:underseal:bpmn:1" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="x">
<process id="coupled" isExecutable="true">
<extensionElements><seal:policy default="internal">
<seal:field path="borrower.id" class="internal"/><seal:field path="partner.id" class="internal"/>
<seal:field path="borrower.iban" class="confidential" subject="borrower.id" search="exact"/>
<seal:field path="partner.iban" class="confidential" subject="partner.id"/>
<seal:field path="both" class="confidential" search="exact"/>
<seal:field path="branch" class="confidential" search="exact"/>
<seal:field path="room" class="public" search="exact"/>
</seal:policy></extensionElements>
<startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="join"/>
<scriptTask id="join"><extensionElements><zeebe:script expression="=borrower.iban + partner.iban" resultVariable="both"/></extensionElements></scriptTask>
<sequenceFlow id="b" sourceRef="join" targetRef="ask"/><userTask id="ask"/>
</process></definitions>`

// TestEachRowOfAnIndexIsOfItsPerson changes, one after the other, whose key each row that a
// search finds an instance by is under, and deletes each: a field about two persons has two.
func TestEachRowOfAnIndexIsOfItsPerson(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("coupled.bpmn", coupled)
	start := func(borrower, partner string) {
		env.Start("coupled", fmt.Sprintf(`{"borrower": {"id": %q, "iban": "DE1"}, "partner": {"id": %q, "iban": "DE2"}, "branch": "north", "room": "B2"}`, borrower, partner))
	}
	start("p-1", "p-2")
	start("p-3", "p-3") // one person by two names: one row
	nothingFound(t, env)
	rows, keys := searchRows(t, env)
	if len(rows) != 5+4 || len(keys) != 3 {
		t.Fatalf("there are %d rows under %d keys, want 9 under those of three persons", len(rows), len(keys))
	}
	for i, r := range rows {
		for _, key := range append(keys, "") {
			moved := r
			if moved.key = key; slices.Contains(rows, moved) {
				continue
			}
			replaceRow(t, env, r, &moved)
			tokenIsMissed(t, env, fmt.Sprintf("row %d under key %x instead of %x", i, key, r.key))
			replaceRow(t, env, moved, &r)
		}
		replaceRow(t, env, r, nil)
		tokenIsMissed(t, env, fmt.Sprintf("row %d deleted", i))
		replaceRow(t, env, searchRow{}, &r)
	}
	nothingFound(t, env)
}

// searchRow is a row that a search by a field's value finds an instance by.
type searchRow struct {
	token, object string
	seq           int
	key           string
}

// searchRows returns all such rows, and the keys of persons that they are under.
func searchRows(t *testing.T, env *testenv.Env) (rows []searchRow, keys []string) {
	t.Helper()
	db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	defer db.Close()
	found, err := db.Query(`SELECT token, object, seq, data_key FROM tokens WHERE kind = ?`, store.SearchToken)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	for found.Next() {
		var r searchRow
		if err := found.Scan(&r.token, &r.object, &r.seq, &r.key); err != nil {
			t.Fatal(err)
		}
		if rows = append(rows, r); r.key != "" && !slices.Contains(keys, r.key) {
			keys = append(keys, r.key)
		}
	}
	return rows, keys
}

// replaceRow deletes a row, and writes another one, if there is to be one, in its place.
func replaceRow(t *testing.T, env *testenv.Env, old searchRow, by *searchRow) {
	t.Helper()
	db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	defer db.Close()
	_, err := db.Exec(`DELETE FROM tokens WHERE kind = ? AND token = ? AND object = ? AND seq = ? AND data_key = ?`,
		store.SearchToken, []byte(old.token), []byte(old.object), old.seq, []byte(old.key))
	if err == nil && by != nil {
		_, err = db.Exec(`INSERT INTO tokens (tenant, kind, token, object, seq, print, data_key) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			identity.MainTenant, store.SearchToken, []byte(by.token), []byte(by.object), by.seq, []byte{}, []byte(by.key))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tokenIsMissed requires that the check names one token of an index that is gone.
func tokenIsMissed(t *testing.T, env *testenv.Env, what string) {
	t.Helper()
	check := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{})
	var all []engine.Finding
	for !check.Done() {
		found, err := check.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if len(all) != 1 || all[0].Kind != engine.FoundToken || all[0].Where != "tokens" {
		t.Errorf("%s: the check names %+v", what, all)
	}
}
