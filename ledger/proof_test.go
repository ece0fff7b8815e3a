package ledger_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// tree is a log in memory, made with x/mod's tlog.
type tree struct {
	leaves []ledger.Hash
	stored []tlog.Hash
}

func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = t.stored[x]
	}
	return out, nil
}

func (t *tree) add(tb fatal, leaf ledger.Hash) {
	stored, err := tlog.StoredHashesForRecordHash(int64(len(t.leaves)), tlog.Hash(leaf), t)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	t.leaves, t.stored = append(t.leaves, leaf), append(t.stored, stored...)
}

func (t *tree) root(tb fatal, size int) ledger.Hash {
	h, err := tlog.TreeHash(int64(size), t)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	if size == 0 {
		return ledger.DataRoot(nil)
	}
	return ledger.Hash(h)
}

func (t *tree) inclusion(tb fatal, index, size int) []ledger.Hash {
	p, err := tlog.ProveRecord(int64(size), int64(index), t)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return hashesOf(p)
}

func (t *tree) consistency(tb fatal, old, size int) []ledger.Hash {
	if old == 0 {
		return nil
	}
	p, err := tlog.ProveTree(int64(size), int64(old), t)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return hashesOf(p)
}

// fatal is what *testing.T and *rapid.T have in common.
type fatal interface{ Fatalf(string, ...any) }

func hashesOf[T ~[32]byte](p []T) []ledger.Hash {
	var out []ledger.Hash
	for _, h := range p {
		out = append(out, ledger.Hash(h))
	}
	return out
}

func bytesOf(p []ledger.Hash) [][]byte {
	var out [][]byte
	for _, h := range p {
		out = append(out, h[:])
	}
	return out
}

// grown is a tree of so many leaves; seed makes it differ from others.
func grown(tb fatal, n int, seed uint64) *tree {
	var t tree
	for i := range n {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], seed)
		binary.BigEndian.PutUint64(b[8:], uint64(i))
		t.add(tb, ledger.LeafHash(b[:]))
	}
	return &t
}

func TestInclusionInAllSmallTrees(t *testing.T) {
	tr := grown(t, 40, 0)
	for size := 1; size <= 40; size++ {
		root := tr.root(t, size)
		for i := range size {
			path := tr.inclusion(t, i, size)
			if err := ledger.VerifyInclusion(tr.leaves[i], uint64(i), uint64(size), path, root); err != nil {
				t.Fatalf("leaf %d of %d: %v", i, size, err)
			}
			for j := range size + 1 {
				if err := ledger.VerifyInclusion(tr.leaves[i], uint64(j), uint64(size), path, root); j != i && err == nil {
					t.Fatalf("leaf %d of %d is also leaf %d", i, size, j)
				}
			}
		}
	}
}

func TestConsistencyOfAllSmallTrees(t *testing.T) {
	tr := grown(t, 40, 0)
	for size := 0; size <= 40; size++ {
		for old := 0; old <= size; old++ {
			if err := ledger.VerifyConsistency(uint64(old), uint64(size), tr.consistency(t, old, size), tr.root(t, old), tr.root(t, size)); err != nil {
				t.Fatalf("from %d to %d: %v", old, size, err)
			}
		}
	}
}

// TestAnotherImplementationAgrees compares verdicts with transparency-dev/merkle,
// on proofs that are right and on ones with something changed.
func TestAnotherImplementationAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 300).Draw(t, "size")
		tr := grown(t, size, rapid.Uint64().Draw(t, "seed"))
		checkRoot(t, tr, size)
		index, old := rapid.IntRange(0, size-1).Draw(t, "index"), rapid.IntRange(1, size).Draw(t, "old")
		in, con := tr.inclusion(t, index, size), tr.consistency(t, old, size)
		leaf, root, oldRoot := tr.leaves[index], tr.root(t, size), tr.root(t, old)
		i, s, o := uint64(index), uint64(size), uint64(old)
		switch rapid.IntRange(0, 8).Draw(t, "what is changed") {
		case 1:
			in, con = changeOne(t, in), changeOne(t, con)
		case 2:
			in, con = append(in, ledger.Hash{1}), append(con, ledger.Hash{1})
		case 3:
			in, con = in[:max(len(in)-1, 0)], con[:max(len(con)-1, 0)]
		case 4:
			leaf[0] ^= 1
			oldRoot[0] ^= 1
		case 5:
			root[31] ^= 1
		case 6:
			i = rapid.Uint64().Draw(t, "other index")
			o = rapid.Uint64Min(1).Draw(t, "other old size")
		case 7:
			s = rapid.Uint64().Draw(t, "other size")
		case 8:
			i, o, s = i^1, o+1, s+1
		}
		theirs := proof.VerifyInclusion(rfc6962.DefaultHasher, i, s, leaf[:], bytesOf(in), root[:])
		if ours := ledger.VerifyInclusion(leaf, i, s, in, root); (ours == nil) != (theirs == nil) {
			t.Fatalf("inclusion of %d in %d: %v, another implementation: %v", i, s, ours, theirs)
		}
		theirs = proof.VerifyConsistency(rfc6962.DefaultHasher, o, s, bytesOf(con), oldRoot[:], root[:])
		if ours := ledger.VerifyConsistency(o, s, con, oldRoot, root); (ours == nil) != (theirs == nil) {
			t.Fatalf("consistency of %d with %d: %v, another implementation: %v", o, s, ours, theirs)
		}
	})
}

// checkRoot compares the root of the tree with that of transparency-dev/merkle.
func checkRoot(t *rapid.T, tr *tree, size int) {
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for _, l := range tr.leaves[:size] {
		if err := r.Append(l[:], nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := r.GetRootHash(nil)
	if want := tr.root(t, size); err != nil || !bytes.Equal(got, want[:]) {
		t.Fatalf("root of %d leaves %s, another implementation: %x, %v", size, want, got, err)
	}
}

func changeOne(t *rapid.T, path []ledger.Hash) []ledger.Hash {
	out := slices.Clone(path)
	if len(out) > 0 {
		out[rapid.IntRange(0, len(out)-1).Draw(t, "hash")][rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1
	}
	return out
}

func TestProofsThatCannotBe(t *testing.T) {
	tr := grown(t, 5, 0)
	root, empty := tr.root(t, 5), ledger.DataRoot(nil)
	long := make([]ledger.Hash, 70)
	wantCode(t, ledger.VerifyInclusion(tr.leaves[0], 0, 0, nil, empty), "not_included")
	wantCode(t, ledger.VerifyInclusion(tr.leaves[0], 5, 5, nil, root), "not_included")
	// The path of leaf 1, whose bits below the tree's height are those of 3.
	wantCode(t, ledger.VerifyInclusion(tr.leaves[1], 3, 2, tr.inclusion(t, 1, 2), tr.root(t, 2)), "not_included")
	wantCode(t, ledger.VerifyInclusion(tr.leaves[0], 1<<64-1, 1<<64-1, long[:64], root), "not_included")
	wantCode(t, ledger.VerifyInclusion(tr.leaves[0], 1<<64-2, 1<<64-1, long[:64], root), "not_included")
	wantCode(t, ledger.VerifyInclusion(tr.leaves[0], 0, 5, long, root), "not_included")
	wantCode(t, ledger.VerifyConsistency(6, 5, nil, root, root), "not_consistent")
	wantCode(t, ledger.VerifyConsistency(5, 5, nil, empty, root), "not_consistent")
	wantCode(t, ledger.VerifyConsistency(5, 5, long[:1], root, root), "not_consistent")
	wantCode(t, ledger.VerifyConsistency(0, 5, nil, root, root), "not_consistent")
	wantCode(t, ledger.VerifyConsistency(0, 5, long[:1], empty, root), "not_consistent")
	wantCode(t, ledger.VerifyConsistency(3, 5, nil, root, root), "not_consistent")
	wantCode(t, ledger.VerifyConsistency(1<<63, 1<<64-1, long[:64], root, root), "not_consistent")
	wantCode(t, ledger.VerifyConsistency(1, 1<<64-1, long, root, root), "not_consistent")
}

// consistencyVector is what is claimed of two heads of a log, and how it is refused.
type consistencyVector struct {
	Name    string        `json:"name"`
	Old     uint64        `json:"old,string"`
	Size    uint64        `json:"size,string"`
	OldRoot string        `json:"old_root"`
	Root    string        `json:"root"`
	Proof   []string      `json:"proof"`
	Kind    string        `json:"kind,omitempty"`
	Code    string        `json:"code,omitempty"`
	proof   []ledger.Hash // as long as it is being made
}

// consistent claims what is so of two sizes of a tree.
func consistent(t *testing.T, tr *tree, old, size int) consistencyVector {
	return consistencyVector{
		Name: fmt.Sprintf("from %d to %d", old, size), Old: uint64(old), Size: uint64(size),
		OldRoot: tr.root(t, old).String(), Root: tr.root(t, size).String(), proof: tr.consistency(t, old, size),
	}
}

func makeConsistencyVectors(t *testing.T) (vectors []consistencyVector) {
	tr, other := grown(t, 260, 0), grown(t, 7, 1)
	for _, at := range [][2]int{{0, 0}, {0, 5}, {1, 1}, {1, 2}, {1, 11}, {2, 3}, {3, 7}, {4, 8}, {5, 5}, {6, 7}, {6, 8}, {7, 11}, {8, 11}, {128, 260}, {255, 257}, {256, 260}} {
		vectors = append(vectors, consistent(t, tr, at[0], at[1]))
	}
	for _, c := range []struct {
		name      string
		old, size int
		change    func(v *consistencyVector)
	}{
		{"a hash changed", 3, 7, func(v *consistencyVector) { v.proof[1][0] ^= 1 }},
		{"the last hash missing", 3, 7, func(v *consistencyVector) { v.proof = v.proof[:len(v.proof)-1] }},
		{"the first hash missing", 3, 7, func(v *consistencyVector) { v.proof = v.proof[1:] }},
		{"a hash more", 3, 7, func(v *consistencyVector) { v.proof = append(v.proof, ledger.Hash{1}) }},
		{"two hashes in another order", 3, 7, func(v *consistencyVector) { v.proof[0], v.proof[1] = v.proof[1], v.proof[0] }},
		{"no proof", 3, 7, func(v *consistencyVector) { v.proof = nil }},
		{"another old root", 3, 7, func(v *consistencyVector) { v.OldRoot = other.root(t, 3).String() }},
		{"another root", 3, 7, func(v *consistencyVector) { v.Root = other.root(t, 7).String() }},
		{"roots exchanged", 3, 7, func(v *consistencyVector) { v.OldRoot, v.Root = v.Root, v.OldRoot }},
		{"another old size", 3, 7, func(v *consistencyVector) { v.Old++ }},
		{"another size", 3, 7, func(v *consistencyVector) { v.Size += 2 }},
		{"sizes exchanged", 3, 7, func(v *consistencyVector) { v.Old, v.Size = v.Size, v.Old }},
		{"the proof of another tree", 3, 7, func(v *consistencyVector) { v.proof = other.consistency(t, 3, 7) }},
		{"another history, with its own proof", 3, 7, func(v *consistencyVector) {
			v.Root, v.proof = other.root(t, 7).String(), other.consistency(t, 3, 7)
		}},
		{"no proof from a whole subtree", 4, 8, func(v *consistencyVector) { v.proof = nil }},
		{"the root of a whole subtree in its proof", 4, 8, func(v *consistencyVector) { v.proof = append([]ledger.Hash{tr.root(t, 4)}, v.proof...) }},
		{"one size with two roots", 5, 5, func(v *consistencyVector) { v.Root = tr.root(t, 6).String() }},
		{"equal sizes with a proof", 5, 5, func(v *consistencyVector) { v.proof = []ledger.Hash{{1}} }},
		{"no leaves with two roots", 0, 0, func(v *consistencyVector) { v.Root = tr.root(t, 1).String() }},
		{"no leaves with another root than that of nothing", 0, 5, func(v *consistencyVector) { v.OldRoot = ledger.Hash{}.String() }},
		{"from no leaves with a proof", 0, 5, func(v *consistencyVector) { v.proof = []ledger.Hash{{1}} }},
		{"the largest sizes", 3, 7, func(v *consistencyVector) { v.Old, v.Size, v.proof = 1<<63, 1<<64-1, make([]ledger.Hash, 64) }},
		{"more hashes than any tree needs", 3, 7, func(v *consistencyVector) { v.Size, v.proof = 1<<64-1, make([]ledger.Hash, 70) }},
	} {
		v := consistent(t, tr, c.old, c.size)
		c.change(&v)
		v.Name, v.Kind, v.Code = c.name, "integrity", "not_consistent"
		vectors = append(vectors, v)
	}
	for i, v := range vectors {
		vectors[i].Proof = []string{}
		for _, h := range v.proof {
			vectors[i].Proof = append(vectors[i].Proof, h.String())
		}
	}
	return vectors
}

func TestConsistencyVectors(t *testing.T) {
	for _, v := range readVectors(t, "consistency.json", makeConsistencyVectors(t)) {
		t.Run(v.Name, func(t *testing.T) {
			var proof []ledger.Hash
			for _, h := range v.Proof {
				proof = append(proof, ledger.Hash(unhex(t, h)))
			}
			err := ledger.VerifyConsistency(v.Old, v.Size, proof, ledger.Hash(unhex(t, v.OldRoot)), ledger.Hash(unhex(t, v.Root)))
			refusedAs(t, err, v.Kind, v.Code)
		})
	}
}

// sampleProof is the proof of a leaf in a small log, and the leaf's hash.
func sampleProof(t testing.TB) (ledger.LogProof, ledger.Hash) {
	tr := grown(t, 11, 0)
	c := ledger.Checkpoint{Origin: origin, Size: 11, Root: tr.root(t, 11)}
	return ledger.LogProof{Index: 4, Path: tr.inclusion(t, 4, 11), Checkpoint: signCheckpoint(t, c, signer(t, origin, logSeed))}, tr.leaves[4]
}

func TestLogProof(t *testing.T) {
	p, leaf := sampleProof(t)
	got, err := ledger.ParseLogProof(p.Encode())
	if err != nil || got.Index != p.Index || !slices.Equal(got.Path, p.Path) || !bytes.Equal(got.Checkpoint, p.Checkpoint) {
		t.Fatalf("parsed %+v, %v, want %+v", got, err, p)
	}
	key := verifier(t, ledger.VerifierKey(origin, public(logSeed)))
	if c, n, err := got.Verify(leaf, key); err != nil || c.Size != 11 || len(n.Sigs) != 1 {
		t.Errorf("verified %+v, %+v, %v", c, n, err)
	}
	_, _, err = got.Verify(ledger.Hash{1}, key)
	wantCode(t, err, "not_included")
	_, _, err = got.Verify(leaf, verifier(t, ledger.VerifierKey(origin, public(otherSeed))))
	wantCode(t, err, "checkpoint_unsigned")
	single := ledger.LogProof{Checkpoint: p.Checkpoint} // the only leaf of a log has no path
	if got, err := ledger.ParseLogProof(single.Encode()); err != nil || len(got.Path) != 0 {
		t.Errorf("parsed %+v, %v", got, err)
	}
}

// badProofs are spellings that LogProof.Encode does not write.
func badProofs(t testing.TB) []string {
	p, _ := sampleProof(t)
	good := string(p.Encode())
	first := strings.Split(good, "\n")[2]
	return []string{
		"", "c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v1\n\n", strings.Replace(good, "@v1", "@v2", 1), strings.Replace(good, "index", "extra AAAA\nindex", 1),
		strings.Replace(good, "index 4", "index 04", 1), strings.Replace(good, "index 4", "index", 1), strings.Replace(good, "index 4", "index -1", 1),
		strings.Replace(good, "index 4\n", "", 1), strings.Replace(good, first, first[:43], 1), strings.Replace(good, first, first+"\n", 1),
		strings.Replace(good, first, strings.Repeat(first+"\n", 65)+first, 1), strings.Replace(good, "\n11\n", "\n011\n", 1), strings.ReplaceAll(good, "\n", "\r\n"),
		good[:strings.Index(good, "\n\n")+2], strings.Repeat("c2sp.org/tlog-proof@v1\n", 1<<16),
	}
}

func TestParseLogProofRefusesOtherSpellings(t *testing.T) {
	for _, text := range badProofs(t) {
		p, err := ledger.ParseLogProof([]byte(text))
		if code := fault.CodeOf(err); code != "proof_malformed" && code != "checkpoint_malformed" {
			t.Errorf("parsed %.200q as %+v, %v", text, p, err)
		}
	}
}

// FuzzParseLogProof looks for a panic and a second spelling of a proof.
func FuzzParseLogProof(f *testing.F) {
	p, leaf := sampleProof(f)
	f.Add(p.Encode())
	for _, text := range badProofs(f) {
		f.Add([]byte(text))
	}
	key := verifier(f, ledger.VerifierKey(origin, public(logSeed)))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ledger.ParseLogProof(data)
		switch {
		case err != nil && !fault.Is(err, fault.Integrity):
			t.Errorf("refused with %v", err)
		case err == nil && !bytes.Equal(p.Encode(), data):
			t.Errorf("%q is written again as %q", data, p.Encode())
		case err == nil:
			_, _, _ = p.Verify(leaf, key)
		}
	})
}

func TestDataPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) ledger.Hash { return drawHash(t, "h") }), 1, 40, rapid.ID).Draw(t, "set")
		before := slices.Clone(set)
		of := set[rapid.IntRange(0, len(set)-1).Draw(t, "of")]
		path, index, err := ledger.DataPath(set, of)
		if err != nil || !slices.Equal(before, set) {
			t.Fatalf("%v, or the caller's commitments were changed", err)
		}
		data := ledger.DataRoot(set)
		if err := ledger.VerifyDataPath(of, index, len(set), path, data); err != nil {
			t.Fatal(err)
		}
		other := of
		other[rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1
		if ledger.VerifyDataPath(other, index, len(set), path, data) == nil || ledger.VerifyDataPath(of, index, len(set), path, other) == nil {
			t.Fatal("another commitment or another root fits as well")
		}
	})
}

func TestDataPathOfWhatIsNotThere(t *testing.T) {
	for _, set := range [][]ledger.Hash{nil, {{1}}, {{1}, {3}}} {
		if _, _, err := ledger.DataPath(set, ledger.Hash{2}); !fault.Is(err, fault.NotFound) {
			t.Errorf("path in %v: %v, want not found", set, err)
		}
	}
	for _, at := range [][2]int{{-1, 1}, {0, -1}, {0, 0}, {1, 1}} {
		wantCode(t, ledger.VerifyDataPath(ledger.Hash{1}, at[0], at[1], nil, ledger.DataRoot([]ledger.Hash{{1}})), "disclosure_mismatch")
	}
}

func TestAnchorEntryIsBlinded(t *testing.T) {
	c := ledger.Checkpoint{Origin: origin, Size: 3}
	a := ledger.AnchorEntry([32]byte{1}, c)
	c.Size++
	if b := ledger.AnchorEntry([32]byte{1}, c); a == b {
		t.Error("two checkpoints have one entry")
	}
	c.Size--
	if b := ledger.AnchorEntry([32]byte{2}, c); a == b {
		t.Error("the random bytes do not matter")
	}
}
