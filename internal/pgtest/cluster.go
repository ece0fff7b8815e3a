// Package pgtest gives tests a Postgres server of their own.
//
// The server runs in a temporary directory on a Unix socket, as an unprivileged
// user when the tests run as root, with fsync on. There is one per test binary
// and a fresh database per test. It ends with the process that started it,
// however that ends.
//
// UNDERSEAL_TEST_POSTGRES names an administrator's DSN of a server to use
// instead. Where there is neither, tests fail and say what to run.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Cluster is a running server.
type Cluster struct {
	admin  string // DSN of an administrator
	dir    string // "": not ours
	server *exec.Cmd
	stdin  io.Closer // closed: the server ends
	made   atomic.Int64
}

// Start starts a server, or takes that of UNDERSEAL_TEST_POSTGRES.
func Start() (*Cluster, error) {
	if dsn := os.Getenv("UNDERSEAL_TEST_POSTGRES"); dsn != "" {
		return &Cluster{admin: dsn}, nil
	}
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	owner, err := newOwner()
	if err != nil {
		return nil, err
	}
	c := &Cluster{}
	if err := c.init(bin, owner); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	if err := c.run(bin, owner); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// binaries returns the directory of initdb and postgres, the newest there is.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		slices.SortStableFunc(found, func(a, b string) int { return len(a) - len(b) })
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("there is no Postgres (initdb) and no UNDERSEAL_TEST_POSTGRES; " + install())
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	return filepath.Dir(path), nil
}

func install() string {
	if runtime.GOOS == "darwin" {
		return "run: brew install postgresql"
	}
	return "run: sudo apt-get install -y --no-install-recommends postgresql"
}

// newOwner returns whom the server runs as: nil for the present user. Postgres
// refuses to run as root.
func newOwner() (*user.User, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody", "underseal-test"} {
		if u, err := user.Lookup(name); err == nil {
			return u, nil
		}
	}
	if out, err := exec.Command("useradd", "--system", "underseal-test").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot run Postgres as root and there is no other user; run: useradd --system underseal-test (%w: %s)", err, out)
	}
	return user.Lookup("underseal-test")
}

// init makes the directory and the empty cluster in it. The directory is under
// /tmp when the usual place is closed to the owner or too long for a socket.
func (c *Cluster) init(bin string, owner *user.User) (err error) {
	base := os.TempDir()
	if owner != nil || len(base) > 60 {
		base = "/tmp"
	}
	if c.dir, err = os.MkdirTemp(base, "underseal-pg-"); err != nil {
		return err
	}
	if err := give(c.dir, owner); err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(bin, "initdb"), "-D", c.data(), "-U", "underseal", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	as(cmd, owner)
	cmd.Dir = c.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// guard runs the server until its standard input ends, which it does at the
// latest with the process that started it. Then it leaves nothing behind.
const guard = `"$@" >"$0/log" 2>&1 & server=$!
while read -r line; do :; done
kill -INT $server; wait $server; rm -rf "$0"`

// run starts the server and waits until it answers.
func (c *Cluster) run(bin string, owner *user.User) error {
	c.server = exec.Command("/bin/sh", "-c", guard, c.dir,
		filepath.Join(bin, "postgres"), "-D", c.data(), "-k", c.dir, "-c", "listen_addresses=",
		"-c", "fsync=on", "-c", "max_connections=200", "-c", "max_wal_size=4GB")
	as(c.server, owner)
	c.server.Dir = c.dir
	stdin, err := c.server.StdinPipe()
	if err != nil {
		return err
	}
	if err := c.server.Start(); err != nil {
		return err
	}
	c.stdin = stdin
	c.admin = fmt.Sprintf("host=%s user=underseal dbname=postgres", c.dir)
	return c.await()
}

// await connects until that works. A server that recovers or starts says so by
// refusing.
func (c *Cluster) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, c.admin)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			return fmt.Errorf("start Postgres: %w: %s", err, bytes.TrimSpace(text))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server and removes its directory.
func (c *Cluster) Stop() error {
	if c.stdin == nil {
		return nil
	}
	if err := c.stdin.Close(); err != nil {
		return err
	}
	// The guard's exit code is that of rm; what counts is that nothing is left.
	_ = c.server.Wait()
	return os.RemoveAll(c.dir)
}

// CreateDatabase makes an empty database and returns its DSN.
func (c *Cluster) CreateDatabase(ctx context.Context) (dsn string, err error) {
	name := fmt.Sprintf("underseal_test_%d_%d", os.Getpid(), c.made.Add(1))
	if err := c.exec(ctx, `CREATE DATABASE `+name); err != nil {
		return "", err
	}
	return c.dsn(name)
}

// DropDatabase removes a database that CreateDatabase made, whoever uses it.
func (c *Cluster) DropDatabase(ctx context.Context, dsn string) error {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return err
	}
	return c.exec(ctx, `DROP DATABASE `+cfg.Database+` WITH (FORCE)`)
}

func (c *Cluster) exec(ctx context.Context, text string) error {
	conn, err := pgx.Connect(ctx, c.admin)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, text)
	return err
}

// dsn returns the administrator's DSN for another database of the server.
func (c *Cluster) dsn(database string) (string, error) {
	cfg, err := pgx.ParseConfig(c.admin)
	if err != nil {
		return "", err
	}
	dsn := fmt.Sprintf("host=%s port=%d user=%s dbname=%s", cfg.Host, cfg.Port, cfg.User, database)
	if cfg.Password != "" {
		dsn += " password=" + cfg.Password
	}
	return dsn, nil
}
