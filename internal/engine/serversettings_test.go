package engine_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/testenv"
)

// TestSettingsThatChangedAreTold starts a server with one configuration after the other.
func TestSettingsThatChangedAreTold(t *testing.T) {
	t.Parallel()
	env, told := testenv.New(t, nil), 0
	first := map[string]string{"listen": "127.0.0.1:8700", "tls_min": "1.3"}
	older := map[string]string{"listen": "127.0.0.1:8700", "tls_min": "1.2"}
	more := map[string]string{"listen": "127.0.0.1:8700", "tls_min": "1.2", "hosts": "seal.example.org"}
	for n, step := range []struct {
		settings map[string]string
		changed  []string
	}{
		{first, []string{"listen", "tls_min"}}, {first, nil}, {older, []string{"tls_min"}}, {older, nil}, {first, []string{"tls_min"}},
		{more, []string{"hosts", "tls_min"}}, {older, []string{"hosts"}}, {older, nil},
	} {
		if err := env.Engine.TellSettings(t.Context(), step.settings); err != nil {
			t.Fatal(err)
		}
		env.Restart(nil) // so that what was told has its place
		out, err := env.Engine.Audit(t.Context(), env.Ann, api.AuditQuery{AuditFilter: api.AuditFilter{Kind: "settings.changed"}})
		if err != nil {
			t.Fatal(err)
		}
		if step.changed != nil {
			told++
		}
		if len(out.Items) != told {
			t.Fatalf("start %d: %d entries, want %d", n, len(out.Items), told)
		}
		var says struct {
			Changed  []string
			Settings map[string]string
		}
		if err := json.Unmarshal(out.Items[0].Details, &says); err != nil {
			t.Fatal(err)
		}
		if step.changed != nil && !slices.Equal(says.Changed, step.changed) || len(says.Settings) != len(step.settings) || says.Settings["tls_min"] != step.settings["tls_min"] {
			t.Errorf("start %d: told %+v, want that %v changed to %v", n, says, step.changed, step.settings)
		}
	}
}

// TestSettingsAreToldAgainWhenTheirEntryWasChanged sets the entry back by SQL, which must
// not keep the log from being told.
func TestSettingsAreToldAgainWhenTheirEntryWasChanged(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	for _, want := range []int{1, 2} {
		if err := env.Engine.TellSettings(t.Context(), map[string]string{"tls_min": "1.3"}); err != nil {
			t.Fatal(err)
		}
		env.Restart(nil)
		db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
		defer db.Close()
		var told int
		if err := db.QueryRow(`SELECT count(*) FROM leaves WHERE CAST(body AS TEXT) LIKE '%"settings.changed"%'`).Scan(&told); err != nil || told != want {
			t.Fatalf("%d entries, %v, want %d", told, err, want)
		}
		if _, err := db.Exec(`UPDATE fields SET value = zeroblob(length(value)) WHERE path = '$settings'`); err != nil {
			t.Fatal(err)
		}
	}
}
