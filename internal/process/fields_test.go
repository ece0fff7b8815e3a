package process_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/process"
)

func policy(t tester, lines string) *process.Policy {
	d := draft(t, lines)
	return &d.Policy
}

func json(t tester, text string) canon.Value {
	t.Helper()
	v, err := canon.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// written shows fields as "path=value class subjects", one per line.
func written(fields []process.Field) string {
	var lines []string
	for _, f := range fields {
		line := fmt.Sprintf("%s=%s %v", f.Path, canon.EncodeJSON(f.Value), f.Label.Class)
		lines = append(lines, strings.Join(append([]string{line}, f.Label.Subjects...), " "))
	}
	return strings.Join(lines, "\n")
}

func TestSplit(t *testing.T) {
	const declared = `
		field applicant.ssn regulated about applicant.id
		field applicant.address confidential
		field applicant.address.street regulated
		field people[].phone confidential about people[].id
		field phones[].number internal about phones[].id
		field scans[].image regulated about scans[].id
		field tags[] confidential
		field amount public
		field house.owner.name regulated
		field odd%2Ename.x regulated
	`
	cases := []struct {
		name     string
		scope    uint64
		variable string
		value    string
		want     string
	}{
		{"an undeclared variable is one field", 0, "other", `{"a":1}`, `other={"a":1} internal`},
		{"a declared one too", 0, "amount", `5`, `amount=5 public`},
		{"in an inner scope", 7, "amount", `5`, `@7/amount=5 public`},
		{
			"declared paths leave the rest", 0, "applicant", `{"id":"x","name":"A","ssn":"1"}`,
			`applicant={"name":"A"} internal
applicant.id="x" internal applicant.id
applicant.ssn="1" regulated applicant.id`,
		},
		{
			"subjects of an inner scope's variable are there too", 7, "applicant", `{"ssn":"1"}`,
			`@7/applicant={} internal
@7/applicant.ssn="1" regulated @7/applicant.id`,
		},
		{
			"the longest path wins", 0, "applicant", `{"address":{"city":"X","street":"Y"}}`,
			`applicant={} internal
applicant.address={"city":"X"} confidential
applicant.address.street="Y" regulated`,
		},
		{
			"a path's undeclared beginning stays in the rest", 0, "house", `{"owner":{"name":"N","age":1}}`,
			`house={"owner":{"age":1}} internal
house.owner.name="N" regulated`,
		},
		{
			"lists pair fields and subjects by index", 0, "people", `[{"id":1,"phone":"a"},{"phone":"b","x":0}]`,
			`people=[{},{"x":0}] internal
people[0].id=1 internal people[0].id
people[0].phone="a" confidential people[0].id
people[1].phone="b" confidential people[1].id`,
		},
		{
			"items that are fields leave null", 0, "tags", `["a","b"]`,
			`tags=[null,null] internal
tags[0]="a" confidential
tags[1]="b" confidential`,
		},
		{"names with special characters are escaped", 0, "odd.name", `{"x":1,"y":2}`, `odd%2Ename={"y":2} internal
odd%2Ename.x=1 regulated`},
		{"so is a dollar sign", 0, "$incident.3", `1`, `%24incident%2E3=1 internal`},
		{"null has no inside", 0, "applicant", `null`, `applicant=null internal`},
		{"a text in a context's place takes the labels inside", 0, "applicant", `"1 Y"`, `applicant="1 Y" regulated applicant.id`},
		{"a list in a context's place too", 0, "applicant", `[{"ssn":1}]`, `applicant=[{"ssn":1}] regulated applicant.id`},
		{"a context in a list's place too", 0, "people", `{"phone":"a"}`, `people={"phone":"a"} confidential`},
		{"and stays sealed when nobody can tell whose it is", 0, "phones", `{"id":"x","number":"a"}`, `phones={"id":"x","number":"a"} confidential`},
		{"at its own class if that is higher", 0, "scans", `"a"`, `scans="a" regulated`},
		{"a list in place of an item finds the person", 0, "phones", `["a"]`, `phones=["a"] internal phones[0].id`},
		{
			"and deeper inside", 0, "applicant", `{"address":"Y 5","id":1}`,
			`applicant={} internal
applicant.address="Y 5" regulated
applicant.id=1 internal applicant.id`,
		},
	}
	p := policy(t, declared)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fields := process.Split(p, c.scope, c.variable, json(t, c.value))
			if got := written(fields); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			slices.Reverse(fields)
			if merged := process.Merge(fields); !canon.Equal(merged, json(t, c.value)) {
				t.Errorf("merged again: %s, want %s", canon.EncodeJSON(merged), c.value)
			}
		})
	}
}

// shapes draws values that fit and do not fit the policies of these tests.
func shapes(t *rapid.T, depth int) canon.Value {
	names := []string{"a", "b", "id", "x.y", "$", ""}
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	if depth == 0 {
		kind %= 3
	}
	switch kind {
	case 0:
		return canon.Null{}
	case 1:
		return canon.NewNumber(rapid.Int64Range(0, 3).Draw(t, "number"))
	case 2:
		return canon.String(rapid.SampledFrom(names).Draw(t, "text"))
	case 3:
		list := make(canon.List, rapid.IntRange(0, 3).Draw(t, "length"))
		for i := range list {
			list[i] = shapes(t, depth-1)
		}
		return list
	}
	var c *canon.Context
	for range rapid.IntRange(0, 4).Draw(t, "entries") {
		c = c.With(rapid.SampledFrom(names).Draw(t, "name"), shapes(t, depth-1))
	}
	if c == nil {
		c, _ = canon.NewContext()
	}
	return c
}

func drawPolicy(t *rapid.T) *process.Policy {
	paths := []string{
		"v", "v.a", "v.b", "v.a.b", "v[]", "v[].a", "v.a[].b", "v[][].id", "v.x%2Ey", "v.%24.a", "w.a", "w",
	}
	p := &process.Policy{Default: process.Class(rapid.IntRange(0, 2).Draw(t, "default"))}
	for _, path := range paths {
		if rapid.Bool().Draw(t, path) {
			f := process.FieldPolicy{Path: path, Class: process.Class(rapid.IntRange(0, 3).Draw(t, "class"))}
			if rapid.IntRange(0, 3).Draw(t, "about") == 0 {
				f.Subject = rapid.SampledFrom([]string{"v.id", "w.id", "who"}).Draw(t, "subject")
			}
			p.Fields = append(p.Fields, f)
		}
	}
	return p
}

func TestMergeUndoesSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, v := drawPolicy(t), shapes(t, 4)
		fields := process.Split(p, 0, "v", v)
		if merged := process.Merge(fields); !canon.Equal(merged, v) {
			t.Fatalf("%s became %s by %s", canon.Encode(v), canon.Encode(merged), written(fields))
		}
		for i, f := range fields {
			if i > 0 && fields[i-1].Path >= f.Path {
				t.Fatalf("paths are not sorted and unique: %s", written(fields))
			}
			if !slices.IsSorted(f.Label.Subjects) {
				t.Fatalf("subjects are not sorted: %v", f.Label)
			}
		}
	})
}

func TestLabels(t *testing.T) {
	l := func(class process.Class, subjects ...string) process.Label {
		return process.Label{Class: class, Subjects: subjects}
	}
	joins := []struct{ a, b, want process.Label }{
		{l(0), l(2), l(2)},
		{l(3, "a"), l(1, "b"), l(3, "a", "b")},
		{l(1, "b", "c"), l(1, "a", "c"), l(1, "a", "b", "c")},
		{l(2, "a"), l(1, "a"), l(2, "a")},
	}
	for _, c := range joins {
		for _, got := range []process.Label{c.a.Join(c.b), c.b.Join(c.a)} {
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("join of %v and %v is %v, want %v", c.a, c.b, got, c.want)
			}
			if !got.Covers(c.a) || !got.Covers(c.b) {
				t.Errorf("join %v does not cover %v and %v", got, c.a, c.b)
			}
		}
	}
	sealed := []struct {
		mode  process.Mode
		label process.Label
		want  bool
	}{
		{process.Standard, l(process.Public), false},
		{process.Standard, l(process.Internal), false},
		{process.Standard, l(process.Confident), true},
		{process.Standard, l(process.Regulated), true},
		{process.Standard, l(process.Public, "applicant.id"), true},
		{process.Confidential, l(process.Public), true},
	}
	for _, c := range sealed {
		if got := process.Sealed(c.mode, c.label); got != c.want {
			t.Errorf("sealed in %s with %v: %v, want %v", c.mode, c.label, got, c.want)
		}
	}
}
