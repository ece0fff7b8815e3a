package engine

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"math"
	"strings"

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
	if err := e.may(ctx, c, access.ReadLog, "instance", instance); err != nil {
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
	if err := e.may(ctx, c, access.ReadLog, "instance", instance); err != nil {
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

// LogPolicy returns the policy that this server would have its evidence checked by:
// the platform's keys with the sizes they sign, and what the operator configured for
// its anchor log, witnesses and authority. Whoever relies on evidence takes it once,
// from here or from the operator, and keeps it apart from the evidence.
func (e *Engine) LogPolicy(ctx context.Context, c Caller) (api.LogPolicy, error) {
	if err := e.may(ctx, c, access.ReadLog, "log", ""); err != nil {
		return api.LogPolicy{}, err
	}
	shards, err := e.store.Shards(ctx, c.Scope)
	if err != nil {
		return api.LogPolicy{}, err
	}
	links, err := e.platformLinks(ctx, c.Scope)
	if err != nil {
		return api.LogPolicy{}, err
	}
	policy := ledger.Policy{Quorum: "none"}
	for _, s := range shards {
		keys, err := platformRanges(links, s.Origin)
		if err != nil {
			return api.LogPolicy{}, err
		}
		policy.Logs = append(policy.Logs, keys...)
	}
	if e.anchors != nil {
		if err := e.anchors.Policy(ctx, &policy); err != nil {
			return api.LogPolicy{}, err
		}
	}
	text := "# " + strings.Join([]string{
		"Whom to believe in evidence of tenant " + c.Scope.Tenant() + " (C2SP tlog-policy, with lines platform and tsa).",
		"A key that is replaced, or a new year's log, makes a new policy; what this one names stays good.",
	}, "\n# ") + "\n"
	return api.LogPolicy{Policy: text + string(policy.Encode())}, nil
}

// platformRanges are the keys that sign one of a tenant's logs, each with the sizes
// that it signs: from the first one that covers its registration to the last one that
// does not cover what replaced it.
func platformRanges(links []ledger.KeyLink, origin string) ([]ledger.PolicyLog, error) {
	starts := []uint64{0}
	for _, l := range links {
		if l.Log == origin && l.Index < math.MaxInt64 {
			starts = append(starts, l.Index+1)
		}
	}
	var list []ledger.PolicyLog
	for i, first := range starts {
		last := uint64(math.MaxUint64)
		if i+1 < len(starts) {
			last = starts[i+1] - 1
		}
		key, ok := ledger.PlatformKeyAt(links, origin, first)
		if !ok || last < first {
			continue
		}
		if n := len(list); n > 0 && list[n-1].Last+1 == first && list[n-1].Key.Public().Equal(ed25519Key(key)) {
			list[n-1].Last = last
			continue
		}
		v, err := ledger.ParseVerifier(ledger.VerifierKey(origin, ed25519Key(key)))
		if err != nil {
			return nil, err
		}
		list = append(list, ledger.PolicyLog{Key: v, First: first, Last: last, Limited: true})
	}
	return list, nil
}

func ed25519Key(k ledger.PublicKey) ed25519.PublicKey { return k.Bytes() }
