package engine

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/blindindex"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
)

// A tenant has one index key or more, and makes two sorts of tokens with them.
//
// Names are ids that are kept for good, in leaves for instance, and made of what nobody
// guesses, or of what guessing tells of no person: other ids, random texts, names of ours
// and of workers. They are under the first key.
//
// Terms are what a person might be known by or have said: they are written under the
// newest key, and looked for under all. So is what entries of the log are found by.

// indexToken returns the keyed hash by which a name of this tenant is found again. The
// purpose keeps the uses apart.
func (e *Engine) indexToken(ctx context.Context, tenant, purpose, name string) ([32]byte, error) {
	keys, err := e.ring.IndexKeys(ctx, tenant)
	if err != nil {
		return [32]byte{}, err
	}
	return blindindex.Token(keys[len(keys)-1], purpose, name), nil
}

// termToken returns the keyed hash under which a term of this tenant is written.
func (e *Engine) termToken(ctx context.Context, tenant, purpose, term string) ([32]byte, error) {
	keys, err := e.ring.IndexKeys(ctx, tenant)
	if err != nil {
		return [32]byte{}, err
	}
	return blindindex.Token(keys[0], purpose, term), nil
}

// termKeys returns all keys under which a term may have been written, newest first, also
// one that another process made just now.
func (e *Engine) termKeys(ctx context.Context, tenant string) ([]envelope.Key, error) {
	return e.ring.PurposeKeys(ctx, tenant, keyring.Index)
}

// termTokens returns all keyed hashes under which a term may have been written, by key.
func (e *Engine) termTokens(ctx context.Context, tenant, purpose, term string) ([][32]byte, error) {
	keys, err := e.termKeys(ctx, tenant)
	return blindindex.Tokens(keys, purpose, term), err
}

// personTokens returns the index tokens of a person's id, one under each key; none for no
// id, null and the empty string. Which of them the person has keys by is asked of the keyring.
func personTokens(keys []envelope.Key, id canon.Value) [][32]byte {
	if id == nil || canon.Equal(id, canon.Null{}) || canon.Equal(id, canon.String("")) {
		return nil
	}
	return blindindex.Tokens(keys, "subject", string(canon.Encode(id)))
}

// foundBy is a row by which an instance is to be found.
type foundBy struct {
	kind   store.TokenKind
	tokens [][32]byte // one of these
	seq    uint64     // of the step that wrote it; 0: any
	key    store.ID   // of the person it is about; zero: nobody
	what   string
}

func (w foundBy) finds(r store.PlacedToken) bool {
	return r.Kind == w.kind && slices.Contains(w.tokens, r.Token) && r.Key == w.key && (w.seq == 0 || r.Seq == w.seq)
}

// terms returns what an instance is to be found by: its business key, and its searchable
// fields with their present values. The tokens are in the order of the keys.
func (e *Engine) terms(ctx context.Context, l *Live, keys []envelope.Key) (terms []foundBy, err error) {
	if f, ok := l.head.field(businessKeyField); ok && !f.erased {
		value, err := e.readField(ctx, &l.object, businessKeyField)
		if err != nil {
			return nil, err
		}
		text, _ := value.(canon.String)
		terms = append(terms, foundBy{
			kind: store.BusinessKeyToken, tokens: blindindex.Tokens(keys, "business_key", string(text)), seq: f.seq, what: "its business key",
		})
	}
	for _, path := range l.state.FieldPaths() {
		f, ok := l.head.field(path)
		if !ok || f.erased || l.state.Search(path) != "exact" {
			continue
		}
		value, _ := l.state.Field(path)
		w := foundBy{
			kind: store.SearchToken, tokens: blindindex.Tokens(keys, "field", fieldTerm(l.head.process, path, value)), seq: f.seq, what: "field " + path,
		}
		if len(f.keys) == 0 {
			terms = append(terms, w)
		}
		for _, key := range f.keys { // that the persons it is about had when it was written
			w.key = store.ID(l.head.keys[key])
			terms = append(terms, w)
		}
	}
	return terms, nil
}

// What entries of the log are found by, besides what leaves say in clear.
const (
	principalTerm = "audit principal"
	addressTerm   = "audit address"
	objectTerm    = "audit object" // that was shown or refused; whose step a leaf is stands in it
	aboutTerm     = "audit about"  // the principal to whom it was done, where that is no step of theirs
)

// leafTerms returns the keyed hashes by which a leaf that commits to these fields is
// found, ascending.
func (e *Engine) leafTerms(ctx context.Context, scope store.Scope, fields []fieldWrite) ([]byte, error) {
	keys, err := e.ring.IndexKeys(ctx, scope.Tenant())
	if err != nil {
		return nil, err
	}
	var tokens [][]byte
	for _, t := range termsOf(fields) {
		tokens = append(tokens, shortToken(blindindex.Token(keys[0], t.purpose, t.text)))
	}
	slices.SortFunc(tokens, bytes.Compare)
	return bytes.Join(slices.CompactFunc(tokens, bytes.Equal), nil), nil
}

func shortToken(token [32]byte) []byte { return token[:store.TermSize] }

// auditTerm is what a leaf is found by, and what that is.
type auditTerm struct{ purpose, text string }

// termsOf returns what a leaf with these fields is found by.
func termsOf(fields []fieldWrite) (terms []auditTerm) {
	for _, f := range fields {
		switch {
		case f.path == "$actor":
			terms = append(terms, auditTerm{principalTerm, principalOf(f.value)}, auditTerm{addressTerm, stringIn(f.value, "address")})
		case f.path == "$resource":
			kind, id, _ := strings.Cut(stringOf(f.value), " ")
			object, _, _ := strings.Cut(id, ".") // a task or job is named by its instance and a number
			terms = append(terms, auditTerm{objectTerm, object})
			if kind == string(access.Someone) || kind == string(access.APIKey) { // a new key is named by whom it is for
				terms = append(terms, auditTerm{aboutTerm, id})
			}
		case f.path == "$user": // of a session
			terms = append(terms, auditTerm{aboutTerm, stringOf(f.value)})
		case f.path == "$break_glass" && stringIn(f.value, "by") != "": // a step of one, and no answer that was given by it
			terms = append(terms, auditTerm{aboutTerm, stringIn(f.value, "by")})
		case f.path == "$shown" || strings.HasPrefix(f.path, "$shown/"):
			list, _ := f.value.(canon.List)
			for _, item := range list {
				terms = append(terms, auditTerm{objectTerm, stringIn(item, "object")})
			}
		}
	}
	return terms
}

// textIn returns a text of a context, "" if it has none of that name.
func stringIn(v canon.Value, name string) string {
	c, ok := v.(*canon.Context)
	if !ok {
		return ""
	}
	value, _ := c.Get(name)
	return stringOf(value)
}

func stringOf(v canon.Value) string {
	text, _ := v.(canon.String)
	return string(text)
}
