package engine_test

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// TestWorkPausesWhileTheKeyServiceIsAway takes the key file away: work goes on
// for as long as keys may be held, then pauses with Unavailable, fails nothing,
// and goes on when the keys are back.
func TestWorkPausesWhileTheKeyServiceIsAway(t *testing.T) {
	t.Parallel()
	timed(t, func(t *testing.T, env *testenv.Env) {
		id := env.Start("timed", `{}`)
		if err := os.Rename(env.Config.KeyFile, env.Config.KeyFile+".away"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Minute)
		env.Start("timed", `{}`)
		if err := env.Engine.Ready(t.Context())["keys"]; !fault.Is(err, fault.Unavailable) {
			t.Errorf("readiness says %v, want Unavailable long before work pauses", err)
		}

		time.Sleep(40 * time.Minute)
		_, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "timed"}, "")
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("starting after the hard age: %v, want Unavailable", err)
		}
		time.Sleep(time.Hour) // the timer's time comes
		synctest.Wait()

		if err := os.Rename(env.Config.KeyFile+".away", env.Config.KeyFile); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := env.Engine.Ready(t.Context())["keys"]; err != nil {
			t.Errorf("readiness with the keys back: %v", err)
		}
		got := env.Instance(id)
		if got.Status != "completed" || got.Incidents != 0 || !strings.HasSuffix(trail(t, env, id), "too_late") {
			t.Errorf("instance is %s with %d incidents, want completed by its timer", got.Status, got.Incidents)
		}
	})
}
