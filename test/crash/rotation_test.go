//go:build unix

package crash_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/pgtest"
)

// TestServerKilledInRotationsLosesNoKey kills the server while it replaces tenant keys,
// keys of persons, index keys and root keys and gives up the old ones: after each start
// everything sealed opens and is found, and in the end one key of each sort is left, but
// of persons and of the index all.
func TestServerKilledInRotationsLosesNoKey(t *testing.T) {
	t.Parallel()
	killInRotations(t, newServer(t, ""), 40)
}

func TestServerKilledInRotationsOnPostgresLosesNoKey(t *testing.T) {
	t.Parallel()
	killInRotations(t, newServer(t, pgtest.Database(t)), 12)
}

func killInRotations(t *testing.T, s *server, kills int) {
	rng := newRand(t)
	s.start()
	if _, err := s.client().Deploy(s.ctx, api.File{Name: "crash.bpmn", Content: model(t)}); err != nil {
		t.Fatal(err)
	}
	var started []string
	rotations, newest := 0, ""
	for range kills {
		for range 3 {
			started = append(started, s.startSealed(len(started)))
		}
		done := make(chan int)
		c := s.client()
		go func() {
			n := 0
			for rotateOnce(s.ctx, c) == nil {
				n++
			}
			done <- n
		}()
		time.Sleep(time.Duration(rng.Int64N(int64(500 * time.Millisecond)))) // the moment of the kill
		s.kill()
		s.start()
		rotations += <-done
		for i, id := range started {
			s.readSealed(i, id)
		}
	}
	if err := rotateOnce(s.ctx, s.client()); err != nil {
		t.Fatalf("finishing a rotation: %v", err)
	}
	keys, err := s.client().Keys(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys.TenantKeys {
		newest = strconv.FormatUint(uint64(k.Version), 10)
	}
	if len(keys.TenantKeys) != 1 || keys.TenantKeys[0].RootVersion != keys.RootKeys[len(keys.RootKeys)-1].Version {
		t.Errorf("keys that are left: %+v", keys)
	}
	if newest == "1" {
		t.Error("no rotation got as far as a new tenant key")
	}
	if keys.Subjects.Subjects == 0 || keys.Subjects.Former == 0 {
		t.Errorf("keys of persons: %+v, want new ones", keys.Subjects)
	}
	for _, k := range keys.Purposes {
		if k.Purpose == "index" && k.Number < 2 {
			t.Errorf("the index key is number %d: no rotation got as far", k.Number)
		}
	}
	for person := range min(len(started), 5) {
		now := 0
		if err := s.orderAgain(api.ErasureRequest{Kind: "subject", ID: fmt.Sprintf("p%d", person), DelayMS: &now}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range started {
		if i, err := s.client().Instance(s.ctx, id); err != nil || len(i.Erased) == 0 {
			t.Errorf("after its person was erased, instance %s has erased fields %v, %v", id, i.Erased, err)
		}
	}
	t.Logf("%d kills, %d whole rotations between them; the tenant key is version %s", kills, rotations, newest)
	s.stop()
}

// rotateOnce replaces the tenant key and the root key and retires those before.
func rotateOnce(ctx context.Context, c *client.Client) error {
	made, err := c.RotateKey(ctx, api.RotateKeyRequest{Key: "tenant"})
	if err != nil {
		return err
	}
	version, err := strconv.Atoi(made.Version)
	if err != nil {
		return err
	}
	if err := renewPages(ctx, c, "subjects", 2); err != nil {
		return err
	}
	if err := rotateIndex(ctx, c); err != nil {
		return err
	}
	if err := rewrapAll(ctx, c); err != nil {
		return err
	}
	if _, err := c.RetireKey(ctx, api.RetireKeyRequest{Key: "tenant", Version: strconv.Itoa(version - 1)}); err != nil {
		return err
	}
	if _, err := c.RotateKey(ctx, api.RotateKeyRequest{Key: "root"}); err != nil {
		return err
	}
	keys, err := c.Keys(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys.RootKeys {
		if !k.Newest {
			if _, err := c.RetireKey(ctx, api.RetireKeyRequest{Key: "root", Version: k.Version}); err != nil {
				return err
			}
		}
	}
	return nil
}

// rotateIndex makes a new index key, up to the sixth, since each look-up is for all of
// them, and has all that is found by business keys be found by the newest.
func rotateIndex(ctx context.Context, c *client.Client) error {
	keys, err := c.Keys(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys.Purposes {
		if k.Purpose != "index" || k.Number == 6 {
			continue
		}
		if _, err := c.RotateKey(ctx, api.RotateKeyRequest{Key: "index", After: strconv.Itoa(k.Number)}); err != nil {
			return err
		}
	}
	return renewPages(ctx, c, "index", 10)
}

// renewPages gives all persons new keys, or all instances new index tokens.
func renewPages(ctx context.Context, c *client.Client, of string, limit int) error {
	for page := (api.RenewKeysRequest{Of: of, Limit: limit}); ; {
		done, err := c.RenewKeys(ctx, page)
		if err != nil || done.Next == "" {
			return err
		}
		page.After = done.Next
	}
}

// rewrapAll begins a rewrap and waits for its end.
func rewrapAll(ctx context.Context, c *client.Client) error {
	state, err := c.RewrapKeys(ctx, api.RewrapRequest{})
	for err == nil && state.Running {
		var keys api.Keys
		keys, err = c.Keys(ctx)
		state = keys.Rewrap
	}
	if err == nil && state.Error != "" {
		err = fmt.Errorf("rewrap: %s", state.Error)
	}
	return err
}

// startSealed starts an instance whose values name it, about one of five people.
func (s *server) startSealed(i int) string {
	s.t.Helper()
	person := map[string]any{"id": fmt.Sprintf("p%d", i%5), "name": fmt.Sprintf("Person %d", i)}
	receipt, err := s.client().Start(s.ctx, api.StartRequest{Process: "crash", BusinessKey: fmt.Sprintf("B-%d", i), Variables: client.Variables(map[string]any{"n": 0, "person": person})})
	if err != nil {
		s.t.Fatal(err)
	}
	return receipt.Instance
}

// readSealed reads back what startSealed wrote.
func (s *server) readSealed(i int, id string) {
	s.t.Helper()
	instance, err := s.client().Instance(s.ctx, id)
	if err != nil {
		s.t.Fatalf("an instance that was acknowledged: %v", err)
	}
	var variables struct{ Person struct{ Name string } }
	if err := json.Unmarshal(instance.Variables, &variables); err != nil || variables.Person.Name != fmt.Sprintf("Person %d", i) {
		s.t.Fatalf("instance %d reads as %s, %v", i, instance.Variables, err)
	}
	list, err := s.client().Instances(s.ctx, api.InstanceFilter{BusinessKey: fmt.Sprintf("B-%d", i)}, api.Page{})
	if err != nil || len(list.Items) != 1 || list.Items[0].ID != id {
		s.t.Fatalf("found by the business key of instance %d: %+v, %v", i, list.Items, err)
	}
}
