package main

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/underseal/underseal/internal/server"
)

// drainTime bounds how long requests under way may take once the server is asked
// to end. What is not answered then is still durable or not done at all.
const drainTime = 20 * time.Second

// closeSocket closes an address that nobody may have served on; again is no error.
func closeSocket(c *server.ListenConfig) error {
	if c == nil {
		return nil
	}
	if err := c.Socket.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func stop(l *server.Listener) error {
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	return l.Stop(ctx)
}
