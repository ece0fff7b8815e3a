package ledger

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

const (
	maxBundle = 16 << 20 // bytes of the file
	maxParts  = 4096     // files in it
	maxLinks  = 1000     // steps of one chain

	bundleVersion = "1"
)

// verifyText tells whoever finds a bundle what it is and how to check it. It is the
// same in all bundles of this version, so nobody can put other advice there.
//
//go:embed VERIFY.md
var verifyText []byte

// Bundle is evidence of one leaf: that it is in a log, who signed for it, and what
// the values are that its maker chose to disclose. Its file is a zip file that has
// exactly one spelling (docs/design/evidence.md).
type Bundle struct {
	Leaf      []byte      // encoded
	Proof     LogProof    // that the leaf is in its log
	Fields    []Disclosed // chosen values of the leaf's step, by path
	Model     []byte      // that the leaf's def is the hash of; nil: not given
	Statement []byte      // that the leaf's stmt is the hash of; nil: not given
	Signature []byte      // of the statement: an encoded Envelope or Assertion
	Bindings  []Binding   // which values the signer saw, by path
	Chain     []ChainLink // of the signer: all steps up to the one the leaf names
	Platform  []ChainLink // of the platform signer: all steps up to now
	Anchor    *Anchor     // of the proof's checkpoint; nil: none
}

// Disclosed is one committed value with what it takes to check it: its key, and its
// path among the commitments of its leaf.
type Disclosed struct {
	Path  string
	Value canon.Value
	Key   Hash // CommitKey
	Index int  // see DataPath
	Proof []Hash
}

// verify checks that the leaf commits to the value.
func (d Disclosed) verify(l Leaf) error {
	return VerifyDataPath(Commit(d.Key[:], EncodeField(d.Path, d.Value)), d.Index, l.N, d.Proof, l.Data)
}

// ChainLink is one step of a signer: its leaf, the proof that it is in the log, and
// the disclosed field that says which key counts from then on.
type ChainLink struct {
	Leaf  []byte
	Proof LogProof
	Key   Disclosed // of SignerKeyPath
}

// Encode returns the bundle's file. A bundle that ParseBundle would not give back as
// it is (values that cannot be written, paths twice or not in order) is Invalid.
func (b *Bundle) Encode() ([]byte, error) {
	data := b.encode()
	if _, err := ParseBundle(data); err != nil {
		return nil, fault.New(fault.Invalid, "couldn't write the bundle: %w", err)
	}
	return data, nil
}

func (b *Bundle) encode() []byte {
	parts := b.parts()
	return writeZip(append([]part{{manifestName, manifest(parts)}}, parts...))
}

const manifestName = "manifest.json"

// manifest is canon of the version and, for each part after it, the name and the
// hash of the bytes.
func manifest(parts []part) []byte {
	entries := make([]canon.Entry, len(parts))
	for i, p := range parts {
		sum := sha256.Sum256(p.data)
		entries[i] = canon.Entry{Name: p.name, Value: canon.String(hex.EncodeToString(sum[:]))}
	}
	return canon.Encode(contextOf(canon.Entry{Name: "files", Value: contextOf(entries...)}, canon.Entry{Name: "v", Value: canon.String(bundleVersion)}))
}

// contextOf is a context of entries whose names this package chose.
func contextOf(entries ...canon.Entry) *canon.Context {
	c, err := canon.NewContext(entries...)
	if err != nil {
		panic("ledger: internal error: a part of a bundle with equal names")
	}
	return c
}

// parts are all files but the manifest, in their order.
func (b *Bundle) parts() []part {
	parts := []part{{"VERIFY.md", verifyText}, {"leaf.json", b.Leaf}, {"leaf.tlog-proof", b.Proof.Encode()}}
	add := func(name string, data []byte, there bool) {
		if there {
			parts = append(parts, part{name, data})
		}
	}
	add("fields.json", encodeList(b.Fields, Disclosed.value), len(b.Fields) > 0)
	add("model.xml", b.Model, b.Model != nil)
	add("statement.json", b.Statement, b.Statement != nil)
	add("signature.json", b.Signature, b.Signature != nil)
	add("bindings.json", encodeList(b.Bindings, Binding.value), len(b.Bindings) > 0)
	parts = appendChain(parts, "signer", b.Chain)
	parts = appendChain(parts, "platform", b.Platform)
	if b.Anchor != nil {
		add("anchor/anchor.tlog-proof", b.Anchor.Proof.Encode(), true)
		add("anchor/blind.hex", []byte(hex.EncodeToString(b.Anchor.Blind[:])), true)
		add("anchor/timestamp.tst", b.Anchor.Token, b.Anchor.Token != nil)
	}
	return parts
}

func appendChain(parts []part, name string, links []ChainLink) []part {
	for i, l := range links {
		folder := fmt.Sprintf("%s/%04d/", name, i+1)
		parts = append(parts, part{folder + "leaf.json", l.Leaf}, part{folder + "leaf.tlog-proof", l.Proof.Encode()},
			part{folder + "key.json", canon.Encode(l.Key.value())})
	}
	return parts
}

func encodeList[T any](list []T, value func(T) *canon.Context) []byte {
	values := make(canon.List, len(list))
	for i, v := range list {
		values[i] = value(v)
	}
	return canon.Encode(values)
}

func (d Disclosed) value() *canon.Context {
	proof := make([]byte, 0, 64*len(d.Proof))
	for _, h := range d.Proof {
		proof = hex.AppendEncode(proof, h[:])
	}
	return contextOf(canon.Entry{Name: "path", Value: canon.String(d.Path)}, canon.Entry{Name: "value", Value: d.Value},
		canon.Entry{Name: "key", Value: canon.String(d.Key.String())}, canon.Entry{Name: "index", Value: canon.String(strconv.Itoa(d.Index))},
		canon.Entry{Name: "proof", Value: canon.String(proof)})
}

func (b Binding) value() *canon.Context {
	return contextOf(canon.Entry{Name: "path", Value: canon.String(b.Path)}, canon.Entry{Name: "key", Value: canon.String(b.Key.String())})
}

// ParseBundle reads a bundle's file and refuses every other spelling: a file in
// which any byte differs from what Encode writes is an Integrity fault, with the code
// "bundle_changed" when a part has not the hash that the manifest gives, else
// "bundle_malformed". It proves nothing; that is Verify's task.
func ParseBundle(data []byte) (*Bundle, error) {
	if len(data) > maxBundle {
		return nil, malformedBundle("%d bytes are more than %d", len(data), maxBundle)
	}
	parts, err := readZip(data)
	if err != nil {
		return nil, malformedBundle("%w", err)
	}
	if err := checkManifest(parts); err != nil {
		return nil, err
	}
	r := bundleReader{rest: parts[1:]}
	b := r.bundle()
	if r.err != nil {
		return nil, r.err
	}
	if !bytes.Equal(b.encode(), data) {
		return nil, malformedBundle("it is not written as bundles are: other parts, another order, other spelling, or bytes beside them")
	}
	return b, nil
}

func malformedBundle(format string, args ...any) *fault.Error {
	return fault.New(fault.Integrity, "the file is no evidence bundle: "+format, args...).WithCode("bundle_malformed").
		WithHint("take the file as it was exported; unpacked and packed again, it is another one")
}

// checkManifest compares the hash of each part with that in the manifest.
func checkManifest(parts []part) error {
	if parts[0].name != manifestName {
		return malformedBundle("it does not begin with %s", manifestName)
	}
	v, err := canon.Decode(parts[0].data)
	m, ok := v.(*canon.Context)
	if err != nil || !ok {
		return malformedBundle("%s is no canonical map", manifestName)
	}
	files, _ := m.Get("files")
	hashes, _ := files.(*canon.Context)
	for _, p := range parts[1:] {
		want, ok := hashes.Get(p.name)
		if !ok {
			return malformedBundle("%.100q is not in %s", p.name, manifestName)
		}
		if sum := sha256.Sum256(p.data); want != canon.String(hex.EncodeToString(sum[:])) {
			return fault.New(fault.Integrity, "%s was changed: it has not the hash that %s gives", p.name, manifestName).WithCode("bundle_changed").
				WithHint("take the file as it was exported, from whoever exported it")
		}
	}
	return nil
}

// bundleReader takes the parts of a bundle in their order; err is the first thing
// that was wrong.
type bundleReader struct {
	rest []part
	err  error
}

func (r *bundleReader) bundle() *Bundle {
	b := &Bundle{}
	r.take("VERIFY.md") // written again, it is that of the version
	b.Leaf, b.Proof = r.take("leaf.json"), r.proof("leaf.tlog-proof")
	b.Fields = readList(r, "fields.json", parseDisclosed, func(d Disclosed) string { return d.Path })
	b.Model, b.Statement, b.Signature = r.take("model.xml"), r.take("statement.json"), r.take("signature.json")
	b.Bindings = readList(r, "bindings.json", parseBinding, func(b Binding) string { return b.Path })
	b.Chain, b.Platform = r.chain("signer"), r.chain("platform")
	if r.next("anchor/anchor.tlog-proof") {
		b.Anchor = &Anchor{Proof: r.proof("anchor/anchor.tlog-proof")}
		blind, ok := parseHash(string(r.take("anchor/blind.hex")))
		if !ok {
			r.fail(malformedBundle("anchor/blind.hex is not 64 hex digits"))
		}
		b.Anchor.Blind, b.Anchor.Token = blind, r.take("anchor/timestamp.tst")
	}
	return b
}

func (r *bundleReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *bundleReader) next(name string) bool { return len(r.rest) > 0 && r.rest[0].name == name }

// take returns the part if it is the next one, else nil: what is missing or in
// another place makes the bundle differ from what is written again.
func (r *bundleReader) take(name string) []byte {
	if !r.next(name) {
		return nil
	}
	data := r.rest[0].data
	r.rest = r.rest[1:]
	return slices.Clone(data[:len(data):len(data)])
}

func (r *bundleReader) proof(name string) LogProof {
	p, err := ParseLogProof(r.take(name))
	if err != nil {
		r.fail(fault.New(fault.Integrity, "%s: %w", name, err).WithCode(fault.CodeOf(err)))
	}
	return p
}

func (r *bundleReader) chain(name string) (links []ChainLink) {
	for len(links) < maxLinks {
		folder := fmt.Sprintf("%s/%04d/", name, len(links)+1)
		if !r.next(folder + "leaf.json") {
			break
		}
		l := ChainLink{Leaf: r.take(folder + "leaf.json"), Proof: r.proof(folder + "leaf.tlog-proof")}
		v, err := canon.Decode(r.take(folder + "key.json"))
		if err == nil {
			l.Key, err = parseDisclosed(v)
		}
		if err != nil {
			r.fail(malformedBundle("%skey.json: %w", folder, err))
		}
		links = append(links, l)
	}
	return links
}

// readList reads a canonical list whose entries stand in ascending order of their
// paths. An empty one is not written.
func readList[T any](r *bundleReader, name string, parse func(canon.Value) (T, error), path func(T) string) (list []T) {
	if !r.next(name) {
		return nil
	}
	v, err := canon.Decode(r.take(name))
	values, ok := v.(canon.List)
	if err != nil || !ok || len(values) == 0 {
		r.fail(malformedBundle("%s is no canonical list", name))
		return nil
	}
	for i, v := range values {
		item, err := parse(v)
		if err == nil && i > 0 && path(list[i-1]) >= path(item) {
			err = fmt.Errorf("%q does not come after %q", path(item), path(list[i-1]))
		}
		if err != nil {
			r.fail(malformedBundle("%s: %w", name, err))
			return nil
		}
		list = append(list, item)
	}
	return list
}

func parseDisclosed(v canon.Value) (Disclosed, error) {
	c, ok := v.(*canon.Context)
	if !ok {
		return Disclosed{}, fmt.Errorf("a disclosed value is no map")
	}
	r := mapReader{c: c}
	d := Disclosed{Path: r.text("path"), Key: r.hash("key"), Index: int(r.number("index", 31))}
	d.Value, _ = c.Get("value")
	var err error
	if d.Proof, err = parsePath(r.text("proof")); err != nil {
		return Disclosed{}, err
	}
	if r.err != nil || !canon.Equal(d.value(), v) {
		return Disclosed{}, fmt.Errorf("a disclosed value has other names than path, value, key, index and proof, or another spelling")
	}
	return d, nil
}

func parsePath(text string) (path []Hash, err error) {
	if len(text)%64 != 0 || len(text)/64 > maxPath {
		return nil, fmt.Errorf("a path has not the length of hashes")
	}
	for ; text != ""; text = text[64:] {
		h, ok := parseHash(text[:64])
		if !ok {
			return nil, fmt.Errorf("a path has something besides hashes")
		}
		path = append(path, h)
	}
	return path, nil
}

func parseBinding(v canon.Value) (Binding, error) {
	c, ok := v.(*canon.Context)
	if !ok {
		return Binding{}, fmt.Errorf("a binding is no map")
	}
	r := mapReader{c: c}
	b := Binding{Path: r.text("path"), Key: r.hash("key")}
	if r.err != nil || !canon.Equal(b.value(), v) {
		return Binding{}, fmt.Errorf("a binding has other names than path and key, or another spelling")
	}
	return b, nil
}
