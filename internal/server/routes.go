package server

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
)

// operations lists every route of the API.
func (s *Server) operations() []*operation {
	return slices.Concat(
		s.processRoutes(), s.instanceRoutes(), s.taskRoutes(), s.jobRoutes(), s.incidentRoutes(), s.erasureRoutes(), s.keyRoutes(), s.signerRoutes(), s.peopleRoutes(), s.sessionRoutes(), s.passkeyRoutes(), s.loginRoutes(), s.settingsRoutes(), s.breakGlassRoutes(), s.fileRoutes(), s.logRoutes(), s.auditRoutes(), s.integrityRoutes(), s.ownRoutes())
}

func (s *Server) processRoutes() []*operation {
	e, tag := s.engine, "processes"
	deploy := newOperation("POST", "/v1/deployments", "deploy", tag, "Deploy a set of files, whole or not at all",
		func(ctx context.Context, x *exchange, in api.DeployRequest) (api.Deployment, error) {
			return e.Deploy(ctx, x.caller, in.Files, x.idem)
		})
	deploy.limit = s.config.MaxDeployment
	approve := newOperation("POST", "/v1/deployments/{deployment}/approve", "approveDeployment", tag, "Deploy what somebody else proposed",
		func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.Deployment, error) {
			return e.ApproveDeployment(ctx, x.caller, x.id, in)
		})
	withdraw := newOperation("POST", "/v1/deployments/{deployment}/withdraw", "withdrawDeployment", tag, "End a deployment that waits for a second person",
		func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.Proposal, error) {
			return e.WithdrawDeployment(ctx, x.caller, x.id, in)
		})
	approve.unkeyed, withdraw.unkeyed = true, true // a deployment is decided once
	return []*operation{
		deploy, approve, withdraw,
		newOperation("GET", "/v1/deployments", "listDeployments", tag, "List deployments that wait for a second person",
			func(ctx context.Context, x *exchange, _ none) (api.Proposals, error) {
				return e.Proposals(ctx, x.caller)
			}),
		newOperation("GET", "/v1/deployments/{deployment}", "getDeployment", tag, "Show a deployment that waits for a second person, with its files",
			func(ctx context.Context, x *exchange, _ none) (api.Proposal, error) {
				return e.Proposal(ctx, x.caller, x.id)
			}),
		newOperation("GET", "/v1/processes", "listProcesses", tag, "List the newest versions of all processes",
			func(ctx context.Context, x *exchange, in api.Page) (api.Processes, error) {
				out, err := e.Processes(ctx, x.caller, engine.Page(in))
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("GET", "/v1/processes/{process}", "getProcess", tag, "Show a version of a process",
			func(ctx context.Context, x *exchange, in api.VersionQuery) (api.Process, error) {
				return e.Process(ctx, x.caller, x.id, in.Version)
			}),
		newOperation("GET", "/v1/processes/{process}/model", "getModel", tag, "Get the deployed file, byte for byte",
			func(ctx context.Context, x *exchange, in api.VersionQuery) (document, error) {
				return e.Model(ctx, x.caller, x.id, in.Version)
			}),
		newOperation("PUT", "/v1/processes/{process}/mode", "setMode", tag, "Set whether new instances are confidential",
			func(ctx context.Context, x *exchange, in api.ModeRequest) (api.Process, error) {
				return e.SetMode(ctx, x.caller, x.id, in.Mode, x.idem)
			}),
	}
}

func (s *Server) instanceRoutes() []*operation {
	e, tag := s.engine, "instances"
	return []*operation{
		newOperation("POST", "/v1/instances", "startInstance", tag, "Start an instance",
			func(ctx context.Context, x *exchange, in api.StartRequest) (api.Receipt, error) {
				return e.Start(ctx, x.caller, in, x.idem)
			}),
		newOperation("GET", "/v1/instances", "listInstances", tag, "List instances, newest first",
			func(ctx context.Context, x *exchange, in api.InstancesQuery) (api.Instances, error) {
				out, err := e.Instances(ctx, x.caller, engine.InstanceFilter(in.InstanceFilter), engine.Page(in.Page))
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("GET", "/v1/instances/{instance}", "getInstance", tag, "Show an instance and where it waits",
			func(ctx context.Context, x *exchange, _ none) (api.Instance, error) {
				return e.Instance(ctx, x.caller, x.id)
			}),
		newOperation("GET", "/v1/instances/{instance}/steps", "listSteps", tag, "List the steps of an instance, oldest first",
			func(ctx context.Context, x *exchange, in api.Page) (api.Steps, error) {
				out, err := e.Steps(ctx, x.caller, x.id, engine.Page(in))
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("GET", "/v1/instances/{instance}/export", "exportInstance", tag, "Get all data of an instance",
			func(ctx context.Context, x *exchange, _ none) (api.Export, error) {
				out, err := e.Export(ctx, x.caller, x.id)
				out.Scopes, out.Steps = list(out.Scopes), list(out.Steps)
				return out, err
			}),
		newOperation("POST", "/v1/instances/{instance}/cancel", "cancelInstance", tag, "Cancel an instance",
			func(ctx context.Context, x *exchange, _ none) (api.Receipt, error) {
				return e.Cancel(ctx, x.caller, x.id, x.idem)
			}),
		newOperation("PATCH", "/v1/instances/{instance}/variables", "setVariables", tag, "Change variables of a running instance",
			func(ctx context.Context, x *exchange, in api.VariablesRequest) (api.Receipt, error) {
				return e.SetVariables(ctx, x.caller, x.id, in.Variables, x.idem)
			}),
	}
}

func (s *Server) taskRoutes() []*operation {
	e, tag := s.engine, "tasks"
	return []*operation{
		newOperation("GET", "/v1/tasks", "listTasks", tag, "List open tasks, those of the oldest instance first",
			func(ctx context.Context, x *exchange, in api.TasksQuery) (api.Tasks, error) {
				out, err := e.Tasks(ctx, x.caller, engine.TaskFilter(in.TaskFilter), engine.Page(in.Page))
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("GET", "/v1/tasks/{task}", "getTask", tag, "Show a task with its form and data",
			func(ctx context.Context, x *exchange, _ none) (api.Task, error) {
				return e.Task(ctx, x.caller, x.id)
			}),
		newOperation("POST", "/v1/tasks/{task}/claim", "claimTask", tag, "Take a task, or give it to somebody",
			func(ctx context.Context, x *exchange, in api.ClaimRequest) (api.Receipt, error) {
				return e.Claim(ctx, x.caller, x.id, in.Assignee, x.idem)
			}),
		newOperation("POST", "/v1/tasks/{task}/unclaim", "unclaimTask", tag, "Give a task back",
			func(ctx context.Context, x *exchange, _ none) (api.Receipt, error) {
				return e.Unclaim(ctx, x.caller, x.id, x.idem)
			}),
		newOperation("PUT", "/v1/tasks/{task}/draft", "saveTask", tag, "Save what was entered so far",
			func(ctx context.Context, x *exchange, in api.DraftRequest) (api.Receipt, error) {
				return e.SaveTask(ctx, x.caller, x.id, in.Draft, x.idem)
			}),
		newOperation("POST", "/v1/tasks/{task}/complete", "completeTask", tag, "Complete a task",
			func(ctx context.Context, x *exchange, in api.CompleteTaskRequest) (api.Receipt, error) {
				return e.CompleteSignedTask(ctx, x.caller, x.id, in, x.idem)
			}),
		s.statementRoute(),
	}
}

func (s *Server) jobRoutes() []*operation {
	e, tag := s.engine, "jobs"
	activate := newOperation("POST", "/v1/jobs/activate", "activateJobs", tag, "Lease jobs, waiting for the first", s.activate)
	extend := newOperation("POST", "/v1/jobs/{job}/extend", "extendJob", tag, "Lengthen the lease of a job",
		func(ctx context.Context, x *exchange, in api.ExtendJobRequest) (api.Lease, error) {
			return e.ExtendJob(ctx, x.caller, x.id, in)
		})
	activate.unkeyed, extend.unkeyed = true, true
	return []*operation{
		activate, extend,
		newOperation("POST", "/v1/jobs/{job}/complete", "completeJob", tag, "Report the result of a job",
			func(ctx context.Context, x *exchange, in api.CompleteJobRequest) (api.Receipt, error) {
				return e.CompleteJob(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/jobs/{job}/fail", "failJob", tag, "Report a failed try of a job",
			func(ctx context.Context, x *exchange, in api.FailJobRequest) (api.Receipt, error) {
				return e.FailJob(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/jobs/{job}/error", "throwJobError", tag, "Throw a BPMN error from a job",
			func(ctx context.Context, x *exchange, in api.ErrorJobRequest) (api.Receipt, error) {
				return e.ErrorJob(ctx, x.caller, x.id, in, x.idem)
			}),
	}
}

// activate leases jobs. A wait that the server's drain cuts short is no error:
// the worker gets no jobs and asks again, somewhere else.
func (s *Server) activate(ctx context.Context, x *exchange, in api.ActivateRequest) (api.Jobs, error) {
	ctx, cancel := x.waitable(ctx, time.Duration(in.WaitMS)*time.Millisecond)
	defer cancel()
	out, err := s.engine.ActivateJobs(ctx, x.caller, in)
	if err != nil && ctx.Err() != nil && s.draining.Err() != nil {
		out, err = api.Jobs{}, nil
	}
	out.Items = list(out.Items)
	return out, err
}

func (s *Server) incidentRoutes() []*operation {
	e, tag := s.engine, "incidents"
	return []*operation{
		newOperation("GET", "/v1/incidents", "listIncidents", tag, "List open incidents, oldest first",
			func(ctx context.Context, x *exchange, in api.IncidentsQuery) (api.Incidents, error) {
				out, err := e.Incidents(ctx, x.caller, in.Process, engine.Page(in.Page))
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("POST", "/v1/incidents/{incident}/retry", "retryIncident", tag, "Try again what failed",
			func(ctx context.Context, x *exchange, in api.RetryRequest) (api.Receipt, error) {
				return e.RetryIncident(ctx, x.caller, x.id, in.Retries, x.idem)
			}),
	}
}

// erasureRoutes take ids of persons in bodies only: a path or query would be kept in
// logs of proxies.
func (s *Server) erasureRoutes() []*operation {
	e, tag := s.engine, "erasures"
	preview := newOperation("POST", "/v1/erasures/preview", "previewErasure", tag, "Say what an erasure would take away, and what holds it",
		func(ctx context.Context, x *exchange, in api.ErasureTarget) (api.ErasurePreview, error) {
			out, err := e.PreviewErasure(ctx, x.caller, in)
			out.Holds, out.Sample = list(out.Holds), list(out.Sample)
			return out, err
		})
	verify := newOperation("POST", "/v1/erasures/{erasure}/verify", "verifyErasure", tag, "Try to read what was erased, a part at a time",
		func(ctx context.Context, x *exchange, in api.ErasureCheckRequest) (api.ErasureCheck, error) {
			return e.VerifyErasure(ctx, x.caller, x.id, in)
		})
	preview.unkeyed, preview.purpose, verify.unkeyed = true, true, true
	return []*operation{
		preview, verify,
		newOperation("POST", "/v1/erasures", "orderErasure", tag, "Order that the keys of an instance or a person be destroyed",
			func(ctx context.Context, x *exchange, in api.ErasureRequest) (api.Erasure, error) {
				return e.OrderErasure(ctx, x.caller, in, x.idem)
			}),
		newOperation("GET", "/v1/erasures", "listErasures", tag, "List what was ordered to be erased",
			func(ctx context.Context, x *exchange, in api.Page) (api.Erasures, error) {
				out, err := e.Erasures(ctx, x.caller, engine.Page(in))
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("POST", "/v1/erasures/{erasure}/cancel", "cancelErasure", tag, "Take an order back before it is due",
			func(ctx context.Context, x *exchange, _ none) (api.Erasure, error) {
				return e.CancelErasure(ctx, x.caller, x.id, x.idem)
			}),
		newOperation("GET", "/v1/erasures/{erasure}/receipt", "getErasureReceipt", tag, "Say what an erasure did, and from when on nothing of it can be read",
			func(ctx context.Context, x *exchange, _ none) (api.ErasureReceipt, error) {
				out, err := e.ErasureReceipt(ctx, x.caller, x.id)
				out.Keys, out.Steps = list(out.Keys), list(out.Steps)
				return out, err
			}),
		newOperation("POST", "/v1/holds", "placeHold", tag, "Keep an instance or a person from being erased",
			func(ctx context.Context, x *exchange, in api.HoldRequest) (api.Hold, error) {
				return e.PlaceHold(ctx, x.caller, in, x.idem)
			}),
		newOperation("GET", "/v1/holds", "listHolds", tag, "List the holds in force",
			func(ctx context.Context, x *exchange, in api.Page) (api.Holds, error) {
				out, err := e.Holds(ctx, x.caller, engine.Page(in))
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("POST", "/v1/holds/{hold}/release", "releaseHold", tag, "Take one hold away",
			func(ctx context.Context, x *exchange, _ none) (api.Hold, error) {
				return e.ReleaseHold(ctx, x.caller, x.id, x.idem)
			}),
	}
}

// keyRoutes take no idempotency keys: doing any of it again does no harm.
func (s *Server) keyRoutes() []*operation {
	e, tag := s.engine, "keys"
	rotate := newOperation("POST", "/v1/keys/rotate", "rotateKey", tag, "Make a new tenant key, a new version of a root key, or a new data key of the tenant's own or of a person",
		func(ctx context.Context, x *exchange, in api.RotateKeyRequest) (api.RotatedKey, error) {
			return e.RotateKey(ctx, x.caller, in)
		})
	rewrap := newOperation("POST", "/v1/keys/rewrap", "rewrapKeys", tag, "Begin to wrap the data keys anew, under the newest tenant key",
		func(ctx context.Context, x *exchange, in api.RewrapRequest) (api.Rewrap, error) {
			return e.RewrapKeys(ctx, x.caller, in)
		})
	retire := newOperation("POST", "/v1/keys/retire", "retireKey", tag, "Give up an old key for good, or say what still needs it",
		func(ctx context.Context, x *exchange, in api.RetireKeyRequest) (api.Retirement, error) {
			return e.RetireKey(ctx, x.caller, in)
		})
	renew := newOperation("POST", "/v1/keys/renew", "renewKeys", tag, "Give a page of running instances or of persons new data keys",
		func(ctx context.Context, x *exchange, in api.RenewKeysRequest) (api.KeysRenewed, error) {
			return e.RenewKeys(ctx, x.caller, in)
		})
	rotate.unkeyed, rewrap.unkeyed, renew.unkeyed, retire.unkeyed = true, true, true, true
	return []*operation{
		newOperation("GET", "/v1/keys", "listKeys", tag, "List the keys that wrap the tenant's data keys",
			func(ctx context.Context, x *exchange, _ none) (api.Keys, error) {
				out, err := e.Keys(ctx, x.caller)
				out.TenantKeys, out.RootKeys, out.Services = list(out.TenantKeys), list(out.RootKeys), list(out.Services)
				out.Purposes = list(out.Purposes)
				return out, err
			}),
		rotate, rewrap, renew, retire,
	}
}

// readiness is the path that says whether the server can work.
const readiness = "/readyz"

// ownRoutes are about the server itself and need no credentials.
func (s *Server) ownRoutes() []*operation {
	tag := "server"
	routes := []*operation{
		newOperation("GET", "/healthz", "getHealth", tag, "Say that the server runs",
			func(context.Context, *exchange, none) (api.Health, error) { return api.Health{Status: "ok"}, nil }),
		newOperation[none, api.Health]("GET", readiness, "getReadiness", tag, "Say whether the server can work", nil),
		newOperation[none, document]("GET", "/openapi.json", "getOpenAPI", tag, "Describe this API (OpenAPI 3.1)", nil),
	}
	for _, o := range routes {
		o.public = true
	}
	routes[0].free, routes[1].free = true, true // somebody asks every few seconds
	routes[1].serve = s.ready
	routes[2].serve = func(_ context.Context, x *exchange) error {
		description, err := s.openapi()
		if err != nil {
			return err
		}
		x.write(http.StatusOK, "application/json", description)
		return nil
	}
	return routes
}

// ready answers 503 with the names of what is missing. Why it is missing is
// for the log: the answer goes to anybody.
func (s *Server) ready(ctx context.Context, x *exchange) error {
	out, status := api.Health{Status: "ok", Checks: map[string]string{}}, http.StatusOK
	checks := s.engine.Ready(ctx)
	if s.draining.Err() != nil {
		out.Checks["serving"], status = "draining", http.StatusServiceUnavailable
	}
	for name, err := range checks {
		switch out.Checks[name] = "ok"; {
		case fault.CodeOf(err) == api.CodeDegraded:
			out.Status, out.Checks[name] = api.CodeDegraded, api.CodeDegraded
		case err != nil:
			out.Checks[name], status = fault.KindOf(err).String(), http.StatusServiceUnavailable
		}
		s.missing.note(x, name, err)
	}
	if status != http.StatusOK {
		out.Status = "unavailable"
	}
	return x.answer(status, out)
}

// missing is what readiness last said is missing, by its code: readiness is asked every
// few seconds, and the log is to tell of a change.
type missing struct {
	mu    sync.Mutex // guards codes
	codes map[string]string
}

func (m *missing) note(x *exchange, name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.codes == nil {
		m.codes = map[string]string{}
	}
	before, code := m.codes[name], ""
	if err != nil {
		code = cmp.Or(fault.CodeOf(err), fault.KindOf(err).String())
	}
	m.codes[name] = code
	switch {
	case code == before:
	case err != nil:
		x.logFailure(err)
	default:
		x.server.log.InfoContext(x.r.Context(), "works again", "check", name)
	}
}

// methodNotAllowed answers what has a path of ours and a method of somebody else's.
func methodNotAllowed(path string, allowed []string) *operation {
	allow := allowHeader(allowed)
	return &operation{
		method: "other", path: path, id: "methodNotAllowed", public: true,
		serve: func(_ context.Context, x *exchange) error {
			x.w.Header().Set("Allow", allow)
			return fault.New(fault.Invalid, "this path allows %s only", allow).WithCode(api.CodeMethodNotAllowed)
		},
	}
}

func allowHeader(methods []string) string {
	if slices.Contains(methods, "GET") { // net/http answers HEAD where there is GET
		methods = append(methods, "HEAD")
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

func noSuchRoute() *operation {
	return &operation{
		method: "other", path: "unmatched", id: "noSuchRoute", public: true,
		serve: func(context.Context, *exchange) error {
			return fault.New(fault.NotFound, "there is no such path; GET /openapi.json lists those there are")
		},
	}
}

// list makes the empty list of a nil one, which JSON would show as null.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
