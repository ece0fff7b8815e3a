package ledger

import (
	"encoding/base64"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
)

// maxPath is the longest path that a tree can have: its size is a uint64.
const maxPath = 64

// VerifyInclusion checks that the leaf hash stands at the index in the tree of the
// given size and root (RFC 9162 section 2.1.3.2). The proof begins with the leaf's
// sibling. What does not fit is an Integrity fault with the code "not_included".
func VerifyInclusion(leaf Hash, index, size uint64, proof []Hash, root Hash) error {
	if index >= size {
		return notIncluded("leaf %d is not among the %d of the tree", index, size)
	}
	if len(proof) > maxPath {
		return notIncluded("a path of %d hashes is longer than any tree", len(proof))
	}
	node, last, h := index, size-1, leaf
	for _, p := range proof {
		if last == 0 {
			return notIncluded("the path to leaf %d of %d is too long", index, size)
		}
		if node&1 == 1 || node == last {
			h = nodeHash(p, h)
			// The last node of a row without a sibling stands for itself in the row above.
			up := bits.TrailingZeros64(node)
			node, last = node>>up, last>>up
		} else {
			h = nodeHash(h, p)
		}
		node, last = node>>1, last>>1
	}
	if last != 0 {
		return notIncluded("the path to leaf %d of %d is too short", index, size)
	}
	if h != root {
		return notIncluded("the path of leaf %d of %d leads to the root %s, not to %s", index, size, h, root)
	}
	return nil
}

func notIncluded(format string, args ...any) error {
	return fault.New(fault.Integrity, "proof of inclusion is wrong: %s", fmt.Sprintf(format, args...)).WithCode("not_included")
}

// VerifyConsistency checks that the tree of the size begins with the leaves of the
// older one (RFC 9162 section 2.1.4.2). The proof between equal sizes, and from a
// tree without leaves, is empty. What does not fit is an Integrity fault with the
// code "not_consistent": one log has shown two histories.
func VerifyConsistency(old, size uint64, proof []Hash, oldRoot, root Hash) error {
	switch {
	case old > size:
		return notConsistent("size %d comes before size %d", size, old)
	case len(proof) > maxPath+1:
		return notConsistent("%d hashes are more than any tree needs", len(proof))
	case old == 0 || old == size:
		return verifyTrivial(old, size, proof, oldRoot, root)
	}
	node, last := old-1, size-1
	up := bits.TrailingZeros64(old)
	node, last = node>>up, last>>up
	if node == 0 { // the old tree is a whole subtree of the new one: its root is the start
		proof = append([]Hash{oldRoot}, proof...)
	}
	if len(proof) == 0 {
		return notConsistent("between sizes %d and %d it is empty", old, size)
	}
	oldHash, newHash := proof[0], proof[0]
	for _, p := range proof[1:] {
		if last == 0 {
			return notConsistent("between sizes %d and %d it is too long", old, size)
		}
		if node&1 == 1 || node == last {
			oldHash, newHash = nodeHash(p, oldHash), nodeHash(p, newHash)
			up := bits.TrailingZeros64(node)
			node, last = node>>up, last>>up
		} else {
			newHash = nodeHash(newHash, p)
		}
		node, last = node>>1, last>>1
	}
	switch {
	case last != 0:
		return notConsistent("between sizes %d and %d it is too short", old, size)
	case oldHash != oldRoot:
		return notConsistent("it is for another tree of size %d", old)
	case newHash != root:
		return notConsistent("it is for another tree of size %d", size)
	}
	return nil
}

// verifyTrivial checks what needs no hashes: no leaves before, or none after.
func verifyTrivial(old, size uint64, proof []Hash, oldRoot, root Hash) error {
	switch {
	case len(proof) > 0:
		return notConsistent("between sizes %d and %d it must be empty", old, size)
	case old == 0 && oldRoot != DataRoot(nil):
		return notConsistent("%s is not the root of a tree without leaves", oldRoot)
	case old == size && oldRoot != root:
		return notConsistent("size %d has two roots, %s and %s", size, oldRoot, root)
	}
	return nil
}

func notConsistent(format string, args ...any) error {
	return fault.New(fault.Integrity, "proof of consistency is wrong: %s", fmt.Sprintf(format, args...)).WithCode("not_consistent")
}

const logProofHeader = "c2sp.org/tlog-proof@v1\n"

// LogProof proves that a leaf is in a log: where it stands, the path to the root,
// and the checkpoint with its signatures (C2SP tlog-proof, without extra data).
type LogProof struct {
	Index      uint64
	Path       []Hash // from the leaf's sibling to below the root
	Checkpoint []byte // signed note
}

// Encode returns the proof as C2SP tlog-proof writes it.
func (p LogProof) Encode() []byte {
	var b strings.Builder
	b.WriteString(logProofHeader)
	fmt.Fprintf(&b, "index %d\n", p.Index)
	for _, h := range p.Path {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteString("\n")
	b.Write(p.Checkpoint)
	return []byte(b.String())
}

// ParseLogProof reads what Encode writes. Every other spelling, extra data among
// them, is an Integrity fault with the code "proof_malformed"; the checkpoint's
// signatures are not looked at.
func ParseLogProof(text []byte) (LogProof, error) {
	if len(text) > maxNote {
		return LogProof{}, malformedProof("%d bytes are too many", len(text))
	}
	rest, ok := strings.CutPrefix(string(text), logProofHeader)
	if !ok {
		return LogProof{}, malformedProof("it does not begin with %q", strings.TrimSpace(logProofHeader))
	}
	head, checkpoint, ok := strings.Cut(rest, "\n\n")
	if !ok {
		return LogProof{}, malformedProof("it has no checkpoint")
	}
	lines := strings.Split(head, "\n")
	number, ok := strings.CutPrefix(lines[0], "index ")
	index, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || len(lines) > 1+maxPath {
		return LogProof{}, malformedProof("it has no index, extra data, or a path that is too long")
	}
	p := LogProof{Index: index, Checkpoint: []byte(checkpoint)}
	for _, line := range lines[1:] {
		h, ok := parseBase64Hash(line)
		if !ok {
			return LogProof{}, malformedProof("%q is no hash", line)
		}
		p.Path = append(p.Path, h)
	}
	if _, err := UnverifiedCheckpoint(p.Checkpoint); err != nil {
		return LogProof{}, err
	}
	if string(p.Encode()) != string(text) {
		return LogProof{}, malformedProof("it is spelled in another way than proofs are")
	}
	return p, nil
}

func malformedProof(format string, args ...any) error {
	return fault.New(fault.Integrity, "proof is refused: %s", fmt.Sprintf(format, args...)).WithCode("proof_malformed")
}

// Verify checks that one of the verifiers signed the proof's checkpoint and that
// the leaf hash is under it. See OpenCheckpoint and VerifyInclusion.
func (p LogProof) Verify(leaf Hash, verifiers ...note.Verifier) (Checkpoint, *note.Note, error) {
	c, n, err := OpenCheckpoint(p.Checkpoint, verifiers...)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	return c, n, VerifyInclusion(leaf, p.Index, c.Size, p.Path, c.Root)
}
