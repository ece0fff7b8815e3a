package feel_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/feel"
)

// sample is the data of the tables.
func sample(t testing.TB) scope {
	t.Helper()
	s := scope{"first name": canon.String("Ada"), "a-b": canon.NewNumber(7), "a": canon.NewNumber(5), "b": canon.NewNumber(2)}
	for name, src := range map[string]string{
		"people":    `[{name: "Ada", age: 36}, {name: "Bob", age: 17}, {name: "Cy", age: 70}]`,
		"applicant": `{name: "Ada", ssn: "123", address: {city: "Bern"}}`,
		"day":       `@"2026-11-21"`,
		"nothing":   `null`,
	} {
		s[name] = evalText(t, src, nil)
	}
	return s
}

func evalText(t testing.TB, src string, s scope) canon.Value {
	t.Helper()
	return evalResult(t, src, s).Value
}

func evalResult(t testing.TB, src string, s scope) feel.Result {
	t.Helper()
	e, err := feel.Parse(src, feel.Options{Names: s.names()})
	if err != nil {
		t.Fatalf("Parse(%q) = %v", src, err)
	}
	r, err := e.Eval(s, testEnv)
	if err != nil {
		t.Fatalf("Eval(%q) = %v", src, err)
	}
	return r
}

// equalities are pairs of expressions with the same value.
var equalities = map[string][][2]string{
	"names": {
		{`first name + "!"`, `"Ada!"`},
		{`a-b`, `7`},
		{`a - b`, `3`},
		{`a -b`, `3`},
		{`applicant.address.city`, `"Bern"`},
		{`people[1].name`, `"Ada"`},
		{`{date of birth: 1, x: date of birth + 1}.x`, `2`},
		{`{a+b: 1, c: a+b}.c`, `1`},
		{`for item in [1, 2] return item * 2`, `[2, 4]`},
		{`for each one in [1, 2] return each one * 2`, `[2, 4]`},
		{`for check-in in [1, 2] return check-in * 2`, `[2, 4]`},
		{`for x /* a comment */ in [1] return x`, `[1]`},
		{`some phone 2 in [1], c.d in [2] satisfies phone 2 < c.d`, `true`},
		{`(function(net/gross: number, d'e) net/gross - d'e)(d'e: 1, net/gross: 3)`, `2`},
		{`{phone 2: 7, profit and loss: 1, x: phone 2 - profit and loss}.x`, `6`},
		{`{a /* a comment */: 1}.a`, `1`},
	},
	"precedence": {
		{`-2 ** 2`, `4`},
		{`2 ** 3 ** 2`, `64`},
		{`1 + 2 * 3 - 4 / 2`, `5`},
		{`not(1 = 2) and 2 < 3 or false`, `true`},
		{`a + 1 between 6 and 2 * 3`, `true`},
		{`a + b instance of number and true`, `true`},
		{`if a > 3 then "x" else "y" + "z"`, `"x"`},
		{`(if a > 3 then 1 else 2) + 1`, `2`},
	},
	"three-valued logic": {
		{`null and false`, `false`},
		{`null and true`, `null`},
		{`null or true`, `true`},
		{`null or false`, `null`},
		{`some x in [1, null] satisfies x > 2`, `null`},
		{`some x in [1, null, 3] satisfies x > 2`, `true`},
		{`every x in [3, null] satisfies x > 2`, `null`},
		{`every x in [] satisfies x > 2`, `true`},
		{`nothing = null`, `true`},
		{`1 = null`, `false`},
		{`1 < null`, `null`},
	},
	"filters": {
		{`people[age >= 18].name`, `["Ada", "Cy"]`},
		{`people[item.age >= 18 and name != "Cy"].name`, `["Ada"]`},
		{`people[-1].name`, `"Cy"`},
		{`people[4]`, `null`},
		{`people[a - 3].name`, `"Bob"`},
		{`[][1]`, `null`},
		{`[][item > 1]`, `[]`},
		{`[1, 2, 3][item > 1][1]`, `2`},
		{`[[1, 2], [3]][1][2]`, `2`},
	},
	"iteration": {
		{`for i in 1..3, j in [10, 20] return i * j`, `[10, 20, 20, 40, 30, 60]`},
		{`for i in 0..4 return if i = 0 then 1 else i * partial[-1]`, `[1, 1, 2, 6, 24]`},
		{`for i in [1..3] return i`, `[1, 2, 3]`},
		{`for i in (1..3) return i`, `[2]`},
		{`for d in @"2026-02-27"..@"2026-03-01" return d.day`, `[27, 28, 1]`},
		{`for x in 7 return x`, `[7]`},
		{`for x in null return x`, `null`},
	},
	"functions": {
		{`(function(x, y) x + y)(1, 2)`, `3`},
		{`(function(x: number, y: number) x - y)(y: 1, x: 5)`, `4`},
		{`{twice: function(f, x) f(f(x)), r: twice(function(x) x * 3, 2)}.r`, `18`},
		{`{add: function(n) function(m) n + m, r: add(2)(3)}.r`, `5`},
		{`(function(x: number) x)("1")`, `null`},
		{`(function(x: number) x)([1])`, `1`},
		{`sort([3, 1, 2], function(x, y) x > y)`, `[3, 2, 1]`},
		{`sort(list: [3, 1, 2])`, `[1, 2, 3]`},
		{`{m: max, r: m(1, 2)}.r`, `2`},
		{`count("x")`, `1`},
		{`string length(["abc"])`, `3`},
	},
	"ranges": {
		{`5 in [1..5)`, `false`},
		{`5 in ]4..5]`, `true`},
		{`5 in (> 3)`, `true`},
		{`5 in (< 3, [4..6])`, `true`},
		{`[1..10[.end included`, `false`},
		{`[1..people[1].age].end`, `36`},
		{`@"2026-11-21" in [@"2026-01-01"..@"2026-12-31"]`, `true`},
		{`before((< 5), [5..6])`, `true`},
		{`before(< 5, [5..6])`, `true`},
		{`for r in [< 5, >= 5] return 5 in r`, `[false, true]`},
		{`{r: != 3, x: 3 in r}.x`, `false`},
		{`overlaps([1..5], [5..6))`, `true`},
		{`during(3, [1..5])`, `true`},
		{`string([1..5))`, `"[1..5)"`},
	},
	"temporal": {
		{`@"2026-01-31" + @"P1M"`, `@"2026-02-28"`},
		{`@"2024-02-29" - @"P1Y"`, `@"2023-02-28"`},
		{`@"2026-03-01" - @"2026-02-01"`, `@"P28D"`},
		{`@"2026-10-25T00:30:00@Europe/Paris" + @"PT3H"`, `@"2026-10-25T02:30:00@Europe/Paris"`},
		{`@"2026-10-25T00:30:00@Europe/Paris" < @"2026-10-24T23:00:00Z"`, `true`},
		{`@"23:30:00" + @"PT1H"`, `@"00:30:00"`},
		{`@"12:00:00Z" = @"13:00:00+01:00"`, `true`},
		{`is(@"12:00:00Z", @"13:00:00+01:00")`, `false`},
		{`@"12:00:00Z" = @"12:00:00"`, `null`},
		{`@"P1D" / @"PT6H"`, `4`},
		{`@"P1Y" * 1.5`, `@"P1Y6M"`},
		{`duration("P400000D")`, `null`},
		{`now()`, `@"2026-11-21T12:30:00Z"`},
		{`today()`, `day`},
		{`day.weekday`, `6`},
		{`@"12:30:15.5".second`, `15.5`},
		{`@"2026-07-01T12:00:00@Europe/Paris".time offset`, `@"PT2H"`},
		{`@"2026-07-01T12:00:00@Europe/Paris".timezone`, `"Europe/Paris"`},
		{`@"2026-07-01T12:00:00@Nowhere/Else"`, `null`},
		{`week of year(@"2021-01-03")`, `53`},
	},
	"numbers": {
		{`0.1 + 0.2 = 0.3`, `true`},
		{`1 / 3`, `0.3333333333333333333333333333333333`},
		{`12345678901234567890123456789012345`, `12345678901234567890123456789012340`},
		{`2 ** 0.5 = sqrt(2)`, `true`},
		{`1 / 0`, `null`},
		{`1e6144 * 10`, `null`},
		{`9 ** (9 ** 9)`, `null`},
		{`1 ** (9 ** 9)`, `1`},
		{`(1/3) ** (9 ** 9)`, `null`},
		{`modulo(-12, 5)`, `3`},
		{`round half up(2.5, 0)`, `3`},
		{`decimal(2.5, 0)`, `2`},
		{`[floor(-0.09), ceiling(0.09), round up(0.004, 1), round up(5, -3), round half up(49, -2)]`, `[-1, 1, 0.1, 1000, 0]`},
		{`string(1e20)`, `"100000000000000000000"`},
		{`number("1 000,5", " ", ",")`, `1000.5`},
	},
	"text": {
		{`"a\u00e9\n\"" = "aé` + "\n" + `\""`, `true`},
		{`substring("föö", -2)`, `"öö"`},
		{`matches("b", "[a-z-[aeiou]]")`, `true`},
		{`matches("e", "[a-z-[aeiou]]")`, `false`},
		{`matches("x\ny", "x.y")`, `false`},
		{`matches("αβ", "^\p{IsGreek}+$") and not(matches("a", "\p{IsGreek}"))`, `true`},
		{`matches("a", "^\P{IsGreek}$") and matches("ä1_", "^\i\w_$") and matches("a b", "^\S\s\S$")`, `true`},
		{`matches("-", "^[\W]$") and not(matches("-", "^[^\W]$"))`, `true`},
		{`matches("]", "[]a]")`, `null`},
		{`matches("a", "[a")`, `null`},
		{`matches("a", "[[:alpha:]]")`, `null`},
		{`matches("a b", "a b", "x") or matches("ab", "a b", "x")`, `true`},
		{`matches("x\ny", "x.y", "s")`, `true`},
		{`matches("a.b", "a.b", "q") and not(matches("axb", "a.b", "q"))`, `true`},
		{`matches("aa", "(a)\\1")`, `null`},
		{`matches("a", "(?=a)a")`, `null`},
		{`matches("a", "\\bfoo")`, `null`},
		{`matches("a", "(((a{90}){90}){9}")`, `null`},
		{`replace("abc", "(b)", "<$1>$0")`, `"a<b>bc"`},
		{`split("a, b,c", ",\s*")`, `["a", "b", "c"]`},
		{`string({b: [1, "x"], a: @"P1D"})`, `"{a: P1D, b: [1, \"x\"]}"`},
		{`string join(["a", null, "b"], "-")`, `"a-b"`},
	},
	"collections": {
		{`union([1, 2], [2, 3])`, `[1, 2, 3]`},
		{`distinct values([1, 2, 1])`, `[1, 2]`},
		{`concatenate([1], [2], 3)`, `[1, 2, 3]`},
		{`append([1], 2, 3)`, `[1, 2, 3]`},
		{`insert before([1, 3], 2, 2)`, `[1, 2, 3]`},
		{`flatten([1, [2, [3]]])`, `[1, 2, 3]`},
		{`index of([1, 2, 1], 1)`, `[1, 3]`},
		{`context put({a: {b: 1}}, ["a", "c"], 2)`, `{a: {b: 1, c: 2}}`},
		{`context merge([{a: 1}, {a: 2, b: 3}])`, `{a: 2, b: 3}`},
		{`get value({a: {b: 1}}, ["a", "b"])`, `1`},
		{`min(["b", "a"])`, `"a"`},
		{`max([])`, `null`},
		{`sum(people.age)`, `123`},
	},
}

func TestEqualities(t *testing.T) {
	s := sample(t)
	for _, subject := range sortedSubjects() {
		t.Run(subject, func(t *testing.T) {
			for _, pair := range equalities[subject] {
				got, want := evalText(t, pair[0], s), evalText(t, pair[1], s)
				if !canon.Equal(got, want) {
					t.Errorf("%s = %s, want %s", pair[0], show(got), show(want))
				}
			}
		})
	}
}

func sortedSubjects() []string {
	var subjects []string
	for subject := range equalities {
		subjects = append(subjects, subject)
	}
	slices.Sort(subjects)
	return subjects
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ src, place, message string }{
		{"", "1:1", "expected an expression"},
		{"< 5", "1:1", "expected an expression"},
		{"if < 5 then 1 else 2", "1:4", "expected an expression"},
		{"a => 5", "1:4", "expected an expression"},
		{"for in x in y return 1", "1:5", "expected a name"},
		{"1 +", "1:4", "expected an expression"},
		{"1 2", "1:3", "expected an operator"},
		{"a = \n  (1", "2:5", `expected ")"`},
		{"if a then b", "1:12", `expected "else"`},
		{"é = #", "1:5", "no token"},
		{`"open`, "1:1", "no token"},
		{"/* open", "1:1", "no token"},
		{`"\ud800"`, "1:1", "escape"},
		{"{a: 1, a: 2}", "1:8", "twice"},
		{"f(1, x: 2)", "1:6", "mixed"},
		{"f(x: 1, 2)", "1:9", "mixed"},
		{"[1..2", "1:6", "end of the range"},
		{"1e99999", "1:1", "out of range"},
		{"function(x) external {java: 1}", "1:13", "external"},
		{"x instance of", "1:14", "type"},
		{"then", "1:1", "expected an expression"},
		{strings.Repeat("a", 100_000), "1:1", "100000 bytes"},
		{"a +\n \xff", "2:2", "not UTF-8"},
		{strings.Repeat("(", 1000), "1:401", "nested"},
		{"1" + strings.Repeat("+1", 1000), "", "nested"},
		{strings.Repeat("-", 1000) + "1", "", "nested"},
		{strings.Repeat("[1..", 1000), "", "nested"},
		{strings.Repeat("]1..", 1000), "", "nested"},
		{strings.Repeat("(< ", 1000), "", "nested"},
		{strings.Repeat("x in (", 1000), "", "nested"},
		{strings.Repeat("{a:", 1000), "", "nested"},
		{strings.Repeat("for x in ", 1000), "", "nested"},
		{"a" + strings.Repeat(".a", 1000), "", "nested"},
		{"a" + strings.Repeat("[1]", 1000), "", "nested"},
		{"a" + strings.Repeat(" in a", 1000), "", "nested"},
		{"x instance of " + strings.Repeat("list<", 1000), "", "nested"},
	} {
		_, err := feel.Parse(c.src, feel.Options{})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("Parse(%.40q) = %v, want an invalid fault", c.src, err)
			continue
		}
		detail := err.(*fault.Error).Details[0]
		if c.place != "" && detail.Place != c.place || !strings.Contains(detail.Message, c.message) {
			t.Errorf("Parse(%.40q) fails at %s: %s; want %s: %s", c.src, detail.Place, detail.Message, c.place, c.message)
		}
	}
}

func TestWarningsSayWhereAndWhyWithoutValues(t *testing.T) {
	s := scope{"secret": canon.String("MARKER"), "list": canon.List{canon.String("MARKER")}}
	for _, c := range []struct {
		src          string
		line, column int
		message      string
	}{
		{"1 +\n  (secret - 2)", 2, 4, "cannot subtract string and number"},
		{"missing", 1, 1, `no variable "missing"`},
		{"secret.part", 1, 1, `string has no property "part"`},
		{"{a: 1}.b", 1, 1, `no entry "b"`},
		{"abs(secret)", 1, 1, "abs: a string has no absolute value"},
		{"sqrt(secret)", 1, 1, `sqrt: "number" is a string, not a number`},
		{"sqrt(1, 2)", 1, 1, `no form of "sqrt"`},
		{"list[7]", 1, 1, "outside the list"},
		{"secret < 1", 1, 1, "cannot compare string with number"},
		{"date(secret)", 1, 1, "no date"},
		{"number(secret)", 1, 1, "no number"},
		{"matches(secret, secret + \"(\")", 1, 1, "not valid"},
		{"[1, function(x) x]", 1, 1, "a function cannot be kept"},
		{"x(1)", 1, 1, `no variable "x"`},
	} {
		r := evalResult(t, c.src, s)
		if len(r.Warnings) == 0 {
			t.Errorf("%s: no warning", c.src)
			continue
		}
		w := r.Warnings[0]
		if w.Line != c.line || w.Column != c.column || !strings.Contains(w.Message, c.message) {
			t.Errorf("%s: %d:%d: %s; want %d:%d: %s", c.src, w.Line, w.Column, w.Message, c.line, c.column, c.message)
		}
		for _, w := range r.Warnings {
			if strings.Contains(w.Message, "MARKER") {
				t.Errorf("%s: the warning %q holds a value", c.src, w.Message)
			}
		}
	}
}

func TestResultsHoldNoFunctionsOrRanges(t *testing.T) {
	for src, want := range map[string]string{
		`function(x) x`:                `null`,
		`[1..2]`:                       `null`,
		`[1, [2, [1..2]], 3]`:          `[1, [2, null], 3]`,
		`{a: function() 1, b: {c: 1}}`: `{a: null, b: {c: 1}}`,
		`abs`:                          `null`,
	} {
		if got, want := evalText(t, src, nil), evalText(t, want, nil); !canon.Equal(got, want) {
			t.Errorf("%s = %s, want %s", src, show(got), show(want))
		}
	}
}

func TestUnaryTests(t *testing.T) {
	s := scope{"limit": canon.NewNumber(10)}
	for _, c := range []struct{ tests, input, want string }{
		{`-`, `1`, `true`},
		{`< 5`, `4`, `true`},
		{`< limit, 20`, `20`, `true`},
		{`not(< limit, 20)`, `20`, `false`},
		{`not(1) and true`, `3`, `null`},
		{`[1..3], (7..9]`, `7`, `false`},
		{`"a", "b"`, `"b"`, `true`},
		{`null`, `null`, `true`},
		{`1`, `null`, `false`},
		{`< 5`, `null`, `null`},
		{`? * 2 = limit`, `5`, `true`},
		{`count(?) > 1`, `[1, 2]`, `true`},
		{`limit > 5`, `"any"`, `true`},
		{`[1, 2, 3]`, `2`, `true`},
		{`= 3`, `3`, `true`},
		{`!= 3`, `3`, `false`},
		{`@"2026-01-01"`, `@"2026-01-01"`, `true`},
	} {
		e, err := feel.Parse(c.tests, feel.Options{UnaryTests: true})
		if err != nil {
			t.Errorf("Parse(%q) = %v", c.tests, err)
			continue
		}
		r, err := e.EvalTests(evalText(t, c.input, nil), s, testEnv)
		if want := evalText(t, c.want, nil); err != nil || !canon.Equal(r.Value, want) {
			t.Errorf("%s with %s = %s, %v; want %s", c.tests, c.input, show(r.Value), err, c.want)
		}
	}
}

func TestUnaryTestsOfAnExpression(t *testing.T) {
	e, err := feel.Parse("10", feel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.EvalTests(canon.NewNumber(10), nil, testEnv)
	if err != nil || r.Value != canon.Bool(true) {
		t.Errorf("10 with 10 = %v, %v", r.Value, err)
	}
}
