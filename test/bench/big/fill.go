package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/test/bench/load"
)

// fillers is how many instances are under way at a time while a database is
// filled: enough for large groups, so that few commits are waited for.
const fillers = 256

// fillBoth makes two databases of one deployment: the small one is the large one
// as it was when it was small.
func (b *bench) fillBoth(ctx context.Context) (small, large load.Home, err error) {
	small = load.Home{Binary: b.binary, Dir: filepath.Join(b.dir, "small")}
	large = load.Home{Binary: b.binary, Dir: filepath.Join(b.dir, "large")}
	if err := os.Mkdir(large.Dir, 0o700); err != nil {
		return small, large, err
	}
	if err := deploy(ctx, large); err != nil {
		return small, large, err
	}
	if err := b.fill(ctx, large, b.few); err != nil {
		return small, large, err
	}
	if err := copyHome(small, large); err != nil {
		return small, large, err
	}
	return small, large, b.fill(ctx, large, b.finished-b.few)
}

// deploy makes a home and deploys the process, as a user does.
func deploy(ctx context.Context, h load.Home) error {
	server, err := h.Start(load.Usual)
	if err != nil {
		return err
	}
	return errors.Join(usual(server).Deploy(ctx), server.Stop())
}

// fill runs n instances from start to end through the engine, in this process:
// everything is decided, sealed, committed to and stored as in the server, only
// without the network.
func (b *bench) fill(ctx context.Context, h load.Home, n int) error {
	open, err := node.Open(ctx, node.Config{Data: h.Data(), KeyFile: h.RootKeyFile()})
	if err != nil {
		return err
	}
	key, err := os.ReadFile(h.KeyFile())
	if err != nil {
		return errors.Join(err, open.Close())
	}
	caller, err := open.Engine.Authenticate(ctx, strings.TrimSpace(string(key)), "127.0.0.1")
	if err == nil {
		f := &filler{engine: open.Engine, caller: caller, load: load.New(nil, "confidential", load.Usual)}
		err = b.watch(f, n, func() error { return f.run(ctx, n) })
	}
	return errors.Join(err, open.Close())
}

// watch says every now and then how far the filler is.
func (b *bench) watch(f *filler, n int, run func() error) error {
	begin := time.Now()
	say := func() {
		b.say("%d of %d instances finished, %.0f/s", f.done.Load(), n, float64(f.done.Load())/time.Since(begin).Seconds())
	}
	ticker := time.NewTicker(10 * time.Second)
	defer ticker.Stop()
	ended := make(chan error, 1)
	go func() { ended <- run() }()
	for {
		select {
		case <-ticker.C:
			say()
		case err := <-ended:
			say()
			return err
		}
	}
}

// A filler runs instances.
type filler struct {
	engine *engine.Engine
	caller engine.Caller
	load   *load.Load
	begun  atomic.Int64
	done   atomic.Int64
}

func (f *filler) run(ctx context.Context, n int) error {
	group, ctx := errgroup.WithContext(ctx)
	for range fillers {
		group.Go(func() error {
			for f.begun.Add(1) <= int64(n) {
				if err := f.one(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// one starts an instance and completes one, not always the same. Requests have
// idempotency keys, as those of the public client always do.
func (f *filler) one(ctx context.Context) error {
	start := api.StartRequest{Process: f.load.Process(), Variables: f.load.Variables(time.Now())}
	if _, err := f.engine.Start(ctx, f.caller, start, newKey()); err != nil {
		return err
	}
	jobs, err := f.engine.ActivateJobs(ctx, f.caller, api.ActivateRequest{Type: f.load.JobType(), Worker: "bench", Max: 1, WaitMS: 10_000})
	if err != nil {
		return err
	}
	if len(jobs.Items) != 1 {
		return fmt.Errorf("%d jobs wait, want one", len(jobs.Items))
	}
	job := jobs.Items[0]
	_, err = f.engine.CompleteJob(ctx, f.caller, job.ID, api.CompleteJobRequest{Lease: job.Lease, Variables: load.Answer}, newKey())
	f.done.Add(1)
	return err
}

func newKey() string { return uuid.Must(uuid.NewV7()).String() }

// copyHome replaces a home by a copy of another, and has it on the disk, so that
// writing it back does not disturb what is measured next.
func copyHome(to, from load.Home) error {
	if err := os.RemoveAll(to.Dir); err != nil {
		return err
	}
	return filepath.WalkDir(from.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from.Dir, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to.Dir, rel)
		if entry.IsDir() {
			return os.Mkdir(target, 0o700)
		}
		return copyFile(target, path)
	})
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = target.ReadFrom(source)
	return errors.Join(err, target.Sync(), target.Close())
}
