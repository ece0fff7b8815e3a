package store

import (
	"context"
	"fmt"
	"strings"
)

const (
	// TermSize is the length of a keyed hash among a leaf's terms.
	TermSize = 16
	// BlockSize is how many entries of a log have their bits in one row.
	BlockSize = 64
)

// LogTerm says which entries of a block a term is in: bit i is of entry
// BlockSize * Block + i.
type LogTerm struct {
	Term  []byte
	Shard int
	Block uint64
	Bits  uint64
}

// At returns the block.
func (t LogTerm) At() LogBlock { return LogBlock{Shard: t.Shard, Block: t.Block} }

// maxTermRows is how many terms one statement inserts.
const maxTermRows = 32

// insertTermsText holds, at n, the statement that adds the bits of n terms.
var insertTermsText = func() (texts [maxTermRows + 1]string) {
	for n := 1; n <= maxTermRows; n++ {
		rows := make([]string, n)
		for i := range rows {
			rows[i] = fmt.Sprintf("($1, $2, $%d, $%d, $%d)", 3*i+3, 3*i+4, 3*i+5)
		}
		texts[n] = `INSERT INTO log_terms (tenant, shard, term, block, bits) VALUES ` + strings.Join(rows, ", ") + `
			ON CONFLICT (tenant, term, shard, block) DO UPDATE SET bits = log_terms.bits | excluded.bits`
	}
	return texts
}()

func insertTerms(unit []statement, s Scope, shard int, terms []LogTerm) []statement {
	for len(terms) > 0 {
		n := min(len(terms), maxTermRows)
		args := make([]any, 0, 2+3*n)
		args = append(args, s.tenant, shard)
		for _, t := range terms[:n] {
			args = append(args, t.Term, t.Block, t.Bits)
		}
		unit = append(unit, statement{text: insertTermsText[n], args: args})
		terms = terms[n:]
	}
	return unit
}

// LogBlock names a block of a log.
type LogBlock struct {
	Shard int
	Block uint64
}

// TermBlocks lists up to limit blocks with a term, from one on, that one included: to
// the end of the newest log or, backward, to the beginning of the first.
func (db *DB) TermBlocks(ctx context.Context, s Scope, term []byte, from LogBlock, backward bool, limit int) ([]LogTerm, error) {
	order := `AND (shard, block) >= ($3, $4) ORDER BY shard, block`
	if backward {
		order = `AND (shard, block) <= ($3, $4) ORDER BY shard DESC, block DESC`
	}
	return collect(ctx, db.data, s.tenant, `
		SELECT shard, block, bits FROM log_terms
		WHERE tenant = $1 AND term = $2 `+order+`
		LIMIT $5`,
		[]any{s.tenant, term, from.Shard, from.Block, limit}, func(r row, t *LogTerm) error {
			t.Term = term
			return scanTerm(r, &t.Shard, &t.Block, &t.Bits)
		})
}

// NextTerm returns the least term above one that begins with a prefix; nil: none does.
func (db *DB) NextTerm(ctx context.Context, s Scope, prefix, after []byte) (term []byte, err error) {
	end := append([]byte(nil), prefix...)
	end[len(end)-1]++ // a prefix ends with no 0xff
	err = db.data.each(ctx, s.tenant, `
		SELECT term FROM log_terms WHERE tenant = $1 AND term > $2 AND term >= $3 AND term < $4 ORDER BY term LIMIT 1`,
		[]any{s.tenant, after, prefix, end}, func(r row) error { return r.scan(&term) })
	return term, err
}

// BlockTerms lists the terms of so many blocks of a log, from one on, ascending by block
// and term.
func (db *DB) BlockTerms(ctx context.Context, s Scope, from LogBlock, blocks int) ([]LogTerm, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT term, block, bits FROM log_terms WHERE tenant = $1 AND shard = $2 AND block >= $3 AND block < $4
		ORDER BY block, term`,
		[]any{s.tenant, from.Shard, from.Block, from.Block + uint64(blocks)}, func(r row, t *LogTerm) error {
			t.Shard = from.Shard
			return scanTerm(r, &t.Term, &t.Block, &t.Bits)
		})
}

// scanTerm reads a row whose last column are bits, of which the highest makes the
// number negative in the database.
func scanTerm(r row, dest ...any) error {
	var bits int64
	last := len(dest) - 1
	to := dest[last].(*uint64)
	dest[last] = &bits
	err := r.scan(dest...)
	*to = uint64(bits)
	return err
}

// LogPlace names an entry of a log.
type LogPlace struct {
	Shard int
	Index uint64
}

// Block returns the block that the entry is in.
func (p LogPlace) Block() LogBlock { return LogBlock{Shard: p.Shard, Block: p.Index / BlockSize} }

// ObjectPlaces lists the places of an object's steps in the logs, oldest first.
func (db *DB) ObjectPlaces(ctx context.Context, s Scope, object ID) ([]LogPlace, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT shard, idx FROM log_entries WHERE tenant = $1 AND object = $2 AND seq >= 1 ORDER BY seq`,
		[]any{s.tenant, object}, func(r row, p *LogPlace) error { return r.scan(&p.Shard, &p.Index) })
}
