package sequencer

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"slices"

	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// An entry of a log is found by terms: what its leaf says in clear, and keyed hashes
// of what is sealed. The first byte tells the sorts apart.
const (
	kindMark  = 'k'
	modelMark = 'm'
	tokenMark = 't'
)

// KindTerm finds leaves of a kind. Those of kinds that begin alike stand together.
func KindTerm(kind string) []byte { return append([]byte{kindMark}, kind...) }

// ModelTerm finds the steps of what runs by a model, named by its hash in hex.
func ModelTerm(model string) []byte { return appendModel(nil, model) }

func appendModel(term []byte, model string) []byte {
	term = append(term, modelMark)
	if hashed, err := hex.AppendDecode(term, []byte(model)); err == nil {
		return hashed
	}
	return append(term, model...) // of no leaf
}

// TokenTerm finds leaves that have a keyed hash among their terms.
func TokenTerm(token []byte) []byte { return append([]byte{tokenMark}, token...) }

// Terms yields all terms of a leaf, with the keyed hashes that are stored beside it. A
// term is valid until the next one.
func Terms(leaf *ledger.Leaf, tokens []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		room := make([]byte, 0, 64)
		if !yield(append(append(room, kindMark), leaf.Kind...)) {
			return
		}
		if leaf.Def != "" && !yield(appendModel(room, leaf.Def)) {
			return
		}
		for token := range slices.Chunk(tokens, store.TermSize) {
			if !yield(append(append(room, tokenMark), token...)) {
				return
			}
		}
	}
}

// RunBlocks is how many blocks of a log have their keyed hashes together.
const RunBlocks = 1024

// Stored returns a term as it stands in the database for a block. Keyed hashes are
// random, and most of them are of few entries: in one order, each would be inserted into
// a page of its own, which is felt when a log is large. So those of a run of blocks
// stand together, and a search looks into one run after the other.
func Stored(term []byte, at store.LogBlock) []byte {
	if !ByRun(term) {
		return term
	}
	stored := make([]byte, 0, len(term)+8)
	stored = append(stored, tokenMark)
	stored = binary.BigEndian.AppendUint32(stored, uint32(at.Shard))
	stored = binary.BigEndian.AppendUint32(stored, uint32(at.Block/RunBlocks))
	return append(stored, term[1:]...)
}

// ByRun reports whether a term stands anew in each run of blocks.
func ByRun(term []byte) bool { return term[0] == tokenMark }

// postings gather in which entries of a log terms are.
type postings map[posting]uint64

type posting struct {
	term  string
	block uint64
}

func (p postings) add(at store.LogPlace, terms iter.Seq[[]byte]) {
	block := at.Block()
	for term := range terms {
		p[posting{string(Stored(term, block)), block.Block}] |= 1 << (at.Index % store.BlockSize)
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
