package engine_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/ledger"
)

// audited is one act and what the log has to hold of it.
type audited struct {
	// name is that of the use case, a method of the engine; after a colon, which way
	// of it.
	name string
	// do acts and returns the response.
	do func(ctx context.Context, a *auditor) (any, error)
	// leaves are the kinds of the leaves that it leaves, in their order.
	leaves []string
	// shows are the paths that the response shows, of all objects, sorted.
	shows []string
	// afterwards is true of what happened whether or not the log can be told: it is
	// told later, and not refused.
	afterwards bool
}

// auditor drives acts one after the other, and remembers what the next needs.
type auditor struct {
	*testenv.Env
	t                                  *testing.T
	instance, person, file, task, hold string
	erasure, reader                    string
	link, grant, apiKey, proposal      string
	identity, glass, code              string
	session                            api.NewSession
	authenticator                      *testenv.Authenticator
	passkey                            string
	job                                api.Job
	incident                           string
	ahead                              *atomic.Int64 // nanoseconds that the node's clock is ahead
}

func (a *auditor) start(process, variables string) (string, error) {
	r, err := a.Engine.Start(a.t.Context(), a.Ann, api.StartRequest{Process: process, BusinessKey: "B-17", Variables: json.RawMessage(variables)}, "")
	return r.Instance, err
}

func (a *auditor) lease(kind string) (api.Jobs, error) {
	return a.Engine.ActivateJobs(a.t.Context(), a.Ann, api.ActivateRequest{Type: kind, Worker: "w", LeaseMS: 1, WaitMS: 20_000})
}

func (a *auditor) evidence(ctx context.Context, in api.EvidenceRequest) ([]byte, error) {
	return testenv.Proven(func() ([]byte, error) { return a.Engine.Evidence(ctx, a.Ann, in) })
}

// joins lets somebody in.
func (a *auditor) joins(ctx context.Context, name, role string) (engine.Caller, error) {
	invited, err := a.Engine.InviteUser(ctx, a.Ann, api.UserRequest{Name: name, Kind: "user", Roles: []string{role}}, "")
	if err != nil {
		return engine.Caller{}, err
	}
	done, err := a.Engine.Setup(ctx, api.SetupRequest{Link: invited.Link}, "192.0.2.1")
	if err != nil {
		return engine.Caller{}, err
	}
	return a.SignIn(done.Key.Text), nil
}

// signIn signs Bob in.
func (a *auditor) signIn(ctx context.Context) (s api.NewSession, err error) {
	s, err = a.Engine.SignIn(ctx, api.SignInRequest{Tenant: "main", Name: "bob", Password: zoesPassword}, home)
	a.session = s
	return s, err
}

// signedIn is Bob, as he is signed in.
func (a *auditor) signedIn(ctx context.Context) engine.Caller {
	c, err := a.Engine.Authenticate(ctx, a.session.Text, home.Address)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// byPasskey signs Bob in by passkey.
func (a *auditor) byPasskey(ctx context.Context, with *testenv.Authenticator) (api.NewSession, error) {
	q, err := a.Engine.BeginPasskeySignIn(ctx)
	if err != nil {
		return api.NewSession{}, err
	}
	return a.Engine.SignInByPasskey(ctx, with.SignIn(q), home)
}

// checkEnds returns when the check that was ordered is over.
func (a *auditor) checkEnds() error {
	for {
		now, err := a.Engine.IntegrityStatus(a.t.Context(), a.Ann)
		if err != nil || now.Ordered.Ended != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// nothing gives an act that answers nothing a response.
func nothing(err error) (any, error) { return nil, err }

// auditedActs lists every use case. One that is missing fails the test; so does a
// leaf that is not listed.
func auditedActs(key, key2 string) []audited {
	return []audited{
		{name: "Deploy", leaves: []string{"definition.deployed", "definition.deployed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Deploy(ctx, a.Ann, []api.File{{Name: "all.bpmn", Content: []byte(everything)}, {Name: "c.bpmn", Content: []byte(strings.Replace(classified, `type="work"`, `type="elsewhere"`, 1))}}, "")
		}},
		{name: "SetMode", leaves: []string{"definition.mode_set"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.SetMode(ctx, a.Ann, "everything", "confidential", "")
		}},
		{name: "Processes", do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Processes(ctx, a.Ann, engine.Page{})
		}},
		{name: "Process", do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Process(ctx, a.Ann, "everything", 0)
		}},
		{name: "Model", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Model(ctx, a.Ann, "everything", 0) }},
		{name: "Start", leaves: []string{"instance.started"}, do: func(_ context.Context, a *auditor) (any, error) {
			var err error
			a.instance, err = a.start("everything", `{"note": "a", "other": 1}`)
			return a.instance, err
		}},
		{name: "PutFile", do: func(ctx context.Context, a *auditor) (any, error) {
			u, err := a.Engine.PutFile(ctx, a.Ann, engine.Incoming{Name: "a.pdf", Body: bytes.NewReader(content(10)), Size: 10})
			a.file = u.File
			return u, err
		}},
		{name: "Start: with a file", leaves: []string{"instance.started"}, do: func(_ context.Context, a *auditor) (any, error) {
			var err error
			a.person, err = a.start("classified", `{"shoe": `+named(a.file)+`, "person": {"id": "p-1"}}`)
			return a.person, err
		}},
		{name: "File", leaves: []string{"data.revealed"}, shows: []string{"$file:"}, do: func(ctx context.Context, a *auditor) (any, error) {
			d, err := a.Engine.File(ctx, a.Ann, a.person, a.file)
			if err == nil {
				_, err = io.Copy(io.Discard, d)
				d.Close()
			}
			return d, err
		}},
		{name: "Instances", do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Instances(ctx, a.Ann, engine.InstanceFilter{Process: "everything"}, engine.Page{})
		}},
		{name: "Instances: by a value", leaves: []string{"data.revealed"}, shows: []string{"$business_key", "$business_key"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Instances(ctx, a.Ann, engine.InstanceFilter{BusinessKey: "B-17"}, engine.Page{})
		}},
		{name: "Instances: by a value that none has", leaves: []string{"data.searched"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Instances(ctx, a.Ann, engine.InstanceFilter{BusinessKey: "B-18"}, engine.Page{})
		}},
		{name: "Instance", leaves: []string{"data.revealed"}, shows: []string{"$business_key", "note", "other"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Instance(ctx, a.Ann, a.instance)
		}},
		{name: "Steps", leaves: []string{"data.shown"}, shows: []string{"$actor"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Steps(ctx, a.Ann, a.instance, engine.Page{})
		}},
		{name: "Export", leaves: []string{"data.exported"}, shows: []string{"$actor", "$business_key", "note", "other"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Export(ctx, a.Ann, a.instance)
		}},
		{name: "LogProof", do: func(ctx context.Context, a *auditor) (any, error) {
			return testenv.Proven(func() (api.LogProof, error) { return a.Engine.LogProof(ctx, a.Ann, a.instance, 1) })
		}},
		{name: "Receipt", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Receipt(ctx, a.Ann, a.instance, 1) }},
		{name: "LogShards", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.LogShards(ctx, a.Ann) }},
		{name: "LogPolicy", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.LogPolicy(ctx, a.Ann) }},
		{name: "LogConsistency", do: func(ctx context.Context, a *auditor) (any, error) {
			shards, err := a.Engine.LogShards(ctx, a.Ann)
			if err != nil {
				return nil, err
			}
			return a.Engine.LogConsistency(ctx, a.Ann, api.ConsistencyQuery{Shard: shards.Items[0].Name})
		}},
		{name: "Evidence", leaves: []string{"data.exported"}, shows: []string{"note", "other"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.evidence(ctx, api.EvidenceRequest{Instance: a.instance, Step: 1, AllFields: true})
		}},
		{name: "Evidence: without values", do: func(ctx context.Context, a *auditor) (any, error) {
			return a.evidence(ctx, api.EvidenceRequest{Instance: a.instance, Step: 1})
		}},
		{name: "SetVariables", leaves: []string{"instance.variables_set"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.SetVariables(ctx, a.Ann, a.instance, []byte(`{"note": "b"}`), "")
		}},
		{name: "Tasks", do: func(ctx context.Context, a *auditor) (any, error) {
			tasks, err := a.Engine.Tasks(ctx, a.Ann, engine.TaskFilter{}, engine.Page{})
			if err == nil {
				a.task = tasks.Items[0].ID
			}
			return tasks, err
		}},
		{name: "Claim", leaves: []string{"instance.task_claimed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Claim(ctx, a.Ann, a.task, "", "")
		}},
		{name: "SaveTask", leaves: []string{"instance.task_saved"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.SaveTask(ctx, a.Ann, a.task, []byte(`{"draft": 1}`), "")
		}},
		{name: "Task", leaves: []string{"data.shown"}, shows: []string{"@", "note", "other"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Task(ctx, a.Ann, a.task)
		}},
		{name: "Unclaim", leaves: []string{"instance.task_unclaimed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Unclaim(ctx, a.Ann, a.task, "")
		}},
		{name: "Statement", do: func(ctx context.Context, a *auditor) (any, error) {
			if _, err := a.Engine.Statement(ctx, a.Ann, a.task, api.StatementRequest{}); fault.CodeOf(err) != "no_passkey" {
				return nil, fmt.Errorf("a statement for who has no passkey: %w", err)
			}
			return nil, nil
		}},
		{name: "CompleteSignedTask", do: func(ctx context.Context, a *auditor) (any, error) { // signed: TestAPersonSignsATask
			in := api.CompleteTaskRequest{Signed: &api.SignedTask{Statement: "{}"}}
			if _, err := a.Engine.CompleteSignedTask(ctx, a.Ann, a.task, in, ""); fault.CodeOf(err) != "statement_malformed" {
				return nil, fmt.Errorf("a statement that is none: %w", err)
			}
			return nil, nil
		}},
		{name: "CompleteTask", leaves: []string{"instance.task_completed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.CompleteTask(ctx, a.Ann, a.task, []byte(`{"answer": 1}`), "")
		}},
		{name: "ActivateJobs: none waits", do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.ActivateJobs(ctx, a.Ann, api.ActivateRequest{Type: "idle", Worker: "w"})
		}},
		{name: "ActivateJobs", leaves: []string{"data.shown"}, shows: []string{"answer", "note", "other"}, do: func(_ context.Context, a *auditor) (any, error) {
			jobs, err := a.lease("fail")
			if err == nil && len(jobs.Items) == 1 {
				a.job = jobs.Items[0]
			}
			return jobs, err
		}},
		{name: "ExtendJob", do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.ExtendJob(ctx, a.Ann, a.job.ID, api.ExtendJobRequest{Lease: a.job.Lease, LeaseMS: 600_000})
		}},
		{name: "FailJob", leaves: []string{"instance.job_failed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			none := 0
			return a.Engine.FailJob(ctx, a.Ann, a.job.ID, api.FailJobRequest{Lease: a.job.Lease, Message: "no", Retries: &none}, "")
		}},
		{name: "Incidents", leaves: []string{"data.shown"}, shows: []string{"$incident."}, do: func(ctx context.Context, a *auditor) (any, error) {
			in, err := a.Engine.Incidents(ctx, a.Ann, "", engine.Page{})
			if err == nil {
				a.incident = in.Items[0].ID
			}
			return in, err
		}},
		{name: "RetryIncident", leaves: []string{"instance.incident_retried"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RetryIncident(ctx, a.Ann, a.incident, 3, "")
		}},
		{name: "ActivateJobs: again", leaves: []string{"data.shown"}, shows: []string{"answer", "note", "other"}, do: func(ctx context.Context, a *auditor) (any, error) {
			jobs, err := a.lease("fail")
			if err == nil && len(jobs.Items) == 1 {
				a.job = jobs.Items[0]
				_, err = a.Engine.ExtendJob(ctx, a.Ann, a.job.ID, api.ExtendJobRequest{Lease: a.job.Lease, LeaseMS: 600_000})
			}
			return jobs, err
		}},
		{name: "CompleteJob", leaves: []string{"instance.job_completed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.CompleteJob(ctx, a.Ann, a.job.ID, api.CompleteJobRequest{Lease: a.job.Lease, Variables: []byte(`{}`)}, "")
		}},
		{name: "ActivateJobs: of the other type", leaves: []string{"data.shown"}, shows: []string{"answer", "note", "other"}, do: func(ctx context.Context, a *auditor) (any, error) {
			jobs, err := a.lease("work")
			if err == nil && len(jobs.Items) == 1 {
				a.job = jobs.Items[0]
				_, err = a.Engine.ExtendJob(ctx, a.Ann, a.job.ID, api.ExtendJobRequest{Lease: a.job.Lease, LeaseMS: 600_000})
			}
			return jobs, err
		}},
		{name: "ErrorJob", leaves: []string{"instance.job_errored"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.ErrorJob(ctx, a.Ann, a.job.ID, api.ErrorJobRequest{Lease: a.job.Lease, Code: "E"}, "")
		}},
		{name: "RenewKeys", leaves: []string{"instance.key_renewed", "instance.key_renewed"}, afterwards: true, do: func(ctx context.Context, a *auditor) (any, error) {
			time.Sleep(2 * time.Millisecond) // ids of keys are milliseconds old
			return a.Engine.RenewKeys(ctx, a.Ann, api.RenewKeysRequest{})
		}},
		{name: "RenewKeys: of persons", leaves: []string{"subject_key.rotation_ordered", "subject_key.rotated"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RenewKeys(ctx, a.Ann, api.RenewKeysRequest{Of: "subjects"})
		}},
		{name: "RotateKey: a person's", leaves: []string{"subject_key.rotation_ordered", "subject_key.rotated"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RotateKey(ctx, a.Ann, api.RotateKeyRequest{Key: "subject", Subject: "p-1"})
		}},
		{name: "Cancel", leaves: []string{"instance.canceled"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Cancel(ctx, a.Ann, a.instance, "")
		}},
		{name: "PlaceHold", leaves: []string{"hold.placed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			h, err := a.Engine.PlaceHold(ctx, a.Ann, api.HoldRequest{Kind: "subject", ID: "p-1", Reason: "a lawsuit"}, "")
			a.hold = h.ID
			return h, err
		}},
		{name: "Holds", leaves: []string{"data.shown"}, shows: []string{"holds"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Holds(ctx, a.Ann, engine.Page{})
		}},
		{name: "PreviewErasure", leaves: []string{"data.shown"}, shows: []string{"$person", "holds"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.PreviewErasure(ctx, withPurpose(a.Ann), api.ErasureTarget{Kind: "subject", ID: "p-1"})
		}},
		{name: "PreviewErasure: of who is nowhere", leaves: []string{"data.searched"}, do: func(ctx context.Context, a *auditor) (any, error) {
			_, err := a.Engine.PreviewErasure(ctx, withPurpose(a.Ann), api.ErasureTarget{Kind: "subject", ID: "nobody"})
			if fault.CodeOf(err) == "no_such_subject" {
				err = nil
			}
			return nothing(err)
		}},
		{name: "OrderErasure: of what is held", leaves: []string{"access.denied"}, afterwards: true, do: func(ctx context.Context, a *auditor) (any, error) {
			_, err := a.Engine.OrderErasure(ctx, a.Ann, api.ErasureRequest{Kind: "subject", ID: "p-1"}, "")
			if fault.CodeOf(err) == "on_hold" {
				err = nil
			}
			return nothing(err)
		}},
		{name: "ReleaseHold", leaves: []string{"hold.released"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.ReleaseHold(ctx, a.Ann, a.hold, "")
		}},
		{name: "OrderErasure", leaves: []string{"erasure.ordered"}, do: func(ctx context.Context, a *auditor) (any, error) {
			later := 3_600_000
			x, err := a.Engine.OrderErasure(ctx, a.Ann, api.ErasureRequest{Kind: "subject", ID: "p-1", DelayMS: &later}, "")
			a.erasure = x.ID
			return x, err
		}},
		{name: "Erasures", leaves: []string{"data.shown"}, shows: []string{"order"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Erasures(ctx, a.Ann, engine.Page{})
		}},
		{name: "ErasureReceipt", leaves: []string{"data.shown"}, shows: []string{"$actor", "order", "outcome"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.ErasureReceipt(ctx, a.Ann, a.erasure)
		}},
		{name: "CancelErasure", leaves: []string{"erasure.canceled"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.CancelErasure(ctx, a.Ann, a.erasure, "")
		}},
		{name: "OrderErasure: at once", leaves: []string{"erasure.ordered", "key.destroyed", "erasure.completed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			x, err := a.Engine.OrderErasure(ctx, a.Ann, api.ErasureRequest{Kind: "instance", ID: a.instance, DelayMS: new(int)}, "")
			a.erasure = x.ID
			return x, err
		}},
		{name: "VerifyErasure", do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.VerifyErasure(ctx, a.Ann, a.erasure, api.ErasureCheckRequest{})
		}},
		{name: "EraseDue: nothing", do: func(ctx context.Context, a *auditor) (any, error) { return nothing(a.Engine.EraseDue(ctx)) }},
		{name: "Keys", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Keys(ctx, a.Ann) }},
		{name: "RotateKey", leaves: []string{"tenant_key.rotation_ordered", "tenant_key.rotated"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RotateKey(ctx, a.Ann, api.RotateKeyRequest{Key: "tenant"})
		}},
		{name: "RotateKey: a purpose's", leaves: []string{"audit_key.rotation_ordered", "audit_key.rotated"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RotateKey(ctx, a.Ann, api.RotateKeyRequest{Key: "audit"})
		}},
		{name: "RotateKey: for the index", leaves: []string{"index_key.rotation_ordered", "index_key.rotated"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RotateKey(ctx, a.Ann, api.RotateKeyRequest{Key: "index"})
		}},
		{name: "RenewKeys: of the index", leaves: []string{"index_key.terms_renewed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RenewKeys(ctx, a.Ann, api.RenewKeysRequest{Of: "index"})
		}},
		{name: "RewrapKeys", leaves: []string{"data_keys.rewrap_ordered", "data_keys.rewrapped"}, do: func(ctx context.Context, a *auditor) (any, error) {
			state, err := a.Engine.RewrapKeys(ctx, a.Ann, api.RewrapRequest{})
			for err == nil && state.Running {
				var keys api.Keys
				keys, err = a.Engine.Keys(ctx, a.Ann)
				state = keys.Rewrap
			}
			return state, err
		}},
		{name: "RetireKey", leaves: []string{"tenant_key.retirement_ordered", "tenant_key.retired"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RetireKey(ctx, a.Ann, api.RetireKeyRequest{Key: "tenant", Version: "1"})
		}},
		{name: "RotateDue: by the engine", leaves: []string{"root_key.rotation_ordered", "root_key.rotated"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return nothing(a.Engine.RotateDue(ctx, keyring.Schedule{RootKeys: 1}))
		}},
		{name: "EndEpochs: by the engine", leaves: []string{
			"tenant_key.rotation_ordered", "tenant_key.rotated", "tenant_key.retirement_ordered", "tenant_key.retired",
			"root_key.retirement_ordered", "root_key.retired", "root_key.rotation_ordered", "root_key.rotated", "root_key.retirement_ordered", "root_key.retired",
			"epoch.ended",
		}, do: func(ctx context.Context, a *auditor) (any, error) {
			a.ahead.Store(int64(2 * time.Hour)) // the epoch is one
			return nothing(a.Engine.EndEpochs(ctx))
		}},
		{name: "SettleKeyOrders: nothing is open", do: func(ctx context.Context, a *auditor) (any, error) { return nothing(a.Engine.SettleKeyOrders(ctx)) }},
		{name: "CreateLogReader", leaves: []string{"reader.created"}, do: func(ctx context.Context, a *auditor) (any, error) {
			r, err := a.Engine.CreateLogReader(ctx, a.Ann, api.LogReaderRequest{Name: "an auditor"})
			if err == nil {
				a.reader = r.ID
			}
			return r, err
		}},
		{name: "Audit", leaves: []string{"audit.read"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Audit(ctx, a.Ann, api.AuditQuery{})
		}},
		{name: "ExportAudit", leaves: []string{"audit.exported"}, do: func(ctx context.Context, a *auditor) (any, error) {
			entries, err := a.Engine.ExportAudit(ctx, a.Ann, api.AuditExportQuery{})
			if err != nil {
				return nil, err
			}
			var all []api.AuditEntry
			for x, err := range entries {
				if err != nil {
					return nil, err
				}
				all = append(all, x)
			}
			return all, nil
		}},
		{name: "LogAnchoring", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.LogAnchoring(ctx, a.Ann) }},
		{name: "StartCheck", leaves: []string{"integrity.check_ordered", "integrity.checked"}, do: func(ctx context.Context, a *auditor) (any, error) {
			if _, err := a.Engine.StartCheck(ctx, a.Ann, api.CheckRequest{}); err != nil {
				return nil, err
			}
			return nil, a.checkEnds()
		}},
		{name: "IntegrityStatus", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.IntegrityStatus(ctx, a.Ann) }},
		{name: "LogReaders", do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.LogReaders(ctx, a.Ann, engine.Page{})
		}},
		{name: "RevokeLogReader", leaves: []string{"reader.revoked"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RevokeLogReader(ctx, a.Ann, a.reader)
		}},
		{name: "RegisterSigner", leaves: []string{"key.registered"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RegisterSigner(ctx, a.Ann, api.SignerRequest{Name: "w", Principal: "ann", Alg: "ed25519", Public: key}, "")
		}},
		{name: "Signers", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Signers(ctx, a.Ann) }},
		{name: "RotateSigner", leaves: []string{"key.rotated"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RotateSigner(ctx, a.Ann, "w", api.RotateSignerRequest{Alg: "ed25519", Public: key2}, "")
		}},
		{name: "RevokeSigner", leaves: []string{"key.revoked"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RevokeSigner(ctx, a.Ann, "w", api.RevokeSignerRequest{}, "")
		}},
		{name: "NewSetupLink: by who has the files", leaves: []string{"tenant.changed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			made, err := a.Engine.NewSetupLink(ctx, "main")
			a.link = made.Link
			return made, err
		}},
		{name: "Setup: an administrator", leaves: []string{"principal.activated", "tenant.changed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Setup(ctx, api.SetupRequest{Link: a.link, Name: "carol"}, "192.0.2.3")
		}},
		{name: "Me", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Me(ctx, a.Ann) }},
		{name: "Notices", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Notices(ctx, a.Ann) }},
		{name: "InviteUser: a service", leaves: []string{"principal.activated"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.InviteUser(ctx, a.Ann, api.UserRequest{Name: "ocr", Kind: "service"}, "")
		}},
		{name: "InviteUser", leaves: []string{"principal.invited"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.InviteUser(ctx, a.Ann, api.UserRequest{Name: "bob", Kind: "user", Roles: []string{"Viewer"}}, "")
		}},
		{name: "InviteAgain", leaves: []string{"principal.invited"}, do: func(ctx context.Context, a *auditor) (any, error) {
			in, err := a.Engine.InviteAgain(ctx, a.Ann, "bob", api.ReasonRequest{Reason: "it was lost"}, "")
			a.link = in.Link
			return in, err
		}},
		{name: "Setup", leaves: []string{"principal.activated"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Setup(ctx, api.SetupRequest{Link: a.link}, "192.0.2.3")
		}},
		{name: "Users", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Users(ctx, a.Ann, engine.Page{}) }},
		{name: "User", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.User(ctx, a.Ann, "bob") }},
		{name: "ChangeUser", leaves: []string{"principal.changed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.ChangeUser(ctx, a.Ann, "bob", api.ProfileRequest{Display: "Bob"}, "")
		}},
		{name: "GiveUserRole", leaves: []string{"role.given"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.GiveUserRole(ctx, a.Ann, "bob", api.RoleRequest{Role: "Designer"}, "")
		}},
		{name: "TakeUserRole", leaves: []string{"role.taken"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.TakeUserRole(ctx, a.Ann, "bob", api.RoleRequest{Role: "Designer"}, "")
		}},
		{name: "CreateGroup", leaves: []string{"group.created"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.CreateGroup(ctx, a.Ann, api.GroupRequest{Name: "clerks"}, "")
		}},
		{name: "JoinGroup", leaves: []string{"group.joined"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.JoinGroup(ctx, a.Ann, "bob", api.MemberRequest{Group: "clerks"}, "")
		}},
		{name: "Groups", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Groups(ctx, a.Ann, engine.Page{}) }},
		{name: "GiveGroupRole", leaves: []string{"role.given"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.GiveGroupRole(ctx, a.Ann, "clerks", api.RoleRequest{Role: "Executor"}, "")
		}},
		{name: "TakeGroupRole", leaves: []string{"role.taken"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.TakeGroupRole(ctx, a.Ann, "clerks", api.RoleRequest{Role: "Executor"}, "")
		}},
		{name: "LeaveGroup", leaves: []string{"group.left"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.LeaveGroup(ctx, a.Ann, "bob", api.MemberRequest{Group: "clerks"}, "")
		}},
		{name: "GiveGrant: to a group", leaves: []string{"grant.given"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.GiveGrant(ctx, a.Ann, api.GrantRequest{Group: "clerks", Right: "view", Process: "*"}, "")
		}},
		{name: "DeleteGroup", leaves: []string{"group.deleted"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.DeleteGroup(ctx, a.Ann, "clerks", api.ReasonRequest{}, "")
		}},
		{name: "GiveGrant", leaves: []string{"grant.given"}, do: func(ctx context.Context, a *auditor) (any, error) {
			g, err := a.Engine.GiveGrant(ctx, a.Ann, api.GrantRequest{User: "bob", Right: "view", Process: "*"}, "")
			a.grant = g.ID
			return g, err
		}},
		{name: "Grants", do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Grants(ctx, a.Ann, engine.GrantsOf{}, engine.Page{})
		}},
		{name: "RevokeGrant", leaves: []string{"grant.revoked"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RevokeGrant(ctx, a.Ann, a.grant, api.ReasonRequest{}, "")
		}},
		{name: "CreateAPIKey", leaves: []string{"api_key.created"}, do: func(ctx context.Context, a *auditor) (any, error) {
			k, err := a.Engine.CreateAPIKey(ctx, a.Ann, api.APIKeyRequest{User: "bob"}, "")
			a.apiKey = k.ID
			return k, err
		}},
		{name: "APIKeys", do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.APIKeys(ctx, a.Ann, "bob", engine.Page{})
		}},
		{name: "RotateAPIKey", leaves: []string{"api_key.rotated"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RotateAPIKey(ctx, a.Ann, a.apiKey, api.RotateAPIKeyRequest{}, "")
		}},
		{name: "RevokeAPIKey", leaves: []string{"api_key.revoked"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RevokeAPIKey(ctx, a.Ann, a.apiKey, api.ReasonRequest{}, "")
		}},
		{name: "ResetPassword", leaves: []string{"principal.invited"}, do: func(ctx context.Context, a *auditor) (any, error) {
			in, err := a.Engine.ResetPassword(ctx, a.Ann, "bob", api.ReasonRequest{}, "")
			a.link = in.Link
			return in, err
		}},
		{name: "Setup: another password", leaves: []string{"password.set"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Setup(ctx, api.SetupRequest{Link: a.link, Password: zoesPassword}, "192.0.2.3")
		}},
		{name: "SignIn", leaves: []string{"session.started"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.signIn(ctx)
		}},
		{name: "SignIn: with another password", leaves: []string{"sign_in.failed"}, afterwards: true, do: func(ctx context.Context, a *auditor) (any, error) {
			if _, err := a.Engine.SignIn(ctx, api.SignInRequest{Tenant: "main", Name: "bob", Password: otherWords}, home); fault.CodeOf(err) != "unauthenticated" {
				return nil, err
			}
			return nil, nil
		}},
		{name: "Sessions", do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Sessions(ctx, a.Ann, "", engine.Page{})
		}},
		{name: "Verify", leaves: []string{"session.started", "session.ended"}, do: func(ctx context.Context, a *auditor) (any, error) {
			s, err := a.Engine.Verify(ctx, a.signedIn(ctx), api.VerifyRequest{Password: zoesPassword}, home)
			a.session = s
			return s, err
		}},
		{name: "BeginPasskey", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.BeginPasskey(ctx, a.signedIn(ctx)) }},
		{name: "RegisterPasskey", leaves: []string{"passkey.registered", "key.registered"}, do: func(ctx context.Context, a *auditor) (any, error) {
			a.authenticator = testenv.NewAuthenticator(a.t, true)
			a.authenticator.Counter = 1
			q, err := a.Engine.BeginPasskey(ctx, a.signedIn(ctx))
			if err != nil {
				return nil, err
			}
			k, err := a.Engine.RegisterPasskey(ctx, a.signedIn(ctx), a.authenticator.Create("laptop", q))
			a.passkey = k.ID
			return k, err
		}},
		{name: "BeginVerify", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.BeginVerify(ctx, a.signedIn(ctx)) }},
		{name: "SignInByPasskey", leaves: []string{"passkey.used", "session.started"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.byPasskey(ctx, a.authenticator)
		}},
		{name: "SignInByPasskey: by a copy", leaves: []string{"passkey.copied"}, afterwards: true, do: func(ctx context.Context, a *auditor) (any, error) {
			copied := a.authenticator.Copy()
			copied.Counter = 1
			if _, err := a.byPasskey(ctx, copied); fault.CodeOf(err) != "unauthenticated" {
				return nil, err
			}
			return nil, nil
		}},
		{name: "RemovePasskey", leaves: []string{"passkey.removed", "key.revoked"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RemovePasskey(ctx, a.Ann, a.passkey, api.ReasonRequest{}, "")
		}},
		{name: "SignOut", leaves: []string{"session.ended"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.SignOut(ctx, a.signedIn(ctx))
		}},
		{name: "SignIn: again", leaves: []string{"session.started"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.signIn(ctx)
		}},
		{name: "RevokeSession", leaves: []string{"session.ended"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RevokeSession(ctx, a.Ann, a.session.ID)
		}},
		{name: "SignIn: once more", leaves: []string{"session.started"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.signIn(ctx)
		}},
		{name: "SetPassword", leaves: []string{"password.set", "session.started", "session.ended"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.SetPassword(ctx, a.signedIn(ctx), api.PasswordRequest{Old: zoesPassword, New: otherWords}, home)
		}},
		{name: "EndUserSessions", leaves: []string{"principal.signed_out"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.EndUserSessions(ctx, a.Ann, "bob", api.ReasonRequest{}, "")
		}},
		{name: "EndAllSessions", leaves: []string{"tenant.signed_out"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.EndAllSessions(ctx, a.Ann, api.ReasonRequest{}, "")
		}},
		{name: "WriteSessionUses", do: func(ctx context.Context, a *auditor) (any, error) {
			return nothing(a.Engine.WriteSessionUses(ctx))
		}},
		{name: "SweepSessions", do: func(ctx context.Context, a *auditor) (any, error) { return nothing(a.Engine.SweepSessions(ctx)) }},
		{name: "DisableUser", leaves: []string{"principal.disabled"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.DisableUser(ctx, a.Ann, "bob", api.ReasonRequest{Reason: "left"}, "")
		}},
		{name: "EnableUser", leaves: []string{"principal.enabled"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.EnableUser(ctx, a.Ann, "bob", api.ReasonRequest{}, "")
		}},
		{name: "TellSettings", leaves: []string{"settings.changed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return nothing(a.Engine.TellSettings(ctx, map[string]string{"tls_min": "1.3"}))
		}},
		{name: "Missed", leaves: []string{"access.missed"}, afterwards: true, do: func(ctx context.Context, a *auditor) (any, error) {
			a.Engine.Missed(ctx, a.Ann, "get-instance")
			return nil, nil
		}},
		{name: "WriteUses", leaves: []string{"credential.used"}, afterwards: true, do: func(ctx context.Context, a *auditor) (any, error) { return nothing(a.Engine.WriteUses(ctx)) }},
		{name: "Authenticate: a stranger", leaves: []string{"sign_in.failed"}, afterwards: true, do: func(ctx context.Context, a *auditor) (any, error) {
			if _, err := a.Engine.Authenticate(ctx, "usk_guess", "192.0.2.9"); fault.CodeOf(err) != "unauthenticated" {
				return nil, err
			}
			return nil, nil
		}},
		// The keys of a new tenant come before its first leaf, and are of no use without.
		{name: "CreateTenant", leaves: []string{"tenant.created", "tenant_key.made"}, afterwards: true, do: func(ctx context.Context, a *auditor) (any, error) {
			made, err := a.Engine.CreateTenant(ctx, a.Ann, api.TenantRequest{Name: "acme"}, "")
			if err == nil { // the log registers its own key when it is first needed
				_, err = a.Engine.PlatformSigners(ctx, "acme", "any", math.MaxInt64)
			}
			return made, err
		}},
		{name: "Tenants", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Tenants(ctx, a.Ann) }},
		{name: "InviteAdministrator", leaves: []string{"tenant.changed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.InviteAdministrator(ctx, a.Ann, "acme", api.ReasonRequest{}, "")
		}},
		{name: "Issuers", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Issuers(ctx, a.Ann) }},
		{name: "SetIssuer", leaves: []string{"tenant.changed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.SetIssuer(ctx, a.Ann, "corp", api.IssuerRequest{
				Kind: "people", URL: idp, Client: "underseal", GroupClaim: "groups", Given: []api.IssuerGroup{{Group: "all", Roles: []string{"Auditor"}}},
			}, "")
		}},
		{name: "LinkUser", leaves: []string{"identity.linked"}, do: func(ctx context.Context, a *auditor) (any, error) {
			u, err := a.Engine.LinkUser(ctx, a.Ann, "ann", api.LinkRequest{Issuer: "corp", Subject: "7"}, "")
			if err == nil {
				a.identity = u.Identities[0].ID
			}
			return u, err
		}},
		{name: "UnlinkUser", leaves: []string{"identity.unlinked"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.UnlinkUser(ctx, a.Ann, "ann", api.UnlinkRequest{ID: a.identity}, "")
		}},
		{name: "LinkUser: another", leaves: []string{"identity.linked"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.LinkUser(ctx, a.Ann, "bob", api.LinkRequest{Issuer: "corp", Subject: "8"}, "")
		}},
		{name: "FinishLogin", leaves: []string{"identity.mapped", "session.started"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.FinishLogin(ctx, begin(a.t, a.Env, "bob"))
		}},
		{name: "FinishLogin: again", leaves: []string{"session.started"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.FinishLogin(ctx, begin(a.t, a.Env, "bob"))
		}},
		{name: "FinishLogin: nobody", leaves: []string{"sign_in.failed"}, afterwards: true, do: func(ctx context.Context, a *auditor) (any, error) {
			if _, err := a.Engine.FinishLogin(ctx, begin(a.t, a.Env, "nobody")); fault.CodeOf(err) != "unauthenticated" {
				return nil, err
			}
			return nil, nil
		}},
		{name: "FinishLogin: for a program", do: func(ctx context.Context, a *auditor) (any, error) {
			a.code = handed(a.t, a.Env, "main", "bob", challengeOf(verifier)).Code
			return nil, nil
		}},
		{name: "RedeemLogin", leaves: []string{"session.started"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RedeemLogin(ctx, redemption(a.code))
		}},
		{name: "RedeemLogin: again", leaves: []string{"sign_in.failed"}, afterwards: true, do: func(ctx context.Context, a *auditor) (any, error) {
			if _, err := a.Engine.RedeemLogin(ctx, redemption(a.code)); fault.CodeOf(err) != "unauthenticated" {
				return nil, err
			}
			return nil, nil
		}},
		{name: "EndLogins", leaves: []string{"session.ended", "session.ended", "session.ended"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return nothing(a.Engine.EndLogins(ctx, engine.At{Tenant: "main", Issuer: "corp"}, "bob", "192.0.2.9"))
		}},
		{name: "RemoveIssuer", leaves: []string{"tenant.changed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RemoveIssuer(ctx, a.Ann, "corp", api.ReasonRequest{}, "")
		}},
		{name: "AuthenticateService", leaves: []string{"sign_in.failed"}, afterwards: true, do: func(ctx context.Context, a *auditor) (any, error) {
			if _, err := a.Engine.AuthenticateService(ctx, engine.Presented{Tenant: "main", Address: "192.0.2.99"}); fault.CodeOf(err) != "unauthenticated" {
				return nil, err
			}
			return nil, nil
		}},
		{name: "DisableTenant", leaves: []string{"tenant.disabled"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.DisableTenant(ctx, a.Ann, "acme", api.ReasonRequest{}, "")
		}},
		{name: "EnableTenant", leaves: []string{"tenant.enabled"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.EnableTenant(ctx, a.Ann, "acme", api.ReasonRequest{}, "")
		}},
		{name: "NewSetupLink: of a company", leaves: []string{"tenant.changed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.NewSetupLink(ctx, "acme")
		}},
		{name: "Settings", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Settings(ctx, a.Ann) }},
		{name: "SetNetworks", leaves: []string{"tenant.changed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.SetNetworks(ctx, a.Ann, api.NetworksRequest{Networks: api.Networks{All: []string{"192.0.2.0/24"}}}, "")
		}},
		{name: "SetLimits", leaves: []string{"tenant.changed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.SetLimits(ctx, a.Ann, api.LimitsRequest{Limits: api.Limits{User: "5/s"}}, "")
		}},
		{name: "RequirePasskeys", leaves: []string{"tenant.changed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RequirePasskeys(ctx, a.Ann, api.RequirePasskeyRequest{Of: "none"}, "")
		}},
		{name: "SetFourEyes", leaves: []string{"tenant.changed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.SetFourEyes(ctx, a.Ann, api.FourEyesRequest{Required: true}, "")
		}},
		{name: "Deploy: proposed", leaves: []string{"deployment.proposed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			a.Ann = a.SignIn(a.Key())
			made, err := a.Engine.Deploy(ctx, a.Ann, []api.File{{Name: "c.bpmn", Content: []byte(classified)}}, "")
			if err == nil {
				a.proposal = made.Pending.ID
			}
			return made, err
		}},
		{name: "Proposals", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Proposals(ctx, a.Ann) }},
		{name: "Proposal", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Proposal(ctx, a.Ann, a.proposal) }},
		{name: "ApproveDeployment", leaves: []string{"principal.invited", "principal.activated", "credential.used", "definition.deployed", "deployment.approved"}, do: func(ctx context.Context, a *auditor) (any, error) {
			dora, err := a.joins(ctx, "dora", "Designer")
			if err != nil {
				return nil, err
			}
			return a.Engine.ApproveDeployment(ctx, dora, a.proposal, api.ReasonRequest{})
		}},
		{name: "WithdrawDeployment", leaves: []string{"deployment.proposed", "deployment.withdrawn"}, do: func(ctx context.Context, a *auditor) (any, error) {
			made, err := a.Engine.Deploy(ctx, a.Ann, []api.File{{Name: "c.bpmn", Content: []byte(strings.Replace(classified, "public", "internal", 1))}}, "")
			if err != nil {
				return nil, err
			}
			return a.Engine.WithdrawDeployment(ctx, a.Ann, made.Pending.ID, api.ReasonRequest{})
		}},
		{name: "RequestBreakGlass", leaves: []string{"breakglass.requested"}, do: func(ctx context.Context, a *auditor) (any, error) {
			b, err := a.Engine.RequestBreakGlass(ctx, a.Ann, api.BreakGlassRequest{Process: "classified", Reason: "fire", LastsMS: 1}, "")
			a.glass = b.ID
			return b, err
		}},
		{name: "BreakGlasses", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.BreakGlasses(ctx, a.Ann) }},
		{name: "ApproveBreakGlass", leaves: []string{"principal.invited", "principal.activated", "credential.used", "breakglass.approved"}, do: func(ctx context.Context, a *auditor) (any, error) {
			abe, err := a.joins(ctx, "abe", "Admin")
			if err != nil {
				return nil, err
			}
			return a.Engine.ApproveBreakGlass(ctx, abe, a.glass, api.ReasonRequest{}, "")
		}},
		{name: "EndBreakGlass", leaves: []string{"breakglass.requested", "breakglass.ended"}, do: func(ctx context.Context, a *auditor) (any, error) {
			b, err := a.Engine.RequestBreakGlass(ctx, a.Ann, api.BreakGlassRequest{Process: "classified", Reason: "fire", LastsMS: 1}, "")
			if err != nil {
				return nil, err
			}
			return a.Engine.EndBreakGlass(ctx, a.Ann, b.ID, api.ReasonRequest{}, "")
		}},
		{name: "RevokeUser", leaves: []string{"principal.disabled"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.RevokeUser(ctx, a.Ann, "dora", api.ReasonRequest{}, "")
		}},
		{name: "Policies", do: func(ctx context.Context, a *auditor) (any, error) { return a.Engine.Policies(ctx, a.Ann) }},
		{name: "SetPolicies", leaves: []string{"tenant.changed"}, do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.SetPolicies(ctx, a.Ann, api.PoliciesRequest{Text: noHome}, "")
		}},
		{name: "TestPolicies", do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.TestPolicies(ctx, a.Ann, api.PoliciesTestRequest{Text: noHome})
		}},
		{name: "Explain", do: func(ctx context.Context, a *auditor) (any, error) {
			return a.Engine.Explain(ctx, a.Ann, api.ExplainQuery{Principal: "ann", Action: "task:read"})
		}},
	}
}

// position returns the place of the newest leaf.
func (a *auditor) position() (pos int) {
	db := openRaw(a.t, filepath.Join(a.Config.Data, "data.db"))
	defer db.Close()
	if err := db.QueryRow(`SELECT coalesce(max(pos), 0) FROM leaves`).Scan(&pos); err != nil {
		a.t.Fatal(err)
	}
	return pos
}

// since returns the kinds of the leaves that came after a place, and which paths they
// say were shown. What the log tells of itself is left out.
func (a *auditor) since(pos int) (kinds, shows []string) {
	db := openRaw(a.t, filepath.Join(a.Config.Data, "data.db"))
	defer db.Close()
	rows, err := db.Query(`SELECT tenant, object, seq, body FROM leaves WHERE pos > ? ORDER BY pos`, pos)
	if err != nil {
		a.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var tenant string
		var id, body []byte
		var seq int
		if err := rows.Scan(&tenant, &id, &seq, &body); err != nil {
			a.t.Fatal(err)
		}
		leaf, err := ledger.ParseLeaf(body)
		if err != nil {
			a.t.Fatal(err)
		}
		if strings.HasPrefix(leaf.Kind, "log.") || tenant != "main" && leaf.Kind == ledger.KeyRegistered {
			continue
		}
		kinds = append(kinds, leaf.Kind)
		if seq > 0 {
			continue
		}
		past, err := engine.OpenEntry(a.t.Context(), a.Engine, a.Ann, store.ID(id))
		if err != nil {
			a.t.Fatal(err)
		}
		shows = append(shows, pathsShown(past)...)
	}
	slices.Sort(shows)
	return kinds, shows
}

func pathsShown(past engine.PastEntry) (paths []string) {
	list, _ := past.Fields["$shown"].(canon.List)
	for _, item := range list {
		of, _ := item.(*canon.Context).Get("paths")
		for _, path := range of.(canon.List) {
			text := string(path.(canon.String))
			for _, numbered := range []string{"$file:", "$incident.", "@"} {
				if strings.HasPrefix(text, numbered) {
					text = numbered
				}
			}
			paths = append(paths, text)
		}
	}
	return paths
}

// state is all that an act could change, but for what is made ahead or by the log
// itself, and how far checks have come, which is kept after they are over.
func (a *auditor) state() map[string][][]any {
	state := map[string][][]any{}
	for _, file := range []string{"data.db", "keys.db"} {
		for name, tab := range tables(a.t, filepath.Join(a.Config.Data, file), file) {
			if name != "data_keys" && name != "subjects" && name != "uploads" && name != "checks" && !strings.HasPrefix(name, "log_") && !strings.HasPrefix(name, "anchor") {
				state[name] = tab.rows
			}
		}
	}
	return state
}

// TestEveryActLeavesItsLeaf drives every use case twice: while the database takes no
// leaf, when it must have no effect and show nothing, and then again, when who revokes
// somebody must wait for what they do.
func TestEveryActLeavesItsLeaf(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("every act, and each of them refused")
	}
	began, ahead, july := time.Now(), &atomic.Int64{}, time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC) // when no log ends
	env := testenv.New(t, func(c *node.Config) {
		c.ErasureEpoch = time.Hour
		staff := newStaff()
		staff.in["bob"], staff.out["bob"] = identity.Claims{Subject: "8", Groups: []string{"all"}}, identity.Logout{Subject: "8"}
		c.Issuers = staff
		c.BreakGlassSettled = -1
		c.Now = func() time.Time { return july.Add(time.Since(began) + time.Duration(ahead.Load())) }
	})
	keys := make([]string, 2)
	for i := range keys {
		public, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = base64.StdEncoding.EncodeToString(public)
	}
	// The log registers its own key when it is first needed.
	if _, err := env.Engine.PlatformSigners(t.Context(), env.Ann.Scope.Tenant(), "any", math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	a := &auditor{Env: env, t: t, ahead: ahead}
	held := watchHolds(env)
	seen := map[string]bool{}
	for _, act := range auditedActs(keys[0], keys[1]) {
		name, _, _ := strings.Cut(act.name, ":")
		seen[name] = true
		if len(act.leaves) > 0 && !act.afterwards {
			a.refuse(act)
		}
		before := a.position()
		held.forget()
		if _, err := act.do(t.Context(), a); err != nil {
			t.Fatalf("%s: %v", act.name, err)
		}
		held.require(t, act)
		kinds, shows := a.since(before)
		if !slices.Equal(kinds, act.leaves) || !slices.Equal(shows, act.shows) {
			t.Errorf("%s leaves %v that show %v, want %v that show %v", act.name, kinds, shows, act.leaves, act.shows)
		}
	}
	checkAllSeen(t, env, seen)
}

// refuse lets an act happen while the database takes no leaf.
func (a *auditor) refuse(act audited) {
	a.t.Helper()
	memory := *a
	before := a.state()
	noLeaves(a.t, a.Env)
	response, err := act.do(a.t.Context(), a)
	leavesAgain(a.t, a.Env)
	if err == nil {
		a.t.Errorf("%s without a leaf: no error", act.name)
	}
	if len(act.shows) > 0 && !reflect.ValueOf(response).IsZero() {
		a.t.Errorf("%s without a leaf shows %+v", act.name, response)
	}
	after := a.state()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if !reflect.DeepEqual(before[name], after[name]) {
			a.t.Errorf("%s without a leaf changes %s from\n%v to\n%v", act.name, name, before[name], after[name])
		}
	}
	*a = memory
}

func takesCaller(m reflect.Method) bool {
	return m.Type.NumIn() > 2 && m.Type.In(2) == reflect.TypeFor[engine.Caller]()
}

// checkAllSeen requires that every method of the engine that takes a caller is among
// the acts.
func checkAllSeen(t *testing.T, env *testenv.Env, seen map[string]bool) {
	t.Helper()
	all := reflect.TypeOf(env.Engine)
	for i := range all.NumMethod() {
		method := all.Method(i)
		if takesCaller(method) && !seen[method.Name] {
			t.Errorf("nothing says what %s leaves in the log", method.Name)
		}
	}
}
