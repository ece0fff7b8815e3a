package engine_test

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/testenv"
)

// changesOfPeople are all changes of principals, groups, grants, keys, tenants and
// definitions, by somebody who may, if what they name is there.
func changesOfPeople(key, grant string) map[string]func(context.Context, *engine.Engine, engine.Caller) error {
	reason := api.ReasonRequest{}
	return map[string]func(context.Context, *engine.Engine, engine.Caller) error{
		"InviteUser": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.InviteUser(ctx, c, api.UserRequest{Name: "new", Kind: "user"}, "")
			return err
		},
		"InviteAgain": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.InviteAgain(ctx, c, "dan", reason, "")
			return err
		},
		"ChangeUser": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.ChangeUser(ctx, c, "zoe", api.ProfileRequest{Display: "Zoe"}, "")
			return err
		},
		"DisableUser": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.DisableUser(ctx, c, "zoe", reason, "")
			return err
		},
		"EnableUser": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.EnableUser(ctx, c, "gone", reason, "")
			return err
		},
		"GiveUserRole": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.GiveUserRole(ctx, c, "zoe", api.RoleRequest{Role: "Admin"}, "")
			return err
		},
		"TakeUserRole": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.TakeUserRole(ctx, c, "zoe", api.RoleRequest{Role: "Viewer"}, "")
			return err
		},
		"JoinGroup": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.JoinGroup(ctx, c, "dan", api.MemberRequest{Group: "clerks"}, "")
			return err
		},
		"LeaveGroup": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.LeaveGroup(ctx, c, "zoe", api.MemberRequest{Group: "clerks"}, "")
			return err
		},
		"CreateGroup": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.CreateGroup(ctx, c, api.GroupRequest{Name: "others"}, "")
			return err
		},
		"DeleteGroup": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.DeleteGroup(ctx, c, "nobody", reason, "")
			return err
		},
		"GiveGroupRole": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.GiveGroupRole(ctx, c, "clerks", api.RoleRequest{Role: "Admin"}, "")
			return err
		},
		"TakeGroupRole": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.TakeGroupRole(ctx, c, "clerks", api.RoleRequest{Role: "Viewer"}, "")
			return err
		},
		"GiveGrant": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.GiveGrant(ctx, c, api.GrantRequest{User: "bob", Right: "manage", Process: "*"}, "")
			return err
		},
		"RevokeGrant": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.RevokeGrant(ctx, c, grant, reason, "")
			return err
		},
		"CreateAPIKey": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.CreateAPIKey(ctx, c, api.APIKeyRequest{User: "bob"}, "")
			return err
		},
		"RotateAPIKey": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.RotateAPIKey(ctx, c, key, api.RotateAPIKeyRequest{}, "")
			return err
		},
		"RevokeAPIKey": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.RevokeAPIKey(ctx, c, key, reason, "")
			return err
		},
		"CreateTenant": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.CreateTenant(ctx, c, api.TenantRequest{Name: "new"}, "")
			return err
		},
		"InviteAdministrator": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.InviteAdministrator(ctx, c, "empty", reason, "")
			return err
		},
		"DisableTenant": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.DisableTenant(ctx, c, "empty", reason, "")
			return err
		},
		"Deploy": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.Deploy(ctx, c, []api.File{{Name: "timed.bpmn", Content: []byte(withTimer)}}, "")
			return err
		},
		"SetMode": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.SetMode(ctx, c, "timed", "confidential", "")
			return err
		},
		"EnableTenant": func(ctx context.Context, e *engine.Engine, c engine.Caller) error {
			_, err := e.EnableTenant(ctx, c, "shut", reason, "")
			return err
		},
	}
}

// TestAChangeIsDecidedWhenItIsMade asks for changes that Bob may make when he signs in,
// and not any more when their turn comes: another administrator was faster.
func TestAChangeIsDecidedWhenItIsMade(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"empty", "shut"} {
		must(e.CreateTenant(ctx, env.Ann, api.TenantRequest{Name: name}, ""))
	}
	must(e.DisableTenant(ctx, env.Ann, "shut", api.ReasonRequest{}, ""))
	must(e.CreateGroup(ctx, env.Ann, api.GroupRequest{Name: "clerks", Roles: []string{"Viewer"}}, ""))
	must(e.CreateGroup(ctx, env.Ann, api.GroupRequest{Name: "nobody"}, ""))
	must(e.InviteUser(ctx, env.Ann, api.UserRequest{Name: "dan", Kind: "user"}, ""))
	zoe := env.Person("zoe", "Viewer")
	must(e.JoinGroup(ctx, env.Ann, "zoe", api.MemberRequest{Group: "clerks"}, ""))
	env.Person("gone")
	must(e.DisableUser(ctx, env.Ann, "gone", api.ReasonRequest{}, ""))
	grant := give(t, env, api.GrantRequest{User: "zoe", Right: "view", Process: "*"})
	roles := []string{"Admin", "Operator", "Designer"}
	bob, carl := env.Person("bob", roles...), env.Person("carl", roles...)
	for _, role := range roles {
		must(e.TakeUserRole(ctx, env.Ann, "bob", api.RoleRequest{Role: role}, ""))
		must(e.TakeUserRole(ctx, env.Ann, "carl", api.RoleRequest{Role: role}, ""))
	}
	all := changesOfPeople(zoe.Key, grant.ID)
	if len(all) < 20 {
		t.Fatalf("%d changes", len(all))
	}
	for name, change := range all {
		if err := change(ctx, e, bob); !fault.Is(err, fault.Denied) || unauthenticated(err) {
			t.Errorf("%s by somebody whose roles were taken meanwhile: %v, want Denied", name, err)
		}
	}
	must(e.RevokeAPIKey(ctx, env.Ann, bob.Key, api.ReasonRequest{}, ""))
	for name, change := range all {
		if err := change(ctx, e, bob); !unauthenticated(err) {
			t.Errorf("%s with a key that was revoked meanwhile: %v, want that nobody is known", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := all[name](ctx, e, env.Ann); fault.Is(err, fault.Denied) {
			t.Errorf("%s by somebody who may: %v", name, err)
		}
	}
	for name, change := range all { // who may not is not told either that it was done before
		if err := change(ctx, e, carl); !fault.Is(err, fault.Denied) || unauthenticated(err) {
			t.Errorf("%s by somebody whose roles were taken, when it was done already: %v, want Denied", name, err)
		}
	}
}

// TestAChangeHoldsUpNobodyElse has others do what they can while a change of the main
// tenant's people is being made.
func TestAChangeHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	acme := env.Tenant("acme")
	env.Person("bob")
	tried := 0
	engine.FailErasures(e, func(point string) error {
		if point != "commit role.given" {
			return nil
		}
		tried++
		if _, err := e.ChangeUser(ctx, acme.Ann, "ann", api.ProfileRequest{Display: "Ann"}, ""); err != nil {
			t.Errorf("a change in another tenant: %v", err)
		}
		if err := signIn(t, env, acme.Key()); err != nil {
			t.Errorf("somebody of another tenant: %v", err)
		}
		if _, err := e.Setup(ctx, api.SetupRequest{Link: identity.LinkText.Generate("main")}, "192.0.2.9"); !unauthenticated(err) {
			t.Errorf("somebody without a link: %v", err)
		}
		return nil
	})
	if _, err := e.GiveUserRole(ctx, env.Ann, "bob", api.RoleRequest{Role: "Viewer"}, ""); err != nil || tried != 1 {
		t.Errorf("the change: %v, others tried %d times, want once", err, tried)
	}
}

// TestMainWaitsForNoTenant while somebody of main waits to change what another tenant
// reads.
func TestMainWaitsForNoTenant(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	acme := env.Tenant("acme")
	main, other := engine.PeopleLock(env.Engine, env.Ann.Scope), engine.PeopleLock(env.Engine, acme.Ann.Scope)
	other.RLock()
	done := make(chan error, 1)
	go func() {
		done <- second(env.Engine.DisableTenant(t.Context(), env.Ann, "acme", api.ReasonRequest{}, ""))
	}()
	for other.TryRLock() { // until the change waits
		other.RUnlock()
		select {
		case err := <-done:
			t.Fatalf("the change did not wait: %v", err)
		default:
			runtime.Gosched()
		}
	}
	if main.TryLock() {
		main.Unlock()
	} else {
		t.Error("what main's people are is kept by a change that waits for another tenant")
	}
	other.RUnlock()
	if err := <-done; err != nil {
		t.Errorf("the change: %v", err)
	}
}

// TestTheEndOfASessionHoldsUpNoOtherTenant that may be slow to write it down.
func TestTheEndOfASessionHoldsUpNoOtherTenant(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	acme := env.Tenant("acme")
	lock := engine.SessionLock(env.Engine, acme.Ann.Scope)
	lock.Lock()
	defer lock.Unlock()
	s, err := engine.BeginSession(t.Context(), env.Engine, env.Ann, engine.From{Address: "192.0.2.7"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.RevokeSession(t.Context(), env.Ann, s.ID); err != nil {
		t.Errorf("a session of another tenant ends: %v", err)
	}
}

// TestAnOperatorIsNamedInTheLogOfATenant as one of main, and the tenant's own people are
// not.
func TestAnOperatorIsNamedInTheLogOfATenant(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	acme := env.Tenant("acme")
	if _, err := e.ChangeUser(ctx, acme.Ann, "ann", api.ProfileRequest{Display: "Ann"}, ""); err != nil {
		t.Fatal(err)
	}
	sequenced(t, acme)
	for kind, tenant := range map[string]string{"tenant.created": "main", "principal.changed": ""} {
		found, err := e.Audit(ctx, acme.Ann, api.AuditQuery{AuditFilter: api.AuditFilter{Kind: kind}})
		if err != nil || len(found.Items) != 1 || found.Items[0].Principal != "ann" || found.Items[0].Tenant != tenant {
			t.Errorf("the log tells of %s: %+v, %v, want by ann of tenant %q", kind, found.Items, err, tenant)
		}
	}
}

// TestEverybodySeesWhatTheyAre without a role, and ends their own keys.
func TestEverybodySeesWhatTheyAre(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	bob, zoe := env.Person("bob"), env.Person("zoe")
	if u, err := e.User(ctx, bob, "bob"); err != nil || u.Name != "bob" {
		t.Errorf("Bob sees himself: %+v, %v", u, err)
	}
	if _, err := e.Grants(ctx, bob, engine.GrantsOf{User: "bob"}, engine.Page{}); err != nil {
		t.Errorf("Bob sees his grants: %v", err)
	}
	keys, err := e.APIKeys(ctx, bob, "bob", engine.Page{})
	if err != nil || len(keys.Items) != 1 || keys.Items[0].ID != bob.Key {
		t.Errorf("Bob sees his keys: %+v, %v", keys.Items, err)
	}
	for name, err := range map[string]error{
		"another user":         second(e.User(ctx, bob, "zoe")),
		"nobody":               second(e.User(ctx, bob, "nobody")),
		"another's grants":     second(e.Grants(ctx, bob, engine.GrantsOf{User: "zoe"}, engine.Page{})),
		"a group's grants":     second(e.Grants(ctx, bob, engine.GrantsOf{Group: "clerks"}, engine.Page{})),
		"all grants":           second(e.Grants(ctx, bob, engine.GrantsOf{}, engine.Page{})),
		"another's keys":       second(e.APIKeys(ctx, bob, "zoe", engine.Page{})),
		"all keys":             second(e.APIKeys(ctx, bob, "", engine.Page{})),
		"all users":            second(e.Users(ctx, bob, engine.Page{})),
		"revoking another key": second(e.RevokeAPIKey(ctx, bob, zoe.Key, api.ReasonRequest{}, "")),
		"revoking no key":      second(e.RevokeAPIKey(ctx, bob, "x", api.ReasonRequest{}, "")),
		"rotating his own key": second(e.RotateAPIKey(ctx, bob, bob.Key, api.RotateAPIKeyRequest{}, "")),
	} {
		if !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v, want Denied", name, err)
		}
	}
	if _, err := e.RevokeAPIKey(ctx, bob, bob.Key, api.ReasonRequest{Reason: "lost"}, ""); err != nil {
		t.Errorf("revoking his own key: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

const bothModel = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="x">
<process id="both" isExecutable="true"><startEvent id="s"/><sequenceFlow id="a" sourceRef="s" targetRef="split"/><parallelGateway id="split"/>
<sequenceFlow id="b" sourceRef="split" targetRef="ask"/><userTask id="ask"><extensionElements><zeebe:userTask/></extensionElements></userTask>
<sequenceFlow id="c" sourceRef="split" targetRef="work"/><serviceTask id="work"><extensionElements><zeebe:taskDefinition type="work"/></extensionElements></serviceTask>
</process></definitions>`

// worked is an instance with a task, and a job that somebody works on, and the incident of
// another one.
type worked struct{ instance, task, job, lease, incident string }

func workedOn(t *testing.T, env *testenv.Env, by engine.Caller) worked {
	t.Helper()
	on, zero := worked{}, 0
	for range 2 {
		id := env.Start("both", `{}`)
		got, err := env.Engine.ActivateJobs(t.Context(), by, api.ActivateRequest{Type: "work", Worker: "w", Max: 1, LeaseMS: 3_600_000})
		if err != nil || len(got.Items) != 1 {
			t.Fatalf("jobs %+v: %v", got, err)
		}
		if j := got.Items[0]; on.instance == "" {
			on.instance, on.task, on.job, on.lease = id, env.Task(id).ID, j.ID, j.Lease
		} else if _, err := env.Engine.FailJob(t.Context(), by, j.ID, api.FailJobRequest{Lease: j.Lease, Retries: &zero}, ""); err != nil {
			t.Fatal(err)
		}
	}
	all, err := env.Engine.Incidents(t.Context(), env.Ann, "", engine.Page{})
	if err != nil || len(all.Items) == 0 {
		t.Fatalf("incidents %+v: %v", all, err)
	}
	on.incident = all.Items[len(all.Items)-1].ID
	return on
}

// actsOfPeople are all that somebody can do to instances, in an order in which each can be
// done.
func actsOfPeople(on worked) (names []string, acts []func(context.Context, *engine.Engine, engine.Caller) (api.Receipt, error)) {
	add := func(name string, act func(context.Context, *engine.Engine, engine.Caller) (api.Receipt, error)) {
		names, acts = append(names, name), append(acts, act)
	}
	add("Start", func(ctx context.Context, e *engine.Engine, c engine.Caller) (api.Receipt, error) {
		return e.Start(ctx, c, api.StartRequest{Process: "both"}, "")
	})
	add("Claim", func(ctx context.Context, e *engine.Engine, c engine.Caller) (api.Receipt, error) {
		return e.Claim(ctx, c, on.task, "", "")
	})
	add("SaveTask", func(ctx context.Context, e *engine.Engine, c engine.Caller) (api.Receipt, error) {
		return e.SaveTask(ctx, c, on.task, []byte(`{"a":1}`), "")
	})
	add("Unclaim", func(ctx context.Context, e *engine.Engine, c engine.Caller) (api.Receipt, error) {
		return e.Unclaim(ctx, c, on.task, "")
	})
	add("CompleteTask", func(ctx context.Context, e *engine.Engine, c engine.Caller) (api.Receipt, error) {
		return e.CompleteTask(ctx, c, on.task, []byte(`{}`), "")
	})
	add("SetVariables", func(ctx context.Context, e *engine.Engine, c engine.Caller) (api.Receipt, error) {
		return e.SetVariables(ctx, c, on.instance, []byte(`{"a":1}`), "")
	})
	add("CompleteJob", func(ctx context.Context, e *engine.Engine, c engine.Caller) (api.Receipt, error) {
		return e.CompleteJob(ctx, c, on.job, api.CompleteJobRequest{Lease: on.lease}, "")
	})
	add("RetryIncident", func(ctx context.Context, e *engine.Engine, c engine.Caller) (api.Receipt, error) {
		return e.RetryIncident(ctx, c, on.incident, 1, "")
	})
	add("Cancel", func(ctx context.Context, e *engine.Engine, c engine.Caller) (api.Receipt, error) {
		instance, _, _ := strings.Cut(on.incident, ".")
		return e.Cancel(ctx, c, instance, "")
	})
	return names, acts
}

// TestAStepIsDecidedWhenItIsMade has people do to instances what they might when they were
// admitted, and might not any more before it was durable.
func TestAStepIsDecidedWhenItIsMade(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	env.Deploy("both.bpmn", bothModel)
	var grants []string
	person := func(name string) engine.Caller {
		key := env.PersonsKey(name)
		grants = nil
		for _, right := range []string{"start", "work", "manage"} {
			grants = append(grants, give(t, env, api.GrantRequest{User: name, Right: right, Process: "both"}).ID)
		}
		return env.SignIn(key)
	}
	for how, end := range map[string]func(engine.Caller) error{
		"the key is revoked": func(c engine.Caller) error {
			return second(e.RevokeAPIKey(ctx, env.Ann, c.Key, api.ReasonRequest{}, ""))
		},
		"they are disabled": func(c engine.Caller) error {
			return second(e.DisableUser(ctx, env.Ann, c.Principal, api.ReasonRequest{}, ""))
		},
		"they sign out": func(c engine.Caller) error { return second(e.SignOut(ctx, c)) },
		"their grants are revoked": func(c engine.Caller) (err error) {
			for _, id := range grants {
				err = errors.Join(err, second(e.RevokeGrant(ctx, env.Ann, id, api.ReasonRequest{}, "")))
			}
			return err
		},
	} {
		bob := person(strings.ReplaceAll(how, " ", "-"))
		if how == "they sign out" {
			bob = signedInBySession(t, env, bob)
		}
		names, acts := actsOfPeople(workedOn(t, env, bob))
		if err := end(bob); err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		for i, act := range acts {
			_, err := act(ctx, e, bob)
			refused := unauthenticated(err)
			if how == "their grants are revoked" { // or they do not see it any more
				refused = fault.Is(err, fault.Denied) && !refused || fault.Is(err, fault.NotFound)
			}
			lost := names[i] == "CompleteJob" && fault.Is(err, fault.Conflict) // the job was taken back before
			if !refused && !lost {
				t.Errorf("%s when %s meanwhile: %v", names[i], how, err)
			}
		}
	}
	bob := person("bob")
	names, acts := actsOfPeople(workedOn(t, env, bob))
	if err := second(e.ChangeUser(ctx, env.Ann, "bob", api.ProfileRequest{Display: "Bob"}, "")); err != nil {
		t.Fatal(err)
	}
	for i, act := range acts { // what has changed takes nothing of it
		if _, err := act(ctx, e, bob); err != nil {
			t.Errorf("%s by somebody who may still: %v", names[i], err)
		}
	}
}

// orders are what administrators do to holds, erasures, signers, readers of the log and keys,
// each of which can be done in this order.
func orders(t *testing.T, env *testenv.Env, target string) (names []string, acts []func(engine.Caller) error) {
	t.Helper()
	ctx, e, later := t.Context(), env.Engine, 3_600_000
	keys := make([]string, 2)
	for i := range keys {
		public, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = base64.StdEncoding.EncodeToString(public)
	}
	add := func(name string, act func(engine.Caller) error) { names, acts = append(names, name), append(acts, act) }
	var hold, erasure string
	add("PlaceHold", func(c engine.Caller) error {
		h, err := e.PlaceHold(ctx, c, api.HoldRequest{Kind: "subject", ID: "p-1", Reason: "a lawsuit"}, "")
		hold = cmp.Or(h.ID, hold)
		return err
	})
	add("ReleaseHold", func(c engine.Caller) error { return second(e.ReleaseHold(ctx, c, hold, "")) })
	add("OrderErasure", func(c engine.Caller) error {
		x, err := e.OrderErasure(ctx, c, api.ErasureRequest{Kind: "instance", ID: target, DelayMS: &later}, "")
		erasure = cmp.Or(x.ID, erasure)
		return err
	})
	add("CancelErasure", func(c engine.Caller) error { return second(e.CancelErasure(ctx, c, erasure, "")) })
	add("RegisterSigner", func(c engine.Caller) error {
		return second(e.RegisterSigner(ctx, c, api.SignerRequest{Name: "w", Principal: "ann", Alg: "ed25519", Public: keys[0]}, ""))
	})
	add("RotateSigner", func(c engine.Caller) error {
		return second(e.RotateSigner(ctx, c, "w", api.RotateSignerRequest{Alg: "ed25519", Public: keys[1]}, ""))
	})
	add("RevokeSigner", func(c engine.Caller) error {
		return second(e.RevokeSigner(ctx, c, "w", api.RevokeSignerRequest{Reason: "lost"}, ""))
	})
	var reader string
	add("CreateLogReader", func(c engine.Caller) error {
		r, err := e.CreateLogReader(ctx, c, api.LogReaderRequest{Name: "a mirror"})
		reader = cmp.Or(r.ID, reader)
		return err
	})
	add("RevokeLogReader", func(c engine.Caller) error { return second(e.RevokeLogReader(ctx, c, reader)) })
	add("RotateKey", func(c engine.Caller) error { return second(e.RotateKey(ctx, c, api.RotateKeyRequest{Key: "audit"})) })
	add("RotateKey, the tenant's", func(c engine.Caller) error {
		return second(e.RotateKey(ctx, c, api.RotateKeyRequest{Key: "tenant"}))
	})
	add("RewrapKeys", func(c engine.Caller) error { return second(e.RewrapKeys(ctx, c, api.RewrapRequest{})) })
	return names, acts
}

// TestAnOrderIsDecidedWhenItIsMade has an administrator order what they might when they were
// admitted, and might not any more before it was durable. Before each, somebody who may does
// what it takes.
func TestAnOrderIsDecidedWhenItIsMade(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("both.bpmn", bothModel)
	started, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "both"}, "")
	if err != nil {
		t.Fatal(err)
	}
	names, acts := orders(t, env, started.Instance)
	for i, act := range acts {
		for how, end := range map[string]func(name string, c engine.Caller) error{
			"the key is revoked": func(_ string, c engine.Caller) error {
				return second(env.Engine.RevokeAPIKey(t.Context(), env.Ann, c.Key, api.ReasonRequest{}, ""))
			},
			"the role is taken": func(name string, _ engine.Caller) error {
				return second(env.Engine.TakeUserRole(t.Context(), env.Ann, name, api.RoleRequest{Role: "Admin"}, ""))
			},
		} {
			name := fmt.Sprintf("boss-%d-%s", i, how[4:5])
			boss := env.Person(name, "Admin")
			if err := end(name, boss); err != nil {
				t.Fatal(err)
			}
			if err := act(boss); !fault.Is(err, fault.Denied) || unauthenticated(err) != strings.Contains(how, "key") {
				t.Errorf("%s when %s meanwhile: %v", names[i], how, err)
			}
		}
		boss := env.Person(fmt.Sprintf("boss-%d", i), "Admin")
		if err := second(env.Engine.ChangeUser(t.Context(), env.Ann, boss.Principal, api.ProfileRequest{Display: "Boss"}, "")); err != nil {
			t.Fatal(err)
		}
		if err := act(boss); err != nil { // what has changed takes nothing of it
			t.Errorf("%s by somebody who may still: %v", names[i], err)
		}
	}
	checkedWhole(t, env)
}

func signedInBySession(t *testing.T, env *testenv.Env, c engine.Caller) engine.Caller {
	t.Helper()
	s, err := engine.BeginSession(t.Context(), env.Engine, c, engine.From{Address: "192.0.2.7"})
	if err == nil {
		c, err = env.Engine.Authenticate(t.Context(), s.Text, "192.0.2.7")
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}
