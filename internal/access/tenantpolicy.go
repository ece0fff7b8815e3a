package access

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/underseal/underseal/internal/fault"
)

// Limits of a tenant's own policies.
const (
	MaxPolicies    = 50
	MaxPolicyBytes = 16 << 10
)

// TenantPolicies are the policies of a tenant's own: forbids in Cedar. They are
// immutable.
type TenantPolicies struct {
	text string
	list policyList
}

// Text returns the policies as they were given.
func (t *TenantPolicies) Text() string { return t.text }

// IDs returns the ids of the policies, in order.
func (t *TenantPolicies) IDs() []string {
	ids := make([]string, len(t.list))
	for i, p := range t.list {
		ids[i] = string(p.id)
	}
	return ids
}

// Reason returns what the policy of an id tells people, "" if nothing.
func (t *TenantPolicies) Reason(id string) string {
	for _, p := range t.list {
		if string(p.id) == id {
			return string(p.body.Annotations()["reason"])
		}
	}
	return ""
}

// Own reports whether a policy of the tenant's own can apply to an action.
func (p *Policies) Own(a Action) bool {
	return slices.ContainsFunc(p.byAct[a], func(one policy) bool { return one.own })
}

// With returns the policies together with those of a tenant; nil adds none.
func (p *Policies) With(t *TenantPolicies) *Policies {
	if t == nil || len(t.list) == 0 {
		return p
	}
	return newPolicies(slices.Concat(p.list, t.list), p.kept)
}

// LocksOut reports whether somebody could not read and set the tenant's policies any more,
// asking from an allowed network with a credential for everything: whatever the tenant sets
// besides, which may change later.
func (p *Policies) LocksOut(a *Effective, now time.Time) bool {
	on := Resource{Kind: Policy, Tenant: a.principal.Tenant}
	return slices.ContainsFunc([]bool{false, true}, func(fourEyes bool) bool {
		in := Circumstances{Now: now, Network: true, FourEyes: fourEyes}
		return !p.Decide(a, SetPolicy, on, in).Allowed || !p.Decide(a, ReadPolicy, on, in).Allowed
	})
}

// ParseTenantPolicies parses a tenant's own policies and tries them. Each is a forbid
// with an @id that no other has, may have a @reason, and names only entities, actions
// and attributes that there are. Anything else is Invalid ("invalid_policies"); the
// place of each detail is "line:column" in the text.
func (p *Policies) ParseTenantPolicies(text string) (*TenantPolicies, error) {
	if len(text) > MaxPolicyBytes {
		return nil, refusedPolicies(fault.Detail{Place: "1:1", Message: fmt.Sprintf("has more than %d bytes in all; say less", MaxPolicyBytes)})
	}
	parsed, err := cedar.NewPolicyListFromBytes("", []byte(text))
	if err != nil {
		return nil, refusedPolicies(syntaxDetail(err))
	}
	if len(parsed) > MaxPolicies {
		return nil, refusedPolicies(detailAt(parsed[MaxPolicies], fmt.Sprintf("is one of more than %d policies; join some", MaxPolicies)))
	}
	t := &TenantPolicies{text: text}
	var wrong []fault.Detail
	for _, one := range parsed {
		id := string(one.Annotations()["id"])
		messages := slices.Concat(p.checkHead(one, id, t), newWalk(one).wrong, checkHeld(one))
		if len(messages) == 0 {
			messages = try(one)
		}
		for _, message := range messages {
			wrong = append(wrong, detailAt(one, message))
		}
		t.list = append(t.list, policy{cedar.PolicyID(id), one, true})
	}
	if len(wrong) > 0 {
		return nil, refusedPolicies(wrong...)
	}
	return t, nil
}

func refusedPolicies(details ...fault.Detail) error {
	return fault.New(fault.Invalid, "the policies cannot be used").WithCode("invalid_policies").WithDetails(details...)
}

func detailAt(p *cedar.Policy, message string) fault.Detail {
	at := p.Position()
	return fault.Detail{Place: fmt.Sprintf("%d:%d", at.Line, at.Column), Message: message}
}

var position = regexp.MustCompile(`\b(\d+):(\d+)\b:?`)

// syntaxDetail takes the place out of the parser's message.
func syntaxDetail(err error) fault.Detail {
	text := strings.TrimPrefix(err.Error(), "parser error: ")
	at := position.FindStringSubmatch(text)
	if at == nil {
		return fault.Detail{Place: "1:1", Message: "is no Cedar: " + text}
	}
	return fault.Detail{Place: at[1] + ":" + at[2], Message: "is no Cedar: " + text}
}

var policyID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// maxReason bounds the bytes of a reason.
const maxReason = 255

// checkHead returns what is wrong with a policy's effect and annotations.
func (p *Policies) checkHead(one *cedar.Policy, id string, before *TenantPolicies) []string {
	var wrong []string
	if one.Effect() != cedar.Forbid {
		wrong = append(wrong, "is a permit; policies can only forbid, give a role or a grant instead")
	}
	_, taken := p.reasons[id]
	switch {
	case !policyID.MatchString(id):
		wrong = append(wrong, fmt.Sprintf("has the id %q; give it an @id of a-z, 0-9 and -, at most 64", id))
	case taken:
		wrong = append(wrong, fmt.Sprintf("has the id %q of a built-in policy; give it another", id))
	case slices.Contains(before.IDs(), id):
		wrong = append(wrong, fmt.Sprintf("has the id %q of another one; give it another", id))
	}
	for _, note := range (*ast.Policy)(one.AST()).Annotations {
		name, value := note.Key, note.Value
		if name != "id" && name != "reason" {
			wrong = append(wrong, fmt.Sprintf("has an annotation @%s; there are @id and @reason", name))
		}
		if name == "reason" && (len(value) > maxReason || !oneLine(string(value), false)) {
			wrong = append(wrong, fmt.Sprintf("has a long reason; write one line of at most %d bytes", maxReason))
		}
	}
	return wrong
}

// checkHeld refuses a policy that reads whether something is held, for more than the one
// action for which that is known: it would never apply.
func checkHeld(one *cedar.Policy) []string {
	var r reads
	r.add(one)
	if !slices.Contains(r.context, "held") || !slices.ContainsFunc(actions, func(a Action) bool { return a != OrderErasure && appliesTo(one, a) }) {
		return nil
	}
	return []string{fmt.Sprintf("reads context.held, which is known for %[1]s alone; write action == Action::%[1]q before the conditions", OrderErasure)}
}

// trial is a question as a policy sees it.
type trial struct {
	world
	request cedar.Request
}

// trials are questions of each action on each kind of resources.
var trials = sync.OnceValue(func() []trial {
	var none Policies
	var list []trial
	for _, kind := range []string{User, Service} {
		who := Principal{Name: "ann", Kind: kind, Tenant: MainTenant, Roles: []Role{Admin}, Groups: []string{"clerks"}}.Effective()
		for _, a := range actions {
			for _, k := range Kinds() {
				q := none.question(who, a, &Resource{Kind: k, Tenant: MainTenant}, Circumstances{Network: true})
				world, request := q.posed()
				list = append(list, trial{world, request})
			}
		}
	}
	return list
})

// try evaluates a policy for every action and kind of resources, and returns why it
// fails, if it does: what fails would deny everything that it applies to.
func try(one *cedar.Policy) []string {
	for _, t := range trials() {
		if _, d := cedar.Authorize(policyList{{body: one}}, t.world, t.request); len(d.Errors) > 0 {
			return []string{fmt.Sprintf("cannot be evaluated for %s on a %s: %s", t.request.Action.ID, t.request.Resource.Type, d.Errors[0].Message)}
		}
	}
	return nil
}
