package engine_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// TestEvidenceOnAHaltedLogSaysSo changes the checkpoint beside the keys, after which
// nothing is signed: waiting does not help, and is not recommended.
func TestEvidenceOnAHaltedLogSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		env.Deploy("all.bpmn", everything)
		before := env.Start("everything", `{"note": "a", "other": 1}`)
		time.Sleep(time.Minute)
		db := openRaw(t, filepath.Join(env.Config.Data, "keys.db"))
		defer db.Close()
		if _, err := db.Exec(`UPDATE log_heads SET root = zeroblob(32)`); err != nil {
			t.Fatal(err)
		}
		after := env.Start("everything", `{"note": "b", "other": 2}`)
		time.Sleep(time.Minute)

		_, err := env.Engine.Evidence(t.Context(), env.Ann, api.EvidenceRequest{Instance: after})
		if !fault.Is(err, fault.Integrity) || fault.CodeOf(err) != "log_halted" || !strings.Contains(err.Error(), "the log is halted: ") {
			t.Errorf("evidence of what is under no head: %v", err)
		}
		var refused *fault.Error
		if errors.As(err, &refused); refused == nil {
			return
		}
		if hint := refused.Hint; !strings.Contains(hint, "underseal fsck") || !strings.Contains(hint, "--receipt") || strings.Contains(hint, "try again") {
			t.Errorf("it says what to do: %s", hint)
		}
		if _, err := env.Engine.Evidence(t.Context(), env.Ann, api.EvidenceRequest{Instance: before}); err != nil {
			t.Errorf("evidence of what is under a head: %v", err)
		}
	})
}

// TestHourlyWorkThatIsDueIsDoneSoonAfterAStart lets the end of an epoch pass while no
// server runs.
func TestHourlyWorkThatIsDueIsDoneSoonAfterAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		env.Deploy("all.bpmn", everything)
		done := erase(t, env, "instance", env.Start("everything", `{"note": "a", "other": 1}`))
		env.Restart(func() { time.Sleep(31 * 24 * time.Hour) })
		ended := func() bool { t.Helper(); return epochEnded(t, env, done.ID) }
		time.Sleep(30 * time.Second)
		if ended() {
			t.Error("the start itself is held up by what can wait")
		}
		time.Sleep(90 * time.Second)
		if !ended() {
			t.Error("two minutes after the start the epoch that was over is not ended")
		}
	})
}
