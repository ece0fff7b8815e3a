// Command files measures what a large file costs: how fast it goes up into an
// instance and comes down again, over loopback HTTP with the public client, and
// how much memory the server has at most meanwhile. The server is "underseal
// serve" as a child process, with a fresh data directory (or on the Postgres of
// -database), and with -s3 a bucket for the files.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/test/bench/load"
	"github.com/underseal/underseal/test/bench/table"
)

// memoryBound is what the server may take, in megabytes.
const memoryBound = 64

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("files", flag.ContinueOnError)
	f.SetOutput(stderr)
	binary := f.String("binary", "bin/underseal", "the server's binary")
	parent := f.String("dir", "", "where the temporary data directory is made: a real disk")
	database := f.String("database", "", "Postgres instead of SQLite: env:NAME or file:PATH of a connection string to an empty database")
	inBucket := f.Bool("s3", false, "files in a bucket of the S3 service of test/s3, another child process (run from the top directory)")
	size := f.Int64("size", 1<<30, "bytes of the file")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := load.OnDisk(*parent); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(*parent, "underseal-files-")
	if err != nil {
		return err
	}
	b := bench{home: load.Home{Binary: *binary, Dir: dir, Database: *database}, size: *size}
	b.table.Section(table.Machine())
	measure := b.run
	if *inBucket {
		measure = b.withBucket
	}
	err = errors.Join(measure(ctx), os.RemoveAll(dir))
	if err == nil {
		err = b.table.Missed()
	}
	return errors.Join(b.table.Print(stdout), err) // what was measured before an error is worth seeing
}

type bench struct {
	home  load.Home
	size  int64
	table table.Table
}

// withBucket measures a server that keeps its files in a bucket.
func (b *bench) withBucket(ctx context.Context) (err error) {
	service, err := startBucket(b.home.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, service.stop()) }()
	if b.home.Settings, err = service.settings(b.home.Dir); err != nil {
		return err
	}
	return b.run(ctx)
}

func (b *bench) run(ctx context.Context) (err error) {
	if err := os.Mkdir(filepath.Join(b.home.Dir, "keys"), 0o700); err != nil {
		return err
	}
	server, err := b.home.Start(load.Usual)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	before, err := highest(server.PID())
	if err != nil {
		return err
	}
	b.table.Section(fmt.Sprintf("a file of %d MB, up into an instance and down again, over HTTP", b.size/1_000_000))
	b.table.Show("the server's memory at most, before", before, "MB")
	if err := b.upAndDown(ctx, server.Client); err != nil {
		return err
	}
	after, err := highest(server.PID())
	b.table.Below("afterwards", after, memoryBound, "MB")
	return err
}

func (b *bench) upAndDown(ctx context.Context, c *client.Client) error {
	if _, err := c.Deploy(ctx, api.File{Name: "keep.bpmn", Content: []byte(keep)}); err != nil {
		return err
	}
	begin := time.Now()
	upload, err := c.PutFile(ctx, "large.bin", "", &content{left: b.size})
	if err != nil {
		return err
	}
	b.table.Show("up", float64(b.size)/1e6/time.Since(begin).Seconds(), "MB/s")
	receipt, err := c.Start(ctx, api.StartRequest{Process: "keep", Variables: client.Variables(map[string]any{"file": client.FileValue(upload)})})
	if err != nil {
		return err
	}
	begin = time.Now()
	f, err := c.GetFile(ctx, receipt.Instance, upload.File)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, f) // compares the SHA-256 of all of it
	if err = errors.Join(err, f.Close()); err != nil || n != b.size {
		return fmt.Errorf("%d of %d bytes came down: %w", n, b.size, err)
	}
	b.table.Show("down", float64(n)/1e6/time.Since(begin).Seconds(), "MB/s")
	return nil
}

// content is bytes that do not compress, a megabyte of them again and again.
type content struct{ left int64 }

var megabyte = func() []byte {
	data, source := make([]byte, 1<<20), rand.NewChaCha8([32]byte{})
	_, _ = source.Read(data) // never fails
	return data
}()

func (c *content) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	at := c.left % int64(len(megabyte))
	n := copy(p, megabyte[at:])
	n = int(min(int64(n), c.left))
	c.left -= int64(n)
	return n, nil
}

// highest returns the most memory that a process had resident, in megabytes.
func highest(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kilobytes); n == 1 {
			return kilobytes * 1024 / 1e6, nil
		}
	}
	return 0, errors.New("the system does not say how much memory the server had")
}

const keep = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" targetNamespace="x">
<process id="keep" isExecutable="true"><startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="ask"/><userTask id="ask"/></process>
</definitions>`
