package engine_test

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/testenv"
)

// TestRowsAreSealedUnderTheRightKeys looks at the stored bytes: by which keys a
// field can be erased is what its envelope names.
func TestRowsAreSealedUnderTheRightKeys(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	start := api.StartRequest{Process: "classified", Variables: json.RawMessage(somebody), BusinessKey: "B-17"}
	if _, err := env.Engine.Start(t.Context(), env.Ann, start, ""); err != nil {
		t.Fatal(err)
	}
	got := map[string][]envelope.KeyID{}
	env.Restart(func() {
		db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
		defer db.Close()
		rows, err := db.Query(`SELECT f.path, f.value FROM fields f JOIN instances USING (tenant, object)`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var path string
			var value []byte
			if err := rows.Scan(&path, &value); err != nil {
				t.Fatal(err)
			}
			got[path], _ = envelope.KeyIDs(value) // none: it is in clear
		}
	})
	for path, keys := range map[string]int{
		"room": 0, "plain": 0, "salary": 1, "$actor": 1, "$business_key": 1, "person.id": 2, "person.diagnosis": 2, "shoe": 2, "copied": 2,
	} {
		ids, written := got[path]
		if !written || len(ids) != keys {
			t.Errorf("field %s is under %d keys (%v), want %d", path, len(ids), ids, keys)
		}
		if keys == 2 && ids[1] != got["person.id"][1] {
			t.Errorf("field %s is not under its person's key", path)
		}
	}
}
