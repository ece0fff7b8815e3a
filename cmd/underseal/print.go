package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// result writes v as JSON under --json, else as the text that human writes.
func (e *env) result(v any, human func(w io.Writer)) error {
	if e.json {
		return writeJSON(e.stdout, v, "  ")
	}
	var text bytes.Buffer // one write: a closed pipe is noticed, half a table is not left behind
	human(&text)
	_, err := e.stdout.Write(text.Bytes())
	return err
}

// note says on stderr what is no error and may still not be what was meant.
func (e *env) note(format string, args ...any) {
	if !e.json {
		fmt.Fprintf(e.stderr, "note: %s\n", printable(fmt.Sprintf(format, args...)))
	}
}

// notes passes on what a server notes.
func (e *env) notes(all []string) {
	for _, text := range all {
		e.note("%s", text)
	}
}

// table writes aligned columns under a header.
func table(w io.Writer, header []string, rows [][]string) {
	var text bytes.Buffer
	t := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = strings.ReplaceAll(printable(cell), "\n", " ") // which would begin a row of nobody's
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	t.Flush()
	for line := range strings.Lines(text.String()) { // empty cells at the end of a row are blanks
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// folded cuts a text into lines of at most width columns, at spaces where there are some.
func folded(text string, width int) (lines []string) {
	width = max(width, 20)
	line := []rune(nil)
	for _, word := range strings.Fields(text) {
		rest := []rune(word)
		if len(line) > 0 && len(line)+1+len(rest) > width {
			lines, line = append(lines, string(line)), nil
		}
		if len(line) > 0 {
			line = append(line, ' ')
		}
		for len(line)+len(rest) > width {
			n := width - len(line)
			lines, line, rest = append(lines, string(append(line, rest[:n]...))), nil, rest[n:]
		}
		line = append(line, rest...)
	}
	return append(lines, string(line))
}

// pairs writes "name  value" lines and leaves out empty values.
func pairs(w io.Writer, kv ...string) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i+1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", kv[i], strings.ReplaceAll(printable(kv[i+1]), "\n", "\n\t")) // else a line of it would pass for another pair
		}
	}
	t.Flush()
}

// printable keeps text from a model or a person from steering the terminal:
// control and formatting characters are shown as a replacement character.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// indented is a JSON object as a person reads it, with every digit kept.
func indented(raw json.RawMessage, prefix string) string {
	if len(raw) == 0 {
		return prefix + "{}"
	}
	var out bytes.Buffer
	if json.Indent(&out, raw, prefix, "  ") != nil {
		return prefix + string(raw)
	}
	return prefix + out.String()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func stampOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return stamp(*t)
}

// spanText is a span as one is written: 1h, 90m.
func spanText(span time.Duration) string {
	text := span.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// more says how to see the rest of a list that was cut into pages.
func more(w io.Writer, next string) {
	if next != "" {
		fmt.Fprintf(w, "more: --after %s\n", next)
	}
}

// oneLine is the first line of a text that may have many.
func oneLine(s string) string {
	first, _, cut := strings.Cut(s, "\n")
	if cut {
		first += " .."
	}
	return first
}

// withArticle is a noun with its article: "a task", "an incident".
func withArticle(noun string) string {
	if noun != "" && strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

// counted is a number with its noun: "1 setting", "2 settings".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
