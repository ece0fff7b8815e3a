package engine_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
)

// emergency is a company with two instances that nobody but the Viewer Vic and the Admins
// Ann and Abe sees, all masked, and people who have been there for longer than a day.
type emergency struct {
	*testenv.Env
	clock         *clock
	first, second string // instances
	dora, vic     string // API keys: of a Designer, who sees no instance, and of a Viewer
	abe           engine.Caller
}

func newEmergency(t *testing.T, edit func(*node.Config)) *emergency {
	t.Helper()
	w := &emergency{clock: newClock(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC))}
	w.Env = testenv.New(t, func(c *node.Config) {
		c.Now = w.clock.now
		if edit != nil {
			edit(c)
		}
	})
	w.Deploy("c.bpmn", classified)
	for _, id := range []*string{&w.first, &w.second} {
		var err error
		if *id, err = startWith(t, w.Env, w.Ann, somebody); err != nil {
			t.Fatal(err)
		}
	}
	w.dora, w.vic, w.abe = w.PersonsKey("dora", "Designer"), w.PersonsKey("vic", "Viewer"), w.Person("abe", "Admin")
	w.clock.pass(25 * time.Hour)
	return w
}

// ask has somebody ask for the first instance, for an hour.
func (w *emergency) ask(t *testing.T, key string) string {
	t.Helper()
	b, err := w.Engine.RequestBreakGlass(t.Context(), w.SignIn(key), api.BreakGlassRequest{Instance: w.first, Reason: "alarm 7", LastsMS: 3_600_000}, "")
	if err != nil || b.State != "pending" || b.Approver != "" {
		t.Fatalf("asked: %+v, %v", b, err)
	}
	return b.ID
}

// broken has somebody see the first instance, which Ann approves.
func (w *emergency) broken(t *testing.T, key string) string {
	t.Helper()
	id := w.ask(t, key)
	b, err := w.Engine.ApproveBreakGlass(t.Context(), w.Ann, id, api.ReasonRequest{Reason: "seen"}, "")
	if err != nil || b.State != "approved" || b.Approver != "ann" || b.Process != "classified" || !b.Expires.Equal(w.clock.now().Add(time.Hour)) {
		t.Fatalf("approved: %+v, %v", b, err)
	}
	if !w.reveals(t, key, w.first) {
		t.Fatal("it shows nothing")
	}
	return id
}

// reveals reports whether the bearer of a key is shown the salary of an instance.
func (w *emergency) reveals(t *testing.T, key, instance string) bool {
	t.Helper()
	c, err := w.Engine.Authenticate(t.Context(), key, "192.0.2.1")
	if err != nil {
		return false
	}
	seen, err := w.Engine.Instance(t.Context(), c, instance)
	if err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Denied) {
		t.Fatal(err)
	}
	var variables struct{ Salary int }
	if err == nil {
		err = json.Unmarshal(seen.Variables, &variables)
	}
	return err == nil && variables.Salary == 1000
}

// TestBreakGlass on both databases, over a restart: what two people give is seen, is in
// the log with the reason, and ends.
func TestBreakGlass(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds: left out by -short")
	}
	t.Run("SQLite", func(t *testing.T) { breakGlass(t, newEmergency(t, nil)) })
	t.Run("Postgres", func(t *testing.T) {
		dsn := pgtest.Database(t)
		breakGlass(t, newEmergency(t, func(c *node.Config) { c.DSN = dsn }))
	})
}

func breakGlass(t *testing.T, w *emergency) {
	ctx := t.Context()
	id := w.ask(t, w.dora)
	if w.reveals(t, w.dora, w.first) {
		t.Error("it counts before somebody approved it")
	}
	for range 2 { // a request that is repeated
		if b, err := w.Engine.ApproveBreakGlass(ctx, w.Ann, id, api.ReasonRequest{}, "k"); err != nil || b.State != "approved" {
			t.Fatalf("approved: %+v, %v", b, err)
		}
	}
	w.Restart(nil)
	if !w.reveals(t, w.dora, w.first) || w.reveals(t, w.dora, w.second) {
		t.Error("it does not show the one instance alone")
	}
	dora := w.SignIn(w.dora)
	instances, err := w.Engine.Instances(ctx, dora, engine.InstanceFilter{}, engine.Page{})
	if err != nil || len(instances.Items) != 1 || instances.Items[0].ID != w.first {
		t.Errorf("she finds %+v, %v, want %s", instances.Items, err, w.first)
	}
	for what, err := range map[string]error{
		"cancels it": errorOf(w.Engine.Cancel(ctx, dora, w.first, "")),
		"exports it": errorOf(w.Engine.Export(ctx, dora, w.first)),
	} {
		if !fault.Is(err, fault.Denied) {
			t.Errorf("she %s: %v, want Denied", what, err)
		}
	}
	x, err := w.Engine.Explain(ctx, w.Ann, api.ExplainQuery{Principal: "dora", Action: "value:reveal", ID: w.first, Field: "salary"})
	if err != nil || !x.Allowed || len(x.Reasons) != 1 || x.Reasons[0].Policy != "break-glass" || len(x.Grants) != 1 || x.Grants[0].ID != id || x.Grants[0].Instance != w.first {
		t.Errorf("it is explained by %+v, %v", x, err)
	}
	w.clock.pass(time.Hour)
	if w.reveals(t, w.dora, w.first) {
		t.Error("it counts when its time is over")
	}
	x, err = w.Engine.Explain(ctx, w.Ann, api.ExplainQuery{Principal: "dora", Action: "instance:read", ID: w.first})
	if err != nil || x.Allowed || len(x.NearMisses) != 1 || x.NearMisses[0].Grant != id || x.NearMisses[0].Condition != "expired" {
		t.Errorf("that it is over is explained by %+v, %v", x, err)
	}
	for who, want := range map[string]int{w.dora: 1, w.vic: 0, w.Key(): 1} {
		list, err := w.Engine.BreakGlasses(ctx, w.SignIn(who))
		if err != nil || len(list.Items) != want || want == 1 && (list.Items[0].State != "expired" || list.Items[0].Reason != "alarm 7") {
			t.Errorf("somebody sees %+v, %v, want %d", list.Items, err, want)
		}
	}
	w.isTold(t, id)
	checkedWhole(t, w.Env)
}

// isTold requires that the log has the break-glass, and what it showed with the reason.
func (w *emergency) isTold(t *testing.T, id string) {
	t.Helper()
	sequenced(t, w.Env)
	for kind, who := range map[string]string{"breakglass.": "ann dora", "data.revealed": "dora"} {
		found, err := w.Engine.Audit(t.Context(), w.Ann, api.AuditQuery{AuditFilter: api.AuditFilter{Kind: kind}})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, one := range found.Items {
			names = append(names, one.Principal)
			revealed := kind == "data.revealed"
			if !strings.Contains(string(one.Details), id) || revealed && (one.Purpose != "alarm 7" || len(one.Shown) != 1) {
				t.Errorf("an entry %s says %+v", one.Kind, one)
			}
		}
		if got := strings.Join(names, " "); got != who {
			t.Errorf("entries %s are of %q, want %q", kind, got, who)
		}
	}
}

// TestBreakGlassIsNotTakenAlong by who may export what they see, and prove it.
func TestBreakGlassIsNotTakenAlong(t *testing.T) {
	t.Parallel()
	w := newEmergency(t, nil)
	w.broken(t, w.vic)
	vic := w.SignIn(w.vic)
	export, err := w.Engine.Export(t.Context(), vic, w.first)
	all, _ := json.Marshal(export)
	if err != nil || !slices.Contains(export.Masked, "salary") || strings.Contains(string(all), `"salary":1000`) {
		t.Errorf("the export is %s, %v, want the salary masked", all, err)
	}
	_, err = testenv.Proven(func() ([]byte, error) {
		return w.Engine.Evidence(t.Context(), vic, api.EvidenceRequest{Instance: w.first, Step: 1, Fields: []string{"salary"}})
	})
	if fault.CodeOf(err) != "masked" {
		t.Errorf("evidence of the salary: %v, want masked", err)
	}
}

// TestBreakGlassShowsNothingThatTheLogCannotTell since the log is told first.
func TestBreakGlassShowsNothingThatTheLogCannotTell(t *testing.T) {
	t.Parallel()
	w := newEmergency(t, nil)
	w.broken(t, w.dora)
	dora := w.SignIn(w.dora)
	execRaw(t, w.Env, `CREATE TRIGGER no_leaves BEFORE INSERT ON leaves BEGIN SELECT RAISE(ABORT, 'no leaves'); END`)
	if seen, err := w.Engine.Instance(t.Context(), dora, w.first); err == nil || seen.Variables != nil {
		t.Errorf("shown without a leaf: %s, %v", seen.Variables, err)
	}
}

// TestWhatEndsABreakGlass at once.
func TestWhatEndsABreakGlass(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds: left out by -short")
	}
	w := newEmergency(t, nil)
	ctx, e, why := t.Context(), w.Engine, api.ReasonRequest{Reason: "over"}
	ends := func(c engine.Caller) func(string) error {
		return func(id string) error { return errorOf(e.EndBreakGlass(ctx, c, id, why, "")) }
	}
	for _, c := range []struct {
		name string
		end  func(id string) error
	}{
		{"whom it is for", ends(w.SignIn(w.dora))},
		{"who approved it", ends(w.Ann)},
		{"another administrator", ends(w.abe)},
		{"the end of all her sessions", func(string) error { return errorOf(e.EndUserSessions(ctx, w.Ann, "dora", why, "")) }},
		{"the end of all sessions of the company", func(string) error { return errorOf(e.EndAllSessions(ctx, w.Ann, why, "")) }},
		{"disabling her, also when she is enabled again", func(string) error {
			if _, err := e.DisableUser(ctx, w.Ann, "dora", why, ""); err != nil {
				return err
			}
			return errorOf(e.EnableUser(ctx, w.Ann, "dora", why, ""))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := w.broken(t, w.dora)
			if err := c.end(id); err != nil {
				t.Fatal(err)
			}
			if w.reveals(t, w.dora, w.first) {
				t.Error("it counts still")
			}
		})
	}
}

// TestWhatNobodyBreaks is what a break-glass does not lift.
func TestWhatNobodyBreaks(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds: left out by -short")
	}
	w := newEmergency(t, nil)
	ctx, e := t.Context(), w.Engine
	acme := w.Tenant("acme")
	id := w.broken(t, w.dora)
	if _, err := e.ApproveBreakGlass(ctx, acme.Ann, id, api.ReasonRequest{}, ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("another company approves it: %v, want NotFound", err)
	}
	if _, err := e.EndBreakGlass(ctx, acme.Ann, id, api.ReasonRequest{}, ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("another company ends it: %v, want NotFound", err)
	}
	theirs, err := e.RequestBreakGlass(ctx, acme.Ann, api.BreakGlassRequest{Instance: w.first, Reason: "curious", LastsMS: 1}, "")
	if err != nil {
		t.Fatal(err) // it is not said whether there is such an instance
	}
	w.clock.pass(25 * time.Hour)
	if _, err := e.ApproveBreakGlass(ctx, acme.Person("eve", "Admin"), theirs.ID, api.ReasonRequest{}, ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("an instance of another company: %v, want NotFound", err)
	}
	for _, c := range []struct {
		name        string
		lift, again func() error
	}{
		{"a network", func() error {
			return errorOf(e.SetNetworks(ctx, w.abe, api.NetworksRequest{Networks: api.Networks{Roles: []api.RoleNetworks{{Role: "Designer", From: []string{"198.51.100.0/24"}}}}}, ""))
		}, func() error { return errorOf(e.SetNetworks(ctx, w.abe, api.NetworksRequest{}, "")) }},
		{"a policy of the company", func() error {
			return errorOf(e.SetPolicies(ctx, w.Ann, api.PoliciesRequest{Text: `@id("no-glass") forbid (principal, action, resource) when { context.rights.contains("break-glass") };`}, ""))
		}, func() error { return errorOf(e.SetPolicies(ctx, w.Ann, api.PoliciesRequest{}, "")) }},
		{"being disabled", func() error { return errorOf(e.DisableUser(ctx, w.Ann, "dora", api.ReasonRequest{}, "")) },
			func() error { return errorOf(e.EnableUser(ctx, w.Ann, "dora", api.ReasonRequest{}, "")) }},
		{"erasure", func() error { return errorOf(order(t, w.Env, "subject", "p-1", 0)) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.clock.pass(25 * time.Hour)
			w.broken(t, w.dora)
			if err := c.lift(); err != nil {
				t.Fatal(err)
			}
			if c.again == nil {
				seen, err := w.Engine.Instance(ctx, w.SignIn(w.dora), w.first)
				if err != nil || strings.Contains(string(seen.Variables), "flu") {
					t.Errorf("shown %s, %v", seen.Variables, err)
				}
				return
			}
			if w.reveals(t, w.dora, w.first) {
				t.Error("it is lifted")
			}
			if err := c.again(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestBreakGlassTakesTwoPeople who did not make each other up.
func TestBreakGlassTakesTwoPeople(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds: left out by -short")
	}
	w := newEmergency(t, nil)
	ctx, e := t.Context(), w.Engine
	made, err := e.CreateAPIKey(ctx, w.Ann, api.APIKeyRequest{User: "abe"}, "")
	if err != nil {
		t.Fatal(err)
	}
	w.clock.pass(25 * time.Hour)
	vics := w.ask(t, w.vic)
	anns := w.ask(t, w.Key())
	newcomer := w.PersonsKey("nell", "Viewer")
	nells := w.ask(t, newcomer)
	refused := func(what string, c engine.Caller, id, code string) {
		t.Helper()
		if _, err := e.ApproveBreakGlass(ctx, c, id, api.ReasonRequest{}, ""); fault.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", what, err, code)
		}
	}
	refused("who asked", w.SignIn(w.Key()), anns, "own_break_glass")
	refused("by a key that who asked made", w.SignIn(made.Text), anns, "others_key")
	refused("an administrator since just now", w.Person("new", "Admin"), vics, "not_settled")
	refused("somebody who is new asks", w.SignIn(w.Key()), nells, "not_settled")
	if _, err := e.ApproveBreakGlass(ctx, w.SignIn(w.dora), vics, api.ReasonRequest{}, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("a Designer approves: %v, want Denied", err)
	}
	if _, err := e.GiveUserRole(ctx, w.Ann, "abe", api.RoleRequest{Role: "Viewer"}, ""); err != nil {
		t.Fatal(err)
	}
	refused("somebody whose roles have changed just now", w.abe, anns, "not_settled")
	if _, err := e.TakeUserRole(ctx, w.Ann, "vic", api.RoleRequest{Role: "Viewer"}, ""); err != nil {
		t.Fatal(err)
	}
	refused("who asked may not any more", w.SignIn(w.Key()), vics, "asker_may_not")
	w.clock.pass(25 * time.Hour)
	refused("too late", w.abe, anns, "decided")
	if b, err := e.ApproveBreakGlass(ctx, w.abe, w.ask(t, w.Key()), api.ReasonRequest{}, ""); err != nil || b.Approver != "abe" {
		t.Errorf("a day later: %+v, %v", b, err)
	}
}

// TestBreakGlassIsForThePersonAlone who asked, and not for who has another way in of theirs,
// or gets one.
func TestBreakGlassIsForThePersonAlone(t *testing.T) {
	t.Parallel()
	w := newEmergency(t, nil)
	ctx, e := t.Context(), w.Engine
	other, err := e.CreateAPIKey(ctx, w.Ann, api.APIKeyRequest{User: "dora"}, "")
	if err != nil {
		t.Fatal(err)
	}
	setIssuer(t, w.Env, "corp", corp)
	w.clock.pass(25 * time.Hour)
	w.broken(t, w.dora)
	if w.reveals(t, other.Text, w.first) {
		t.Error("another key of hers shows it")
	}
	for name, add := range map[string]func() error{
		"a key": func() error {
			return errorOf(e.CreateAPIKey(ctx, w.Ann, api.APIKeyRequest{User: "dora"}, ""))
		},
		"a link to an issuer": func() error {
			return errorOf(e.LinkUser(ctx, w.Ann, "dora", api.LinkRequest{Issuer: "corp", Subject: "7"}, ""))
		},
	} {
		if err := add(); err != nil {
			t.Fatal(err)
		}
		if w.reveals(t, w.dora, w.first) {
			t.Errorf("it counts once she has got %s", name)
		}
		w.clock.pass(25 * time.Hour)
		w.broken(t, w.dora)
	}
}

// TestBreakGlassBySession counts in each of her sessions, for no key, and not any more once
// a passkey is new.
func TestBreakGlassBySession(t *testing.T) {
	t.Parallel()
	w := newEmergency(t, nil)
	a := testenv.NewAuthenticator(t, false)
	a.Counter = 1
	personWithPasskey(t, w.Env, "eve", a, "Viewer")
	key, err := w.Engine.CreateAPIKey(t.Context(), w.Ann, api.APIKeyRequest{User: "eve"}, "")
	if err != nil {
		t.Fatal(err)
	}
	w.clock.pass(25 * time.Hour)
	signIn := func() api.NewSession {
		t.Helper()
		s, err := w.Engine.SignInByPasskey(t.Context(), a.SignIn(askToSignIn(t, w.Env)), home)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := signIn() // which is a step of hers, and nothing that lets somebody else in
	eve := by(t, w.Env, s)
	b, err := w.Engine.RequestBreakGlass(t.Context(), eve, api.BreakGlassRequest{Instance: w.first, Reason: "alarm 8", LastsMS: 3_600_000}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Engine.ApproveBreakGlass(t.Context(), w.Ann, b.ID, api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	if !w.reveals(t, s.Text, w.first) || !w.reveals(t, signIn().Text, w.first) || w.reveals(t, key.Text, w.first) {
		t.Error("it does not count in her sessions alone")
	}
	w.clock.pass(time.Minute)
	registerPasskey(t, w.Env, eve, testenv.NewAuthenticator(t, false))
	if w.reveals(t, s.Text, w.first) {
		t.Error("it counts once a passkey is new")
	}
	b, err = w.Engine.RequestBreakGlass(t.Context(), eve, api.BreakGlassRequest{Instance: w.first, Reason: "alarm 8", LastsMS: 3_600_000}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Engine.ApproveBreakGlass(t.Context(), w.Ann, b.ID, api.ReasonRequest{}, ""); fault.CodeOf(err) != "not_settled" {
		t.Errorf("asked for by who has a passkey since just now: %v, want not_settled", err)
	}
}

// TestNobodyUsesUpBreakGlass for the others of the company.
func TestNobodyUsesUpBreakGlass(t *testing.T) {
	t.Parallel()
	w := newEmergency(t, nil)
	refused := func(what string) {
		t.Helper()
		_, err := w.Engine.RequestBreakGlass(t.Context(), w.SignIn(w.dora), api.BreakGlassRequest{Instance: w.first, Reason: "r", LastsMS: 1000}, "")
		if fault.CodeOf(err) != "too_many_break_glass" {
			t.Errorf("%s: %v, want too_many_break_glass", what, err)
		}
	}
	first := w.ask(t, w.dora)
	w.ask(t, w.dora)
	w.ask(t, w.dora)
	refused("a fourth that waits")
	w.ask(t, w.vic)
	if _, err := w.Engine.EndBreakGlass(t.Context(), w.SignIn(w.dora), first, api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	w.ask(t, w.dora)
	refused("a fourth, of which one has ended")
	w.clock.pass(25 * time.Hour)
	w.ask(t, w.dora)
}

func TestBreakGlassRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newEmergency(t, nil)
	ctx, e := t.Context(), w.Engine
	hour := 3_600_000
	for name, c := range map[string]struct {
		asked api.BreakGlassRequest
		code  string
	}{
		"too long":          {api.BreakGlassRequest{Instance: w.first, Reason: "r", LastsMS: 4*hour + 1}, "too_long"},
		"no time":           {api.BreakGlassRequest{Instance: w.first, Reason: "r"}, "too_long"},
		"no reason":         {api.BreakGlassRequest{Instance: w.first, Reason: " ", LastsMS: hour}, "reason_missing"},
		"a reason of lines": {api.BreakGlassRequest{Instance: w.first, Reason: "a\nb", LastsMS: hour}, "invalid_purpose"},
		"nothing":           {api.BreakGlassRequest{Reason: "r", LastsMS: hour}, "invalid_break_glass"},
		"two things":        {api.BreakGlassRequest{Instance: w.first, Process: "classified", Reason: "r", LastsMS: hour}, "invalid_break_glass"},
		"everything":        {api.BreakGlassRequest{Process: "*", Reason: "r", LastsMS: hour}, "invalid_break_glass"},
	} {
		if _, err := e.RequestBreakGlass(ctx, w.Ann, c.asked, ""); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	if _, err := e.RequestBreakGlass(ctx, w.Person("pia", "Auditor"), api.BreakGlassRequest{Instance: w.first, Reason: "r", LastsMS: hour}, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("an Auditor asks: %v, want Denied", err)
	}
	_, err := e.InviteUser(ctx, w.Ann, api.UserRequest{Name: "robot", Kind: "service", Roles: []string{"Executor"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	key, err := e.CreateAPIKey(ctx, w.Ann, api.APIKeyRequest{User: "robot"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.RequestBreakGlass(ctx, w.SignIn(key.Text), api.BreakGlassRequest{Instance: w.first, Reason: "r", LastsMS: hour}, ""); fault.CodeOf(err) != "no_person" {
		t.Errorf("a program asks: %v, want no_person", err)
	}
	gone, err := e.RequestBreakGlass(ctx, w.Ann, api.BreakGlassRequest{Process: "none", Reason: "r", LastsMS: hour}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.ApproveBreakGlass(ctx, w.abe, gone.ID, api.ReasonRequest{}, ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("a process that is not there: %v, want NotFound", err)
	}
}

// TestABreakGlassBySQLDoesNotCount whose end is taken back behind the server's back.
func TestABreakGlassBySQLDoesNotCount(t *testing.T) {
	t.Parallel()
	w := newEmergency(t, nil)
	ctx := t.Context()
	id := w.broken(t, w.dora)
	settings, err := w.Engine.Settings(ctx, w.Ann)
	if err != nil {
		t.Fatal(err)
	}
	old := ""
	w.Restart(func() { old = copied(t, w.Config.Data, filepath.Join(t.TempDir(), "old")) })
	if _, err := w.Engine.EndBreakGlass(ctx, w.Ann, id, api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	setObjectBack(t, w.Env, filepath.Join(old, "data.db"), settings.Object)
	if err := signIn(t, w.Env, w.dora); !fault.Is(err, fault.Integrity) {
		t.Errorf("with the company's object set back: %v, want Integrity", err)
	}
}

// setObjectBack gives an object the rows that it has in an older database, and no others.
func setObjectBack(t *testing.T, env *testenv.Env, old, object string) {
	t.Helper()
	id, err := store.ParseID(object)
	if err != nil {
		t.Fatal(err)
	}
	db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	defer db.Close()
	if _, err := db.Exec(`ATTACH ? AS old`, old); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"steps", "leaves", "fields"} {
		if r, err := db.Exec(`DELETE FROM `+table+` WHERE object = ?1 AND seq > (SELECT seq FROM old.heads WHERE object = ?1)`, id[:]); err != nil {
			t.Fatal(err)
		} else if n, err := r.RowsAffected(); n == 0 || err != nil {
			t.Fatalf("no row of %s is taken away, %v", table, err)
		}
	}
	if _, err := db.Exec(`UPDATE heads SET (seq, body) = (SELECT seq, body FROM old.heads o WHERE o.object = ?1) WHERE object = ?1`, id[:]); err != nil {
		t.Fatal(err)
	}
}
