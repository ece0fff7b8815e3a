package feel_test

import (
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/feel"
)

// TestConditionsAllocateLittle guards the hot path: an evaluation allocates its
// machine and its environment, nothing else.
func TestConditionsAllocateLittle(t *testing.T) {
	e, err := feel.Parse("amount > 1000 and approved = true", feel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var s feel.Scope = scope{"amount": canon.NewNumber(2500), "approved": canon.Bool(true)}
	if n := testing.AllocsPerRun(100, func() { _, err = e.Eval(s, testEnv) }); n > 2 || err != nil {
		t.Errorf("%v allocations, %v", n, err)
	}
}

func BenchmarkCondition(b *testing.B) {
	e, err := feel.Parse("amount > 1000 and approved = true", feel.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s := scope{"amount": canon.NewNumber(2500), "approved": canon.Bool(true)}
	b.ReportAllocs()
	for b.Loop() {
		if r, err := e.Eval(s, testEnv); err != nil || r.Value != canon.Bool(true) {
			b.Fatal(r, err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := feel.Parse("amount > 1000 and approved = true", feel.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFilter(b *testing.B) {
	e, err := feel.Parse("sum(items[price > 10].price)", feel.Options{})
	if err != nil {
		b.Fatal(err)
	}
	list := canon.List{}
	for i := range 100 {
		c, err := canon.NewContext(canon.Entry{Name: "price", Value: canon.NewNumber(int64(i))})
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, c)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Eval(scope{"items": list}, testEnv); err != nil {
			b.Fatal(err)
		}
	}
}
