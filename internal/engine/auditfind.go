package engine

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/blindindex"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Entries of the log are found by terms, of which the database has one row for each
// block of 64 entries. What is asked for is a conjunction of criteria, each a
// disjunction of terms; their blocks are walked through side by side, in the order of
// the log, so that a search touches blocks that have all of it and no others.

// criterion is one thing that is asked of entries: at least one of its sources has it.
type criterion struct {
	sources []blockSource
	holds   func(e *store.LogEntry, leaf *ledger.Leaf) bool // asked of what was found
}

// blockSource lists blocks in the direction of a walk.
type blockSource interface {
	// at returns the first block from one on, and which of its entries are meant; false
	// after the last. Of a block without such entries it is only known that none comes
	// before it: so a call reads a bounded part of the database.
	at(ctx context.Context, from store.LogBlock) (store.LogBlock, uint64, bool, error)
}

// direction is the order of a walk: 1 oldest first, -1 newest first.
type direction int

func (d direction) compare(a, b store.LogBlock) int {
	return int(d) * cmp.Or(cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Block, b.Block))
}

// after is the block that follows one; whether there is such a block is for the
// sources to say.
func (d direction) after(b store.LogBlock) store.LogBlock {
	switch {
	case d > 0:
		b.Block++
	case b.Block > 0:
		b.Block--
	default:
		b.Shard, b.Block = b.Shard-1, math.MaxInt32
	}
	return b
}

// afterRun is the first block, in the direction, of another run than a block's.
func (d direction) afterRun(b store.LogBlock) store.LogBlock {
	b.Block -= b.Block % sequencer.RunBlocks
	if d > 0 {
		b.Block += sequencer.RunBlocks
		return b
	}
	return d.after(b)
}

// finder makes criteria for a search through a stretch of a tenant's logs.
type finder struct {
	engine *Engine
	scope  store.Scope
	shards []store.Shard
	span   span
	dir    direction
}

// inLog returns a block, or the next one in the direction that there is; false: none is,
// up to the end of the stretch.
func (f *finder) inLog(b store.LogBlock) (store.LogBlock, bool) {
	for !f.span.endsBefore(b, f.dir) {
		i := slices.IndexFunc(f.shards, func(sh store.Shard) bool { return sh.Number == b.Shard })
		if i < 0 {
			return b, false
		}
		last := (f.shards[i].Size + store.BlockSize - 1) / store.BlockSize // behind the last block
		if f.dir < 0 && last > 0 {
			b.Block = min(b.Block, last-1)
		}
		if b.Block < last {
			return b, true
		}
		b = store.LogBlock{Shard: b.Shard + int(f.dir)}
		if f.dir < 0 {
			b.Block = math.MaxInt32
		}
	}
	return b, false
}

// termBatch is how many blocks with a term are read at once.
const termBatch = 128

// termSource are the blocks with a term.
type termSource struct {
	finder
	term []byte

	read  []store.LogTerm // that come next
	next  store.LogBlock  // where what was not read begins, once something was
	begun bool
	ended bool // nothing comes after what was read
}

func (s *termSource) at(ctx context.Context, from store.LogBlock) (store.LogBlock, uint64, bool, error) {
	if t, ok := s.readFrom(from); ok || s.ended {
		return t.At(), t.Bits, ok, nil
	}
	if s.begun && s.dir.compare(s.next, from) > 0 {
		from = s.next
	}
	if err := s.readOn(ctx, from); err != nil {
		return store.LogBlock{}, 0, false, err
	}
	if t, ok := s.readFrom(from); ok || s.ended {
		return t.At(), t.Bits, ok, nil
	}
	return s.next, 0, true, nil
}

// readFrom returns the first block from one on of those that were read.
func (s *termSource) readFrom(from store.LogBlock) (t store.LogTerm, ok bool) {
	for len(s.read) > 0 {
		if t = s.read[0]; s.dir.compare(t.At(), from) >= 0 {
			return t, true
		}
		s.read = s.read[1:]
	}
	return store.LogTerm{}, false
}

// readOn reads what comes next, from a block on: of a term that stands anew in each run
// of blocks, no more than is in one of them.
func (s *termSource) readOn(ctx context.Context, from store.LogBlock) (err error) {
	from, ok := s.inLog(from)
	if !ok {
		s.ended = true
		return nil
	}
	s.read, err = s.engine.store.TermBlocks(ctx, s.scope, sequencer.Stored(s.term, from), from, s.dir < 0, termBatch)
	switch n := len(s.read); {
	case err != nil:
		return err
	case n == termBatch:
		s.next = s.dir.after(s.read[n-1].At())
	case sequencer.ByRun(s.term):
		s.next = s.dir.afterRun(from)
	default:
		s.ended = true
	}
	s.begun = true
	return nil
}

// placeSource are the blocks with given places, in the direction of the walk.
type placeSource struct {
	places []store.LogPlace
	dir    direction
}

func (s *placeSource) at(_ context.Context, from store.LogBlock) (found store.LogBlock, mask uint64, ok bool, err error) {
	for len(s.places) > 0 && s.dir.compare(s.places[0].Block(), from) < 0 {
		s.places = s.places[1:]
	}
	if len(s.places) == 0 {
		return found, 0, false, nil
	}
	found = s.places[0].Block()
	for _, p := range s.places {
		if p.Block() != found {
			break
		}
		mask |= 1 << (p.Index % store.BlockSize)
	}
	return found, mask, true, nil
}

// span is a stretch of the tenant's logs, from one place up to another, that one not
// included.
type span struct{ from, to store.LogPlace }

// endsBefore reports whether nothing of a block, or of what comes after it in a direction,
// is in the span.
func (s span) endsBefore(b store.LogBlock, d direction) bool {
	if d > 0 {
		return placeOrder(store.LogPlace{Shard: b.Shard, Index: b.Block * store.BlockSize}, s.to) >= 0
	}
	return d.compare(b, s.from.Block()) > 0
}

func placeOrder(a, b store.LogPlace) int {
	return cmp.Or(cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Index, b.Index))
}

// spanSource are all blocks of the finder's span.
type spanSource struct{ finder }

func (s *spanSource) at(_ context.Context, from store.LogBlock) (store.LogBlock, uint64, bool, error) {
	from, ok := s.inLog(from)
	if !ok {
		return from, 0, false, nil
	}
	mask := s.mask(from)
	return from, mask, mask != 0, nil
}

// mask returns which entries of a block are in the span.
func (s *spanSource) mask(b store.LogBlock) (mask uint64) {
	for i := range uint64(store.BlockSize) {
		p := store.LogPlace{Shard: b.Shard, Index: b.Block*store.BlockSize + i}
		if placeOrder(p, s.span.from) >= 0 && placeOrder(p, s.span.to) < 0 {
			mask |= 1 << i
		}
	}
	return mask
}

// walk goes through the blocks that have what all criteria ask for.
type walk struct {
	criteria []criterion
	dir      direction
	next     store.LogBlock
	steps    int // how many blocks may still be looked at
}

// block returns the next block and which of its entries are meant; false at the end,
// or when no more blocks may be looked at: then steps is 0, and next where to go on.
func (w *walk) block(ctx context.Context) (store.LogBlock, uint64, bool, error) {
	for ; w.steps > 0; w.steps-- {
		target, mask := w.next, ^uint64(0)
		for i := range w.criteria {
			found, bits, ok, err := w.criteria[i].at(ctx, target, w.dir)
			if err != nil || !ok {
				return target, 0, false, err
			}
			if found != target {
				w.next, mask = found, 0
				break
			}
			mask &= bits
		}
		if w.next != target {
			continue
		}
		w.next = w.dir.after(target)
		if mask != 0 {
			w.steps--
			return target, mask, true, nil
		}
	}
	return w.next, 0, false, nil
}

// at is that of blockSource, of all sources together.
func (c *criterion) at(ctx context.Context, from store.LogBlock, dir direction) (found store.LogBlock, mask uint64, ok bool, err error) {
	for _, s := range c.sources {
		block, bits, some, err := s.at(ctx, from)
		if err != nil {
			return block, 0, false, err
		}
		switch order := dir.compare(block, found); {
		case !some:
		case !ok || order < 0:
			found, mask, ok = block, bits, true
		case order == 0:
			mask |= bits
		}
	}
	return found, mask, ok, nil
}

// auditQuestion is a filter, read.
type auditQuestion struct {
	api.AuditFilter
	from, to time.Time // zero: no bound
}

func readAuditFilter(f api.AuditFilter) (q auditQuestion, err error) {
	q.AuditFilter = f
	for _, bound := range []struct {
		name, text string
		to         *time.Time
	}{{"from", f.From, &q.from}, {"to", f.To, &q.to}} {
		if bound.text == "" {
			continue
		}
		if *bound.to, err = time.Parse(time.RFC3339Nano, bound.text); err != nil {
			return q, fault.New(fault.Invalid, "%s: %q is no time", bound.name, bound.text).WithHint("write it as 2026-11-21T12:30:00Z")
		}
	}
	if !q.to.IsZero() && q.to.Before(q.from) {
		return q, fault.New(fault.Invalid, "there is no time from %s to %s: the end comes first", f.From, f.To)
	}
	if _, bad := netip.ParseAddr(f.Address); bad != nil && f.Address != "" {
		return q, notAnAddress(f.Address)
	}
	switch f.Result {
	case "", api.ResultDone, api.ResultDenied, api.ResultFailed:
		return q, nil
	}
	return q, fault.New(fault.Invalid, "result %q is none of done, denied and failed", f.Result)
}

// covers reports whether an entry is of the time that was asked for.
func (q *auditQuestion) covers(at time.Time) bool {
	return !at.Before(q.from) && (q.to.IsZero() || at.Before(q.to))
}

// resultOf returns how what a kind tells of ended.
func resultOf(kind string) string {
	switch {
	case kind == accessDenied:
		return api.ResultDenied
	case kind == signInFailed, kind == accessMissed, kind == "instance.job_failed", kind == "instance.job_errored", kind == "integrity.alarm",
		strings.HasSuffix(kind, "_rejected"), strings.HasSuffix(kind, "_unfinished"):
		return api.ResultFailed
	}
	return api.ResultDone
}

// criteria turns a question into what is walked through, the span apart.
func (f *finder) criteria(ctx context.Context, q *auditQuestion) (all []criterion, err error) {
	if q.Kind != "" || q.Result != "" {
		c, err := f.kind(ctx, q)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	for _, t := range []auditTerm{{principalTerm, q.Principal}, {addressTerm, q.Address}} {
		if t.text == "" {
			continue
		}
		c, err := f.token(ctx, t)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	for _, asked := range []struct {
		text string
		find func(context.Context, string) (criterion, error)
	}{{q.Object, f.object}, {q.About, f.about}} {
		if asked.text == "" {
			continue
		}
		c, err := asked.find(ctx, asked.text)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if q.Process != "" {
		models, err := f.engine.store.Models(ctx, f.scope, q.Process)
		if err != nil {
			return nil, err
		}
		terms := make([][]byte, len(models))
		for i, model := range models {
			terms[i] = sequencer.ModelTerm(ledger.Hash(model).String())
		}
		all = append(all, f.terms(terms...))
	}
	return all, nil
}

// terms asks for one of the terms.
func (f *finder) terms(terms ...[]byte) criterion {
	c := criterion{holds: func(x *store.LogEntry, leaf *ledger.Leaf) bool {
		for has := range sequencer.Terms(leaf, x.Terms) {
			if slices.ContainsFunc(terms, func(want []byte) bool { return bytes.Equal(has, want) }) {
				return true
			}
		}
		return false
	}}
	for _, term := range terms {
		c.sources = append(c.sources, &termSource{finder: *f, term: term})
	}
	return c
}

// kind asks for a kind, or a family of kinds, or for those of a result.
func (f *finder) kind(ctx context.Context, q *auditQuestion) (criterion, error) {
	var terms [][]byte
	if q.Kind != "" && !strings.HasSuffix(q.Kind, ".") {
		terms = append(terms, sequencer.KindTerm(q.Kind))
	} else {
		prefix := sequencer.KindTerm(q.Kind)
		for term := prefix; ; {
			var err error
			if term, err = f.engine.store.NextTerm(ctx, f.scope, prefix, term); err != nil {
				return criterion{}, err
			}
			if term == nil {
				break
			}
			terms = append(terms, term)
		}
	}
	if q.Result != "" {
		terms = slices.DeleteFunc(terms, func(t []byte) bool { return resultOf(string(t[1:])) != q.Result })
	}
	return f.terms(terms...), nil
}

// token asks for a term that is kept as a keyed hash, under whichever key.
func (f *finder) token(ctx context.Context, t auditTerm) (criterion, error) {
	keys, err := f.engine.ring.PurposeKeys(ctx, f.scope.Tenant(), keyring.Index)
	if err != nil {
		return criterion{}, err
	}
	var terms [][]byte
	for _, token := range blindindex.Tokens(keys, t.purpose, t.text) {
		terms = append(terms, sequencer.TokenTerm(shortToken(token)))
	}
	return f.terms(terms...), nil
}

// object asks for an object's steps, and for what tells that it was shown.
func (f *finder) object(ctx context.Context, id string) (criterion, error) {
	shown, err := f.token(ctx, auditTerm{objectTerm, id})
	if err != nil {
		return criterion{}, err
	}
	object, err := store.ParseID(id)
	if err != nil {
		return shown, nil // names nothing that has steps
	}
	places, err := f.engine.store.ObjectPlaces(ctx, f.scope, object)
	if f.dir < 0 {
		slices.Reverse(places)
	}
	return criterion{
		sources: append(shown.sources, &placeSource{places, f.dir}),
		holds: func(x *store.LogEntry, leaf *ledger.Leaf) bool {
			return leaf.Object == id || shown.holds(x, leaf)
		},
	}, err
}

// about asks for what was done to a principal: the steps of its object, whose id follows
// from the name, and what names it.
func (f *finder) about(ctx context.Context, name string) (criterion, error) {
	id, err := f.engine.dossierID(ctx, f.scope, store.Principal, name)
	if err != nil {
		return criterion{}, err
	}
	own, err := f.object(ctx, textID(id))
	if err != nil {
		return criterion{}, err
	}
	named, err := f.token(ctx, auditTerm{aboutTerm, name})
	return criterion{
		sources: append(own.sources, named.sources...),
		holds: func(x *store.LogEntry, leaf *ledger.Leaf) bool {
			return own.holds(x, leaf) || named.holds(x, leaf)
		},
	}, err
}

// clockSlack is by how much the times of entries may not be in the order of the log:
// one that has its place later was made before, or by a clock that was set back.
const clockSlack = 5 * time.Minute

// spanOf returns the stretch of the logs outside of which no entry is of the time that
// was asked for.
func (e *Engine) spanOf(ctx context.Context, scope store.Scope, shards []store.Shard, q *auditQuestion) (s span, err error) {
	if len(shards) == 0 {
		return s, nil
	}
	first, last := shards[0], shards[len(shards)-1]
	s = span{store.LogPlace{Shard: first.Number}, store.LogPlace{Shard: last.Number, Index: last.Size}}
	if !q.from.IsZero() {
		if s.from, err = e.placeAt(ctx, scope, shards, q.from.Add(-clockSlack)); err != nil {
			return s, err
		}
	}
	if !q.to.IsZero() {
		s.to, err = e.placeAt(ctx, scope, shards, q.to.Add(clockSlack))
	}
	return s, err
}

// placeAt returns the first place with an entry of a time or later, by halves.
func (e *Engine) placeAt(ctx context.Context, scope store.Scope, shards []store.Shard, at time.Time) (store.LogPlace, error) {
	for _, sh := range slices.Backward(shards) {
		low, high := uint64(0), sh.Size
		for low < high {
			middle := (low + high) / 2
			when, err := e.timeAt(ctx, scope, sh, middle)
			if err != nil {
				return store.LogPlace{}, err
			}
			if when.Before(at) {
				low = middle + 1
			} else {
				high = middle
			}
		}
		if low > 0 || sh.Number == shards[0].Number {
			return store.LogPlace{Shard: sh.Number, Index: low}, nil
		}
	}
	return store.LogPlace{}, nil
}

func (e *Engine) timeAt(ctx context.Context, scope store.Scope, sh store.Shard, index uint64) (time.Time, error) {
	found, err := e.entriesOf(ctx, scope, sh, index, 1)
	if err != nil {
		return time.Time{}, err
	}
	leaf, err := ledger.ParseLeaf(found[0].Body)
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(ledger.TimeLayout, leaf.At)
}

// entriesOf returns n entries of a log, which must be there with their leaves.
func (e *Engine) entriesOf(ctx context.Context, scope store.Scope, sh store.Shard, from uint64, n int) ([]store.LogEntry, error) {
	found, err := e.store.LogEntries(ctx, scope, sh.Number, from, n)
	if err != nil {
		return nil, err
	}
	for i := range n {
		if i == len(found) || found[i].Index != from+uint64(i) {
			return nil, fault.New(fault.Integrity, "the log lacks the entry %s", entryName(shardName(sh.Origin), from+uint64(i))).
				WithCode("tampered").WithHint("the database was changed behind our back; underseal fsck names what is missing")
		}
		if err := checkPlaced(shardName(sh.Origin), found[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// ordered returns the numbers of the bits of a mask in a direction.
func (d direction) ordered(mask uint64) []uint64 {
	var all []uint64
	for ; mask != 0; mask &= mask - 1 {
		all = append(all, uint64(bits.TrailingZeros64(mask)))
	}
	if d < 0 {
		slices.Reverse(all)
	}
	return all
}
