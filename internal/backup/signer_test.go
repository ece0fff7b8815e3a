package backup_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/backup"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/ledger"
)

const signedModel = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="x">
<process id="s" isExecutable="true">
<startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="work"/>
<serviceTask id="work"><extensionElements><zeebe:taskDefinition type="work"/></extensionElements></serviceTask>
</process></definitions>`

// restoredSigners copies a server on Postgres right after signers were changed, so that no
// signed head covers these steps, and restores the copy: a transaction of somebody else,
// which began before, holds their places in the log back. Such a backup is refused first,
// and then asked for all the same.
func restoredSigners(t *testing.T, change func(env *testenv.Env)) *testenv.Env {
	t.Helper()
	dsn := pgtest.Database(t)
	env := testenv.New(t, func(c *node.Config) { c.DSN = dsn })
	env.Deploy("s.bpmn", signedModel)
	env.Restart(nil) // all that was done so far is under a signed head
	ctx := t.Context()
	other, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	if _, err := other.Exec(ctx, `BEGIN; SELECT pg_current_xact_id()`); err != nil {
		t.Fatal(err)
	}
	change(env)
	dir := filepath.Join(t.TempDir(), "b")
	src := source(env)
	src.DSN, src.Files, src.Wait = dsn, backup.FilesInRows, 1
	if _, _, err := backup.Make(ctx, src, dir); fault.CodeOf(err) != "signer_unproven" {
		t.Errorf("a backup of steps that no head covers: %v", err)
	}
	src.Unproven = true
	if _, _, err := backup.Make(ctx, src, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(ctx, `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	empty := pgtest.Database(t)
	if _, err := backup.Restore(ctx, backup.Target{Data: t.TempDir(), DSN: empty}, filepath.Join(dir, "data"), filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	env.Restart(func() { env.Config.DSN, env.Config.Restored = empty, true })
	env.Config.Restored = false
	check := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{})
	for !check.Done() {
		if found, err := check.Next(ctx); err != nil || len(found) > 0 {
			t.Fatalf("the check finds %+v, %v", found, err)
		}
	}
	if n := check.State.Uncovered; n < 1 || n > 2 {
		t.Errorf("the check counts %d leaves without proof, want the signer's, and at most that Ann used her key before", n)
	}
	return env
}

// newSigner registers a new key.
func newSigner(t *testing.T, env *testenv.Env, name string) ed25519.PrivateKey {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	known, err := ledger.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	in := api.SignerRequest{Name: name, Principal: env.Ann.Principal, Alg: known.Alg(), Public: known.Text()}
	if _, err := env.Engine.RegisterSigner(t.Context(), env.Ann, in, ""); err != nil {
		t.Fatal(err)
	}
	return key
}

// signedResult runs an instance whose job's result a worker signs, and returns it.
func signedResult(t *testing.T, env *testenv.Env, key ed25519.PrivateKey) string {
	t.Helper()
	id := env.Start("s", `{}`)
	job := env.Job("work")
	nonce := ledger.Hash{1}
	values, err := ledger.Bind(nonce, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, envelope, err := ledger.Statement{
		Kind: ledger.JobCompleted, Deployment: job.Deployment, Tenant: job.Tenant, Instance: job.Instance, Element: job.Element,
		Process: job.Process, Version: job.Version, Model: job.Model, Job: job.ID, Lease: job.Lease,
		At: time.Now().UTC().Format(ledger.TimeLayout), Values: values,
	}.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	in := api.CompleteJobRequest{Lease: job.Lease, Variables: json.RawMessage(`{}`), Signed: &api.Signed{Envelope: string(envelope), Nonce: nonce.String()}}
	if _, err := env.Engine.CompleteJob(t.Context(), env.Ann, job.ID, in, ""); err != nil {
		t.Fatal(err)
	}
	return id
}

// evidence returns why there is none of an instance's newest step; nil: there is, and it
// verifies.
func evidence(t *testing.T, env *testenv.Env, id string) error {
	t.Helper()
	bundle, err := testenv.Proven(func() ([]byte, error) {
		return env.Engine.Evidence(t.Context(), env.Ann, api.EvidenceRequest{Instance: id})
	})
	if err == nil {
		if _, err := ledger.VerifyBundle(bundle, nil); err != nil {
			t.Errorf("evidence of %s: %v", id, err)
		}
	}
	return err
}

// TestASignerOfJustBeforeABackupSignsWithoutEvidence registers a worker's key just before a
// backup. What it signs is known to be its, and cannot be proven to a stranger; that of
// another can.
func TestASignerOfJustBeforeABackupSignsWithoutEvidence(t *testing.T) {
	var key ed25519.PrivateKey
	env := restoredSigners(t, func(env *testenv.Env) { key = newSigner(t, env, "scorer") })
	err := evidence(t, env, signedResult(t, env, key))
	if !fault.Is(err, fault.NotFound) || fault.CodeOf(err) != "log_ended" || !strings.HasPrefix(err.Error(), "of a step of its signer there is no proof") {
		t.Errorf("evidence of what it signed: %v", err)
	}
	if err := evidence(t, env, env.Start("s", `{}`)); err != nil {
		t.Errorf("evidence of what nobody signed: %v", err)
	}
	env.Work("work", `{}`)
	if err := evidence(t, env, signedResult(t, env, newSigner(t, env, "another"))); err != nil {
		t.Errorf("evidence of what another signed: %v", err)
	}
}

// TestAPlatformKeyOfJustBeforeABackupProvesNothing rotates the platform's key just before a
// backup: what it signs afterwards nobody can trace to the first one.
func TestAPlatformKeyOfJustBeforeABackupProvesNothing(t *testing.T) {
	env := restoredSigners(t, func(env *testenv.Env) {
		if _, err := env.Engine.RotateSigner(t.Context(), env.Ann, "platform", api.RotateSignerRequest{}, ""); err != nil {
			t.Fatal(err)
		}
	})
	err := evidence(t, env, env.Start("s", `{}`))
	if !fault.Is(err, fault.NotFound) || fault.CodeOf(err) != "log_ended" || !strings.HasPrefix(err.Error(), "of a step by which the platform got its key") {
		t.Errorf("evidence: %v", err)
	}
}

// TestABackupWaitsForHeadsOverSteps keeps a server on SQLite from publishing a head over a
// step of a signer, and lets it do so after a backup began to wait.
func TestABackupWaitsForHeadsOverSteps(t *testing.T) {
	env := testenv.New(t, nil)
	env.Deploy("s.bpmn", signedModel)
	env.Restart(nil) // all that was done so far is under a signed head
	raw, err := sql.Open("sqlite", filepath.Join(env.Config.Data, "data.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	exec := func(text string) {
		t.Helper()
		if _, err := raw.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TRIGGER no_heads BEFORE INSERT ON log_checkpoints BEGIN SELECT RAISE(ABORT, 'no heads'); END`)
	key := newSigner(t, env, "scorer")
	src, dir := source(env), filepath.Join(t.TempDir(), "b")
	src.Wait = 1
	if _, _, err := backup.Make(t.Context(), src, dir); fault.CodeOf(err) != "signer_unproven" {
		t.Errorf("a backup of a step that no head covers: %v", err)
	}
	src.Wait = time.Hour
	made := make(chan error, 1)
	go func() {
		_, _, err := backup.Make(context.Background(), src, dir)
		made <- err
	}()
	exec(`DROP TRIGGER no_heads`)
	env.Restart(nil) // which publishes what was not
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	env.Restart(func() {
		restored := filepath.Join(t.TempDir(), "data")
		if _, err := backup.Restore(t.Context(), backup.Target{Data: restored}, filepath.Join(dir, "data"), filepath.Join(dir, "keys")); err != nil {
			t.Fatal(err)
		}
		env.Config.Data, env.Config.Restored = restored, true
	})
	if err := evidence(t, env, signedResult(t, env, key)); err != nil {
		t.Errorf("evidence of what the signer signs after a restore: %v", err)
	}
}
