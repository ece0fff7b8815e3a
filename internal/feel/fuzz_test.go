package feel_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/feel"
)

// seeds returns the committed seeds and fails when there are none.
func seeds(t testing.TB) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != '#' {
			texts = append(texts, line)
		}
	}
	if len(texts) < 20 {
		t.Fatalf("there are %d seeds", len(texts))
	}
	return texts
}

func TestSeedsExist(t *testing.T) {
	parsed := 0
	for _, src := range seeds(t) {
		if _, err := feel.Parse(src, feel.Options{}); err == nil {
			parsed++
		}
	}
	if parsed < 15 {
		t.Errorf("%d seeds parse", parsed)
	}
}

func FuzzParse(f *testing.F) {
	for _, src := range seeds(f) {
		f.Add(src, "b c", false)
		f.Add(src, "a-b", true)
	}
	f.Fuzz(func(t *testing.T, src, name string, unary bool) {
		e, err := feel.Parse(src, feel.Options{Names: []string{name}, UnaryTests: unary})
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("Parse(%q) = %v, not an invalid fault", src, err)
			}
			return
		}
		if e.Source() != src {
			t.Fatalf("Source() = %q, want %q", e.Source(), src)
		}
		for _, c := range e.Unknown() {
			if c.Line < 1 || c.Column < 1 || c.Name == "" {
				t.Fatalf("unknown call %+v", c)
			}
		}
	})
}

func FuzzEval(f *testing.F) {
	for _, src := range seeds(f) {
		f.Add(src, false)
		f.Add(src, true)
	}
	s := sample(f)
	env := testEnv
	env.Limits = feel.Limits{Steps: 20_000, Depth: 50, Bytes: 1 << 20}
	f.Fuzz(func(t *testing.T, src string, unary bool) {
		e, err := feel.Parse(src, feel.Options{UnaryTests: unary, Names: []string{"first name", "a-b"}})
		if err != nil {
			return
		}
		first, err := evaluate(e, s, env, unary)
		second, err2 := evaluate(e, s, env, unary)
		if (err == nil) != (err2 == nil) || !bytes.Equal(canon.Encode(first.Value), canon.Encode(second.Value)) || len(first.Warnings) != len(second.Warnings) {
			t.Fatalf("%q evaluates to %s, %v and then to %s, %v", src, show(first.Value), err, show(second.Value), err2)
		}
		if err != nil && err.(*fault.Error).Code != "expression_limit" {
			t.Fatalf("%q fails with %v", src, err)
		}
		if _, err := canon.Decode(canon.Encode(first.Value)); err != nil {
			t.Fatalf("%q gives a value that cannot be read back: %v", src, err)
		}
	})
}

func evaluate(e *feel.Expression, s scope, env feel.Env, unary bool) (feel.Result, error) {
	if unary {
		return e.EvalTests(canon.NewNumber(3), s, env)
	}
	return e.Eval(s, env)
}
