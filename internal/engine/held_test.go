package engine_test

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// holds notes at what becomes durable who revokes somebody of the main tenant would have to
// wait.
type holds struct {
	lock *sync.RWMutex
	mu   sync.Mutex // guards held
	held map[string]bool
}

func watchHolds(env *testenv.Env) *holds {
	h := &holds{lock: engine.StepsLock(env.Engine, env.Ann.Scope), held: map[string]bool{}}
	engine.FailErasures(env.Engine, func(point string) error {
		free := h.lock.TryLock()
		if free {
			h.lock.Unlock()
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.held[point] = h.held[point] || !free
		return nil
	})
	return h
}

func (h *holds) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = map[string]bool{}
}

// require that an act of somebody was held when it was made durable.
func (h *holds) require(t *testing.T, act audited) {
	t.Helper()
	name, _, _ := strings.Cut(act.name, ":")
	method, _ := reflect.TypeFor[*engine.Engine]().MethodByName(name)
	if !takesCaller(method) {
		return // nobody who was admitted does it
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, kind := range act.leaves {
		point := "commit " + kind
		if strings.HasPrefix(kind, "definition.") || kind == "deployment.approved" {
			point = "commit definitions"
		}
		if !toldOnly(act, kind) && !h.held[point] {
			t.Errorf("%s makes %s durable, and who revokes its author does not wait for that", act.name, kind)
		}
	}
}

// toldOnly reports whether a leaf decides nothing: it tells what was refused, who came in, or
// how what was ordered before has ended, or comes in one commit with another.
func toldOnly(act audited, kind string) bool {
	object, word, _ := strings.Cut(kind, ".")
	switch {
	case slices.Contains([]string{"access", "credential"}, object), kind == "session.started":
		return true
	case kind == "session.ended": // of who has another one in its place
		return slices.Contains(act.leaves, "session.started")
	case kind == "principal.activated": // by a link
		return slices.Contains(act.leaves, "credential.used")
	case slices.Contains([]string{"rotated", "rewrapped", "retired", "made", "completed", "checked"}, word), object == "key":
		return len(act.leaves) > 1
	}
	return false
}

// TestARevocationIsAnsweredAfterTheSteps that were decided before it: none of the revoked
// one becomes durable later.
func TestARevocationIsAnsweredAfterTheSteps(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	env.Deploy("both.bpmn", bothModel)
	bob, zoe := env.Person("bob", "Executor", "Admin", "Designer", "Viewer"), env.Person("zoe")
	instance := env.Start("both", `{"a": 1}`)
	lock := engine.StepsLock(e, bob.Scope)
	ends := map[string]func(engine.Caller) error{
		"the session is revoked": func(c engine.Caller) error { return second(e.RevokeSession(ctx, env.Ann, c.Key)) },
		"they sign out":          func(c engine.Caller) error { return second(e.SignOut(ctx, c)) },
		"the key is revoked": func(c engine.Caller) error {
			return second(e.RevokeAPIKey(ctx, env.Ann, c.Key, api.ReasonRequest{}, ""))
		},
	}
	begin := func(how string) engine.Caller {
		if how != "the key is revoked" {
			return signedInBySession(t, env, bob)
		}
		key, err := e.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: "bob"}, "")
		if err != nil {
			t.Fatal(err)
		}
		return env.SignIn(key.Text)
	}
	n, both := 0, []string{"the session is revoked", "the key is revoked"}
	for _, step := range []struct {
		point string
		ends  []string // who changes people, or ends sessions, waits for who does the same before that
		act   func(engine.Caller) error
	}{
		{"instance.started", append(both, "they sign out"), func(c engine.Caller) error {
			return second(e.Start(ctx, c, api.StartRequest{Process: "both"}, ""))
		}},
		{"principal.invited", []string{"the session is revoked", "they sign out"}, func(c engine.Caller) error {
			n++
			return second(e.InviteUser(ctx, c, api.UserRequest{Name: fmt.Sprint("new-", n), Kind: "user"}, ""))
		}},
		{"definitions", both, func(c engine.Caller) error {
			n++
			model := strings.ReplaceAll(bothModel, `"both"`, fmt.Sprintf(`"both-%d"`, n))
			return second(e.Deploy(ctx, c, []api.File{{Name: "n.bpmn", Content: []byte(model)}}, ""))
		}},
		{"definitions", both, func(c engine.Caller) error {
			now, err := e.Process(ctx, env.Ann, "both", 0)
			if err != nil {
				return err
			}
			other := map[string]string{"standard": "confidential", "confidential": "standard"}[now.Mode]
			return second(e.SetMode(ctx, c, "both", other, ""))
		}},
		{"reader.created", both, func(c engine.Caller) error {
			return second(e.CreateLogReader(ctx, c, api.LogReaderRequest{Name: "a mirror"}))
		}},
		{"data.shown", append(both, "they sign out"), func(c engine.Caller) error {
			return second(e.Instance(ctx, c, instance))
		}},
		{"audit.read", both, func(c engine.Caller) error { return second(e.Audit(ctx, c, api.AuditQuery{})) }},
		{"session.ended", []string{"the key is revoked"}, func(c engine.Caller) error {
			return second(e.RevokeSession(ctx, c, signedInBySession(t, env, zoe).Key))
		}},
	} {
		for _, how := range step.ends {
			c, stopped := begin(how), 0
			done := make(chan error, 1)
			engine.FailErasures(e, func(point string) error {
				if point != "commit "+step.point {
					return nil
				}
				if stopped++; stopped > 1 {
					return nil
				}
				go func() { done <- ends[how](c) }()
				for lock.TryRLock() { // until the revocation waits
					lock.RUnlock()
					select {
					case err := <-done:
						t.Errorf("%s: it was answered that %s before the step was durable: %v", step.point, how, err)
						done <- err
						return nil
					default:
						runtime.Gosched()
					}
				}
				return nil
			})
			err := step.act(c)
			if word, _, _ := strings.Cut(step.point, "."); slices.Contains([]string{"data", "audit"}, word) && unauthenticated(err) {
				err = nil // what only shows something is decided once more
			}
			if err != nil || stopped == 0 {
				t.Fatalf("%s, stopped %d times: %v", step.point, stopped, err)
			}
			if err := <-done; err != nil {
				t.Errorf("%s: %s: %v", step.point, how, err)
			}
			engine.FailErasures(e, nil)
			if err := step.act(c); !unauthenticated(err) {
				t.Errorf("%s when %s before: %v, want that nobody is known", step.point, how, err)
			}
		}
	}
}

// TestAChangeIsMadeAnewForASessionThatIsReadAnew has what is known of a session be forgotten,
// as when there are too many, the first, second, .. time that a change looks at the clock.
// Whoever it is decided for again, it is made once.
func TestAChangeIsMadeAnewForASessionThatIsReadAnew(t *testing.T) {
	t.Parallel()
	clock := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	var left atomic.Int64
	var forget atomic.Pointer[func()]
	env := testenv.New(t, func(c *node.Config) {
		c.Now = func() time.Time {
			if left.Add(-1) == 0 {
				(*forget.Load())()
			}
			return clock
		}
	})
	ctx, e := t.Context(), env.Engine
	bob := env.Person("bob", "Admin", "Designer")
	each := func(name string, act func(engine.Caller, int) error, made func() error) {
		// Each passkey leaves a signer, at which the next one looks as well.
		for n, reached := 1, true; reached && (name != "RegisterPasskey" || n <= 40); n++ {
			c := signedInBySession(t, env, bob)
			forget.Store(new(func() { engine.ForgetSession(e, c) }))
			left.Store(int64(n))
			err := act(c, n)
			if reached = left.Swap(0) <= 0; err == nil {
				err = made()
			}
			if err != nil {
				t.Fatalf("%s by somebody whose session is forgotten at look %d at the clock: %v", name, n, err)
			}
		}
	}
	var invited api.Invited
	each("InviteUser", func(c engine.Caller, n int) (err error) {
		invited, err = e.InviteUser(ctx, c, api.UserRequest{Name: fmt.Sprint("new-", n), Kind: "user"}, "")
		return err
	}, func() error { return second(e.Setup(ctx, api.SetupRequest{Link: invited.Link}, "192.0.2.1")) })
	var deployed api.Deployment
	deploy := func(c engine.Caller, n int) (err error) {
		model := strings.ReplaceAll(classified, "classified", fmt.Sprint("c-", n))
		deployed, err = e.Deploy(ctx, c, []api.File{{Name: "n.bpmn", Content: []byte(model)}}, "")
		return err
	}
	each("Deploy", deploy, func() error {
		return second(e.Process(ctx, env.Ann, deployed.Processes[0].ID, 1))
	})
	var registered api.Passkey
	each("RegisterPasskey", func(c engine.Caller, _ int) error {
		q, err := e.BeginPasskey(ctx, c)
		if err == nil {
			registered, err = e.RegisterPasskey(ctx, c, testenv.NewAuthenticator(t, true).Create("laptop", q))
		}
		return err
	}, func() error { return second(e.RemovePasskey(ctx, env.Ann, registered.ID, api.ReasonRequest{}, "")) })
	if _, err := e.SetFourEyes(ctx, env.Ann, api.FourEyesRequest{Required: true}, ""); err != nil {
		t.Fatal(err)
	}
	each("Deploy", func(c engine.Caller, n int) error { return deploy(c, n+10_000) }, func() error {
		p, err := e.WithdrawDeployment(ctx, env.SignIn(env.Key()), deployed.Pending.ID, api.ReasonRequest{})
		if err == nil && len(p.Files) != 1 {
			err = fmt.Errorf("%d files wait", len(p.Files))
		}
		return err
	})
}
