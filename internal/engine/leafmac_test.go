package engine_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/ledger"
)

// invented returns a leaf that needs no key: whoever chooses the keys of its
// commitments can disclose them.
func invented(origin, kind string, object uuid.UUID, key ledger.Hash) ledger.Leaf {
	commitment := ledger.Commit(key[:], ledger.EncodeField(ledger.SignerKeyPath, nil))
	return ledger.Leaf{
		Kind: kind, Log: origin, Object: object.String(), Seq: 1, At: "2026-11-21T12:30:00.000000Z", Act: "worker",
		Data: ledger.DataRoot([]ledger.Hash{commitment}), N: 1,
	}
}

// TestAnInventedLeafComesUnderNoHead: else who has SQL alone could make evidence of a
// worker, a key and a result that never were.
func TestAnInventedLeafComesUnderNoHead(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	env.Start("everything", `{"note": "a"}`)
	objects := []uuid.UUID{uuid.New(), uuid.New()}
	path := filepath.Join(env.Config.Data, "data.db")
	env.Restart(func() {
		db := openRaw(t, path)
		defer db.Close()
		var origin string
		if err := db.QueryRow(`SELECT origin FROM log_shards`).Scan(&origin); err != nil {
			t.Fatal(err)
		}
		registered := invented(origin, ledger.KeyRegistered, objects[0], ledger.Hash{1})
		done := invented(origin, "instance.job_completed", objects[1], ledger.Hash{2})
		done.Key = ledger.LeafHash(registered.Encode()).String()
		for i, leaf := range []ledger.Leaf{registered, done} {
			body := leaf.Encode()
			hash := ledger.LeafHash(body)
			if _, err := db.Exec(`INSERT INTO leaves (tenant, object, seq, hash, body, mac, terms) SELECT 'main', ?, 1, ?, ?, mac, terms FROM leaves ORDER BY pos LIMIT 1`,
				objects[i][:], hash[:], body); err != nil {
				t.Fatal(err)
			}
		}
	})
	check := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{})
	var found []engine.Finding
	for check.State.Phase != "done" {
		more, err := check.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, more...)
	}
	env.Restart(func() { // what was committed gets its place at the end, if it ever does
		db := openRaw(t, path)
		defer db.Close()
		for _, object := range objects {
			var places int
			if err := db.QueryRow(`SELECT count(*) FROM log_entries WHERE object = ?`, object[:]).Scan(&places); err != nil || places > 0 {
				t.Errorf("%d places for a leaf that nobody made, %v", places, err)
			}
			if !slices.ContainsFunc(found, func(f engine.Finding) bool { return f.Object == object.String() }) {
				t.Errorf("the check does not name %s: %v", object, found)
			}
		}
	})
}

// TestAChangedLeafGetsNoReceipt: a receipt is the platform's word as well.
func TestAChangedLeafGetsNoReceipt(t *testing.T) {
	t.Parallel()
	env, id := twoSteps(t)
	if _, err := env.Engine.Receipt(t.Context(), env.Ann, id, 2); err != nil {
		t.Fatal(err)
	}
	forge(t, env, id).leaf(2, true)
	if _, err := env.Engine.Receipt(t.Context(), env.Ann, id, 2); !fault.Is(err, fault.Integrity) {
		t.Errorf("a receipt of a changed leaf: %v, want Integrity", err)
	}
}
