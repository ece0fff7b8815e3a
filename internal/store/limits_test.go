package store_test

import (
	"testing"
	"time"

	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
)

func TestServersAddUpWhatTheyAdmitted(t *testing.T) {
	t.Parallel()
	db := openDB(t, store.Config{DSN: pgtest.Database(t)})
	ctx, main, other := t.Context(), store.NewScope("main"), store.NewScope("other")
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ann, bob := [32]byte{2}, [32]byte{1}
	for _, c := range []struct {
		name  string
		scope store.Scope
		after time.Duration // since now
		taken []store.LimitTaken
		want  []time.Duration // spoken for, since now
	}{
		{"the first", main, 0, []store.LimitTaken{{ann, time.Minute, time.Hour}}, []time.Duration{time.Minute}},
		{"another server's, in another order", main, time.Second,
			[]store.LimitTaken{{ann, time.Minute, time.Hour}, {bob, 2 * time.Second, time.Hour}}, []time.Duration{2 * time.Minute, 3 * time.Second}},
		{"the same bucket of another tenant", other, 0, []store.LimitTaken{{ann, time.Second, time.Hour}}, []time.Duration{time.Second}},
		{"after a rest", main, 10 * time.Minute, []store.LimitTaken{{ann, time.Minute, time.Hour}}, []time.Duration{11 * time.Minute}},
		{"from a clock that is wrong", main, 48 * time.Hour, []store.LimitTaken{{bob, time.Minute, time.Hour}}, []time.Duration{48*time.Hour + time.Minute}},
		{"which a right one mends", main, 10 * time.Minute, []store.LimitTaken{{bob, time.Minute, time.Hour}}, []time.Duration{70 * time.Minute}},
		{"nothing", main, 0, nil, nil},
	} {
		got, err := db.ExchangeLimits(ctx, c.scope, now.Add(c.after), c.taken)
		if err != nil || len(got) != len(c.want) {
			t.Fatalf("%s: %v, %v", c.name, got, err)
		}
		for i := range got {
			if !got[i].Equal(now.Add(c.want[i])) {
				t.Errorf("%s, bucket %d: spoken for until %v after, want %v", c.name, i, got[i].Sub(now), c.want[i])
			}
		}
	}
	ok(t, db.SweepLimits(ctx, main, now.Add(time.Hour)))
	got, err := db.ExchangeLimits(ctx, main, now, []store.LimitTaken{{ann, time.Second, time.Hour}, {bob, time.Second, 2 * time.Hour}})
	if err != nil || !got[0].Equal(now.Add(time.Second)) || !got[1].Equal(now.Add(70*time.Minute+time.Second)) {
		t.Errorf("after sweeping what is full: %v, %v", got, err)
	}
}
