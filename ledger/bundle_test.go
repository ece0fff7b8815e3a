package ledger_test

import (
	"archive/zip"
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

const (
	platformID = "0192f0c1-0000-7000-8000-000000000010"
	workerID   = "0192f0c1-0000-7000-8000-000000000011"
	anchorLog  = "underseal/0192f0c1/anchor"
	model      = `<definitions id="loan"/>`
)

var (
	newSeed    = bytes.Repeat([]byte{5}, 32) // of a key after a rotation
	anchorSeed = bytes.Repeat([]byte{6}, 32)

	logKey    = crypto.Signer(ed25519.NewKeyFromSeed(logSeed))
	newKey    = crypto.Signer(ed25519.NewKeyFromSeed(newSeed))
	workerKey = edKey(4)
)

// company is a tenant with one log, and what its evidence is made of. Tests change
// it before they take a bundle out of it.
type company struct {
	t      testing.TB
	origin string
	elem   string // that jobs' leaves name
	tree   tree
	leaves [][]byte
	fields map[string][]ledger.Disclosed // of each leaf, by its bytes
	chains map[string]ledger.Hash        // newest leaf of each object
	seqs   map[string]uint64

	signers   []note.Signer // of the log's checkpoints
	witnesses []note.Signer // of the anchor log's
	tsa       authority
}

func newCompany(t testing.TB) *company {
	c := &company{t: t, origin: origin, elem: "score", fields: map[string][]ledger.Disclosed{}, chains: map[string]ledger.Hash{}, seqs: map[string]uint64{}}
	c.signers = []note.Signer{signer(t, origin, logSeed)}
	c.witnesses = []note.Signer{cosigner(t, witnessName(0), witnessSeedOf(0)), cosigner(t, witnessName(1), witnessSeedOf(1))}
	c.tsa = newAuthority(t, nil)
	return c
}

// value is a field that a step writes.
type value struct {
	path string
	v    canon.Value
}

// append writes a leaf; what it lacks of place and commitments is filled in.
func (c *company) append(l ledger.Leaf, values ...value) []byte {
	c.t.Helper()
	l.Log, l.At, l.Rows = c.origin, "2026-11-21T12:30:00.000000Z", ledger.Hash{5}
	if l.Act == "" {
		l.Act = "worker"
	}
	if l.Object != "" {
		c.seqs[l.Object]++
		l.Seq, l.Prev = c.seqs[l.Object], c.chains[l.Object]
	}
	var commitments []ledger.Hash
	disclosed := make([]ledger.Disclosed, len(values))
	for i, v := range values {
		key := ledger.Hash(sha256.Sum256([]byte(l.Object + v.path)))
		disclosed[i] = ledger.Disclosed{Path: v.path, Value: v.v, Key: key}
		commitments = append(commitments, ledger.Commit(key[:], ledger.EncodeField(v.path, v.v)))
	}
	for i := range disclosed {
		var err error
		if disclosed[i].Proof, disclosed[i].Index, err = ledger.DataPath(commitments, commitments[i]); err != nil {
			c.t.Fatal(err)
		}
	}
	l.Data, l.N = ledger.DataRoot(commitments), len(commitments)
	leaf := l.Encode()
	c.fields[string(leaf)] = disclosed
	if l.Object != "" {
		c.chains[l.Object] = ledger.LeafHash(leaf)
	}
	c.tree.add(fatalOf{c.t}, ledger.LeafHash(leaf))
	c.leaves = append(c.leaves, leaf)
	return leaf
}

// fatalOf is the part of testing.TB that a tree wants.
type fatalOf struct{ testing.TB }

// key writes a step of a signer. No key: it has none from then on.
func (c *company) key(kind, object, signer string, key, former crypto.Signer) []byte {
	c.t.Helper()
	k := ledger.SignerKey{Signer: signer, Name: signer + "-1", Principal: "scoring"}
	if signer == ledger.PersonSigner {
		k.RP, k.Origins = "example.com", []string{"https://console.example.com"}
	}
	if key != nil {
		k.Key = publicOf(c.t, key)
	}
	if former != nil {
		k.Former = publicOf(c.t, former).ID()
	}
	return c.append(ledger.Leaf{Kind: kind, Object: object, Act: "admin"}, value{ledger.SignerKeyPath, k.Value()}, value{"$actor", canon.String("root")})
}

// proof shows a leaf under the log's head of now, or of a size.
func (c *company) proof(leaf []byte, size int) ledger.LogProof {
	c.t.Helper()
	i := slices.IndexFunc(c.leaves, func(l []byte) bool { return bytes.Equal(l, leaf) })
	tb := fatalOf{c.t}
	head := ledger.Checkpoint{Origin: c.origin, Size: uint64(size), Root: c.tree.root(tb, size)}
	return ledger.LogProof{Index: uint64(i), Path: c.tree.inclusion(tb, i, size), Checkpoint: signCheckpoint(c.t, head, c.signers...)}
}

// swap lets two leaves change places in the log.
func (c *company) swap(i, j int) {
	c.leaves[i], c.leaves[j] = c.leaves[j], c.leaves[i]
	c.tree = tree{}
	for _, leaf := range c.leaves {
		c.tree.add(fatalOf{c.t}, ledger.LeafHash(leaf))
	}
}

func (c *company) chain(object string) (links []ledger.ChainLink) {
	c.t.Helper()
	for _, leaf := range c.leaves {
		l, err := ledger.ParseLeaf(leaf)
		if err != nil {
			c.t.Fatal(err)
		}
		if l.Object == object {
			links = append(links, ledger.ChainLink{Leaf: leaf, Proof: c.proof(leaf, len(c.leaves)), Key: c.fields[string(leaf)][0]})
		}
	}
	return links
}

// anchor puts the head of a proof into an anchor log.
func (c *company) anchor(p ledger.LogProof) *ledger.Anchor {
	c.t.Helper()
	head, err := ledger.UnverifiedCheckpoint(p.Checkpoint)
	if err != nil {
		c.t.Fatal(err)
	}
	a := &ledger.Anchor{Blind: [32]byte{7}}
	entry := ledger.AnchorEntry(a.Blind, head)
	others := grown(c.t, 4, 1)
	others.add(fatalOf{c.t}, ledger.LeafHash(entry[:]))
	anchored := ledger.Checkpoint{Origin: anchorLog, Size: 5, Root: others.root(c.t, 5)}
	a.Proof = ledger.LogProof{Index: 4, Path: others.inclusion(c.t, 4, 5), Checkpoint: signCheckpoint(c.t, anchored, append([]note.Signer{signer(c.t, anchorLog, anchorSeed)}, c.witnesses...)...)}
	a.Token = c.tsa.token(c.t, []byte(anchored.Text()), nil)
	return a
}

// statement is what a signer says of a result of this company's one process.
func (c *company) statement(kind string) ledger.Statement {
	c.t.Helper()
	sum := sha256.Sum256([]byte(model))
	s := ledger.Statement{
		Kind: kind, Deployment: "0192f0c1", Tenant: "main", Instance: object, Element: "score", Process: "loan", Version: 3,
		Model: ledger.Hash(sum).String(), At: "2026-11-21T12:29:59.000000Z", Values: boundResult(c.t, `{"approved":true,"score":5}`),
	}
	if kind == ledger.TaskCompleted {
		s.Task = object + ".4"
	} else {
		s.Job, s.Lease = object+".4", "1"
	}
	return s
}

// job writes the step of a job that a worker completed and signed for, and returns
// evidence of it that lacks the chains and the proofs.
func (c *company) job(key crypto.Signer) *ledger.Bundle {
	c.t.Helper()
	statement, signature, err := c.statement(ledger.JobCompleted).Sign(key)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.signed("instance.job_completed", "worker", statement, signature)
}

// task is the same of a task that a person completed with a passkey.
func (c *company) task(a authenticator) *ledger.Bundle {
	c.t.Helper()
	s := c.statement(ledger.TaskCompleted)
	s.Key = publicOf(c.t, a.key).ID()
	statement := s.Encode()
	return c.signed("instance.task_completed", "user", statement, a.sign(c.t, ledger.Challenge(statement)).Encode())
}

func (c *company) signed(kind, act string, statement, signature []byte) *ledger.Bundle {
	def, stmt := sha256.Sum256([]byte(model)), sha256.Sum256(statement)
	leaf := c.append(ledger.Leaf{
		Kind: kind, Object: object, Elem: c.elem, Act: act, Def: ledger.Hash(def).String(), Stmt: ledger.Hash(stmt).String(), Key: c.chains[workerID].String(),
	}, value{"score", canon.NewNumber(5)}, value{"approved", canon.Bool(true)}, value{"$actor", canon.String("scoring")}, value{"applicant.ssn", canon.String("123-45-6789")})
	b := &ledger.Bundle{Leaf: leaf, Model: []byte(model), Statement: statement, Signature: signature}
	b.Fields = []ledger.Disclosed{c.fields[string(leaf)][2], c.fields[string(leaf)][0]} // $actor and score
	b.Bindings = []ledger.Binding{{Path: "score", Key: ledger.BindKey(nonce, "score")}}
	return b
}

// opening are the first leaves of the log.
func (c *company) opening() {
	c.openingFor(ledger.WorkerSigner, workerKey)
}

// openingFor registers another signer than the worker.
func (c *company) openingFor(signer string, key crypto.Signer) {
	c.append(ledger.Leaf{Kind: "log.opened", Act: "engine"})
	c.key(ledger.KeyRegistered, platformID, ledger.PlatformSigner, logKey, nil)
	c.append(ledger.Leaf{Kind: "instance.started", Object: object, Act: "user"}, value{"amount", canon.NewNumber(1000)})
	c.key(ledger.KeyRegistered, workerID, signer, key, nil)
}

// finish adds proofs under the head of now.
func (c *company) finish(b *ledger.Bundle) *ledger.Bundle {
	c.t.Helper()
	b.Proof = c.proof(b.Leaf, len(c.leaves))
	b.Chain, b.Platform, b.Anchor = c.chain(workerID), c.chain(platformID), c.anchor(b.Proof)
	return b
}

// evidence is a bundle of everything, and a policy under which it is proven.
func evidence(t testing.TB) (*company, *ledger.Bundle, string) {
	c := newCompany(t)
	c.opening()
	b := c.job(workerKey)
	c.append(ledger.Leaf{Kind: "instance.completed", Object: object, Act: "engine"})
	c.append(ledger.Leaf{Kind: "data.read", Act: "user"})
	return c, c.finish(b), c.policy("quorum both\n")
}

// policy names the log's keys, the anchor log, two witnesses and the authority.
func (c *company) policy(last string) string {
	var b strings.Builder
	b.WriteString("platform " + ledger.VerifierKey(c.origin, public(logSeed)) + " 1 -\nlog " + ledger.VerifierKey(anchorLog, public(anchorSeed)) + "\n" +
		"witness a " + witnessKey(0) + "\nwitness b " + witnessKey(1) + "\ngroup both all a b\n")
	b.WriteString("tsa ours " + base64.StdEncoding.EncodeToString(c.tsa.rootDER) + "\n" + last)
	return b.String()
}

func encodeBundle(t testing.TB, b *ledger.Bundle) []byte {
	t.Helper()
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEvidenceIsProvenUnderItsPolicy(t *testing.T) {
	_, b, policy := evidence(t)
	r, err := ledger.VerifyBundle(encodeBundle(t, b), parsePolicy(t, policy))
	if err != nil || r.Result != ledger.Proven || r.Before != "2026-06-01T12:00:00Z" {
		t.Fatalf("%+v, %v", r, err)
	}
	want := []string{"file", "entry", "log's keys", "log", "anchor", "witnesses", "time", "signer", "signature", "values", "values", "values", "model"}
	var got []string
	for _, c := range r.Checks {
		got = append(got, c.Check)
		if c.Status != ledger.CheckOK {
			t.Errorf("%s is %s: %s", c.Check, c.Status, c.Shows)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("checked %q, want %q", got, want)
	}
	if text := r.Checks[10].Shows; text != `"score" = 5 was written by this entry, and the signer signed for it.` {
		t.Errorf("of a value that was signed it says %q", text)
	}
	if text := r.Checks[9].Shows; text != `"$actor" = "scoring" was written by this entry.` {
		t.Errorf("of a value that was not signed it says %q", text)
	}
}

func TestEvidenceWithoutAPolicyIsOnlyConsistent(t *testing.T) {
	_, b, _ := evidence(t)
	r, err := b.Verify(nil)
	if err != nil || r.Result != ledger.Consistent || r.Before != "" {
		t.Fatalf("%+v, %v", r, err)
	}
	absent := 0
	for _, c := range r.Checks {
		if c.Status == ledger.CheckAbsent {
			absent++
		}
	}
	if absent != 3 { // anchor, witnesses, time
		t.Errorf("%d checks say that nobody vouches, want 3: %+v", absent, r.Checks)
	}
}

func TestTheLeastEvidence(t *testing.T) {
	c := newCompany(t)
	c.opening()
	b := &ledger.Bundle{Leaf: c.append(ledger.Leaf{Kind: "data.read", Act: "user"})}
	b.Proof, b.Platform = c.proof(b.Leaf, len(c.leaves)), c.chain(platformID)
	got, err := ledger.ParseBundle(encodeBundle(t, b))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := got.Verify(nil); err != nil || r.Result != ledger.Consistent {
		t.Errorf("%+v, %v", r, err)
	}
	policy := parsePolicy(t, "log "+ledger.VerifierKey(origin, public(logSeed))+"\nquorum none\n")
	if r, err := got.Verify(policy); err != nil || r.Result != ledger.Proven {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestEveryByteOfABundleCounts changes each byte of a bundle, cuts it short, and puts
// one more in.
func TestEveryByteOfABundleCounts(t *testing.T) {
	_, b, _ := evidence(t)
	data := encodeBundle(t, b)
	refused := func(what string, i int, changed []byte) {
		if _, err := ledger.ParseBundle(changed); !fault.Is(err, fault.Integrity) || fault.CodeOf(err) != "bundle_changed" && fault.CodeOf(err) != "bundle_malformed" &&
			fault.CodeOf(err) != "proof_malformed" && fault.CodeOf(err) != "checkpoint_malformed" {
			t.Fatalf("byte %d of %d %s: %v", i, len(data), what, err)
		}
	}
	for i := range data {
		mask := byte(1) << (i % 8)
		data[i] ^= mask
		refused("changed", i, data)
		data[i] ^= mask
	}
	for i := 0; i < len(data); i += 61 {
		refused("cut", i, data[:i])
		refused("added", i, slices.Insert(bytes.Clone(data), i, 0))
	}
}

func TestBundlesAreZipFiles(t *testing.T) {
	_, b, _ := evidence(t)
	data := encodeBundle(t, b)
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, in); err != nil { // checks the checksum
			t.Errorf("%s: %v", f.Name, err)
		}
		if f.Method != zip.Store || f.Modified.Year() != 1980 {
			t.Errorf("%s: method %d, time %s", f.Name, f.Method, f.Modified)
		}
	}
	if r.File[0].Name != "manifest.json" || r.File[1].Name != "VERIFY.md" || len(r.File) != 18 {
		t.Errorf("%d files, %s first", len(r.File), r.File[0].Name)
	}
}

// repacked writes the same parts as another program would.
func repacked(t *testing.T, data []byte, change func(files map[string][]byte, order []string) []string, header func(*zip.FileHeader)) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	files, order := map[string][]byte{}, []string{}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
		order = append(order, f.Name)
	}
	if change != nil {
		order = change(files, order)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range order {
		h := &zip.FileHeader{Name: name, Method: zip.Store}
		if header != nil {
			header(h)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestBundlesThatAreNotCanonicalAreRefused(t *testing.T) {
	_, b, _ := evidence(t)
	data := encodeBundle(t, b)
	for name, bad := range map[string][]byte{
		"packed by another program": repacked(t, data, nil, nil),
		"compressed":                repacked(t, data, nil, func(h *zip.FileHeader) { h.Method = zip.Deflate }),
		"empty":                     nil,
		"no zip file":               []byte("hello"),
		"a zip file of nothing":     repacked(t, data, func(map[string][]byte, []string) []string { return nil }, nil),
		"something before it":       append([]byte("#!/bin/sh\n"), data...),
		"something after it":        append(bytes.Clone(data), "more"...),
		"too large":                 make([]byte, 16<<20+1),
	} {
		_, err := ledger.ParseBundle(bad)
		if code := fault.CodeOf(err); code != "bundle_malformed" {
			t.Errorf("%s: %v (%s)", name, err, code)
		}
	}
}

// TestBundlesMadeAnewAreRefused: whoever writes other parts with a manifest that fits
// still does not get a bundle.
func TestBundlesMadeAnewAreRefused(t *testing.T) {
	_, b, _ := evidence(t)
	data := encodeBundle(t, b)
	for _, test := range []struct {
		name   string
		change func(*ledger.TestingBundle)
	}{
		{"another VERIFY.md", func(p *ledger.TestingBundle) { p.Set("VERIFY.md", []byte("Ask us.")) }},
		{"a part more", func(p *ledger.TestingBundle) { p.Set("NOTES.md", []byte("Trust us.")) }},
		{"a part more in the middle", func(p *ledger.TestingBundle) { p.Insert(3, "fields.json.bak", nil) }},
		{"no leaf", func(p *ledger.TestingBundle) { p.Delete("leaf.json") }},
		{"no VERIFY.md", func(p *ledger.TestingBundle) { p.Delete("VERIFY.md") }},
		{"parts in another order", func(p *ledger.TestingBundle) { p.Swap(4, 5) }},
		{"a part twice", func(p *ledger.TestingBundle) { p.Insert(3, "leaf.json", b.Leaf) }},
		{"fields in another order", func(p *ledger.TestingBundle) { p.Set("fields.json", reversed(t, p.Get("fields.json"))) }},
		{"a field twice", func(p *ledger.TestingBundle) { p.Set("fields.json", doubled(t, p.Get("fields.json"))) }},
		{"no fields in a list of them", func(p *ledger.TestingBundle) { p.Set("fields.json", []byte(`["l"]`)) }},
		{"fields with a space", func(p *ledger.TestingBundle) { p.Set("fields.json", append([]byte(" "), p.Get("fields.json")...)) }},
		{"fields that are none", func(p *ledger.TestingBundle) { p.Set("fields.json", []byte(`["l","x"]`)) }},
		{"bindings that are none", func(p *ledger.TestingBundle) { p.Set("bindings.json", []byte(`["l",{"path":"x"}]`)) }},
		{"a key that is none", func(p *ledger.TestingBundle) { p.Set("signer/0001/key.json", []byte(`{}`)) }},
		{"a chain with a gap", func(p *ledger.TestingBundle) { p.Rename("signer/0001/key.json", "signer/0002/key.json") }},
		{"a blind that is none", func(p *ledger.TestingBundle) { p.Set("anchor/blind.hex", []byte("00")) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := ledger.TestingParts(data)
			if err != nil {
				t.Fatal(err)
			}
			test.change(p)
			_, err = ledger.ParseBundle(p.Encode())
			if code := fault.CodeOf(err); code != "bundle_malformed" && code != "proof_malformed" {
				t.Errorf("%v (%s)", err, code)
			}
		})
	}
}

func reversed(t *testing.T, list []byte) []byte {
	l := decodeList(t, list)
	slices.Reverse(l)
	return canon.Encode(l)
}

func doubled(t *testing.T, list []byte) []byte {
	l := decodeList(t, list)
	return canon.Encode(append(canon.List{l[0]}, l...))
}

func decodeList(t *testing.T, list []byte) canon.List {
	t.Helper()
	v, err := canon.Decode(list)
	l, ok := v.(canon.List)
	if err != nil || !ok {
		t.Fatalf("%s: %v", list, err)
	}
	return l
}

func TestEncodeRefusesWhatCouldNotBeRead(t *testing.T) {
	for name, change := range map[string]func(*ledger.Bundle){
		"fields out of order":  func(b *ledger.Bundle) { slices.Reverse(b.Fields) },
		"a field twice":        func(b *ledger.Bundle) { b.Fields[1] = b.Fields[0] },
		"a negative index":     func(b *ledger.Bundle) { b.Fields[0].Index = -1 },
		"no proof":             func(b *ledger.Bundle) { b.Proof = ledger.LogProof{} },
		"a proof that is none": func(b *ledger.Bundle) { b.Proof.Checkpoint = []byte("x") },
	} {
		t.Run(name, func(t *testing.T) {
			_, b, _ := evidence(t)
			change(b)
			if _, err := b.Encode(); !fault.Is(err, fault.Invalid) {
				t.Errorf("%v, want invalid", err)
			}
		})
	}
}
