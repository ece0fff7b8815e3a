package feel_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/feel"
)

// tckCase is a case of the DMN TCK as conformance/README.md describes it.
type tckCase struct {
	Level   string               `json:"lvl"`
	Dir     string               `json:"dir"`
	ID      string               `json:"id"`
	Node    string               `json:"node"`
	Expr    *string              `json:"expr"`
	Entries [][2]string          `json:"entries"`
	Context map[string]*tckValue `json:"ctx"`
	Expect  *tckValue            `json:"exp"`
	Error   bool                 `json:"err"`
	Type    string               `json:"typeref"`
}

func (c *tckCase) name() string { return c.Dir + "/" + c.ID + "/" + c.Node }

type tckValue struct {
	Tag   string          `json:"t"`
	Type  string          `json:"ty"`
	Value json.RawMessage `json:"v"`
}

// TestConformance runs the cases of the DMN TCK. testdata/known_failures.txt
// lists the ones that fail, each with its reason: a case that begins to fail and
// one that begins to pass both fail the test.
func TestConformance(t *testing.T) {
	dir, set := os.LookupEnv("UNDERSEAL_CONFORMANCE")
	if !set {
		t.Skip("UNDERSEAL_CONFORMANCE is not set: the DMN TCK cases are left out")
	}
	cases := readCases(t, filepath.Join(dir, "feel", "cases.json"))
	known := readKnownFailures(t)
	passed := 0
	for _, c := range cases {
		problem := runCase(c)
		reason, expected := known[c.name()]
		delete(known, c.name())
		switch {
		case problem == "" && expected:
			t.Errorf("%s passes now: take it off the list of known failures (%s)", c.name(), reason)
		case problem != "" && !expected:
			t.Errorf("%s: %s\n\t%s", c.name(), problem, c.text())
		}
		if problem == "" {
			passed++
		}
	}
	for _, name := range sortedKeys(known) {
		t.Errorf("known failure %q is no case", name)
	}
	t.Logf("%d of %d cases pass", passed, len(cases))
	if passed*100 < len(cases)*97 {
		t.Errorf("%d of %d cases pass, less than 97 in 100", passed, len(cases))
	}
}

func readCases(t *testing.T, path string) []*tckCase {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read the cases: %v", err)
	}
	var cases []*tckCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatalf("read the cases: %v", err)
	}
	if len(cases) == 0 {
		t.Fatal("there are no cases")
	}
	return cases
}

func readKnownFailures(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open("testdata/known_failures.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	known := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, found := strings.Cut(line, " : ")
		if !found || strings.TrimSpace(reason) == "" {
			t.Fatalf("known failure %q has no reason", line)
		}
		known[strings.TrimSpace(name)] = reason
	}
	return known
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func (c *tckCase) text() string {
	if c.Expr != nil {
		return *c.Expr
	}
	return fmt.Sprint(c.Entries)
}

// runCase returns what is wrong, "" if nothing.
func runCase(c *tckCase) string {
	s := scope{}
	for name, v := range c.Context {
		s[name] = v.value()
	}
	want := c.Expect.value()
	var got canon.Value
	if c.Expr != nil {
		got = evalCase(*c.Expr, s)
	} else {
		got = evalEntries(c.Entries, s)
	}
	got = coerceResult(got, c.Type)
	if !near(got, want) {
		return fmt.Sprintf("got %s, want %s", show(got), show(want))
	}
	return ""
}

func evalCase(src string, s scope) canon.Value {
	e, err := feel.Parse(src, feel.Options{Names: s.names()})
	if err != nil {
		return canon.Null{}
	}
	r, err := e.Eval(s, testEnv)
	if err != nil {
		return canon.String("limit: " + err.Error())
	}
	return r.Value
}

func evalEntries(entries [][2]string, s scope) canon.Value {
	var list []canon.Entry
	for _, e := range entries {
		v := evalCase(e[1], s)
		s[e[0]] = v
		list = append(list, canon.Entry{Name: e[0], Value: v})
	}
	c, err := canon.NewContext(list...)
	if err != nil {
		return canon.Null{}
	}
	return c
}

// coerceResult fits a result to the type of its decision, which is DMN's part
// and not FEEL's. Types that a model defines are not in the cases.
func coerceResult(v canon.Value, typ string) canon.Value {
	want, known := map[string]string{"string": "string", "number": "number", "boolean": "boolean"}[typ]
	if !known || canon.TypeName(v) == want {
		return v
	}
	if list, ok := v.(canon.List); ok && len(list) == 1 && canon.TypeName(list[0]) == want {
		return list[0]
	}
	return canon.Null{}
}

func (v *tckValue) value() canon.Value {
	if v == nil {
		return canon.Null{}
	}
	switch v.Tag {
	case "l":
		var items []*tckValue
		must(json.Unmarshal(v.Value, &items))
		list := canon.List{}
		for _, item := range items {
			list = append(list, item.value())
		}
		return list
	case "c":
		var entries map[string]*tckValue
		must(json.Unmarshal(v.Value, &entries))
		var list []canon.Entry
		for name, e := range entries {
			list = append(list, canon.Entry{Name: name, Value: e.value()})
		}
		c, err := canon.NewContext(list...)
		must(err)
		return c
	case "v":
		var text string
		must(json.Unmarshal(v.Value, &text))
		return scalar(v.Type, text)
	}
	return canon.Null{}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// scalar reads a value of an XML Schema type; cases without a type are guessed.
func scalar(typ, text string) canon.Value {
	switch typ {
	case "string":
		return canon.String(text)
	case "boolean":
		return canon.Bool(text == "true")
	case "decimal", "double":
		d, _, err := apd.NewFromString(text)
		must(err)
		n, err := canon.NumberFromDecimal(d)
		must(err)
		return n
	case "date":
		d, err := canon.ParseDate(text)
		must(err)
		return d
	case "time":
		d, err := canon.ParseTime(text)
		must(err)
		return d
	case "dateTime":
		d, err := canon.ParseDateTime(text)
		must(err)
		return d
	case "duration":
		d, err := canon.ParseDuration(text)
		must(err)
		return d
	}
	if text == "true" || text == "false" {
		return canon.Bool(text == "true")
	}
	return scalar("decimal", text)
}

// near is equality with numbers within 1e-8.
func near(a, b canon.Value) bool {
	switch a := a.(type) {
	case canon.Number:
		b, ok := b.(canon.Number)
		if !ok {
			return false
		}
		x, _ := a.Decimal().Float64()
		y, _ := b.Decimal().Float64()
		return x-y < 1e-8 && y-x < 1e-8
	case canon.List:
		b, ok := b.(canon.List)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !near(a[i], b[i]) {
				return false
			}
		}
		return true
	case *canon.Context:
		b, ok := b.(*canon.Context)
		if !ok || a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if a.At(i).Name != b.At(i).Name || !near(a.At(i).Value, b.At(i).Value) {
				return false
			}
		}
		return true
	}
	return canon.Equal(a, b)
}

func show(v canon.Value) string { return string(canon.Encode(v)) }

// scope is a map of variables.
type scope map[string]canon.Value

func (s scope) Lookup(name string) (canon.Value, bool) {
	v, ok := s[name]
	return v, ok
}

func (s scope) names() []string {
	var names []string
	for name := range s {
		names = append(names, name)
	}
	return names
}

// testEnv is the world of all tests: a fixed clock and the zones of this machine.
var testEnv = feel.Env{
	Now: canon.DateTime{
		Date: canon.Date{Year: 2026, Month: 11, Day: 21},
		Time: canon.Time{Hour: 12, Minute: 30, Zone: canon.Zone{Kind: canon.ZoneOffset}},
	},
	Zone: func(name string) (*time.Location, bool) {
		zone, err := time.LoadLocation(name)
		return zone, err == nil
	},
}
