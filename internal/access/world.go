package access

import (
	"iter"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
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

// resourceAttributes and contextAttributes are the names of what can be read of a
// resource and of the circumstances, sorted.
var (
	resourceAttributes = []types.String{
		"assignee", "confidential", "element", "field", "given", "in_form", "name", "owner", "process", "tenant",
	}
	contextAttributes = []types.String{"approved", "candidate", "four_eyes", "held", "network", "purpose", "rights", "scope"}
)

// resourceEntity returns a resource with the attributes of these names: to build one takes
// longer than to decide.
func resourceEntity(r *Resource, names []types.String) types.Entity {
	attributes := make(types.RecordMap, len(names))
	for _, name := range names {
		attributes[name] = r.attribute(name)
	}
	return types.Entity{UID: types.NewEntityUID(types.EntityType(r.Kind), types.String(r.ID)), Attributes: types.NewRecord(attributes)}
}

func (r *Resource) attribute(name types.String) types.Value {
	switch name {
	case "assignee":
		return types.String(r.Assignee)
	case "confidential":
		return types.Boolean(r.Confidential)
	case "element":
		return types.String(r.Element)
	case "field":
		return types.String(r.Field)
	case "given":
		return types.Boolean(r.Given)
	case "in_form":
		return types.Boolean(r.InForm)
	case "name":
		return types.String(r.Name)
	case "owner":
		return types.String(r.Owner)
	case "process":
		return types.String(r.Process)
	case "tenant":
		return types.String(r.Tenant)
	}
	panic("access: internal error: a resource has no attribute " + string(name))
}

// facts are what a decision knows besides principal and resource.
type facts struct {
	Circumstances
	scope, candidate bool
	rights           []Right // of the grants that match
}

// record returns the attributes of these names.
func (f *facts) record(names []types.String) types.Record {
	attributes := make(types.RecordMap, len(names))
	for _, name := range names {
		attributes[name] = f.attribute(name)
	}
	return types.NewRecord(attributes)
}

func (f *facts) attribute(name types.String) types.Value {
	switch name {
	case "approved":
		return types.Boolean(f.Approved)
	case "candidate":
		return types.Boolean(f.candidate)
	case "four_eyes":
		return types.Boolean(f.FourEyes)
	case "held":
		return types.Boolean(f.Held)
	case "network":
		return types.Boolean(f.Network)
	case "purpose":
		return types.String(f.Purpose)
	case "rights":
		return setOf(f.rights)
	case "scope":
		return types.Boolean(f.scope)
	}
	panic("access: internal error: circumstances have no attribute " + string(name))
}

// reads are the attributes that some policies read.
type reads struct{ resource, context []types.String }

// readsOf returns what policies read that can apply to an action.
func (p *Policies) readsOf(a Action) *reads {
	if r := p.reads[a]; r != nil {
		return r
	}
	return &everything
}

// everything is what policies can read that are not known yet.
var everything = reads{resourceAttributes, contextAttributes}

// add adds what a policy reads.
func (r *reads) add(p *cedar.Policy) {
	for _, c := range (*ast.Policy)(p.AST()).Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			access, _ := n.(ast.NodeTypeAccess)
			switch of, _ := access.Arg.(ast.NodeTypeVariable); of.Name {
			case "resource":
				r.resource = appendNew(r.resource, access.Value)
			case "context":
				r.context = appendNew(r.context, access.Value)
			}
			return true
		})
	}
}

func setOf[T ~string](names []T) types.Set {
	values := make([]types.Value, len(names))
	for i, n := range names {
		values[i] = types.String(n)
	}
	return types.NewSet(values...)
}
