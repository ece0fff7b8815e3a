package engine

import (
	"context"
	"encoding/json"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// request makes a use case repeatable: the token is found again when the same
// caller repeats it with the same key, and the print tells whether it really is
// the same request. Both are keyed hashes.
type request struct{ token, print [32]byte }

func (r *request) row() store.Token {
	return store.Token{Kind: store.IdempotencyToken, Token: r.token, Unique: true, Print: r.print[:]}
}

// request returns nil when the caller gave no idempotency key. Body is what the
// request asks for, everything that two equal requests have in common.
func (e *Engine) request(ctx context.Context, c Caller, operation, key string, body any) (*request, error) {
	if key == "" {
		return nil, nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	var r request
	if r.token, err = e.indexToken(ctx, c.Scope.Tenant(), "idempotency", c.Principal+"\x00"+key); err != nil {
		return nil, err
	}
	r.print, err = e.indexToken(ctx, c.Scope.Tenant(), "request", operation+"\x00"+string(text))
	return &r, err
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
	if string(rows[0].Print) != string(r.print[:]) {
		return api.Receipt{}, false, fault.New(fault.Conflict, "the idempotency key was used for another request").
			WithCode("idempotency_mismatch").WithHint("use a new key for a new request")
	}
	steps, err := e.store.Steps(ctx, scope, rows[0].Object, rows[0].Seq-1, 1)
	if err != nil {
		return api.Receipt{}, false, err
	}
	if len(steps) != 1 || steps[0].Seq != rows[0].Seq {
		return api.Receipt{}, false, fault.New(fault.Integrity, "the step of a repeated request is gone").WithCode("tampered")
	}
	return receipt(rows[0].Object, rows[0].Seq, steps[0].Leaf.Hash), true, nil
}
