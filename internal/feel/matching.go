package feel

import (
	"io"
	"unicode/utf8"
)

// eachMatch calls found with the indices of each match, from the left and none
// inside another, until it returns false. An empty match right after another
// does not count. The slice is found's own.
//
// To know that a match is the one to take, the engine may have to read far
// beyond it, each time anew. So what it reads is what is charged for.
func (m *machine) eachMatch(p pattern, input string, found func(match []int) bool) {
	if p.begins {
		m.eachFromStart(p, input, found)
		return
	}
	last := -1
	for at := 0; at <= len(input) && m.step(1); {
		match := p.re.FindReaderSubmatchIndex(&meteredText{machine: m, text: input[at:], cost: p.cost()})
		if match == nil || m.err != nil {
			return
		}
		for i := range match {
			if match[i] >= 0 {
				match[i] += at
			}
		}
		if match[1] == at {
			_, size := utf8.DecodeRuneInString(input[at:])
			at += max(size, 1)
		} else {
			at = match[1]
		}
		if match[0] == match[1] && match[0] == last {
			continue
		}
		if last = match[1]; !found(match) {
			return
		}
	}
}

// eachFromStart is eachMatch for patterns that look at what is before a match,
// which the engine does only when it finds all matches at once. It is asked for
// more and more, and each is charged as if it read to the end.
func (m *machine) eachFromStart(p pattern, input string, found func(match []int) bool) {
	for most := 2; ; most *= 2 {
		if !m.step(most*(1+len(input)*p.cost()/costPerStep)) || !m.alloc(most*(24+16*(1+p.re.NumSubexp()))) {
			return
		}
		list := p.re.FindAllStringSubmatchIndex(input, most)
		if len(list) == most {
			continue
		}
		for _, match := range list {
			if !found(match) {
				return
			}
		}
		return
	}
}

// costPerStep is how many nodes of a pattern are tried for one step.
const costPerStep = 16

// cost is the work per character, in nodes: each that is tried carries along
// what the groups found.
func (p pattern) cost() int { return (1 + p.nodes) * (8 + p.re.NumSubexp()) / 8 }

// meteredText gives out the characters of a text as long as the machine goes on.
type meteredText struct {
	*machine
	text string
	cost int // of each character
	owed int // less than a step
}

func (t *meteredText) ReadRune() (r rune, size int, err error) {
	t.owed += t.cost
	if t.text == "" || !t.step(t.owed/costPerStep) {
		return 0, 0, io.EOF
	}
	t.owed %= costPerStep
	r, size = utf8.DecodeRuneInString(t.text)
	t.text = t.text[size:]
	return r, size, nil
}
