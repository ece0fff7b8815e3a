package engine

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// head is an object's present: everything that its rows must agree with. It is
// sealed and rewritten with each step. Values never sit in it, only the digests
// of the bytes that hold them, so a row changed behind our back is noticed by
// whoever reads it.
type head struct {
	seq     uint64
	shards  []string // logs that hold steps of this object; the last is the newest step's
	mode    process.Mode
	process string
	version int
	def     store.ID // instances: the definition's object
	model   string   // hex SHA-256 of the model
	started time.Time
	ended   time.Time        // zero: not ended
	owners  []owner          // the object's own keys, oldest first; never empty
	keys    []envelope.KeyID // of persons
	persons []person         // sorted by path
	fields  []stored         // sorted by path
	state   []byte           // instances: process.State.Encode
	leaf    ledger.Hash
}

// owner is a key of the object's own, under which all steps were sealed from
// one on, until the next owner took over.
type owner struct {
	key   envelope.KeyID
	since uint64
}

// person is a subject of the object's data: the field that names it and the
// data key its fields are sealed under besides the object's own.
type person struct {
	path  string
	key   int      // in head.keys
	token [32]byte // index token of the id; zero while the id is unknown
	same  string   // path of the person of an outer scope who this one is, unless named; "": nobody
}

// stored says where the newest version of a field is and what it must be.
type stored struct {
	path   string
	seq    uint64
	keys   []int    // in head.keys, besides the owner of that step; sorted by key id
	digest [32]byte // SHA-256 of the stored bytes
	shard  int32    // in head.shards
	sealed bool
	erased bool // one of its keys was destroyed; found when it is opened, not stored
}

// keysOf returns the ids of the keys that a field is sealed under.
func (h *head) keysOf(f *stored) []envelope.KeyID {
	ids := []envelope.KeyID{h.owner(f.seq)}
	for _, k := range f.keys {
		ids = append(ids, h.keys[k])
	}
	return ids
}

func (h *head) shard() string { return h.shards[len(h.shards)-1] }

// owner returns the id of the key that a step was sealed under.
func (h *head) owner(seq uint64) envelope.KeyID {
	i := len(h.owners) - 1
	for i > 0 && h.owners[i].since > seq {
		i--
	}
	return h.owners[i].key
}

// enter makes shard the one that the next step goes to.
func (h *head) enter(shard string) int {
	if n := len(h.shards); n > 0 && h.shards[n-1] == shard {
		return n - 1
	}
	h.shards = append(h.shards, shard)
	return len(h.shards) - 1
}

func (h *head) field(path string) (*stored, bool) {
	i, ok := slices.BinarySearchFunc(h.fields, path, func(f stored, p string) int { return strings.Compare(f.path, p) })
	if !ok {
		return nil, false
	}
	return &h.fields[i], true
}

func (h *head) put(f stored) {
	i, ok := slices.BinarySearchFunc(h.fields, f.path, func(f stored, p string) int { return strings.Compare(f.path, p) })
	if ok {
		h.fields[i] = f
		return
	}
	h.fields = slices.Insert(h.fields, i, f)
}

func (h *head) remove(path string) {
	h.fields = slices.DeleteFunc(h.fields, func(f stored) bool { return f.path == path })
}

func (h *head) person(path string) (*person, bool) {
	i, ok := slices.BinarySearchFunc(h.persons, path, func(p person, s string) int { return strings.Compare(p.path, s) })
	if !ok {
		return nil, false
	}
	return &h.persons[i], true
}

func (h *head) putPerson(p person) {
	i, ok := slices.BinarySearchFunc(h.persons, p.path, func(q person, s string) int { return strings.Compare(q.path, s) })
	if ok {
		h.persons[i] = p
		return
	}
	h.persons = slices.Insert(h.persons, i, p)
}

// forget takes persons out whose key was destroyed: a person who comes back is met
// anew, and the next head does not name the one of before.
func (h *head) forget(destroyed []string) {
	h.persons = slices.DeleteFunc(h.persons, func(p person) bool { return slices.Contains(destroyed, p.path) })
}

// erased lists the paths of fields that were erased.
func (h *head) erased() []string {
	var paths []string
	for i := range h.fields {
		if h.fields[i].erased {
			paths = append(paths, h.fields[i].path)
		}
	}
	return paths
}

// keyIndex returns the place of a data key in the head, adding it if it is new.
func (h *head) keyIndex(id envelope.KeyID) int {
	if i := slices.Index(h.keys, id); i >= 0 {
		return i
	}
	h.keys = append(h.keys, id)
	return len(h.keys) - 1
}

const headFormat = 1

// encode returns the head's bytes: a format number, then each part with its
// length or count before it. It is only ever read after it was opened, so the
// decoder checks for our own mistakes, not for an adversary's.
func (h *head) encode() []byte {
	w := headWriter(make([]byte, 0, 512+len(h.state)+96*len(h.fields)))
	w.uint(headFormat)
	w.uint(h.seq)
	w.uint(uint64(len(h.shards)))
	for _, s := range h.shards {
		w.text(s)
	}
	w.text(string(h.mode))
	w.text(h.process)
	w.uint(uint64(h.version))
	w = append(w, h.def[:]...)
	w.text(h.model)
	w.time(h.started)
	w.time(h.ended)
	w.uint(uint64(len(h.owners)))
	for _, o := range h.owners {
		w = append(w, o.key[:]...)
		w.uint(o.since)
	}
	w.uint(uint64(len(h.keys)))
	for _, k := range h.keys {
		w = append(w, k[:]...)
	}
	w.uint(uint64(len(h.persons)))
	for _, p := range h.persons {
		w.text(p.path)
		w.uint(uint64(p.key))
		w = append(w, p.token[:]...)
		w.text(p.same)
	}
	w.uint(uint64(len(h.fields)))
	for i := range h.fields {
		w.stored(&h.fields[i])
	}
	w.text(string(h.state))
	return append(w, h.leaf[:]...)
}

type headWriter []byte

func (w *headWriter) uint(v uint64) { *w = binary.AppendUvarint(*w, v) }

func (w *headWriter) text(s string) {
	w.uint(uint64(len(s)))
	*w = append(*w, s...)
}

func (w *headWriter) time(t time.Time) {
	if t.IsZero() {
		w.uint(0)
		return
	}
	w.uint(uint64(t.UnixMicro()))
}

func (w *headWriter) stored(f *stored) {
	w.text(f.path)
	w.uint(f.seq)
	w.uint(uint64(f.shard))
	flag := uint64(0)
	if f.sealed {
		flag = 1
	}
	w.uint(flag)
	w.uint(uint64(len(f.keys)))
	for _, k := range f.keys {
		w.uint(uint64(k))
	}
	*w = append(*w, f.digest[:]...)
}

func decodeHead(data []byte) (*head, error) {
	r := headReader{data: data}
	if r.uint() != headFormat {
		return nil, fault.New(fault.Integrity, "head has an unknown format")
	}
	h := &head{seq: r.uint()}
	for range r.count() {
		h.shards = append(h.shards, r.text())
	}
	h.mode = process.Mode(r.text())
	h.process = r.text()
	h.version = int(r.uint())
	r.bytes(h.def[:])
	h.model = r.text()
	h.started, h.ended = r.time(), r.time()
	h.owners = make([]owner, r.count())
	for i := range h.owners {
		r.bytes(h.owners[i].key[:])
		h.owners[i].since = r.uint()
	}
	h.keys = make([]envelope.KeyID, r.count())
	for i := range h.keys {
		r.bytes(h.keys[i][:])
	}
	h.persons = make([]person, r.count())
	for i := range h.persons {
		h.persons[i].path = r.text()
		h.persons[i].key = r.index(len(h.keys))
		r.bytes(h.persons[i].token[:])
		h.persons[i].same = r.text()
	}
	h.fields = make([]stored, r.count())
	for i := range h.fields {
		h.fields[i] = r.stored(h)
	}
	h.state = bytes.Clone([]byte(r.text()))
	r.bytes(h.leaf[:])
	if r.bad || len(r.data) != 0 || len(h.shards) == 0 || len(h.owners) == 0 {
		return nil, fault.New(fault.Integrity, "head is malformed")
	}
	return h, nil
}

// headReader reads what headWriter wrote; after the first mistake it is bad and
// gives zeros.
type headReader struct {
	data []byte
	bad  bool
}

func (r *headReader) uint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.bad, r.data = true, nil
		return 0
	}
	r.data = r.data[n:]
	return v
}

// count reads a count of things that take at least one byte each.
func (r *headReader) count() int {
	n := r.uint()
	if n > uint64(len(r.data)) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *headReader) index(n int) int {
	i := r.uint()
	if i >= uint64(n) {
		r.bad = true
		return 0
	}
	return int(i)
}

func (r *headReader) text() string {
	n := r.count()
	s := string(r.data[:n])
	r.data = r.data[n:]
	return s
}

func (r *headReader) bytes(dst []byte) {
	if len(r.data) < len(dst) {
		r.bad, r.data = true, nil
		return
	}
	copy(dst, r.data)
	r.data = r.data[len(dst):]
}

func (r *headReader) time() time.Time {
	v := r.uint()
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(v)).UTC()
}

func (r *headReader) stored(h *head) stored {
	f := stored{path: r.text(), seq: r.uint(), shard: int32(r.index(len(h.shards))), sealed: r.uint() == 1}
	f.keys = make([]int, r.count())
	for i := range f.keys {
		f.keys[i] = r.index(len(h.keys))
	}
	r.bytes(f.digest[:])
	return f
}
