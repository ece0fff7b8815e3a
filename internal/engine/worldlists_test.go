package engine_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/network"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/testenv"
)

// guest is somebody who looks at a company, and who they are by what a world says.
type guest struct {
	visitor
	c   engine.Caller
	who *access.Effective
	at  *built
}

// admit has a visitor come in. Not ok: they may not, as they should.
func (b *built) admit(t fataler, w *randomWorld, v visitor) (g *guest, in bool) {
	t.Helper()
	p := identity.Principal{Name: v.Name, Kind: access.User, State: identity.Active, Roles: v.Roles, Groups: v.Groups, Grants: w.grants(v.Grants, b.instances)}
	who := access.Principal{Name: v.Name, Tenant: b.tenant, Kind: access.User, Roles: slices.Clone(v.Roles), Grants: slices.Clone(p.Grants), Scopes: v.Scopes}
	if v.Disabled {
		p.State = identity.Disabled
	}
	var groups []identity.Group
	for _, of := range w.Groups {
		if !slices.Contains(v.Groups, of.Name) {
			continue
		}
		made := identity.Group{Name: of.Name, State: identity.Active, Roles: of.Roles, Grants: w.grants(of.Grants, b.instances)}
		if of.Deleted {
			made.State = identity.Deleted
		} else {
			who.Groups, who.Roles, who.Grants = append(who.Groups, of.Name), append(who.Roles, of.Roles...), append(who.Grants, made.Grants...)
		}
		groups = append(groups, made)
	}
	rules := b.rules(t, w)
	may := !v.Disabled && (w.ViewersFrom == "" || v.From == worldAddresses[0] || !slices.Contains(who.Roles, access.Viewer))
	c, err := engine.AdmitPrincipal(b.env.Engine, b.env.Ann.Scope, rules, p, groups, v.Scopes, v.From)
	if (err == nil) != may {
		t.Fatalf("%s is let in: %v, want %t", v.Name, err, may)
	}
	c.Purpose = v.Purpose
	return &guest{visitor: v, c: c, who: who.Effective(), at: b}, may
}

// rules are what the company has set.
func (b *built) rules(t fataler, w *randomWorld) *identity.Rules {
	t.Helper()
	rules := *b.env.Ann.Rules
	if w.ViewersFrom != "" {
		from, err := network.Parse([]string{w.ViewersFrom})
		must(t, err)
		rules.Tenant.Networks.Roles = []identity.RoleNetworks{{Role: access.Viewer, From: from}}
	}
	if w.Own != "" {
		own, err := rules.Policies.ParseTenantPolicies(w.Own)
		must(t, err)
		rules.Policies = rules.Policies.With(own)
	}
	return &rules
}

// may is what is decided, by what the world says.
func (g *guest) may(action access.Action, on access.Resource) bool {
	in := access.Circumstances{Now: time.Now(), Network: true, Purpose: g.Purpose}
	return g.c.Rules.Policies.Decide(g.who, action, on, in).Allowed
}

// fail fails a test. Ids are told as numbers, so that a world fails alike each time that it
// is built, and can be shrunk.
func (g *guest) fail(t fataler, format string, args ...any) {
	t.Helper()
	var names []string
	for i, on := range g.at.instances {
		names = append(names, on.ID, fmt.Sprint("instance-", i+1))
		if file := g.at.files[on.ID]; file != "" {
			names = append(names, file, fmt.Sprint("file-", i+1))
		}
	}
	t.Fatalf("%s", strings.NewReplacer(names...).Replace(fmt.Sprintf(g.Name+", "+format, args...)))
}

// pages is a list, page by page: ids, and the next page's cursor.
type pages func(engine.Page) (ids []string, next string, err error)

// paged walks through a list and returns the ids, in its order. Each page but the last one
// is full, and where there is a next one, something follows. Who may see nothing of the
// list at all may be Denied.
func (g *guest) paged(t fataler, what string, list pages) []string {
	t.Helper()
	return g.walked(t, what, list, func(page engine.Page, n int, next string) bool {
		return next == "" && (n > 0 || page.After == "") || n == g.Limit
	})
}

// walked is paged for pages that hold something else.
func (g *guest) walked(t fataler, what string, list pages, right func(page engine.Page, n int, next string) bool) []string {
	t.Helper()
	all := []string{}
	for page := pageOf(g.Limit); ; {
		ids, next, err := list(page)
		switch {
		case fault.Is(err, fault.Denied) && page.After == "":
			return all
		case err != nil:
			g.fail(t, "%s: %v", what, err)
		case len(ids) > g.Limit || !right(page, len(ids), next):
			g.fail(t, "%s: a page of %d has %d, the next one is after %q", what, g.Limit, len(ids), next)
		}
		if all = append(all, ids...); next == "" {
			return all
		}
		page.After = next
	}
}

// decided returns the ids of those of some resources that may be seen and are asked for,
// in the order of a list.
func (g *guest) decided(action access.Action, on []access.Resource, asked func(access.Resource) bool, order func(a, b string) int) []string {
	ids := []string{}
	for _, r := range on {
		if asked(r) && g.may(action, r) {
			ids = append(ids, r.ID)
		}
	}
	slices.SortFunc(ids, order)
	return ids
}

// Orders of lists, by ids.
var (
	newestFirst = func(a, b string) int { return cmp.Compare(b, a) }
	oldestFirst = func(a, b string) int {
		i, m, _ := strings.Cut(a, ".")
		j, n, _ := strings.Cut(b, ".")
		x, _ := strconv.Atoi(m)
		y, _ := strconv.Atoi(n)
		return cmp.Or(cmp.Compare(i, j), cmp.Compare(x, y))
	}
)

// compare requires that a list is what is decided.
func (g *guest) compare(t fataler, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		g.fail(t, "%s are %v, want %v", what, got, want)
	}
}

func idsOf[T any](items []T, id func(T) string) (ids []string) {
	for _, item := range items {
		ids = append(ids, id(item))
	}
	return ids
}

// lists requires of each list of records that it is what is decided, of all that there is
// in both companies.
func (g *guest) lists(ctx context.Context, t fataler, other *built) {
	t.Helper()
	e, here, there := g.at.env.Engine, g.at, other
	g.compare(t, "processes", g.paged(t, "processes", func(p engine.Page) ([]string, string, error) {
		l, err := e.Processes(ctx, g.c, p)
		return idsOf(l.Items, func(p api.Process) string { return p.ID }), l.Next, err
	}), g.decided(access.ReadProcess, slices.Concat(here.processes, there.processes), func(access.Resource) bool { return true }, cmp.Compare[string]))

	status := func(r access.Resource) string { return cmp.Or(here.status[r.ID], there.status[r.ID]) }
	asked := func(r access.Resource) bool {
		return (g.Process == "" || g.Process == r.Process) && (g.Status == "" || g.Status == status(r))
	}
	g.compare(t, "instances", g.instances(ctx, t, engine.InstanceFilter{Process: g.Process, Status: g.Status}),
		g.decided(access.ReadInstance, slices.Concat(here.instances, there.instances), asked, newestFirst))

	f := engine.TaskFilter{Process: g.Process, Assignee: g.Assignee, Group: g.Group, User: g.User, Unassigned: g.Unassigned}
	g.compare(t, "tasks", g.paged(t, "tasks", func(p engine.Page) ([]string, string, error) {
		l, err := e.Tasks(ctx, g.c, f, p)
		return idsOf(l.Items, func(i api.Task) string { return i.ID }), l.Next, err
	}), g.decided(access.ReadTask, slices.Concat(here.tasks, there.tasks), func(r access.Resource) bool {
		return (f.Process == "" || f.Process == r.Process) && (f.Assignee == "" || f.Assignee == r.Assignee) && (!f.Unassigned || r.Assignee == "") &&
			(f.Group == "" || slices.Contains(r.Groups, f.Group)) && (f.User == "" || slices.Contains(r.Users, f.User))
	}, oldestFirst))

	incidents := map[string]api.Incident{}
	g.compare(t, "incidents", g.paged(t, "incidents", func(p engine.Page) ([]string, string, error) {
		l, err := e.Incidents(ctx, g.c, g.Process, p)
		for _, i := range l.Items {
			incidents[i.ID] = i
		}
		return idsOf(l.Items, func(i api.Incident) string { return i.ID }), l.Next, err
	}), g.decided(access.ReadIncident, slices.Concat(here.incidents, there.incidents), func(r access.Resource) bool {
		return g.Process == "" || g.Process == r.Process
	}, oldestFirst))
	for _, on := range here.incidents {
		if i, listed := incidents[on.ID]; listed {
			reads, clear := g.field(on, process.PolicyPath(process.IncidentPath(1)), true)
			if (i.Message != "") != clear || (len(i.Masked) > 0) != (reads && !clear) {
				g.fail(t, "of the message of %s is decided: read %t, clear %t; shown %q, masked %v", i.ID, reads, clear, i.Message, i.Masked)
			}
		}
	}
}

func (g *guest) instances(ctx context.Context, t fataler, f engine.InstanceFilter) []string {
	t.Helper()
	return g.paged(t, "instances", func(p engine.Page) ([]string, string, error) {
		l, err := g.at.env.Engine.Instances(ctx, g.c, f, p)
		return idsOf(l.Items, func(i api.Instance) string { return i.ID }), l.Next, err
	})
}

// field is what is decided about a field of what somebody looks at.
func (g *guest) field(on access.Resource, path string, sensitive bool) (reads, clear bool) {
	on.Kind, on.Field = access.Field, path
	reads = g.may(access.ReadValue, on)
	return reads, reads && (!sensitive || g.may(access.RevealValue, on))
}

// finds requires that a search by a value finds what may be seen and, with that field in
// clear, has it.
func (g *guest) finds(ctx context.Context, t fataler) {
	t.Helper()
	of, sensitive := cmp.Or(g.Process, "car"), g.Field != "company"
	want := g.decided(access.ReadInstance, g.at.instances, func(r access.Resource) bool {
		value, has := textIn(g.at.says[r.ID].value(g.Field))
		_, clear := g.field(r, g.Field, sensitive)
		return r.Process == of && !g.at.erased[r.ID] && has && value == g.Value && clear
	}, newestFirst)
	f := engine.InstanceFilter{Process: of, Field: g.Field, Value: g.Value}
	_, err := g.at.env.Engine.Instances(ctx, g.c, f, pageOf(1))
	switch {
	case fault.CodeOf(err) == "not_searchable" && of == "car" && g.Field == "company" && g.at.anew:
		return
	case fault.Is(err, fault.Denied) && g.broken(), fault.Is(err, fault.NotFound) && !g.may(access.ReadProcess, access.Resource{Kind: access.Process, ID: of, Process: of, Tenant: g.at.tenant}):
		return // of a break-glass for one instance a search knows nothing
	case fault.Is(err, fault.Denied):
		g.compare(t, "a refused search", nil, want)
		return
	}
	g.compare(t, "a search", g.instances(ctx, t, f), want)
}

// broken reports whether they have a break-glass.
func (g *guest) broken() bool {
	return slices.ContainsFunc(g.who.Principal().Grants, func(of access.Grant) bool { return of.Right == access.ByBreakGlass })
}

// looks requires that instances and tasks are there as is decided, and of each field what
// is decided about it.
func (g *guest) looks(ctx context.Context, t fataler) {
	t.Helper()
	e := g.at.env.Engine
	for _, on := range g.at.instances {
		seen, err := e.Instance(ctx, g.c, on.ID)
		switch may := g.may(access.ReadInstance, on); {
		case fault.Is(err, fault.Denied) && !may:
			return // they could see nothing
		case !may && !fault.Is(err, fault.NotFound), may && g.at.erased[on.ID] && !fault.Is(err, fault.Sealed), may && !g.at.erased[on.ID] && err != nil:
			g.fail(t, "instance %s: %v, decided: %t", on.ID, err, may)
		case err == nil:
			g.fields(t, on, seen.Variables, seen.Masked)
			g.infos(t, on, &seen)
		}
	}
	for _, on := range g.at.tasks {
		seen, err := e.Task(ctx, g.c, on.ID)
		switch may := g.may(access.ReadTask, on); {
		case fault.Is(err, fault.Denied) && !may:
			return
		case !may && !fault.Is(err, fault.NotFound), may && err != nil:
			g.fail(t, "task %s: %v, decided: %t", on.ID, err, may)
		case err == nil:
			g.fields(t, on, seen.Variables, seen.Masked)
		}
	}
}

// loads requires that files are given to who sees in clear where they stand: in an
// instance, an open task or an open job, whose files they may read.
func (g *guest) loads(ctx context.Context, t fataler) {
	t.Helper()
	for _, on := range g.at.instances {
		file := g.at.files[on.ID]
		if file == "" {
			continue
		}
		want, sees := fault.NotFound, g.may(access.ReadInstance, on)
		if sees && (g.at.erased[on.ID] || !g.readsFiles(on)) {
			want = fault.Denied // or Sealed
		}
		through := []access.Resource{on}
		for _, of := range slices.Concat(g.at.tasks, g.at.open) {
			if of.Instance == on.ID {
				through = append(through, of)
			}
		}
		for _, of := range through {
			if g.at.erased[on.ID] || !g.readsFiles(of) {
				continue
			}
			reads, clear := g.field(of, "scan", true)
			if of.Kind != access.Job {
				readsIt, clearIt := g.field(of, "$file:"+file, true)
				reads, clear = reads || readsIt, clear || clearIt
			}
			if reads {
				want = fault.Denied
			}
			if clear {
				want = 0
				break
			}
		}
		d, err := g.at.env.Engine.File(ctx, g.c, on.ID, file)
		if !failsAs(err, want) && !(want == fault.Denied && g.at.erased[on.ID] && fault.Is(err, fault.Sealed)) && !(want == fault.NotFound && fault.Is(err, fault.Denied) && !g.readsSome()) {
			g.fail(t, "the file of %s: %v, decided: %v", on.ID, err, want)
		}
		if err == nil {
			must(t, d.Close())
		}
	}
}

// readsSome reports whether there is anything whose files they could read.
func (g *guest) readsSome() bool {
	in := access.Circumstances{Now: time.Now(), Network: true, Purpose: g.Purpose}
	return g.c.Rules.Policies.Could(g.who, access.ReadFile, access.Instance, in)
}

func (g *guest) readsFiles(of access.Resource) bool {
	sight := map[access.Kind]access.Action{access.Instance: access.ReadInstance, access.Task: access.ReadTask, access.Job: access.WorkJobs}
	return g.may(sight[of.Kind], of) && g.may(access.ReadFile, of)
}

// isAbroad requires that what another company has is not there, by its id.
func (g *guest) isAbroad(ctx context.Context, t fataler, other *built) {
	t.Helper()
	e := g.at.env.Engine
	for _, on := range other.instances[:min(1, len(other.instances))] {
		if _, err := e.Instance(ctx, g.c, on.ID); !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Denied) {
			g.fail(t, "an instance of another company: %v", err)
		}
	}
	for _, on := range other.tasks[:min(1, len(other.tasks))] {
		if _, err := e.Task(ctx, g.c, on.ID); !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Denied) {
			g.fail(t, "a task of another company: %v", err)
		}
	}
}

// fields requires that of each field that is shown which is decided about it.
func (g *guest) fields(t fataler, on access.Resource, variables json.RawMessage, masked []string) {
	t.Helper()
	in := g.at.says[on.Instance]
	for _, f := range worldFields {
		of := on
		of.InForm = f.inForm && on.Element == "ask"
		reads, clear := g.field(of, f.path, f.sensitive)
		has := in.value(f.path) != "" && in.value(f.path) != "null"
		if standsIn(t, variables, f.at) != (has && clear) || has && slices.Contains(masked, f.path) != (reads && !clear) {
			g.fail(t, "of %s in %s %s is decided: read %t, clear %t; shown %s, masked %v", f.path, on.Kind, on.ID, reads, clear, variables, masked)
		}
	}
}

// infos requires that of an instance no field is named that may not be read, and that its
// file is told of to who sees in clear where it stands.
func (g *guest) infos(t fataler, on access.Resource, seen *api.Instance) {
	t.Helper()
	stands, _ := g.field(on, "scan", true)
	paths := slices.Concat(idsOf(seen.Fields, func(f api.FieldInfo) string { return f.Path }), seen.Masked, seen.Erased)
	for _, path := range paths {
		reads, _ := g.field(on, process.PolicyPath(path), false)
		if !reads && !(stands && strings.HasPrefix(path, "$file:")) {
			g.fail(t, "%s is named, and may not be read", path)
		}
	}
	if file := g.at.files[on.ID]; file != "" {
		_, here := g.field(on, "scan", true)
		_, itself := g.field(on, "$file:"+file, true)
		if (len(seen.Files) > 0) != (here || itself) {
			g.fail(t, "the files %+v are told of", seen.Files)
		}
	}
}

// works takes jobs: as many as are asked for of those that may be worked and that nobody has.
func (g *guest) works(ctx context.Context, t fataler) {
	t.Helper()
	var may []string
	for _, on := range g.at.jobs {
		if g.may(access.WorkJobs, on) {
			may = append(may, on.ID)
		}
	}
	list, err := g.at.env.Engine.ActivateJobs(ctx, g.c, api.ActivateRequest{Type: "work", Worker: "w", Max: g.Jobs})
	if fault.Is(err, fault.Denied) {
		g.compare(t, "jobs", nil, may)
		return
	}
	must(t, err)
	for _, job := range list.Items {
		i := slices.IndexFunc(g.at.jobs, func(r access.Resource) bool { return r.ID == job.ID })
		if i < 0 || !slices.Contains(may, job.ID) {
			g.fail(t, "the job %s, want of %v", job.ID, may)
		}
		on := g.at.jobs[i]
		on.Given = true
		g.fields(t, on, job.Variables, job.Masked)
		g.at.jobs = slices.Delete(g.at.jobs, i, i+1)
	}
	if len(list.Items) != min(g.Jobs, len(may)) {
		g.fail(t, "%d jobs, want %d of %v", len(list.Items), g.Jobs, may)
	}
}

// offices requires that each list of the company itself is all there is, for who may see
// it, and nothing for others.
func (g *guest) offices(ctx context.Context, t fataler) {
	t.Helper()
	e := g.at.env.Engine
	for _, o := range []struct {
		what   string
		action access.Action
		kind   access.Kind
		owner  string
		want   []string
		list   pages
	}{
		{"users", access.ReadPrincipal, access.Someone, "", g.at.users, func(p engine.Page) ([]string, string, error) {
			l, err := e.Users(ctx, g.c, p)
			return idsOf(l.Items, func(u api.User) string { return u.Name }), l.Next, err
		}},
		{"groups", access.ReadGroup, access.Group, "", g.at.groups, func(p engine.Page) ([]string, string, error) {
			l, err := e.Groups(ctx, g.c, p)
			return idsOf(l.Items, func(g api.Group) string { return g.Name }), l.Next, err
		}},
		{"grants", access.ReadGrant, access.Given, "", g.at.grants, func(p engine.Page) ([]string, string, error) {
			l, err := e.Grants(ctx, g.c, engine.GrantsOf{}, p)
			return idsOf(l.Items, func(g api.Grant) string { return g.ID }), l.Next, err
		}},
		{"their own grants", access.ReadGrant, access.Given, g.Name, g.at.own[g.Name], func(p engine.Page) ([]string, string, error) {
			l, err := e.Grants(ctx, g.c, engine.GrantsOf{User: g.Name}, p)
			return idsOf(l.Items, func(g api.Grant) string { return g.ID }), l.Next, err
		}},
		{"API keys", access.ReadAPIKey, access.APIKey, "", []string{"ann"}, func(p engine.Page) ([]string, string, error) {
			l, err := e.APIKeys(ctx, g.c, "", p)
			return idsOf(l.Items, func(k api.APIKey) string { return k.User }), l.Next, err
		}},
	} {
		want := []string{}
		if o.owner != "" && !slices.Contains(g.at.users, o.owner) {
			continue // there is nobody of that name
		}
		if g.may(o.action, access.Resource{Kind: o.kind, Tenant: g.at.tenant, Owner: o.owner}) {
			want = slices.Sorted(slices.Values(o.want))
		}
		// Who may see one of them may see all, so a page may end where somebody has none.
		got := g.walked(t, o.what, o.list, func(engine.Page, int, string) bool { return true })
		slices.Sort(got)
		g.compare(t, o.what, got, want)
	}
	_, err := e.Audit(ctx, g.c, api.AuditQuery{Page: api.Page{Limit: g.Limit}})
	if may := g.may(access.ReadAudit, access.Resource{Kind: access.Log, Tenant: g.at.tenant}); may != (err == nil) || !may && !fault.Is(err, fault.Denied) {
		g.fail(t, "the audit: %v, decided: %t", err, may)
	}
}

// shown requires that what somebody is shown is what is decided, whatever they ask for.
func (g *guest) shown(ctx context.Context, t fataler, other *built) {
	t.Helper()
	g.lists(ctx, t, other)
	g.finds(ctx, t)
	g.looks(ctx, t)
	g.loads(ctx, t)
	g.isAbroad(ctx, t, other)
	g.offices(ctx, t)
}

// worldsTried is how many worlds a test builds: that takes longer than to look at them.
func worldsTried(env *testenv.Env) int {
	switch {
	case testing.Short():
		return 2
	case env.Config.DSN != "":
		return 5
	}
	return 12
}

// In every world, whoever asks: what is listed and shown is what is decided.
func TestListsAreDecisionsInEveryWorld(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		ctx, tried, failed := t.Context(), 0, false
		there := newNeighbour(t, env)
		rapid.Check(t, func(t *rapid.T) {
			if tried >= worldsTried(env) && !failed { // one that fails is built as often as it takes to shrink it
				return
			}
			tried, failed = tried+1, true
			w := aWorld().Draw(t, "world")
			here := buildWorld(ctx, t, env.Tenant(fmt.Sprint("world-", tried)), &w)
			for _, v := range w.Visitors {
				if g, in := here.admit(t, &w, v); in {
					g.shown(ctx, t, there)
					g.works(ctx, t)
				}
			}
			if g, in := there.admit(t, &w, w.Visitors[0]); in {
				g.shown(ctx, t, here)
			}
			failed = false
		})
	})
}

// What there is in worlds, each alone, shows what is decided.
func TestListsAreDecisionsForEachRightAlone(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("everything, for everybody: random worlds are tried")
	}
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := fullWorld()
		here := newNeighbour(t, env)
		there := buildWorld(t.Context(), t, env.Tenant("far-away"), w)
		visits := func(t *testing.T, w *randomWorld, v visitor) {
			t.Helper()
			if v.Name == "" {
				v.Name = "dan"
			}
			v.From, v.Limit, v.Jobs = cmp.Or(v.From, worldAddresses[0]), cmp.Or(v.Limit, 2), 1
			v.Field, v.Value = cmp.Or(v.Field, "region"), cmp.Or(v.Value, "N")
			g, in := here.admit(t, w, v)
			if !in {
				return
			}
			g.lists(t.Context(), t, there)
			g.finds(t.Context(), t)
			g.works(t.Context(), t)
			if env.Config.DSN == "" { // these ask both databases for the same
				g.looks(t.Context(), t)
				g.loads(t.Context(), t)
				g.offices(t.Context(), t)
			}
		}
		for _, role := range access.Roles() {
			if role == access.Operator {
				continue // of no company but main
			}
			visits(t, w, visitor{Roles: []access.Role{role}})
			visits(t, w, visitor{Roles: []access.Role{role}, Name: "zoe", Groups: []string{"clerks", "gone"}, Purpose: "a reason"})
		}
		for _, g := range eachGrant() {
			visits(t, w, visitor{Grants: []worldGrant{g}})
			if g.Right == access.ToReveal {
				visits(t, w, visitor{Grants: []worldGrant{g}, Roles: []access.Role{access.Viewer}, Purpose: "a reason"})
			}
			g.Hours = -1
			visits(t, w, visitor{Grants: []worldGrant{g}})
			g.Hours = 0
			by := *w
			by.Groups = []worldGroup{{Name: "night", Grants: []worldGrant{g}}, {Name: "gone", Deleted: true, Roles: []access.Role{access.Viewer}, Grants: []worldGrant{g}}}
			visits(t, &by, visitor{Groups: worldGroups, Limit: 3})
		}
		all := visitor{Roles: []access.Role{access.Viewer, access.Executor}, Groups: []string{"night"}, Grants: eachGrant(), Limit: 3}
		visits(t, w, all)
		for _, f := range []visitor{
			{Process: "car"}, {Status: "canceled"}, {Assignee: "zoe"}, {Group: "night"}, {User: "eve"}, {Unassigned: true}, {Field: "company", Value: "A"}, {Field: "person.ward", Value: "W"},
			{Disabled: true}, {Scopes: []access.Scope{"task:*", "value:*"}}, {From: worldAddresses[1]},
		} {
			f.Roles, f.Grants = all.Roles, all.Grants
			visits(t, w, f)
		}
		for _, own := range worldForbids {
			with := *w
			with.Own, with.ViewersFrom = own, "192.0.2.0/24"
			visits(t, &with, all)
		}
	})
}

// eachGrant is a grant of every kind that worlds have.
func eachGrant() []worldGrant {
	grants := []worldGrant{
		{Right: access.ToRead, Process: "car", Fields: []string{access.All}}, {Right: access.ToRead, Process: "home", Fields: []string{"note", "region"}},
		{Right: access.ToReveal, Process: access.All, Fields: []string{access.All}}, {Right: access.ToReveal, Process: "car", Fields: []string{"person"}, Purpose: "always"},
		{Right: access.ToWork, Process: "home", Task: "ask"}, {Right: access.ToWork, Process: "car", Task: "works"},
		{Right: access.ByBreakGlass, Process: "home", Purpose: "fire"}, {Right: access.ByBreakGlass, Process: "car", Purpose: "fire", Glass: 1},
	}
	for _, right := range []access.Right{access.ToView, access.ToManage} {
		for _, on := range [][2]string{{"company", "B"}, {"region", "N"}, {"person.ward", "W"}} {
			grants = append(grants, worldGrant{Right: right, Process: "home", Path: on[0], Value: on[1]})
		}
		grants = append(grants, worldGrant{Right: right, Process: "car", Path: "company"}, worldGrant{Right: right, Process: "car", Path: "company", Value: "B"})
	}
	for _, right := range []access.Right{access.ToView, access.ToWork, access.ToManage, access.ToStart, access.ToDesign} {
		grants = append(grants, worldGrant{Right: right, Process: "home"}, worldGrant{Right: right, Process: access.All})
	}
	return grants
}
