package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
)

// Variables returns v, a map or struct, as the JSON object that calls take. It
// panics on what JSON cannot hold (channels, functions, NaN), which is a defect
// of the program. The call that takes variables with text that is not UTF-8 sends
// nothing and returns an error that names its place (IsInvalid). Use json.Number for
// numbers of more than 15 digits.
func Variables(v any) json.RawMessage {
	data, err := encode(v)
	if err != nil {
		panic(fmt.Sprintf("client: variables of type %T: %v", v, err))
	}
	return data
}

// encode returns v as JSON. Of one with text that is not UTF-8 that is left, which no
// call sends.
func encode(v any) (json.RawMessage, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if bad := badText(reflect.ValueOf(v), 0); bad != nil {
		return bad, nil
	}
	return data, nil
}

// get, send make the requests of a route: its values go into the braces.
func get(route string, values ...string) request {
	return send(http.MethodGet, route, nil, values...)
}

func send(method, route string, body any, values ...string) request {
	r := request{method: method, route: route, path: route, body: body}
	for _, v := range values {
		before, rest, _ := strings.Cut(r.path, "{")
		name, after, _ := strings.Cut(rest, "}")
		r.path = before + url.PathEscape(v) + after
		if v == "" {
			r.empty = name
		}
	}
	return r
}

// with adds query parameters, pairs of name and value; empty ones are left out.
func (r request) with(pairs ...string) request {
	r.query = url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			r.query.Set(pairs[i], pairs[i+1])
		}
	}
	return r
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// Proposals lists the deployments that wait for a second person.
func (c *Client) Proposals(ctx context.Context) (api.Proposals, error) {
	return call[api.Proposals](ctx, c, get("/v1/deployments"))
}

// Proposal shows a deployment that waits for a second person, with its files.
func (c *Client) Proposal(ctx context.Context, id string) (api.Proposal, error) {
	return call[api.Proposal](ctx, c, get("/v1/deployments/{deployment}", id))
}

// ApproveDeployment deploys what somebody else proposed.
func (c *Client) ApproveDeployment(ctx context.Context, id, reason string) (api.Deployment, error) {
	return call[api.Deployment](ctx, c, send("POST", "/v1/deployments/{deployment}/approve", api.ReasonRequest{Reason: reason}, id))
}

// WithdrawDeployment ends a deployment that waits for a second person.
func (c *Client) WithdrawDeployment(ctx context.Context, id, reason string) (api.Proposal, error) {
	return call[api.Proposal](ctx, c, send("POST", "/v1/deployments/{deployment}/withdraw", api.ReasonRequest{Reason: reason}, id))
}

// Deploy deploys a set of files, whole or not at all. Where a second person has to approve,
// it deploys nothing yet, and Pending is what waits.
func (c *Client) Deploy(ctx context.Context, files ...api.File) (api.Deployment, error) {
	return call[api.Deployment](ctx, c, send("POST", "/v1/deployments", api.DeployRequest{Files: files}))
}

// Processes lists the newest versions of all processes.
func (c *Client) Processes(ctx context.Context, p api.Page) (api.Processes, error) {
	return call[api.Processes](ctx, c, get("/v1/processes").with("after", p.After, "limit", number(p.Limit)))
}

// Process shows a version of a process; 0 is the newest.
func (c *Client) Process(ctx context.Context, id string, version int) (api.Process, error) {
	return call[api.Process](ctx, c, get("/v1/processes/{process}", id).with("version", number(version)))
}

// Model returns the file that was deployed, byte for byte.
func (c *Client) Model(ctx context.Context, id string, version int) ([]byte, error) {
	return c.do(ctx, get("/v1/processes/{process}/model", id).with("version", number(version)))
}

// SetMode sets whether new instances are confidential: "standard",
// "confidential", or "model" to follow the model again.
func (c *Client) SetMode(ctx context.Context, process, mode string) (api.Process, error) {
	return call[api.Process](ctx, c, send("PUT", "/v1/processes/{process}/mode", api.ModeRequest{Mode: mode}, process))
}

// Start starts an instance.
func (c *Client) Start(ctx context.Context, in api.StartRequest) (api.Receipt, error) {
	return call[api.Receipt](ctx, c, send("POST", "/v1/instances", in))
}

// Instances lists instances, newest first.
func (c *Client) Instances(ctx context.Context, f api.InstanceFilter, p api.Page) (api.Instances, error) {
	return call[api.Instances](ctx, c, get("/v1/instances").with("process", f.Process, "status", f.Status,
		"business_key", f.BusinessKey, "field", f.Field, "value", f.Value, "after", p.After, "limit", number(p.Limit)))
}

// Instance shows an instance, its variables and where it waits.
func (c *Client) Instance(ctx context.Context, id string) (api.Instance, error) {
	return call[api.Instance](ctx, c, get("/v1/instances/{instance}", id))
}

// Steps lists the steps of an instance, oldest first.
func (c *Client) Steps(ctx context.Context, id string, p api.Page) (api.Steps, error) {
	return call[api.Steps](ctx, c, get("/v1/instances/{instance}/steps", id).with("after", p.After, "limit", number(p.Limit)))
}

// Export returns all data of an instance.
func (c *Client) Export(ctx context.Context, id string) (api.Export, error) {
	return call[api.Export](ctx, c, get("/v1/instances/{instance}/export", id))
}

// Cancel ends an instance.
func (c *Client) Cancel(ctx context.Context, id string) (api.Receipt, error) {
	return call[api.Receipt](ctx, c, send("POST", "/v1/instances/{instance}/cancel", nil, id))
}

// SetVariables changes variables of a running instance.
func (c *Client) SetVariables(ctx context.Context, id string, variables json.RawMessage) (api.Receipt, error) {
	return call[api.Receipt](ctx, c, send("PATCH", "/v1/instances/{instance}/variables", api.VariablesRequest{Variables: variables}, id))
}

// Tasks lists open tasks, those of the oldest instance first.
func (c *Client) Tasks(ctx context.Context, f api.TaskFilter, p api.Page) (api.Tasks, error) {
	unassigned := ""
	if f.Unassigned {
		unassigned = "true"
	}
	return call[api.Tasks](ctx, c, get("/v1/tasks").with("process", f.Process, "assignee", f.Assignee,
		"group", f.Group, "user", f.User, "unassigned", unassigned, "after", p.After, "limit", number(p.Limit)))
}

// Task shows a task with its form and data.
func (c *Client) Task(ctx context.Context, id string) (api.Task, error) {
	return call[api.Task](ctx, c, get("/v1/tasks/{task}", id))
}

// Claim takes a task for somebody; "" is the caller.
func (c *Client) Claim(ctx context.Context, id, assignee string) (api.Receipt, error) {
	return call[api.Receipt](ctx, c, send("POST", "/v1/tasks/{task}/claim", api.ClaimRequest{Assignee: assignee}, id))
}

// Unclaim gives a task back.
func (c *Client) Unclaim(ctx context.Context, id string) (api.Receipt, error) {
	return call[api.Receipt](ctx, c, send("POST", "/v1/tasks/{task}/unclaim", nil, id))
}

// SaveTask saves what a person has entered so far.
func (c *Client) SaveTask(ctx context.Context, id string, draft json.RawMessage) (api.Receipt, error) {
	return call[api.Receipt](ctx, c, send("PUT", "/v1/tasks/{task}/draft", api.DraftRequest{Draft: draft}, id))
}

// CompleteTask completes a task with what the person entered; nil is nothing.
func (c *Client) CompleteTask(ctx context.Context, id string, variables json.RawMessage) (api.Receipt, error) {
	return call[api.Receipt](ctx, c, send("POST", "/v1/tasks/{task}/complete", api.CompleteTaskRequest{Variables: variables}, id))
}

// ActivateJobs leases jobs and waits up to in.WaitMS for the first. A Worker
// does this, and all that follows from it, by itself.
func (c *Client) ActivateJobs(ctx context.Context, in api.ActivateRequest) (api.Jobs, error) {
	r := send("POST", "/v1/jobs/activate", in)
	r.wait = time.Duration(in.WaitMS) * time.Millisecond
	return call[api.Jobs](ctx, c, r)
}

// CompleteJob reports the result of a job.
func (c *Client) CompleteJob(ctx context.Context, id string, in api.CompleteJobRequest) (api.Receipt, error) {
	return call[api.Receipt](ctx, c, send("POST", "/v1/jobs/{job}/complete", in, id))
}

// FailJob reports a failed try.
func (c *Client) FailJob(ctx context.Context, id string, in api.FailJobRequest) (api.Receipt, error) {
	return call[api.Receipt](ctx, c, send("POST", "/v1/jobs/{job}/fail", in, id))
}

// ErrorJob throws a BPMN error.
func (c *Client) ErrorJob(ctx context.Context, id string, in api.ErrorJobRequest) (api.Receipt, error) {
	return call[api.Receipt](ctx, c, send("POST", "/v1/jobs/{job}/error", in, id))
}

// ExtendJob lengthens a lease, counted from now.
func (c *Client) ExtendJob(ctx context.Context, id string, in api.ExtendJobRequest) (api.Lease, error) {
	return call[api.Lease](ctx, c, send("POST", "/v1/jobs/{job}/extend", in, id))
}

// Incidents lists open incidents, those of the oldest instance first; process "" is all.
func (c *Client) Incidents(ctx context.Context, process string, p api.Page) (api.Incidents, error) {
	return call[api.Incidents](ctx, c, get("/v1/incidents").with("process", process, "after", p.After, "limit", number(p.Limit)))
}

// RetryIncident tries again what failed; a job gets new tries, 0 is three.
func (c *Client) RetryIncident(ctx context.Context, id string, retries int) (api.Receipt, error) {
	return call[api.Receipt](ctx, c, send("POST", "/v1/incidents/{incident}/retry", api.RetryRequest{Retries: retries}, id))
}

// Keys lists the keys that wrap the tenant's data keys.
func (c *Client) Keys(ctx context.Context) (api.Keys, error) {
	return call[api.Keys](ctx, c, get("/v1/keys"))
}

// RotateKey makes a new tenant key, or a new version of a root key.
func (c *Client) RotateKey(ctx context.Context, in api.RotateKeyRequest) (api.RotatedKey, error) {
	return call[api.RotatedKey](ctx, c, send("POST", "/v1/keys/rotate", in))
}

// RewrapKeys begins to wrap the data keys anew; Keys says how far that is.
func (c *Client) RewrapKeys(ctx context.Context, in api.RewrapRequest) (api.Rewrap, error) {
	return call[api.Rewrap](ctx, c, send("POST", "/v1/keys/rewrap", in))
}

// RenewKeys gives a page of running instances, or of persons, new data keys, or a page of
// instances new index tokens; go on with Next.
func (c *Client) RenewKeys(ctx context.Context, in api.RenewKeysRequest) (api.KeysRenewed, error) {
	return call[api.KeysRenewed](ctx, c, send("POST", "/v1/keys/renew", in))
}

// RetireKey gives up an old key for good, or says what still needs it.
func (c *Client) RetireKey(ctx context.Context, in api.RetireKeyRequest) (api.Retirement, error) {
	return call[api.Retirement](ctx, c, send("POST", "/v1/keys/retire", in))
}

// Health asks whether the server runs. It is tried once.
func (c *Client) Health(ctx context.Context) (api.Health, error) {
	r := get("/healthz")
	r.tries = 1
	return call[api.Health](ctx, c, r)
}

// Ready asks whether the server can work; Status is "ok" if so, and Checks name
// what is missing if not. It is tried once.
func (c *Client) Ready(ctx context.Context) (api.Health, error) {
	r := get("/readyz")
	r.tries = 1
	return call[api.Health](ctx, c, r)
}

// OpenAPI returns the API's description.
func (c *Client) OpenAPI(ctx context.Context) ([]byte, error) { return c.do(ctx, get("/openapi.json")) }

// PlaceHold keeps an instance or a person from being erased.
func (c *Client) PlaceHold(ctx context.Context, r api.HoldRequest) (api.Hold, error) {
	return call[api.Hold](ctx, c, send("POST", "/v1/holds", r))
}

// ReleaseHold takes one hold away.
func (c *Client) ReleaseHold(ctx context.Context, id string) (api.Hold, error) {
	return call[api.Hold](ctx, c, send("POST", "/v1/holds/{hold}/release", nil, id))
}

// Holds lists the holds in force.
func (c *Client) Holds(ctx context.Context, p api.Page) (api.Holds, error) {
	return call[api.Holds](ctx, c, get("/v1/holds").with("after", p.After, "limit", number(p.Limit)))
}

// OrderErasure orders that the keys of an instance or a person be destroyed.
func (c *Client) OrderErasure(ctx context.Context, r api.ErasureRequest) (api.Erasure, error) {
	return call[api.Erasure](ctx, c, send("POST", "/v1/erasures", r))
}

// PreviewErasure says what an erasure would take away, and what holds it.
func (c *Client) PreviewErasure(ctx context.Context, t api.ErasureTarget) (api.ErasurePreview, error) {
	return call[api.ErasurePreview](ctx, c, send("POST", "/v1/erasures/preview", t))
}

// CancelErasure takes an order back before it is due.
func (c *Client) CancelErasure(ctx context.Context, id string) (api.Erasure, error) {
	return call[api.Erasure](ctx, c, send("POST", "/v1/erasures/{erasure}/cancel", nil, id))
}

// Erasures lists what was ordered to be erased.
func (c *Client) Erasures(ctx context.Context, p api.Page) (api.Erasures, error) {
	return call[api.Erasures](ctx, c, get("/v1/erasures").with("after", p.After, "limit", number(p.Limit)))
}

// ErasureReceipt says what an erasure did, and from when on nothing of it can be
// read anywhere.
func (c *Client) ErasureReceipt(ctx context.Context, id string) (api.ErasureReceipt, error) {
	return call[api.ErasureReceipt](ctx, c, get("/v1/erasures/{erasure}/receipt", id))
}

// VerifyErasure tries to read what was erased, a part at a time: after is the Next of
// the part before, "" for the first.
func (c *Client) VerifyErasure(ctx context.Context, id, after string) (api.ErasureCheck, error) {
	return call[api.ErasureCheck](ctx, c, send("POST", "/v1/erasures/{erasure}/verify", api.ErasureCheckRequest{After: after}, id))
}
