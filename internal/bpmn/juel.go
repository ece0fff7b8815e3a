package bpmn

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JUEL is the expression language of Camunda 7 and its relatives: ${amount > 5}.
// Translated to FEEL are paths, literals, comparisons, logic, empty, + - * / and
// the conditional operator; all else, calls above all, is refused with its
// position. Where JUEL takes null for false, in "not" and "empty", the FEEL is
// written so that it does too.

// maxJUEL and maxJUELDepth bound a text and its nesting.
const (
	maxJUEL      = 10_000
	maxJUELDepth = 100
)

// isJUEL reports whether the text as a whole is one ${} or #{}.
func isJUEL(text string) bool {
	text = strings.TrimSpace(text)
	return (strings.HasPrefix(text, "${") || strings.HasPrefix(text, "#{")) && strings.HasSuffix(text, "}")
}

// juelError is a refusal with its place in the whole text.
type juelError struct {
	column int // from 1, in characters
	reason string
}

func (e *juelError) Error() string { return fmt.Sprintf("1:%d: %s", e.column, e.reason) }

// translateJUEL returns the FEEL for a text with any number of expressions in it.
// A text that is one expression keeps its type; several parts become a string.
func translateJUEL(text string) (string, error) {
	if len(text) > maxJUEL {
		return "", &juelError{1, fmt.Sprintf("%d bytes are more than the %d allowed", len(text), maxJUEL)}
	}
	j := &juel{text: text}
	var parts []string
	for j.at < len(text) && j.failure == nil {
		parts = append(parts, j.part(len(parts) == 0))
	}
	if j.failure != nil {
		return "", j.failure
	}
	return strings.Join(parts, " + "), nil
}

// splitTemplates cuts a list at its commas, leaving those inside expressions alone.
func splitTemplates(text string) ([]string, error) {
	var items []string
	depth, start := 0, 0
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '{':
			depth++
		case text[i] == '}':
			depth--
		case text[i] == ',' && depth == 0:
			items = append(items, text[start:i])
			start = i + 1
		}
	}
	items = append(items, text[start:])
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	if depth != 0 {
		return nil, &juelError{1, "braces are not balanced"}
	}
	return slices.DeleteFunc(items, func(s string) bool { return s == "" }), nil
}

// juel reads one text. The first failure stays and stops the reading.
type juel struct {
	text    string
	at      int    // byte offset of what comes after tok
	tok     string // present token; "" at the end
	tokAt   int
	depth   int
	failure error
}

// fail records why the text is refused. The token that follows is the end, so
// that every loop stops.
func (j *juel) fail(at int, format string, args ...any) piece {
	if j.failure == nil {
		j.failure = &juelError{1 + utf8.RuneCountInString(j.text[:at]), fmt.Sprintf(format, args...)}
	}
	j.tok = ""
	return piece{text: "null", atom: true}
}

// part reads plain text up to the next expression, or one expression. Beside
// others, an expression's value is made a string.
func (j *juel) part(first bool) string {
	rest := j.text[j.at:]
	if !strings.HasPrefix(rest, "${") && !strings.HasPrefix(rest, "#{") {
		end := len(rest)
		for _, mark := range []string{"${", "#{"} {
			if i := strings.Index(rest, mark); i >= 0 {
				end = min(end, i)
			}
		}
		j.at += end
		return quote(rest[:end])
	}
	j.at += 2
	j.next()
	value := j.conditional()
	if j.failure == nil && j.tok != "}" {
		j.fail(j.tokAt, "expected } but found %s", j.found())
	}
	if first && j.at == len(j.text) {
		return value.text
	}
	return "string(" + value.text + ")"
}

func (j *juel) found() string {
	if j.tok == "" {
		return "the end"
	}
	return strconv.Quote(j.tok)
}

var juelToken = regexp.MustCompile(`^(?:[\pL_$][\pL\pN_$]*|[0-9]+(?:\.[0-9]+)?|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|&&|\|\||[=!<>]=|[-+*/%?:<>!.,()\[\]{}])`)

// next moves to the next token.
func (j *juel) next() {
	for j.at < len(j.text) && strings.ContainsRune(" \t\r\n", rune(j.text[j.at])) {
		j.at++
	}
	j.tokAt = j.at
	j.tok = juelToken.FindString(j.text[j.at:])
	if j.tok == "" && j.at < len(j.text) {
		r, _ := utf8.DecodeRuneInString(j.text[j.at:])
		j.fail(j.at, "%q is not expected here", r)
	}
	j.at += len(j.tok)
	if j.failure != nil {
		j.tok = ""
	}
}

// accept moves past the present token if it is one of those given, and returns it.
func (j *juel) accept(tokens ...string) string {
	if j.tok == "" || !slices.Contains(tokens, j.tok) {
		return ""
	}
	tok := j.tok
	j.next()
	return tok
}

func (j *juel) expect(token string) {
	if j.accept(token) == "" && j.failure == nil {
		j.fail(j.tokAt, "expected %s but found %s", token, j.found())
	}
}

// piece is FEEL text; an atom needs no parentheses as an operand.
type piece struct {
	text string
	atom bool
}

func (p piece) operand() string {
	if p.atom {
		return p.text
	}
	return "(" + p.text + ")"
}

// conditional = or [ "?" conditional ":" conditional ]
func (j *juel) conditional() piece {
	if j.depth++; j.depth > maxJUELDepth {
		return j.fail(j.tokAt, "is nested more than %d deep", maxJUELDepth)
	}
	defer func() { j.depth-- }()
	test := j.binary(0)
	if j.accept("?") == "" {
		return test
	}
	yes := j.conditional()
	j.expect(":")
	no := j.conditional()
	return piece{text: "if " + test.operand() + " then " + yes.operand() + " else " + no.operand()}
}

// juelLevels are the binary operators from the loosest to the tightest, with
// what FEEL calls them.
var juelLevels = []map[string]string{
	{"||": "or", "or": "or"},
	{"&&": "and", "and": "and"},
	{"==": "=", "eq": "=", "!=": "!=", "ne": "!="},
	{"<": "<", "lt": "<", ">": ">", "gt": ">", "<=": "<=", "le": "<=", ">=": ">=", "ge": ">="},
	{"+": "+", "-": "-"},
	{"*": "*", "/": "/", "div": "/"},
}

func (j *juel) binary(level int) piece {
	if level == len(juelLevels) {
		return j.unary()
	}
	left := j.binary(level + 1)
	for {
		operator, ok := juelLevels[level][j.tok]
		if !ok || j.tok == "" {
			return left
		}
		j.next()
		right := j.binary(level + 1)
		left = piece{text: left.operand() + " " + operator + " " + right.operand()}
	}
}

// unary = ("!" | "not" | "-" | "empty") unary | value
func (j *juel) unary() piece {
	if j.depth++; j.depth > maxJUELDepth {
		return j.fail(j.tokAt, "is nested more than %d deep", maxJUELDepth)
	}
	defer func() { j.depth-- }()
	switch j.accept("!", "not", "-", "empty") {
	case "!", "not":
		return piece{text: j.unary().operand() + " != true"}
	case "-":
		return piece{text: "-" + j.unary().operand()}
	case "empty":
		return piece{text: `list contains([null, "", [], {}], ` + j.unary().text + ")", atom: true}
	}
	return j.path(j.value())
}

var (
	juelName   = regexp.MustCompile(`^[\pL_][\pL\pN_]*$`)
	juelNumber = regexp.MustCompile(`^[0-9]`)
)

// taken are words that cannot be a variable's name: JUEL's own and FEEL's.
var taken = strings.Fields("instanceof mod eq ne lt gt le ge and or not empty div " +
	"if then else for in return some every satisfies between function external instance of")

func (j *juel) value() piece {
	tok, at := j.tok, j.tokAt
	j.next()
	switch {
	case tok == "":
		return j.fail(at, "expression ends too early")
	case tok == "(":
		inner := j.conditional()
		j.expect(")")
		return piece{text: inner.operand(), atom: true}
	case tok[0] == '\'' || tok[0] == '"':
		return piece{text: quote(unescape(tok[1 : len(tok)-1])), atom: true}
	case juelNumber.MatchString(tok):
		return piece{text: tok, atom: true}
	case tok == "true", tok == "false", tok == "null":
		return piece{text: tok, atom: true}
	case slices.Contains(taken, tok):
		return j.fail(at, "%q is not translated here", tok)
	case juelName.MatchString(tok):
		return piece{text: tok, atom: true}
	}
	return j.fail(at, "%q is not expected here", tok)
}

// path reads what follows a value: .name, ["name"], [0]. Calls are refused.
func (j *juel) path(p piece) piece {
	for {
		at := j.tokAt
		switch j.tok {
		case "(":
			return j.fail(at, "calls are not translated: write FEEL")
		case ".":
			j.next()
			p.text += "." + j.name(j.tok, j.tokAt)
			j.next()
		case "[":
			j.next()
			p.text += j.index()
			j.next()
			j.expect("]")
		default:
			return p
		}
	}
}

func (j *juel) name(tok string, at int) string {
	if !juelName.MatchString(tok) {
		j.fail(at, "%q is not a name", tok)
	}
	return tok
}

// index reads what stands in brackets. JUEL counts from 0, FEEL from 1.
func (j *juel) index() string {
	tok := j.tok
	if tok != "" && (tok[0] == '"' || tok[0] == '\'') {
		return "." + j.name(unescape(tok[1:len(tok)-1]), j.tokAt)
	}
	i, err := strconv.Atoi(tok)
	if err != nil {
		j.fail(j.tokAt, "only a number or a name in quotes is translated in brackets")
	}
	return "[" + strconv.Itoa(i+1) + "]"
}

var juelEscape = regexp.MustCompile(`\\(.)`)

func unescape(text string) string { return juelEscape.ReplaceAllString(text, "$1") }
