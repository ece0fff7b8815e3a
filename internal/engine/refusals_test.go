package engine_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// counted returns the sum of what entries of a kind count, and how many they are.
func counted(t *testing.T, env *testenv.Env, kind string) (refused, leaves int) {
	t.Helper()
	entries := entriesOf(t, env, kind)
	for _, entry := range entries {
		n, _ := entry.Fields["$count"].(canon.Number)
		count, err := n.Decimal().Int64()
		if err != nil {
			t.Fatal(err)
		}
		refused += int(count)
	}
	return refused, len(entries)
}

func checkCounted(t *testing.T, env *testenv.Env, when, kind string, refused, leaves int) {
	t.Helper()
	if r, l := counted(t, env, kind); r != refused || l != leaves {
		t.Errorf("%s: %d leaves %q count %d refusals, want %d that count %d", when, l, kind, r, leaves, refused)
	}
}

func refuse(t *testing.T, env *testenv.Env, who engine.Caller, times int) {
	t.Helper()
	who = withoutRoles(who)
	for range times {
		if _, err := env.Engine.Keys(t.Context(), who); !fault.Is(err, fault.Denied) {
			t.Fatalf("Keys without a role: %v", err)
		}
	}
}

// TestRefusalsAreToldAtOnceAndThenCounted lets minutes pass.
func TestRefusalsAreToldAtOnceAndThenCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		bob := env.Ann
		bob.Principal = "bob"
		refuse(t, env, bob, 1)
		checkCounted(t, env, "at once", "access.denied", 1, 1)
		refuse(t, env, bob, 999)
		refuse(t, env, env.Ann, 1)
		checkCounted(t, env, "before a second is over", "access.denied", 2, 2)
		time.Sleep(3 * time.Second)
		checkCounted(t, env, "after a second", "access.denied", 1001, 3)
		refuse(t, env, bob, 5)
		time.Sleep(5 * time.Second)
		checkCounted(t, env, "before ten more are over", "access.denied", 1001, 3)
		time.Sleep(7 * time.Second)
		checkCounted(t, env, "after ten more", "access.denied", 1006, 4)
		refuse(t, env, bob, 5)
		time.Sleep(40 * time.Second)
		checkCounted(t, env, "before a minute is over", "access.denied", 1006, 4)
		time.Sleep(40 * time.Second)
		checkCounted(t, env, "after a minute", "access.denied", 1011, 5)
		time.Sleep(time.Hour)
		checkCounted(t, env, "after a quiet hour", "access.denied", 1011, 5)
		refuse(t, env, bob, 2)
		checkCounted(t, env, "at once again", "access.denied", 1012, 6)
		env.Restart(nil)
		checkCounted(t, env, "after the end, which was at once", "access.denied", 1013, 7)

		told := entriesOf(t, env, "access.denied")
		actor, _ := told[2].Fields["$actor"].(*canon.Context)
		if who, _ := actor.Get("principal"); who != canon.String("bob") {
			t.Errorf("the counted leaf is of %v", actor)
		}
		if actions := told[2].Fields["$actions"]; !canon.Equal(actions, canon.List{canon.String("key:read")}) {
			t.Errorf("its actions are %v", actions)
		}
	})
}

// TestWhoAsksNowAndThenMakesNoMoreLeaves is refused every eleven seconds: that is after
// the short times, and must not count as new each time.
func TestWhoAsksNowAndThenMakesNoMoreLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		for range 60 {
			refuse(t, env, env.Ann, 1)
			time.Sleep(11 * time.Second)
		}
		time.Sleep(2 * time.Minute)
		if refused, leaves := counted(t, env, "access.denied"); refused != 60 || leaves > 3+11 {
			t.Errorf("in eleven minutes %d leaves count %d refusals, want at most one a minute and three that count 60", leaves, refused)
		}
	})
}

// TestAFloodOfStrangersIsBounded tries keys from more addresses than are told
// apart, many times.
func TestAFloodOfStrangersIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("a flood")
	}
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		tries := 0
		flood := func() {
			for i := range 600 {
				for _, address := range []string{fmt.Sprintf("198.51.%d.%d", i/256, i%256), fmt.Sprintf("2001:db8::%x", i)} {
					if _, err := env.Engine.Authenticate(t.Context(), "usk_guess", address); fault.CodeOf(err) != "unauthenticated" {
						t.Fatalf("a guessed key: %v", err)
					}
					tries++
				}
			}
		}
		flood()
		first, leaves := counted(t, env, "sign_in.failed")
		if first != leaves || leaves != 257 {
			t.Errorf("at once %d leaves that count %d", leaves, first)
		}
		flood()
		time.Sleep(80 * time.Second)
		all, leaves := counted(t, env, "sign_in.failed")
		if all != tries || leaves != 2*257 {
			t.Errorf("after a minute %d leaves count %d of %d", leaves, all, tries)
		}
	})
}

// TestRefusalsOfATenantTakeNoOthersPlace refuses more principals of a company than are
// told apart.
func TestRefusalsOfATenantTakeNoOthersPlace(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	acme := env.Tenant("acme")
	for i := range 300 {
		who := acme.Ann
		who.Principal = fmt.Sprintf("p%d", i)
		refuse(t, acme, who, 1)
	}
	for _, name := range []string{"bob", "carol"} {
		who := env.Ann
		who.Principal = name
		refuse(t, env, who, 1)
	}
	checkCounted(t, env, "two people of main", "access.denied", 2, 2)
}

// TestRefusalsOfALogThatCannotBeWrittenAreToldLater has the database refuse leaves
// for a while.
func TestRefusalsOfALogThatCannotBeWrittenAreToldLater(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	noLeaves(t, env)
	refuse(t, env, env.Ann, 3)
	if err := env.Engine.TellRefusals(t.Context(), true); err == nil {
		t.Error("a log that cannot be written is nobody's error")
	}
	leavesAgain(t, env)
	if err := errors.Join(env.Engine.TellRefusals(t.Context(), true), env.Engine.TellRefusals(t.Context(), true)); err != nil {
		t.Fatal(err)
	}
	checkCounted(t, env, "when leaves can be written again", "access.denied", 3, 1)
}

// TestWhoAsksForWhatIsNotTheirsLeavesATrace: what is not there and what is not for them to
// see are answered alike, and told alike.
func TestWhoAsksForWhatIsNotTheirsLeavesATrace(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	for range 3 {
		env.Engine.Missed(t.Context(), env.Ann, "get-instance")
	}
	checkCounted(t, env, "at once", "access.missed", 1, 1)
	if err := env.Engine.TellRefusals(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	checkCounted(t, env, "then", "access.missed", 3, 2)
}

// TestARefusalNamesNoPerson: what the log says of a person could not be erased.
func TestARefusalNamesNoPerson(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	nobody := env.Ann
	nobody = withoutRoles(nobody)
	if _, err := env.Engine.OrderErasure(t.Context(), nobody, api.ErasureRequest{Kind: "subject", ID: "p-17"}, ""); !fault.Is(err, fault.Denied) {
		t.Fatal(err)
	}
	for _, entry := range entriesOf(t, env, "access.denied") {
		if of := entry.Fields["$resource"]; of != canon.String("subject") {
			t.Errorf("the log says it was about %v", of)
		}
	}
	checkCounted(t, env, "at once", "access.denied", 1, 1)
}

// noLeaves has the database refuse every leaf.
func noLeaves(t *testing.T, env *testenv.Env) {
	t.Helper()
	execRaw(t, env, `CREATE TRIGGER no_leaves BEFORE INSERT ON leaves BEGIN SELECT RAISE(ABORT, 'no leaves'); END`)
}

func leavesAgain(t *testing.T, env *testenv.Env) {
	t.Helper()
	execRaw(t, env, `DROP TRIGGER no_leaves`)
}

func execRaw(t *testing.T, env *testenv.Env, text string) {
	t.Helper()
	db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	defer db.Close()
	if _, err := db.Exec(text); err != nil {
		t.Fatal(err)
	}
}
