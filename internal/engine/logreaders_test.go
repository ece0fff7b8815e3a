package engine_test

import (
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

func TestReadersAreListedAndRevoked(t *testing.T) {
	env := testenv.New(t, nil)
	ctx := t.Context()
	var made []api.NewLogReader
	for _, name := range []string{"the auditor", "a mirror", "a third"} {
		r, err := env.Engine.CreateLogReader(ctx, env.Ann, api.LogReaderRequest{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, r)
	}
	if made[0].Path == made[1].Path || len(made[0].Path) < len("/log/usl_main_")+52 {
		t.Errorf("paths %q and %q, want 256 random bits in each", made[0].Path, made[1].Path)
	}
	for range 2 { // again changes nothing
		r, err := env.Engine.RevokeLogReader(ctx, env.Ann, made[1].ID)
		if err != nil || r.Revoked == nil {
			t.Fatalf("revoked: %+v, %v", r, err)
		}
	}
	first, err := env.Engine.LogReaders(ctx, env.Ann, engine.Page{Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	rest, err := env.Engine.LogReaders(ctx, env.Ann, engine.Page{Limit: 2, After: first.Next})
	if err != nil {
		t.Fatal(err)
	}
	all := append(first.Items, rest.Items...)
	if len(all) != 3 || rest.Next != "" {
		t.Fatalf("listed %+v and %+v, want three", first, rest)
	}
	for i, r := range all {
		if r.ID != made[i].ID || r.Name != made[i].Name || r.By != "ann" || (r.Revoked != nil) != (i == 1) {
			t.Errorf("reader %d is %+v, want %+v", i, r, made[i])
		}
	}
	for _, id := range []string{"", "x", made[0].ID + " ", "00000000-0000-7000-8000-000000000000"} {
		if _, err := env.Engine.RevokeLogReader(ctx, env.Ann, id); !fault.Is(err, fault.NotFound) {
			t.Errorf("revoking %q: %v, want NotFound", id, err)
		}
	}
}
