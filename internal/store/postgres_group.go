package store

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	groupWriters = 2 // transactions of groups at a time
	groupUnits   = 64
	groupBytes   = 1 << 20
)

// gatherer lets steps that wait for Postgres at the same time share a transaction:
// one commit, and one statement for the rows that they add to a table. Nobody
// waits for company. A group of which a unit fails is undone, and its units are
// tried again, each alone, so that one that is refused takes nobody along.
type gatherer struct {
	apply func(ctx context.Context, tenant string, unit []statement) error

	mu      sync.Mutex // guards what follows
	waiting []*gathered
	writers int
	objects map[string]bool // that the groups under way write
}

// gathered is a unit on its way.
type gathered struct {
	tenant string
	unit   []statement
	object string // tenant and id
	size   int
	reply  chan error // buffered
	group  *group     // nil while it waits; guarded by gatherer.mu
}

// group is a transaction of several units. It is given up when all who wait for
// it have gone.
type group struct {
	tenant  string
	units   []*gathered
	bytes   int
	callers int // guarded by gatherer.mu
	cancel  context.CancelFunc
}

// do applies a unit and returns once it is durable. When ctx ends first, the unit
// is withdrawn if it still waits (not_applied), else its outcome is unknown to
// the caller; its arguments must then stay as they are.
func (g *gatherer) do(ctx context.Context, tenant string, unit []statement) error {
	if err := ctx.Err(); err != nil {
		return notApplied(err)
	}
	u := &gathered{tenant: tenant, unit: unit, size: sizeOf(unit), reply: make(chan error, 1)}
	u.object = tenant + "/" + string(unit[0].args[1].([]byte)) // of its head or leaf; sizeOf bound it
	g.add(u)
	select {
	case err := <-u.reply:
		return err
	case <-ctx.Done():
	}
	if g.leave(u) {
		return notApplied(ctx.Err())
	}
	select {
	case err := <-u.reply:
		return err
	default:
		return outcomeUnknown(ctx.Err())
	}
}

func (g *gatherer) add(u *gathered) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, u)
	if g.writers < groupWriters {
		g.writers++
		go g.run()
	}
}

// leave is for a caller who goes; it reports whether the unit was still waiting.
func (g *gatherer) leave(u *gathered) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if u.group != nil {
		if u.group.callers--; u.group.callers == 0 {
			u.group.cancel()
		}
		return false
	}
	for i, w := range g.waiting {
		if w == u {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			break
		}
	}
	return true
}

// run commits groups until nothing waits that it could take.
func (g *gatherer) run() {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		next := g.next(cancel)
		if next == nil {
			cancel()
			return
		}
		g.commit(ctx, next)
		cancel()
		g.done(next)
	}
}

// next takes what waits longest and whatever may go with it: units of the same
// tenant, each of another object and of none that is being written. It ends the
// writer when there is nothing: what waits for another writer's objects is taken
// by that one.
func (g *gatherer) next(cancel context.CancelFunc) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := &group{cancel: cancel}
	left := g.waiting[:0]
	for _, u := range g.waiting {
		if g.objects[u.object] || !next.take(u) {
			left = append(left, u)
			continue
		}
		g.objects[u.object] = true
	}
	clear(g.waiting[len(left):])
	g.waiting = left
	if next.callers = len(next.units); next.callers == 0 {
		g.writers--
		return nil
	}
	return next
}

// take adds a unit if it fits.
func (g *group) take(u *gathered) bool {
	if len(g.units) > 0 && (u.tenant != g.tenant || len(g.units) == groupUnits || g.bytes+u.size > groupBytes) {
		return false
	}
	u.group, g.tenant = g, u.tenant
	g.units, g.bytes = append(g.units, u), g.bytes+u.size
	return true
}

func (g *gatherer) done(last *group) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, u := range last.units {
		delete(g.objects, u.object)
	}
}

func (g *gatherer) commit(ctx context.Context, next *group) {
	if len(next.units) == 1 {
		next.units[0].reply <- g.apply(ctx, next.tenant, next.units[0].unit)
		return
	}
	err := g.apply(ctx, next.tenant, joinUnits(next.units))
	for _, u := range next.units {
		if err != nil && undone(err) {
			u.reply <- g.apply(ctx, next.tenant, u.unit)
		} else {
			u.reply <- err
		}
	}
}

// undone reports whether the database itself refused a group, which then left
// nothing behind.
func undone(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && answer.Severity != "FATAL" && answer.Severity != "PANIC"
}
