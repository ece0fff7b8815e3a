package ledger

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
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
func (l Leaf) Encode() []byte {
	w := leafWriter(make([]byte, 0, 640))
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
	v, err := canon.Decode(encoded)
	if err != nil {
		return Leaf{}, fault.New(fault.Integrity, "leaf is refused: %w", err)
	}
	c, ok := v.(*canon.Context)
	if !ok {
		return Leaf{}, refusedLeaf("it is a %s, not a map", canon.TypeName(v))
	}
	r := leafReader{c: c}
	l := r.leaf()
	if r.err == nil {
		r.err = l.check()
	}
	// What is missing in the leaf, or too many in the map, shows here.
	if r.err == nil && !bytes.Equal(l.Encode(), encoded) {
		r.err = refusedLeaf("it has names that do not belong to a leaf, or lacks some")
	}
	if r.err != nil {
		return Leaf{}, r.err
	}
	return l, nil
}

func refusedLeaf(format string, args ...any) error {
	return fault.New(fault.Integrity, "leaf is refused: %s", fmt.Sprintf(format, args...))
}

// leafReader takes a leaf out of a map; err is the first thing that was wrong.
type leafReader struct {
	c   *canon.Context
	err error
}

func (r *leafReader) leaf() Leaf {
	l := Leaf{
		Kind: r.text("kind"), Log: r.text("log"), Def: r.text("def"), Elem: r.text("elem"), At: r.text("at"), Act: r.text("act"),
		Data: r.hash("data"), N: int(r.number("n", 31)), Rows: r.hash("rows"), Stmt: r.text("stmt"), Key: r.text("key"),
	}
	if v := r.text("v"); r.err == nil && v != leafVersion {
		r.err = refusedLeaf("version %q is not known", v)
	}
	if _, ok := r.c.Get("obj"); ok {
		l.Object, l.Seq, l.Prev = r.text("obj"), r.number("seq", 64), r.hash("prev")
	}
	return l
}

func (r *leafReader) text(name string) string {
	v, _ := r.c.Get(name)
	s, ok := v.(canon.String)
	if !ok && r.err == nil {
		r.err = refusedLeaf("%q is missing or no string", name)
	}
	return string(s)
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
