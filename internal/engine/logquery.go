package engine

import (
	"context"
	"encoding/base64"
	"math"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// LogShards lists the tenant's logs with their newest signed heads. They hold no
// values.
func (e *Engine) LogShards(ctx context.Context, c Caller) (api.LogShards, error) {
	return readNow(ctx, e, c, func(c Caller) (api.LogShards, error) { return e.logShardsAs(ctx, c) })
}

func (e *Engine) logShardsAs(ctx context.Context, c Caller) (api.LogShards, error) {
	if err := e.may(ctx, c, access.ReadLog, "log", ""); err != nil {
		return api.LogShards{}, err
	}
	shards, err := e.store.Shards(ctx, c.Scope)
	if err != nil {
		return api.LogShards{}, err
	}
	var out api.LogShards
	for _, s := range shards {
		size, signed, err := e.store.Checkpoint(ctx, c.Scope, s.Number)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return api.LogShards{}, err
		}
		out.Items = append(out.Items, api.LogShard{Name: shardName(s.Origin), Origin: s.Origin, Open: s.Open, Size: size, Checkpoint: string(signed)})
	}
	return out, nil
}

// LogProof proves that the leaf of a step is in its log. It discloses no values.
func (e *Engine) LogProof(ctx context.Context, c Caller, instance string, step int) (api.LogProof, error) {
	return readNow(ctx, e, c, func(c Caller) (api.LogProof, error) { return e.logProofAs(ctx, c, instance, step) })
}

func (e *Engine) logProofAs(ctx context.Context, c Caller, instance string, step int) (api.LogProof, error) {
	if err := e.mayTarget(ctx, c, access.ReadLog, targetInstance, instance); err != nil {
		return api.LogProof{}, err
	}
	id, seq, leaf, err := e.leafOf(ctx, c.Scope, instance, step)
	if err != nil {
		return api.LogProof{}, err
	}
	proof, err := e.awaitProof(ctx, c.Scope, id, seq)
	return api.LogProof{Leaf: leaf.Body, Proof: string(proof.Encode())}, err
}

// leafOf returns a leaf of an instance, also of one that was erased; 0 is the newest
// step. That the instance's chain is whole is not asked: the proof says what the log has.
func (e *Engine) leafOf(ctx context.Context, scope store.Scope, instance string, step int) (id store.ID, seq uint64, leaf store.Leaf, err error) {
	if id, err = parseInstanceID(instance); err != nil {
		return id, 0, leaf, err
	}
	loaded, err := e.store.Load(ctx, scope, id)
	if err == nil && loaded.Kind != store.Instance {
		err = noSuch("instance", instance)
	}
	if err != nil {
		return id, 0, leaf, err
	}
	if seq = uint64(step); step == 0 {
		seq = loaded.Seq
	}
	leaf, err = e.store.Leaf(ctx, scope, id, seq)
	return id, seq, leaf, err
}

// Receipt signs a receipt for a step. The signature is made by the platform's key
// that counts now.
func (e *Engine) Receipt(ctx context.Context, c Caller, instance string, step int) (api.SignedReceipt, error) {
	return readNow(ctx, e, c, func(c Caller) (api.SignedReceipt, error) { return e.receiptAs(ctx, c, instance, step) })
}

func (e *Engine) receiptAs(ctx context.Context, c Caller, instance string, step int) (api.SignedReceipt, error) {
	if err := e.mayTarget(ctx, c, access.ReadLog, targetInstance, instance); err != nil {
		return api.SignedReceipt{}, err
	}
	id, seq, leaf, err := e.leafOf(ctx, c.Scope, instance, step)
	if err == nil {
		err = e.requireGenuine(ctx, c.Scope, id, seq, leaf)
	}
	if err != nil {
		return api.SignedReceipt{}, err
	}
	parsed, err := ledger.ParseLeaf(leaf.Body)
	if err != nil {
		return api.SignedReceipt{}, err
	}
	signers, err := e.PlatformSigners(ctx, c.Scope.Tenant(), parsed.Log, math.MaxInt64)
	if err != nil {
		return api.SignedReceipt{}, err
	}
	receipt, err := ledger.SignReceipt(leaf.Body, signers[0])
	return api.SignedReceipt{Step: int(seq), Leaf: ledger.Hash(leaf.Hash).String(), Receipt: string(receipt.Note())}, err
}

// LogConsistency proves that a log continues itself between two sizes; to 0 is the
// size of its newest signed head.
func (e *Engine) LogConsistency(ctx context.Context, c Caller, q api.ConsistencyQuery) (api.LogConsistency, error) {
	return readNow(ctx, e, c, func(c Caller) (api.LogConsistency, error) { return e.logConsistencyAs(ctx, c, q) })
}

func (e *Engine) logConsistencyAs(ctx context.Context, c Caller, q api.ConsistencyQuery) (api.LogConsistency, error) {
	if err := e.may(ctx, c, access.ReadLog, "log", q.Shard); err != nil {
		return api.LogConsistency{}, err
	}
	number, err := e.shardNamed(ctx, c.Scope, q.Shard)
	if err != nil {
		return api.LogConsistency{}, noSuch("log", q.Shard)
	}
	size, signed, err := e.store.Checkpoint(ctx, c.Scope, number)
	if err != nil {
		return api.LogConsistency{}, err
	}
	from, to := uint64(q.From), uint64(q.To)
	if to == 0 {
		to = size
	}
	if from > to || to > size {
		return api.LogConsistency{}, fault.New(fault.Invalid, "sizes %d and %d do not follow each other in a log of %d entries", from, to, size)
	}
	proof, err := sequencer.Consistency(ctx, e.store, c.Scope, number, from, to)
	if err != nil {
		return api.LogConsistency{}, err
	}
	head, err := ledger.UnverifiedCheckpoint(signed)
	if err != nil {
		return api.LogConsistency{}, err
	}
	out := api.LogConsistency{Origin: head.Origin, From: from, To: to, Checkpoint: string(signed)}
	for _, h := range proof {
		out.Hashes = append(out.Hashes, base64.StdEncoding.EncodeToString(h[:]))
	}
	return out, nil
}
