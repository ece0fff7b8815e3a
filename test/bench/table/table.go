// Package table prints what was measured beside the floors, and knows which of
// them were missed.
package table

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// A Table is filled row by row.
type Table struct {
	lines  []string
	missed int
}

// Section begins a part of the table.
func (t *Table) Section(title string) { t.lines = append(t.lines, title) }

// Show adds a figure without a floor.
func (t *Table) Show(what string, got float64, unit string) { t.line(what, got, unit, "", true) }

// AtLeast adds a figure that must not be below its floor.
func (t *Table) AtLeast(what string, got, floor float64, unit string) {
	t.line(what, got, unit, "at least "+number(floor), got >= floor)
}

// Below adds a figure that must stay below a bound.
func (t *Table) Below(what string, got, bound float64, unit string) {
	t.line(what, got, unit, "below "+number(bound), got < bound)
}

func (t *Table) line(what string, got float64, unit, floor string, holds bool) {
	mark := ""
	if !holds {
		mark = "  MISSED"
		t.missed++
	}
	line := fmt.Sprintf("  %-46s %10s %-4s %-17s%s", what, number(got), unit, floor, mark)
	t.lines = append(t.lines, strings.TrimRight(line, " "))
}

// Print writes the table.
func (t *Table) Print(w io.Writer) error {
	_, err := fmt.Fprintln(w, strings.Join(t.lines, "\n"))
	return err
}

// Missed returns an error when a floor was missed.
func (t *Table) Missed() error {
	if t.missed == 0 {
		return nil
	}
	return fmt.Errorf("%d of the floors were missed; on a machine that does other things too, look at the ratios", t.missed)
}

// number writes three digits or more: 0.94, 1.50, 23.4, 1,234.
func number(v float64) string {
	switch {
	case v >= 100:
		return grouped(fmt.Sprintf("%.0f", v))
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func grouped(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Machine describes where and beside what load a measurement begins.
func Machine() string {
	text := fmt.Sprintf("%s/%s, %d cores, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		text += ", load average at the start " + strings.Fields(string(load))[0]
	}
	return text
}
