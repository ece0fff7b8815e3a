package engine_test

import (
	"reflect"
	"testing"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// TestEveryUseCaseAsks calls every method that takes a caller, with a caller who
// has no role: the decision comes before anything else is looked at.
func TestEveryUseCaseAsks(t *testing.T) {
	env := testenv.New(t, nil)
	nobody := env.Ann
	nobody.Roles = nil
	all := reflect.ValueOf(env.Engine)
	asked := 0
	for i := range all.NumMethod() {
		method, name := all.Method(i), all.Type().Method(i).Name
		if method.Type().NumIn() < 2 || method.Type().In(1) != reflect.TypeFor[engine.Caller]() {
			continue
		}
		asked++
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
