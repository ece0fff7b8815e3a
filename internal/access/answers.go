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

	listed bool // in kept, whose mutex guards it
}

// maxAnswers and maxAnswerKey, in bytes, bound what is kept for one principal, who mostly
// asks a few short things again and again; of more, all are forgotten, and what is longer
// is decided each time.
const (
	maxAnswers   = 64
	maxAnswerKey = 256
)

// maxKept bounds what is kept for all principals of a server together, so that many people
// who ask for many things take no more of its memory; of more, all are forgotten.
const maxKept = 100_000

// kept counts the answers that are kept, and knows where they are.
type kept struct {
	most int

	mu    sync.Mutex // guards what follows, and is locked before that of answers
	total int
	where []*answers
}

// put keeps one more answer.
func (k *kept) put(a *answers, key string, d Decision) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.total >= k.most {
		for _, one := range k.where {
			one.forget()
			one.listed = false
		}
		k.where, k.total = nil, 0
	}
	if !a.listed {
		k.where, a.listed = append(k.where, a), true
	}
	k.total += a.put(key, d)
}

// of returns the answer that was given under a key, and decides if none was.
func (a *answers) of(k *kept, key []byte, decide func() Decision) Decision {
	a.mu.RLock()
	d, known := a.known[string(key)]
	a.mu.RUnlock()
	if known {
		return d
	}
	if d = decide(); len(key) > maxAnswerKey {
		return d
	}
	k.put(a, string(key), d)
	return d
}

// put returns how many more are known by it; fewer, where the others are forgotten.
func (a *answers) put(key string, d Decision) (more int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := len(a.known)
	if a.known == nil || before >= maxAnswers {
		a.known = map[string]Decision{}
	}
	a.known[key] = d
	return len(a.known) - before
}

func (a *answers) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known = nil
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
