package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/ledger"
)

// entriesIn lists all entries of the logs, of a kind or of all, oldest first.
func entriesIn(t *testing.T, env *testenv.Env, kind string) []api.AuditEntry {
	t.Helper()
	return audit(t, env, api.AuditQuery{AuditFilter: api.AuditFilter{Kind: kind}, OldestFirst: true})
}

// audit lists all that a search finds, in pages of 3.
func audit(t *testing.T, env *testenv.Env, q api.AuditQuery) []api.AuditEntry {
	t.Helper()
	var all []api.AuditEntry
	q.Limit = 3
	for {
		page, err := env.Engine.Audit(t.Context(), env.Ann, q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Items) > 3 {
			t.Fatalf("%d entries on a page of 3", len(page.Items))
		}
		all = append(all, page.Items...)
		if q.After = page.Next; q.After == "" {
			return all
		}
	}
}

// auditable does one of everything that leaves a leaf and is no step of an instance,
// and waits until all of it has its place in the log.
func auditable(t *testing.T, env *testenv.Env) (instance string) {
	t.Helper()
	ctx := t.Context()
	env.Deploy("c.bpmn", classified)
	instance = env.Start("classified", somebody)
	env.Instance(instance) // shows data
	if _, err := env.Engine.Export(ctx, env.Ann, instance); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.SetMode(ctx, env.Ann, "classified", "confidential", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.PlaceHold(ctx, env.Ann, api.HoldRequest{Kind: "subject", ID: "p-2", Reason: "a lawsuit"}, ""); err != nil {
		t.Fatal(err)
	}
	erase(t, env, "subject", "p-1")
	rotated(t, env, api.RotateKeyRequest{Key: "tenant"})
	if _, err := env.Engine.CreateLogReader(ctx, env.Ann, api.LogReaderRequest{Name: "the auditor"}); err != nil {
		t.Fatal(err)
	}
	register(t, env, "scorer", newKey(t))
	refuse(t, env, env.Ann, 1)
	last := env.Start("classified", somebody)
	evidence(t, env, api.EvidenceRequest{Instance: last}) // which is after all the others
	return instance
}

// TestEveryEntryIsProven exports the evidence of every entry of a log, with all that
// it says, and has it checked offline.
func TestEveryEntryIsProven(t *testing.T) {
	if testing.Short() {
		t.Skip("evidence of an entry of each kind")
	}
	t.Parallel()
	onBoth(t, everyEntryIsProven)
}

func everyEntryIsProven(t *testing.T, env *testenv.Env) {
	instance := auditable(t, env)
	all := entriesIn(t, env, "")
	policy := policyOf(t, env)
	kinds := map[string]*ledger.Bundle{}
	for _, x := range all {
		data := evidence(t, env, api.EvidenceRequest{Entry: x.Entry, AllFields: true, Fields: []string{"$actor"}})
		b, leaf := parseBundle(t, data)
		if leaf.Kind != x.Kind || leaf.Object != x.Object || leaf.Seq != x.Step || ledger.LeafHash(b.Leaf).String() != x.Leaf {
			t.Errorf("the evidence of %+v is of %+v", x, leaf)
		}
		all := leaf.N
		if x.Kind == "tenant.created" { // but for the secrets that it has at issuers
			all--
		}
		if gone := x.Object == instance; len(b.Fields) == 0 || !gone && len(b.Fields) != all {
			t.Errorf("%s discloses %q of %d", x.Kind, disclosed(b), leaf.N)
		}
		if kinds[x.Kind] == nil { // the second verifier once of each kind: it takes its time
			bothSay(t, data, policy, ledger.Proven, "")
		} else if r, err := b.Verify(parsedPolicy(t, policy)); err != nil || r.Result != ledger.Proven {
			t.Errorf("%s: %q, %v", x.Kind, r.Result, err)
		}
		kinds[x.Kind] = b
	}
	for _, kind := range []string{
		"log.opened", "access.denied", "data.revealed", "data.exported", "principal.activated", "grant.given", "reader.created", "definition.deployed", "definition.mode_set",
		"hold.placed", "erasure.ordered", "key.destroyed", "erasure.completed", "tenant_key.rotation_ordered", "tenant_key.rotated", "key.registered", "instance.started",
	} {
		if kinds[kind] == nil {
			t.Errorf("no entry of kind %s among %d", kind, len(all))
		}
	}
	if b := kinds["definition.deployed"]; b != nil && b.Model == nil {
		t.Error("the evidence of a deployment lacks the model")
	}
	if b := kinds["data.revealed"]; b != nil && !strings.Contains(string(canon.EncodeJSON(b.Fields[len(b.Fields)-1].Value)), instance) {
		t.Errorf("what was shown is %s, want the instance", canon.EncodeJSON(b.Fields[len(b.Fields)-1].Value))
	}
}

func parsedPolicy(t *testing.T, text string) *ledger.Policy {
	t.Helper()
	p, err := ledger.ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEvidenceOfEntriesRefusesWhatItCannotShow(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	instance := auditable(t, env)
	first := entriesIn(t, env, "")[0].Entry
	shard, _, _ := strings.Cut(first, "/")
	for _, c := range []struct {
		name string
		in   api.EvidenceRequest
		kind fault.Kind
		says string
	}{
		{"nothing", api.EvidenceRequest{}, fault.Invalid, "named"},
		{"an entry and an instance", api.EvidenceRequest{Entry: first, Instance: instance}, fault.Invalid, "named"},
		{"a step of an entry", api.EvidenceRequest{Entry: first, Step: 1}, fault.Invalid, "--step"},
		{"an entry that there is not", api.EvidenceRequest{Entry: shard + "/999999"}, fault.NotFound, "999999"},
		{"a number in another spelling", api.EvidenceRequest{Entry: shard + "/00"}, fault.NotFound, "LOG/NUMBER"},
		{"another log", api.EvidenceRequest{Entry: "1999/0"}, fault.NotFound, "1999/0"},
		{"no place", api.EvidenceRequest{Entry: "x"}, fault.NotFound, "LOG/NUMBER"},
		{"a value that it does not have", api.EvidenceRequest{Entry: first, Fields: []string{"amount"}}, fault.NotFound, "the entry did not write"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := env.Engine.Evidence(t.Context(), env.Ann, c.in); !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %s and %q", err, c.kind, c.says)
			}
		})
	}
}

// Whoever exports an entry is told of as for a step.
func TestTheLogTellsWhatEvidenceOfAnEntryDiscloses(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	auditable(t, env)
	entry := entriesIn(t, env, "data.revealed")[0].Entry
	before := len(entriesOf(t, env, "data.exported"))
	evidence(t, env, api.EvidenceRequest{Entry: entry})
	evidence(t, env, api.EvidenceRequest{Entry: entry, Fields: []string{"$shown"}})
	told := entriesOf(t, env, "data.exported")
	if len(told) != before+1 {
		t.Fatalf("%d entries more, want one: a file without values is not told of", len(told)-before)
	}
	if got := string(canon.EncodeJSON(told[len(told)-1].Fields["$shown"])); !strings.Contains(got, `"paths":["$shown"]`) {
		t.Errorf("the log tells %s", got)
	}
}

// anchors is an anchor log that has nothing yet.
type anchors struct {
	next            time.Time
	delayed, halted error
}

func (a *anchors) Opening(context.Context, store.Scope, int, uint64) ([]byte, ledger.Anchor, error) {
	return nil, ledger.Anchor{}, fault.New(fault.NotFound, "nothing is anchored").WithCode("not_anchored")
}

func (a *anchors) Policy(_ context.Context, p *ledger.Policy) error {
	p.Witnesses, p.Quorum = []ledger.PolicyWitness{{Name: "north"}, {Name: "south"}}, "witnesses"
	p.Groups = []ledger.PolicyGroup{{Name: "witnesses", Threshold: 1, Members: []string{"north", "south"}}}
	return nil
}

func (a *anchors) Schedule() (time.Time, error) { return a.next, a.delayed }
func (a *anchors) Halted() error                { return a.halted }
func (a *anchors) MaySign() error               { return a.halted }

// Evidence that has to be anchored is given out when it is, and discloses nothing
// before; when that will be is said.
func TestEvidenceThatIsNotAnchoredYet(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	id, _, _ := completedLoan(t, env)
	in := api.EvidenceRequest{Instance: id, Fields: []string{"$actor"}, Anchored: true}
	ask := func() (api.LogAnchoring, error) {
		t.Helper()
		if _, err := env.Engine.Evidence(t.Context(), env.Ann, api.EvidenceRequest{Instance: id}); err != nil {
			t.Errorf("without asking for an anchor: %v", err)
		}
		at, err := env.Engine.LogAnchoring(t.Context(), env.Ann)
		if err != nil {
			t.Fatal(err)
		}
		_, err = env.Engine.Evidence(t.Context(), env.Ann, in)
		return at, err
	}
	if at, err := ask(); at.Configured || fault.CodeOf(err) != "no_anchor_log" {
		t.Errorf("without an anchor log: %+v, %v", at, err)
	}
	a := &anchors{next: time.Date(2026, 11, 21, 12, 30, 0, 0, time.UTC), delayed: errors.New("south is away")}
	env.Engine.UseAnchors(a)
	at, err := ask()
	if !fault.Is(err, fault.Unavailable) || fault.CodeOf(err) != "not_anchored" || !strings.Contains(err.Error(), "2026-11-21T12:30:00Z") {
		t.Errorf("before it is anchored: %v", err)
	}
	if !at.Configured || at.Quorum != 1 || len(at.Witnesses) != 2 || at.Timestamp || at.Next == nil || !at.Next.Equal(a.next) || at.Delayed != "south is away" {
		t.Errorf("it is said to be anchored %+v", at)
	}
	a.halted = fault.New(fault.Integrity, "the database was set back").WithCode("anchor_halted")
	if at, err := ask(); fault.CodeOf(err) != "anchor_halted" || at.Next != nil || at.Delayed != "the database was set back" {
		t.Errorf("when nothing is signed any more: %+v, %v", at, err)
	}
	if told := entriesOf(t, env, "data.exported"); len(told) != 0 {
		t.Errorf("%d entries of the log for files that were not given out", len(told))
	}
}

// TestEvidenceDisclosesToWhoMayRead asks for values by the places that steps have in the
// log.
func TestEvidenceDisclosesToWhoMayRead(t *testing.T) {
	t.Parallel() // it waits for the log
	env := testenv.New(t, nil)
	auditable(t, env)
	auditor, viewer := env.Person("aud", "Auditor"), env.Person("vic", "Viewer")
	started := entriesIn(t, env, "instance.started")[0].Entry
	deployed := entriesIn(t, env, "definition.deployed")[0].Entry
	shown := entriesIn(t, env, "data.revealed")[0].Entry
	tests := []struct {
		name    string
		who     engine.Caller
		in      api.EvidenceRequest
		allowed bool
	}{
		{"an Auditor, a step of an instance", auditor, api.EvidenceRequest{Entry: started, AllFields: true}, false},
		{"an Auditor, one of its values", auditor, api.EvidenceRequest{Entry: started, Fields: []string{"$actor"}}, false},
		{"an Auditor, what was shown to whom", auditor, api.EvidenceRequest{Entry: shown, AllFields: true}, true},
		{"an Auditor, a deployment", auditor, api.EvidenceRequest{Entry: deployed, AllFields: true}, true},
		{"a Viewer, a step of an instance", viewer, api.EvidenceRequest{Entry: started, AllFields: true}, true},
		{"a Viewer, what was shown to whom", viewer, api.EvidenceRequest{Entry: shown}, false},
		{"a Viewer, a deployment", viewer, api.EvidenceRequest{Entry: deployed}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := testenv.Proven(func() ([]byte, error) { return env.Engine.Evidence(t.Context(), test.who, test.in) })
			if test.allowed && err != nil || !test.allowed && !fault.Is(err, fault.Denied) {
				t.Errorf("Evidence: %v, want allowed: %v", err, test.allowed)
			}
		})
	}
}

// TestNoEvidenceHoldsASecret exports the evidence of the step by which a company has got a
// client's secret, with all that it says.
func TestNoEvidenceHoldsASecret(t *testing.T) {
	t.Parallel() // it waits for the log
	env := newCompany(t, newStaff(), corp)
	auditor := env.Person("aud", "Auditor")
	env.Deploy("c.bpmn", classified)
	evidence(t, env, api.EvidenceRequest{Instance: env.Start("classified", somebody)}) // which is after all the others
	changed := entriesIn(t, env, "tenant.changed")
	last := changed[len(changed)-1].Entry
	data, err := testenv.Proven(func() ([]byte, error) {
		return env.Engine.Evidence(t.Context(), auditor, api.EvidenceRequest{Entry: last, AllFields: true, Fields: []string{"issuers"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := parseBundle(t, data)
	if len(b.Fields) != 1 {
		t.Errorf("disclosed is %q, want the issuers alone", disclosed(b))
	}
	for _, f := range b.Fields {
		if text := string(canon.EncodeJSON(f.Value)); strings.Contains(text, corp.Secret) || !strings.Contains(text, corp.Client) {
			t.Errorf("%s is disclosed as %s, want the client and not its secret", f.Path, text)
		}
	}
	_, err = env.Engine.Evidence(t.Context(), auditor, api.EvidenceRequest{Entry: last, Fields: []string{identity.SecretsField}})
	if !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), corp.Secret) {
		t.Errorf("the secrets by themselves: %v, want Invalid", err)
	}
	if s, err := env.Engine.Issuers(t.Context(), env.Ann); err != nil || len(s.Items) != 1 || !s.Items[0].SecretSet {
		t.Errorf("the issuers are %+v, %v", s, err)
	}
}
