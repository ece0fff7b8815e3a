// Package testenv is a whole Underseal node in process, for scenario tests: real
// database, key file, engine and runner, everything but the network.
package testenv

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/passkey"
)

// Env is a running node with one administrator, Ann, who has every role but Auditor,
// works and manages everything, and sees it in clear.
type Env struct {
	t       testing.TB
	Config  node.Config
	Blobs   *Blobs // where the node keeps files, unless Config says otherwise
	Node    *node.Node
	Engine  *engine.Engine
	Ann     engine.Caller
	annsKey string
}

// New starts a node on SQLite in a temporary directory. Edit, which may be nil,
// changes its configuration first. Nodes may have one past in common, and so their
// deployment, keys and Ann; see NewDeployment.
func New(t testing.TB, edit func(*node.Config)) *Env {
	t.Helper()
	e := configured(t, edit)
	if !usual(e.Config) {
		e.begin()
		return e
	}
	e.annsKey = copyTemplate(t, e.Config)
	e.open()
	e.signIn()
	return e
}

// NewDeployment is New, and the node has nothing in common with any other.
func NewDeployment(t testing.TB, edit func(*node.Config)) *Env {
	t.Helper()
	e := configured(t, edit)
	e.begin()
	return e
}

// configured returns a node that is not open yet, and closes it with the test.
func configured(t testing.TB, edit func(*node.Config)) *Env {
	t.Helper()
	dir := t.TempDir()
	e := &Env{t: t, Blobs: &Blobs{}}
	e.Config = node.Config{
		OpenBlobs: func(string) (blob.Store, error) { return e.Blobs, nil },
		Data:      filepath.Join(dir, "data"), KeyFile: filepath.Join(dir, "keys", "key"), Create: true,
		Passkeys: passkey.RelyingParty{ID: PasskeyHost, Origins: []string{PasskeyOrigin}},
	}
	if testing.Verbose() {
		e.Config.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if err := os.Mkdir(filepath.Dir(e.Config.KeyFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(&e.Config)
	}
	t.Cleanup(e.close)
	return e
}

// begin opens a new node and makes Ann.
func (e *Env) begin() {
	e.t.Helper()
	e.open()
	made, err := e.Engine.NewSetupLink(e.t.Context(), "main")
	if err != nil {
		e.t.Fatal(err)
	}
	e.setUp(made.Link)
}

func (e *Env) open() {
	e.t.Helper()
	n, err := node.Open(e.t.Context(), e.Config)
	if err != nil {
		e.t.Fatal(err)
	}
	e.Node, e.Engine = n, n.Engine
}

// setUp makes the tenant's first administrator, by its link.
func (e *Env) setUp(link string) {
	e.t.Helper()
	var err error
	if e.annsKey, err = letIn(e.t.Context(), e.Engine, link); err != nil {
		e.t.Fatal(err)
	}
	e.signIn()
}

// SetUp lets Ann into the tenant main, or in again, without an Env. It returns her API key.
func SetUp(ctx context.Context, e *engine.Engine) (string, error) {
	made, err := e.NewSetupLink(ctx, "main")
	if err != nil {
		return "", err
	}
	return letIn(ctx, e, made.Link)
}

// letIn uses a tenant's link for Ann, who then gives herself what no role gives: all
// processes to work, to manage and to see in clear.
func letIn(ctx context.Context, e *engine.Engine, link string) (string, error) {
	done, err := e.Setup(ctx, api.SetupRequest{Link: link, Name: "ann"}, "192.0.2.1")
	if err != nil {
		return "", err
	}
	ann, err := e.Authenticate(ctx, done.Key.Text, "192.0.2.1")
	if err != nil {
		return "", err
	}
	for _, g := range []api.GrantRequest{
		{Right: "work", Process: "*"}, {Right: "manage", Process: "*"}, {Right: "reveal", Process: "*", Fields: []string{"*"}, Purpose: "tests"},
	} {
		g.User = "ann"
		if _, err = e.GiveGrant(ctx, ann, g, ""); err != nil {
			return "", err
		}
	}
	return done.Key.Text, nil
}

func (e *Env) signIn() { e.Ann = e.SignIn(e.annsKey) }

// SignIn admits the bearer of an API key, which must be good.
func (e *Env) SignIn(key string) engine.Caller {
	e.t.Helper()
	c, err := e.Engine.Authenticate(e.t.Context(), key, "192.0.2.1")
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

// Person invites somebody with roles, and lets them in.
func (e *Env) Person(name string, roles ...string) engine.Caller {
	e.t.Helper()
	return e.SignIn(e.PersonsKey(name, roles...))
}

// PersonsKey is Person, and returns their API key.
func (e *Env) PersonsKey(name string, roles ...string) string {
	e.t.Helper()
	invited, err := e.Engine.InviteUser(e.t.Context(), e.Ann, api.UserRequest{Name: name, Kind: "user", Roles: roles}, "")
	if err != nil {
		e.t.Fatal(err)
	}
	done, err := e.Engine.Setup(e.t.Context(), api.SetupRequest{Link: invited.Link}, "192.0.2.1")
	if err != nil {
		e.t.Fatal(err)
	}
	return done.Key.Text
}

// Tenant makes another company on the same node. In what it returns, Ann is that
// company's administrator; it must not be restarted.
func (e *Env) Tenant(name string) *Env {
	e.t.Helper()
	made, err := e.Engine.CreateTenant(e.t.Context(), e.Ann, api.TenantRequest{Name: name}, "")
	if err != nil {
		e.t.Fatal(err)
	}
	company := *e
	company.setUp(made.Link)
	return &company
}

func (e *Env) close() {
	if e.Node == nil {
		return
	}
	if err := e.Node.Close(); err != nil {
		e.t.Error(err)
	}
	e.Node = nil
}

// Key returns Ann's API key.
func (e *Env) Key() string { return e.annsKey }

// Restart closes the node and opens it again. Between, if not nil, runs while it
// is closed.
func (e *Env) Restart(between func()) {
	e.t.Helper()
	e.close()
	if between != nil {
		between()
	}
	e.open()
	e.signIn()
}

// Deploy deploys files, given as name and content in turn.
func (e *Env) Deploy(files ...string) api.Deployment {
	e.t.Helper()
	var list []api.File
	for i := 0; i < len(files); i += 2 {
		list = append(list, api.File{Name: files[i], Content: []byte(files[i+1])})
	}
	d, err := e.Engine.Deploy(e.t.Context(), e.Ann, list, "")
	if err != nil {
		e.t.Fatal(err)
	}
	return d
}

// Start starts an instance and returns its id.
func (e *Env) Start(process, variables string) string {
	e.t.Helper()
	r, err := e.Engine.Start(e.t.Context(), e.Ann, api.StartRequest{Process: process, Variables: json.RawMessage(variables)}, "")
	if err != nil {
		e.t.Fatal(err)
	}
	return r.Instance
}

// Job leases one job of a type, which must be there.
func (e *Env) Job(kind string) api.Job {
	e.t.Helper()
	jobs, err := e.Engine.ActivateJobs(e.t.Context(), e.Ann, api.ActivateRequest{Type: kind, Worker: "test"})
	if err != nil {
		e.t.Fatal(err)
	}
	if len(jobs.Items) != 1 {
		e.t.Fatalf("%d jobs of type %q wait, want 1 or more", len(jobs.Items), kind)
	}
	return jobs.Items[0]
}

// Work completes one job of a type.
func (e *Env) Work(kind, result string) api.Job {
	e.t.Helper()
	job := e.Job(kind)
	if _, err := e.Engine.CompleteJob(e.t.Context(), e.Ann, job.ID, api.CompleteJobRequest{Lease: job.Lease, Variables: json.RawMessage(result)}, ""); err != nil {
		e.t.Fatal(err)
	}
	return job
}

// Proven makes a call until the log has got as far as it needs, however busy the
// machine is: the engine itself waits for some seconds only.
func Proven[T any](call func() (T, error)) (T, error) {
	for {
		if got, err := call(); fault.CodeOf(err) != "not_sequenced" {
			return got, err
		}
	}
}

// patience is longer than anything takes that Until waits for, however busy the machine.
const patience = 2 * time.Minute

// Until waits until something holds that others bring about.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not: %s", patience, what)
		}
	}
}

// Instance returns an instance.
func (e *Env) Instance(id string) api.Instance {
	e.t.Helper()
	i, err := e.Engine.Instance(e.t.Context(), e.Ann, id)
	if err != nil {
		e.t.Fatal(err)
	}
	return i
}

// Task returns the one open task of an instance.
func (e *Env) Task(instance string) api.Task {
	e.t.Helper()
	for _, w := range e.Instance(instance).Waiting {
		if w.For == "task" {
			task, err := e.Engine.Task(e.t.Context(), e.Ann, w.ID)
			if err != nil {
				e.t.Fatal(err)
			}
			return task
		}
	}
	e.t.Fatalf("instance %s has no open task", instance)
	return api.Task{}
}

// Complete completes the one open task of an instance.
func (e *Env) Complete(instance, entered string) {
	e.t.Helper()
	if _, err := e.Engine.CompleteTask(e.t.Context(), e.Ann, e.Task(instance).ID, []byte(entered), ""); err != nil {
		e.t.Fatal(err)
	}
}
