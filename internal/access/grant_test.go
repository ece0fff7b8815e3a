package access_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// aGrant draws a grant that can be given, on few enough things that two of them meet.
func aGrant() *rapid.Generator[access.Grant] {
	return rapid.Custom(func(t *rapid.T) access.Grant {
		g := access.Grant{
			ID:    rapid.StringMatching("[a-z]{1,8}").Draw(t, "id"),
			Right: rapid.SampledFrom(access.Rights()).Draw(t, "right"),
		}
		if rapid.IntRange(0, 3).Draw(t, "expires") == 0 {
			g.Expires = noon.Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "hours")) * time.Hour)
		}
		if g.Right == access.ToUse {
			g.Name = rapid.SampledFrom([]string{"mail", "bank", access.All}).Draw(t, "name")
			return g
		}
		g.Process = rapid.SampledFrom([]string{"loan", "travel", access.All}).Draw(t, "process")
		some := g.Process != access.All && rapid.Bool().Draw(t, "some of it")
		switch {
		case g.Right == access.ToRead || g.Right == access.ToReveal:
			g.Fields = rapid.SampledFrom([][]string{{access.All}, {"name"}, {"card", "amount"}, {"card.number"}}).Draw(t, "fields")
			if g.Right == access.ToReveal {
				g.Purpose = rapid.SampledFrom([]string{"", "audit"}).Draw(t, "purpose")
			}
		case some && g.Right == access.ToWork:
			g.Task = rapid.SampledFrom([]string{"approve", "pay"}).Draw(t, "task")
		case some && (g.Right == access.ToView || g.Right == access.ToManage):
			g.Where = &access.Where{Path: "company", Value: rapid.SampledFrom([]string{"A", "B"}).Draw(t, "value")}
		}
		return g
	})
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestGrantsAreReadAsTheyWereSealed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := aGrant().Draw(t, "grant")
		if err := g.Validate(); err != nil {
			t.Fatalf("%+v: %v", g, err)
		}
		decoded, err := canon.Decode(canon.Encode(g.Value()))
		if err != nil {
			t.Fatal(err)
		}
		back, err := access.ParseGrant(decoded)
		if err != nil || !canon.Equal(back.Value(), g.Value()) || !back.Expires.Equal(g.Expires) || !slices.Equal(back.Fields, g.Fields) {
			t.Fatalf("%+v came back as %+v, %v", g, back, err)
		}
	})
}

func TestParseGrantRefusesWhatIsNone(t *testing.T) {
	good := access.Grant{ID: "g", Right: access.ToView, Process: "loan", Where: &access.Where{Path: "company", Value: "A"}, Expires: noon}.Value()
	where, _ := good.Get("where")
	for name, v := range map[string]canon.Value{
		"nothing": nil, "no map": canon.Null{}, "a name more": good.With("x", canon.String("")), "a name less": good.Without("task"),
		"a number": good.With("id", canon.Bool(true)), "an unknown right": good.With("right", canon.String("own")),
		"a field that is no text":      good.With("right", canon.String("read")).With("where", canon.Null{}).With("fields", canon.List{canon.Null{}}),
		"another spelling of the time": good.With("expires", canon.String("2026-11-22T12:00:00.000Z")),
		"no time":                      good.With("expires", canon.String("tomorrow")),
		"a condition too many":         good.With("where", where.(*canon.Context).With("and", canon.String(""))),
		"a condition that is no map":   good.With("where", canon.String("company = A")),
		"a task of what has none":      good.With("task", canon.String("approve")),
	} {
		if _, err := access.ParseGrant(v); fault.CodeOf(err) != "grant_malformed" || !fault.Is(err, fault.Integrity) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGrantsThatCannotBeGiven(t *testing.T) {
	long := strings.Repeat("x", 256)
	tests := []struct {
		name  string
		grant access.Grant
		field string // that the error names
	}{
		{"no id", access.Grant{Right: access.ToView, Process: "loan"}, "id"},
		{"an id of two lines", access.Grant{ID: "a\nb", Right: access.ToView, Process: "loan"}, "id"},
		{"no right", access.Grant{ID: "g", Process: "loan"}, "right"},
		{"an unknown right", access.Grant{ID: "g", Right: "own", Process: "loan"}, "right"},
		{"no process", access.Grant{ID: "g", Right: access.ToView}, "process"},
		{"a long process", access.Grant{ID: "g", Right: access.ToView, Process: long}, "process"},
		{"a secret of a process", access.Grant{ID: "g", Right: access.ToUse, Process: "loan", Name: "mail"}, "process"},
		{"where with start", access.Grant{ID: "g", Right: access.ToStart, Process: "loan", Where: &access.Where{Path: "company"}}, "where"},
		{"where of all processes", access.Grant{ID: "g", Right: access.ToView, Process: access.All, Where: &access.Where{Path: "company"}}, "where"},
		{"where without a path", access.Grant{ID: "g", Right: access.ToView, Process: "loan", Where: &access.Where{Value: "A"}}, "where"},
		{"where with a long value", access.Grant{ID: "g", Right: access.ToView, Process: "loan", Where: &access.Where{Path: "company", Value: long}}, "where"},
		{"a task to see", access.Grant{ID: "g", Right: access.ToView, Process: "loan", Task: "approve"}, "task"},
		{"a task of all processes", access.Grant{ID: "g", Right: access.ToWork, Process: access.All, Task: "approve"}, "task"},
		{"a long task", access.Grant{ID: "g", Right: access.ToWork, Process: "loan", Task: long}, "task"},
		{"fields to start", access.Grant{ID: "g", Right: access.ToStart, Process: "loan", Fields: []string{"name"}}, "fields"},
		{"no fields to read", access.Grant{ID: "g", Right: access.ToRead, Process: "loan"}, "fields"},
		{"a field twice", access.Grant{ID: "g", Right: access.ToRead, Process: "loan", Fields: []string{"name", "name"}}, "fields"},
		{"all fields and one", access.Grant{ID: "g", Right: access.ToReveal, Process: "loan", Fields: []string{"*", "name"}}, "fields"},
		{"an empty field", access.Grant{ID: "g", Right: access.ToRead, Process: "loan", Fields: []string{""}}, "fields"},
		{"101 fields", access.Grant{ID: "g", Right: access.ToRead, Process: "loan", Fields: make([]string, 101)}, "fields"},
		{"use of nothing", access.Grant{ID: "g", Right: access.ToUse}, "name"},
		{"a name to view", access.Grant{ID: "g", Right: access.ToView, Process: "loan", Name: "mail"}, "name"},
		{"a purpose to read", access.Grant{ID: "g", Right: access.ToRead, Process: "loan", Fields: []string{"name"}, Purpose: "audit"}, "purpose"},
		{"a long purpose", access.Grant{ID: "g", Right: access.ToReveal, Process: "loan", Fields: []string{"name"}, Purpose: long}, "purpose"},
		{"a nanosecond", access.Grant{ID: "g", Right: access.ToView, Process: "loan", Expires: noon.Add(1)}, "expires"},
		{"a year of five digits", access.Grant{ID: "g", Right: access.ToView, Process: "loan", Expires: noon.AddDate(8000, 0, 0)}, "expires"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.grant.Validate()
			if !fault.Is(err, fault.Invalid) || fault.CodeOf(err) != "invalid_grant" || !strings.Contains(err.Error(), "\n  "+test.field+": ") {
				t.Errorf("%+v: %v, want a complaint about %s", test.grant, err, test.field)
			}
		})
	}
}

func TestRolesAndScopes(t *testing.T) {
	for _, r := range access.Roles() {
		if got, err := access.ParseRole(string(r)); got != r || err != nil {
			t.Errorf("ParseRole(%q) = %q, %v", r, got, err)
		}
	}
	for _, name := range []string{"", "admin", "Admin ", "Owner"} {
		if _, err := access.ParseRole(name); !fault.Is(err, fault.Invalid) {
			t.Errorf("ParseRole(%q): %v", name, err)
		}
	}
	tests := []struct {
		scope  string
		in, no access.Action // "": the scope is none
	}{
		{"job:work", access.WorkJobs, access.TakeJobs}, {"task:*", access.SaveTask, access.WorkJobs},
		{"value:*", access.RevealValue, access.ReadTask},
		{"*", "", ""}, {"", "", ""}, {":*", "", ""}, {"task:", "", ""}, {"task", "", ""}, {"tasks:*", "", ""}, {"task:do", "", ""}, {"task:*:*", "", ""}, {"Task:*", "", ""},
	}
	for _, test := range tests {
		s, err := access.ParseScope(test.scope)
		switch {
		case test.in == "":
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("ParseScope(%q): %v", test.scope, err)
			}
		case err != nil || !s.Covers(test.in) || s.Covers(test.no):
			t.Errorf("scope %q (%v): covers %s %t, %s %t", test.scope, err, test.in, s.Covers(test.in), test.no, s.Covers(test.no))
		}
	}
}
