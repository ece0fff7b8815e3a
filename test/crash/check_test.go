//go:build unix

package crash_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

// checkPresent asks for the steps of all instances that acks are about, which
// makes the server verify their chains, and requires that each acknowledged step
// is there with the leaf of its receipt (P1). The server may not be killed
// meanwhile.
func checkPresent(ctx context.Context, c *client.Client, acks []ack) error {
	byInstance := map[string][]ack{}
	for _, a := range acks {
		byInstance[a.receipt.Instance] = append(byInstance[a.receipt.Instance], a)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for instance, acks := range byInstance {
		group.Go(func() error {
			steps, err := stepsOf(ctx, c, instance)
			if err != nil {
				return fmt.Errorf("instance %s, of which %d steps were acknowledged: %w", instance, len(acks), err)
			}
			return lacks(steps, acks)
		})
	}
	return group.Wait()
}

func stepsOf(ctx context.Context, c *client.Client, instance string) ([]api.Step, error) {
	steps, err := c.Steps(ctx, instance, api.Page{Limit: 1000})
	if err == nil && steps.Next != "" {
		err = fmt.Errorf("instance %s has more than 1000 steps", instance)
	}
	return steps.Items, err
}

// lacks returns an error if an acknowledged step is not among the steps.
func lacks(steps []api.Step, acks []ack) error {
	for _, a := range acks {
		i := int(a.receipt.Seq) - 1
		if i < 0 || i >= len(steps) || steps[i].Leaf != a.receipt.Leaf {
			return fmt.Errorf("lost: %s of %s was acknowledged as step %d of instance %s with leaf %s; the instance has %d steps: %+v",
				a.operation, a.about, a.receipt.Seq, a.receipt.Instance, a.receipt.Leaf, len(steps), steps)
		}
	}
	return nil
}

// checkRepeats makes requests that were acknowledged once more: each must get the
// receipt of the first time (P2).
func checkRepeats(ctx context.Context, acks []ack) error {
	for _, a := range acks {
		receipt, err := a.repeat(ctx)
		if err != nil {
			return fmt.Errorf("repeat %s of %s, which was acknowledged: %w", a.operation, a.about, err)
		}
		if receipt != a.receipt {
			return fmt.Errorf("repeat %s of %s: the receipt is %+v, the first time it was %+v", a.operation, a.about, receipt, a.receipt)
		}
	}
	return nil
}

// checkOnce requires that nothing was acknowledged twice: no two starts became
// one instance, no job and no task was done by two (P2).
func checkOnce(acks []ack) error {
	steps, done := map[string]ack{}, map[string]ack{}
	for _, a := range acks {
		step := fmt.Sprintf("%s/%d", a.receipt.Instance, a.receipt.Seq)
		if other, ok := steps[step]; ok {
			return fmt.Errorf("%s of %s and %s of %s were both acknowledged as step %s", other.operation, other.about, a.operation, a.about, step)
		}
		steps[step] = a
		if a.operation == "claim" {
			continue
		}
		what := a.operation + " " + a.about
		if other, ok := done[what]; ok {
			return fmt.Errorf("%s was acknowledged twice: %+v and %+v", what, other.receipt, a.receipt)
		}
		done[what] = a
	}
	return nil
}

// checkFinished requires that the acknowledged starts are the instances that
// there are, each completed, with exactly the steps that were acknowledged and
// those that nobody had to ask for (P2).
func checkFinished(ctx context.Context, c *client.Client, acks []ack) error {
	byInstance := map[string][]ack{}
	for _, a := range acks {
		byInstance[a.receipt.Instance] = append(byInstance[a.receipt.Instance], a)
	}
	found, err := allInstances(ctx, c)
	if err != nil {
		return err
	}
	if len(found) != len(byInstance) {
		return fmt.Errorf("%d instances were started, %d are there", len(byInstance), len(found))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for _, instance := range found {
		acks, ok := byInstance[instance.ID]
		if !ok {
			return fmt.Errorf("instance %s is of no acknowledged start", instance.ID)
		}
		group.Go(func() error { return checkInstance(ctx, c, instance.ID, acks) })
	}
	return group.Wait()
}

func allInstances(ctx context.Context, c *client.Client) (all []api.Instance, err error) {
	var page api.Page
	for page.Limit = 500; ; {
		list, err := c.Instances(ctx, api.InstanceFilter{Process: "crash"}, page)
		if err != nil {
			return nil, err
		}
		all = append(all, list.Items...)
		if page.After = list.Next; page.After == "" {
			return all, nil
		}
	}
}

// checkInstance checks one finished instance. The server compares its queue rows
// with its head when it shows it.
func checkInstance(ctx context.Context, c *client.Client, id string, acks []ack) error {
	instance, err := c.Instance(ctx, id)
	if err != nil {
		return err
	}
	var variables struct {
		N       int
		Stamped bool
		Signed  string
	}
	if err := json.Unmarshal(instance.Variables, &variables); err != nil {
		return err
	}
	if instance.Status != "completed" || instance.Incidents != 0 || variables.N != 3 || !variables.Stamped || variables.Signed == "" {
		return fmt.Errorf("instance %s is %s with %d incidents and %+v, want it completed with n = 3", id, instance.Status, instance.Incidents, variables)
	}
	steps, err := stepsOf(ctx, c, id)
	if err != nil {
		return err
	}
	if uint64(len(steps)) != instance.Seq {
		return fmt.Errorf("instance %s has %d steps and seq %d", id, len(steps), instance.Seq)
	}
	if err := lacks(steps, acks); err != nil {
		return err
	}
	return checkEvents(id, steps, acks)
}

// events of the operations, as the log names them.
var events = map[string]string{"start": "started", "count": "job_completed", "claim": "task_claimed", "complete": "task_completed"}

// checkEvents requires that the accepted steps are the acknowledged ones, the
// worker's stamp and the timer, and that the counting job was done three times.
func checkEvents(id string, steps []api.Step, acks []ack) error {
	var got, want []string
	for _, s := range steps {
		if s.Rejected == "" {
			got = append(got, fmt.Sprintf("%s %s %d", s.Event, s.Element, s.Seq))
		}
	}
	elements := map[string]string{"count": "count", "claim": "sign", "complete": "sign"}
	counted := 0
	for _, a := range acks {
		want = append(want, fmt.Sprintf("%s %s %d", events[a.operation], elements[a.operation], a.receipt.Seq))
		if a.operation == "count" {
			counted++
		}
	}
	stamped, rested := 0, 0
	others := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return slices.Contains(want, s) })
	for _, s := range steps {
		if s.Rejected == "" && s.Event == "job_completed" && s.Element == "stamp" {
			stamped++
		}
		if s.Rejected == "" && s.Event == "timer_fired" {
			rested++
		}
	}
	if counted != 3 || stamped != 1 || rested != 1 || len(others) != 2 || len(got) != len(want)+2 {
		return fmt.Errorf("instance %s has the accepted steps %q; %q were acknowledged, and besides one stamp and one timer are due", id, got, want)
	}
	return nil
}
