package ledger

import (
	"bytes"
	"slices"

	"github.com/underseal/underseal/internal/fault"
)

// DataPath returns the path of hashes from one of the commitments to their
// DataRoot, and the commitment's place in ascending order. With its key and value
// the path discloses that field and tells nothing of the others but how many there
// are. A commitment that is not among them is NotFound.
func DataPath(commitments []Hash, of Hash) (path []Hash, index int, err error) {
	sorted := slices.Clone(commitments)
	slices.SortFunc(sorted, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
	index, found := slices.BinarySearchFunc(sorted, of, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
	if !found {
		return nil, 0, fault.New(fault.NotFound, "couldn't make the path of commitment %s: it is not among the %d of the step", of, len(commitments))
	}
	for i, c := range sorted {
		sorted[i] = commitmentHash(c)
	}
	return inclusionPath(sorted, index), index, nil
}

// inclusionPath is PATH of RFC 6962 section 2.1.1, the sibling of the leaf first.
func inclusionPath(hashes []Hash, index int) []Hash {
	if len(hashes) == 1 {
		return nil
	}
	split := splitPoint(len(hashes))
	if index < split {
		return append(inclusionPath(hashes[:split], index), root(hashes[split:]))
	}
	return append(inclusionPath(hashes[split:], index-split), root(hashes[:split]))
}

// VerifyDataPath checks that the commitment is the one at the index, in ascending
// order, of the n commitments whose root is data. What does not fit is an
// Integrity fault with the code "disclosure_mismatch".
func VerifyDataPath(commitment Hash, index, n int, path []Hash, data Hash) error {
	if index < 0 || n < 0 {
		return fault.New(fault.Integrity, "commitment %d of %d cannot be", index, n).WithCode("disclosure_mismatch")
	}
	if err := VerifyInclusion(commitmentHash(commitment), uint64(index), uint64(n), path, data); err != nil {
		return fault.New(fault.Integrity, "the value and its key are not what the leaf commits to: %w", err).WithCode("disclosure_mismatch")
	}
	return nil
}
