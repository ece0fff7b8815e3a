package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// A keeper refuses to destroy versions of its root key, and to make new ones unless
// it rotates.
type keeper struct {
	kms.Service
	rotates bool
	refused int
}

func (k *keeper) Rotate(ctx context.Context) (string, error) {
	if !k.rotates {
		k.refused++
		return "", fault.New(fault.Denied, "nobody may rotate")
	}
	return k.Service.(kms.Rotator).Rotate(ctx)
}

func (k *keeper) Destroy(context.Context, string) error {
	k.refused++
	return fault.New(fault.Denied, "nobody may destroy")
}

// An end that the key service does not let us finish is said once, and not tried
// again every hour.
func TestAKeyServiceThatDestroysNothingIsSaidOnce(t *testing.T) {
	t.Parallel()
	for name, rotates := range map[string]bool{"and makes new versions": true, "and makes no new versions": false} {
		t.Run(name, func(t *testing.T) { keptRoot(t, rotates) })
	}
}

func keptRoot(t *testing.T, rotates bool) {
	service, clock := &keeper{Service: kmstest.New(t), rotates: rotates}, newClock(time.Now())
	env := testenv.New(t, func(c *node.Config) {
		c.Now = clock.now
		c.KeyServices, c.KeyService = map[string]kms.Service{"company": service}, "company"
	})
	env.Deploy("c.bpmn", classified)
	env.Start("classified", somebody)
	done := erase(t, env, "subject", "p-1")
	clock.pass(31 * 24 * time.Hour)
	for range 3 {
		if err := env.Engine.EndEpochs(t.Context()); err != nil {
			t.Fatal(err)
		}
		clock.pass(time.Hour)
	}
	if service.refused != 1 {
		t.Errorf("it was asked %d times for what it refuses, want once", service.refused)
	}
	if keys, err := env.Engine.Keys(t.Context(), env.Ann); err != nil || keys.TenantKeys[0].Version != 2 {
		t.Errorf("tenant keys %+v, %v, want one new one", keys.TenantKeys, err)
	}
	receipt, err := env.Engine.ErasureReceipt(t.Context(), env.Ann, done.ID)
	if err != nil || receipt.EpochEnded == nil || !strings.Contains(receipt.Note, "company") {
		t.Errorf("receipt = %+v, %v, want a note", receipt, err)
	}
	list, err := env.Engine.Erasures(t.Context(), env.Ann, pageOf(0))
	if err != nil || list.Note != receipt.Note {
		t.Errorf("the list says %q, %v, want the note of the receipt", list.Note, err)
	}
}

// TestAnEpochEndsByItself waits for the node to end an epoch: not before it is over, and
// an hour later at most, or the time that a shorter one takes.
func TestAnEpochEndsByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("a year of virtual time")
	}
	for name, test := range map[string]struct{ epoch, late time.Duration }{
		"five hours":  {5 * time.Hour, time.Hour},
		"ten minutes": {10 * time.Minute, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env := testenv.New(t, func(c *node.Config) { c.ErasureEpoch = test.epoch })
				env.Deploy("c.bpmn", classified)
				env.Start("classified", somebody)
				time.Sleep(7 * time.Minute) // so that the node does not look at the very end
				done := erase(t, env, "subject", "p-1")
				ended := func() *time.Time {
					t.Helper()
					receipt, err := env.Engine.ErasureReceipt(t.Context(), env.Ann, done.ID)
					if err != nil {
						t.Fatal(err)
					}
					return receipt.EpochEnded
				}
				time.Sleep(test.epoch - time.Second)
				if at := ended(); at != nil {
					t.Fatalf("the epoch ended early, at %v", at)
				}
				time.Sleep(test.late + 2*time.Second)
				if ended() == nil {
					t.Errorf("the epoch has not ended %v after it was over", test.late)
				}
			})
		})
	}
}

// TestTheEndOfAnEpochReachesKeyServicesThatWereLeft moves a tenant, erases, and looks at
// what the service that it left still opens.
func TestTheEndOfAnEpochReachesKeyServicesThatWereLeft(t *testing.T) {
	t.Parallel()
	for name, configured := range map[string]bool{"configured": true, "not configured any more": false} {
		t.Run(name, func(t *testing.T) {
			first, second, clock := kmstest.New(t), kmstest.New(t), newClock(time.Now())
			env := testenv.New(t, func(c *node.Config) {
				c.Now = clock.now
				c.KeyServices, c.KeyService = map[string]kms.Service{"first": first, "second": second}, "first"
			})
			env.Deploy("c.bpmn", classified)
			env.Start("classified", somebody)
			rotated(t, env, api.RotateKeyRequest{Key: "tenant", Service: "second"})
			rewrapped(t, env)
			retired(t, env, api.RetireKeyRequest{Key: "tenant", Version: "1"})
			env.Restart(func() {
				env.Config.KeyService = "second"
				if !configured {
					delete(env.Config.KeyServices, "first")
				}
			})
			done := erase(t, env, "subject", "p-1")
			note := func() string {
				receipt, err := env.Engine.ErasureReceipt(t.Context(), env.Ann, done.ID)
				if err != nil {
					t.Fatal(err)
				}
				return receipt.Note
			}
			if got := note(); !strings.Contains(got, "first") || strings.Contains(got, "second") {
				t.Errorf("before the end the note is %q, want that the first service still opens", got)
			}
			clock.pass(31 * 24 * time.Hour)
			if err := env.Engine.EndEpochs(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := note(); (got == "") != configured {
				t.Errorf("after the end the note is %q", got)
			}
			place := kms.Context{App: "underseal", Deployment: "d", Tenant: "t", Purpose: "p", Version: 1}
			wrapped, err := first.Wrap(t.Context(), place, make([]byte, 32))
			if err != nil {
				t.Fatal(err)
			}
			if version, err := first.Version(wrapped); err != nil || (version == "2") != configured {
				t.Errorf("the first service wraps under version %s, %v", version, err)
			}
			again := erase(t, env, "instance", env.Start("classified", somebody))
			done = again
			if got := note(); (got == "") != configured {
				t.Errorf("the next erasure's note is %q", got)
			}
		})
	}
}

// TestTheDateOfAReceiptStands gives a receipt, changes the setting that its date came
// from, and lets the end of the epoch come late.
func TestTheDateOfAReceiptStands(t *testing.T) {
	t.Parallel()
	env, now := clocked(t)
	env.Deploy("c.bpmn", classified)
	env.Start("classified", somebody)
	done := erase(t, env, "subject", "p-1")
	receipt := func() api.ErasureReceipt {
		t.Helper()
		r, err := env.Engine.ErasureReceipt(t.Context(), env.Ann, done.ID)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	given := *receipt().EverywhereFrom
	env.Restart(func() { env.Config.ErasureEpoch = 90 * 24 * time.Hour })
	if r := receipt(); !r.EverywhereFrom.Equal(given) || r.Note != "" {
		t.Errorf("with another setting: %v, note %q, want %v", r.EverywhereFrom, r.Note, given)
	}
	now.pass(31 * 24 * time.Hour)
	if r := receipt(); r.EverywhereFrom != nil || !strings.Contains(r.Note, "has not come yet") {
		t.Errorf("past its date and before the end: %v, note %q, want that backups still open", r.EverywhereFrom, r.Note)
	}
	if err := env.Engine.EndEpochs(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := receipt(); r.EpochEnded == nil || !r.EverywhereFrom.Equal(*r.EpochEnded) || r.Note != "" {
		t.Errorf("after a late end: %v, ended %v, note %q, want the date of the end", r.EverywhereFrom, r.EpochEnded, r.Note)
	}
}

// endWrites are what the end of an epoch makes durable, of which each must be seen to fail.
var endWrites = []string{
	"rewrap the data keys", "rotate a key", "retire a key", "rewrap the tenant keys",
	"commit tenant_key.rotation_ordered", "commit tenant_key.rotated", "commit tenant_key.retirement_ordered", "commit tenant_key.retired",
	"commit root_key.rotation_ordered", "commit root_key.rotated", "commit root_key.retirement_ordered", "commit root_key.retired",
	"commit epoch.ended",
}

// TestAnEndOfAnEpochThatIsCutOffIsDoneAnew lets each write of an end fail in turn: with
// all that follow and a restart, as in a crash, and alone.
func TestAnEndOfAnEpochThatIsCutOffIsDoneAnew(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a crash at every write")
	}
	for _, crash := range []bool{true, false} {
		var failed []string
		for n := 1; n == len(failed)+1; n++ {
			t.Run(fmt.Sprintf("write %d, crash %t", n, crash), func(t *testing.T) {
				if at := endCutOff(t, n, crash); at != "" {
					failed = append(failed, at)
				}
			})
		}
		for _, write := range endWrites {
			if !slices.Contains(failed, write) {
				t.Errorf("with crash %t %q did not fail; failed: %q", crash, write, failed)
			}
		}
	}
}

// endCutOff lets the n-th write of an end fail and returns which it was, "" if there are
// fewer.
func endCutOff(t *testing.T, n int, crash bool) (at string) {
	env, now := clocked(t)
	env.Deploy("c.bpmn", classified)
	id, other := env.Start("classified", somebody), env.Start("classified", strings.Replace(somebody, "p-1", "p-2", 1))
	before, lives := env.Instance(id), string(env.Instance(other).Variables)
	var restore func()
	env.Restart(func() { restore = snapshot(t, env, "data.db", "keys.db") })
	done := erase(t, env, "subject", "p-1")
	now.pass(31 * 24 * time.Hour)
	boom, points := errors.New("the power went"), 0
	engine.FailErasures(env.Engine, func(point string) error {
		switch points++; {
		case points == n:
			at = point
			return boom
		case points > n && crash:
			return boom
		}
		return nil
	})
	err := env.Engine.EndEpochs(t.Context())
	if errors.Is(err, boom) != (at != "") || err != nil && at == "" {
		t.Fatalf("with write %d (%q) failing: %v", n, at, err)
	}
	engine.FailErasures(env.Engine, nil)
	ended := func() bool { t.Helper(); return epochEnded(t, env, done.ID) }
	if ended() != (at == "") {
		t.Errorf("after %q failed the receipt says that the epoch has ended: %t", at, ended())
	}
	if crash {
		env.Restart(nil)
	}
	if err := env.Engine.EndEpochs(t.Context()); err != nil {
		t.Fatalf("after %q failed: %v", at, err)
	}
	if !ended() {
		t.Errorf("after %q failed the epoch does not end", at)
	}
	keys, err := env.Engine.Keys(t.Context(), env.Ann)
	if err != nil || len(keys.TenantKeys) != 1 || len(keys.RootKeys) != 1 {
		t.Errorf("after %q failed the keys are %+v, %v, want one version of each", at, keys, err)
	}
	if got := string(env.Instance(other).Variables); got != lives {
		t.Errorf("after %q failed what lives is %s, want %s", at, got, lives)
	}
	verified(t, env, done.ID)
	oldest(t, env, restore, before)
	return at
}

// epochEnded reports whether the receipt of an erasure says that its epoch has ended.
func epochEnded(t *testing.T, env *testenv.Env, erasure string) bool {
	t.Helper()
	receipt, err := env.Engine.ErasureReceipt(t.Context(), env.Ann, erasure)
	if err != nil {
		t.Fatal(err)
	}
	return receipt.EpochEnded != nil
}
