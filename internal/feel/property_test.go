package feel_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/feel"
)

// expressions draws texts over the variables of readable.
func expressions(depth int) *rapid.Generator[string] {
	atoms := rapid.SampledFrom([]string{
		"applicant", "applicant.name", "applicant.address.city", "people", "people.name", "people[1]", "n", "m", "flag",
		"1", "2", `"Ada"`, "true", "null", "age", "name", "item", "item.age", "x", "x.name", "x.children", "partial", "?",
	})
	if depth == 0 {
		return atoms
	}
	sub := expressions(depth - 1)
	forms := []string{
		"(%s + %s)", "(%s = %s)", "(%s < %s)", "(%s and %s)", "[%s, %s]", "(%s)[%s]", "(%s)[item = %s]",
		"(for x in %s return %s)", "(some x in %s satisfies %s)", "(for x in 1..n, y in %s return [x, y, %s])",
		"{a: %s, b: %s}", "{a: %s, b: a, c: %s}.b", "(%s in (%s, 3))", "(%s in (? = %s))", "count([%s, %s])",
		"get value(%s, string(%s))", "(function(x, y) x)(%s, %s)", "(if flag then %s else %s).name",
		"(%s).age + count(%s)", "(%s).address + (%s).children", "sort(%s, function(x, y) x.age < %s)",
		"(for x in %s return if partial[1].name = \"Bob\" then %s else x).age",
		"(%s between %s and 3)", "concatenate(%s, %s)[1].name",
	}
	return rapid.OneOf(atoms, rapid.Custom(func(t *rapid.T) string {
		form := rapid.SampledFrom(forms).Draw(t, "form")
		return fmt.Sprintf(form, sub.Draw(t, "left"), sub.Draw(t, "right"))
	}))
}

// readable is data of which one leaf may be replaced, and the paths of all leaves
// as Reads writes them.
func readable(t testing.TB, replaced int, with string) (s scope, leaves []feel.Path) {
	t.Helper()
	leaves = []feel.Path{
		"applicant.name", "applicant.ssn", "applicant.address.city", "applicant.address.zip", "n", "m", "flag", "age", "name",
		"people[].name", "people[].age", "people[].children", "x.name",
	}
	text := []any{`"Ada"`, `"1"`, `"Bern"`, `3`, `2`, `3`, `true`, `17`, `"Bob"`, `"Ada"`, `36`, `[{name: "Bob", age: 1}]`, `"Cy"`}
	if replaced >= 0 {
		text[replaced] = with
	}
	all := evalText(t, fmt.Sprintf(`{applicant: {name: %s, ssn: %s, address: {city: %s, zip: %s}}, n: %s, m: %s, flag: %s, age: %s, name: %s,
		people: [{name: %s, age: %s, children: %s}, {name: "Bob", age: 17, address: 3}], x: {name: %s}}`, text...), nil).(*canon.Context)
	s = scope{}
	for i := range all.Len() {
		s[all.At(i).Name] = all.At(i).Value
	}
	return s, leaves
}

// TestWhatIsNotReadDoesNotMatter is the promise of Reads: data that no path of
// it overlaps can be anything.
func TestWhatIsNotReadDoesNotMatter(t *testing.T) {
	before, leaves := readable(t, -1, "")
	rapid.Check(t, func(rt *rapid.T) {
		src := expressions(3).Draw(rt, "source")
		e, err := feel.Parse(src, feel.Options{})
		if err != nil {
			rt.Fatalf("Parse(%q) = %v", src, err)
		}
		want, err := e.Eval(before, testEnv)
		if err != nil {
			return
		}
		for i, l := range leaves {
			if slices.ContainsFunc(e.Reads(), l.Overlaps) {
				continue
			}
			other := rapid.SampledFrom([]string{"null", `"other"`, "99", `{name: "Bob"}`, "[1]"}).Draw(rt, "other")
			after, _ := readable(t, i, other)
			got, err := e.Eval(after, testEnv)
			if err != nil || !canon.Equal(got.Value, want.Value) {
				rt.Fatalf("%s\nreads %v\nbut changing %s to %s changes it from %s to %s (%v)",
					src, e.Reads(), l, other, show(want.Value), show(got.Value), err)
			}
		}
	})
}

// recorder notes the variables that an evaluation looks up.
type recorder struct {
	scope
	seen map[string]bool
}

func (r recorder) Lookup(name string) (canon.Value, bool) {
	r.seen[name] = true
	return r.scope.Lookup(name)
}

func TestEveryVariableThatIsLookedUpIsRead(t *testing.T) {
	s, _ := readable(t, -1, "")
	rapid.Check(t, func(rt *rapid.T) {
		e, err := feel.Parse(expressions(3).Draw(rt, "source"), feel.Options{})
		if err != nil {
			rt.Fatal(err)
		}
		r := recorder{s, map[string]bool{}}
		if _, err := e.Eval(r, testEnv); err != nil {
			return
		}
		for name := range r.seen {
			if !slices.ContainsFunc(e.Reads(), func(p feel.Path) bool { return p.Root() == name }) {
				rt.Fatalf("%s looks up %q but reads %v", e.Source(), name, e.Reads())
			}
		}
	})
}

func TestLogicIsCommutativeAndFollowsDeMorgan(t *testing.T) {
	truth := rapid.SampledFrom([]string{"true", "false", "null", "1", `"x"`})
	rapid.Check(t, func(rt *rapid.T) {
		a, b := truth.Draw(rt, "a"), truth.Draw(rt, "b")
		for _, pair := range [][2]string{
			{a + " and " + b, b + " and " + a},
			{a + " or " + b, b + " or " + a},
			{"not(" + a + " and " + b + ")", "not(" + a + ") or not(" + b + ")"},
		} {
			if x, y := evalText(t, pair[0], nil), evalText(t, pair[1], nil); !canon.Equal(x, y) {
				rt.Fatalf("%s = %s, %s = %s", pair[0], show(x), pair[1], show(y))
			}
		}
	})
}

func TestWholeNumbersComputeAsIntegers(t *testing.T) {
	number := rapid.Int64Range(-1_000_000, 1_000_000)
	rapid.Check(t, func(rt *rapid.T) {
		a, b := number.Draw(rt, "a"), number.Draw(rt, "b")
		s := scope{"a": canon.NewNumber(a), "b": canon.NewNumber(b)}
		for src, want := range map[string]canon.Value{
			"a + b": canon.NewNumber(a + b), "a - b": canon.NewNumber(a - b), "a * b": canon.NewNumber(a * b),
			"a < b": canon.Bool(a < b), "a = b": canon.Bool(a == b), "a >= b": canon.Bool(a >= b),
			"-a": canon.NewNumber(-a), "max(a, b)": canon.NewNumber(max(a, b)), "even(a)": canon.Bool(a%2 == 0),
		} {
			if got := evalText(t, src, s); !canon.Equal(got, want) {
				rt.Fatalf("%s with %d and %d = %s, want %s", src, a, b, show(got), show(want))
			}
		}
		if b != 0 {
			checkDivision(t, rt, s)
		}
	})
}

func checkDivision(t *testing.T, rt *rapid.T, s scope) {
	if v := evalText(t, "a = b * floor(a / b) + modulo(a, b)", s); v != canon.Bool(true) {
		rt.Fatalf("division and modulo disagree for %v", s)
	}
}

// TestDatesMoveAsInTheStandardLibrary compares with Go's calendar.
func TestDatesMoveAsInTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		days := rapid.IntRange(-1_000_000, 1_000_000).Draw(rt, "from")
		by := rapid.IntRange(-100_000, 100_000).Draw(rt, "by")
		from := time.Unix(0, 0).UTC().AddDate(0, 0, days)
		to := from.AddDate(0, 0, by)
		s := scope{"d": dateOf(from), "by": canon.DayTimeDuration{Nanoseconds: time.Duration(by) * 24 * time.Hour}}
		_, week := to.ISOWeek()
		for src, want := range map[string]canon.Value{
			"d + by":                        dateOf(to),
			"(d + by) - d":                  s["by"],
			"(d + by).weekday":              canon.NewNumber(int64((to.Weekday()+6)%7 + 1)),
			"day of year(d + by)":           canon.NewNumber(int64(to.YearDay())),
			"week of year(d + by)":          canon.NewNumber(int64(week)),
			"day of week(d + by)":           canon.String(to.Weekday().String()),
			"d + by < d":                    canon.Bool(by < 0),
			"date(string(d + by)) = d + by": canon.Bool(true),
		} {
			if got := evalText(t, src, s); !canon.Equal(got, want) {
				rt.Fatalf("%s with %v = %s, want %s", src, s, show(got), show(want))
			}
		}
	})
}

func dateOf(t time.Time) canon.Date {
	return canon.Date{Year: t.Year(), Month: int(t.Month()), Day: t.Day()}
}

// TestInstantsMoveAsInTheStandardLibrary crosses changes of the clock.
func TestInstantsMoveAsInTheStandardLibrary(t *testing.T) {
	zone, ok := testEnv.Zone("Europe/Paris")
	if !ok {
		t.Skip("this machine has no time zones")
	}
	rapid.Check(t, func(rt *rapid.T) {
		from := time.Unix(rapid.Int64Range(1_000_000_000, 2_000_000_000).Draw(rt, "from"), 0).In(zone)
		by := time.Duration(rapid.IntRange(-10_000_000, 10_000_000).Draw(rt, "by")) * time.Second
		s := scope{"t": zonedOf(from), "by": canon.DayTimeDuration{Nanoseconds: by}}
		if _, offset := from.Zone(); zonedOffset(from) != offset {
			return // a local time that happens twice names the first one
		}
		if got, want := evalText(t, "t + by", s), zonedOf(from.Add(by)); !canon.Equal(got, want) {
			rt.Fatalf("%v + %v = %s, want %s", from, by, show(got), show(want))
		}
	})
}

func zonedOf(t time.Time) canon.DateTime {
	return canon.DateTime{Date: dateOf(t), Time: canon.Time{
		Hour: t.Hour(), Minute: t.Minute(), Second: t.Second(), Zone: canon.Zone{Kind: canon.ZoneNamed, Name: "Europe/Paris"},
	}}
}

// zonedOffset is the offset of what is left of a time when its offset is not
// written.
func zonedOffset(t time.Time) int {
	_, offset := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, t.Location()).Zone()
	return offset
}

// literals draws texts of values whose text reads back as themselves.
func literals(depth int) *rapid.Generator[string] {
	atoms := rapid.OneOf(
		rapid.Map(rapid.Int64(), func(i int64) string { return fmt.Sprint(i) }),
		rapid.Map(rapid.StringMatching(`[a-zé "\\\n]{0,8}`), func(s string) string {
			return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
		}),
		rapid.SampledFrom([]string{"true", "null", "0.1", "1e-7", "-12.5e3"}),
	)
	if depth == 0 {
		return atoms
	}
	return rapid.OneOf(atoms, rapid.Custom(func(t *rapid.T) string {
		items := rapid.SliceOfN(literals(depth-1), 0, 3).Draw(t, "items")
		if rapid.Bool().Draw(t, "list") {
			return "[" + strings.Join(items, ", ") + "]"
		}
		for i := range items {
			items[i] = fmt.Sprintf("k %d: %s", i, items[i])
		}
		return "{" + strings.Join(items, ", ") + "}"
	}))
}

func TestTextReadsBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		src := "[" + literals(3).Draw(rt, "source") + "]"
		v := evalText(t, src, nil)
		text := evalText(t, "string("+src+")", nil)
		if again := evalText(t, string(text.(canon.String)), nil); !canon.Equal(again, v) {
			rt.Fatalf("%s is written %s, which is %s", src, text, show(again))
		}
	})
}

// TestMatchesAreThoseOfTheEngine compares replace and split, which find one match
// after another, with Go's engine, which finds all at once.
func TestMatchesAreThoseOfTheEngine(t *testing.T) {
	part := rapid.SampledFrom([]string{"a", "b", "é", "(a)", "(b|a)", "a*", "(é|)", "b+", "[ab]*", ".*b", "a??", "^", "$", "|", "(|a)b", "\n"})
	text := rapid.SampledFrom([]string{"a", "b", "é", "\n"})
	rapid.Check(t, func(rt *rapid.T) {
		pattern := strings.Join(rapid.SliceOfN(part, 0, 5).Draw(rt, "pattern"), "")
		input := strings.Join(rapid.SliceOfN(text, 0, 8).Draw(rt, "input"), "")
		flags := rapid.SampledFrom([]string{"", "m", "s"}).Draw(rt, "flags")
		re, err := regexp.Compile(pattern)
		if err != nil {
			return
		}
		s := scope{"s": canon.String(input), "p": canon.String(pattern), "f": canon.String(flags)}
		var parts canon.List
		for _, text := range re.Split(input, -1) {
			parts = append(parts, canon.String(text))
		}
		if got := evalText(t, "split(s, p)", s); !canon.Equal(got, parts) {
			rt.Fatalf("split(%q, %q) = %s, want %s", input, pattern, show(got), show(parts))
		}
		if flags != "" {
			re = regexp.MustCompile("(?" + flags + ")" + pattern)
		}
		var want strings.Builder
		last := 0
		for _, m := range re.FindAllStringIndex(input, -1) {
			want.WriteString(input[last:m[0]] + "<" + input[m[0]:m[1]] + ">")
			last = m[1]
		}
		want.WriteString(input[last:])
		if got := evalText(t, `replace(s, p, "<$0>", f)`, s); got != canon.String(want.String()) {
			rt.Fatalf("replace(%q, %q) = %s, want %q", input, pattern, show(got), want.String())
		}
	})
}
