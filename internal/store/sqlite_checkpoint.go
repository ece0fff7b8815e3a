package store

import (
	"fmt"
	"sync"
)

// checkpointPages is how many pages the WAL takes before its content is copied
// to the database file. The more, the more often changed pages are copied once
// instead of many times; the less, the faster a start after a crash.
const checkpointPages = 8192

// checkpointer copies the WAL to the database file.
//
// The bulk of it, with its fsync, goes on beside the commits, on a connection of
// its own. A checkpoint that others write behind never reaches the WAL's end, so
// the writer itself copies the last few pages, between two commits; then the WAL
// starts from its beginning again.
//
// An error of a checkpoint is fatal: an fsync that failed once must not be
// believed the second time.
type checkpointer struct {
	file   sqliteFile  // of the background checkpoint
	conn   *sqliteConn // nil before the first; owned by who runs it
	health *health

	pages   int // since the WAL last started anew; owned by the writer
	running sync.WaitGroup
	started bool          // owned by the writer
	ready   chan struct{} // one value when the background part is done
}

func newCheckpointer(file sqliteFile, h *health) *checkpointer {
	return &checkpointer{file: file, health: h, ready: make(chan struct{}, 1)}
}

// committed is called by the writer after each commit with its connection.
func (c *checkpointer) committed(writer *sqliteConn, pages int) error {
	c.pages += pages
	if !c.started {
		if c.pages >= checkpointPages {
			c.start()
		}
		return nil
	}
	select {
	case <-c.ready:
		c.started = false
		c.pages = 0
		return checkpoint(writer, "PASSIVE")
	default:
		return nil
	}
}

func (c *checkpointer) start() {
	c.started = true
	c.running.Go(func() {
		if err := c.copyMost(); err != nil {
			c.health.fail(err)
		}
		c.ready <- struct{}{}
	})
}

// copyMost is the background part. Most databases never get there, so it opens its
// connection when it is first needed. Without one, the writer copies all of it.
func (c *checkpointer) copyMost() error {
	if c.conn == nil {
		conn, err := c.file.writer()
		if err != nil {
			return nil
		}
		c.conn = conn
	}
	return checkpoint(c.conn, "PASSIVE")
}

// stop waits for the background part.
func (c *checkpointer) stop() error {
	c.running.Wait()
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// checkpoint runs a checkpoint. PASSIVE copies what it can without waiting for
// readers; TRUNCATE waits for them and leaves an empty WAL.
func checkpoint(conn *sqliteConn, mode string) error {
	var busy, pages, copied int64
	err := conn.query("PRAGMA wal_checkpoint("+mode+")", nil, func(r row) error {
		return r.scan(&busy, &pages, &copied)
	})
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if mode == "TRUNCATE" && busy != 0 {
		return errBusy
	}
	return nil
}
