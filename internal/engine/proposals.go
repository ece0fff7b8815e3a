package engine

import (
	"cmp"
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// Where a tenant wants four eyes, a deployment that makes a new version of a process with
// confidential data waits as a proposal: its files are kept, and their hashes stand in the
// tenant's object, until somebody else who may deploy them approves. So does a mode that
// is set and makes new instances less than confidential.

// Kinds of leaves about proposals, in the tenant's chain.
const (
	deploymentProposed  = "deployment.proposed"
	deploymentApproved  = "deployment.approved"
	deploymentWithdrawn = "deployment.withdrawn"
)

const (
	proposalAge  = 7 * 24 * time.Hour
	maxProposals = 50 // of a tenant
)

// mayDeploy decides about all processes of a deployment: alone is false if a second person
// has to approve.
func (e *Engine) mayDeploy(ctx context.Context, c Caller, plan *deployment) (alone bool, err error) {
	alone = true
	for _, p := range plan.processes {
		on := processResource(c.Scope, p.compiled.ID)
		if on.Confidential, err = e.deploysConfidential(ctx, c.Scope, plan, p); err != nil {
			return false, err
		}
		if e.sees(c, access.Deploy, on) {
			continue
		}
		if !e.seesApproved(c, access.Deploy, on) {
			return false, e.refuse(ctx, c, access.Deploy, "process", p.compiled.ID)
		}
		alone = false
	}
	return alone, nil
}

// maySetMode decides about a setting of a process's mode: alone is false if a second
// person has to approve.
func (e *Engine) maySetMode(ctx context.Context, c Caller, d *definition, setting process.Mode) (alone bool, err error) {
	on := processResource(c.Scope, d.head.process)
	if on.Confidential, err = e.setsOpen(ctx, d, setting); err != nil {
		return false, err
	}
	if e.sees(c, access.SetMode, on) {
		return true, nil
	}
	if !e.seesApproved(c, access.SetMode, on) {
		return false, e.refuse(ctx, c, access.SetMode, "process", d.head.process)
	}
	return false, nil
}

// setsOpen reports whether a setting makes new instances standard that would be
// confidential: of any version, for older ones can be started, too.
func (e *Engine) setsOpen(ctx context.Context, newest *definition, setting process.Mode) (bool, error) {
	for version := newest.head.version; version > 0 && setting != process.Confidential; version-- {
		d, err := e.version(ctx, newest.scope, newest.head.process, version)
		if err != nil {
			return false, err
		}
		if d.modeWith(newest.setting) == process.Confidential && d.modeWith(setting) != process.Confidential {
			return true, nil
		}
	}
	return false, nil
}

// seesApproved decides about what a second person agrees to.
func (e *Engine) seesApproved(c Caller, action access.Action, on access.Resource) bool {
	in := e.circumstances(c)
	in.Approved = true
	return c.Rules.Policies.Decide(c.Who, action, on, in).Allowed
}

// deploysConfidential reports whether a deployment makes a new version of a process with
// confidential data, or of one that had some: what a version calls public may be what the
// one before kept confidential.
func (e *Engine) deploysConfidential(ctx context.Context, scope store.Scope, plan *deployment, p deployedProcess) (bool, error) {
	newest, err := e.version(ctx, scope, p.compiled.ID, 0)
	if fault.Is(err, fault.NotFound) {
		return isConfidential(p.compiled), nil
	}
	if err != nil || newest.compiled.Hash == p.compiled.Hash && maps.Equal(newest.files, plan.formsOf(p.compiled)) {
		return false, err
	}
	return newest.setting == process.Confidential || isConfidential(newest.compiled) || isConfidential(p.compiled), nil
}

// proposeDeployment keeps a deployment until somebody else approves it.
func (e *Engine) proposeDeployment(ctx context.Context, c Caller, plan *deployment, files []api.File, idem string) (api.Deployment, error) {
	var p identity.Proposal
	for _, d := range plan.processes {
		p.Processes = append(p.Processes, d.compiled.ID)
	}
	made, err := e.propose(ctx, c, change{operation: "propose-deployment", idem: idem, body: files}, p, files)
	if err != nil {
		return api.Deployment{}, err
	}
	return api.Deployment{Processes: []api.Process{}, Pending: made}, nil
}

// proposeMode keeps a setting of a process's mode until somebody else approves it.
func (e *Engine) proposeMode(ctx context.Context, c Caller, d *definition, mode, idem string) (api.Process, error) {
	p := identity.Proposal{Processes: []string{d.head.process}, Mode: mode}
	made, err := e.propose(ctx, c, change{operation: "propose-mode " + d.head.process, idem: idemOf(idem, d.head.process), body: mode}, p, nil)
	if err != nil {
		return api.Process{}, err
	}
	out := d.wire()
	out.Pending = made
	return out, nil
}

// propose keeps a proposal, with its files, until somebody else approves it.
func (e *Engine) propose(ctx context.Context, c Caller, ch change, p identity.Proposal, files []api.File) (*api.Proposal, error) {
	ch.name = c.Scope.Tenant()
	t, found, err := e.changeProposals(ctx, c, ch, func(t *tenant) (amendment, error) {
		now := e.moment()
		p.Files, p.ID, p.By, p.Key, p.Made, p.Expires, p.State = nil, refText(t.id, t.head.seq+1), c.Principal, usedKey(c), now, now.Add(proposalAge), identity.Waits
		a := proposalStep(deploymentProposed, &p)
		for _, f := range files {
			r := resourceOf(f.Content)
			p.Files, a.files = append(p.Files, identity.ProposedFile{Name: f.Name, Hash: r.Hash}), append(a.files, r)
		}
		t.Proposals = append(t.undecided(now), p)
		if len(t.Proposals) > maxProposals {
			return a, fault.New(fault.Conflict, "%d deployments wait; more are not possible", maxProposals).WithCode("too_many_proposals").
				WithHint("`underseal processes pending` lists them: approve or withdraw some")
		}
		return a, nil
	})
	if err == nil && found {
		p.ID, err = e.madeAgain(ctx, c, ch)
	}
	if err != nil {
		return nil, err
	}
	i, err := t.proposal(p.ID, e.moment())
	if err != nil {
		return nil, err
	}
	made := wireProposal(t.Proposals[i])
	return &made, nil
}

// undecided returns the proposals that wait, and those that were decided as long as there is
// room for them.
func (t *tenant) undecided(now time.Time) []identity.Proposal {
	list := slices.DeleteFunc(slices.Clone(t.Proposals), func(p identity.Proposal) bool { return !now.Before(p.Expires) })
	for len(list) >= maxProposals {
		i := slices.IndexFunc(list, func(p identity.Proposal) bool { return p.State != identity.Waits })
		if i < 0 {
			return list
		}
		list = slices.Delete(list, i, i+1)
	}
	return list
}

// changeProposals is changeTenant for the caller's own tenant, and says whether the request
// was carried out before.
func (e *Engine) changeProposals(ctx context.Context, c Caller, ch change, edit func(*tenant) (amendment, error)) (t *tenant, found bool, err error) {
	found = true
	may := func(c Caller) error { return e.could(ctx, c, access.Deploy, access.Process, "") }
	t, err = e.changeTenant(ctx, c, ch, may, func(_ Caller, t *tenant) (amendment, error) {
		found = false
		return edit(t)
	})
	return t, found, err
}

// madeAgain returns the id of what an earlier request with the same key made: that of its
// step.
func (e *Engine) madeAgain(ctx context.Context, c Caller, ch change) (string, error) {
	again, err := e.request(ctx, c, ch.operation, ch.idem, ch.body)
	if err != nil {
		return "", err
	}
	earlier, _, err := e.repeated(ctx, c.Scope, again)
	if err != nil {
		return "", err
	}
	id, err := store.ParseID(earlier.Instance)
	return refText(id, earlier.Seq), err
}

// proposalStep returns the amendment that says what became of a proposal.
func proposalStep(kind string, p *identity.Proposal) amendment {
	processes := make(canon.List, len(p.Processes))
	for i, id := range p.Processes {
		processes[i] = canon.String(id)
	}
	said := []canon.Entry{{Name: "id", Value: canon.String(p.ID)}, {Name: "by", Value: canon.String(p.By)}, {Name: "processes", Value: processes}}
	if p.Mode != "" {
		said = append(said, canon.Entry{Name: "mode", Value: canon.String(p.Mode)})
	}
	return amendment{kind: kind, facts: []fieldWrite{{path: "$deployment", value: newContext(said...), label: confidential, fact: true}}}
}

// proposal returns the place of a proposal that is not expired.
func (t *tenant) proposal(id string, now time.Time) (int, error) {
	i := slices.IndexFunc(t.Proposals, func(p identity.Proposal) bool { return p.ID == id && now.Before(p.Expires) })
	if i < 0 {
		return 0, noSuch("pending deployment", id)
	}
	return i, nil
}

func wireProposal(p identity.Proposal) api.Proposal {
	out := api.Proposal{ID: p.ID, By: p.By, Made: p.Made, Expires: p.Expires, Processes: p.Processes, Mode: p.Mode, Files: []api.ProposedFile{}, State: string(p.State), Decided: p.Decided}
	for _, f := range p.Files {
		out.Files = append(out.Files, api.ProposedFile{Name: f.Name, Hash: hex.EncodeToString(f.Hash[:])})
	}
	return out
}

// Proposals lists the deployments that wait for somebody, of processes that the caller may
// deploy.
func (e *Engine) Proposals(ctx context.Context, c Caller) (api.Proposals, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Proposals, error) { return e.proposalsAs(ctx, c) })
}

func (e *Engine) proposalsAs(ctx context.Context, c Caller) (api.Proposals, error) {
	if err := e.could(ctx, c, access.Deploy, access.Process, ""); err != nil {
		return api.Proposals{}, err
	}
	t, err := e.openTenant(ctx, c.Scope)
	if err != nil {
		return api.Proposals{}, err
	}
	out, now := api.Proposals{Items: []api.Proposal{}}, e.moment()
	for _, p := range t.Proposals {
		if p.State == identity.Waits && now.Before(p.Expires) && e.mayDecide(c, p) {
			out.Items = append(out.Items, wireProposal(p))
		}
	}
	return out, nil
}

// mayDecide reports whether somebody may do all that a proposal does.
func (e *Engine) mayDecide(c Caller, p identity.Proposal) bool {
	action := access.Deploy
	if p.Mode != "" {
		action = access.SetMode
	}
	return !slices.ContainsFunc(p.Processes, func(id string) bool {
		on := processResource(c.Scope, id)
		on.Confidential = true
		return !e.seesApproved(c, action, on)
	})
}

// Proposal shows a deployment that waits, with its files.
func (e *Engine) Proposal(ctx context.Context, c Caller, id string) (api.Proposal, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Proposal, error) { return e.proposalAs(ctx, c, id) })
}

func (e *Engine) proposalAs(ctx context.Context, c Caller, id string) (api.Proposal, error) {
	if err := e.could(ctx, c, access.Deploy, access.Process, ""); err != nil {
		return api.Proposal{}, err
	}
	t, err := e.openTenant(ctx, c.Scope)
	if err != nil {
		return api.Proposal{}, err
	}
	p, err := e.decidable(c, t, id)
	if err != nil {
		return api.Proposal{}, err
	}
	out := wireProposal(*p)
	files, err := e.proposedFiles(ctx, t, p)
	for i, f := range files {
		out.Files[i].Content = f.Content
	}
	return out, err
}

// decidable returns a proposal that the caller may see; any other is one that is not there.
func (e *Engine) decidable(c Caller, t *tenant, id string) (*identity.Proposal, error) {
	i, err := t.proposal(id, e.moment())
	if err == nil && !e.mayDecide(c, t.Proposals[i]) {
		err = noSuch("pending deployment", id)
	}
	if err != nil {
		return nil, err
	}
	return &t.Proposals[i], nil
}

func (e *Engine) proposedFiles(ctx context.Context, t *tenant, p *identity.Proposal) ([]api.File, error) {
	files := make([]api.File, len(p.Files))
	for i, f := range p.Files {
		content, err := e.resource(ctx, &t.object, f.Hash)
		if err != nil {
			return nil, err
		}
		files[i] = api.File{Name: f.Name, Content: content}
	}
	return files, nil
}

// WithdrawDeployment ends a proposal: nothing comes of it.
func (e *Engine) WithdrawDeployment(ctx context.Context, c Caller, id string, r api.ReasonRequest) (api.Proposal, error) {
	may := func(c Caller) error { return e.could(ctx, c, access.Deploy, access.Process, "") }
	t, err := e.changeTenant(ctx, c, change{c.Scope.Tenant(), "", "", nil, r.Reason, false}, may, func(c Caller, t *tenant) (amendment, error) {
		p, err := e.waiting(c, t, id)
		if err != nil {
			return amendment{}, err
		}
		p.State, p.Decided = identity.Withdrawn, c.Principal
		return proposalStep(deploymentWithdrawn, p), nil
	})
	if err != nil {
		return api.Proposal{}, err
	}
	i, err := t.proposal(id, e.moment())
	if err != nil {
		return api.Proposal{}, err
	}
	return wireProposal(t.Proposals[i]), nil
}

// waiting returns a proposal that was not decided yet.
func (e *Engine) waiting(c Caller, t *tenant, id string) (*identity.Proposal, error) {
	p, err := e.decidable(c, t, id)
	if err == nil && p.State != identity.Waits {
		err = fault.New(fault.Conflict, "deployment %q is %s, by %s", id, p.State, p.Decided).WithCode("decided")
	}
	return p, err
}

// ApproveDeployment deploys what somebody else proposed. Who approved it already gets the
// same answer again.
func (e *Engine) ApproveDeployment(ctx context.Context, c Caller, id string, r api.ReasonRequest) (api.Deployment, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Deployment, error) { return e.approveDeploymentAs(ctx, c, id, r) })
}

func (e *Engine) approveDeploymentAs(ctx context.Context, c Caller, id string, r api.ReasonRequest) (api.Deployment, error) {
	if err := cmp.Or(e.could(ctx, c, access.Deploy, access.Process, ""), access.CheckReason(r.Reason)); err != nil {
		return api.Deployment{}, err
	}
	lock := e.deploying.of(c.Scope)
	lock.Lock()
	defer lock.Unlock()
	defer e.people.change(c.Scope, c.Scope)()
	c, err := e.present(ctx, c) // what the caller may could have changed meanwhile
	if err == nil {
		err = e.could(ctx, c, access.Deploy, access.Process, "")
	}
	if err != nil {
		return api.Deployment{}, err
	}
	t, err := e.openTenant(ctx, c.Scope)
	if err != nil {
		return api.Deployment{}, err
	}
	p, err := e.decidable(c, t, id)
	if err != nil {
		return api.Deployment{}, err
	}
	if p.State == identity.Approved && p.Decided == c.Principal {
		return e.deployedBefore(ctx, c.Scope, p)
	}
	if p, err = e.waiting(c, t, id); err != nil {
		return api.Deployment{}, err
	}
	if err := e.twoPeople(ctx, c, p); err != nil {
		return api.Deployment{}, err
	}
	return e.deployProposed(ctx, c, t, p, r.Reason)
}

// twoPeople requires that a person approves who is somebody else than who proposed a
// deployment, that neither made the other one up, and that the latter may deploy it still.
// A program may propose.
func (e *Engine) twoPeople(ctx context.Context, c Caller, p *identity.Proposal) error {
	if p.By == c.Principal {
		e.denied(ctx, c, access.Deploy, "process", p.Processes[0])
		return fault.New(fault.Denied, "%s proposed this deployment, and somebody else has to approve it", c.Principal).WithCode("own_proposal")
	}
	if err := isPerson(c); err != nil {
		e.denied(ctx, c, access.Deploy, "process", p.Processes[0])
		return err
	}
	first, proposer, err := e.inPlaceOf(ctx, c, p.By)
	if err != nil {
		return err
	}
	if !e.mayDecide(proposer, *p) {
		return fault.New(fault.Conflict, "%s, who proposed this deployment, may not deploy it any more", p.By).WithCode("proposer_may_not").
			WithHint("withdraw it, and propose the same yourself for somebody else to approve")
	}
	return e.twoSettled(ctx, c, first, p.Key)
}

// deployProposed makes the definitions of a proposal durable together with the step of the
// tenant that says who approved it.
func (e *Engine) deployProposed(ctx context.Context, c Caller, t *tenant, p *identity.Proposal, reason string) (api.Deployment, error) {
	at := e.moment()
	shard, leave, err := e.enterShard(ctx, c.Scope, at)
	if err != nil {
		return api.Deployment{}, err
	}
	defer leave()
	result, made, sets, err := e.realize(ctx, c, t, p, shard)
	if err != nil {
		return api.Deployment{}, err
	}
	p.State, p.Decided, p.Definitions = identity.Approved, c.Principal, nil
	for _, d := range result.Processes {
		p.Definitions = append(p.Definitions, d.Definition)
	}
	a := proposalStep(deploymentApproved, p)
	a.of, a.fields = &t.dossier, t.Fields()
	set, err := e.amended(ctx, amender{act: "admin", actor: actorOf(c), reason: reason}, a, shard, at)
	if err != nil {
		return api.Deployment{}, err
	}
	defer e.people.forget(&t.dossier)
	return result, e.commitDefinitions(ctx, c, made, append(sets, set))
}

// realize makes the definitions of a proposal, which are not durable yet.
func (e *Engine) realize(ctx context.Context, c Caller, t *tenant, p *identity.Proposal, shard string) (api.Deployment, []*definition, []*store.WriteSet, error) {
	if p.Mode != "" {
		return e.realizeMode(ctx, c, p, shard)
	}
	files, err := e.proposedFiles(ctx, t, p)
	if err != nil {
		return api.Deployment{}, nil, nil, err
	}
	plan, err := readDeployment(files)
	if err != nil {
		return api.Deployment{}, nil, nil, err
	}
	plan.shard = shard
	return e.deployAll(ctx, c, plan, files, "")
}

func (e *Engine) realizeMode(ctx context.Context, c Caller, p *identity.Proposal, shard string) (out api.Deployment, made []*definition, sets []*store.WriteSet, err error) {
	setting, err := parseSetting(p.Mode)
	if err != nil {
		return out, nil, nil, err
	}
	d, err := e.version(ctx, c.Scope, p.Processes[0], 0)
	if err != nil {
		return out, nil, nil, err
	}
	if d.setting != setting {
		var set *store.WriteSet
		if d, set, err = e.modeSet(ctx, c, d, setting, shard, nil); err != nil {
			return out, nil, nil, err
		}
		made, sets = []*definition{d}, []*store.WriteSet{set}
	}
	item := d.wire()
	item.Unchanged = made == nil
	out.Processes = []api.Process{item}
	return out, made, sets, nil
}

// deployedBefore returns what came of a proposal.
func (e *Engine) deployedBefore(ctx context.Context, scope store.Scope, p *identity.Proposal) (api.Deployment, error) {
	out := api.Deployment{Processes: []api.Process{}}
	for _, text := range p.Definitions {
		id, err := store.ParseID(text)
		if err != nil {
			return out, err
		}
		d, err := e.definition(ctx, scope, id)
		if err != nil {
			return out, err
		}
		out.Processes = append(out.Processes, d.wire())
	}
	return out, nil
}
