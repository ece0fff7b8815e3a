package engine_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/ledger"
)

// completedLoan runs a loan whose credit check was signed by a worker, and returns
// the instance with the ids of its job and its task.
func completedLoan(t *testing.T, env *testenv.Env) (id, job, task string) {
	t.Helper()
	deployLoan(t, env)
	key := newKey(t)
	register(t, env, "scorer", key)
	id = env.Start("loan", example(t, "application.json"))
	leased := env.Job("credit-check")
	const result = `{"score": 640}`
	if _, err := completeSigned(t, env, leased, result, signed(t, statementOf(t, leased, time.Now(), result), key)); err != nil {
		t.Fatal(err)
	}
	task = env.Task(id).ID
	env.Complete(id, example(t, "decision.json"))
	return id, leased.ID, task
}

func evidence(t *testing.T, env *testenv.Env, in api.EvidenceRequest) []byte {
	t.Helper()
	data, err := testenv.Proven(func() ([]byte, error) { return env.Engine.Evidence(t.Context(), env.Ann, in) })
	if err != nil {
		t.Fatalf("evidence of %+v: %v", in, err)
	}
	return data
}

func policyOf(t *testing.T, env *testenv.Env) string {
	t.Helper()
	p, err := env.Engine.LogPolicy(t.Context(), env.Ann)
	if err != nil {
		t.Fatal(err)
	}
	return p.Policy
}

// bothSay has both verifiers check a bundle, and requires that they say the same.
func bothSay(t *testing.T, data []byte, policy, result, code string) ledger.Report {
	t.Helper()
	parsed, err := ledger.ParsePolicy([]byte(policy))
	if err != nil {
		t.Fatalf("the policy: %v\n%s", err, policy)
	}
	report, err := ledger.VerifyBundle(data, parsed)
	if report.Result != result || fault.CodeOf(err) != code {
		t.Errorf("the verifier says %q, %v; want %q %s", report.Result, err, result, code)
	}
	if testing.Short() { // the second one needs Python, and takes its time
		return report
	}
	dir := t.TempDir()
	bundle, file := filepath.Join(dir, "b.zip"), filepath.Join(dir, "policy")
	for name, content := range map[string][]byte{bundle: data, file: []byte(policy)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("python3 is missing (test/setup installs it): %v", err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-B", "../../docs/verify/verify.py", bundle, "--policy", file, "--json")
	stdout, err := cmd.Output()
	var second struct{ Result, Code, Error string }
	if json.Unmarshal(stdout, &second) != nil {
		t.Fatalf("the second verifier: %v, %s", err, stdout)
	}
	if second.Result != result || second.Code != code {
		t.Errorf("the second verifier says %+v, want %q %s", second, result, code)
	}
	return report
}

func parseBundle(t *testing.T, data []byte) (*ledger.Bundle, ledger.Leaf) {
	t.Helper()
	b, err := ledger.ParseBundle(data)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ledger.ParseLeaf(b.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	return b, leaf
}

func disclosed(b *ledger.Bundle) []string {
	var paths []string
	for _, f := range b.Fields {
		paths = append(paths, f.Path)
	}
	return paths
}

func TestEvidenceOfATaskIsProvenOffline(t *testing.T) {
	t.Parallel()
	onBoth(t, evidenceIsProven)
}

func evidenceIsProven(t *testing.T, env *testenv.Env) {
	id, job, task := completedLoan(t, env)
	policy := func() string { return policyOf(t, env) }

	t.Run("a task with all its values and who acted", func(t *testing.T) {
		data := evidence(t, env, api.EvidenceRequest{Instance: id, Task: task, AllFields: true, Fields: []string{"$actor"}})
		b, leaf := parseBundle(t, data)
		if leaf.Kind != "instance.task_completed" || leaf.Elem != "decide" {
			t.Errorf("the step is %+v", leaf)
		}
		if paths := disclosed(b); !slices.Contains(paths, "$actor") || len(paths) != leaf.N || b.Model == nil {
			t.Errorf("disclosed are %q of %d, model %t; want all and the model", paths, leaf.N, b.Model != nil)
		}
		bothSay(t, data, policy(), ledger.Proven, "")
	})
	t.Run("a job that its worker signed", func(t *testing.T) {
		data := evidence(t, env, api.EvidenceRequest{Instance: id, Job: job, Fields: []string{"score"}, NoModel: true})
		b, leaf := parseBundle(t, data)
		if paths := disclosed(b); !slices.Equal(paths, []string{"score"}) || b.Statement == nil || len(b.Chain) != 1 || b.Model != nil {
			t.Errorf("disclosed are %q, statement %q, %d links, model %t", paths, b.Statement, len(b.Chain), b.Model != nil)
		}
		report := bothSay(t, data, policy(), ledger.Proven, "")
		if !slices.ContainsFunc(report.Checks, func(c ledger.Check) bool { return strings.Contains(c.Shows, "the signer signed for it") }) {
			t.Errorf("the report of %s does not say that the signer saw the value: %+v", leaf.Kind, report)
		}
	})
	t.Run("nothing is disclosed that was not asked for", func(t *testing.T) {
		data := evidence(t, env, api.EvidenceRequest{Instance: id})
		b, leaf := parseBundle(t, data)
		if leaf.Seq != 3 || len(b.Fields) != 0 {
			t.Errorf("step %d discloses %q, want the newest step and nothing", leaf.Seq, disclosed(b))
		}
		for _, secret := range []string{"ann", "192.0.2.1", "rate"} {
			if strings.Contains(string(b.Leaf), secret) || strings.Contains(string(data), `"`+secret+`"`) {
				t.Errorf("the file holds %q", secret)
			}
		}
		bothSay(t, data, policy(), ledger.Proven, "")
	})
	t.Run("under another tenant's policy it is not believed", func(t *testing.T) {
		other := strings.ReplaceAll(policy(), "platform underseal/", "platform elsewhere/")
		if _, err := ledger.ParsePolicy([]byte(other)); err == nil {
			t.Fatal("a key with another name has the same id")
		}
	})
}

// No entry, no evidence: the log names the instance and the paths, and says nothing
// of an export that discloses no value.
func TestTheLogTellsWhatEvidenceDiscloses(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	id, job, _ := completedLoan(t, env)
	evidence(t, env, api.EvidenceRequest{Instance: id, Step: 3})
	if told := entriesOf(t, env, "data.exported"); len(told) != 0 {
		t.Errorf("%d entries for a file without values", len(told))
	}
	evidence(t, env, api.EvidenceRequest{Instance: id, Job: job, Fields: []string{"score"}})
	told := entriesOf(t, env, "data.exported")
	if len(told) != 1 {
		t.Fatalf("%d entries, want one", len(told))
	}
	if got, want := string(canon.EncodeJSON(told[0].Fields["$shown"])), `[{"object":"`+id+`","paths":["score","$statement"]}]`; got != want {
		t.Errorf("the log tells %s, want %s", got, want)
	}
}

func TestEvidenceRefusesWhatItCannotShow(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	id, _, task := completedLoan(t, env)
	other := env.Start("loan", example(t, "application.json"))
	for _, c := range []struct {
		name string
		in   api.EvidenceRequest
		kind fault.Kind
		says string
	}{
		{"a step that there is not", api.EvidenceRequest{Instance: id, Step: 4}, fault.NotFound, "step 4"},
		{"a task of another instance", api.EvidenceRequest{Instance: other, Task: task}, fault.NotFound, task},
		{"a task that there is not", api.EvidenceRequest{Instance: id, Task: id + ".99"}, fault.NotFound, id + ".99"},
		{"something that is no task", api.EvidenceRequest{Instance: id, Task: "x"}, fault.NotFound, "x"},
		{"a job that is a task", api.EvidenceRequest{Instance: id, Job: task}, fault.NotFound, task},
		{"two steps", api.EvidenceRequest{Instance: id, Step: 1, Task: task}, fault.Invalid, "evidence is of one"},
		{"a field that the step did not write", api.EvidenceRequest{Instance: id, Step: 2, Fields: []string{"applicant"}}, fault.NotFound, "applicant"},
		{"the nonce of a signature", api.EvidenceRequest{Instance: id, Step: 2, Fields: []string{"$nonce"}}, fault.Invalid, "$nonce"},
		{"an instance that there is not", api.EvidenceRequest{Instance: "0192f0c1-0000-7000-8000-000000000002"}, fault.NotFound, "0192f0c1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, err := testenv.Proven(func() ([]byte, error) { return env.Engine.Evidence(t.Context(), env.Ann, c.in) })
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || data != nil {
				t.Errorf("error %v with %d bytes, want %v that says %q and no file", err, len(data), c.kind, c.says)
			}
		})
	}
}

// What was erased is named, and what the same step wrote besides can be proven all
// the same.
func TestEvidenceAfterAnErasure(t *testing.T) {
	t.Parallel()
	onBoth(t, evidenceAfterAnErasure)
}

func evidenceAfterAnErasure(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	whole := evidence(t, env, api.EvidenceRequest{Instance: id, Step: 1, AllFields: true})
	b, _ := parseBundle(t, whole)
	paths := disclosed(b)
	erase(t, env, "subject", "p-1")
	left := evidence(t, env, api.EvidenceRequest{Instance: id, Step: 1, AllFields: true, Fields: []string{"$actor"}})
	b, leaf := parseBundle(t, left)
	remain := disclosed(b)
	if len(remain) < 3 || len(remain) >= leaf.N {
		t.Fatalf("disclosed are %q of %d, want what is about nobody and who acted", remain, leaf.N)
	}
	for _, path := range paths {
		if slices.Contains(remain, path) {
			continue
		}
		_, err := env.Engine.Evidence(t.Context(), env.Ann, api.EvidenceRequest{Instance: id, Step: 1, Fields: []string{path}})
		if !fault.Is(err, fault.Sealed) || fault.CodeOf(err) != "erased" || !strings.Contains(err.Error(), path) {
			t.Errorf("evidence of %q after the erasure: %v, want Sealed and its name", path, err)
		}
	}
	for _, data := range [][]byte{left, whole, evidence(t, env, api.EvidenceRequest{Instance: id, Step: 1})} {
		bothSay(t, data, policyOf(t, env), ledger.Proven, "")
	}
}

// Of an erased instance the leaves are left, and prove that it was.
func TestEvidenceOfAnErasedInstance(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	id, _, task := completedLoan(t, env)
	erase(t, env, "instance", id)
	for step := range 3 {
		data := evidence(t, env, api.EvidenceRequest{Instance: id, Step: step + 1})
		if b, leaf := parseBundle(t, data); leaf.Seq != uint64(step+1) || len(b.Fields) != 0 || b.Statement != nil || b.Model == nil {
			t.Errorf("step %d: %+v with %q", step+1, leaf, disclosed(b))
		}
		bothSay(t, data, policyOf(t, env), ledger.Proven, "")
	}
	for _, in := range []api.EvidenceRequest{{Instance: id, AllFields: true}, {Instance: id, Fields: []string{"score"}}, {Instance: id, Task: task}} {
		if _, err := env.Engine.Evidence(t.Context(), env.Ann, in); !fault.Is(err, fault.Sealed) || !strings.Contains(err.Error(), id) {
			t.Errorf("evidence of %+v: %v, want Sealed and its name", in, err)
		}
	}
}

func TestReceiptsAndProofsOfALog(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	id, _, _ := completedLoan(t, env)
	ctx := t.Context()
	receipt, err := env.Engine.Receipt(ctx, env.Ann, id, 0)
	if err != nil || receipt.Step != 3 {
		t.Fatalf("receipt %+v, %v", receipt, err)
	}
	policy, err := ledger.ParsePolicy([]byte(policyOf(t, env)))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := ledger.ParseReceipt([]byte(receipt.Receipt))
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err := ledger.VerifyReceipt(signed, policy.Logs[0].Key); err != nil || leaf.Seq != 3 || ledger.LeafHash(signed.Leaf).String() != receipt.Leaf {
		t.Errorf("the receipt is of %+v, %v", leaf, err)
	}

	first, err := testenv.Proven(func() (api.LogProof, error) { return env.Engine.LogProof(ctx, env.Ann, id, 1) })
	if err != nil {
		t.Fatal(err)
	}
	proof, err := ledger.ParseLogProof([]byte(first.Proof))
	if err != nil {
		t.Fatal(err)
	}
	old, _, err := proof.Verify(ledger.LeafHash(first.Leaf), policy.Logs[0].Key)
	if err != nil {
		t.Fatalf("the proof of inclusion: %v", err)
	}
	env.Start("loan", example(t, "application.json"))
	evidence(t, env, api.EvidenceRequest{Instance: id, Step: 1}) // leaves an entry
	grown, err := env.Engine.LogConsistency(ctx, env.Ann, api.ConsistencyQuery{Shard: "x", From: int(old.Size)})
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("consistency of a log that there is not: %+v, %v", grown, err)
	}
	shards, err := env.Engine.LogShards(ctx, env.Ann)
	if err != nil || len(shards.Items) != 1 {
		t.Fatalf("logs: %+v, %v", shards, err)
	}
	name := shards.Items[0].Name
	grown, err = env.Engine.LogConsistency(ctx, env.Ann, api.ConsistencyQuery{Shard: name, From: int(old.Size)})
	if err != nil {
		t.Fatal(err)
	}
	head, err := ledger.UnverifiedCheckpoint([]byte(grown.Checkpoint))
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.VerifyConsistency(old.Size, head.Size, hashes(t, grown.Hashes), old.Root, head.Root); err != nil {
		t.Errorf("the proof of consistency: %v", err)
	}
	for _, q := range []api.ConsistencyQuery{{Shard: name, From: 3, To: 2}, {Shard: name, From: 1, To: 1 << 30}} {
		if _, err := env.Engine.LogConsistency(ctx, env.Ann, q); !fault.Is(err, fault.Invalid) {
			t.Errorf("consistency of %+v: %v, want Invalid", q, err)
		}
	}
}

func hashes(t *testing.T, texts []string) []ledger.Hash {
	t.Helper()
	var list []ledger.Hash
	for _, text := range texts {
		var h struct{ H []byte }
		if err := json.Unmarshal([]byte(`{"H":"`+text+`"}`), &h); err != nil || len(h.H) != 32 {
			t.Fatalf("%q is no hash: %v", text, err)
		}
		list = append(list, ledger.Hash(h.H))
	}
	return list
}

// Who may have evidence is given what to check it by, and leaves no refusal; who may have
// neither that nor the log is refused.
func TestWhoMayHaveEvidenceMayCheckIt(t *testing.T) {
	env := testenv.New(t, nil)
	ctx := t.Context()
	key := env.PersonsKey("eve")
	give(t, env, api.GrantRequest{User: "eve", Right: "view", Process: "loan"})
	for _, c := range []engine.Caller{env.Person("vic", "Viewer"), env.Person("pia", "Auditor"), env.SignIn(key)} {
		policy, err := env.Engine.LogPolicy(ctx, c)
		if _, failed := env.Engine.LogAnchoring(ctx, c); err != nil || failed != nil || !strings.Contains(policy.Policy, "platform") {
			t.Errorf("%s: %q, %v, %v", c.Principal, policy.Policy, err, failed)
		}
	}
	if n := len(entriesOf(t, env, "access.denied")); n != 0 {
		t.Errorf("%d refusals are in the log", n)
	}
	for _, c := range []engine.Caller{env.Person("dan", "Executor"), env.Person("dora", "Designer")} {
		_, err := env.Engine.LogPolicy(ctx, c)
		if _, failed := env.Engine.LogAnchoring(ctx, c); !fault.Is(err, fault.Denied) || !fault.Is(failed, fault.Denied) {
			t.Errorf("%s: %v, %v, want Denied", c.Principal, err, failed)
		}
	}
}
