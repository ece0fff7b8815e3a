package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// order orders an erasure.
func order(t *testing.T, env *testenv.Env, kind, id string, delay time.Duration) (api.Erasure, error) {
	t.Helper()
	ms := int(delay.Milliseconds())
	return env.Engine.OrderErasure(t.Context(), env.Ann, api.ErasureRequest{Kind: kind, ID: id, Reason: "they asked", DelayMS: &ms}, "")
}

// erase erases at once.
func erase(t *testing.T, env *testenv.Env, kind, id string) api.Erasure {
	t.Helper()
	e, err := order(t, env, kind, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	if e.State != "done" || e.Completed == nil {
		t.Fatalf("erasure = %+v, want it done", e)
	}
	return e
}

// verified verifies an erasure to its end and returns the sums of all parts.
func verified(t *testing.T, env *testenv.Env, id string) api.ErasureCheck {
	t.Helper()
	var sum api.ErasureCheck
	for {
		part, err := env.Engine.VerifyErasure(t.Context(), env.Ann, id, api.ErasureCheckRequest{After: sum.Next})
		if err != nil {
			t.Fatalf("verifying: %v", err)
		}
		if len(part.Findings) > 0 {
			t.Errorf("can be read: %v", part.Findings)
		}
		sum.Fields, sum.Erased, sum.Leaves, sum.Next = sum.Fields+part.Fields, sum.Erased+part.Erased, sum.Leaves+part.Leaves, part.Next
		if sum.Next == "" {
			return sum
		}
	}
}

// withPurpose is a caller who says what for.
func withPurpose(c engine.Caller) engine.Caller {
	c.Purpose = "a request by law"
	return c
}

func preview(t *testing.T, env *testenv.Env, kind, id string) api.ErasurePreview {
	t.Helper()
	p, err := env.Engine.PreviewErasure(t.Context(), withPurpose(env.Ann), api.ErasureTarget{Kind: kind, ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAnInstanceIsErased(t *testing.T) { onBoth(t, anInstanceIsErased) }

func anInstanceIsErased(t *testing.T, env *testenv.Env) {
	ctx := t.Context()
	env.Deploy("all.bpmn", everything)
	id := env.Start("everything", `{"note": "a", "other": 1}`)
	other := env.Start("everything", `{"note": "b", "other": 2}`)
	task, job := env.Task(id), env.Job("work")
	p := preview(t, env, "instance", id)
	if p.Instances != 1 || p.Running != 1 || p.Keys != 1 || p.Fields < 2 || p.Tasks != 1 || p.Jobs != 2 || p.Timers != 1 || p.State != "none" {
		t.Errorf("preview = %+v", p)
	}
	done := erase(t, env, "instance", id)
	if done.Instance != id || done.Reason != "they asked" || done.By != "ann" || done.ID != p.ID {
		t.Errorf("erasure = %+v", done)
	}
	erased := func(what string, err error) {
		t.Helper()
		if !fault.Is(err, fault.Sealed) || fault.CodeOf(err) != "erased" {
			t.Errorf("%s: %v, want that it is erased", what, err)
		}
	}
	check := func() {
		t.Helper()
		_, err := env.Engine.Instance(ctx, env.Ann, id)
		erased("reading", err)
		_, err = env.Engine.Export(ctx, env.Ann, id)
		erased("exporting", err)
		_, err = env.Engine.Steps(ctx, env.Ann, id, pageOf(0))
		erased("its steps", err)
		_, err = env.Engine.CompleteTask(ctx, env.Ann, task.ID, []byte(`{}`), "")
		erased("completing a task", err)
		_, err = env.Engine.CompleteJob(ctx, env.Ann, job.ID, api.CompleteJobRequest{Lease: job.Lease}, "")
		erased("completing a job", err)
		_, err = env.Engine.SetVariables(ctx, env.Ann, id, []byte(`{"note": "c"}`), "")
		erased("changing it", err)
		list, err := env.Engine.Instances(ctx, env.Ann, engine.InstanceFilter{}, pageOf(0))
		if err != nil || len(list.Items) != 2 || list.Items[1].ID != id || list.Items[1].Status != "erased" || list.Items[0].Status != "active" {
			t.Errorf("list = %+v, %v", list, err)
		}
		tasks, err := env.Engine.Tasks(ctx, env.Ann, engine.TaskFilter{}, pageOf(0))
		if err != nil || len(tasks.Items) != 1 || tasks.Items[0].Instance != other {
			t.Errorf("tasks = %+v, %v, want the other instance's", tasks, err)
		}
		if sum := verified(t, env, done.ID); sum.Erased == 0 || sum.Leaves != 1 {
			t.Errorf("verified %+v, want erased fields and one leaf", sum)
		}
	}
	check()
	env.Restart(nil)
	check()
	if got := env.Job("work"); got.Instance != other {
		t.Errorf("a job of %s is offered", got.Instance)
	}
	if _, err := order(t, env, "instance", id, 0); fault.CodeOf(err) != "erased" {
		t.Errorf("erasing it again: %v", err)
	}
	receipt, err := env.Engine.ErasureReceipt(ctx, env.Ann, done.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got := events(receipt.Steps); got != "ordered by ann, destroyed by engine, completed by engine" || len(receipt.Keys) != 1 || receipt.EverywhereFrom.Sub(*receipt.UnreadableFrom) != 30*24*time.Hour {
		t.Errorf("receipt: %s, %+v", got, receipt)
	}
}

func events(steps []api.Step) string {
	var list []string
	for _, s := range steps {
		list = append(list, s.Event+" by "+s.Actor)
	}
	return strings.Join(list, ", ")
}

func TestAPersonIsErased(t *testing.T) { onBoth(t, aPersonIsErased) }

func aPersonIsErased(t *testing.T, env *testenv.Env) {
	ctx := t.Context()
	env.Deploy("c.bpmn", classified)
	running := env.Start("classified", somebody)
	later := env.Start("classified", `{"shoe": 45, "salary": 1, "person": {"diagnosis": "cold"}}`) // found to be p-1
	other := env.Start("classified", strings.Replace(somebody, "p-1", "p-2", 1))
	if _, err := env.Engine.SetVariables(ctx, env.Ann, later, []byte(`{"person": {"id": "p-1"}}`), ""); err != nil {
		t.Fatal(err)
	}
	leased := env.Job("work")
	p := preview(t, env, "subject", "p-1")
	if p.Instances != 2 || p.Running != 2 || p.Keys != 2 || p.Fields != 7 || len(p.Sample) != 2 {
		t.Errorf("preview = %+v", p)
	}
	done := erase(t, env, "subject", "p-1")
	if i := env.Instance(running); erasedPaths(i) != "copied person.diagnosis person.id shoe" { // was open in memory
		t.Errorf("erased: %s", erasedPaths(i))
	}
	_, err := env.Engine.CompleteJob(ctx, env.Ann, leased.ID, api.CompleteJobRequest{Lease: leased.Lease, Variables: []byte(`{"undeclared": "about p-1"}`)}, "")
	if fault.CodeOf(err) != "lease_lost" {
		t.Errorf("completing a job that was given what is erased: %v", err)
	}
	env.Restart(nil)
	if i := env.Instance(later); strings.Contains(string(i.Variables), "45") {
		t.Errorf("variables are %s", i.Variables)
	}
	for _, id := range []string{running, later, other} {
		if _, err := env.Engine.Export(ctx, env.Ann, id); err != nil {
			t.Error(err)
		}
	}
	if i := env.Instance(other); len(i.Erased) > 0 {
		t.Errorf("of another person erased: %v", i.Erased)
	}
	sum := verified(t, env, done.ID)
	if sum.Erased != 4+4+2 { // of the second, what was written before the name was known as well
		t.Errorf("verified %+v", sum)
	}
	if _, err := order(t, env, "subject", "p-1", 0); !fault.Is(err, fault.NotFound) {
		t.Errorf("erasing a person twice: %v, want that nothing is stored", err)
	}
	comeBack(t, env, done)
}

// comeBack lets the erased person come back and erases them again.
func comeBack(t *testing.T, env *testenv.Env, before api.Erasure) {
	t.Helper()
	back := env.Start("classified", somebody)
	env.Restart(nil)
	if i := env.Instance(back); len(i.Erased) > 0 || !strings.Contains(string(i.Variables), "flu") {
		t.Errorf("variables of who came back are %s", i.Variables)
	}
	again := erase(t, env, "subject", "p-1")
	if again.ID != before.ID {
		t.Errorf("the second erasure is %s, want it in the same custody as %s", again.ID, before.ID)
	}
	if i := env.Instance(back); len(i.Erased) != 4 {
		t.Errorf("erased: %v", i.Erased)
	}
	receipt, err := env.Engine.ErasureReceipt(t.Context(), env.Ann, again.ID)
	if err != nil || len(receipt.Keys) != 3 {
		t.Errorf("receipt = %+v, %v, want three keys", receipt, err)
	}
	verified(t, env, again.ID)
}

func TestAPersonWhoseIdIsANumber(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", strings.Replace(somebody, `"p-1"`, `17`, 1))
	as := env.Start("classified", strings.Replace(somebody, `p-1`, `17`, 1))
	if p := preview(t, env, "subject", "17"); p.Instances != 2 || p.Keys != 2 {
		t.Errorf("preview = %+v", p)
	}
	erase(t, env, "subject", "17")
	for _, id := range []string{id, as} {
		if i := env.Instance(id); len(i.Erased) != 4 {
			t.Errorf("erased: %v", i.Erased)
		}
	}
}

func TestOrdersThatAreRefused(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	for _, c := range []struct {
		kind, id string
		want     fault.Kind
	}{
		{"subject", "nobody", fault.NotFound}, {"subject", "", fault.Invalid}, {"instance", "x", fault.NotFound},
		{"instance", "0190a6f0-0000-7000-8000-000000000000", fault.NotFound}, {"definition", "x", fault.Invalid},
	} {
		if _, err := order(t, env, c.kind, c.id, 0); !fault.Is(err, c.want) {
			t.Errorf("%s %q: %v, want %v", c.kind, c.id, err, c.want)
		}
	}
}

// clocked starts a node with a clock that the test sets.
func clocked(t *testing.T) (*testenv.Env, *clock) {
	clock := newClock(time.Now())
	return testenv.New(t, func(c *node.Config) { c.Now = clock.now }), clock
}

func TestAnErasureWaitsAndCanBeCanceled(t *testing.T) {
	t.Parallel()
	env, now := clocked(t)
	ctx := t.Context()
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	pending, err := order(t, env, "subject", "p-1", time.Hour)
	if err != nil || pending.State != "pending" || !pending.Due.Equal(pending.Ordered.Add(time.Hour)) {
		t.Fatalf("%+v, %v", pending, err)
	}
	if _, err := order(t, env, "subject", "p-1", 0); fault.CodeOf(err) != "erasure_pending" {
		t.Errorf("ordering it twice: %v", err)
	}
	due := func() {
		t.Helper()
		if err := env.Engine.EraseDue(ctx); err != nil {
			t.Fatal(err)
		}
	}
	due()
	if i := env.Instance(id); len(i.Erased) > 0 {
		t.Errorf("erased before it was due: %v", i.Erased)
	}
	if canceled, err := env.Engine.CancelErasure(ctx, env.Ann, pending.ID, ""); err != nil || canceled.State != "canceled" {
		t.Errorf("%+v, %v", canceled, err)
	}
	now.pass(2 * time.Hour)
	due()
	if i := env.Instance(id); len(i.Erased) > 0 {
		t.Errorf("erased though canceled: %v", i.Erased)
	}
	if _, err := env.Engine.CancelErasure(ctx, env.Ann, pending.ID, ""); !fault.Is(err, fault.Conflict) {
		t.Errorf("canceling it twice: %v", err)
	}
	if _, err = order(t, env, "subject", "p-1", time.Hour); err != nil {
		t.Fatal(err)
	}
	env.Restart(nil)
	now.pass(time.Hour)
	due()
	if i := env.Instance(id); len(i.Erased) != 4 {
		t.Errorf("erased: %v", i.Erased)
	}
	if _, err := env.Engine.CancelErasure(ctx, env.Ann, pending.ID, ""); fault.CodeOf(err) != "erasure_begun" {
		t.Errorf("canceling what is done: %v", err)
	}
}

// TestAnErasureIsReadWhileAHoldIsPlaced has a step of the custody come between the two
// statements by which each use case reads it: that looks like tampering only once.
func TestAnErasureIsReadWhileAHoldIsPlaced(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx := t.Context()
	env.Deploy("c.bpmn", classified)
	env.Start("classified", somebody)
	pending, err := order(t, env, "subject", "p-1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() error{
		"its receipt": func() error {
			r, err := env.Engine.ErasureReceipt(ctx, env.Ann, pending.ID)
			if err == nil && len(r.Steps) != 1+r.Erasure.Holds {
				t.Errorf("the receipt has %d steps and %d holds", len(r.Steps), r.Erasure.Holds)
			}
			return err
		},
		"the list of erasures": func() error { _, err := env.Engine.Erasures(ctx, env.Ann, pageOf(0)); return err },
		"the list of holds":    func() error { _, err := env.Engine.Holds(ctx, env.Ann, pageOf(0)); return err },
		"a preview": func() error {
			_, err := env.Engine.PreviewErasure(ctx, withPurpose(env.Ann), api.ErasureTarget{Kind: "subject", ID: "p-1"})
			return err
		},
		"verifying it": func() error {
			_, err := env.Engine.VerifyErasure(ctx, env.Ann, pending.ID, api.ErasureCheckRequest{})
			if fault.CodeOf(err) == "not_erased" {
				return nil
			}
			return fmt.Errorf("want that it is not erased: %w", err)
		},
	} {
		placed := false
		engine.WhileReading(env.Engine, func() {
			engine.WhileReading(env.Engine, nil)
			placed = true
			if _, err := env.Engine.PlaceHold(ctx, env.Ann, api.HoldRequest{Kind: "subject", ID: "p-1", Reason: name}, name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		if err := read(); err != nil || !placed {
			t.Errorf("%s: %v (a hold was placed meanwhile: %v)", name, err, placed)
		}
	}
}

func TestHoldsKeepFromErasing(t *testing.T) { onBoth(t, holdsKeepFromErasing) }

func holdsKeepFromErasing(t *testing.T, env *testenv.Env) {
	ctx := t.Context()
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	for _, target := range []api.ErasureTarget{{Kind: "subject", ID: "p-1"}, {Kind: "instance", ID: id}} {
		place := func(reason string) api.Hold {
			t.Helper()
			h, err := env.Engine.PlaceHold(ctx, env.Ann, api.HoldRequest{Kind: target.Kind, ID: target.ID, Reason: reason}, reason+target.Kind)
			if err != nil || h.Reason != reason {
				t.Fatalf("%+v, %v", h, err)
			}
			return h
		}
		release := func(h api.Hold) {
			t.Helper()
			if _, err := env.Engine.ReleaseHold(ctx, env.Ann, h.ID, ""); err != nil {
				t.Fatal(err)
			}
		}
		first, second := place("case 1"), place("case 2")
		if again := place("case 1"); again != first {
			t.Errorf("placing it again: %+v, want %+v", again, first)
		}
		_, err := order(t, env, target.Kind, target.ID, 0)
		if !fault.Is(err, fault.Denied) || fault.CodeOf(err) != "on_hold" || !strings.Contains(err.Error(), second.ID) {
			t.Errorf("erasing what is held: %v", err)
		}
		release(first)
		if list, err := env.Engine.Holds(ctx, env.Ann, pageOf(0)); err != nil || len(list.Items) != 1 || list.Items[0] != second {
			t.Errorf("holds = %+v, %v", list, err)
		}
		if _, err := order(t, env, target.Kind, target.ID, 0); fault.CodeOf(err) != "on_hold" {
			t.Errorf("erasing what one of two still holds: %v", err)
		}
		release(second)
		pending, err := order(t, env, target.Kind, target.ID, time.Millisecond) // due at once, but not done by the order
		if err != nil {
			t.Fatal(err)
		}
		third := place("case 3")
		env.Restart(nil)
		for range 2 {
			if err := env.Engine.EraseDue(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if i := env.Instance(id); target.Kind == "subject" && len(i.Erased) > 0 {
			t.Errorf("erased in spite of a hold placed after the order: %v", i.Erased)
		}
		if p := preview(t, env, target.Kind, target.ID); p.State != "pending" || len(p.Holds) != 1 {
			t.Errorf("preview = %+v", p)
		}
		release(third)
		if _, err := env.Engine.ReleaseHold(ctx, env.Ann, third.ID, ""); !fault.Is(err, fault.NotFound) {
			t.Errorf("releasing a hold twice: %v", err)
		}
		if err := env.Engine.EraseDue(ctx); err != nil {
			t.Fatal(err)
		}
		verified(t, env, pending.ID)
	}
}

// TestAnErasureIsFinishedAfterACrash fails every write of an erasure in turn, with
// and without a restart, and requires that it is finished by itself.
func TestAnErasureIsFinishedAfterACrash(t *testing.T) {
	t.Parallel()
	for _, kind := range erasedKinds() {
		for _, restart := range []bool{true, false} {
			if !restart && testing.Short() {
				continue
			}
			points := 0
			for n := 1; n == 1 || points >= n-1; n++ {
				t.Run(fmt.Sprintf("%s, write %d, restart %v", kind, n, restart), func(t *testing.T) {
					points = crashAt(t, kind, n, restart)
				})
			}
			if points < 4 {
				t.Errorf("%d writes of an erasure, want all of them", points)
			}
		}
	}
}

// rotatedSubject is a person whose data are sealed under two keys.
const rotatedSubject = "rotated subject"

// erasedKinds are what is erased in many ways; with -short the one that has most to it.
func erasedKinds() []string {
	if testing.Short() {
		return []string{rotatedSubject}
	}
	return []string{"instance", "subject", rotatedSubject}
}

// ofKind returns the instance, or the person that it is about, as a target.
func ofKind(t *testing.T, env *testenv.Env, kind, instance string) (targetKind, id string) {
	switch kind {
	case "instance":
		return kind, instance
	case rotatedSubject:
		rotatedPerson(t, env, "p-1", instance)
	}
	return "subject", "p-1"
}

// crashAt lets the n-th write of an erasure fail and returns how many came before.
func crashAt(t *testing.T, kind string, n int, restart bool) (points int) {
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	kind, target := ofKind(t, env, kind, id)
	pending, err := order(t, env, kind, target, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	boom := errors.New("the power went")
	engine.FailErasures(env.Engine, func(point string) error {
		if strings.HasPrefix(point, "commit data.") { // of who looks whether it is done
			return nil
		}
		if points++; points == n {
			return boom
		}
		return nil
	})
	err = eraseUntilDue(t, env)
	if failed := errors.Is(err, boom); failed != (points >= n) || err != nil && !failed {
		t.Fatalf("%v after %d writes", err, points)
	}
	engine.FailErasures(env.Engine, nil)
	before := points
	if restart {
		env.Restart(nil)
	}
	if err := eraseUntilDue(t, env); err != nil {
		t.Fatal(err)
	}
	e := erasureOf(t, env, pending.ID)
	if e.State != "done" {
		t.Errorf("the erasure is %s", e.State)
	}
	verified(t, env, pending.ID)
	if receipt, err := env.Engine.ErasureReceipt(t.Context(), env.Ann, pending.ID); err != nil || !strings.HasPrefix(events(receipt.Steps), "ordered by ann, destroyed by engine, ") {
		t.Errorf("steps: %s, %v", events(receipt.Steps), err)
	}
	return before
}

// eraseUntilDue erases what is due a millisecond after it was ordered.
func eraseUntilDue(t *testing.T, env *testenv.Env) error {
	t.Helper()
	for {
		list, err := env.Engine.Erasures(t.Context(), env.Ann, pageOf(0))
		if err != nil {
			t.Fatal(err)
		}
		waits := len(list.Items) > 0 && list.Items[0].State == "pending" && list.Items[0].Due.After(time.Now())
		if !waits {
			return env.Engine.EraseDue(t.Context())
		}
	}
}

func erasureOf(t *testing.T, env *testenv.Env, id string) api.Erasure {
	t.Helper()
	receipt, err := env.Engine.ErasureReceipt(t.Context(), env.Ann, id)
	if err != nil {
		t.Fatal(err)
	}
	return receipt.Erasure
}

// snapshot copies files of a node that is closed.
func snapshot(t *testing.T, env *testenv.Env, names ...string) (restore func()) {
	t.Helper()
	saved := map[string][]byte{}
	for _, name := range names {
		saved[name] = readFile(t, filepath.Join(env.Config.Data, name))
	}
	return func() {
		for name, data := range saved {
			writeFile(t, filepath.Join(env.Config.Data, name), data)
		}
	}
}

func TestARestoredBackupIsErasedBeforeItServes(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("backups, restored and erased")
	}
	for _, kind := range erasedKinds() {
		for _, file := range []string{"data.db", "keys.db"} {
			for _, when := range []string{"before the order", "after the order"} {
				t.Run(kind+" from "+file+" "+when, func(t *testing.T) { restored(t, kind, file, when) })
			}
		}
	}
}

func restored(t *testing.T, kind, file, when string) {
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	kind, target := ofKind(t, env, kind, id)
	var restore func()
	if when == "before the order" {
		env.Restart(func() { restore = snapshot(t, env, file) })
	}
	pending, err := order(t, env, kind, target, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if when == "after the order" {
		env.Restart(func() { restore = snapshot(t, env, file) })
	}
	if err := eraseUntilDue(t, env); err != nil {
		t.Fatal(err)
	}
	env.Restart(func() {
		restore()
		env.Config.Restored = true // behind its checkpoint, which is refused elsewhere
	})
	if kind == "subject" {
		if i := env.Instance(id); len(i.Erased) != 4 {
			t.Errorf("erased: %v, variables %s", i.Erased, i.Variables)
		}
	} else if _, err := env.Engine.Instance(t.Context(), env.Ann, id); !fault.Is(err, fault.Sealed) {
		t.Errorf("reading: %v", err)
	}
	if e := erasureOf(t, env, pending.ID); e.State != "done" || e.By != "ann" || e.Reason != "they asked" {
		t.Errorf("the erasure is %+v", e)
	}
	verified(t, env, pending.ID)
}

// An administrator of the database who puts the row of a destroyed key back finds it
// destroyed again when the node starts.
func TestAKeyPutBackIsDestroyedAgain(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	var old map[string]*table
	env.Restart(func() { old = tables(t, filepath.Join(env.Config.Data, "keys.db"), "keys.db") })
	done := erase(t, env, "subject", "p-1")
	put := 0
	env.Restart(func() {
		path := filepath.Join(env.Config.Data, "keys.db")
		for _, m := range tables(t, path, "keys.db")["data_keys"].puttingBack(old["data_keys"]) {
			if m.apply(t, path) {
				put++
			}
		}
	})
	if put == 0 {
		t.Fatal("no row was put back")
	}
	if i := env.Instance(id); len(i.Erased) != 4 {
		t.Errorf("erased: %v", i.Erased)
	}
	verified(t, env, done.ID)
}

// TestTheOldestBackupOpensNothingAfterTheEpoch is the promise of erasure: backup of
// data and keys, erase, end of the epoch, restore the backup.
func TestTheOldestBackupOpensNothingAfterTheEpoch(t *testing.T) {
	t.Parallel()
	env, now := clocked(t)
	ctx := t.Context()
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	gone := env.Start("classified", strings.Replace(somebody, "p-1", "p-2", 1))
	before, leaves := env.Instance(id), stepsOf(t, env, id)
	var restore func()
	env.Restart(func() { restore = snapshot(t, env, "data.db", "keys.db") })
	erasures := []api.Erasure{erase(t, env, "subject", "p-1"), erase(t, env, "instance", gone)}
	end := func() {
		t.Helper()
		if err := env.Engine.EndEpochs(ctx); err != nil {
			t.Fatal(err)
		}
	}
	now.pass(29 * 24 * time.Hour)
	end()
	if r, err := env.Engine.ErasureReceipt(ctx, env.Ann, erasures[0].ID); err != nil || r.EpochEnded != nil {
		t.Fatalf("the epoch ended early: %+v, %v", r, err)
	}
	now.pass(25 * time.Hour)
	end()
	end() // nothing is left to do
	for _, e := range erasures {
		r, err := env.Engine.ErasureReceipt(ctx, env.Ann, e.ID)
		if err != nil || r.EpochEnded == nil || !r.EpochEnded.Equal(now.now().UTC().Truncate(time.Microsecond)) || r.Note != "" {
			t.Errorf("receipt = %+v, %v, want the end of the epoch", r, err)
		}
		verified(t, env, e.ID)
	}
	env.Restart(nil)
	if i := env.Instance(id); !strings.Contains(string(i.Variables), `"salary":1000`) || len(i.Erased) != 4 {
		t.Errorf("after the epoch variables are %s", i.Variables)
	}
	if after := stepsOf(t, env, id); after[0].Leaf != leaves[0].Leaf || len(after[0].Erased) != 4 {
		t.Errorf("step 1 = %+v, want the same leaf", after[0])
	}
	oldest(t, env, restore, before)
}

func stepsOf(t *testing.T, env *testenv.Env, id string) []api.Step {
	t.Helper()
	steps, err := env.Engine.Steps(t.Context(), env.Ann, id, pageOf(0))
	if err != nil {
		t.Fatal(err)
	}
	return steps.Items
}

// oldest restores data and keys of before the erasure: the root key that opened them
// is destroyed.
func oldest(t *testing.T, env *testenv.Env, restore func(), before api.Instance) {
	t.Helper()
	if err := env.Node.Close(); err != nil {
		t.Fatal(err)
	}
	env.Node = nil
	restore()
	n, err := node.Open(t.Context(), env.Config)
	if err != nil {
		if !fault.Is(err, fault.Sealed) {
			t.Fatalf("opening the oldest backup: %v", err)
		}
		return
	}
	defer n.Close()
	if ann, err := n.Engine.Authenticate(t.Context(), env.Key(), ""); err == nil {
		if i, err := n.Engine.Instance(t.Context(), ann, before.ID); err == nil {
			t.Errorf("the oldest backup opens: %s", i.Variables)
		}
	}
}

// TestNothingClearStaysInTheFiles looks for a mark in all files of the database right
// after the erasure, with the node still running.
func TestNothingClearStaysInTheFiles(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	const mark = "CANARY-clear-5d1f"
	id := env.Start("everything", `{"note": "`+mark+`", "long": "`+strings.Repeat(mark, 1000)+`"}`)
	for i := range 20 {
		if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, fmt.Appendf(nil, `{"note": "%s %d"}`, mark, i), ""); err != nil {
			t.Fatal(err)
		}
	}
	holding := func() (files []string) {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(env.Config.Data, "*.db*"))
		if err != nil || len(all) < 2 {
			t.Fatalf("%d files, %v", len(all), err)
		}
		for _, file := range all {
			if bytes.Contains(readFile(t, file), []byte(mark)) {
				files = append(files, filepath.Base(file))
			}
		}
		return files
	}
	if len(holding()) == 0 {
		t.Fatal("the search does not find what must be there")
	}
	erase(t, env, "instance", id)
	if files := holding(); len(files) > 0 {
		t.Errorf("what was erased is in %v", files)
	}
}

// TestErasingWhileStepsGoOn erases a person over and over while others write about
// them: nothing under a destroyed key is ever readable, and nothing breaks.
func TestErasingWhileStepsGoOn(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("steps and erasures for a while")
	}
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	ids := []string{env.Start("classified", somebody), env.Start("classified", somebody)}
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for _, id := range ids {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, fmt.Appendf(nil, `{"shoe": %d, "person": {"id": "p-1", "diagnosis": "%d"}}`, i, i), ""); err != nil {
					t.Error(err)
				}
				if _, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "classified", Variables: []byte(somebody)}, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	custody := ""
	for range 10 {
		now := 0
		e, err := env.Engine.OrderErasure(t.Context(), env.Ann, api.ErasureRequest{Kind: "subject", ID: "p-1", DelayMS: &now}, "")
		if fault.Is(err, fault.NotFound) { // faster than the writers
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		custody = e.ID
	}
	stop()
	writers.Wait()
	verified(t, env, custody)
	env.Restart(nil)
	verified(t, env, custody)
	list, err := env.Engine.Instances(t.Context(), env.Ann, engine.InstanceFilter{}, pageOf(1000))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list.Items {
		if _, err := env.Engine.Export(t.Context(), env.Ann, i.ID); err != nil {
			t.Errorf("instance %s: %v", i.ID, err)
		}
	}
}

// unrotatable is a key service that makes no versions of its root key for us.
type unrotatable struct{ kms.Service }

// When the key service keeps its root key, the receipt says who can still read.
func TestTheReceiptSaysWhatTheKeyServiceKeeps(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Now())
	env := testenv.New(t, func(c *node.Config) {
		c.Now = clock.now
		file, err := kms.CreateKeyFile(filepath.Join(t.TempDir(), "key"))
		if err != nil {
			t.Fatal(err)
		}
		c.KeyServices, c.KeyService = map[string]kms.Service{"company": unrotatable{file}}, "company"
	})
	env.Deploy("c.bpmn", classified)
	env.Start("classified", somebody)
	done := erase(t, env, "subject", "p-1")
	clock.pass(31 * 24 * time.Hour)
	if err := env.Engine.EndEpochs(t.Context()); err != nil {
		t.Fatal(err)
	}
	receipt, err := env.Engine.ErasureReceipt(t.Context(), env.Ann, done.ID)
	if err != nil || receipt.EpochEnded == nil || !strings.Contains(receipt.Note, "company") {
		t.Errorf("receipt = %+v, %v, want a note", receipt, err)
	}
}

// TestAListComparesErasedInstances changes the row of an erased instance: the list
// itself must notice, and not only a verification.
func TestAListComparesErasedInstances(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	erase(t, env, "instance", env.Start("classified", somebody))
	list := func() error {
		_, err := env.Engine.Instances(t.Context(), env.Ann, engine.InstanceFilter{}, engine.Page{})
		return err
	}
	if err := list(); err != nil {
		t.Fatal(err)
	}
	env.Restart(func() {
		db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
		defer db.Close()
		if _, err := db.Exec(`UPDATE instances SET version = 9`); err != nil {
			t.Fatal(err)
		}
	})
	if err := list(); !fault.Is(err, fault.Integrity) {
		t.Errorf("list with a changed row: %v, want integrity", err)
	}
}
