package main

import (
	"context"
	"time"
)

// A pace is the pause of a command that asks how far the server is, before it asks again:
// short at first, then ever longer. A person has so many calls an hour (limit_user), which
// waiting must not use up.
type pace time.Duration

const (
	firstPace = pace(200 * time.Millisecond)
	lastPace  = pace(10 * time.Second)
)

// wait returns when it is time to ask again, with an error if ctx ends before.
func (p *pace) wait(ctx context.Context) error {
	*p = min(max(firstPace, *p+*p/4), lastPace)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(*p)):
		return nil
	}
}
