package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

type logCheckpointCmd struct {
	Shard string `help:"Of this log, \"2026\" (default: the newest)." placeholder:"NAME"`
	clientFlags
}

func (logCheckpointCmd) Help() string {
	return talksToServer + " A checkpoint is the signed head of a log (C2SP tlog-checkpoint): origin, size, root. Whoever keeps one can later see that the log still contains it: underseal log prove --from SIZE."
}

func (c *logCheckpointCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	shard, err := findShard(ctx, cl, c.Shard)
	if err != nil {
		return err
	}
	if shard.Checkpoint == "" {
		return fault.New(fault.Unavailable, "the log %s has no signed head yet", shard.Origin).WithHint("that takes a second or two; try again")
	}
	return e.result(shard, func(w io.Writer) { io.WriteString(w, shard.Checkpoint) })
}

// findShard returns the log of a name; "" is the newest.
func findShard(ctx context.Context, cl *client.Client, name string) (api.LogShard, error) {
	list, err := cl.LogShards(ctx)
	if err != nil {
		return api.LogShard{}, err
	}
	for i := len(list.Items) - 1; i >= 0; i-- {
		if s := list.Items[i]; name == "" || s.Name == name {
			return s, nil
		}
	}
	var names []string
	for _, s := range list.Items {
		names = append(names, s.Name)
	}
	return api.LogShard{}, fault.New(fault.NotFound, "there is no log %q, but %s", name, strings.Join(names, ", "))
}

type logProveCmd struct {
	Instance string `arg:"" optional:"" help:"Prove that the leaf of a step of this instance is in its log."`
	Step     int    `help:"Of this step (default: the newest)." placeholder:"N"`
	From     int    `help:"Prove that the log has continued itself since it had this size." placeholder:"SIZE"`
	To       int    `help:".. until this size (default: now)." placeholder:"SIZE"`
	Shard    string `help:"Which log --from is about (default: the newest)." placeholder:"NAME"`
	clientFlags
}

func (logProveCmd) Help() string {
	return talksToServer + " With an instance: prints a proof of inclusion (C2SP tlog-proof), under the newest checkpoint; the leaf itself is in --json. With --from: prints the hashes of a proof of consistency (RFC 9162), one in base64 a line, and the newest checkpoint."
}

func (c *logProveCmd) Run(ctx context.Context, e *env) error {
	if (c.Instance == "") == (c.From == 0) {
		return &usage{text: "what is to be proven: INSTANCE, or --from SIZE"}
	}
	cl, err := e.connect()
	if err != nil {
		return err
	}
	if c.Instance != "" {
		proof, err := cl.LogProof(ctx, c.Instance, c.Step)
		if err != nil {
			return err
		}
		return e.result(proof, func(w io.Writer) { io.WriteString(w, proof.Proof) })
	}
	shard, err := findShard(ctx, cl, c.Shard)
	if err != nil {
		return err
	}
	proof, err := cl.LogConsistency(ctx, shard.Name, c.From, c.To)
	if err != nil {
		return err
	}
	return e.result(proof, func(w io.Writer) {
		fmt.Fprintln(w, "consistency "+strconv.FormatUint(proof.From, 10)+" "+strconv.FormatUint(proof.To, 10))
		for _, h := range proof.Hashes {
			fmt.Fprintln(w, h)
		}
		fmt.Fprint(w, "\n"+proof.Checkpoint)
	})
}

type logPolicyCmd struct{ clientFlags }

func (logPolicyCmd) Help() string {
	return talksToServer + " Prints a policy file for this tenant (C2SP tlog-policy, with lines platform and tsa): the keys of its logs with the sizes that they may sign, the witnesses and the time stamping authority that the operator named. Give it to whoever has to check evidence, by another way than the evidence; what it says is the operator's word."
}

func (c *logPolicyCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	policy, err := cl.LogPolicy(ctx)
	if err != nil {
		return err
	}
	return e.result(policy, func(w io.Writer) { io.WriteString(w, policy.Policy) })
}
