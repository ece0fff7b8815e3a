package engine_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// rewrapped waits until all data keys are under the newest tenant key.
func rewrapped(t *testing.T, env *testenv.Env) api.Keys {
	t.Helper()
	if _, err := env.Engine.RewrapKeys(t.Context(), env.Ann, api.RewrapRequest{}); err != nil {
		t.Fatal(err)
	}
	for {
		keys, err := env.Engine.Keys(t.Context(), env.Ann)
		switch {
		case err != nil:
			t.Fatal(err)
		case keys.Rewrap.Error != "":
			t.Fatal(keys.Rewrap.Error)
		case !keys.Rewrap.Running:
			return keys
		}
	}
}

func rotated(t *testing.T, env *testenv.Env, in api.RotateKeyRequest) string {
	t.Helper()
	made, err := env.Engine.RotateKey(t.Context(), env.Ann, in)
	if err != nil {
		t.Fatal(err)
	}
	return made.Version
}

func retired(t *testing.T, env *testenv.Env, in api.RetireKeyRequest) {
	t.Helper()
	if r, err := env.Engine.RetireKey(t.Context(), env.Ann, in); err != nil || !r.Done || !r.Safe {
		t.Fatalf("retire %+v: %+v, %v", in, r, err)
	}
}

// TestRotationTouchesNoData compares all rows of all tables before and after a
// rotation of everything, byte for byte.
func TestRotationTouchesNoData(t *testing.T) {
	t.Parallel()
	second := kmstest.New(t)
	env := testenv.New(t, func(c *node.Config) { c.KeyServices = map[string]kms.Service{"second": second} })
	deployLoan(t, env)
	env.Deploy("all.bpmn", everything)
	env.Deploy("c.bpmn", classified)
	ids := []string{
		env.Start("loan", example(t, "application.json")), env.Start("everything", `{"note": "a", "other": 1}`),
		env.Start("classified", `{"shoe": `+named(put(t, env, env.Ann, content(10)).File)+`, "person": {"id": "p-1"}}`),
	}
	export := func() (all []api.Export) {
		for _, id := range ids {
			e, err := env.Engine.Export(t.Context(), env.Ann, id)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
		return all
	}
	env.Restart(nil)
	path := filepath.Join(env.Config.Data, "data.db")
	exported, before := export(), tables(t, path, "data.db")

	if version := rotated(t, env, api.RotateKeyRequest{Key: "tenant", Service: "second"}); version != "2" {
		t.Errorf("version %s, want 2", version)
	}
	rewrapped(t, env)
	retired(t, env, api.RetireKeyRequest{Key: "tenant", Version: "1"})
	rotated(t, env, api.RotateKeyRequest{Key: "root"})
	retired(t, env, api.RetireKeyRequest{Key: "root", Version: "1"})
	for _, when := range []string{"after the rotation", "after a restart"} {
		if !reflect.DeepEqual(export(), exported) {
			t.Errorf("%s: the instances read otherwise", when)
		}
		after := tables(t, path, "data.db")
		if len(before) < 10 || len(before) != len(after) {
			t.Fatalf("%d tables, and %d %s", len(before), len(after), when)
		}
		for name, table := range before {
			if !table.grewTo(after[name]) {
				t.Errorf("%s: table %s has other rows", when, name)
			}
		}
		env.Restart(nil)
	}
}

// grewTo reports whether all rows are still as they were, with further ones only
// where the log is told of the rotation.
func (tab *table) grewTo(after *table) bool {
	told := []string{"heads", "steps", "fields", "leaves", "custodies"}
	if strings.HasPrefix(tab.name, "log_") || tab.name == "credentials" {
		return true // the tree over them, and when keys were used
	}
	if !slices.Contains(told, tab.name) {
		return reflect.DeepEqual(tab.rows, after.rows)
	}
	there := map[string]bool{}
	for _, row := range after.rows {
		there[fmt.Sprint(row)] = true
	}
	return !slices.ContainsFunc(tab.rows, func(row []any) bool {
		return !there[fmt.Sprint(row)] && !slices.Contains(row, any("keys")) // the record's own head
	})
}

func TestRotatingAKeyTwiceByMistake(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	for _, key := range []string{"tenant", "root"} {
		for range 2 {
			if version := rotated(t, env, api.RotateKeyRequest{Key: key, After: "1"}); version != "2" {
				t.Errorf("%s: version %s, want 2", key, version)
			}
		}
	}
	keys := rewrapped(t, env)
	if len(keys.TenantKeys) != 2 || !keys.TenantKeys[0].Dispensable || !keys.TenantKeys[1].Newest || keys.TenantKeys[1].RootVersion != "2" {
		t.Errorf("tenant keys: %+v", keys.TenantKeys)
	}
	if len(keys.RootKeys) != 2 || !keys.RootKeys[0].Dispensable || !keys.RootKeys[1].Newest || keys.RootKeys[1].TenantKeys != 2 {
		t.Errorf("root keys: %+v", keys.RootKeys)
	}
	for name, in := range map[string]api.RetireKeyRequest{
		"the newest tenant key": {Key: "tenant", Version: "2"}, "the newest root key": {Key: "root", Version: "2"},
	} {
		if _, err := env.Engine.RetireKey(t.Context(), env.Ann, in); !fault.Is(err, fault.Conflict) {
			t.Errorf("retire %s: %v, want Conflict", name, err)
		}
	}
	if _, err := env.Engine.RetireKey(t.Context(), env.Ann, api.RetireKeyRequest{Key: "tenant", Version: "x"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("retire version x: %v, want Invalid", err)
	}
	if _, err := env.Engine.RotateKey(t.Context(), env.Ann, api.RotateKeyRequest{Key: "root", Service: "another"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("rotate a service of others: %v, want NotFound", err)
	}
}

// TestKeysAreRotatedOnSchedule lets hours pass.
func TestKeysAreRotatedOnSchedule(t *testing.T) {
	if testing.Short() {
		t.Skip("hours of rotations")
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		env := testenv.New(t, func(c *node.Config) {
			// Not on the hour, at which the node looks.
			c.Rotation = keyring.Schedule{TenantKeys: 170 * time.Minute, RootKeys: 290 * time.Minute}
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
		})
		time.Sleep(6*time.Hour + 30*time.Minute)
		keys, err := env.Engine.Keys(t.Context(), env.Ann)
		if err != nil {
			t.Fatal(err)
		}
		last := keys.TenantKeys[len(keys.TenantKeys)-1]
		if last.Version != 3 || last.RootVersion != "2" || last.DataKeys == 0 || !keys.TenantKeys[0].Dispensable {
			t.Errorf("tenant keys after six hours: %+v", keys.TenantKeys)
		}
		for _, says := range []string{"an old key can be destroyed", "version=2"} {
			if !strings.Contains(log.String(), says) {
				t.Errorf("the log does not say %q: %s", says, &log)
			}
		}
		registry := prometheus.NewRegistry()
		for _, c := range env.Node.Collectors() {
			registry.MustRegister(c)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]float64{}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				name := family.GetName()
				for _, label := range m.GetLabel() {
					name += " " + label.GetValue()
				}
				found[name] = m.GetGauge().GetValue()
			}
		}
		if found["underseal_data_keys newest"] == 0 || found["underseal_data_keys older"] != 0 || found["underseal_old_keys_dispensable"] != 3 {
			t.Errorf("figures: %v", found)
		}
	})
}

// TestARootKeyCountsTheTenantsOwnKeys: how many of others it wraps is for Operators.
func TestARootKeyCountsTheTenantsOwnKeys(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	acme := env.Tenant("acme")
	for name, test := range map[string]struct {
		who  engine.Caller
		want int
	}{"an administrator": {acme.Ann, 1}, "an Operator": {env.Ann, 2}} {
		keys, err := env.Engine.Keys(t.Context(), test.who)
		if err != nil || len(keys.RootKeys) != 1 || keys.RootKeys[0].TenantKeys != test.want {
			t.Errorf("%s sees %+v, %v, want %d keys below the root key", name, keys.RootKeys, err, test.want)
		}
	}
	if _, err := env.Engine.RetireKey(t.Context(), acme.Ann, api.RetireKeyRequest{Key: "keyfile", Version: "1", DryRun: true}); !fault.Is(err, fault.Denied) {
		t.Errorf("an administrator asks what hangs on a root key: %v, want Denied", err)
	}
}
