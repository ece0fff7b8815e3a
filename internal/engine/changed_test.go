package engine_test

import (
	"context"
	"maps"
	"runtime"
	"slices"
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
	bob := env.Person("bob", "Admin", "Operator", "Designer")
	for _, role := range []string{"Admin", "Operator", "Designer"} {
		must(e.TakeUserRole(ctx, env.Ann, "bob", api.RoleRequest{Role: role}, ""))
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
}

// TestAChangeHoldsUpNobodyElse has others do what they can while a change of the main
// tenant's people is being made.
func TestAChangeHoldsUpNobodyElse(t *testing.T) {
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
