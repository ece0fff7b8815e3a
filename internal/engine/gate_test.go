package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
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

// A neighborhood is a node with two tenants, main and elsewhere. The latter has
// an erased instance, one that lives, and one with a timer.
type neighborhood struct {
	*testenv.Env
	far                   *testenv.Env    // elsewhere
	mains, elsewheres     *kmstest.Faulty // their key services
	erased, living, waits string
	log                   bytes.Buffer
}

// neighbors runs a test in virtual time, with key services of their own or with one.
func neighbors(t *testing.T, own bool, f func(t *testing.T, n *neighborhood)) {
	synctest.Test(t, func(t *testing.T) {
		n := &neighborhood{mains: kmstest.New(t), elsewheres: kmstest.New(t)}
		n.Env = testenv.New(t, func(c *node.Config) {
			c.KeyServices = map[string]kms.Service{"main's": n.mains, "elsewhere's": n.elsewheres}
			c.KeyService = "main's"
			c.Log = slog.New(slog.NewTextHandler(&n.log, nil))
		})
		n.far = n.Tenant("elsewhere")
		stranger := n.stranger()
		n.Deploy("c.bpmn", classified)
		files := []api.File{{Name: "c.bpmn", Content: []byte(classified)}, {Name: "t.bpmn", Content: []byte(withTimer)}}
		if _, err := n.Engine.Deploy(t.Context(), stranger, files, ""); err != nil {
			t.Fatal(err)
		}
		if own {
			if _, err := n.Engine.RotateKey(t.Context(), stranger, api.RotateKeyRequest{Key: "tenant", Service: "elsewhere's"}); err != nil {
				t.Fatal(err)
			}
		}
		start := func(process, variables string) string {
			r, err := n.Engine.Start(t.Context(), stranger, api.StartRequest{Process: process, Variables: json.RawMessage(variables)}, "")
			if err != nil {
				t.Fatal(err)
			}
			return r.Instance
		}
		n.erased, n.living, n.waits = start("classified", somebody), start("classified", somebody), start("timed", `{}`)
		now := 0
		if _, err := n.Engine.OrderErasure(t.Context(), stranger, api.ErasureRequest{Kind: "instance", ID: n.erased, DelayMS: &now}, ""); err != nil {
			t.Fatal(err)
		}
		f(t, n)
	})
}

func (n *neighborhood) stranger() engine.Caller { return n.far.Ann }

// shut checks that elsewhere is not served, and main is.
func (n *neighborhood) shut(t *testing.T, when string) {
	t.Helper()
	_, err := n.Engine.Instance(t.Context(), n.stranger(), n.living)
	if !fault.Is(err, fault.Unavailable) || fault.CodeOf(err) != "erasures_wait" {
		t.Errorf("%s: the tenant whose erasures wait: %v, want that it is not served", when, err)
	}
	n.Start("classified", somebody)
	checks := n.Engine.Ready(t.Context())
	if checks["keys"] != nil || fault.CodeOf(checks["erasures"]) != api.CodeDegraded || strings.Contains(checks["erasures"].Error(), "elsewhere") {
		t.Errorf("%s: readiness %v", when, checks)
	}
}

// open checks that elsewhere is served.
func (n *neighborhood) open(t *testing.T) {
	t.Helper()
	if _, err := n.Engine.Instance(t.Context(), n.stranger(), n.living); err != nil {
		t.Errorf("the tenant whose erasures were replayed: %v", err)
	}
	if _, err := n.Engine.Instance(t.Context(), n.stranger(), n.erased); !fault.Is(err, fault.Sealed) {
		t.Errorf("what was erased: %v", err)
	}
	if checks := n.Engine.Ready(t.Context()); checks["erasures"] != nil || checks["keys"] != nil {
		t.Errorf("readiness %v", checks)
	}
}

func TestATenantWhoseErasuresWaitHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("two tenants, and hours of tries")
	}
	for how, away := range map[string]func(*kmstest.Faulty){"unreachable": (*kmstest.Faulty).Unreachable, "denied": (*kmstest.Faulty).Deny} {
		t.Run(how, func(t *testing.T) {
			neighbors(t, true, func(t *testing.T, n *neighborhood) {
				away(n.elsewheres)
				n.Restart(nil)
				n.shut(t, "started")
				time.Sleep(3 * time.Hour) // its timer is due
				synctest.Wait()           // a try at this very moment is over
				n.shut(t, "hours later")
				if got := strings.Count(n.log.String(), "a tenant is not served"); got < 1 || got > 3 {
					t.Errorf("the log tells %d times of one outage", got)
				}
				n.elsewheres.Restore()
				n.shut(t, "before the next try") // though the service answers
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				n.open(t)
				if got, err := n.Engine.Instance(t.Context(), n.stranger(), n.waits); err != nil || got.Status != "completed" {
					t.Errorf("the instance whose timer was due: %+v, %v", got.Status, err)
				}
				if !strings.Contains(n.log.String(), "a tenant is served again") {
					t.Error("the log does not say that the tenant is served again")
				}
				n.Restart(nil)
				n.open(t)
			})
		})
	}
}

// Without a second service there is nobody to serve meanwhile, and a start says so.
func TestAStartWithoutTheOnlyKeyServiceFails(t *testing.T) {
	t.Parallel()
	for how, away := range map[string]func(*kmstest.Faulty){"unreachable": (*kmstest.Faulty).Unreachable, "denied": (*kmstest.Faulty).Deny} {
		t.Run(how, func(t *testing.T) {
			neighbors(t, false, func(t *testing.T, n *neighborhood) {
				n.Restart(func() {
					away(n.mains)
					second, err := node.Open(context.Background(), n.Config)
					if err == nil {
						t.Error("it started")
						second.Close()
					} else if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "erasures") {
						t.Errorf("it did not start: %v, want that its erasures wait", err)
					}
					n.mains.Restore()
				})
				n.open(t)
			})
		})
	}
}
