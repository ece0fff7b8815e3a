package access

import (
	"iter"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

type policy struct {
	id   cedar.PolicyID
	body *cedar.Policy
}

// policyList evaluates in file order, so that reasons come in a fixed order.
type policyList []policy

func (l policyList) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, p := range l {
			if !yield(p.id, p.body) {
				return
			}
		}
	}
}

// world is the two entities that a decision is about.
type world struct{ principal, resource types.Entity }

var _ types.EntityGetter = world{}

func newWorld(who Principal, on Resource) world {
	roles := make([]types.Value, len(who.Roles))
	for i, role := range who.Roles {
		roles[i] = types.String(role)
	}
	return world{
		principal: types.Entity{
			UID: types.NewEntityUID("Principal", types.String(who.ID)),
			Attributes: types.NewRecord(types.RecordMap{
				"tenant": types.String(who.Tenant),
				"roles":  types.NewSet(roles...),
			}),
		},
		resource: types.Entity{
			UID:        types.NewEntityUID(types.EntityType(on.Kind), types.String(on.ID)),
			Attributes: types.NewRecord(types.RecordMap{"tenant": types.String(on.Tenant)}),
		},
	}
}

// Get returns the entity with the given id.
func (w world) Get(id types.EntityUID) (types.Entity, bool) {
	switch id {
	case w.principal.UID:
		return w.principal, true
	case w.resource.UID:
		return w.resource, true
	}
	return types.Entity{}, false
}
