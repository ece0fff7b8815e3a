package access_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/access"
)

func TestExplain(t *testing.T) {
	on := access.Resource{Kind: access.Task, ID: "1-2", Tenant: "main", Process: "loan", Instance: "1", Element: "approve", Values: map[string]string{"company": "A"}}
	field := access.Resource{Kind: access.Field, Tenant: "main", Process: "loan", Field: "card.number"}
	view := access.Grant{ID: "v", Right: access.ToView, Process: "loan"}
	change := func(g access.Grant, f func(*access.Grant)) access.Grant { f(&g); return g }
	glass := access.Grant{ID: "b", Right: access.ByBreakGlass, Process: "loan", Instance: "1", Purpose: "fire"}
	work := access.Grant{ID: "w", Right: access.ToWork, Process: "loan", Task: "pay"}
	reveal := access.Grant{ID: "r", Right: access.ToReveal, Process: "loan", Fields: []string{"card"}}
	anns := func(g ...access.Grant) access.Principal {
		return access.Principal{Name: "ann", Tenant: "main", Grants: g}
	}
	viewer := access.Principal{Name: "vic", Tenant: "main", Roles: []access.Role{access.Viewer}}
	disabled, scoped := viewer, viewer
	disabled.Disabled, scoped.Scopes = true, []access.Scope{"job:*"}
	permitted := []string{"disabled", "a key for something else", "another network", "two reasons"} // and forbidden
	tests := []struct {
		name    string
		who     access.Principal
		action  access.Action
		on      access.Resource
		in      access.Circumstances
		allowed bool
		reasons string // ids
		grants  string // ids
		misses  string // "grant condition" or "policy"
		text    string // in the last near miss
	}{
		{"by role", viewer, access.ReadTask, on, usual, true, "role-viewer", "", "", ""},
		{"by two grants", anns(view, change(view, func(g *access.Grant) { g.ID = "v2" })), access.ReadTask, on, usual, true, "grant-view", "v v2", "", ""},
		{"nothing at all", anns(), access.ReadTask, on, usual, false, "", "", "", ""},
		{"a grant for something else", anns(reveal), access.ReadTask, on, usual, false, "", "", "", ""},
		{"disabled", disabled, access.ReadTask, on, usual, false, "disabled", "", "disabled", "is disabled"},
		{"a key for something else", scoped, access.ReadTask, on, usual, false, "scope", "", "scope", "credential"},
		{"another network", viewer, access.ReadTask, on, access.Circumstances{Now: noon}, false, "network", "", "network", "network"},
		{"two reasons", disabled, access.ReadTask, on, access.Circumstances{Now: noon}, false, "disabled network", "", "", ""},
		{"forbidden and not permitted", anns(), access.ReadTask, on, access.Circumstances{Now: noon}, false, "network", "", "", ""},
		{"expired", anns(change(view, func(g *access.Grant) { g.Expires = noon })), access.ReadTask, on, usual, false, "", "", "v expired", "expired at 2026-11-22T12:00:00Z"},
		{"just not expired", anns(change(view, func(g *access.Grant) { g.Expires = noon.Add(time.Microsecond) })), access.ReadTask, on, usual, true, "grant-view", "v", "", ""},
		{"another process", anns(change(view, func(g *access.Grant) { g.Process = "travel" })), access.ReadTask, on, usual, false, "", "", "v process", "is for process travel, not loan"},
		{"another task", anns(work), access.ReadTask, on, usual, false, "", "", "w task", "is for task pay, not approve"},
		{"by break-glass", anns(glass), access.ReadTask, on, usual, true, "break-glass", "b", "", ""},
		{"break-glass for another instance", anns(change(glass, func(g *access.Grant) { g.Instance = "2" })), access.ReadTask, on, usual, false, "", "", "b instance", "is for instance 2, not 1"},
		{"another value", anns(change(view, func(g *access.Grant) { g.Where = &access.Where{Path: "company", Value: "B"} })), access.ReadTask, on, usual, false, "", "", "v where", `whose company is "B"`},
		{"a value that is not shown", anns(change(view, func(g *access.Grant) { g.Where = &access.Where{Path: "company", Value: "A"} })), access.ReadTask, on, usual, false, "", "", "v unseen", "is not said"},
		{"another value that is not shown", anns(change(view, func(g *access.Grant) { g.Where = &access.Where{Path: "company", Value: "B"} })), access.ReadTask, on, usual, false, "", "", "v unseen", "is not said"},
		{"another field", anns(change(reveal, func(g *access.Grant) { g.Fields, g.Purpose = []string{"name"}, "audit" })), access.RevealValue, field, usual, false, "", "", "r fields", "is for name, not card.number"},
		{"no purpose", anns(reveal), access.RevealValue, field, usual, false, "", "", "r purpose", "needs a purpose"},
		{"another secret", anns(access.Grant{ID: "u", Right: access.ToUse, Name: "mail"}), access.UseSecret, access.Resource{Kind: access.Secret, Tenant: "main", Name: "bank"}, usual, false, "", "", "u name", "is for mail, not bank"},
		{"two conditions of one grant", anns(change(work, func(g *access.Grant) { g.Expires = noon })), access.ReadTask, on, usual, false, "", "", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var unseen []string
			if strings.HasSuffix(test.name, "not shown") {
				unseen = []string{"company"}
			}
			x := builtin(t).Explain(test.who.Effective(), test.action, test.on, test.in, unseen...)
			if x.Depends != (len(unseen) > 0) {
				t.Errorf("that it depends: %t", x.Depends)
			}
			var reasons, grants, misses []string
			text := ""
			for _, r := range x.Reasons {
				reasons = append(reasons, r.Policy)
				if r.Text == "" {
					t.Errorf("%s has no text", r.Policy)
				}
			}
			for _, g := range x.Grants {
				grants = append(grants, g.ID)
			}
			for _, m := range x.NearMisses {
				misses, text = append(misses, strings.TrimSpace(m.Policy+m.Grant+" "+string(m.Unmet))), m.Text
			}
			if (len(x.Ways) > 0) != (!test.allowed && !slices.Contains(permitted, test.name)) {
				t.Errorf("it takes %+v", x.Ways)
			}
			if x.Allowed != test.allowed || strings.Join(reasons, " ") != test.reasons || strings.Join(grants, " ") != test.grants ||
				strings.Join(misses, ", ") != test.misses || !strings.Contains(text, test.text) {
				t.Errorf("Explain = %+v", x)
			}
		})
	}
}
