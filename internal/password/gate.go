package password

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
)

// Gate bounds how many passwords are hashed at once, since a hash takes a processor and
// 19 MiB: so many of all, half as many of one tenant, and so many that wait for their
// turn, which tenants get one after the other. So who tries passwords of one tenant uses
// up what is that tenant's, and another waits for one hash of it at most.
//
// A name that is no tenant's is answered like one: it has a line of its own, and its
// hash is taken in the place that all such names share or, where that is taken, waited
// for. It is safe for concurrent use.
type Gate struct {
	// Slots bounds the hashes at once. Default 4.
	Slots int
	// Line bounds who is in one tenant's line. Default 16.
	Line int

	mu      sync.Mutex // guards what follows
	running int
	lines   map[string]*line
	names   map[string]*line // of names that are no tenant's
	turns   []string         // tenants in whose line somebody waits, in the order of their turns
	pretend bool             // the place of names that are no tenant's is taken
	last    time.Duration    // that a hash took
}

// line is who is in the line of a tenant.
type line struct {
	inside  int // hashing, waiting or pretending
	running int
	waiting []chan struct{} // closed when it is their turn
}

func (g *Gate) slots() int {
	if g.Slots == 0 {
		return 4
	}
	return g.Slots
}

// each is how many of one tenant run at once.
func (g *Gate) each() int { return max(1, g.slots()/2) }

// Do waits for its turn among those of a tenant and calls hash. Unavailable (code
// too_many_requests) when the line is full.
func (g *Gate) Do(ctx context.Context, tenant string, hash func() error) error {
	l, err := g.enter(&g.lines, tenant)
	if err != nil {
		return err
	}
	defer g.exit(g.lines, tenant, l)
	if err := g.wait(ctx, tenant, l); err != nil {
		return err
	}
	defer g.next(l)
	return g.timed(hash)
}

// Pretend is Do for a name that is no tenant's: whoever waits does not learn that.
func (g *Gate) Pretend(ctx context.Context, name string, hash func() error) error {
	l, err := g.enter(&g.names, name)
	if err != nil {
		return err
	}
	defer g.exit(g.names, name, l)
	g.mu.Lock()
	free, last := !g.pretend, g.last
	g.pretend = true
	g.mu.Unlock()
	if !free {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(last):
			return nil
		}
	}
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.pretend = false
	}()
	return g.timed(hash)
}

func (g *Gate) timed(hash func() error) error {
	began := time.Now()
	err := hash()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = time.Since(began)
	return err
}

func (g *Gate) enter(lines *map[string]*line, name string) (*line, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if *lines == nil {
		*lines = map[string]*line{}
	}
	l := (*lines)[name]
	if l == nil {
		l = &line{}
		(*lines)[name] = l
	}
	most := g.Line
	if most == 0 {
		most = 16
	}
	if l.inside >= most {
		return nil, fault.New(fault.Unavailable, "too many people sign in at once").WithCode(api.CodeTooMany).WithHint("try again in a moment")
	}
	l.inside++
	return l, nil
}

func (g *Gate) exit(lines map[string]*line, name string, l *line) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.inside--; l.inside == 0 {
		delete(lines, name)
	}
}

// wait returns nil when it is the caller's turn, who calls next afterwards.
func (g *Gate) wait(ctx context.Context, tenant string, l *line) error {
	g.mu.Lock()
	if g.running < g.slots() && l.running < g.each() {
		g.running++
		l.running++
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	if len(l.waiting) == 0 {
		g.turns = append(g.turns, tenant)
	}
	l.waiting = append(l.waiting, turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		g.giveUp(tenant, l, turn)
		return ctx.Err()
	}
}

// giveUp leaves the line, or gives the turn that came meanwhile to the next.
func (g *Gate) giveUp(tenant string, l *line, turn chan struct{}) {
	g.mu.Lock()
	i := slices.Index(l.waiting, turn)
	if i < 0 {
		g.mu.Unlock()
		g.next(l)
		return
	}
	defer g.mu.Unlock()
	l.waiting = slices.Delete(l.waiting, i, i+1)
	if len(l.waiting) == 0 {
		g.turns = slices.DeleteFunc(g.turns, func(name string) bool { return name == tenant })
	}
}

// next ends a turn and begins that of the first tenant in whose line somebody waits and
// of which not too many run.
func (g *Gate) next(ended *line) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	ended.running--
	for i, tenant := range g.turns {
		l := g.lines[tenant]
		if l.running >= g.each() {
			continue
		}
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
		g.turns = slices.Delete(g.turns, i, i+1)
		if len(l.waiting) > 0 {
			g.turns = append(g.turns, tenant)
		}
		g.running++
		l.running++
		return
	}
}
