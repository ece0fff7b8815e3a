package crash_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// The moments at which the power is lost.
const (
	rareMoments  = 75 // around syncs and changes of names outside the hot path
	syncMoments  = 55 // around syncs of the write-ahead log
	eraseMoments = 30 // while somebody is erased
	otherMoments = 40 // anywhere
)

func TestPowerLostAtAnyMomentLosesNothing(t *testing.T) {
	t.Parallel()
	rng := newRand(t)
	marks, base, _ := record(t, "-big", "400")
	moments := choose(marks, rng)
	d, crashes := newDisk(base), newCrashes(t, rng)
	for i, m := range marks {
		if err := d.play(m); err != nil {
			t.Fatal(err)
		}
		if _, ok := slices.BinarySearch(moments, i); ok {
			crashes.try(d, i, losses[rng.IntN(len(losses))])
		}
	}
	crashes.report(len(moments))
	if d.fileSyncs == 0 {
		t.Error("no sync was recorded")
	}
	if crashes.erased == 0 || crashes.cut == 0 {
		t.Errorf("%d erasures acknowledged and %d cut off were looked at, want some of each", crashes.erased, crashes.cut)
	}
}

// record runs the helper program under strace until it ends. It returns what it
// did, the directory that it did it in, and its exit code.
func record(t *testing.T, args ...string) (marks []mark, base string, code int) {
	return recordWith(t, nil, args...)
}

func recordWith(t *testing.T, inject []string, args ...string) (marks []mark, base string, code int) {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "trace")
	command := append(strace(t, log, traced, inject...), program(t, "./powerloss"), "-dir", base)
	cmd := exec.Command(command[0], append(command[1:], args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer context.AfterFunc(limited(t), func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && (!errors.As(err, &exit) || inject == nil) {
		t.Fatalf("the recorded program: %v\n%s", err, stderr.String())
	}
	if exit != nil {
		code = exit.ExitCode()
		t.Logf("the recorded program ended with %d: %s", code, stderr.String())
	}
	if marks, err = readTrace(log); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	return marks, base, code
}

// choose returns sorted moments: indexes of marks after which the power goes.
func choose(marks []mark, rng *rand.Rand) []int {
	var rare, syncs, erasing, all []int
	under := 0 // erasures under way
	for i, m := range marks {
		all = append(all, i)
		if under > 0 {
			erasing = append(erasing, i)
		}
		switch m.call.name {
		case "write":
			switch text := m.call.args[1]; {
			case !m.end:
			case strings.HasPrefix(text, `"erasing `):
				under++
			case strings.HasPrefix(text, `"erased `):
				under--
			}
		case "unlink", "unlinkat", "rename", "renameat", "ftruncate", "mkdirat":
			rare = append(rare, i)
		case "fsync", "fdatasync":
			if _, path, err := m.call.fd(0); err == nil && strings.HasSuffix(path, "-wal") {
				syncs = append(syncs, i)
			} else {
				rare = append(rare, i)
			}
		}
	}
	moments := slices.Concat(sample(rng, rare, rareMoments), sample(rng, syncs, syncMoments), sample(rng, erasing, eraseMoments), sample(rng, all, otherMoments))
	slices.Sort(moments)
	return slices.Compact(moments)
}

// sample returns n of the values, or all if they are fewer.
func sample(rng *rand.Rand, from []int, n int) []int {
	var some []int
	for _, i := range rng.Perm(len(from))[:min(n, len(from))] {
		some = append(some, from[i])
	}
	return some
}

// crashes are directories as a loss of power left them, being checked while the
// next are made.
type crashes struct {
	t     *testing.T
	ctx   context.Context
	rng   *rand.Rand
	dir   string
	group *errgroup.Group

	mu      sync.Mutex // guards what is below
	count   map[loss]int
	acks    int // acknowledgments that were looked for
	refused int // directories without anything acknowledged that are not opened
	erased  int // erasures that were acknowledged
	cut     int // erasures that were begun or ordered, and not acknowledged

	// syncsFail says that a sync failed before. If that was while the files were
	// made, the first start ended with an error, having promised nothing, and what
	// power leaves of them then need not be a database: the migrations' library
	// tries once more to make its table after a failed sync.
	syncsFail bool
}

func newCrashes(t *testing.T, rng *rand.Rand) *crashes {
	c := &crashes{t: t, rng: rng, dir: t.TempDir(), count: map[loss]int{}}
	c.group, c.ctx = errgroup.WithContext(limited(t))
	c.group.SetLimit(2)
	t.Cleanup(func() { _ = c.group.Wait() }) // after a failure, before dir is removed
	return c
}

// try makes what is left of the disk at a moment, and checks it.
func (c *crashes) try(d *disk, moment int, l loss) {
	c.t.Helper()
	if c.ctx.Err() != nil {
		return
	}
	dir, err := os.MkdirTemp(c.dir, "crash-")
	if err != nil {
		c.t.Fatal(err)
	}
	if err := d.write(dir, l, c.rng); err != nil {
		c.t.Fatal(err)
	}
	acks := slices.Clone(d.acks)
	c.group.Go(func() error {
		defer os.RemoveAll(dir)
		if err := c.check(dir, acks); err != nil {
			return fmt.Errorf("power lost after call mark %d, losing %s, after %d acknowledgments: %w", moment, l, len(acks), err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.count[l]++
		return nil
	})
}

// report waits for all checks.
func (c *crashes) report(want int) {
	c.t.Helper()
	if err := c.group.Wait(); err != nil {
		c.t.Fatal(err)
	}
	sum := 0
	for _, n := range c.count {
		sum += n
	}
	if sum != want || sum == 0 || c.acks == 0 || !c.syncsFail && c.refused > sum/4 {
		c.t.Errorf("%d crashes of %d, %d acknowledgments were checked, %d refused", sum, want, c.acks, c.refused)
	}
	c.t.Logf("%d crashes, %d acknowledgments looked for, %d never whole: %v", sum, c.acks, c.refused, c.count)
}

// promised is what the recorded program was told.
type promised struct {
	key      string
	deployed bool
	receipts []ack
	erased   map[string]string // instances of erased persons by erasure
}

func parseAcks(lines []string) (p promised, err error) {
	p.erased = map[string]string{}
	for _, line := range lines {
		word := strings.Fields(line)
		switch {
		case len(word) == 2 && word[0] == "key":
			p.key = word[1]
		case len(word) == 1 && word[0] == "deployed":
			p.deployed = true
		case len(word) == 2 && word[0] == "erasing": // promises nothing
		case len(word) == 3 && word[0] == "erased":
			p.erased[word[2]] = word[1]
		case len(word) == 4 && word[0] == "receipt":
			seq, err := strconv.ParseUint(word[2], 10, 64)
			if err != nil {
				return p, err
			}
			p.receipts = append(p.receipts, ack{operation: "step", receipt: api.Receipt{Instance: word[1], Seq: seq, Leaf: word[3]}})
		default:
			return p, fmt.Errorf("the recorded program wrote %q", line)
		}
	}
	return p, nil
}

// unmade reports whether an error is one of a directory that was never whole:
// half a key file, which is never made anew by itself, or, after a failed sync,
// half a database.
func (c *crashes) unmade(err error) bool {
	if fault.Is(err, fault.Integrity) && strings.Contains(err.Error(), "key file") {
		return true
	}
	return c.syncsFail && strings.Contains(err.Error(), "malformed")
}

// check opens what a crash left, and requires what was promised.
func (c *crashes) check(dir string, lines []string) error {
	p, err := parseAcks(lines)
	if err != nil {
		return err
	}
	if p.key != "" {
		if err := c.honest(dir); err != nil {
			return err
		}
	}
	n, err := node.Open(c.ctx, node.Config{Data: filepath.Join(dir, "data"), KeyFile: filepath.Join(dir, "keys", "root.key"), Create: true})
	if err != nil && len(lines) == 0 && c.unmade(err) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refused++
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(c.checkNode(n, p), n.Close()); err != nil {
		return err
	}
	c.mu.Lock()
	c.acks += len(lines)
	c.mu.Unlock()
	db := openSQLite(c.t, filepath.Join(dir, "data"))
	defer db.close()
	_, _, err = db.check(c.ctx)
	return err
}

// honest requires that a check of what a crash left names nothing: nobody has changed it.
func (c *crashes) honest(dir string) error {
	config := node.Config{Data: filepath.Join(dir, "data"), KeyFile: filepath.Join(dir, "keys", "root.key")}
	return node.Check(c.ctx, config, node.CheckConfig{Part: func(_ string, _ engine.CheckState, found []engine.Finding) error {
		if len(found) > 0 {
			return fmt.Errorf("a check finds %+v", found)
		}
		return nil
	}})
}

func (c *crashes) checkNode(n *node.Node, p promised) error {
	if p.key == "" {
		var err error
		if p.key, err = testenv.SetUp(c.ctx, n.Engine); err != nil {
			return err
		}
	}
	ann, err := n.Engine.Authenticate(c.ctx, p.key, "192.0.2.1")
	if err != nil {
		return err
	}
	processes, err := n.Engine.Processes(c.ctx, ann, engine.Page{})
	if err != nil {
		return err
	}
	if p.deployed && len(processes.Items) != 1 {
		return errors.New("lost: the process that was deployed")
	}
	if err := checkReceipts(c.ctx, n.Engine, ann, p.receipts); err != nil {
		return err
	}
	if err := c.checkErasures(n.Engine, ann, p.erased); err != nil {
		return err
	}
	return goOn(c.ctx, n.Engine, ann)
}

// checkErasures requires that the erasures are done that were acknowledged, that the
// others are or wait to be, and that nothing opens of those that are done.
func (c *crashes) checkErasures(e *engine.Engine, ann engine.Caller, acknowledged map[string]string) error {
	list, err := e.Erasures(c.ctx, ann, engine.Page{Limit: 1000})
	if err != nil {
		return err
	}
	states := map[string]string{}
	for _, erasure := range list.Items {
		if states[erasure.ID] = erasure.State; erasure.State != "done" && erasure.State != "pending" {
			return fmt.Errorf("erasure %s is %s", erasure.ID, erasure.State)
		}
	}
	for id, instance := range acknowledged {
		if states[id] != "done" {
			return fmt.Errorf("lost: erasure %s, which is %q", id, states[id])
		}
		shown, err := e.Instance(c.ctx, ann, instance)
		if err != nil {
			return err
		}
		if strings.Contains(string(shown.Variables), "Name of") || len(shown.Erased) == 0 {
			return fmt.Errorf("an erased person reads as %s, erased %v", shown.Variables, shown.Erased)
		}
	}
	if err := e.EraseDue(c.ctx); err != nil {
		return err
	}
	for id := range states {
		if err := c.unreadable(e, ann, id); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erased, c.cut = c.erased+len(acknowledged), c.cut+len(states)-len(acknowledged)
	return nil
}

// unreadable requires that an erasure is done and that nothing of it can be read.
func (c *crashes) unreadable(e *engine.Engine, ann engine.Caller, id string) error {
	receipt, err := e.ErasureReceipt(c.ctx, ann, id)
	if err != nil || receipt.Erasure.State != "done" {
		return fmt.Errorf("erasure %s is %q in the end: %w", id, receipt.Erasure.State, err)
	}
	for after := ""; ; {
		part, err := e.VerifyErasure(c.ctx, ann, id, api.ErasureCheckRequest{After: after})
		if err != nil || len(part.Findings) > 0 {
			return fmt.Errorf("verifying erasure %s: %q, %w", id, part.Findings, err)
		}
		if after = part.Next; after == "" {
			return nil
		}
	}
}

// checkReceipts reads the steps of all instances, whose chains the engine
// verifies, and looks for the receipts among them.
func checkReceipts(ctx context.Context, e *engine.Engine, ann engine.Caller, receipts []ack) error {
	byInstance := map[string][]ack{}
	for _, a := range receipts {
		byInstance[a.receipt.Instance] = append(byInstance[a.receipt.Instance], a)
	}
	for page := (engine.Page{Limit: 1000}); ; {
		list, err := e.Instances(ctx, ann, engine.InstanceFilter{}, page)
		if err != nil {
			return err
		}
		for _, instance := range list.Items {
			steps, err := e.Steps(ctx, ann, instance.ID, engine.Page{Limit: 1000})
			if err == nil {
				_, err = e.Instance(ctx, ann, instance.ID) // its queue rows agree with its head
			}
			if err == nil {
				err = lacks(steps.Items, byInstance[instance.ID])
			}
			if err != nil {
				return err
			}
			delete(byInstance, instance.ID)
		}
		if page.After = list.Next; page.After == "" {
			break
		}
	}
	for instance, acks := range byInstance {
		return fmt.Errorf("lost: instance %s with %d acknowledged steps", instance, len(acks))
	}
	return nil
}

// goOn requires that work goes on: a new instance, and the jobs that wait.
func goOn(ctx context.Context, e *engine.Engine, ann engine.Caller) error {
	model, err := os.ReadFile(filepath.Join("powerloss", "crash.bpmn"))
	if err != nil {
		return err
	}
	if _, err := e.Deploy(ctx, ann, []api.File{{Name: "crash.bpmn", Content: model}}, ""); err != nil {
		return err
	}
	started, err := e.Start(ctx, ann, api.StartRequest{Process: "crash", Variables: []byte(`{"n": 2, "person": {"id": "p1", "name": "Person 1"}}`)}, "go on")
	if err != nil {
		return err
	}
	receipts := []ack{{operation: "start", receipt: started}}
	for _, kind := range []string{"stamp", "count"} {
		jobs, err := e.ActivateJobs(ctx, ann, api.ActivateRequest{Type: kind, Worker: "ann", Max: 1000})
		if err != nil {
			return err
		}
		for _, job := range jobs.Items {
			done, err := e.CompleteJob(ctx, ann, job.ID, api.CompleteJobRequest{Lease: job.Lease, Variables: []byte(`{"n": 3}`)}, "")
			if err != nil {
				return err
			}
			receipts = append(receipts, ack{operation: kind, receipt: done})
		}
	}
	if len(receipts) < 3 {
		return fmt.Errorf("work does not go on: %d of 3 steps of a new instance", len(receipts))
	}
	return checkReceipts(ctx, e, ann, receipts)
}
