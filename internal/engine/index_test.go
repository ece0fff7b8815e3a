package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// newIndexKey rotates the index key and returns its number.
func newIndexKey(t *testing.T, env *testenv.Env) string {
	t.Helper()
	return rotated(t, env, api.RotateKeyRequest{Key: "index"})
}

// startLoan starts a loan of an applicant, found by a business key too.
func startLoan(t *testing.T, env *testenv.Env, applicant, business, idem string) string {
	t.Helper()
	variables := json.RawMessage(strings.Replace(example(t, "application.json"), "536-22-8817", applicant, 1))
	receipt, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "loan", BusinessKey: business, Variables: variables}, idem)
	if err != nil {
		t.Fatal(err)
	}
	return receipt.Instance
}

// found returns the ids that a filter finds, in the order in which they were started.
func found(t *testing.T, env *testenv.Env, f engine.InstanceFilter) (ids []string) {
	t.Helper()
	list, err := env.Engine.Instances(t.Context(), env.Ann, f, pageOf(100))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list.Items {
		ids = append([]string{i.ID}, ids...)
	}
	return ids
}

// renewedIndex makes all index tokens anew, some at a time.
func renewedIndex(t *testing.T, env *testenv.Env) (seen, renewed int) {
	t.Helper()
	for page := (api.RenewKeysRequest{Of: "index", Limit: 2}); ; {
		out, err := env.Engine.RenewKeys(t.Context(), env.Ann, page)
		if err != nil || len(out.Failed) > 0 {
			t.Fatalf("RenewKeys: %+v, %v", out, err)
		}
		seen, renewed = seen+out.Seen, renewed+out.Renewed
		if page.After = out.Next; out.Next == "" {
			return seen, renewed
		}
	}
}

func TestANewIndexKeyTakesOver(t *testing.T) { onBoth(t, newIndexKeyTakesOver) }

// newIndexKeyTakesOver rotates the index key between two loans: both are found by all that
// they are to be found by, before and after the tokens are made anew, and a request that
// is repeated is one.
func newIndexKeyTakesOver(t *testing.T, env *testenv.Env) {
	deployLoan(t, env)
	reader, err := env.Engine.CreateLogReader(t.Context(), env.Ann, api.LogReaderRequest{Name: "an auditor"})
	if err != nil {
		t.Fatal(err)
	}
	register(t, env, "scorer", newKey(t))
	ids := []string{startLoan(t, env, "536-22-8817", "B-1", "first")}
	other := startLoan(t, env, "111-11-1111", "B-2", "")
	for range 2 { // the second one by mistake
		if number := rotated(t, env, api.RotateKeyRequest{Key: "index", After: "1"}); number != "2" {
			t.Fatalf("the index key is number %s, want 2", number)
		}
	}
	ids = append(ids, startLoan(t, env, "536-22-8817", "B-1", "second"))
	newIndexKey(t, env)
	ids = append(ids, startLoan(t, env, "536-22-8817", "B-1", "third"))
	check := func(when string) {
		t.Helper()
		for what, f := range map[string]engine.InstanceFilter{
			"business key": {BusinessKey: "B-1"}, "field": {Process: "loan", Field: "applicant.ssn", Value: "536-22-8817"},
		} {
			if got := found(t, env, f); !slices.Equal(got, ids) {
				t.Errorf("%s: by %s: %v, want %v", when, what, got, ids)
			}
		}
		if got := found(t, env, engine.InstanceFilter{BusinessKey: "B-2"}); !slices.Equal(got, []string{other}) {
			t.Errorf("%s: by another business key: %v, want %s", when, got, other)
		}
		for i, idem := range []string{"first", "second", "third"} {
			if got := startLoan(t, env, "536-22-8817", "B-1", idem); got != ids[i] {
				t.Errorf("%s: the %s request repeated is instance %s, want %s", when, idem, got, ids[i])
			}
		}
		if _, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "loan"}, "first"); fault.CodeOf(err) != "idempotency_mismatch" {
			t.Errorf("%s: the key of another request: %v", when, err)
		}
		if got, err := env.Engine.LogReaders(t.Context(), env.Ann, pageOf(10)); err != nil || len(got.Items) != 1 || got.Items[0].ID != reader.ID {
			t.Errorf("%s: readers of the log: %+v, %v", when, got.Items, err)
		}
		if got, err := env.Engine.Signers(t.Context(), env.Ann); err != nil || len(got.Items) == 0 {
			t.Errorf("%s: signers: %+v, %v", when, got.Items, err)
		}
	}
	check("rotated")
	before := tokensOf(t, env)
	if seen, renewed := renewedIndex(t, env); seen != 4 || renewed != 3 {
		t.Errorf("of %d instances %d got new tokens, want 3 of 4", seen, renewed)
	}
	after := tokensOf(t, env)
	// Of the last loan's tokens all stay.
	if kept := len(before) / 4; len(after) != len(before) || kept == 0 || common(before, after) != kept {
		t.Errorf("%d tokens, %d of %d stayed, want %d", len(after), common(before, after), len(before), kept)
	}
	check("renewed")
	if seen, renewed := renewedIndex(t, env); seen != 4 || renewed != 0 {
		t.Errorf("again: of %d instances %d got new tokens, want none of 4", seen, renewed)
	}
	env.Restart(nil)
	check("restarted")
	if _, err := env.Engine.RenewKeys(t.Context(), env.Ann, api.RenewKeysRequest{Of: "index", OlderThanMS: 1}); !fault.Is(err, fault.Invalid) {
		t.Errorf("tokens of an age: %v, want invalid", err)
	}
}

func common(a, b []string) (n int) {
	for _, text := range a {
		if slices.Contains(b, text) {
			n++
		}
	}
	return n
}

// tokensOf returns the tokens of business keys and fields, in hex.
func tokensOf(t *testing.T, env *testenv.Env) []string {
	t.Helper()
	var text string
	if env.Config.DSN != "" {
		conn, err := pgx.Connect(t.Context(), env.Config.DSN)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		err = conn.QueryRow(t.Context(), `SELECT string_agg(encode(token, 'hex'), ' ') FROM underseal.tokens WHERE kind IN (2, 3)`).Scan(&text)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(text)
	}
	db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	defer db.Close()
	if err := db.QueryRow(`SELECT group_concat(hex(token), ' ') FROM tokens WHERE kind IN (2, 3)`).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return strings.Fields(text)
}

func TestAFormerValueIsNotFoundAnyMore(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	deployLoan(t, env)
	id := startLoan(t, env, "536-22-8817", "B-1", "")
	set := func(ssn string) {
		if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, []byte(`{"applicant": {"id": "A-1", "ssn": "`+ssn+`"}}`), ""); err != nil {
			t.Fatal(err)
		}
	}
	set("111-11-1111")
	newIndexKey(t, env)
	set("222-22-2222")
	before := len(tokensOf(t, env))
	if _, renewed := renewedIndex(t, env); renewed != 1 {
		t.Errorf("%d instances got new tokens, want 1", renewed)
	}
	if after := len(tokensOf(t, env)); after >= before {
		t.Errorf("of %d tokens %d are left, want those of former values away", before, after)
	}
	if got := found(t, env, engine.InstanceFilter{Process: "loan", Field: "applicant.ssn", Value: "222-22-2222"}); len(got) != 1 {
		t.Errorf("found by its value: %v", got)
	}
	if got := found(t, env, engine.InstanceFilter{Process: "loan", Field: "applicant.ssn", Value: "536-22-8817"}); len(got) != 0 {
		t.Errorf("found by a former value: %v", got)
	}
}

func TestAPersonIsOneAcrossRotations(t *testing.T) { onBoth(t, onePersonAcrossRotations) }

// onePersonAcrossRotations orders the erasure of a person under one index key, and carries
// it out under another: all instances about them are reached.
func onePersonAcrossRotations(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	before := env.Start("classified", somebody)
	newIndexKey(t, env)
	between, other := env.Start("classified", somebody), env.Start("classified", strings.Replace(somebody, "p-1", "p-2", 1))
	if p := preview(t, env, "subject", "p-1"); p.Keys != 1 || p.Instances != 2 {
		t.Errorf("preview = %+v, want one key and two instances", p)
	}
	if number := rotated(t, env, api.RotateKeyRequest{Key: "subject", Subject: "p-1"}); number != "2" {
		t.Errorf("the person's key is number %s, want 2", number)
	}
	pending, err := order(t, env, "subject", "p-1", time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	newIndexKey(t, env)
	after := env.Start("classified", somebody)
	if err := eraseUntilDue(t, env); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{before, between, after} {
		if i := env.Instance(id); len(i.Erased) != 4 {
			t.Errorf("erased: %v", i.Erased)
		}
	}
	if i := env.Instance(other); len(i.Erased) > 0 {
		t.Errorf("of another person erased: %v", i.Erased)
	}
	verified(t, env, pending.ID)
	back := env.Start("classified", somebody)
	again := erase(t, env, "subject", "p-1")
	if again.ID != pending.ID || len(env.Instance(back).Erased) != 4 {
		t.Errorf("who came back: custody %s, want %s; erased: %v", again.ID, pending.ID, env.Instance(back).Erased)
	}
	env.Restart(nil)
	verified(t, env, again.ID)
}

// TestBothSpellingsAreErasedAcrossARotation erases somebody of whom one spelling of the
// id is met only when the index key was rotated since the order.
func TestBothSpellingsAreErasedAcrossARotation(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	text := env.Start("classified", strings.Replace(somebody, `"p-1"`, `"17"`, 1))
	if _, err := order(t, env, "subject", "17", time.Millisecond); err != nil {
		t.Fatal(err)
	}
	newIndexKey(t, env)
	number := env.Start("classified", strings.Replace(somebody, `"p-1"`, `17`, 1))
	if err := eraseUntilDue(t, env); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{text, number} {
		if i := env.Instance(id); len(i.Erased) != 4 {
			t.Errorf("erased: %v", i.Erased)
		}
	}
}

func TestAHoldOutlivesARotation(t *testing.T) { onBoth(t, holdOutlivesRotation) }

// holdOutlivesRotation holds somebody who is not known, and somebody who is, and lets the
// index key rotate.
func holdOutlivesRotation(t *testing.T, env *testenv.Env) {
	ctx := t.Context()
	env.Deploy("c.bpmn", classified)
	known := env.Start("classified", somebody)
	hold := func(person string) string {
		h, err := env.Engine.PlaceHold(ctx, env.Ann, api.HoldRequest{Kind: "subject", ID: person}, "")
		if err != nil {
			t.Fatal(err)
		}
		return h.ID
	}
	holds := []string{hold("p-1"), hold("p-9")}
	newIndexKey(t, env)
	unknown := env.Start("classified", strings.Replace(somebody, "p-1", "p-9", 1))
	newIndexKey(t, env)
	refused := func(when string) {
		t.Helper()
		for _, target := range [][2]string{{"subject", "p-1"}, {"subject", "p-9"}, {"instance", known}, {"instance", unknown}} {
			if _, err := order(t, env, target[0], target[1], 0); fault.CodeOf(err) != "on_hold" {
				t.Errorf("%s: erasing %s %s: %v, want on_hold", when, target[0], target[1], err)
			}
		}
	}
	refused("rotated")
	second := hold("p-9")
	if custody, _, _ := strings.Cut(holds[1], "."); !strings.HasPrefix(second, custody+".") {
		t.Errorf("holds on one person have the ids %s and %s, want one custody", holds[1], second)
	}
	env.Restart(nil)
	refused("restarted")
	for _, id := range append(holds, second) {
		if _, err := env.Engine.ReleaseHold(ctx, env.Ann, id, ""); err != nil {
			t.Fatal(err)
		}
	}
	erase(t, env, "subject", "p-9")
	if i := env.Instance(unknown); len(i.Erased) != 4 {
		t.Errorf("erased: %v", i.Erased)
	}
	erase(t, env, "instance", known)
}

// TestANewIndexKeyAfterACrash loses what comes after the order to rotate, or the outcome.
func TestANewIndexKeyAfterACrash(t *testing.T) {
	t.Parallel()
	crash := errors.New("the power failed")
	for point, want := range map[string]struct{ last, number string }{
		"commit index_key.rotated": {"index_key.rotated", "2"},
		"rotate a key":             {"index_key.rotation_unfinished", "1"},
	} {
		env := testenv.New(t, nil)
		deployLoan(t, env)
		ids := []string{startLoan(t, env, "536-22-8817", "B-1", "")}
		down := false
		engine.FailErasures(env.Engine, func(at string) error {
			if down = down || at == point; down {
				return crash
			}
			return nil
		})
		if _, err := env.Engine.RotateKey(t.Context(), env.Ann, api.RotateKeyRequest{Key: "index"}); !errors.Is(err, crash) {
			t.Fatalf("%s: %v", point, err)
		}
		env.Restart(nil)
		if got := keySteps(t, env); got[len(got)-1] != want.last {
			t.Errorf("%s: the record says %v, want that it ends with %s", point, got, want.last)
		}
		keys, err := env.Engine.Keys(t.Context(), env.Ann)
		if err != nil || keys.Purposes[0].Purpose != "index" || strconv.Itoa(keys.Purposes[0].Number) != want.number {
			t.Errorf("%s: keys: %+v, %v", point, keys.Purposes, err)
		}
		ids = append(ids, startLoan(t, env, "536-22-8817", "B-1", ""))
		if got := found(t, env, engine.InstanceFilter{BusinessKey: "B-1"}); !slices.Equal(got, ids) {
			t.Errorf("%s: found %v, want %v", point, got, ids)
		}
	}
}

// TestTokensAreMadeAnewWithTheLog lets the transaction of a page fail: then its tokens are
// those of before, and the next try makes them anew.
func TestTokensAreMadeAnewWithTheLog(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	deployLoan(t, env)
	for range 3 {
		startLoan(t, env, "536-22-8817", "B-1", "")
	}
	newIndexKey(t, env)
	before := tokensOf(t, env)
	noLeaves(t, env)
	if _, err := env.Engine.RenewKeys(t.Context(), env.Ann, api.RenewKeysRequest{Of: "index"}); err == nil {
		t.Error("tokens were made anew without a leaf")
	}
	leavesAgain(t, env)
	if after := tokensOf(t, env); common(before, after) != len(before) || len(after) != len(before) {
		t.Error("tokens changed without a leaf")
	}
	if _, renewed := renewedIndex(t, env); renewed != 3 {
		t.Errorf("%d instances got new tokens, want 3", renewed)
	}
	if told := entriesOf(t, env, "index_key.terms_renewed"); len(told) != 2 { // pages of two
		t.Errorf("the log tells of %d pages, want 2", len(told))
	}
}

// TestIndexKeysThatWereSetBackAreNoticed puts the key rows of before a rotation back.
func TestIndexKeysThatWereSetBackAreNoticed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"both as they were": `DELETE FROM data_keys WHERE scope = 'index' OR substr(scope, 1, 6) = 'index/';
			INSERT INTO data_keys SELECT * FROM before WHERE scope = 'index' OR substr(scope, 1, 6) = 'index/'`,
		"the one before the newest is gone": `DELETE FROM data_keys WHERE scope = 'index/1'`,
		"the newest is gone":                `DELETE FROM data_keys WHERE scope = 'index'`,
	} {
		env := testenv.New(t, nil)
		exec := func(text string) {
			db := openRaw(t, filepath.Join(env.Config.Data, "keys.db"))
			defer db.Close()
			if _, err := db.Exec(text); err != nil {
				t.Fatal(err)
			}
		}
		env.Restart(func() { exec(`CREATE TABLE before AS SELECT * FROM data_keys`) })
		newIndexKey(t, env)
		config := env.Config
		if err := env.Node.Close(); err != nil {
			t.Fatal(err)
		}
		env.Node = nil
		exec(change)
		n, err := node.Open(t.Context(), config)
		if err == nil {
			n.Close()
		}
		if !fault.Is(err, fault.Integrity) {
			t.Errorf("%s: the start: %v, want an integrity fault", name, err)
		}
	}
}

// TestATokenUnderNoIndexKeyIsNamed changes a token, and adds one.
func TestATokenUnderNoIndexKeyIsNamed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"another one": `UPDATE tokens SET token = randomblob(32) WHERE kind = 2`,
		"one more":    `INSERT INTO tokens SELECT tenant, kind, randomblob(32), object, seq, print, data_key FROM tokens WHERE kind = 2`,
	} {
		env := testenv.New(t, nil)
		deployLoan(t, env)
		startLoan(t, env, "536-22-8817", "B-1", "")
		newIndexKey(t, env)
		startLoan(t, env, "536-22-8817", "B-1", "")
		w := &world{config: env.Config}
		if err := env.Node.Close(); err != nil {
			t.Fatal(err)
		}
		env.Node = nil
		if got, err := w.fsck(t, env.Config.Data, false); err != nil || len(got) > 0 {
			t.Fatalf("%s: before: %+v, %v", name, got, err)
		}
		db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
		if _, err := db.Exec(change); err != nil {
			t.Fatal(err)
		}
		db.Close()
		got, err := w.fsck(t, env.Config.Data, false)
		none := func(f engine.Finding) bool { return strings.Contains(f.What, "under none of the tenant's index keys") }
		if err != nil || !slices.ContainsFunc(got, none) {
			t.Errorf("%s: %+v, %v, want the token named", name, got, err)
		}
	}
}

// TestSearchesAndErasuresAgreeWithAModelOfRotations starts, rotates, renews, searches,
// holds and erases in any order.
func TestSearchesAndErasuresAgreeWithAModelOfRotations(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("rotations and erasures in many orders")
	}
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", strings.Replace(classified, `path="person.id" class="internal"`, `path="person.id" class="internal" search="exact"`, 1))
	m := &indexModel{t: t, env: env}
	rapid.Check(t, func(rt *rapid.T) {
		m.rt, m.persons = rt, map[string]*modelPerson{}
		m.round++
		steps := []func(id string, p *modelPerson){m.start, m.start, m.rotate, m.renew, m.search, m.hold, m.release, m.erase}
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(steps)-1), 3, 10).Draw(rt, "steps") {
			id := fmt.Sprintf("r%d-p%d", m.round, rapid.IntRange(1, 2).Draw(rt, "person"))
			if m.persons[id] == nil {
				m.persons[id] = &modelPerson{}
			}
			steps[i](id, m.persons[id])
		}
		for id, p := range m.persons {
			m.search(id, p)
			m.read(id, p)
		}
	})
	if m.rotations == 0 {
		t.Error("the index key was not rotated once")
	}
}

// An indexModel is what must be true of persons, whatever was done.
type indexModel struct {
	t                *testing.T
	rt               *rapid.T
	env              *testenv.Env
	round, rotations int
	persons          map[string]*modelPerson
}

// A modelPerson has instances, of which some were erased with them, and holds.
type modelPerson struct{ live, erased, holds []string }

func (m *indexModel) start(id string, p *modelPerson) {
	p.live = append(p.live, m.env.Start("classified", strings.Replace(somebody, "p-1", id, 1)))
}

// rotate gives the tenant a new index key, some times in all rounds: each look-up is for
// all of them.
func (m *indexModel) rotate(string, *modelPerson) {
	if m.rotations < 12 {
		newIndexKey(m.t, m.env)
		m.rotations++
	}
}

func (m *indexModel) renew(string, *modelPerson) {
	if m.round <= 5 { // it reads all instances of all rounds
		renewedIndex(m.t, m.env)
	}
}

func (m *indexModel) search(id string, p *modelPerson) {
	if got := found(m.t, m.env, engine.InstanceFilter{Process: "classified", Field: "person.id", Value: id}); !slices.Equal(got, p.live) {
		m.rt.Fatalf("found %v by %s, want %v", got, id, p.live)
	}
}

func (m *indexModel) hold(id string, p *modelPerson) {
	h, err := m.env.Engine.PlaceHold(m.t.Context(), m.env.Ann, api.HoldRequest{Kind: "subject", ID: id}, "")
	if err != nil {
		m.rt.Fatal(err)
	}
	p.holds = append(p.holds, h.ID)
}

func (m *indexModel) release(_ string, p *modelPerson) {
	for _, h := range p.holds {
		if _, err := m.env.Engine.ReleaseHold(m.t.Context(), m.env.Ann, h, ""); err != nil {
			m.rt.Fatal(err)
		}
	}
	p.holds = nil
}

func (m *indexModel) erase(id string, p *modelPerson) {
	_, err := order(m.t, m.env, "subject", id, 0)
	switch {
	case len(p.holds) > 0:
		if fault.CodeOf(err) != "on_hold" {
			m.rt.Fatalf("erasing %s, who is held: %v", id, err)
		}
		for _, instance := range p.live {
			if _, err := order(m.t, m.env, "instance", instance, 0); fault.CodeOf(err) != "on_hold" {
				m.rt.Fatalf("erasing an instance of %s, who is held: %v", id, err)
			}
		}
	case err == nil:
		p.erased, p.live = append(p.erased, p.live...), nil
	case len(p.live) > 0 || fault.CodeOf(err) != "no_such_subject":
		m.rt.Fatalf("erasing %s: %v", id, err)
	}
}

func (m *indexModel) read(id string, p *modelPerson) {
	for _, instance := range p.live {
		if i := m.env.Instance(instance); len(i.Erased) > 0 {
			m.rt.Fatalf("of %s erased: %v", id, i.Erased)
		}
	}
	for _, instance := range p.erased {
		if i := m.env.Instance(instance); len(i.Erased) != 4 {
			m.rt.Fatalf("of %s, who is erased, erased: %v", id, i.Erased)
		}
	}
}
