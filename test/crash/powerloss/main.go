// Command powerloss is what loses its power in the tests of its parent folder: a
// node on SQLite that many callers use at once. Whatever is acknowledged to them
// is written to stdout at once, one system call a line:
//
//	key TEXT                  an administrator's API key was made
//	deployed                  the process is there
//	receipt INSTANCE SEQ LEAF a step is durable
//	erasing INSTANCE          the erasure of whom it is about is ordered next
//	erased INSTANCE ERASURE   and is done
//
// It opens and closes the node a few times, so that what happens then is part of
// the record. When the database fails, it ends with exit code 3.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

//go:embed crash.bpmn
var model []byte

// bigValue is the size of the values that fill the write-ahead log, in bytes:
// nearly what one envelope takes.
const bigValue = 59_000

func main() {
	dir := flag.String("dir", "", "directory of data and keys")
	small := flag.Int("small", 12, "instances to run per opening of the node")
	big := flag.Int("big", 0, "big values to write in the last opening")
	flag.Parse()
	if err := run(context.Background(), *dir, *small, *big); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(3)
	}
}

func run(ctx context.Context, dir string, small, big int) error {
	config := node.Config{Data: filepath.Join(dir, "data"), KeyFile: filepath.Join(dir, "keys", "root.key"), Create: true}
	key := ""
	for opening := range 3 {
		n, err := node.Open(ctx, config)
		if err != nil {
			return err
		}
		u := &user{node: n, key: &key, opening: opening}
		if opening < 2 {
			err = errors.Join(u.work(ctx, small), u.rotate(ctx), n.Close())
		} else {
			err = u.fill(ctx, small, big) // and then the power is gone
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rotate replaces the tenant key and the root key under what is stored, and gives
// up the old ones.
func (u *user) rotate(ctx context.Context) error {
	e := u.node.Engine
	for _, key := range []string{"tenant", "root"} {
		before, err := e.Keys(ctx, u.caller)
		if err != nil {
			return err
		}
		if _, err := e.RotateKey(ctx, u.caller, api.RotateKeyRequest{Key: key}); err != nil {
			return err
		}
		state, err := e.RewrapKeys(ctx, u.caller, api.RewrapRequest{})
		for err == nil && state.Running {
			var keys api.Keys
			keys, err = e.Keys(ctx, u.caller)
			state = keys.Rewrap
		}
		if err != nil || state.Error != "" {
			return fmt.Errorf("rewrap: %s, %w", state.Error, err)
		}
		old := before.RootKeys[len(before.RootKeys)-1].Version
		if key == "tenant" {
			old = fmt.Sprint(before.TenantKeys[len(before.TenantKeys)-1].Version)
		}
		if _, err := e.RetireKey(ctx, u.caller, api.RetireKeyRequest{Key: key, Version: old}); err != nil {
			return err
		}
	}
	return nil
}

// say acknowledges.
func say(format string, args ...any) error {
	_, err := fmt.Fprintf(os.Stdout, format+"\n", args...)
	return err
}

// A user calls a node's engine.
type user struct {
	node    *node.Node
	key     *string // made by the first user
	opening int     // of the node, 0, 1 ..
	caller  engine.Caller
	count   atomic.Int64
}

// signIn makes the key and deploys the process if that was not done before.
func (u *user) signIn(ctx context.Context) (err error) {
	fresh := *u.key == ""
	if fresh {
		if *u.key, err = testenv.SetUp(ctx, u.node.Engine); err != nil {
			return err
		}
		if err := say("key %s", *u.key); err != nil {
			return err
		}
	}
	if u.caller, err = u.node.Engine.Authenticate(ctx, *u.key, "192.0.2.1"); err != nil || !fresh {
		return err
	}
	if _, err := u.node.Engine.Deploy(ctx, u.caller, []api.File{{Name: "crash.bpmn", Content: model}}, "deploy"); err != nil {
		return err
	}
	return say("deployed")
}

// work starts instances and does all their jobs and tasks, many at a time.
func (u *user) work(ctx context.Context, instances int) error {
	if err := u.signIn(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range instances {
		if i == instances/2 {
			group.Go(func() error { return u.erase(ctx) })
		}
		group.Go(func() error { return u.instance(ctx, i) })
	}
	return group.Wait()
}

// erase starts an instance about a person and erases the person at once.
func (u *user) erase(ctx context.Context) error {
	person, now := fmt.Sprintf("gone-%d", u.opening), 0
	variables := fmt.Sprintf(`{"n": 0, "person": {"id": %q, "name": "Name of %s"}}`, person, person)
	started, err := u.node.Engine.Start(ctx, u.caller, api.StartRequest{Process: "crash", Variables: []byte(variables)}, u.once())
	if err := u.acknowledge(started, err); err != nil {
		return err
	}
	if err := say("erasing %s", started.Instance); err != nil {
		return err
	}
	done, err := u.node.Engine.OrderErasure(ctx, u.caller, api.ErasureRequest{Kind: "subject", ID: person, Reason: "they asked", DelayMS: &now}, u.once())
	if err != nil {
		return err
	}
	return say("erased %s %s", started.Instance, done.ID)
}

// instance starts one instance and does as much of it as i says, so that some of
// every sort are left waiting. Jobs that it gets may be of other instances.
func (u *user) instance(ctx context.Context, i int) error {
	variables := fmt.Sprintf(`{"n": 0, "person": {"id": "p%d", "name": "Person %d"}}`, i%7, i%7)
	started, err := u.node.Engine.Start(ctx, u.caller, api.StartRequest{Process: "crash", Variables: []byte(variables)}, u.once())
	if err := u.acknowledge(started, err); err != nil {
		return err
	}
	if err := u.job(ctx, "stamp", `{"stamped": true}`); err != nil {
		return err
	}
	for n := range 3 {
		if err := u.job(ctx, "count", fmt.Sprintf(`{"n": %d}`, n+1)); err != nil {
			return err
		}
	}
	return u.task(ctx, started.Instance)
}

// once returns an idempotency key that no other call has, in no opening.
func (u *user) once() string { return fmt.Sprintf("%d-%d", u.opening, u.count.Add(1)) }

// job does one job of a type if there is one.
func (u *user) job(ctx context.Context, kind, result string) error {
	jobs, err := u.node.Engine.ActivateJobs(ctx, u.caller, api.ActivateRequest{Type: kind, Worker: "ann"})
	if err != nil {
		return err
	}
	for _, job := range jobs.Items {
		r := api.CompleteJobRequest{Lease: job.Lease, Variables: []byte(result)}
		done, err := u.node.Engine.CompleteJob(ctx, u.caller, job.ID, r, u.once())
		// Whom it is about was erased meanwhile, which ends leases; whoever got the job
		// then may have done it.
		if code := fault.CodeOf(err); code == "lease_lost" || code == "job_closed" {
			continue
		}
		if err := u.acknowledge(done, err); err != nil {
			return err
		}
	}
	return nil
}

// task completes the instance's task if it has got that far.
func (u *user) task(ctx context.Context, instance string) error {
	shown, err := u.node.Engine.Instance(ctx, u.caller, instance)
	if err != nil {
		return err
	}
	for _, w := range shown.Waiting {
		if w.For == "task" {
			return u.acknowledge(u.node.Engine.CompleteTask(ctx, u.caller, w.ID, []byte(`{"signed": "ann"}`), u.once()))
		}
	}
	return nil
}

func (u *user) acknowledge(r api.Receipt, err error) error {
	if err != nil {
		return err
	}
	return say("receipt %s %d %s", r.Instance, r.Seq, r.Leaf)
}

// fill works, and writes big values beside it, so that the write-ahead log is
// copied to the database while commits go on.
func (u *user) fill(ctx context.Context, instances, values int) error {
	if err := u.signIn(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return u.work(ctx, instances) })
	for i := range 4 {
		group.Go(func() error { return u.bigOnes(ctx, i, values/4) })
	}
	return group.Wait()
}

func (u *user) bigOnes(ctx context.Context, i, values int) error {
	started, err := u.node.Engine.Start(ctx, u.caller, api.StartRequest{Process: "crash", Variables: []byte(`{"n": 3}`)}, u.once())
	if err := u.acknowledge(started, err); err != nil {
		return err
	}
	for v := range values {
		variables := fmt.Sprintf(`{"big": %q}`, strings.Repeat(string(rune('a'+(i+v)%26)), bigValue))
		r, err := u.node.Engine.SetVariables(ctx, u.caller, started.Instance, []byte(variables), u.once())
		if err := u.acknowledge(r, err); err != nil {
			return err
		}
	}
	return nil
}
