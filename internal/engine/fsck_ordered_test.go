package engine_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// checkable is a node with a finding, whose services can go away amid an ordered check.
type checkable struct {
	*testenv.Env
	outages outages
	ahead   atomic.Int64 // its clock, in nanoseconds
}

func newCheckable(t *testing.T) *checkable {
	t.Helper()
	c := &checkable{}
	c.outages.begin("", 0, nil)
	c.Env = testenv.New(t, func(config *node.Config) {
		config.Fault = c.outages.fault
		config.Now = func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }
	})
	c.Deploy("all.bpmn", everything)
	for i := range 8 {
		if _, err := c.Engine.Start(t.Context(), c.Ann, api.StartRequest{Process: "everything", Variables: []byte(`{"note": "a"}`)}, fmt.Sprint("key-", i)); err != nil {
			t.Fatal(err)
		}
	}
	execRaw(t, c.Env, `DELETE FROM unique_tokens WHERE token = (SELECT max(token) FROM unique_tokens)`)
	return c
}

// whole orders a check, waits until the log has a head over its end, and returns how many
// rows it had and how many queries it took.
func (c *checkable) whole(t *testing.T) (rows uint64, asked int) {
	t.Helper()
	c.outages.begin("", 0, nil)
	check := checkedWhole(t, c.Env)
	_, asked, _ = c.outages.since()
	time.Sleep(time.Minute)
	return check.Rows, asked
}

// order orders a check and has something happen before the at-th query from then on.
func (c *checkable) order(t *testing.T, at int, then func()) {
	t.Helper()
	if _, err := c.Engine.StartCheck(t.Context(), c.Ann, api.CheckRequest{}); err != nil {
		t.Fatal(err)
	}
	c.outages.begin("", at, then)
}

func (c *checkable) ordered() api.IntegrityCheck {
	return *c.Node.CheckStatus(identity.MainTenant).Ordered
}

func (c *checkable) passes(d time.Duration) {
	c.ahead.Add(int64(d))
	time.Sleep(time.Minute)
}

// TestAnOrderedCheckWaitsOutAnOutage takes something away in the middle of an ordered check.
// It says that it waits, goes on where it was, looks at nothing twice, and the log is told
// of its end once.
func TestAnOrderedCheckWaitsOutAnOutage(t *testing.T) {
	for _, test := range []struct {
		name        string
		at          int                // so many tenths of its queries it has asked
		away, again func(c *checkable) // away is called with the outages locked
	}{
		{"the database", 7, func(c *checkable) { c.outages.all = true }, func(*checkable) {}},
		{"room on the disk", 7, func(c *checkable) { c.outages.units = 1 }, func(*checkable) {}},
		{"the key service", 4, func(c *checkable) {
			os.Rename(c.Config.KeyFile, c.Config.KeyFile+".away")
			c.ahead.Add(-int64(time.Hour)) // no key is remembered when the clock is set back
		}, func(c *checkable) { os.Rename(c.Config.KeyFile+".away", c.Config.KeyFile) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCheckable(t)
				c.whole(t) // which tells the log of the finding
				rows, asked := c.whole(t)
				c.order(t, asked*test.at/10, func() { test.away(c) })
				time.Sleep(10 * time.Minute)
				now := c.ordered()
				if now.State != "running" || now.Waiting == "" || strings.Contains(now.Waiting, "is away") || now.Ended != nil || now.Rows == 0 {
					t.Fatalf("amid the outage: %+v", now)
				}
				c.outages.begin("", 0, nil)
				test.again(c)
				time.Sleep(time.Minute)
				again := c.ordered()
				if again.State != "done" || again.Waiting != "" || again.Error != "" || !again.Began.Equal(now.Began) || len(again.Findings) != 1 {
					t.Errorf("after the outage: %+v", again)
				}
				// How many heads the log has by then is not quite the same each time.
				if again.Rows < rows || again.Rows >= rows+now.Rows/2 {
					t.Errorf("it looked at %d rows, and at %d when the outage came; the one before had %d", again.Rows, now.Rows, rows)
				}
				if done, cut := len(entriesOf(t, c.Env, "integrity.checked")), len(entriesOf(t, c.Env, "integrity.check_unfinished")); done != 3 || cut != 0 || alarms(t, c.Env) != 1 {
					t.Errorf("the log has %d ends, %d that are none and %d alarms, want 3, 0 and 1", done, cut, alarms(t, c.Env))
				}
			})
		})
	}
}

// TestAnOrderedCheckDoesNotWaitForEver has one wait for most of a day, but not for one
// outage; the next one is too long. Then another can be ordered.
func TestAnOrderedCheckDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCheckable(t)
		_, asked := c.whole(t)
		c.order(t, asked/2, func() { c.outages.all = true })
		time.Sleep(time.Minute)
		c.passes(11 * time.Hour)
		if now := c.ordered(); now.State != "running" || now.Waiting == "" {
			t.Fatalf("after eleven hours: %+v", now)
		}
		c.outages.stop(1) // it goes on to its end, of which the log cannot be told
		time.Sleep(time.Minute)
		c.passes(2 * time.Hour)
		if now := c.ordered(); now.State != "running" || now.Waiting == "" {
			t.Fatalf("two hours into another outage: %+v", now)
		}
		c.passes(11 * time.Hour)
		now := c.ordered()
		if now.State != "failed" || now.Waiting != "" || !strings.Contains(now.Error, "12h") || now.Ended == nil {
			t.Errorf("after thirteen hours of another outage: %+v", now)
		}
		c.outages.begin("", 0, nil)
		time.Sleep(time.Minute)
		if c.whole(t); len(c.ordered().Findings) != 1 {
			t.Errorf("the next one: %+v", c.ordered())
		}
	})
}

// TestAnOrderedCheckThatWaitsHoldsNoOtherUp has the key service of one tenant away, whose
// check is ordered first.
func TestAnOrderedCheckThatWaitsHoldsNoOtherUp(t *testing.T) {
	neighbors(t, true, func(t *testing.T, n *neighborhood) {
		n.elsewheres.Deny()
		time.Sleep(15 * time.Minute) // no key is remembered for so long
		if err := n.Node.BeginCheck("elsewhere", false, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if now := n.Node.CheckStatus("elsewhere").Ordered; now == nil || now.State != "running" || now.Waiting == "" {
			t.Fatalf("whose keys are away: %+v", now)
		}
		if _, err := n.Engine.StartCheck(t.Context(), n.Ann, api.CheckRequest{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if now := n.Node.CheckStatus(identity.MainTenant).Ordered; now.State != "done" || len(now.Findings) > 0 {
			t.Errorf("the other one: %+v", now)
		}
		n.elsewheres.Restore()
		time.Sleep(5 * time.Minute)
		if now := n.Node.CheckStatus("elsewhere").Ordered; now.State != "done" || len(now.Findings) > 0 {
			t.Errorf("when they are back: %+v", now)
		}
	})
}
