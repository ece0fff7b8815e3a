// Package access decides whether a principal may do something, and says why.
//
// It is pure: who asks, what for, on what and in which circumstances are given as
// data, and the answer names the policies that led to it. Which grants match is found
// here, since somebody may have a thousand; what follows from that, from roles and
// from circumstances is decided by the policies in policies.cedar and those of the
// tenant, which can but forbid.
package access

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"
	tree "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

//go:embed policies.cedar
var builtin []byte

// Decision is an answer with its reasons.
type Decision struct {
	Allowed  bool
	Policies []string // ids of the policies that decided; none: denied by default
	Failed   []string // ids of policies that could not be evaluated, for which it is denied
	Purpose  string   // if nothing but a grant to reveal or a break-glass allowed it: the request's, or what that has
	Glass    string   // id of the break-glass that allowed it, if nothing else did
}

// Policies is a set of policies. It is immutable and safe for concurrent use.
type Policies struct {
	list    policyList
	reasons map[string]string     // texts by id
	rights  map[Action][]Right    // that permit an action
	byAct   map[Action]policyList // those of list that can apply to an action
	reads   map[Action]*reads     // by these
	kept    *kept
}

// Builtin returns the built-in policies.
func Builtin() (*Policies, error) {
	parsed, err := cedar.NewPolicyListFromBytes("policies.cedar", builtin)
	if err != nil {
		return nil, fmt.Errorf("couldn't parse the built-in policies: %w", err)
	}
	list := make(policyList, 0, len(parsed))
	for i, p := range parsed {
		id, ok := p.Annotations()["id"]
		if !ok {
			return nil, fmt.Errorf("built-in policy %d has no id", i)
		}
		list = append(list, policy{cedar.PolicyID(id), p, false})
	}
	return newPolicies(list, &kept{most: maxKept}), nil
}

func newPolicies(list policyList, k *kept) *Policies {
	p := &Policies{list: list, kept: k, reasons: map[string]string{}, rights: map[Action][]Right{}, byAct: map[Action]policyList{}, reads: map[Action]*reads{}}
	for _, one := range list {
		notes := one.body.Annotations()
		p.reasons[string(one.id)] = string(notes["reason"])
		right, bare := Right(notes["right"]), policy{one.id, ofAnyAction(one.body), one.own}
		for _, a := range actions {
			if !appliesTo(one.body, a) {
				continue
			}
			p.byAct[a] = append(p.byAct[a], bare)
			if p.reads[a] == nil {
				p.reads[a] = &reads{}
			}
			p.reads[a].add(one.body)
			if right != "" && !slices.Contains(p.rights[a], right) {
				p.rights[a] = append(p.rights[a], right)
			}
		}
	}
	return p
}

// appliesTo reports whether a policy's scope can hold for an action. Those for which it
// cannot are not evaluated: it changes no decision and no reason.
func appliesTo(p *cedar.Policy, a Action) bool {
	uid := actionUID(a)
	switch scope := (*ast.Policy)(p.AST()).Action.(type) {
	case ast.ScopeTypeEq:
		return scope.Entity == uid
	case ast.ScopeTypeIn:
		return scope.Entity == uid
	case ast.ScopeTypeInSet:
		return slices.Contains(scope.Entities, uid)
	}
	return true
}

// ofAnyAction returns a policy without the condition on the action, which appliesTo has
// looked at: a long list of actions takes longer than the rest.
func ofAnyAction(p *cedar.Policy) *cedar.Policy {
	bare := *(*ast.Policy)(p.AST())
	bare.Action = ast.ScopeTypeAll{}
	return cedar.NewPolicyFromAST((*tree.Policy)(&bare))
}

func actionUID(a Action) types.EntityUID { return types.NewEntityUID("Action", types.String(a)) }

// Decide answers whether the principal may do the action on the resource. What no
// policy permits is denied, and so is everything when a policy cannot be evaluated.
func (p *Policies) Decide(who *Effective, action Action, on Resource, in Circumstances) Decision {
	q := p.question(who, action, &on, in)
	d := q.decide(all)
	if !d.Allowed {
		return d
	}
	if !slices.ContainsFunc(d.Policies, func(id string) bool { return id != grantReveal && id != breakGlass }) {
		d.Purpose = q.purpose
	}
	if slices.Equal(d.Policies, []string{breakGlass}) {
		d.Glass = q.glass
	}
	return d
}

// FieldsAlike reports whether a decision about a field is the same for all of an instance,
// task or job: no grant of the principal's is on single ones, and no policy of the tenant's
// own may look at them.
func (p *Policies) FieldsAlike(who *Effective, action Action) bool {
	return !p.Own(action) && !slices.ContainsFunc(who.principal.Grants, func(g Grant) bool {
		return len(g.Fields) > 0 && g.Fields[0] != All && slices.Contains(p.rights[action], g.Right)
	})
}

// Ids of the policies that need a purpose. Who has to know a value for their work sees it
// without one.
const (
	grantReveal = "grant-reveal"
	breakGlass  = "break-glass"
)

// question is what policies are evaluated with.
type question struct {
	policies *Policies
	who      *Effective
	action   Action
	on       *Resource
	facts    facts
	purpose  string // of the grant to reveal, or the break-glass, that matched
	glass    string // id of the break-glass that matched
}

func (p *Policies) question(who *Effective, action Action, on *Resource, in Circumstances) question {
	q := question{policies: p, who: who, action: action, on: on}
	q.facts = facts{Circumstances: in, scope: who.inScope(action), candidate: who.isCandidate(on)}
	for _, right := range p.rights[action] {
		g := who.matching(right, on, &in)
		if g == nil {
			continue
		}
		q.facts.rights = append(q.facts.rights, right)
		switch right {
		case ToReveal:
			q.purpose = cmp.Or(in.Purpose, g.Purpose)
		case ByBreakGlass:
			q.glass, q.purpose = g.ID, cmp.Or(q.purpose, in.Purpose, g.Purpose)
		}
	}
	return q
}

// part is which of the policies are asked.
type part byte

const (
	all     part = iota
	permits      // those that permit
	forbids      // built-in ones that forbid: a tenant's own may look at what is not known yet
)

func (p *Policies) of(which part, action Action) policyList {
	list := p.byAct[action]
	if which == all {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(one policy) bool {
		permit := one.body.Effect() == cedar.Permit
		return permit != (which == permits) || which == forbids && one.own
	})
}

// decide returns what the policies say; nobody changes it. What was asked before is not
// evaluated again.
func (q *question) decide(which part) Decision {
	if q.policies.Own(q.action) {
		return q.evaluate(which) // it may look at who or what it is
	}
	return q.who.answers.of(q.policies.kept, q.key(which), func() Decision { return q.evaluate(which) })
}

func (q *question) evaluate(which part) Decision {
	world, request := q.posed()
	verdict, diagnostic := cedar.Authorize(q.policies.of(which, q.action), world, request)
	d := Decision{Allowed: verdict == cedar.Allow && len(diagnostic.Errors) == 0}
	for _, reason := range diagnostic.Reasons {
		d.Policies = append(d.Policies, string(reason.PolicyID))
	}
	for _, failed := range diagnostic.Errors {
		d.Failed = append(d.Failed, string(failed.PolicyID))
	}
	return d
}

// posed returns the question as policies see it.
func (q *question) posed() (world, cedar.Request) {
	names := q.policies.readsOf(q.action)
	w := world{q.who.entity, resourceEntity(q.on, names.resource)}
	return w, cedar.Request{Principal: w.principal.UID, Action: actionUID(q.action), Resource: w.resource.UID, Context: q.facts.record(names.context)}
}

// inScope reports whether the credential that was used is for an action.
func (e *Effective) inScope(a Action) bool {
	return len(e.principal.Scopes) == 0 || slices.ContainsFunc(e.principal.Scopes, func(s Scope) bool { return s.Covers(a) })
}

// isCandidate reports whether a task may be claimed by the principal.
func (e *Effective) isCandidate(on *Resource) bool {
	return slices.Contains(on.Users, e.principal.Name) ||
		slices.ContainsFunc(on.Groups, func(g string) bool { return slices.Contains(e.principal.Groups, g) })
}
