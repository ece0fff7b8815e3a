package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Sequencer gives leaves their places in a tenant's logs.
type Sequencer interface {
	// Wrote says that leaves of a tenant may have been committed. It does not wait.
	Wrote(tenant string)
	// Stopped returns why no head of a tenant's log is signed any more; nil: they are.
	Stopped(tenant string) error
	// StoppedTenants returns of how many tenants that is so.
	StoppedTenants() int
	// Finish gives every leaf of a tenant its place and returns size and root of one
	// of its logs, which then continues what was signed of it. Nobody writes leaves of
	// the tenant meanwhile.
	Finish(ctx context.Context, scope store.Scope, shard int) (size uint64, root ledger.Hash, err error)
	// Settle gives every leaf of restored data its place, whatever was signed of the
	// logs. Nobody uses the tenant meanwhile.
	Settle(ctx context.Context, scope store.Scope) error
}

// UseSequencer sets the sequencer. It is called once, before the first use case.
func (e *Engine) UseSequencer(s Sequencer) { e.sequencer = s }

// shards are the open logs of tenants.
type shards struct {
	mu    sync.Mutex // guards gates
	gates map[string]*shardGate
}

// shardGate keeps a tenant's log open while leaves are on their way into it. They
// are in it in the order of their commits, so that log.closed is the last one when
// it is committed with nobody inside.
type shardGate struct {
	mu   sync.RWMutex // held for reading from a leaf's making to the answer to its commit
	open store.Shard  // zero: not known. Guarded by mu
	year int          // of open. Guarded by mu
	stay time.Time    // until then open is not closed, whatever the year is. Guarded by mu
}

func (s *shards) gate(tenant string) *shardGate {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.gates[tenant]
	if !ok {
		if s.gates == nil {
			s.gates = map[string]*shardGate{}
		}
		g = &shardGate{}
		s.gates[tenant] = g
	}
	return g
}

func (g *shardGate) takes(at time.Time) bool {
	return g.open.Open && (at.UTC().Year() <= g.year || at.Before(g.stay))
}

// enterShard returns the origin of the log that takes the tenant's leaves of a
// moment, and keeps it open until leave is called, which must be after the commit
// has answered. Nobody may enter twice: entries that are committed together with a
// step are made by entryAt.
func (e *Engine) enterShard(ctx context.Context, scope store.Scope, at time.Time) (origin string, leave func(), err error) {
	g := e.shards.gate(scope.Tenant())
	for {
		g.mu.RLock()
		if g.takes(at) {
			return g.open.Origin, func() {
				g.mu.RUnlock()
				e.sequencer.Wrote(scope.Tenant())
			}, nil
		}
		g.mu.RUnlock()
		if err := e.turn(ctx, scope, g, at); err != nil {
			return "", nil, err
		}
	}
}

// turn sees to it that a log is open which takes leaves of a moment: it opens the
// tenant's first one, or closes that of a former year and opens the next. Each part
// finds by what is stored whether it was done, so it can begin anew after a crash.
func (e *Engine) turn(ctx context.Context, scope store.Scope, g *shardGate, at time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.takes(at) {
		return nil // somebody else was faster
	}
	all, err := e.store.Shards(ctx, scope)
	if err != nil {
		return err
	}
	year := at.UTC().Year()
	if len(all) == 0 {
		return e.openShard(ctx, scope, g, store.Shard{Number: 1, Origin: e.origin(scope, strconv.Itoa(year))}, nil)
	}
	last := all[len(all)-1]
	if last.Open && g.keep(last, at) {
		return nil
	}
	if last.Open {
		g.open = store.Shard{}
		if err := e.closeShard(ctx, scope, last); fault.Is(err, fault.Integrity) {
			// What is wrong with the tree is told by the sequencer. Work goes on in the old
			// log, of which nothing is signed meanwhile.
			g.open, g.stay = last, at.Add(time.Minute)
			return nil
		} else if err != nil {
			return err
		}
	}
	former, err := e.finished(ctx, scope, last)
	if err != nil {
		return err
	}
	next := store.Shard{Number: last.Number + 1, Origin: e.origin(scope, strconv.Itoa(max(year, yearOf(last.Origin)+1)))}
	return e.openShard(ctx, scope, g, next, former)
}

// keep takes a log that was found open for the one that takes leaves, and reports
// whether it takes those of a moment.
func (g *shardGate) keep(found store.Shard, at time.Time) bool {
	g.open, g.year = found, yearOf(found.Origin)
	return g.takes(at)
}

// origin returns the origin of a tenant's log.
func (e *Engine) origin(scope store.Scope, name string) string {
	return fmt.Sprintf("underseal/%s/%s/%s", e.deployment, scope.Tenant(), name)
}

// yearOf returns the year of a log, 0 if its origin is none of ours.
func yearOf(origin string) int {
	name, _, _ := strings.Cut(shardName(origin), ".")
	year, _ := strconv.Atoi(name)
	return year
}

// closeShard writes a log's last leaf. The tree must be sound before.
func (e *Engine) closeShard(ctx context.Context, scope store.Scope, sh store.Shard) error {
	if _, _, err := e.sequencer.Finish(ctx, scope, sh.Number); err != nil {
		return err
	}
	entry, err := e.entryAt(ctx, scope, act{kind: logClosed, act: "engine"}, sh.Origin, e.moment())
	if err != nil {
		return err
	}
	return e.store.CloseShard(context.WithoutCancel(ctx), scope, sh.Number, entry)
}

// finished returns where a closed log ended.
func (e *Engine) finished(ctx context.Context, scope store.Scope, sh store.Shard) (*ledger.Checkpoint, error) {
	size, root, err := e.sequencer.Finish(ctx, scope, sh.Number)
	return &ledger.Checkpoint{Origin: sh.Origin, Size: size, Root: root}, err
}

// openShard opens a log with its first leaf, which says how the one before ended,
// and what else comes first.
func (e *Engine) openShard(ctx context.Context, scope store.Scope, g *shardGate, sh store.Shard, former *ledger.Checkpoint, more ...act) error {
	opened := act{kind: "log.opened", act: "engine"}
	if former != nil {
		opened.fields = []fieldWrite{{path: "$former", value: checkpointValue(*former)}}
	}
	var entries []*store.Entry
	for _, a := range append([]act{opened}, more...) {
		entry, err := e.entryAt(ctx, scope, a, sh.Origin, e.moment())
		if err != nil {
			return err
		}
		entries = append(entries, entry)
	}
	// A log that was opened, although the answer did not come, is found when it is
	// looked for again.
	if err := e.store.OpenShard(context.WithoutCancel(ctx), scope, sh, entries...); err != nil {
		return err
	}
	sh.Open = true
	g.open, g.year = sh, yearOf(sh.Origin)
	e.sequencer.Wrote(scope.Tenant())
	return nil
}

func checkpointValue(c ledger.Checkpoint) canon.Value {
	return newContext(
		canon.Entry{Name: "log", Value: canon.String(c.Origin)},
		canon.Entry{Name: "root", Value: canon.String(c.Root.String())},
		canon.Entry{Name: "size", Value: canon.NewNumber(int64(c.Size))},
	)
}
