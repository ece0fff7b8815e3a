package engine

import (
	"context"
	"crypto/ed25519"
	"math"
	"slices"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// LogPolicy returns the policy that this server would have its evidence checked by:
// the platform's keys with the sizes they sign, and what the operator configured for
// its anchor log, witnesses and authority. Whoever relies on evidence takes it once,
// from here or from the operator, and keeps it apart from the evidence.
func (e *Engine) LogPolicy(ctx context.Context, c Caller) (api.LogPolicy, error) {
	return readNow(ctx, e, c, func(c Caller) (api.LogPolicy, error) { return e.logPolicyAs(ctx, c) })
}

func (e *Engine) logPolicyAs(ctx context.Context, c Caller) (api.LogPolicy, error) {
	if err := e.mayCheckEvidence(ctx, c); err != nil {
		return api.LogPolicy{}, err
	}
	shards, err := e.store.Shards(ctx, c.Scope)
	if err != nil {
		return api.LogPolicy{}, err
	}
	links, err := e.provenLinks(ctx, c.Scope)
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

// mayCheckEvidence asks whether a caller reads the log, or could have evidence of anything:
// what that is checked by says no more than the evidence does.
func (e *Engine) mayCheckEvidence(ctx context.Context, c Caller) error {
	if err := e.admitted(c.Scope); err != nil {
		return err
	}
	if c.Rules.Policies.Could(c.Who, access.ExportEvidence, access.Instance, e.circumstances(c)) {
		return nil
	}
	return e.may(ctx, c, access.ReadLog, "log", "")
}

// provenLinks returns the platform's chain, each step with the place that its leaf has
// under the head of its log. A place alone is a row like others: who moves that of a
// revocation would have the policy believe the key that was revoked. The first step
// needs no place: its key counts before any other does.
func (e *Engine) provenLinks(ctx context.Context, scope store.Scope) ([]ledger.KeyLink, error) {
	if _, err := e.platformLinks(ctx, scope); err != nil { // which makes the platform signer
		return nil, err
	}
	r, err := e.registry(ctx, scope)
	if err != nil {
		return nil, err
	}
	links := make([]ledger.KeyLink, len(r.links))
	for i := range r.links {
		l := &r.links[i]
		links[i] = ledger.KeyLink{Log: l.Log, Index: math.MaxUint64, Key: l.Key}
		if i == 0 {
			continue
		}
		err := e.awaitSequenced(ctx, func() (err error) {
			links[i].Index, err = e.provenPlace(ctx, scope, r.platform.id, l)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return links, nil
}

// provenPlace returns the place of a step of the platform's chain, proven under the
// head that is kept beside the keys. Unavailable (code "not_sequenced") when no head
// covers it.
func (e *Engine) provenPlace(ctx context.Context, scope store.Scope, platform store.ID, l *platformLink) (uint64, error) {
	number, index, err := e.store.LogIndex(ctx, scope, platform, l.seq)
	if err != nil {
		return 0, err
	}
	heads, err := e.store.LogHeads(ctx, scope)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(heads, func(h store.LogHead) bool { return h.Origin == l.Log })
	if i < 0 || index >= heads[i].Size {
		return 0, fault.New(fault.Unavailable, "the place %d of step %d of the platform's key is under no signed head of log %s", index, l.seq, l.Log).
			WithCode("not_sequenced").WithHint("that takes a second or two; if it stays, underseal fsck says what is wrong with the log")
	}
	path, err := sequencer.Inclusion(ctx, e.store, scope, number, index, heads[i].Size)
	if err == nil {
		err = ledger.VerifyInclusion(l.leaf, index, heads[i].Size, path, ledger.Hash(heads[i].Root))
	}
	if fault.Is(err, fault.Integrity) {
		err = fault.New(fault.Integrity, "step %d of the platform's key does not stand at place %d of log %s", l.seq, index, l.Log).WithCause(err).
			WithCode("tampered").WithHint("the database was changed behind our back; underseal fsck says what else was")
	}
	return index, err
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
