package engine_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// withoutRoles returns a caller who has neither roles nor grants any more.
func withoutRoles(c engine.Caller) engine.Caller {
	c.Who = access.Principal{Name: c.Principal, Tenant: c.Scope.Tenant(), Kind: access.User}.Effective()
	return c
}

// ofOneself is what everybody may do: know who they are, and what is about their own
// session, password and passkeys; and what is done with everybody, that they missed something.
var ofOneself = []string{"Missed", "Me", "Notices", "SetPassword", "SignOut", "Verify", "BeginVerify", "BeginPasskey", "RegisterPasskey"}

// TestEveryUseCaseAsks calls every method that takes a caller, with a caller who
// has no role: the decision comes before anything else is looked at.
func TestEveryUseCaseAsks(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	nobody := withoutRoles(env.Ann)
	all := reflect.ValueOf(env.Engine)
	asked := 0
	for i := range all.NumMethod() {
		method, name := all.Method(i), all.Type().Method(i).Name
		if method.Type().NumIn() < 2 || method.Type().In(1) != reflect.TypeFor[engine.Caller]() {
			continue
		}
		if asked++; slices.Contains(ofOneself, name) {
			continue
		}
		args := []reflect.Value{reflect.ValueOf(t.Context()), reflect.ValueOf(nobody)}
		for j := 2; j < method.Type().NumIn(); j++ {
			args = append(args, reflect.Zero(method.Type().In(j)))
		}
		results := method.Call(args)
		if err, _ := results[len(results)-1].Interface().(error); !fault.Is(err, fault.Denied) {
			t.Errorf("%s for a caller without a role: %v, want Denied", name, err)
		}
	}
	if asked < 20 {
		t.Errorf("%d use cases, want all of them", asked)
	}
}
