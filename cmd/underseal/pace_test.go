package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Who waits for the server asks soon, and leaves most of a person's calls of an hour, and
// of those at once, to what else they do.
func TestWaitingForTheServerLeavesCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		begun := time.Now()
		asked := map[time.Duration]int{}
		for time.Since(begun) < time.Hour {
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, within := range []time.Duration{time.Second, time.Minute, time.Hour} {
				if time.Since(begun) <= within {
					asked[within]++
				}
			}
		}
		if asked[time.Second] < 3 || asked[time.Minute] > 40 || asked[time.Hour] > 400 {
			t.Errorf("it asks so often within: %v", asked)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted: %v", err)
		}
	})
}
