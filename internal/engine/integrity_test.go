package engine_test

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// TestTheServerFindsAChangeByItself takes a row away that no read misses, and waits.
func TestTheServerFindsAChangeByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("hours in which the server checks itself")
	}
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		env := testenv.New(t, func(c *node.Config) {
			c.CheckRate = 20
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
		})
		env.Deploy("all.bpmn", everything)
		for range 20 {
			start := api.StartRequest{Process: "everything", Variables: []byte(`{"note": "a"}`)}
			if _, err := env.Engine.Start(t.Context(), env.Ann, start, time.Now().String()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Minute)
		if n := findings(t, env); n != 0 || alarms(t, env) != 0 {
			t.Errorf("%v findings and %d alarms, and nobody changed anything: %s", n, alarms(t, env), log.String())
		}
		env.Restart(func() {
			db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
			defer db.Close()
			if _, err := db.Exec(`DELETE FROM unique_tokens WHERE token = (SELECT max(token) FROM unique_tokens)`); err != nil {
				t.Fatal(err)
			}
		})
		log.Reset()
		for _, wait := range []time.Duration{3 * time.Minute, 5 * time.Minute} { // told once, however often it is found
			time.Sleep(wait)
			if n := findings(t, env); n != 1 {
				t.Errorf("after %v: %v findings, want 1", wait, n)
			}
			if n := alarms(t, env); n != 1 {
				t.Errorf("after %v: the log has %d alarms, want 1", wait, n)
			}
			if n := strings.Count(log.String(), "is not what its log says"); n != 1 {
				t.Errorf("after %v: the server's log says it %d times, want once", wait, n)
			}
		}
	})
}

// findings returns the metric of findings.
func findings(t *testing.T, env *testenv.Env) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range env.Node.Collectors() {
		if err := registry.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "underseal_integrity_findings" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no metric underseal_integrity_findings")
	return 0
}

// alarms counts the leaves that tell of findings.
func alarms(t *testing.T, env *testenv.Env) (n int) {
	t.Helper()
	db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	defer db.Close()
	if err := db.QueryRow(`SELECT count(*) FROM leaves WHERE seq = 0 AND CAST(body AS TEXT) LIKE '%"integrity.alarm"%'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
