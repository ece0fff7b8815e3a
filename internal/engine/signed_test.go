package engine_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/ledger"
)

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newP256(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicKey(t testing.TB, key crypto.Signer) ledger.PublicKey {
	t.Helper()
	public, err := ledger.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// register registers a key for Ann, whom the tests' workers call as.
func register(t testing.TB, env *testenv.Env, name string, key crypto.Signer) api.Signer {
	t.Helper()
	public := publicKey(t, key)
	s, err := env.Engine.RegisterSigner(t.Context(), env.Ann,
		api.SignerRequest{Name: name, Principal: env.Ann.Principal, Alg: public.Alg(), Public: public.Text()}, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var testNonce = ledger.Hash{1, 2, 3}

// statementOf is what an honest worker says of a job it completed.
func statementOf(t testing.TB, job api.Job, at time.Time, result string) ledger.Statement {
	t.Helper()
	v, err := canon.DecodeJSON([]byte(result))
	if err != nil {
		t.Fatal(err)
	}
	values, err := ledger.Bind(testNonce, ledger.Flatten(v.(*canon.Context)))
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Statement{
		Kind: ledger.JobCompleted, Deployment: job.Deployment, Tenant: job.Tenant, Instance: job.Instance, Element: job.Element,
		Process: job.Process, Version: job.Version, Model: job.Model, Job: job.ID, Lease: job.Lease,
		At: at.UTC().Format(ledger.TimeLayout), Values: values,
	}
}

func signed(t testing.TB, s ledger.Statement, key crypto.Signer) *api.Signed {
	t.Helper()
	_, envelope, err := s.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return &api.Signed{Envelope: string(envelope), Nonce: testNonce.String()}
}

func completeSigned(t testing.TB, env *testenv.Env, job api.Job, result string, s *api.Signed) (api.Receipt, error) {
	t.Helper()
	return env.Engine.CompleteJob(t.Context(), env.Ann, job.ID,
		api.CompleteJobRequest{Lease: job.Lease, Variables: json.RawMessage(result), Signed: s}, "")
}

func oneJob(t *testing.T, env *testenv.Env) api.Job {
	t.Helper()
	list := jobs(t, env, 0)
	if len(list) != 1 {
		t.Fatalf("%d jobs, want one", len(list))
	}
	return list[0]
}

const score = `{"score": 712.50, "applicant": {"id": 17}}`

func TestASignedResult(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(testing.TB) crypto.Signer{"Ed25519": newKey, "P-256": newP256} {
		t.Run(name, func(t *testing.T) {
			env := testenv.New(t, nil)
			env.Deploy("timed.bpmn", withTimer)
			key := make(t)
			signer := register(t, env, "scorer", key)
			id := env.Start("timed", `{}`)
			job := oneJob(t, env)
			s := signed(t, statementOf(t, job, time.Now(), score), key)
			done, err := completeSigned(t, env, job, score, s)
			if err != nil {
				t.Fatal(err)
			}
			leaf, values, err := engine.PastStep(t.Context(), env.Engine, env.Ann, id, done.Seq)
			if err != nil {
				t.Fatal(err)
			}
			statement := []byte(values["$statement"].(canon.String))
			if want := ledger.Challenge(statement); leaf.Stmt != want.String() || leaf.Key != signer.Leaf {
				t.Errorf("the leaf has statement %s and key %s, want %s and %s", leaf.Stmt, leaf.Key, want, signer.Leaf)
			}
			said, err := ledger.VerifyWorker(statement, []byte(values["$signature"].(canon.String)), publicKey(t, key))
			if err != nil {
				t.Fatal(err)
			}
			nonce, err := ledger.ParseHash(string(values["$nonce"].(canon.String)))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{"score", "applicant"} {
				if shown := said.Disclose(nonce, path, values[path]); len(shown) == 0 {
					t.Errorf("the statement does not bind the field %q that was written", path)
				}
			}
			steps, err := env.Engine.Steps(t.Context(), env.Ann, id, pageOf(0))
			if err != nil || len(steps.Items) != 2 {
				t.Fatalf("%d steps, %v", len(steps.Items), err)
			}
		})
	}
}

// TestWrongSignaturesAreRefused: whatever is wrong, nothing is written and the job
// is the worker's as before.
func TestWrongSignaturesAreRefused(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("timed.bpmn", withTimer)
	key, other := newKey(t), newKey(t)
	register(t, env, "scorer", key)
	public := publicKey(t, other)
	if _, err := env.Engine.RegisterSigner(t.Context(), env.Ann, api.SignerRequest{
		Name: "of bob", Principal: "bob", Alg: public.Alg(), Public: public.Text()}, ""); err != nil {
		t.Fatal(err)
	}
	id := env.Start("timed", `{}`)
	job := oneJob(t, env)
	before := env.Instance(id).Seq
	good := func(edit func(*ledger.Statement)) *api.Signed {
		s := statementOf(t, job, time.Now(), score)
		edit(&s)
		return signed(t, s, key)
	}
	keep := func(*ledger.Statement) {}
	wrongNonce := good(keep)
	wrongNonce.Nonce = ledger.Hash{9}.String()
	noNonce := good(keep)
	noNonce.Nonce = "x"
	spaced := good(keep)
	spaced.Envelope = strings.Replace(spaced.Envelope, ",", ", ", 1)
	forged := good(keep)
	forged.Envelope = strings.Replace(forged.Envelope, `"sig":"`, `"sig":"AAAA`, 1)
	tests := []struct {
		name string
		by   *api.Signed
		code string
	}{
		{"another job", good(func(s *ledger.Statement) { s.Job = s.Instance + ".99" }), "signature_other_work"},
		{"another try", good(func(s *ledger.Statement) { s.Lease = "1." + strings.Repeat("0", 32) }), "signature_other_work"},
		{"another instance", good(func(s *ledger.Statement) { s.Instance = "00000000-0000-7000-8000-000000000000" }), "signature_other_work"},
		{"another model", good(func(s *ledger.Statement) { s.Model = ledger.Hash{1}.String() }), "signature_other_work"},
		{"another version", good(func(s *ledger.Statement) { s.Version++ }), "signature_other_work"},
		{"another element", good(func(s *ledger.Statement) { s.Element = "late" }), "signature_other_work"},
		{"another tenant", good(func(s *ledger.Statement) { s.Tenant = "other" }), "signature_other_work"},
		{"another deployment", good(func(s *ledger.Statement) { s.Deployment = "other" }), "signature_other_work"},
		{"a failure", good(func(s *ledger.Statement) { s.Kind = ledger.JobFailed }), "signature_other_work"},
		{"another result", good(func(s *ledger.Statement) { s.Values = statementOf(t, job, time.Now(), `{"score":1}`).Values }), "signature_other_result"},
		{"no result", good(func(s *ledger.Statement) { s.Values = nil }), "signature_other_result"},
		{"another nonce", wrongNonce, "signature_other_result"},
		{"a clock behind", good(func(s *ledger.Statement) { s.At = statementOf(t, job, time.Now().Add(-25*time.Hour), score).At }), "signature_time"},
		{"a clock ahead", good(func(s *ledger.Statement) { s.At = statementOf(t, job, time.Now().Add(6*time.Minute), score).At }), "signature_time"},
		{"no nonce", noNonce, "invalid"},
		{"another spelling", spaced, "signature_malformed"},
		{"a forged signature", forged, "signature_wrong"},
		{"a key that is not registered", signed(t, statementOf(t, job, time.Now(), score), newKey(t)), "signer_unknown"},
		{"the key of somebody else", signed(t, statementOf(t, job, time.Now(), score), other), "signer_other_principal"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := completeSigned(t, env, job, score, test.by)
			if fault.CodeOf(err) != test.code || !fault.Is(err, fault.Denied) && test.code != "invalid" {
				t.Errorf("error %v (%s), want Denied with code %s", err, fault.CodeOf(err), test.code)
			}
			if got := env.Instance(id).Seq; got != before {
				t.Fatalf("step %d was written", got)
			}
		})
	}
	if _, err := completeSigned(t, env, job, score, good(keep)); err != nil {
		t.Errorf("the right one afterwards: %v", err)
	}
}

// A statement is worth nothing for a later try of the same job, nor for another job
// of the same kind.
func TestASignatureIsNotReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		env.Deploy("timed.bpmn", withTimer)
		key := newKey(t)
		register(t, env, "scorer", key)
		env.Start("timed", `{}`)
		first := oneJob(t, env)
		old := signed(t, statementOf(t, first, time.Now(), score), key)
		time.Sleep(2 * time.Minute) // the lease ends
		synctest.Wait()
		second := oneJob(t, env)
		if second.ID != first.ID || second.Lease == first.Lease {
			t.Fatalf("the job was not handed out again: %+v", second)
		}
		if _, err := completeSigned(t, env, second, score, old); fault.CodeOf(err) != "signature_other_work" {
			t.Errorf("the statement of the first try with the second lease: %v", err)
		}
		if _, err := completeSigned(t, env, first, score, old); !fault.Is(err, fault.Conflict) {
			t.Errorf("the statement of the first try with its lease: %v", err)
		}
		if _, err := completeSigned(t, env, second, score, signed(t, statementOf(t, second, time.Now(), score), key)); err != nil {
			t.Errorf("a statement of the second try: %v", err)
		}
	})
}

func TestFailuresAndErrorsAreSigned(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("timed.bpmn", withTimer)
	key := newKey(t)
	register(t, env, "scorer", key)
	id := env.Start("timed", `{}`)
	job := oneJob(t, env)
	s := statementOf(t, job, time.Now(), `{}`)
	s.Kind = ledger.JobFailed
	bind := func(list []ledger.Bound) []ledger.Hash {
		values, err := ledger.Bind(testNonce, list)
		if err != nil {
			t.Fatal(err)
		}
		return values
	}
	s.Values = bind(ledger.Failure("no model"))
	retries := 2
	fail := func(message string) error {
		backoff := 0
		_, err := env.Engine.FailJob(t.Context(), env.Ann, job.ID, api.FailJobRequest{
			Lease: job.Lease, Message: message, Retries: &retries, BackoffMS: &backoff, Signed: signed(t, s, key)}, "")
		return err
	}
	if err := fail("another text"); fault.CodeOf(err) != "signature_other_result" {
		t.Errorf("another message: %v", err)
	}
	if err := fail("no model"); err != nil {
		t.Fatal(err)
	}
	job = oneJob(t, env)
	s = statementOf(t, job, time.Now(), `{}`)
	s.Kind = ledger.JobErrored
	thrown := canon.Value(canon.Bool(true))
	result := (&canon.Context{}).With("why", thrown)
	s.Values = bind(ledger.Thrown("NO", "refused", result))
	throw := func(code string) error {
		_, err := env.Engine.ErrorJob(t.Context(), env.Ann, job.ID, api.ErrorJobRequest{
			Lease: job.Lease, Code: code, Message: "refused", Variables: json.RawMessage(`{"why":true}`), Signed: signed(t, s, key)}, "")
		return err
	}
	if err := throw("YES"); fault.CodeOf(err) != "signature_other_result" {
		t.Errorf("another code: %v", err)
	}
	if err := throw("NO"); err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[uint64]bool{1: false, 2: true, 3: true} {
		leaf, _, err := engine.PastStep(t.Context(), env.Engine, env.Ann, id, seq)
		if err != nil || (leaf.Stmt != "") != want || (leaf.Key != "") != want {
			t.Errorf("step %d is signed: %t, want %t (%v)", seq, leaf.Stmt != "", want, err)
		}
	}
}

// Once a key is revoked or replaced, nothing counts that is signed with it.
func TestARevokedKeySignsNothing(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("timed.bpmn", withTimer)
	key, next := newKey(t), newKey(t)
	first := register(t, env, "scorer", key)
	env.Start("timed", `{}`)
	job := oneJob(t, env)
	by := func(k crypto.Signer) error {
		_, err := completeSigned(t, env, job, score, signed(t, statementOf(t, job, time.Now(), score), k))
		return err
	}
	public := publicKey(t, next)
	rotated, err := env.Engine.RotateSigner(t.Context(), env.Ann, "scorer", api.RotateSignerRequest{Alg: public.Alg(), Public: public.Text()}, "")
	if err != nil || rotated.Leaf == first.Leaf || !slices.Equal(rotated.Former, []string{publicKey(t, key).ID()}) {
		t.Fatalf("%+v, %v", rotated, err)
	}
	if err := by(key); fault.CodeOf(err) != "signer_revoked" {
		t.Errorf("the replaced key: %v", err)
	}
	revoked, err := env.Engine.RevokeSigner(t.Context(), env.Ann, "scorer", api.RevokeSignerRequest{Reason: "stolen"}, "")
	if err != nil || revoked.State != "revoked" || revoked.Key != "" {
		t.Fatalf("%+v, %v", revoked, err)
	}
	if err := by(next); fault.CodeOf(err) != "signer_revoked" {
		t.Errorf("the revoked key: %v", err)
	}
	env.Restart(nil)
	if err := by(next); fault.CodeOf(err) != "signer_revoked" {
		t.Errorf("the revoked key after a restart: %v", err)
	}
	for name, k := range map[string]crypto.Signer{"scorer": key, "another": next} {
		public := publicKey(t, k)
		if _, err := env.Engine.RegisterSigner(t.Context(), env.Ann, api.SignerRequest{
			Name: name, Principal: env.Ann.Principal, Alg: public.Alg(), Public: public.Text()}, ""); fault.CodeOf(err) != "signer_key_used" {
			t.Errorf("a revoked key registered again as %q: %v", name, err)
		}
	}
	last := newKey(t)
	register(t, env, "scorer", last)
	if err := by(last); err != nil {
		t.Errorf("a new key after the revocation: %v", err)
	}
}

const mustSign = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" xmlns:seal="urn:underseal:bpmn:1" targetNamespace="x">
<process id="strict" isExecutable="true"><startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="work"/>
<serviceTask id="work" seal:signed="required"><extensionElements><zeebe:taskDefinition type="work"/></extensionElements></serviceTask>
<sequenceFlow id="b" sourceRef="work" targetRef="done"/><endEvent id="done"/></process></definitions>`

func TestAModelCanRequireSignatures(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("strict.bpmn", mustSign)
	key := newKey(t)
	register(t, env, "scorer", key)
	id := env.Start("strict", `{}`)
	job := oneJob(t, env)
	if _, err := completeSigned(t, env, job, score, nil); fault.CodeOf(err) != "signature_required" || !fault.Is(err, fault.Denied) {
		t.Errorf("an unsigned result: %v", err)
	}
	_, err := env.Engine.ErrorJob(t.Context(), env.Ann, job.ID, api.ErrorJobRequest{Lease: job.Lease, Code: "NO"}, "")
	if fault.CodeOf(err) != "signature_required" {
		t.Errorf("an unsigned BPMN error: %v", err)
	}
	if got := env.Instance(id).Seq; got != 1 {
		t.Fatalf("step %d was written", got)
	}
	if _, err := completeSigned(t, env, job, score, signed(t, statementOf(t, job, time.Now(), score), key)); err != nil {
		t.Errorf("a signed result: %v", err)
	}
}

func TestSigners(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	key, other := publicKey(t, newKey(t)), publicKey(t, newP256(t))
	call := func(name string, key ledger.PublicKey, idem string) (api.Signer, error) {
		return env.Engine.RegisterSigner(t.Context(), env.Ann, api.SignerRequest{Name: name, Principal: "ann", Alg: key.Alg(), Public: key.Text()}, idem)
	}
	first, err := call("b", key, "key-1")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := call("b", key, "key-1"); err != nil || again.Leaf != first.Leaf {
		t.Errorf("the same request again: %+v, %v", again, err)
	}
	refused := map[string]error{}
	_, refused["signer_exists"] = call("b", other, "")
	_, refused["signer_key_used"] = call("a", key, "")
	_, refused["invalid"] = call("platform", other, "")
	_, refused["key_unsuitable"] = env.Engine.RegisterSigner(t.Context(), env.Ann, api.SignerRequest{Name: "x", Principal: "ann", Alg: "rsa", Public: "AA=="}, "")
	_, refused["not_found"] = env.Engine.RotateSigner(t.Context(), env.Ann, "x", api.RotateSignerRequest{Alg: other.Alg(), Public: other.Text()}, "")
	for code, err := range refused {
		if fault.CodeOf(err) != code {
			t.Errorf("%v (%s), want code %s", err, fault.CodeOf(err), code)
		}
	}
	if _, err := call("a", other, ""); err != nil {
		t.Fatal(err)
	}
	list, err := env.Engine.Signers(t.Context(), env.Ann)
	list.Items = slices.DeleteFunc(list.Items, func(s api.Signer) bool { return s.Kind == "platform" })
	if err != nil || len(list.Items) != 2 || list.Items[0].Name != "a" || list.Items[1].Key != key.ID() {
		t.Errorf("%+v, %v, want a and b", list, err)
	}
	if _, err := env.Engine.RevokeSigner(t.Context(), env.Ann, "a", api.RevokeSignerRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	_, err = env.Engine.RotateSigner(t.Context(), env.Ann, "a", api.RotateSignerRequest{Alg: key.Alg(), Public: key.Text()}, "")
	if fault.CodeOf(err) != "signer_revoked" {
		t.Errorf("rotating a revoked signer: %v", err)
	}
}

const aboutSomebody = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" xmlns:seal="urn:underseal:bpmn:1" targetNamespace="x">
<process id="about" isExecutable="true"><extensionElements><seal:policy>
<seal:field path="applicant.ssn" class="regulated" subject="applicant.id"/><seal:field path="applicant.id" class="confidential" subject="applicant.id"/>
</seal:policy></extensionElements><startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="work"/>
<serviceTask id="work"><extensionElements><zeebe:taskDefinition type="work"/></extensionElements></serviceTask>
<sequenceFlow id="b" sourceRef="work" targetRef="done"/><endEvent id="done"/></process></definitions>`

// Whoever has the nonce can guess at what was signed. When the person is erased that
// a result was about, it goes too, and the signature still verifies.
func TestTheNonceGoesWithThePerson(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("about.bpmn", aboutSomebody)
	key := newKey(t)
	register(t, env, "scorer", key)
	id := env.Start("about", `{}`)
	job := oneJob(t, env)
	const result = `{"applicant": {"id": "p-1", "ssn": "123-45-6789"}, "score": 1}`
	done, err := completeSigned(t, env, job, result, signed(t, statementOf(t, job, time.Now(), result), key))
	if err != nil {
		t.Fatal(err)
	}
	if _, values, err := engine.PastStep(t.Context(), env.Engine, env.Ann, id, done.Seq); err != nil || values["$nonce"] == nil {
		t.Fatalf("before the erasure: %v", err)
	}
	erase(t, env, "subject", "p-1")
	_, values, err := engine.PastStep(t.Context(), env.Engine, env.Ann, id, done.Seq)
	if !fault.Is(err, fault.Sealed) {
		t.Fatalf("after the erasure: %v, want fields that are erased", err)
	}
	if values["$nonce"] != nil {
		t.Error("the nonce outlived the person")
	}
	statement, envelope := values["$statement"], values["$signature"]
	if statement == nil || envelope == nil {
		t.Fatal("statement or signature went with the person")
	}
	if _, err := ledger.VerifyWorker([]byte(statement.(canon.String)), []byte(envelope.(canon.String)), publicKey(t, key)); err != nil {
		t.Errorf("the signature after the erasure: %v", err)
	}
	if text := string(statement.(canon.String)); strings.Contains(text, "ssn") || strings.Contains(text, "p-1") {
		t.Error("the statement names what it is about")
	}
}

// A step that came too late keeps no signature: its leaf must not say that the work
// was signed.
func TestARejectedReportIsNotSigned(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("timed.bpmn", withTimer)
	key := newKey(t)
	register(t, env, "scorer", key)
	id := env.Start("timed", `{}`)
	job := oneJob(t, env)
	none := 0
	if _, err := env.Engine.FailJob(t.Context(), env.Ann, job.ID, api.FailJobRequest{Lease: job.Lease, Retries: &none}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := completeSigned(t, env, job, score, signed(t, statementOf(t, job, time.Now(), score), key)); !fault.Is(err, fault.Conflict) {
		t.Fatalf("a job that waits for its incident: %v", err)
	}
	last := env.Instance(id).Seq
	for seq := uint64(1); seq <= last; seq++ {
		leaf, values, err := engine.PastStep(t.Context(), env.Engine, env.Ann, id, seq)
		if err != nil || leaf.Stmt != "" || leaf.Key != "" || values["$statement"] != nil {
			t.Errorf("step %d is signed (%v)", seq, err)
		}
	}
}

func execSQL(t *testing.T, env *testenv.Env, statement string, args ...any) {
	t.Helper()
	db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	defer db.Close()
	result, err := db.Exec(statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); n == 0 || err != nil {
		t.Fatalf("nothing changed (%v)", err)
	}
}

// Signers put in each other's place, or given another kind, are noticed before any
// signature is taken.
func TestForgedSignersAreNoticed(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]string{ // $1 is the signer, $2 another
		"a head of another":    `UPDATE heads SET body = (SELECT body FROM heads WHERE object = $2) WHERE object = $1`,
		"a step less":          `DELETE FROM steps WHERE object IN ($1, $2) AND seq = 1`,
		"a leaf less":          `DELETE FROM leaves WHERE object IN ($1, $2) AND seq = 1`,
		"a key of another":     `UPDATE fields SET value = (SELECT value FROM fields WHERE object = $2 AND path = '$key') WHERE object = $1 AND path = '$key'`,
		"a head set ahead":     `UPDATE heads SET seq = seq + 1 WHERE object IN ($1, $2)`,
		"a leaf that is later": `UPDATE leaves SET hash = zeroblob(32) WHERE object IN ($1, $2)`,
	} {
		t.Run(name, func(t *testing.T) {
			env := testenv.New(t, nil)
			env.Deploy("timed.bpmn", withTimer)
			key := newKey(t)
			signer, other := register(t, env, "scorer", key), register(t, env, "other", newKey(t))
			env.Start("timed", `{}`)
			env.Restart(func() { execSQL(t, env, forge, idBytes(t, signer.Object), idBytes(t, other.Object)) })
			job := oneJob(t, env)
			if _, err := completeSigned(t, env, job, score, signed(t, statementOf(t, job, time.Now(), score), key)); !fault.Is(err, fault.Integrity) {
				t.Errorf("a signature is taken: %v, want an integrity fault", err)
			}
			if _, err := env.Engine.Signers(t.Context(), env.Ann); !fault.Is(err, fault.Integrity) {
				t.Errorf("signers are listed: %v", err)
			}
		})
	}
}
