package bpmn

import (
	"errors"
	"regexp"
	"strings"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/feel"
	"github.com/underseal/underseal/internal/process"
)

// language is what an expression is written in.
type language uint8

const (
	foreign language = iota // something that is not executed
	unsaid
	inFEEL
	inJUEL
)

// languageOf reads a name or URI of an expression language or script format.
func languageOf(name string) language {
	name = strings.ToLower(strings.TrimSpace(name))
	switch name {
	case "":
		return unsaid
	case "feel", "text/feel", "text/x-feel", "application/feel", "application/x-feel":
		return inFEEL
	case "juel", "uel", "text/x-juel":
		return inJUEL
	}
	if strings.Contains(name, "omg.org/spec/") && strings.Contains(name, "feel") {
		return inFEEL
	}
	return foreign
}

// bpmnExpression compiles the text of a condition, script or time. FEEL may begin
// with "="; a text in ${} or #{} is JUEL whatever the file's default language is,
// since no tool that writes it changes that default.
func (c *compiler) bpmnExpression(n *Node, what, text, lang string) *feel.Expression {
	text = strings.TrimSpace(text)
	said := languageOf(lang)
	if said == unsaid && !strings.HasPrefix(text, "=") && !isJUEL(text) && what != "script" {
		lang = c.model.Root.Attr("expressionLanguage")
		said = languageOf(lang)
	}
	switch {
	case text == "":
		c.add(n, "%s is empty", what)
		return nil
	case said == foreign:
		c.add(n, "%s is written in %q: FEEL and JUEL are executed", what, lang)
		return nil
	case said == inJUEL || said == unsaid && isJUEL(text):
		return c.juel(n, what, text)
	}
	return c.feel(n, what, strings.TrimPrefix(text, "="))
}

// feel parses FEEL and refuses functions that do not exist.
func (c *compiler) feel(n *Node, what, src string) *feel.Expression {
	e, err := feel.Parse(src, feel.Options{})
	if err != nil {
		c.add(n, "%s %q: %s", what, shorten(src), reason(err))
		return nil
	}
	for _, call := range e.Unknown() {
		c.add(n, "%s %q: %d:%d: function %s is not built in", what, shorten(src), call.Line, call.Column, call.Name)
	}
	return e
}

// juel translates JUEL to FEEL.
func (c *compiler) juel(n *Node, what, text string) *feel.Expression {
	src, err := translateJUEL(text)
	if err != nil {
		c.add(n, "%s %q: %v", what, shorten(text), err)
		return nil
	}
	return c.feel(n, what, src)
}

// reason is what an error of feel says, with its position.
func reason(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && len(f.Details) > 0 {
		return f.Details[0].Place + ": " + f.Details[0].Message
	}
	return err.Error()
}

func shorten(text string) string {
	const most = 60
	count := 0
	for i := range text {
		if count++; count > most {
			return text[:i] + "..."
		}
	}
	return text
}

// zeebeText compiles an attribute that is FEEL after "=" and else plain text.
func (c *compiler) zeebeText(n *Node, what, text string) *feel.Expression {
	if text == "" {
		return nil
	}
	if src, ok := strings.CutPrefix(text, "="); ok {
		return c.feel(n, what, src)
	}
	return c.feel(n, what, quote(text))
}

// zeebeExpression compiles an attribute that is always FEEL.
func (c *compiler) zeebeExpression(n *Node, what, text string) *feel.Expression {
	src := strings.TrimSpace(strings.TrimPrefix(text, "="))
	if src == "" {
		c.add(n, "%s is empty", what)
		return nil
	}
	return c.feel(n, what, src)
}

// zeebeList compiles an attribute that is FEEL after "=" and else names separated
// by commas.
func (c *compiler) zeebeList(n *Node, what, text string) *feel.Expression {
	if strings.TrimSpace(text) == "" || strings.HasPrefix(text, "=") {
		return c.zeebeText(n, what, strings.TrimSpace(text))
	}
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, quote(item))
		}
	}
	return c.feel(n, what, "["+strings.Join(items, ", ")+"]")
}

func (c *compiler) zeebeDate(n *Node, what, text string) *feel.Expression {
	if text == "" || strings.HasPrefix(text, "=") {
		return c.zeebeText(n, what, text)
	}
	return c.constantTime(n, what, text, process.TimerDate)
}

var digits = regexp.MustCompile(`^[0-9]{1,6}$`)

func (c *compiler) retries(definition *Node) *feel.Expression {
	text := strings.TrimSpace(definition.Attr("retries"))
	if text == "" || strings.HasPrefix(text, "=") {
		return c.zeebeText(definition, "retries", text)
	}
	if !digits.MatchString(text) {
		c.add(definition, "retries %q is not a whole number", text)
		return nil
	}
	return c.feel(definition, "retries", text)
}

// camundaText compiles a text with ${} or #{} in it; without one it is plain.
func (c *compiler) camundaText(n *Node, what, text string) *feel.Expression {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	if strings.HasPrefix(text, "=") {
		c.add(n, "%s %q: a camunda text is an expression in ${...} only", what, shorten(text))
		return nil
	}
	return c.juel(n, what, text)
}

// camundaList compiles names separated by commas, each with expressions in it, or
// one expression for the whole list.
func (c *compiler) camundaList(n *Node, what, text string) *feel.Expression {
	items, err := splitTemplates(text)
	if err != nil {
		c.add(n, "%s %q: %v", what, shorten(text), err)
		return nil
	}
	if len(items) == 1 && isJUEL(items[0]) {
		return c.camundaText(n, what, items[0])
	}
	var list []string
	for _, item := range items {
		src, err := translateJUEL(item)
		if err != nil {
			c.add(n, "%s %q: %v", what, shorten(item), err)
			return nil
		}
		list = append(list, src)
	}
	return c.feel(n, what, "["+strings.Join(list, ", ")+"]")
}

func (c *compiler) camundaDate(n *Node, what, text string) *feel.Expression {
	if isJUEL(text) {
		return c.juel(n, what, text)
	}
	return c.constantTime(n, what, strings.TrimSpace(text), process.TimerDate)
}

// time compiles the text of a timer: an expression after "=" or in ${}, else an
// ISO 8601 text.
func (c *compiler) time(n *Node, kind process.TimerKind) *feel.Expression {
	text := strings.TrimSpace(n.Text)
	if strings.HasPrefix(text, "=") || isJUEL(text) || text == "" {
		return c.bpmnExpression(n, n.Name, text, n.Attr("language"))
	}
	return c.constantTime(n, n.Name, text, kind)
}

func (c *compiler) constantTime(n *Node, what, text string, kind process.TimerKind) *feel.Expression {
	var err error
	src := quote(text)
	switch kind {
	case process.TimerDate:
		_, err = canon.ParseDateTime(text)
		src = "date and time(" + src + ")"
	case process.TimerDuration:
		_, err = canon.ParseDuration(text)
		src = "duration(" + src + ")"
	case process.TimerCycle:
		err = checkCycle(text)
	}
	if err != nil {
		c.add(n, "%s %q: %v; an expression begins with \"=\"", what, shorten(text), err)
		return nil
	}
	return c.feel(n, what, src)
}

var cycle = regexp.MustCompile(`^R(?:[1-9][0-9]{0,5})?/(?:([^/]+)/)?([^/]+)$`)

// checkCycle accepts ISO 8601 repetitions: "R3/PT1H", "R/PT1H" without end, and
// "R3/2030-01-01T00:00:00Z/PT1H" from a given time on.
func checkCycle(text string) error {
	found := cycle.FindStringSubmatch(text)
	if found == nil {
		return errors.New("cycle is not accepted: want the form R3/PT1H or R/PT1H")
	}
	if found[1] != "" {
		if _, err := canon.ParseDateTime(found[1]); err != nil {
			return err
		}
	}
	interval, err := canon.ParseDuration(found[2])
	if err != nil {
		return err
	}
	days, _ := interval.(canon.DayTimeDuration)
	months, _ := interval.(canon.YearMonthDuration)
	if days.Nanoseconds <= 0 && months.Months <= 0 {
		return errors.New("cycle's interval is not longer than nothing")
	}
	return nil
}

var namePath = regexp.MustCompile(`^[\pL_][\pL\pN_]*(\.[\pL_][\pL\pN_]*)*$`)

// isPath reports whether text names a variable or a place inside one.
func isPath(text string) bool { return namePath.MatchString(text) }

// quote writes a FEEL string literal.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(text) + `"`
}
