package engine_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// kept is where a check stood, and of whom, as it is stored.
type kept struct {
	tenant, phase string
	state         []byte
}

// keptAfterEachPart checks data that no node uses, and returns where the check stood after
// each part.
func keptAfterEachPart(t *testing.T, config node.Config) (all []kept) {
	t.Helper()
	err := node.Check(t.Context(), config, node.CheckConfig{Rows: 20, Part: func(tenant string, s engine.CheckState, found []engine.Finding) error {
		text, err := json.Marshal(s)
		if err == nil && len(found) > 0 {
			err = fmt.Errorf("found %+v", found)
		}
		all = append(all, kept{tenant, s.Phase, text})
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// goOn goes on with a check of one tenant, and returns what it finds.
func (k kept) goOn(t *testing.T, config node.Config) (found []engine.Finding) {
	t.Helper()
	var state engine.CheckState
	if err := json.Unmarshal(k.state, &state); err != nil {
		t.Fatal(err)
	}
	of := map[string]engine.CheckState{"main": {Phase: "done"}, "$operator": {Phase: "done"}}
	of[k.tenant] = state
	err := node.Check(t.Context(), config, node.CheckConfig{State: of, Rows: 20, Part: func(_ string, _ engine.CheckState, some []engine.Finding) error {
		found = append(found, some...)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestACheckGoesOnAfterARestore has checks stand at each of their parts when a backup is
// made. After the restore, when there is another anchor log, each goes on and finds
// nothing, the server's own too, and the next one names what is changed then.
func TestACheckGoesOnAfterARestore(t *testing.T) {
	if testing.Short() {
		t.Skip("a restore, and a check of all data for every part of one")
	}
	synctest.Test(t, func(t *testing.T) {
		var seen *testenv.Seen
		env := testenv.New(t, func(c *node.Config) { seen = testenv.NewSeen(t, c) })
		seen.Know(t.Context(), env)
		env.Deploy("all.bpmn", everything)
		for range 3 {
			env.Start("everything", `{"note": "a"}`)
			time.Sleep(3 * time.Minute)
		}
		var all []kept
		env.Restart(func() { all = keptAfterEachPart(t, env.Config) })
		phases, opening := map[string]int{}, kept{}
		for _, k := range all {
			if phases[k.phase]++; k.phase == "openings" && phases[k.phase] == 1 {
				opening = k
			}
		}
		for _, phase := range []string{"logs", "objects", "requests", "rest", "anchors", "openings"} {
			if phases[phase] == 0 {
				t.Errorf("no check stood in phase %s: %v", phase, phases)
			}
		}
		own := fmt.Appendf(nil, `{"place": %s, "current": {"began": "2000-01-01T00:00:00Z"}}`, opening.state)
		if err := env.Engine.KeepCheck(t.Context(), opening.tenant, own); err != nil {
			t.Fatal(err)
		}
		var backup string
		env.Restart(func() { backup = copied(t, env.Config.Data, filepath.Join(t.TempDir(), "backup")) })
		env.Start("everything", `{"note": "lost"}`)
		time.Sleep(3 * time.Minute)

		env.Config.Restored, env.Config.CheckRate = true, 1000
		env.Restart(func() {
			writeFile(t, filepath.Join(env.Config.Data, "data.db"), readFile(t, filepath.Join(backup, "data.db")))
		})
		seen.Know(t.Context(), env)
		env.Start("everything", `{"note": "b"}`)
		time.Sleep(10 * time.Minute)
		if n := findings(t, env); n != 0 {
			t.Errorf("the server goes on with its own check, and finds %v", n)
		}
		env.Config.Restored = false
		env.Restart(func() {
			for i, k := range all {
				if found := k.goOn(t, env.Config); len(found) > 0 {
					t.Errorf("part %d, phase %s of %s: found %+v", i, k.phase, k.tenant, found)
				}
			}
		})
		execRaw(t, env, `UPDATE anchor_openings SET blind = zeroblob(32) WHERE log = 1 AND idx = 0 OR log > 1 AND idx = 0`)
		time.Sleep(10 * time.Minute)
		if n := findings(t, env); n != 4 { // both openings, and that their entries have none
			t.Errorf("%v findings, want those of both anchor logs", n)
		}
	})
}
