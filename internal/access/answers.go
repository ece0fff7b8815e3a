package access

import (
	"encoding/binary"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
)

// answers are decisions of the built-in policies, which are the same everywhere, that were
// made for a principal. A decision follows from what the policies of its action read, and is
// kept under that: whatever else there is to a question, such as which instance it is about,
// the same is decided. Which grants match, and whether they have expired, is found out each
// time. So what is kept stays true for as long as the principal is what it is, and another
// Effective begins anew.
type answers struct {
	mu    sync.RWMutex // guards known
	known map[string]Decision
}

// maxAnswers and maxAnswerKey, in bytes, bound what is kept for one principal, who mostly
// asks a few short things again and again; of more, all are forgotten, and what is longer
// is decided each time.
const (
	maxAnswers   = 64
	maxAnswerKey = 256
)

// of returns the answer that was given under a key, and decides if none was.
func (a *answers) of(key []byte, decide func() Decision) Decision {
	a.mu.RLock()
	d, known := a.known[string(key)]
	a.mu.RUnlock()
	if known {
		return d
	}
	if d = decide(); len(key) > maxAnswerKey {
		return d
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known == nil || len(a.known) >= maxAnswers {
		a.known = map[string]Decision{}
	}
	a.known[string(key)] = d
	return d
}

// key returns all that built-in policies see of a question besides the principal.
func (q *question) key(which part) []byte {
	key := append(make([]byte, 0, 160), byte(which))
	key = appendText(appendText(key, string(q.action)), string(q.on.Kind))
	names := q.policies.readsOf(q.action)
	for _, name := range names.resource {
		key = appendValue(key, q.on.attribute(name))
	}
	for _, name := range names.context {
		if name != "rights" {
			key = appendValue(key, q.facts.attribute(name))
			continue
		}
		key = append(key, byte(len(q.facts.rights)))
		for _, right := range q.facts.rights {
			key = appendText(key, string(right))
		}
	}
	return key
}

func appendValue(key []byte, v types.Value) []byte {
	switch v := v.(type) {
	case types.String:
		return appendText(key, string(v))
	case types.Boolean:
		if v {
			return append(key, 1)
		}
		return append(key, 0)
	}
	panic("access: internal error: no attribute is a " + v.String())
}

func appendText(key []byte, text string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(text))), text...)
}
