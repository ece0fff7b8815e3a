package ledger

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// leafVersion is the leaf's "v". Another number means other rules.
const leafVersion = "1"

// TimeLayout is how a leaf writes its time: RFC 3339, UTC, six digits of a second.
const TimeLayout = "2006-01-02T15:04:05.000000Z"

// Leaf is one entry of a log. It names no person and holds no plain hash of data.
type Leaf struct {
	Kind   string // what happened, "instance.started"
	Log    string // origin of the shard the leaf is in
	Object string // id; empty for a leaf of no object (a read, a sign-in, a denial)
	Seq    uint64 // number of the object's step, from 1; 0 without an object
	Prev   Hash   // hash of the object's previous leaf; zero for the first
	Def    string // SHA-256 of the model's bytes in hex, or empty
	Elem   string // id of the model's element, or empty
	At     string // time by the server's clock, in TimeLayout
	Act    string // who acted: "user", "worker", "engine" or "admin"
	Data   Hash   // DataRoot of the commitments to what the step wrote
	N      int    // how many those are
	Rows   Hash   // RowsHash of the stored rows
	Stmt   string // SHA-256 of the signed statement in hex, or empty
	Key    string // hash of the newest leaf in the signer's chain in hex, or empty
}

// Encode returns the leaf as canon of a flat map of strings. All names are
// there, with an empty string where there is nothing to say; only a leaf of no
// object lacks obj, prev and seq.
func (l Leaf) Encode() []byte { return l.appendTo(make(leafWriter, 0, 640)) }

func (l *Leaf) appendTo(w leafWriter) leafWriter {
	w = append(w, '{')
	w = w.text("act", l.Act).text("at", l.At).hash("data", l.Data).text("def", l.Def).text("elem", l.Elem)
	w = w.text("key", l.Key).text("kind", l.Kind).text("log", l.Log).number("n", uint64(l.N))
	if l.Object != "" {
		w = w.text("obj", l.Object).hash("prev", l.Prev)
	}
	w = w.hash("rows", l.Rows)
	if l.Object != "" {
		w = w.number("seq", l.Seq)
	}
	w = w.text("stmt", l.Stmt).text("v", leafVersion)
	w[len(w)-1] = '}'
	return w
}

// leafWriter writes the entries of a map, each with a comma after it. The
// caller writes them in the order of their names.
type leafWriter []byte

func (w leafWriter) name(name string) leafWriter {
	return append(append(append(w, '"'), name...), `":`...)
}

func (w leafWriter) text(name, value string) leafWriter {
	return append(canon.AppendString(w.name(name), value), ',')
}

func (w leafWriter) hash(name string, h Hash) leafWriter {
	return append(hex.AppendEncode(append(w.name(name), '"'), h[:]), `",`...)
}

func (w leafWriter) number(name string, n uint64) leafWriter {
	return append(strconv.AppendUint(append(w.name(name), '"'), n, 10), `",`...)
}

// ParseLeaf reads an encoded leaf and refuses every spelling but the one that
// Encode writes, unknown and missing names among them, as an Integrity fault.
func ParseLeaf(encoded []byte) (Leaf, error) {
	r := leafReader{rest: string(encoded)}
	l := r.leaf()
	if r.err == nil {
		r.err = l.check()
	}
	// What the reader let pass, what is missing in the leaf or too many, shows here.
	var room [768]byte // on the stack, enough for all but very long names
	if r.err == nil && !bytes.Equal(l.appendTo(room[:0]), encoded) {
		r.err = refusedLeaf("it has names that do not belong to a leaf, lacks some, or is not canonical")
	}
	if r.err != nil {
		return Leaf{}, r.err
	}
	return l, nil
}

func refusedLeaf(format string, args ...any) error {
	return fault.New(fault.Integrity, "leaf is refused: %s", fmt.Sprintf(format, args...))
}

// leafReader takes a leaf's entries off its encoding, in the order in which they are
// written; err is the first thing that was wrong. It makes no value of the whole: checks
// read millions of leaves.
type leafReader struct {
	rest string
	err  error
}

func (r *leafReader) leaf() (l Leaf) {
	l.Act, l.At, l.Data, l.Def, l.Elem = r.text("act"), r.text("at"), r.hash("data"), r.text("def"), r.text("elem")
	l.Key, l.Kind, l.Log, l.N = r.text("key"), r.text("kind"), r.text("log"), int(r.number("n", 31))
	of := strings.HasPrefix(r.rest, `,"obj"`)
	if of {
		l.Object, l.Prev = r.text("obj"), r.hash("prev")
	}
	l.Rows = r.hash("rows")
	if of {
		l.Seq = r.number("seq", 64)
	}
	l.Stmt = r.text("stmt")
	if v := r.text("v"); r.err == nil && v != leafVersion {
		r.err = refusedLeaf("version %q is not known", v)
	}
	return l
}

// text takes the next entry, which must have this name and a string.
func (r *leafReader) text(name string) string {
	end := len(`,"":"`) + len(name)
	if r.err == nil && (len(r.rest) < end || r.rest[1:end] != `"`+name+`":"`) {
		r.err = refusedLeaf("%q is missing or no string", name)
	}
	if r.err != nil {
		return ""
	}
	quoted := r.rest[end-1:]
	n := 1
	for n < len(quoted) && quoted[n] != '"' {
		if quoted[n] == '\\' {
			n++
		}
		n++
	}
	if n >= len(quoted) {
		r.err = refusedLeaf("%q has no end", name)
		return ""
	}
	r.rest = quoted[n+1:]
	return r.unquoted(name, quoted[:n+1])
}

// unquoted returns what stands between two quotes.
func (r *leafReader) unquoted(name, quoted string) string {
	if !strings.Contains(quoted, `\`) {
		return quoted[1 : len(quoted)-1]
	}
	v, err := canon.Decode([]byte(quoted))
	text, ok := v.(canon.String)
	if err != nil || !ok {
		r.err = refusedLeaf("%q is no string", name)
	}
	return string(text)
}

func (r *leafReader) hash(name string) Hash {
	h, ok := parseHash(r.text(name))
	if !ok && r.err == nil {
		r.err = refusedLeaf("%q is not a hash", name)
	}
	return h
}

func (r *leafReader) number(name string, bits int) uint64 {
	n, err := strconv.ParseUint(r.text(name), 10, bits)
	if err != nil && r.err == nil {
		r.err = refusedLeaf("%q is not a number in range", name)
	}
	return n
}

// mapReader takes texts out of a map; err is the first thing that was wrong.
type mapReader struct {
	c   *canon.Context
	err error
}

func (r *mapReader) text(name string) string {
	v, _ := r.c.Get(name)
	s, ok := v.(canon.String)
	if !ok && r.err == nil {
		r.err = refusedLeaf("%q is missing or no string", name)
	}
	return string(s)
}

func (r *mapReader) hash(name string) Hash {
	h, ok := parseHash(r.text(name))
	if !ok && r.err == nil {
		r.err = refusedLeaf("%q is not a hash", name)
	}
	return h
}

func (r *mapReader) number(name string, bits int) uint64 {
	n, err := strconv.ParseUint(r.text(name), 10, bits)
	if err != nil && r.err == nil {
		r.err = refusedLeaf("%q is not a number in range", name)
	}
	return n
}

// check refuses values that no leaf has.
func (l Leaf) check() error {
	switch {
	case l.Kind == "" || l.Log == "":
		return refusedLeaf("kind or log is empty")
	case l.Act != "user" && l.Act != "worker" && l.Act != "engine" && l.Act != "admin":
		return refusedLeaf("act %q is not known", l.Act)
	case !validTime(l.At):
		return refusedLeaf("time %q is not of the form %s", l.At, TimeLayout)
	case !hashOrEmpty(l.Def) || !hashOrEmpty(l.Stmt) || !hashOrEmpty(l.Key):
		return refusedLeaf("def, stmt or key is not a hash")
	case l.N == 0 && l.Data != DataRoot(nil):
		return refusedLeaf("it has data of nothing")
	case l.Object != "" && (l.Seq == 1) != (l.Prev == Hash{}):
		return refusedLeaf("step %d and the previous leaf do not fit", l.Seq)
	case l.Object != "" && l.Seq == 0:
		return refusedLeaf("steps begin with 1")
	}
	return nil
}

func validTime(text string) bool {
	at, err := time.Parse(TimeLayout, text)
	return err == nil && at.Format(TimeLayout) == text
}

func hashOrEmpty(text string) bool {
	_, ok := parseHash(text)
	return ok || text == ""
}
