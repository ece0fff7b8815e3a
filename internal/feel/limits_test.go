package feel_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/feel"
)

// bombs take small texts to large work; each must end at a limit.
var bombs = map[string]string{
	"a long loop":                 `for i in 1..1000000000 return i`,
	"nested loops":                `for i in 1..1000, j in 1..1000, k in 1..1000 return 1`,
	"a quantifier without end":    `every i in 1..1000000000 satisfies i > 0`,
	"endless recursion":           `{f: function(g, n) g(g, n + 1), r: f(f, 0)}.r`,
	"exponential recursion":       `{f: function(g, n) if n = 0 then 1 else g(g, n - 1) + g(g, n - 1), r: f(f, 60)}.r`,
	"a doubling string":           `(for i in 1..60 return if i = 1 then "0123456789" else partial[-1] + partial[-1])[-1]`,
	"a doubling list":             `(for i in 1..60 return if i = 1 then [1] else concatenate(partial[-1], partial[-1]))[-1]`,
	"a tree that shares its half": `(for i in 1..60 return if i = 1 then [1] else [partial[-1], partial[-1]])[-1]`,
	"equality of shared trees":    `{t: (for i in 1..60 return if i = 1 then [1] else [partial[-1], partial[-1]])[-1], r: t = t}.r`,
	"text of a shared tree":       `string((for i in 1..60 return if i = 1 then [1] else [partial[-1], partial[-1]])[-1])`,
	"flattening a shared tree":    `flatten((for i in 1..60 return if i = 1 then [1] else [partial[-1], partial[-1]])[-1])`,
	"a deep list":                 `(for i in 1..5000 return if i = 1 then [1] else [partial[-1]])[-1]`,
	"equality of deep lists":      `{t: (for i in 1..5000 return if i = 1 then [1] else [partial[-1]])[-1], r: t = [t]}.r`,
	"many replacements":           `replace((for i in 1..18 return if i = 1 then "aaaa" else partial[-1] + partial[-1])[-1], "", "0123456789")`,
	"matching a long text":        `for i in 1..1000 return matches((for i in 1..18 return if i = 1 then "aaaa" else partial[-1] + partial[-1])[-1], "(a|aa)+b")`,
	"distinct values of many":     `distinct values(for i in 1..100000 return i)`,
	"sorting with a function":     `sort(for i in 1..100000 return i, function(x, y) x > y)`,
	"sums of far numbers":         `for i in 1..1000000 return 1e6000 + 1e-6000`,
	"a loop that stands still":    `for i in 1e6000..2e6000 return 1`,
	"a sum of far numbers":        `for i in 1..1000000 return sum(1e6000, 1e-6000, 1)`,
	"exponentials":                `for i in 1..1000000 return exp(14000)`,
	"logarithms":                  `for i in 1..1000000 return log(1e-6000)`,
	"searching a long text":       `{s: (for i in 1..16 return if i = 1 then "aaaa" else partial[-1] + partial[-1])[-1], r: for i in 1..1000000 return contains(s, "b")}.r`,
	"text of lists of nothing":    `string(for i in 1..64 return [partial, partial])`,
	"text of shared contexts":     `string({a: for i in 1..64 return {x: partial, y: partial}})`,
	"text of shared ranges":       `string(for i in 1..64 return (= [partial, partial]))`,
	"text of long numbers":        `string(for i in 1..100000 return 1e6000)`,
	"powers":                      `for i in 1..1000000 return 1.000001 ** 0.5`,

	// Texts, copies and comparisons of values that share their parts.
	"merged contexts":              `for i in 1..64 return context merge([{a: partial, b: partial}, {c: partial}])`,
	"entries of shared contexts":   `for i in 1..64 return get entries({a: partial, b: partial})`,
	"contexts put into each other": `for i in 1..64 return context put({}, ["a", "b"], [partial, partial])`,
	"lists appended to themselves": `for i in 1..64 return append(partial, partial, partial)`,
	"lists joined with themselves": `for i in 1..64 return concatenate(partial, partial, [partial])`,
	"a union with itself":          `for i in 1..64 return union([partial], [partial])`,
	"distinct shared lists":        `distinct values(for i in 1..64 return [partial, partial])`,
	"flattening lists of nothing":  `flatten(for i in 1..64 return [partial, partial])`,
	"equality of lists of nothing": `{t: for i in 1..64 return [partial, partial], r: t = t}.r`,
	"identity of shared lists":     `{t: for i in 1..64 return [partial, partial], r: is(t, t)}.r`,
	"a shared list in a list":      `{t: for i in 1..64 return [partial, partial], r: t in (t)}.r`,
	"the index of a shared list":   `{t: for i in 1..64 return [partial, partial], r: index of(t, t[-1])}.r`,
	"a list that contains itself":  `{t: for i in 1..64 return [partial, partial], r: list contains(t, t[-1])}.r`,
	"sorting shared lists":         `{t: for i in 1..64 return [partial, partial], r: sort(t, function(x, y) x = y)}.r`,
	"replacing in shared lists":    `{t: for i in 1..64 return [partial, partial], r: list replace(t, function(x, y) x = t, 1)}.r`,
	"the type of a shared list":    `{t: for i in 1..64 return [partial, partial], r: t instance of ` + strings.Repeat("list<", 60) + "number" + strings.Repeat(">", 60) + `}.r`,
	"an argument's type":           `{t: for i in 1..64 return [partial, partial], r: (function(x: ` + strings.Repeat("list<", 60) + "number" + strings.Repeat(">", 60) + `) x)(t)}.r`,
	"a result of shared lists":     `for i in 1..64 return [partial, partial]`,
	"a result of shared contexts":  `for i in 1..64 return {x: partial, y: partial}`,
	"a result of one long text":    `(for i in 1..19 return if i = 1 then "aaaa" else partial[-1] + partial[-1])[-1]`,
	"a result of one text often":   `{s: (for i in 1..9 return if i = 1 then "aaaa" else partial[-1] + partial[-1])[-1], r: for i in 1..2000 return s}`,
	"functions in a long result":   `context(for i in 1..100000 return {key: string(i), value: abs})`,
	"functions that are kept":      `for i in 1..1000000 return function(x) x`,
	"functions that keep much":     `for i in 1..1000000 return (function(a, b, c, d) function() 1)(1, 1, 1, 1)`,
	"texts of texts":               `(for i in 1..60 return string([partial[-1], partial[-1]]))[-1]`,

	// Lists, names and types that are walked again and again.
	"all of many":                `{l: for i in 1..100000 return true, r: for j in 1..1000 return all(l)}.r`,
	"any of many":                `{l: for i in 1..100000 return false, r: for j in 1..1000 return any(l)}.r`,
	"joining nothing":            `{l: for i in 1..100000 return null, r: for j in 1..1000 return string join(l)}.r`,
	"a long path of keys":        `{l: for i in 1..50000 return "a", c: (for i in 1..5000 return if i = 1 then {a: 1} else {a: partial[-1]})[-1], r: for j in 1..10000 return get value(c, l)}.r`,
	"medians of many":            `{l: for i in 1..10000 return i, r: for j in 1..10000 return median(l)}.r`,
	"a type of many entries":     `{c: {a: null}, r: for j in 1..1000000 return c instance of context<` + strings.TrimSuffix(strings.Repeat("a: number, ", 4000), ", ") + `>}.r`,
	"deep lists that differ":     `{t: (for i in 1..200 return if i = 1 then [1] else [partial[-1]])[-1], k: (for i in 1..200 return if i = 1 then [2] else [partial[-1]])[-1], r: for j in 1..1000000 return t = k}.r`,
	"warnings far in the source": `/*` + strings.Repeat("x", 60000) + `*/ for i in 1..1000000 return [][x]`,
	"a long name":                `{` + strings.Repeat("k", 30000) + `: 1, r: for i in 1..1000000 return ` + strings.Repeat("k", 30000) + `}.r`,
	"a long name of an entry":    `{a: {` + strings.Repeat("k", 30000) + `: 1}, r: for i in 1..1000000 return a.` + strings.Repeat("k", 30000) + `}.r`,
	"upper case of a long text":  `{s: (for i in 1..19 return if i = 1 then "aaaa" else partial[-1] + partial[-1])[-1], r: for i in 1..1000 return upper case(s)}.r`,
	"a long delimiter":           `string join(for i in 1..10000 return "0", (for i in 1..10 return if i = 1 then "aaaa" else partial[-1] + partial[-1])[-1])`,

	// Patterns.
	"replacing what looks far ahead":   `{s: (for i in 1..13 return if i = 1 then "aaaa" else partial[-1] + partial[-1])[-1], r: replace(s, "a.*b|a", "x")}.r`,
	"splitting at what looks ahead":    `{s: (for i in 1..13 return if i = 1 then "aaaa" else partial[-1] + partial[-1])[-1], r: split(s, "a.*b|a")}.r`,
	"looking ahead from the beginning": `{s: (for i in 1..13 return if i = 1 then "aaaa" else partial[-1] + partial[-1])[-1], r: replace(s, "^b|a.*b|a", "x")}.r`,
	"many groups":                      `{s: (for i in 1..8 return if i = 1 then "aaaa" else partial[-1] + partial[-1])[-1], r: for i in 1..1000 return replace(s, "` + strings.Repeat("()", 400) + `(a|b|c|d|e)*", "x")}.r`,
	"many groups and repetitions":      `for i in 1..10 return replace("aaaa", "` + strings.Repeat("()", 200) + strings.Repeat("a{0,1000}", 10) + `" + string(i), "x")`,
	"many subtracted classes":          `for i in 1..1000 return matches("a", "[\\w-[` + strings.Repeat(`\\p{L}`, 10) + `]]" + string(i))`,
	"many large classes":               `for i in 1..1000 return matches("a", "[` + strings.Repeat(`\\p{L}`, 150) + `]" + string(i))`,
	"wide ranges in any case":          `for i in 1..1000 return matches("a", "[` + strings.Repeat("B-\U0001e942", 150) + `]" + string(i), "i")`,
	"splitting into letters":           `{s: (for i in 1..18 return if i = 1 then "aaaa" else partial[-1] + partial[-1])[-1], r: split(s, "")}.r`,

	// Numbers and times.
	"one to a huge power":       `for i in 1..1000000 return 1 ** 1e6000`,
	"huge whole powers":         `for i in 1..1000000 return 1.5 ** 1e17`,
	"large broken powers":       `for i in 1..1000000 return 9.5 ** 6140.5`,
	"small broken powers":       `for i in 1..1000000 return 7 ** 1e-6000`,
	"small exponentials":        `for i in 1..1000000 return exp(-14000)`,
	"rounding far away":         `for i in 1..1000000 return decimal(1.5, 6176) + decimal(1.5, -6111)`,
	"far remainders":            `for i in 1..1000000 return modulo(1e6000, 7e-6000)`,
	"deviations of far numbers": `for i in 1..1000000 return stddev(1e3000, 1e-3000, 1)`,
	"reading long numbers":      `{s: (for i in 1..12 return if i = 1 then "9999" else partial[-1] + partial[-1])[-1], r: for i in 1..1000000 return number(s)}.r`,
	"reading too long numbers":  `{s: (for i in 1..18 return if i = 1 then "9999" else partial[-1] + partial[-1])[-1], r: for i in 1..1000000 return number(s)}.r`,
	"reading long durations":    `{s: (for i in 1..18 return if i = 1 then "9999" else partial[-1] + partial[-1])[-1], r: for i in 1..1000000 return duration("P" + s)}.r`,
	"all days there are":        `for i in @"-999999999-01-01"..@"999999999-12-31" return i`,
	"the longest times":         `every i in 1..1000000 satisfies date(999999999, 12, 31) - date(-999999999, 1, 1) = null and duration("P999999999Y") * 1e6000 = null`,
	"a range that never ends":   `every i in [1..1e6000] satisfies true`,
	"ranges read again":         `for i in 1..1000000 return range("[1..1e6000]")`,
	"zones looked for again":    `for i in 1..1000000 return now() = @"2020-01-01T00:00:00@Europe/Paris"`,
}

func TestBombsEndAtALimit(t *testing.T) {
	if testing.Short() {
		t.Skip("as many steps as there may be: TestBombsAllocateLittle allows fewer")
	}
	if len(bombs) == 0 {
		t.Fatal("there are no bombs")
	}
	for name, src := range bombs {
		t.Run(name, func(t *testing.T) { explode(t, src, testEnv) })
	}
}

// explode wants the expression to end at a limit.
func explode(t *testing.T, src string, env feel.Env) {
	t.Helper()
	e, err := feel.Parse(src, feel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Eval(nil, env)
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Code != "expression_limit" {
		t.Fatalf("Eval = %.80s, %v; want an expression_limit", show(r.Value), err)
	}
	if !canon.Equal(r.Value, canon.Null{}) {
		t.Errorf("a stopped evaluation gives a value")
	}
}

// TestBombsAllocateLittle allows fewer steps than the default: each leaves a
// little that the collector frees again, and what counts is that none takes more.
func TestBombsAllocateLittle(t *testing.T) {
	const most = 64 << 20
	env := testEnv
	env.Limits = feel.Limits{Steps: 250_000}
	for name, src := range bombs {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			explode(t, src, env)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > most {
				t.Errorf("allocates %d MiB", n>>20)
			}
		})
	}
}

// TestTheResultIsAsLargeAsItsEncoding finds the least limit that lets a value out.
func TestTheResultIsAsLargeAsItsEncoding(t *testing.T) {
	for _, src := range []string{
		"12.5", "1e-6000", `"a\n\"\u0001b\u00e9"`, `@"2020-01-01T00:00:00@Europe/Paris"`, `[]`, `[1, [2, "x"], null]`, `{}`, `{a: 1, "b\"": {c: []}}`,
		`[abs, {f: abs, g: 1}]`, `[false, true]`, `(for i in 1..8 return [partial, partial])`,
	} {
		e, err := feel.Parse(src, feel.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.Eval(nil, testEnv)
		if err != nil {
			t.Fatal(err)
		}
		size := len(canon.Encode(r.Value))
		env := testEnv
		env.Limits.Result = size - 1
		if _, err := e.Eval(nil, env); err == nil {
			t.Errorf("%s: %d bytes come out with a limit of one less", src, size)
		}
		env.Limits.Result = size + size/4 + 1
		if _, err := e.Eval(nil, env); err != nil {
			t.Errorf("%s: %d bytes: %v", src, size, err)
		}
	}
}

// TestStepsDoNotCompound writes a variable and reads it in the next step, as
// scripts do: however often, what is kept stays within the limit.
func TestStepsDoNotCompound(t *testing.T) {
	e, err := feel.Parse("[x, x, x, x]", feel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := scope{"x": canon.String("0123456789")}
	for range 64 {
		r, err := e.Eval(s, testEnv)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Error(err)
			}
			return
		}
		if n := len(canon.Encode(r.Value)); n > 1<<20 {
			t.Fatalf("a result of %d bytes", n)
		}
		s["x"] = r.Value
	}
	t.Error("no step reaches the limit")
}

func TestLimitsAreTheCallers(t *testing.T) {
	for _, c := range []struct {
		src    string
		limits feel.Limits
		ok     bool
	}{
		{"1 + 1", feel.Limits{Steps: 10}, true},
		{"1 + 1", feel.Limits{Steps: 2}, false},
		{`"aaaa" + "bbbb"`, feel.Limits{Bytes: 16}, true},
		{`"aaaa" + "bbbb"`, feel.Limits{Bytes: 7}, false},
		{"[[[1]]]", feel.Limits{Depth: 3}, true},
		{"[[[1]]]", feel.Limits{Depth: 2}, false},
	} {
		e, err := feel.Parse(c.src, feel.Options{})
		if err != nil {
			t.Fatal(err)
		}
		env := testEnv
		env.Limits = c.limits
		if _, err := e.Eval(nil, env); (err == nil) != c.ok {
			t.Errorf("%s with %+v: %v", c.src, c.limits, err)
		}
	}
}

func TestWarningsAreFew(t *testing.T) {
	if r := evalResult(t, "for i in 1..1000 return i + null", nil); len(r.Warnings) > 32 {
		t.Errorf("%d warnings", len(r.Warnings))
	}
}

func TestParserBombs(t *testing.T) {
	for name, src := range map[string]string{
		"brackets":               strings.Repeat("[", 60_000),
		"ranges":                 strings.Repeat("[1..", 15_000),
		"calls":                  strings.Repeat("f(", 30_000),
		"names that begin alike": "{" + manyNames(6000) + "}",
		"contexts":               strings.Repeat("{a:", 20_000),
		"ifs":                    strings.Repeat("if ", 20_000),
		"functions":              strings.Repeat("function(x)", 5_000),
		"comments":               strings.Repeat("/*", 30_000),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := feel.Parse(src, feel.Options{}); err != nil && !fault.Is(err, fault.Invalid) {
				t.Errorf("Parse = %v", err)
			}
		})
	}
}

// manyNames are entries whose names share their first word.
func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("a " + strings.Repeat("b", i%7) + string(rune('A'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + ":1,")
	}
	return strings.TrimSuffix(b.String(), ",")
}
