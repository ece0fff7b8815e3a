package store_test

import (
	"context"
	"testing"

	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
)

func TestSmoke(t *testing.T) {
	for _, cfg := range []store.Config{{Path: t.TempDir()}, {DSN: pgtest.Database(t)}} {
		db, err := store.Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		set := &store.WriteSet{Object: store.ID{1}, Kind: store.Instance, Head: []byte("h"), Step: []byte("s"), Leaf: store.Leaf{Body: []byte("l")}, Fields: []store.Field{{Path: "a", Value: []byte("x")}, {Path: "b", Sealed: true, Value: []byte("y")}}}
		s := store.NewScope("main")
		if err := db.Commit(context.Background(), s, set); err != nil {
			t.Fatal(err)
		}
		t.Log(db.Commit(context.Background(), s, set))
		set.Expect = 1
		t.Log(db.Commit(context.Background(), s, set))
		t.Log(db.Commit(context.Background(), s, set))
		t.Log(db.Load(context.Background(), s, store.ID{1}))
		t.Log(db.StepFields(context.Background(), s, store.ID{1}, 1))
		t.Log(db.Rows(context.Background(), s, store.ID{1}))
		t.Log(db.Instances(context.Background(), s, store.InstanceFilter{Process: "x", Status: "active", Token: &store.Token{}, After: store.ID{9}, Limit: 3}))
		t.Log(db.Tasks(context.Background(), s, store.TaskFilter{Process: "x", Group: "g", User: "u", Unassigned: true, Limit: 3}))
		t.Log(store.Open(context.Background(), cfg))
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
