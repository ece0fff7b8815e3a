package feel_test

import (
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/feel"
)

func TestReads(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{`1 + 2`, ``},
		{`amount > 1000 and approved = true`, `amount approved`},
		{`applicant.address.city`, `applicant.address.city`},
		{`applicant`, `applicant`},
		{`first name + "x"`, `first name`},
		{`people[1].phone`, `people[].phone`},
		{`people.phone`, `people.phone`},
		{`people[age > 18].phone`, `age people[].age people[].phone`},
		{`people[item.age > limit].phone`, `limit people[].age people[].item.age people[].limit people[].phone`},
		{`for p in people return p.phone`, `people[].phone`},
		{`for p in people return 1`, `people[]`},
		{`for p in people, c in p.children return c.name`, `people[].children[].name`},
		{`(for p in people return p.address).city`, `people[].address.city`},
		{`for i in 1..n return i`, `n`},
		{`for i in xs return partial[1].a + i.b`, `xs[].b`},
		{`(for x in xs return if partial[1].n = 1 then x else y).b`, `xs[] xs[].b y y.b`},
		{`some p in people satisfies p.age > 3`, `people[].age`},
		{`(if a then b else c).d`, `a b.d c.d`},
		{`count(people)`, `people`},
		{`get value(applicant, "ssn")`, `applicant`},
		{`function(x) x + y`, `y`},
		{`{a: b, c: a.d}`, `b`},
		{`{f: function(x) x.ssn, r: f(applicant)}.r`, `applicant`},
		{`x in (low, > high.est)`, `high.est low x`},
		{`x.a in (? > 3)`, `x.a`},
		{`[a, b.c]`, `a b.c`},
		{`[< a.lo, >= b]`, `a.lo b`},
		{`overlaps(< a.lo, > b)`, `a.lo b`},
		{`for check-in in visits return check-in.at + check - in_`, `check in_ visits[].at`},
		{`d.year`, `d.year`},
		{`sort(list, function(p, q) p.x < q.x)`, `list`},
		{`abs(x)`, `x`},
		{`nobody(x)`, `nobody x`},
		{`date and time(a.b)`, `a.b`},
		{`x instance of number`, `x`},
		{`x between a.lo and a.hi`, `a.hi a.lo x`},
	} {
		e, err := feel.Parse(c.src, feel.Options{})
		if err != nil {
			t.Errorf("Parse(%q) = %v", c.src, err)
			continue
		}
		var got []string
		for _, p := range e.Reads() {
			got = append(got, string(p))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s reads %q, want %q", c.src, text, c.want)
		}
	}
}

func TestUnaryTestsReadNoInput(t *testing.T) {
	e, err := feel.Parse("? > limit.max, < other", feel.Options{UnaryTests: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Reads(); len(got) != 2 || got[0] != "limit.max" || got[1] != "other" {
		t.Errorf("reads %v", got)
	}
}

// TestReadsStayBounded nests filters so that the names inside might be entries
// of exponentially many paths.
func TestReadsStayBounded(t *testing.T) {
	src := strings.Repeat("a[b[", 150) + "c" + strings.Repeat("]]", 150)
	e, err := feel.Parse(src, feel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	read := e.Reads()
	if len(read) > 1000 {
		t.Errorf("%d paths are read", len(read))
	}
	for _, variable := range []feel.Path{"a", "b", "c"} {
		if !overlaps(read, variable) {
			t.Errorf("%s is not read", variable)
		}
	}
}

func overlaps(paths []feel.Path, with feel.Path) bool {
	for _, p := range paths {
		if p.Overlaps(with) {
			return true
		}
	}
	return false
}

func TestOverlaps(t *testing.T) {
	for _, c := range []struct {
		a, b feel.Path
		want bool
	}{
		{"a", "a", true},
		{"a", "a.b", true},
		{"a.b.c", "a.b", true},
		{"a.b", "a.c", false},
		{"ab", "a", false},
		{"people.phone", "people[].phone", true},
		{"people[]", "people[].phone", true},
	} {
		if got := c.a.Overlaps(c.b); got != c.want || c.b.Overlaps(c.a) != c.want {
			t.Errorf("%s overlaps %s: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestUnknownCallsAreNamed(t *testing.T) {
	e, err := feel.Parse("abs(1) + my rate(2)\n + {f: function(x) x, y: f(1) + g(2)}.y + x.h(1)", feel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []feel.Call{{Name: "my rate", Line: 1, Column: 10}, {Name: "g", Line: 2, Column: 33}}
	got := e.Unknown()
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("Unknown() = %v, want %v", got, want)
	}
}
