package access

import (
	"iter"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

type policy struct {
	id   cedar.PolicyID
	body *cedar.Policy
	own  bool // the tenant's
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

// All of the following attributes are always there, so that no policy fails because
// one is missing; those that tenants' policies may name are listed in vocabulary.

func principalEntity(p Principal) types.Entity {
	kind := p.Kind
	if kind == "" {
		kind = User
	}
	return types.Entity{
		UID: types.NewEntityUID(types.EntityType(kind), types.String(p.Name)),
		Attributes: types.NewRecord(types.RecordMap{
			"name":     types.String(p.Name),
			"tenant":   types.String(p.Tenant),
			"roles":    setOf(p.Roles),
			"groups":   setOf(p.Groups),
			"disabled": types.Boolean(p.Disabled || p.TenantDisabled),
		}),
	}
}

func resourceEntity(r *Resource) types.Entity {
	return types.Entity{
		UID: types.NewEntityUID(types.EntityType(r.Kind), types.String(r.ID)),
		Attributes: types.NewRecord(types.RecordMap{
			"tenant":       types.String(r.Tenant),
			"process":      types.String(r.Process),
			"element":      types.String(r.Element),
			"assignee":     types.String(r.Assignee),
			"field":        types.String(r.Field),
			"in_form":      types.Boolean(r.InForm),
			"given":        types.Boolean(r.Given),
			"name":         types.String(r.Name),
			"owner":        types.String(r.Owner),
			"confidential": types.Boolean(r.Confidential),
		}),
	}
}

// facts are what a decision knows besides principal and resource.
type facts struct {
	Circumstances
	scope, candidate bool
	rights           types.Set
}

func (f *facts) record() types.Record {
	return types.NewRecord(types.RecordMap{
		"network":   types.Boolean(f.Network),
		"scope":     types.Boolean(f.scope),
		"held":      types.Boolean(f.Held),
		"four_eyes": types.Boolean(f.FourEyes),
		"approved":  types.Boolean(f.Approved),
		"purpose":   types.String(f.Purpose),
		"candidate": types.Boolean(f.candidate),
		"rights":    f.rights,
	})
}

func setOf[T ~string](names []T) types.Set {
	values := make([]types.Value, len(names))
	for i, n := range names {
		values[i] = types.String(n)
	}
	return types.NewSet(values...)
}
