package engine

import (
	"context"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/ledger"
)

// signingLabel derives the seed of a tenant's signing key (docs/design/sequencer.md).
const signingLabel = "underseal/v1/log-signing\x00"

// CheckpointSigners returns who signs the checkpoints of a tenant's log: the tenant's own key,
// under the name of the log.
func (e *Engine) CheckpointSigners(ctx context.Context, tenant, origin string) ([]note.Signer, error) {
	key, err := e.ring.TenantKey(ctx, tenant, keyring.Log)
	if err != nil {
		return nil, err
	}
	prk, err := envelope.DeriveSecret([]envelope.Key{key})
	if err != nil {
		return nil, err
	}
	seed := envelope.MAC(prk, append([]byte(signingLabel), 1)) // a block of HKDF-Expand is one HMAC
	signer, err := ledger.NoteSigner(origin, seed[:])
	if err != nil {
		return nil, err
	}
	return []note.Signer{signer}, nil
}
