package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/server"
)

const (
	goodKey     = "usk_good"
	otherKey    = "usk_other" // of the same person
	robotKey    = "usk_robot" // of a service
	bareSession = "uss_bare"  // of who signed in by a password that is not enough
	goodSession = "uss_good"
	goodToken   = "eyJ.good.token"
	goodAttempt = "sealed"
)

// Who calls.
var (
	somebody = access.Principal{Name: "p-1", Kind: access.User}.Effective()
	robot    = access.Principal{Name: "robot", Kind: access.Service}.Effective()
)

// fakeEngine answers every use case with what was asked of it, so that a test
// sees what came through the transport. Its hooks say otherwise where set.
type fakeEngine struct {
	err      error // what every use case returns
	panics   any   // what every use case panics with
	activate func(ctx context.Context, in api.ActivateRequest) (api.Jobs, error)
	ready    map[string]error
	damaged  int64 // where files cannot be read any further; 0: nowhere

	asked     atomic.Int64 // how often for a credential
	missed    atomic.Int64 // how often something was not found
	exported  int          // how many entries an export of the audit has
	exportErr error        // what it ends with

	mu        sync.Mutex // guards what follows
	calls     []call
	presented engine.Presented // by the newest service
}

// call is one use case that was reached.
type call struct {
	name, id, idem string
	caller         identity.Caller
	in             any
}

func (e *fakeEngine) note(name string, c identity.Caller, id, idem string, in any) (api.Receipt, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, call{name, id, idem, c, in})
	if e.panics != nil {
		panic(e.panics)
	}
	return api.Receipt{Instance: "i-1", Seq: 1, Leaf: "ab"}, e.err
}

func (e *fakeEngine) last(t *testing.T) call {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.calls) == 0 {
		t.Fatal("the engine was not reached")
	}
	return e.calls[len(e.calls)-1]
}

func (e *fakeEngine) Authenticate(_ context.Context, key, address string) (identity.Caller, error) {
	e.asked.Add(1)
	switch key {
	case goodKey:
		return identity.Caller{Principal: "p-1", Who: somebody, Address: address}, nil
	case otherKey:
		return identity.Caller{Principal: "p-1", Who: somebody, Key: "k-2", Address: address}, nil
	case robotKey:
		return identity.Caller{Principal: "robot", Who: robot, Key: "k-3", Address: address}, nil
	case bareSession:
		return identity.Caller{Principal: "p-1", Who: somebody, Address: address, Unproven: true}, nil
	}
	return identity.Caller{}, fault.New(fault.Denied, "this key is not accepted").WithCode("unauthenticated")
}

// Missed counts what was not found.
func (e *fakeEngine) Missed(context.Context, identity.Caller, string) { e.missed.Add(1) }

// AuthenticateService admits a service of the tenant acme with the good token, or with
// whatever certificate.
func (e *fakeEngine) AuthenticateService(_ context.Context, p engine.Presented) (identity.Caller, error) {
	e.asked.Add(1)
	e.mu.Lock()
	e.presented = p
	e.mu.Unlock()
	if p.Tenant != "acme" || p.Token != goodToken && len(p.Chain) == 0 {
		return identity.Caller{}, fault.New(fault.Denied, "no").WithCode("unauthenticated").WithCause(errors.New("the clock is wrong"))
	}
	return identity.Caller{Principal: "robot", Who: robot, Address: p.Address}, nil
}

func (e *fakeEngine) Ready(context.Context) map[string]error { return e.ready }

func (e *fakeEngine) Deploy(_ context.Context, c identity.Caller, files []api.File, idem string) (api.Deployment, error) {
	_, err := e.note("Deploy", c, "", idem, files)
	return api.Deployment{}, err
}

func (e *fakeEngine) Processes(_ context.Context, c identity.Caller, p engine.Page) (api.Processes, error) {
	_, err := e.note("Processes", c, "", "", api.Page(p))
	return api.Processes{}, err
}

func (e *fakeEngine) Process(_ context.Context, c identity.Caller, id string, version int) (api.Process, error) {
	_, err := e.note("Process", c, id, "", version)
	return api.Process{ID: id, Version: version}, err
}

func (e *fakeEngine) Model(_ context.Context, c identity.Caller, id string, version int) ([]byte, error) {
	_, err := e.note("Model", c, id, "", version)
	return []byte("<definitions/>"), err
}

func (e *fakeEngine) SetMode(_ context.Context, c identity.Caller, process, mode, idem string) (api.Process, error) {
	_, err := e.note("SetMode", c, process, idem, mode)
	return api.Process{ID: process, Mode: mode}, err
}

func (e *fakeEngine) Start(_ context.Context, c identity.Caller, in api.StartRequest, idem string) (api.Receipt, error) {
	return e.note("Start", c, "", idem, in)
}

func (e *fakeEngine) Instances(_ context.Context, c identity.Caller, f engine.InstanceFilter, p engine.Page) (api.Instances, error) {
	_, err := e.note("Instances", c, "", "", api.InstancesQuery{InstanceFilter: api.InstanceFilter(f), Page: api.Page(p)})
	return api.Instances{}, err
}

func (e *fakeEngine) Instance(_ context.Context, c identity.Caller, id string) (api.Instance, error) {
	_, err := e.note("Instance", c, id, "", nil)
	return api.Instance{ID: id}, err
}

func (e *fakeEngine) Steps(_ context.Context, c identity.Caller, id string, p engine.Page) (api.Steps, error) {
	_, err := e.note("Steps", c, id, "", api.Page(p))
	return api.Steps{}, err
}

func (e *fakeEngine) Export(_ context.Context, c identity.Caller, id string) (api.Export, error) {
	_, err := e.note("Export", c, id, "", nil)
	return api.Export{}, err
}

func (e *fakeEngine) Cancel(_ context.Context, c identity.Caller, id, idem string) (api.Receipt, error) {
	return e.note("Cancel", c, id, idem, nil)
}

func (e *fakeEngine) SetVariables(_ context.Context, c identity.Caller, id string, variables []byte, idem string) (api.Receipt, error) {
	return e.note("SetVariables", c, id, idem, string(variables))
}

func (e *fakeEngine) Tasks(_ context.Context, c identity.Caller, f engine.TaskFilter, p engine.Page) (api.Tasks, error) {
	_, err := e.note("Tasks", c, "", "", api.TasksQuery{TaskFilter: api.TaskFilter(f), Page: api.Page(p)})
	return api.Tasks{}, err
}

func (e *fakeEngine) Task(_ context.Context, c identity.Caller, id string) (api.Task, error) {
	_, err := e.note("Task", c, id, "", nil)
	return api.Task{ID: id}, err
}

func (e *fakeEngine) Claim(_ context.Context, c identity.Caller, id, assignee, idem string) (api.Receipt, error) {
	return e.note("Claim", c, id, idem, assignee)
}

func (e *fakeEngine) Unclaim(_ context.Context, c identity.Caller, id, idem string) (api.Receipt, error) {
	return e.note("Unclaim", c, id, idem, nil)
}

func (e *fakeEngine) SaveTask(_ context.Context, c identity.Caller, id string, draft []byte, idem string) (api.Receipt, error) {
	return e.note("SaveTask", c, id, idem, string(draft))
}

func (e *fakeEngine) ActivateJobs(ctx context.Context, c identity.Caller, in api.ActivateRequest) (api.Jobs, error) {
	if e.activate != nil {
		return e.activate(ctx, in)
	}
	_, err := e.note("ActivateJobs", c, "", "", in)
	return api.Jobs{}, err
}

func (e *fakeEngine) CompleteJob(_ context.Context, c identity.Caller, id string, in api.CompleteJobRequest, idem string) (api.Receipt, error) {
	return e.note("CompleteJob", c, id, idem, in)
}

func (e *fakeEngine) FailJob(_ context.Context, c identity.Caller, id string, in api.FailJobRequest, idem string) (api.Receipt, error) {
	return e.note("FailJob", c, id, idem, in)
}

func (e *fakeEngine) ErrorJob(_ context.Context, c identity.Caller, id string, in api.ErrorJobRequest, idem string) (api.Receipt, error) {
	return e.note("ErrorJob", c, id, idem, in)
}

func (e *fakeEngine) ExtendJob(_ context.Context, c identity.Caller, id string, in api.ExtendJobRequest) (api.Lease, error) {
	_, err := e.note("ExtendJob", c, id, "", in)
	return api.Lease{}, err
}

func (e *fakeEngine) PutFile(_ context.Context, c identity.Caller, in engine.Incoming) (api.Upload, error) {
	data, err := io.ReadAll(in.Body)
	if err != nil {
		return api.Upload{}, err
	}
	in.Body = nil
	_, err = e.note("PutFile", c, string(data), "", in)
	sum := sha256.Sum256(data)
	return api.Upload{File: "f-1", Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}, err
}

func (e *fakeEngine) File(_ context.Context, c identity.Caller, instance, file string) (*engine.Download, error) {
	if _, err := e.note("File", c, instance+" "+file, "", nil); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(fileContent))
	d := &engine.Download{
		Name: "März 1;.pdf", Type: "text/html", Size: int64(len(fileContent)), SHA256: hex.EncodeToString(sum[:]),
		ReadSeeker: strings.NewReader(fileContent), Closer: io.NopCloser(nil),
	}
	if e.damaged > 0 {
		d.ReadSeeker = io.NewSectionReader(damaged{e.damaged}, 0, d.Size)
	}
	return d, nil
}

// fileContent is what every file of the fake holds.
var fileContent = strings.Repeat("0123456789", 20_000)

// damaged is a file that cannot be read from a place on.
type damaged struct{ at int64 }

func (d damaged) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, fileContent[min(off, d.at):d.at])
	if n < len(p) {
		return n, fault.New(fault.Integrity, "a segment was changed")
	}
	return n, nil
}

func (e *fakeEngine) Incidents(_ context.Context, c identity.Caller, process string, p engine.Page) (api.Incidents, error) {
	_, err := e.note("Incidents", c, "", "", api.IncidentsQuery{Process: process, Page: api.Page(p)})
	return api.Incidents{}, err
}

func (e *fakeEngine) RetryIncident(_ context.Context, c identity.Caller, id string, retries int, idem string) (api.Receipt, error) {
	return e.note("RetryIncident", c, id, idem, retries)
}

func (e *fakeEngine) PlaceHold(_ context.Context, c identity.Caller, in api.HoldRequest, idem string) (api.Hold, error) {
	_, err := e.note("PlaceHold", c, "", idem, in)
	return api.Hold{}, err
}

func (e *fakeEngine) ReleaseHold(_ context.Context, c identity.Caller, id, idem string) (api.Hold, error) {
	_, err := e.note("ReleaseHold", c, id, idem, nil)
	return api.Hold{}, err
}

func (e *fakeEngine) Holds(_ context.Context, c identity.Caller, p engine.Page) (api.Holds, error) {
	_, err := e.note("Holds", c, "", "", api.Page(p))
	return api.Holds{}, err
}

func (e *fakeEngine) OrderErasure(_ context.Context, c identity.Caller, in api.ErasureRequest, idem string) (api.Erasure, error) {
	_, err := e.note("OrderErasure", c, "", idem, in)
	return api.Erasure{}, err
}

func (e *fakeEngine) PreviewErasure(_ context.Context, c identity.Caller, in api.ErasureTarget) (api.ErasurePreview, error) {
	_, err := e.note("PreviewErasure", c, "", "", in)
	return api.ErasurePreview{}, err
}

func (e *fakeEngine) CancelErasure(_ context.Context, c identity.Caller, id, idem string) (api.Erasure, error) {
	_, err := e.note("CancelErasure", c, id, idem, nil)
	return api.Erasure{}, err
}

func (e *fakeEngine) Erasures(_ context.Context, c identity.Caller, p engine.Page) (api.Erasures, error) {
	_, err := e.note("Erasures", c, "", "", api.Page(p))
	return api.Erasures{}, err
}

func (e *fakeEngine) ErasureReceipt(_ context.Context, c identity.Caller, id string) (api.ErasureReceipt, error) {
	_, err := e.note("ErasureReceipt", c, id, "", nil)
	return api.ErasureReceipt{}, err
}

func (e *fakeEngine) VerifyErasure(_ context.Context, c identity.Caller, id string, in api.ErasureCheckRequest) (api.ErasureCheck, error) {
	_, err := e.note("VerifyErasure", c, id, "", in)
	return api.ErasureCheck{}, err
}

func (e *fakeEngine) Keys(_ context.Context, c identity.Caller) (api.Keys, error) {
	_, err := e.note("Keys", c, "", "", nil)
	return api.Keys{}, err
}

func (e *fakeEngine) RotateKey(_ context.Context, c identity.Caller, in api.RotateKeyRequest) (api.RotatedKey, error) {
	_, err := e.note("RotateKey", c, "", "", in)
	return api.RotatedKey{}, err
}

func (e *fakeEngine) RewrapKeys(_ context.Context, c identity.Caller, in api.RewrapRequest) (api.Rewrap, error) {
	_, err := e.note("RewrapKeys", c, "", "", in)
	return api.Rewrap{}, err
}

func (e *fakeEngine) RenewKeys(_ context.Context, c identity.Caller, in api.RenewKeysRequest) (api.KeysRenewed, error) {
	_, err := e.note("RenewKeys", c, "", "", in)
	return api.KeysRenewed{}, err
}

func (e *fakeEngine) RetireKey(_ context.Context, c identity.Caller, in api.RetireKeyRequest) (api.Retirement, error) {
	_, err := e.note("RetireKey", c, "", "", in)
	return api.Retirement{}, err
}

func (e *fakeEngine) CreateLogReader(_ context.Context, c identity.Caller, in api.LogReaderRequest) (api.NewLogReader, error) {
	_, err := e.note("CreateLogReader", c, "", "", in)
	return api.NewLogReader{Path: "/log/secret"}, err
}

func (e *fakeEngine) LogReaders(_ context.Context, c identity.Caller, p engine.Page) (api.LogReaders, error) {
	_, err := e.note("LogReaders", c, "", "", api.Page(p))
	return api.LogReaders{}, err
}

func (e *fakeEngine) RevokeLogReader(_ context.Context, c identity.Caller, id string) (api.LogReader, error) {
	_, err := e.note("RevokeLogReader", c, id, "", nil)
	return api.LogReader{ID: id}, err
}

func (e *fakeEngine) LogShards(_ context.Context, c identity.Caller) (api.LogShards, error) {
	_, err := e.note("LogShards", c, "", "", nil)
	return api.LogShards{}, err
}

func (e *fakeEngine) LogProof(_ context.Context, c identity.Caller, instance string, step int) (api.LogProof, error) {
	_, err := e.note("LogProof", c, instance, "", step)
	return api.LogProof{}, err
}

func (e *fakeEngine) LogConsistency(_ context.Context, c identity.Caller, q api.ConsistencyQuery) (api.LogConsistency, error) {
	_, err := e.note("LogConsistency", c, "", "", q)
	return api.LogConsistency{}, err
}

func (e *fakeEngine) LogPolicy(_ context.Context, c identity.Caller) (api.LogPolicy, error) {
	_, err := e.note("LogPolicy", c, "", "", nil)
	return api.LogPolicy{}, err
}

func (e *fakeEngine) StartCheck(_ context.Context, c identity.Caller, in api.CheckRequest) (api.Integrity, error) {
	_, err := e.note("StartCheck", c, "", "", in)
	return api.Integrity{}, err
}

func (e *fakeEngine) IntegrityStatus(_ context.Context, c identity.Caller) (api.Integrity, error) {
	_, err := e.note("IntegrityStatus", c, "", "", nil)
	return api.Integrity{}, err
}

func (e *fakeEngine) Audit(_ context.Context, c identity.Caller, q api.AuditQuery) (api.AuditEntries, error) {
	_, err := e.note("Audit", c, "", "", q)
	return api.AuditEntries{}, err
}

func (e *fakeEngine) ExportAudit(_ context.Context, c identity.Caller, q api.AuditExportQuery) (iter.Seq2[api.AuditEntry, error], error) {
	_, err := e.note("ExportAudit", c, "", "", q)
	return func(yield func(api.AuditEntry, error) bool) {
		for i := range e.exported {
			if !yield(api.AuditEntry{Entry: fmt.Sprintf("2026/%d", i), Kind: "data.shown"}, nil) {
				return
			}
		}
		if e.exportErr != nil {
			yield(api.AuditEntry{}, e.exportErr)
		}
	}, err
}

func (e *fakeEngine) LogAnchoring(_ context.Context, c identity.Caller) (api.LogAnchoring, error) {
	_, err := e.note("LogAnchoring", c, "", "", nil)
	return api.LogAnchoring{}, err
}

func (e *fakeEngine) Receipt(_ context.Context, c identity.Caller, instance string, step int) (api.SignedReceipt, error) {
	_, err := e.note("Receipt", c, instance, "", step)
	return api.SignedReceipt{}, err
}

func (e *fakeEngine) Evidence(_ context.Context, c identity.Caller, in api.EvidenceRequest) ([]byte, error) {
	_, err := e.note("Evidence", c, "", "", in)
	return []byte("PK"), err
}

// LogFile knows one reader, with one log of one tile.
func (e *fakeEngine) LogFile(_ context.Context, secret, shard, name string) (engine.LogFile, error) {
	e.note("LogFile", identity.Caller{}, secret+" "+shard, "", name)
	switch {
	case e.err != nil:
		return engine.LogFile{}, e.err
	case secret != "usl_good":
	case shard == "2026" && name == "checkpoint":
		return engine.LogFile{Text: true, Body: []byte("origin\n")}, nil
	case shard == "2026" && name == "tile/0/x001/000.p/1":
		return engine.LogFile{Immutable: true, Body: make([]byte, 32)}, nil
	case shard == "shards" && name == "":
		return engine.LogFile{Text: true, Body: []byte("origin\n")}, nil
	}
	return engine.LogFile{}, fault.New(fault.NotFound, "there is no such log")
}

// newServer returns a server of the engine; the change may adjust its config.
func newServer(t testing.TB, e server.Engine, change ...func(*server.Config)) *server.Server {
	t.Helper()
	config := server.Config{Engine: e, Version: "test"}
	for _, f := range change {
		f(&config)
	}
	s, err := server.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// request makes a request with good credentials and, if there is a body, its type.
func request(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+goodKey)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func serve(s http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func (e *fakeEngine) Signers(_ context.Context, c identity.Caller) (api.Signers, error) {
	_, err := e.note("Signers", c, "", "", nil)
	return api.Signers{}, err
}

func (e *fakeEngine) RegisterSigner(_ context.Context, c identity.Caller, in api.SignerRequest, idem string) (api.Signer, error) {
	_, err := e.note("RegisterSigner", c, "", idem, in)
	return api.Signer{}, err
}

func (e *fakeEngine) RotateSigner(_ context.Context, c identity.Caller, name string, in api.RotateSignerRequest, idem string) (api.Signer, error) {
	_, err := e.note("RotateSigner", c, name, idem, in)
	return api.Signer{}, err
}

func (e *fakeEngine) RevokeSigner(_ context.Context, c identity.Caller, name string, in api.RevokeSignerRequest, idem string) (api.Signer, error) {
	_, err := e.note("RevokeSigner", c, name, idem, in)
	return api.Signer{}, err
}
