package engine_test

import (
	"encoding/binary"
	"path/filepath"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

func TestANewAuditKeyTakesOver(t *testing.T) { onBoth(t, newAuditKey) }

// newAuditKey rotates the key that seals all objects which are no instances, between
// their steps: what was sealed before and what comes after is both there, also for a
// server that starts anew.
func newAuditKey(t *testing.T, env *testenv.Env) {
	ctx := t.Context()
	env.Deploy("c.bpmn", classified)
	held, gone := env.Start("classified", somebody), env.Start("classified", somebody)
	hold := func(reason string) api.Hold {
		h, err := env.Engine.PlaceHold(ctx, env.Ann, api.HoldRequest{Kind: "instance", ID: held, Reason: reason}, "")
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	first := hold("before")
	reader, err := env.Engine.CreateLogReader(ctx, env.Ann, api.LogReaderRequest{Name: "an auditor"})
	if err != nil {
		t.Fatal(err)
	}
	now := 0
	if _, err := env.Engine.OrderErasure(ctx, env.Ann, api.ErasureRequest{Kind: "instance", ID: gone, DelayMS: &now}, ""); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"audit", "inbox"} {
		if version := rotated(t, env, api.RotateKeyRequest{Key: key, After: "1"}); version != "2" {
			t.Errorf("%s: version %s, want 2", key, version)
		}
		if version := rotated(t, env, api.RotateKeyRequest{Key: key, After: "1"}); version != "2" {
			t.Errorf("%s by mistake: version %s, want 2", key, version)
		}
	}
	second := hold("after")
	if _, err := env.Engine.SetMode(ctx, env.Ann, "classified", "confidential", ""); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"rotated", "restarted", "rewrapped"} {
		holds, err := env.Engine.Holds(ctx, env.Ann, pageOf(10))
		if err != nil || len(holds.Items) != 2 || holds.Items[0].ID != first.ID || holds.Items[1].ID != second.ID {
			t.Errorf("%s: holds %+v, %v", when, holds.Items, err)
		}
		if _, err := env.Engine.Instance(ctx, env.Ann, gone); !fault.Is(err, fault.Sealed) {
			t.Errorf("%s: the erased instance: %v", when, err)
		}
		if got, err := env.Engine.LogReaders(ctx, env.Ann, pageOf(10)); err != nil || len(got.Items) != 1 || got.Items[0].ID != reader.ID {
			t.Errorf("%s: readers of the log: %+v, %v", when, got.Items, err)
		}
		env.Start("classified", somebody)
		if when == "rotated" {
			env.Restart(nil) // replays the erasure, whose plan is under the first key
			continue
		}
		rotated(t, env, api.RotateKeyRequest{Key: "tenant"})
		rewrapped(t, env)
		env.Restart(nil)
	}
	if _, err := env.Engine.RotateKey(ctx, env.Ann, api.RotateKeyRequest{Key: "audit", Service: "keyfile"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an audit key of a key service: %v, want invalid", err)
	}
	keys, err := env.Engine.Keys(ctx, env.Ann)
	if err != nil || len(keys.Purposes) != 4 || keys.Purposes[1].Purpose != "audit" || keys.Purposes[1].Number != 2 || keys.Purposes[1].Made.IsZero() {
		t.Errorf("keys: %+v, %v", keys.Purposes, err)
	}
}

// TestHeadsGoOnUnderTheNewestAuditKey looks at which key the heads' envelopes name.
func TestHeadsGoOnUnderTheNewestAuditKey(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	key := func() (id envelope.KeyID) {
		env.Restart(func() {
			db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
			defer db.Close()
			var head []byte
			if err := db.QueryRow(`SELECT body FROM heads WHERE kind = 'definition'`).Scan(&head); err != nil {
				t.Fatal(err)
			}
			_, parts := binary.Uvarint(head)
			size, n := binary.Uvarint(head[parts:])
			ids, err := envelope.KeyIDs(head[parts+n:][:size])
			if err != nil || len(ids) != 1 {
				t.Fatalf("the head is under %v, %v", ids, err)
			}
			id = ids[0]
		})
		return id
	}
	first := key()
	rotated(t, env, api.RotateKeyRequest{Key: "audit"})
	if key() != first {
		t.Error("a head changed without a step")
	}
	if _, err := env.Engine.SetMode(t.Context(), env.Ann, "classified", "confidential", ""); err != nil {
		t.Fatal(err)
	}
	second := key()
	if second == first {
		t.Error("a step after the rotation leaves the head under the former key")
	}
	if _, err := env.Engine.SetMode(t.Context(), env.Ann, "classified", "standard", ""); err != nil || key() != second {
		t.Errorf("another step: %v, under another key: %t", err, key() != second)
	}
}
