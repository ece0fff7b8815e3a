package table_test

import (
	"strings"
	"testing"

	"github.com/underseal/underseal/test/bench/table"
)

func TestMissesAreMarkedAndCounted(t *testing.T) {
	tests := []struct {
		name   string
		add    func(*table.Table)
		want   string
		missed bool
	}{
		{"a rate on its floor", func(t *table.Table) { t.AtLeast("rate", 1000, 1000, "/s") }, "rate 1,000 /s at least 1,000", false},
		{"a rate that rounds to its floor", func(t *table.Table) { t.AtLeast("rate", 0.899, 0.9, "") }, "rate 0.90 at least 0.90 MISSED", true},
		{"a time on its bound", func(t *table.Table) { t.Below("time", 100, 100, "ms") }, "time 100 ms below 100 MISSED", true},
		{"a time below its bound", func(t *table.Table) { t.Below("time", 23.44, 100, "ms") }, "time 23.4 ms below 100", false},
		{"a figure without a floor", func(t *table.Table) { t.Show("size", 1234567, "B") }, "size 1,234,567 B", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var made table.Table
			test.add(&made)
			var out strings.Builder
			if err := made.Print(&out); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(strings.Fields(out.String()), " "); got != test.want {
				t.Errorf("printed %q, want %q", got, test.want)
			}
			if missed := made.Missed() != nil; missed != test.missed {
				t.Errorf("missed is %v, want %v", missed, test.missed)
			}
		})
	}
}
