package engine

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// request makes a use case repeatable: the token is found again when the same
// caller repeats it with the same key. Body is what the request asks for.
type request struct {
	token [32]byte
	body  string
}

// request returns nil when the caller gave no idempotency key. Body is
// everything that two equal requests have in common.
func (e *Engine) request(ctx context.Context, c Caller, operation, key string, body any) (*request, error) {
	if key == "" {
		return nil, nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	// A name: clients make the key at random, and a request that is repeated across a
	// rotation of the index key must find the same row.
	token, err := e.indexToken(ctx, c.Scope.Tenant(), "idempotency", c.Principal+"\x00"+key)
	return &request{timeFirst(token, key), operation + "\x00" + string(text)}, err
}

// timeFirst puts the time of an idempotency key that is a UUIDv7, milliseconds
// of 48 bits, before the token, of which 208 bits stay. Rows of requests made
// together then lie together: random ones cost each commit as many pages as it
// has requests, a quarter of the throughput at a million instances.
func timeFirst(token [32]byte, key string) [32]byte {
	id, err := uuid.Parse(key)
	if err != nil || id.Version() != 7 {
		return token
	}
	var ordered [32]byte
	copy(ordered[copy(ordered[:], id[:6]):], token[:])
	return ordered
}

// row is the request's token with its print: a keyed hash of what was asked for
// and of the step it became. A row that was made to point to another step does
// not have the right print, like one of another request. It is of a term: what was
// asked for holds values that could be guessed.
func (e *Engine) row(ctx context.Context, r *request, scope store.Scope, object store.ID, seq uint64) (store.Token, error) {
	print, err := e.termToken(ctx, scope.Tenant(), "request", r.term(object, seq))
	return store.Token{Kind: store.IdempotencyToken, Token: r.token, Unique: true, Print: print[:]}, err
}

func (r *request) term(object store.ID, seq uint64) string {
	return fmt.Sprintf("%s/%d\x00%s", object, seq, r.body)
}

// isOf reports whether a row is that of the request, by the print that it got under
// whichever index key was the newest then.
func (e *Engine) isOf(ctx context.Context, scope store.Scope, row store.TokenRow, r *request) (bool, error) {
	prints, err := e.termTokens(ctx, scope.Tenant(), "request", r.term(row.Object, row.Seq))
	return slices.ContainsFunc(prints, func(print [32]byte) bool { return hmac.Equal(row.Print, print[:]) }), err
}

// requestTokens returns the token that the object's next step leaves for a
// request; none for a request that cannot be repeated.
func (e *Engine) requestTokens(ctx context.Context, o *object, r *request) ([]store.Token, error) {
	if r == nil {
		return nil, nil
	}
	token, err := e.row(ctx, r, o.scope, o.id, o.head.seq+1)
	return []store.Token{token}, err
}

// repeatedDefinition returns the definition that an earlier request with the
// same key made or changed, nil if there was none.
func (e *Engine) repeatedDefinition(ctx context.Context, scope store.Scope, r *request) (*definition, error) {
	earlier, found, err := e.repeated(ctx, scope, r)
	if err != nil || !found {
		return nil, err
	}
	id, err := store.ParseID(earlier.Instance)
	if err != nil {
		return nil, err
	}
	return e.definition(ctx, scope, id)
}

// repeated returns the receipt of an earlier request with the same key. The same
// key with another request is a Conflict.
func (e *Engine) repeated(ctx context.Context, scope store.Scope, r *request) (api.Receipt, bool, error) {
	if r == nil {
		return api.Receipt{}, false, nil
	}
	rows, err := e.store.FindToken(ctx, scope, store.IdempotencyToken, r.token)
	if err != nil || len(rows) == 0 {
		return api.Receipt{}, false, err
	}
	first := rows[0]
	same, err := e.isOf(ctx, scope, first, r)
	if err != nil {
		return api.Receipt{}, false, err
	}
	if !same {
		return api.Receipt{}, false, fault.New(fault.Conflict, "the idempotency key was used for another request").
			WithCode("idempotency_mismatch").WithHint("use a new key for a new request")
	}
	steps, err := e.store.Steps(ctx, scope, first.Object, first.Seq-1, 1)
	if err != nil {
		return api.Receipt{}, false, err
	}
	if len(steps) != 1 || steps[0].Seq != first.Seq {
		return api.Receipt{}, false, fault.New(fault.Integrity, "the step of a repeated request is gone").WithCode("tampered")
	}
	return receipt(first.Object, first.Seq, steps[0].Leaf.Hash), true, nil
}
