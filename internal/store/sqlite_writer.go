package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/underseal/underseal/internal/fault"
)

// A group is closed when it holds this much, so that the first of it does not
// wait too long for its commit.
const (
	maxGroupUnits = 256
	maxGroupBytes = 4 << 20
)

// writer is the goroutine that owns the writing connection of a file.
//
// It runs the units of concurrent callers in one transaction, each in a
// savepoint of its own, so that they share one fsync and a unit that fails takes
// nobody along. It never waits for company: an idle writer commits a single
// unit at once, and units that arrive during a commit form the next group.
type writer struct {
	conn   *sqliteConn
	health *health
	points *checkpointer

	// testingOnlyFault, if set, is called at "statement", "commit" and
	// "committed"; the error it returns happens there.
	testingOnlyFault atomic.Pointer[func(point string) error]

	queue   chan *request
	aside   chan *request // runs outside of transactions
	closing chan struct{}
	once    sync.Once
	done    chan struct{} // closed when the goroutine has ended
}

// request is one unit on its way. The writer takes it or the caller gives it
// up, never both.
type request struct {
	run   func(*sqliteConn) error
	size  int
	state atomic.Int32
	reply chan error // buffered
	err   error      // of run; owned by the writer
}

const (
	queued int32 = iota
	taken
	abandoned
)

func startWriter(conn *sqliteConn, h *health, points *checkpointer) *writer {
	w := &writer{
		conn:    conn,
		health:  h,
		points:  points,
		queue:   make(chan *request, maxGroupUnits),
		aside:   make(chan *request),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	go w.loop()
	return w
}

// do runs a unit and returns once it is durable. When ctx ends first, the unit
// is withdrawn if it still waits (not_applied), else its outcome is unknown to
// the caller; what run reads must then stay as it is.
func (w *writer) do(ctx context.Context, size int, run func(*sqliteConn) error) error {
	return w.send(ctx, w.queue, &request{run: run, size: size, reply: make(chan error, 1)})
}

// between runs something between two transactions.
func (w *writer) between(ctx context.Context, run func(*sqliteConn) error) error {
	return w.send(ctx, w.aside, &request{run: run, reply: make(chan error, 1)})
}

func (w *writer) send(ctx context.Context, queue chan<- *request, r *request) error {
	if err := ctx.Err(); err != nil {
		return notApplied(err)
	}
	select {
	case <-w.closing:
		return closedError()
	default:
	}
	select {
	case queue <- r:
	case <-ctx.Done():
		return notApplied(ctx.Err())
	case <-w.closing:
		return closedError()
	}
	select {
	case err := <-r.reply:
		return err
	case <-w.done:
		return w.orphaned(r)
	case <-ctx.Done():
	}
	if r.state.CompareAndSwap(queued, abandoned) {
		return notApplied(ctx.Err())
	}
	select {
	case err := <-r.reply:
		return err
	default:
		return outcomeUnknown(ctx.Err())
	}
}

// orphaned answers for a request that was queued while the writer ended.
func (w *writer) orphaned(r *request) error {
	select {
	case err := <-r.reply:
		return err
	default:
		return closedError()
	}
}

// stop lets the writer finish what is queued and waits for its end.
func (w *writer) stop() {
	w.once.Do(func() { close(w.closing) })
	<-w.done
}

func (w *writer) loop() {
	defer close(w.done)
	for {
		select {
		case r := <-w.queue:
			w.commitGroup(r)
			w.checkpoint()
		case r := <-w.aside:
			w.runAside(r)
		case <-w.closing:
			w.drain()
			return
		}
	}
}

func (w *writer) drain() {
	for {
		select {
		case r := <-w.queue:
			w.commitGroup(r)
		default:
			return
		}
	}
}

// commitGroup runs first and whatever has queued up meanwhile, and answers all
// of them after the commit.
func (w *writer) commitGroup(first *request) {
	group, err := w.runGroup(first)
	if err != nil {
		w.health.fail(err)
		err = w.health.err()
	}
	for _, r := range group {
		if err != nil {
			r.err = err
		}
		r.reply <- r.err
	}
}

// checkpoint comes after the answers: what was committed is durable without it.
func (w *writer) checkpoint() {
	if w.health.err() != nil {
		return
	}
	if err := w.points.committed(w.conn, w.conn.pagesWritten()); err != nil {
		w.health.fail(err)
	}
}

func (w *writer) runAside(r *request) {
	if !r.state.CompareAndSwap(queued, taken) {
		return
	}
	err := w.health.err()
	if err == nil {
		err = r.run(w.conn)
	}
	r.reply <- err
}

// runGroup returns the units it took, and an error when none of them may be
// answered as done.
func (w *writer) runGroup(first *request) (group []*request, err error) {
	begun := false
	size := 0
	for next := first; next != nil; next = w.next(len(group), size) {
		if !next.state.CompareAndSwap(queued, taken) {
			continue
		}
		group = append(group, next)
		size += next.size
		if err := w.health.err(); err != nil {
			return group, err
		}
		if !begun {
			if err := w.control("BEGIN IMMEDIATE"); err != nil {
				return group, err
			}
			begun = true
		}
		if err := w.runUnit(next); err != nil {
			return group, errors.Join(err, w.control("ROLLBACK"))
		}
	}
	if !begun {
		return group, nil
	}
	return group, w.commit()
}

// next returns a unit that waits already, if the group has room.
func (w *writer) next(units, size int) *request {
	if units >= maxGroupUnits || size >= maxGroupBytes {
		return nil
	}
	select {
	case r := <-w.queue:
		return r
	default:
		return nil
	}
}

// runUnit runs one unit in a savepoint. It returns an error only when the whole
// group is lost; a failure of the unit alone is kept for its caller.
func (w *writer) runUnit(r *request) error {
	if err := w.control("SAVEPOINT unit"); err != nil {
		return err
	}
	r.err = r.run(w.conn)
	if r.err == nil {
		return w.control("RELEASE unit")
	}
	if sqliteFatal(r.err) {
		return r.err
	}
	if err := w.control("ROLLBACK TO unit"); err != nil {
		return err
	}
	return w.control("RELEASE unit")
}

// commit makes the group durable. A commit that failed may yet be found done
// after a restart, so nothing is concluded from its failure.
func (w *writer) commit() error {
	if err := w.fault("commit"); err != nil {
		return err
	}
	if err := w.control("COMMIT"); err != nil {
		return err
	}
	return w.fault("committed")
}

func (w *writer) fault(point string) error {
	if f := w.testingOnlyFault.Load(); f != nil {
		return (*f)(point)
	}
	return nil
}

func (w *writer) control(text string) error {
	if _, err := w.conn.run(text, nil); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

// unit turns statements into a unit.
func (w *writer) unit(unit []statement) func(*sqliteConn) error {
	return func(c *sqliteConn) error {
		for i := range unit {
			if err := w.statement(c, &unit[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

func (w *writer) statement(c *sqliteConn, s *statement) error {
	if err := w.fault("statement"); err != nil {
		return classified(err)
	}
	n, err := w.change(c, s)
	switch {
	case err == nil && (!s.one || n == 1):
		return nil
	case s.refused != nil && (err == nil || sqliteTaken(err)):
		return s.refused
	case err == nil:
		return fault.New(fault.Internal, "a statement changed %d rows instead of one", n)
	}
	return classified(err)
}

// change runs a statement. SQLite overwrites whole pages that become free only when
// told to, since that costs writes.
func (w *writer) change(c *sqliteConn, s *statement) (int64, error) {
	if !s.erases {
		return c.run(s.text, s.args)
	}
	if _, err := c.run("PRAGMA secure_delete = ON", nil); err != nil {
		return 0, err
	}
	n, err := c.run(s.text, s.args)
	_, off := c.run("PRAGMA secure_delete = FAST", nil)
	return n, errors.Join(err, off)
}
