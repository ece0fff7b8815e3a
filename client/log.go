package client

import (
	"context"
	"fmt"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/ledger"
)

// CreateLogReader makes a path by which somebody may read the log. It is told this
// once: if the answer is lost, revoke the reader and make another.
func (c *Client) CreateLogReader(ctx context.Context, name string) (api.NewLogReader, error) {
	r := send("POST", "/v1/log/readers", api.LogReaderRequest{Name: name})
	r.tries = 1
	return call[api.NewLogReader](ctx, c, r)
}

// LogReaders lists who was given a path, oldest first, revoked ones too.
func (c *Client) LogReaders(ctx context.Context, p api.Page) (api.LogReaders, error) {
	return call[api.LogReaders](ctx, c, get("/v1/log/readers").with("after", p.After, "limit", number(p.Limit)))
}

// RevokeLogReader ends a path.
func (c *Client) RevokeLogReader(ctx context.Context, id string) (api.LogReader, error) {
	return call[api.LogReader](ctx, c, send("POST", "/v1/log/readers/{reader}/revoke", nil, id))
}

// LogShards lists the logs with their newest signed heads.
func (c *Client) LogShards(ctx context.Context) (api.LogShards, error) {
	return call[api.LogShards](ctx, c, get("/v1/log/shards"))
}

// LogProof proves that the leaf of a step of an instance is in its log; step 0 is the
// newest.
func (c *Client) LogProof(ctx context.Context, instance string, step int) (api.LogProof, error) {
	return call[api.LogProof](ctx, c, get("/v1/log/proof").with("instance", instance, "step", number(step)))
}

// LogConsistency proves that a log continues itself between two sizes; to 0 is that of
// its newest head.
func (c *Client) LogConsistency(ctx context.Context, shard string, from, to int) (api.LogConsistency, error) {
	return call[api.LogConsistency](ctx, c, get("/v1/log/consistency").with("shard", shard, "from", number(from), "to", number(to)))
}

// LogPolicy says by whom the server would have its evidence checked.
func (c *Client) LogPolicy(ctx context.Context) (api.LogPolicy, error) {
	return call[api.LogPolicy](ctx, c, get("/v1/log/policy"))
}

// LogAnchoring says who is to see the heads of logs, and when that happens next.
func (c *Client) LogAnchoring(ctx context.Context) (api.LogAnchoring, error) {
	return call[api.LogAnchoring](ctx, c, get("/v1/log/anchoring"))
}

// Receipt returns the platform's signed receipt for a step of an instance; 0 is the
// newest. With Config.Policy one that is not signed by a key of the policy, or is of
// another step than was asked for, is ErrForged. It is the platform's word, which whoever
// keeps it can hold against the log; that the step is in the log, LogProof and Evidence
// show.
func (c *Client) Receipt(ctx context.Context, instance string, step int) (api.SignedReceipt, error) {
	r, err := call[api.SignedReceipt](ctx, c, get("/v1/instances/{instance}/receipt", instance).with("step", number(step)))
	if err == nil && c.policy != nil {
		err = c.checkReceipt(r, instance, step)
	}
	if err != nil {
		return api.SignedReceipt{}, err
	}
	return r, nil
}

func (c *Client) checkReceipt(r api.SignedReceipt, instance string, step int) error {
	signed, err := ledger.ParseReceipt([]byte(r.Receipt))
	var leaf ledger.Leaf
	if err == nil {
		leaf, err = c.policy.OpenReceipt(signed)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: the receipt of instance %s: %w", ErrForged, instance, err)
	case !strings.EqualFold(leaf.Object, instance), step != 0 && leaf.Seq != uint64(step), leaf.Seq != uint64(r.Step), ledger.LeafHash(signed.Leaf).String() != r.Leaf:
		return fmt.Errorf("%w: the receipt for step %d of instance %s is of step %d of %s", ErrForged, r.Step, instance, leaf.Seq, leaf.Object)
	}
	return nil
}

// Evidence returns the file that proves one step or entry offline. Every call
// that succeeds leaves an entry in the log that names what was disclosed.
func (c *Client) Evidence(ctx context.Context, in api.EvidenceRequest) ([]byte, error) {
	return c.do(ctx, send("POST", "/v1/evidence", in))
}
