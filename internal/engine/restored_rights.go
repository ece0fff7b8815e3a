package engine

import (
	"context"
	"slices"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Restored data may be of before a right was taken away. What is pinned beside the
// keys says of which objects steps were lost, though not which steps. So a worker's key
// does not count any more if its signer lost some, people and tenants are disabled and
// groups give nothing if they did, and a path by which somebody read the log ends again;
// the rest is named in the log, for people to look at.

// lostValue says what of an object was lost.
func lostValue(b behindPin) canon.Value {
	return newContext(
		canon.Entry{Name: "kind", Value: canon.String(b.pin.Kind)},
		canon.Entry{Name: "object", Value: canon.String(textID(b.pin.Object))},
		canon.Entry{Name: "step", Value: canon.NewNumber(int64(b.at))},
		canon.Entry{Name: "was", Value: canon.NewNumber(int64(b.pin.Seq))},
	)
}

// takeBackAgain ends the rights that may have been taken away by what was lost.
func (e *Engine) takeBackAgain(ctx context.Context, scope store.Scope, lost []behindPin) error {
	for _, b := range lost {
		if b.at == 0 {
			continue
		}
		end := e.endRightsOf
		if b.pin.Kind == store.Signer {
			end = e.revokeAgain
		}
		if err := end(ctx, scope, b); err != nil {
			return err
		}
	}
	return e.revokeReadersAgain(ctx, scope, lost)
}

// revokeAgain ends a worker's key. The platform's is another matter: it has to sign,
// and its chain is in the log whose head is beside the keys.
func (e *Engine) revokeAgain(ctx context.Context, scope store.Scope, b behindPin) error {
	defer e.signers.changing.lock(scope)()
	s, err := e.openSigner(ctx, scope, b.pin.Object)
	if err != nil || s.key.Signer == ledger.PlatformSigner || s.key.Key == (ledger.PublicKey{}) {
		return err
	}
	return e.recordSigner(ctx, s, signerStep{
		kind: ledger.KeyRevoked, act: "engine", actor: engineActor,
		reason: "a restore has lost steps of this signer, by which its key may have been revoked",
	})
}

// revokeReadersAgain ends the paths of readers whose revocation was lost.
func (e *Engine) revokeReadersAgain(ctx context.Context, scope store.Scope, lost []behindPin) error {
	const page = 1000
	for after := (store.ID{}); ; {
		rows, err := e.store.Readers(ctx, scope, after, page)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.ID
			if err := e.revokeReaderAgain(ctx, scope, row, lost); err != nil {
				return err
			}
		}
		if len(rows) < page {
			return nil
		}
	}
}

func (e *Engine) revokeReaderAgain(ctx context.Context, scope store.Scope, row store.ReaderRow, lost []behindPin) error {
	id, err := e.revocationID(ctx, scope, row.ID)
	if err != nil || !slices.ContainsFunc(lost, func(b behindPin) bool { return b.pin.Object == id }) {
		return err
	}
	r, err := e.identity.OpenReader(ctx, scope, row)
	if err != nil || !r.Revoked.IsZero() {
		return err
	}
	return e.revokeReader(ctx, scope, byEngine, &r)
}

// resetPins pins what the restored data has, of all that is no instance. Keys that were
// put in place by other means may know of less, too.
func (e *Engine) resetPins(ctx context.Context, scope store.Scope) error {
	list, err := e.store.Standings(ctx, scope)
	if err != nil {
		return err
	}
	stand := make(map[store.ID]store.Pin, len(list))
	var all []store.Pin
	for _, st := range list {
		leaf, err := e.store.Leaf(ctx, scope, st.Object, st.Seq)
		if err != nil {
			return err
		}
		stand[st.Object] = store.Pin{Object: st.Object, Kind: st.Kind, Seq: st.Seq, Hash: leaf.Hash}
		all = append(all, stand[st.Object])
	}
	pins, err := e.store.Pins(ctx, scope)
	if err != nil {
		return err
	}
	for _, pin := range pins {
		if err := e.resetPin(ctx, scope, pin, stand[pin.Object]); err != nil {
			return err
		}
	}
	return e.store.PutPins(ctx, scope, all...)
}

// resetPin makes a pin that of what stands; the zero Pin: of nothing.
func (e *Engine) resetPin(ctx context.Context, scope store.Scope, pin, stands store.Pin) error {
	if pin.Kind == store.EntryKind {
		leaf, err := e.store.Leaf(ctx, scope, pin.Object, 0)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if err == nil {
			stands = store.Pin{Object: pin.Object, Kind: pin.Kind, Hash: leaf.Hash}
		}
	}
	switch stands {
	case pin:
		return nil
	case store.Pin{}:
		return e.store.LowerPin(ctx, scope, pin, nil)
	}
	return e.store.LowerPin(ctx, scope, pin, &stands)
}
