package sequencer

import (
	"cmp"
	"encoding/hex"
	"slices"

	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// An entry of a log is found by terms: what its leaf says in clear, and keyed hashes
// of what is sealed. The first byte tells the sorts apart.

// KindTerm finds leaves of a kind. Those of kinds that begin alike stand together.
func KindTerm(kind string) []byte { return append([]byte{'k'}, kind...) }

// ModelTerm finds the steps of what runs by a model, named by its hash in hex.
func ModelTerm(model string) []byte {
	hash, err := hex.DecodeString(model)
	if err != nil {
		hash = []byte(model) // of no leaf
	}
	return append([]byte{'m'}, hash...)
}

// TokenTerm finds leaves that have a keyed hash among their terms.
func TokenTerm(token []byte) []byte { return append([]byte{'t'}, token...) }

// Terms returns all terms of a leaf, with the keyed hashes that are stored beside it.
func Terms(leaf ledger.Leaf, tokens []byte) [][]byte {
	terms := [][]byte{KindTerm(leaf.Kind)}
	if leaf.Def != "" {
		terms = append(terms, ModelTerm(leaf.Def))
	}
	for token := range slices.Chunk(tokens, store.TermSize) {
		terms = append(terms, TokenTerm(token))
	}
	return terms
}

// postings gather in which entries of a log terms are.
type postings map[posting]uint64

type posting struct {
	term  string
	block uint64
}

func (p postings) add(index uint64, terms [][]byte) {
	for _, term := range terms {
		p[posting{string(term), index / store.BlockSize}] |= 1 << (index % store.BlockSize)
	}
}

// rows returns what was gathered, in the order of the table.
func (p postings) rows() []store.LogTerm {
	rows := make([]store.LogTerm, 0, len(p))
	for at, bits := range p {
		rows = append(rows, store.LogTerm{Term: []byte(at.term), Block: at.block, Bits: bits})
	}
	slices.SortFunc(rows, func(a, b store.LogTerm) int {
		return cmp.Or(slices.Compare(a.Term, b.Term), cmp.Compare(a.Block, b.Block))
	})
	return rows
}
