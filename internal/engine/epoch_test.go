package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// A keeper makes new versions of its root key and refuses to destroy old ones.
type keeper struct {
	kms.Service
	refused int
}

func (k *keeper) Rotate(ctx context.Context) (string, error) {
	return k.Service.(kms.Rotator).Rotate(ctx)
}

func (k *keeper) Destroy(context.Context, string) error {
	k.refused++
	return fault.New(fault.Denied, "nobody may destroy")
}

// An end that the key service does not let us finish is said once, and not tried
// again every hour.
func TestAKeyServiceThatDestroysNothingIsSaidOnce(t *testing.T) {
	service, now := &keeper{Service: kmstest.New(t)}, time.Now()
	env := testenv.New(t, func(c *node.Config) {
		c.Now = func() time.Time { return now }
		c.KeyServices, c.KeyService = map[string]kms.Service{"company": service}, "company"
	})
	env.Deploy("c.bpmn", classified)
	env.Start("classified", somebody)
	done := erase(t, env, "subject", "p-1")
	now = now.Add(31 * 24 * time.Hour)
	for range 3 {
		if err := env.Engine.EndEpochs(t.Context()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
	}
	if service.refused != 1 {
		t.Errorf("it was asked %d times to destroy, want once", service.refused)
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

// TestTheEndOfAnEpochReachesKeyServicesThatWereLeft moves a tenant, erases, and looks at
// what the service that it left still opens.
func TestTheEndOfAnEpochReachesKeyServicesThatWereLeft(t *testing.T) {
	for name, configured := range map[string]bool{"configured": true, "not configured any more": false} {
		t.Run(name, func(t *testing.T) {
			first, second, now := kmstest.New(t), kmstest.New(t), time.Now()
			env := testenv.New(t, func(c *node.Config) {
				c.Now = func() time.Time { return now }
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
			now = now.Add(31 * 24 * time.Hour)
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
