package engine

import (
	"context"
	"crypto/hmac"
	"slices"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Whatever stands in a tree under a signed head is the platform's word, and a leaf
// alone is made without any key: who invents its values knows what discloses them. So
// each leaf's row has a MAC under the tenant's audit key, without which the sequencer
// takes none.

const leafLabel = "underseal/v1/leaf\x00"

// storedLeaf returns the row of a leaf of an object's step; seq is 0 of a leaf of no
// object, and object the id of its row.
func (e *Engine) storedLeaf(ctx context.Context, scope store.Scope, object store.ID, leaf ledger.Leaf, fields []fieldWrite) (store.Leaf, error) {
	key, err := e.ring.TenantKey(ctx, scope.Tenant(), keyring.Audit)
	if err != nil {
		return store.Leaf{}, err
	}
	row := store.Leaf{Body: leaf.Encode()}
	row.Hash = ledger.LeafHash(row.Body)
	if row.Terms, err = e.leafTerms(ctx, scope, fields); err != nil {
		return store.Leaf{}, err
	}
	row.MAC, err = leafMAC(key, object, leaf.Seq, row)
	return row, err
}

// leafMAC is HKDF-Expand of one block.
func leafMAC(key envelope.Key, object store.ID, seq uint64, row store.Leaf) ([32]byte, error) {
	prk, err := envelope.DeriveSecret([]envelope.Key{key})
	if err != nil {
		return [32]byte{}, err
	}
	info := canon.AppendTuple([]byte(leafLabel), string(object[:]), canon.Uint64(seq), string(row.Hash[:]), string(row.Terms))
	return envelope.MAC(prk, append(info, 1)), nil
}

// Genuine returns what reports whether a server made a leaf: its MAC is under one of
// the tenant's audit keys.
func (e *Engine) Genuine(ctx context.Context, tenant string) (func(object store.ID, seq uint64, leaf store.Leaf) bool, error) {
	keys, err := e.ring.PurposeKeys(ctx, tenant, keyring.Audit)
	if err != nil {
		return nil, err
	}
	return func(object store.ID, seq uint64, leaf store.Leaf) bool {
		return slices.ContainsFunc(keys, func(k envelope.Key) bool {
			mac, err := leafMAC(k, object, seq, leaf)
			return err == nil && hmac.Equal(mac[:], leaf.MAC[:])
		})
	}, nil
}

// requireGenuine refuses a leaf that no server made.
func (e *Engine) requireGenuine(ctx context.Context, scope store.Scope, object store.ID, seq uint64, leaf store.Leaf) error {
	genuine, err := e.Genuine(ctx, scope.Tenant())
	if err != nil {
		return err
	}
	if ledger.LeafHash(leaf.Body) != leaf.Hash || !genuine(object, seq, leaf) {
		return fault.New(fault.Integrity, "the leaf of %s, step %d, was changed or made by no server", textID(object), seq).
			WithCode("tampered").WithHint("the database was changed behind our back; `underseal fsck` names what does not fit")
	}
	return nil
}
