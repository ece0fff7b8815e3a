package engine_test

import (
	"encoding/json"
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

// signedTask is a process whose task must be signed by who does it.
const signedTask = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" xmlns:seal="urn:underseal:bpmn:1" targetNamespace="x">
<process id="approval" isExecutable="true"><startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="approve"/>
<userTask id="approve" seal:signed="required"><extensionElements><zeebe:userTask/><zeebe:assignmentDefinition candidateUsers="zoe, bob"/></extensionElements></userTask>
<sequenceFlow id="b" sourceRef="approve" targetRef="done"/><endEvent id="done"/></process></definitions>`

const approved = `{"approved": true, "amount": {"euros": 1200.50}}`

// approval is an open task of the process above.
func approval(t *testing.T, env *testenv.Env) (instance, task string) {
	t.Helper()
	id := env.Start("approval", `{}`)
	return id, env.Task(id).ID
}

func statement(t *testing.T, env *testenv.Env, c engine.Caller, task, entered, passkey string) api.Statement {
	t.Helper()
	s, err := env.Engine.Statement(t.Context(), c, task, api.StatementRequest{Variables: json.RawMessage(entered), Passkey: passkey})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func completeBy(t *testing.T, env *testenv.Env, c engine.Caller, task, entered string, signed *api.SignedTask) (api.Receipt, error) {
	t.Helper()
	return env.Engine.CompleteSignedTask(t.Context(), c, task, api.CompleteTaskRequest{Variables: json.RawMessage(entered), Signed: signed}, "")
}

func signTask(s api.Statement, a *testenv.Authenticator) *api.SignedTask {
	return &api.SignedTask{Statement: s.Statement, Nonce: s.Nonce, Answer: a.Get(s.PublicKey)}
}

// A person signs what they enter, the leaf says so, and evidence of it convinces both
// verifiers, also after the passkey was taken away.
func TestAPersonSignsATask(t *testing.T) {
	if testing.Short() {
		t.Skip("evidence that two verifiers read")
	}
	t.Parallel() // it waits for the log
	env := testenv.New(t, nil)
	env.Deploy("approval.bpmn", signedTask)
	for name, ed := range map[string]bool{"zoe": true, "bob": false} {
		t.Run(name, func(t *testing.T) {
			a := testenv.NewAuthenticator(t, ed)
			c, k := personWithPasskey(t, env, name, a, "Executor")
			id, task := approval(t, env)
			if shown, err := env.Engine.Task(t.Context(), c, task); err != nil || !shown.Signed {
				t.Fatalf("the task is shown as %+v, %v, want that it is to be signed", shown, err)
			}
			s := statement(t, env, c, task, approved, "")
			if s.Passkey != k.ID || len(s.PublicKey.Allow) != 1 {
				t.Errorf("asked is %+v, want %s", s.PublicKey, k.ID)
			}
			done, err := completeBy(t, env, c, task, approved, signTask(s, a))
			if err != nil {
				t.Fatal(err)
			}
			leaf, values, err := engine.PastStep(t.Context(), env.Engine, env.Ann, id, done.Seq)
			if err != nil {
				t.Fatal(err)
			}
			if want := ledger.Challenge([]byte(s.Statement)); leaf.Stmt != want.String() || values["$statement"] != canon.String(s.Statement) {
				t.Errorf("the leaf has statement %s, want %s", leaf.Stmt, want)
			}
			if _, err := env.Engine.RemovePasskey(t.Context(), c, k.ID, api.ReasonRequest{}, ""); err != nil {
				t.Fatal(err)
			}
			data := evidence(t, env, api.EvidenceRequest{Instance: id, Task: task, AllFields: true, Fields: []string{"$actor"}})
			report := bothSay(t, data, policyOf(t, env), "proven", "")
			if !slices.ContainsFunc(report.Checks, func(c ledger.Check) bool { return strings.Contains(c.Shows, `person "`+k.Signer+`"`) }) {
				t.Errorf("the report does not say who signed: %+v", report.Checks)
			}
		})
	}
}

// Whatever is wrong with a person's signature, nothing is written.
func TestWrongSignaturesOfPersonsAreRefused(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("approval.bpmn", signedTask)
	a, b, other := testenv.NewAuthenticator(t, false), testenv.NewAuthenticator(t, true), testenv.NewAuthenticator(t, false)
	zoe, k := personWithPasskey(t, env, "zoe", a, "Executor")
	second := registerPasskey(t, env, zoe, other)
	bob, _ := personWithPasskey(t, env, "bob", b, "Executor")
	id, task := approval(t, env)
	_, elsewhere := approval(t, env)
	before := env.Instance(id).Seq

	good := func() api.Statement { return statement(t, env, zoe, task, approved, k.ID) }
	by := func(edit func(*testenv.Authenticator)) *api.SignedTask {
		with := a.Copy()
		edit(with)
		return signTask(good(), with)
	}
	nonce := signTask(good(), a)
	nonce.Nonce = strings.Repeat("0", 64)
	swapped := signTask(good(), a)
	swapped.Statement = statement(t, env, zoe, task, `{"approved": false}`, k.ID).Statement
	spaced := signTask(good(), a)
	spaced.Statement = strings.Replace(spaced.Statement, ",", ", ", 1)
	question := askToSignIn(t, env)
	signIn := signTask(good(), a)
	signIn.Answer = a.Get(question.PublicKey)
	tests := []struct {
		name, code string
		c          engine.Caller
		signed     *api.SignedTask
	}{
		{"no signature", "signature_required", zoe, nil},
		{"other values", "signature_other_result", zoe, signTask(statement(t, env, zoe, task, `{"approved": false}`, k.ID), a)},
		{"no values", "signature_other_result", zoe, signTask(statement(t, env, zoe, task, `{}`, k.ID), a)},
		{"another task", "signature_other_work", zoe, signTask(statement(t, env, zoe, elsewhere, approved, k.ID), a)},
		{"another nonce", "signature_other_result", zoe, nonce},
		{"another statement", "webauthn_challenge", zoe, swapped},
		{"another spelling", "statement_malformed", zoe, spaced},
		{"the answer to another question", "webauthn_challenge", zoe, signIn},
		{"somebody else's passkey", "signer_other_principal", zoe, signTask(statement(t, env, bob, task, approved, ""), b)},
		{"one's other passkey", "signature_wrong", zoe, signTask(good(), other)},
		{"somebody else hands it in", "signer_other_principal", bob, signTask(good(), a)},
		{"another origin", "webauthn_origin", zoe, by(func(a *testenv.Authenticator) { a.Origin = "https://evil.example" })},
		{"another relying party", "webauthn_rp", zoe, by(func(a *testenv.Authenticator) { a.RP = "evil.example" })},
		{"a person who was not verified", "webauthn_verification", zoe, by(func(a *testenv.Authenticator) { a.Flags = 0x01 })},
		{"nobody there", "webauthn_presence", zoe, by(func(a *testenv.Authenticator) { a.Flags = 0x04 })},
		{"a registration", "webauthn_type", zoe, by(func(a *testenv.Authenticator) { a.Type = "webauthn.create" })},
	}
	for _, test := range tests {
		if _, err := completeBy(t, env, test.c, task, approved, test.signed); fault.CodeOf(err) != test.code || !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v (%s), want %s", test.name, err, fault.CodeOf(err), test.code)
		}
	}
	if _, err := env.Engine.Statement(t.Context(), zoe, task, api.StatementRequest{}); fault.CodeOf(err) != "passkey_required" {
		t.Errorf("a statement for one of two passkeys: %v", err)
	}
	if _, err := env.Engine.Statement(t.Context(), zoe, task, api.StatementRequest{Passkey: "none"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a statement for no passkey: %v", err)
	}
	if _, err := env.Engine.Statement(t.Context(), env.Ann, task, api.StatementRequest{}); fault.CodeOf(err) != "no_passkey" {
		t.Errorf("a statement for who has no passkey: %v", err)
	}
	revoked := signTask(good(), a)
	if _, err := env.Engine.RemovePasskey(t.Context(), zoe, k.ID, api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := completeBy(t, env, zoe, task, approved, revoked); fault.CodeOf(err) != "signer_revoked" {
		t.Errorf("a passkey that was removed: %v", err)
	}
	if got := env.Instance(id).Seq; got != before {
		t.Fatalf("step %d was written", got)
	}
	last := signTask(statement(t, env, zoe, task, approved, second.ID), other)
	if _, err := completeBy(t, env, zoe, task, approved, last); err != nil {
		t.Errorf("the other passkey: %v", err)
	}
	if _, err := completeBy(t, env, zoe, task, approved, last); !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) {
		t.Errorf("the same signature again: %v", err)
	}
}

// A statement is signed within ten minutes.
func TestAPersonsStatementIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		env.Deploy("approval.bpmn", signedTask)
		a := testenv.NewAuthenticator(t, true)
		zoe, _ := personWithPasskey(t, env, "zoe", a, "Executor")
		_, task := approval(t, env)
		old := statement(t, env, zoe, task, approved, "")
		time.Sleep(10*time.Minute + time.Second)
		if _, err := completeBy(t, env, zoe, task, approved, signTask(old, a)); fault.CodeOf(err) != "signature_time" {
			t.Errorf("after ten minutes: %v", err)
		}
		s := statement(t, env, zoe, task, approved, "")
		time.Sleep(10*time.Minute - time.Second)
		if _, err := completeBy(t, env, zoe, task, approved, signTask(s, a)); err != nil {
			t.Errorf("within ten minutes: %v", err)
		}
	})
}
