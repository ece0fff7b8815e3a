package plugin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// ServerConfig says where a plugin listens and for whom.
type ServerConfig struct {
	Socket string // absolute path; its directory must exist
	UIDs   []int  // users who may call, besides root and our own
	Log    *slog.Logger
}

// Listen opens the socket of a plugin. It is for our own user alone unless
// others are named. What a plugin that was killed left there is replaced; one that
// still answers is a Conflict.
func Listen(ctx context.Context, c ServerConfig) (net.Listener, error) {
	if err := (&Config{Socket: c.Socket, UIDs: c.UIDs}).validate(); err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := checkDirectory(c.Socket, c.UIDs); err != nil {
		return nil, err
	}
	if err := removeStale(ctx, c.Socket); err != nil {
		return nil, err
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.Socket, Net: "unix"})
	if err != nil {
		return nil, fault.New(fault.Unavailable, "listen for the server: %w", err)
	}
	// Who may connect is decided by Accept; until here the umask keeps others out.
	mode := os.FileMode(0o600)
	if len(c.UIDs) > 0 {
		mode = 0o666
	}
	if err := os.Chmod(c.Socket, mode); err != nil {
		return nil, errors.Join(fault.New(fault.Unavailable, "listen for the server: %w", err), socket.Close())
	}
	return &listener{socket, c.UIDs, c.Log}, nil
}

// removeStale removes a socket that nobody listens on any more.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fault.New(fault.Unavailable, "listen for the server: %w", err)
	case info.Mode().Type() != os.ModeSocket:
		return fault.New(fault.Conflict, "listen for the server: %s exists and is no socket", path)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(fault.New(fault.Conflict, "another process listens on %s already", path).
			WithHint("end it, or choose another socket"), conn.Close())
	}
	return os.Remove(path)
}

// A listener accepts connections of the users it was given.
type listener struct {
	*net.UnixListener
	allowed users
	log     *slog.Logger
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(conn)
		if err == nil && l.allowed.allow(uid) {
			return conn, nil
		}
		l.log.Warn("connection of a user who may not call", "uid", uid, "error", errors.Join(err, conn.Close()))
	}
}

// How long the parts of a call may take; the client waits no longer than a minute.
const (
	readTime  = 10 * time.Second
	writeTime = maxTimeout + readTime
	drainTime = 5 * time.Second
)

// Serve answers calls until ctx ends, then lets those under way finish.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler: h, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: readTime,
		MaxHeaderBytes: maxHead, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fault.New(fault.Unavailable, "answer the server: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	err := server.Shutdown(drain)
	if stopped := <-ended; !errors.Is(stopped, http.ErrServerClosed) {
		err = errors.Join(err, stopped)
	}
	return err
}
