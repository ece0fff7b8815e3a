package feel_test

import (
	"errors"
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
}

func TestBombsEndAtALimit(t *testing.T) {
	if len(bombs) == 0 {
		t.Fatal("there are no bombs")
	}
	for name, src := range bombs {
		t.Run(name, func(t *testing.T) {
			e, err := feel.Parse(src, feel.Options{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := e.Eval(nil, testEnv)
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Code != "expression_limit" {
				t.Fatalf("Eval = %.80s, %v; want an expression_limit", show(r.Value), err)
			}
			if !canon.Equal(r.Value, canon.Null{}) {
				t.Errorf("a stopped evaluation gives a value")
			}
		})
	}
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
