package engine

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Kinds of the entries that tell who read the audit.
const (
	auditRead     = "audit.read"
	auditExported = "audit.exported"
)

// auditBlocks bounds how many blocks of the log one page looks at.
const auditBlocks = 4096

// Audit searches the log: what was done, by whom, from where, on what. Each entry is
// checked before it is told, and the log is told that somebody read it.
func (e *Engine) Audit(ctx context.Context, c Caller, q api.AuditQuery) (api.AuditEntries, error) {
	return readNow(ctx, e, c, func(c Caller) (api.AuditEntries, error) { return e.auditAs(ctx, c, q) })
}

func (e *Engine) auditAs(ctx context.Context, c Caller, q api.AuditQuery) (api.AuditEntries, error) {
	if err := e.may(ctx, c, access.ReadAudit, "log", ""); err != nil {
		return api.AuditEntries{}, err
	}
	limit, err := Page{Limit: q.Limit}.limit()
	if err != nil {
		return api.AuditEntries{}, err
	}
	question, err := readAuditFilter(q.AuditFilter)
	if err != nil {
		return api.AuditEntries{}, err
	}
	dir := direction(-1)
	if q.OldestFirst {
		dir = 1
	}
	s, err := e.newAuditSearch(ctx, c.Scope, &question, dir, q.After)
	if err != nil {
		return api.AuditEntries{}, err
	}
	items, err := s.take(ctx, limit)
	if err != nil {
		return api.AuditEntries{}, err
	}
	told := act{kind: auditRead, act: "user", actor: c, fields: append(question.fields(), fieldWrite{path: "$count", value: canon.NewNumber(int64(len(items)))})}
	if err := e.recordOf(ctx, c.Scope, &c, told); err != nil {
		return api.AuditEntries{}, err
	}
	return api.AuditEntries{Items: items, Next: s.cursor()}, nil
}

// fields says what was asked for.
func (q *auditQuestion) fields() []fieldWrite {
	var asked []canon.Entry
	for _, f := range []struct{ name, value string }{
		{"about", q.About}, {"address", q.Address}, {"from", q.From}, {"kind", q.Kind}, {"object", q.Object}, {"principal", q.Principal}, {"process", q.Process}, {"result", q.Result}, {"to", q.To},
	} {
		if f.value != "" {
			asked = append(asked, canon.Entry{Name: f.name, Value: canon.String(f.value)})
		}
	}
	return []fieldWrite{{path: "$query", value: newContext(asked...)}}
}

// auditSearch goes through what a question asks for.
type auditSearch struct {
	reader   *auditReader
	question *auditQuestion
	shards   []store.Shard
	rest     span // what was not looked at yet
	walk     walk
	dir      direction
	done     bool
}

// newAuditSearch begins a search, or goes on with one where a page ended.
func (e *Engine) newAuditSearch(ctx context.Context, scope store.Scope, q *auditQuestion, dir direction, after string) (*auditSearch, error) {
	s := &auditSearch{question: q, dir: dir}
	var err error
	if s.reader, err = e.newAuditReader(ctx, scope); err != nil {
		return nil, err
	}
	s.shards = s.reader.shards
	if s.rest, err = e.spanOf(ctx, scope, s.shards, q); err != nil {
		return nil, err
	}
	if after != "" {
		if err := s.goOn(after); err != nil {
			return nil, err
		}
	}
	f := finder{e, scope, s.shards, s.rest, dir}
	criteria, err := f.criteria(ctx, q)
	if err != nil {
		return nil, err
	}
	s.walk = walk{dir: dir, steps: auditBlocks, next: s.begin()}
	s.walk.criteria = append([]criterion{{sources: []blockSource{&spanSource{f}}}}, criteria...) // the span first: where it ends, nothing else is asked for
	s.done = placeOrder(s.rest.from, s.rest.to) >= 0
	return s, nil
}

// begin returns the block where the walk through the rest begins.
func (s *auditSearch) begin() store.LogBlock {
	if s.dir > 0 {
		return s.rest.from.Block()
	}
	last := s.rest.to
	if last.Index > 0 {
		last.Index--
		return last.Block()
	}
	return s.dir.after(store.LogBlock{Shard: last.Shard})
}

// cursor says where the next page begins and where the last one ends; "": there is
// none. What is written after the first page is on no page.
func (s *auditSearch) cursor() string {
	if s.done {
		return ""
	}
	return fmt.Sprintf("%d.%d-%d.%d", s.rest.from.Shard, s.rest.from.Index, s.rest.to.Shard, s.rest.to.Index)
}

// goOn narrows the rest to what a cursor says.
func (s *auditSearch) goOn(cursor string) error {
	var c span
	n, err := fmt.Sscanf(cursor, "%d.%d-%d.%d", &c.from.Shard, &c.from.Index, &c.to.Shard, &c.to.Index)
	was := auditSearch{rest: c}
	if err != nil || n != 4 || was.cursor() != cursor {
		return badCursor(cursor)
	}
	if placeOrder(c.from, s.rest.from) > 0 {
		s.rest.from = c.from
	}
	if placeOrder(c.to, s.rest.to) < 0 {
		s.rest.to = c.to
	}
	return nil
}

// take returns the next entries, up to a number.
func (s *auditSearch) take(ctx context.Context, limit int) ([]api.AuditEntry, error) {
	items := []api.AuditEntry{}
	for entry, err := range s.each(ctx) {
		if err != nil {
			return nil, err
		}
		if len(items) == limit {
			s.pass(entry.place)
			break
		}
		items = append(items, entry.AuditEntry)
	}
	return items, nil
}

// placedEntry is an entry and where it stands.
type placedEntry struct {
	api.AuditEntry
	place store.LogPlace
}

// each gives what is left, up to the first error or until as many blocks as may be were
// looked at. Who breaks off cannot go on here: the walk is past the block.
func (s *auditSearch) each(ctx context.Context) iter.Seq2[placedEntry, error] {
	return func(yield func(placedEntry, error) bool) {
		for !s.done {
			block, mask, ok, err := s.walk.block(ctx)
			if err == nil && !ok {
				s.end(block)
				return
			}
			var entries [store.BlockSize]*store.LogEntry
			if err == nil {
				entries, err = s.reader.read(ctx, block, mask)
			}
			if err != nil {
				yield(placedEntry{}, err)
				return
			}
			for _, bit := range s.dir.ordered(mask) {
				item, ok, err := s.entry(ctx, block.Shard, entries[bit])
				found := placedEntry{item, store.LogPlace{Shard: block.Shard, Index: block.Block*store.BlockSize + bit}}
				if (ok || err != nil) && (!yield(found, err) || err != nil) {
					return
				}
			}
		}
	}
}

// end is called when the walk gives no more blocks: nothing is left, or the page has
// looked at as many as it may.
func (s *auditSearch) end(next store.LogBlock) {
	if s.done = s.walk.steps > 0; s.done {
		return
	}
	place := store.LogPlace{Shard: next.Shard, Index: next.Block * store.BlockSize}
	if s.dir < 0 {
		place.Index += store.BlockSize - 1
	}
	s.pass(place)
}

// pass leaves out of the rest what comes before a place in the direction of the search;
// the place itself stays.
func (s *auditSearch) pass(next store.LogPlace) {
	if s.dir > 0 {
		s.rest.from = next
		return
	}
	next.Index++
	if placeOrder(next, s.rest.to) < 0 {
		s.rest.to = next
	}
}

// entry tells what an entry is; false when it is not what was asked for.
func (s *auditSearch) entry(ctx context.Context, shard int, entry *store.LogEntry) (api.AuditEntry, bool, error) {
	leaf, err := s.reader.leaf(shard, entry)
	if err != nil {
		return api.AuditEntry{}, false, err
	}
	at, err := time.Parse(ledger.TimeLayout, leaf.At)
	if err != nil || !s.question.covers(at) {
		return api.AuditEntry{}, false, err
	}
	for _, c := range s.walk.criteria {
		if c.holds != nil && !c.holds(entry, &leaf) {
			return api.AuditEntry{}, false, nil
		}
	}
	item, err := s.reader.tell(ctx, shard, entry, &leaf)
	return item, err == nil && (s.question.Process == "" || item.Process == s.question.Process), err
}

// ExportAudit reads the audit, oldest first, up to where it ends now. The log is told
// before the first entry is read.
func (e *Engine) ExportAudit(ctx context.Context, c Caller, q api.AuditExportQuery) (iter.Seq2[api.AuditEntry, error], error) {
	return readNow(ctx, e, c, func(c Caller) (iter.Seq2[api.AuditEntry, error], error) { return e.exportAuditAs(ctx, c, q) })
}

func (e *Engine) exportAuditAs(ctx context.Context, c Caller, q api.AuditExportQuery) (iter.Seq2[api.AuditEntry, error], error) {
	may := func(c Caller) error { return e.may(ctx, c, access.ExportAudit, "log", "") }
	if err := may(c); err != nil {
		return nil, err
	}
	question, err := readAuditFilter(q.AuditFilter)
	if err != nil {
		return nil, err
	}
	s, err := e.newAuditSearch(ctx, c.Scope, &question, 1, "")
	if err != nil {
		return nil, err
	}
	told := act{kind: auditExported, act: "user", actor: c, fields: append(question.fields(), fieldWrite{path: "$format", value: canon.String(q.Format)})}
	if err := e.recordOf(ctx, c.Scope, &c, told); err != nil {
		return nil, err
	}
	return whileMay(s.all(ctx), e.still(ctx, c, may)), nil
}

// whileMay gives entries as long as still, which decides again about each, returns nil, and
// once more at the end: who was given them may not have sent all of them yet.
func whileMay(entries iter.Seq2[api.AuditEntry, error], still func() error) iter.Seq2[api.AuditEntry, error] {
	return func(yield func(api.AuditEntry, error) bool) {
		for entry, err := range entries {
			if refused := still(); refused != nil {
				entry, err = api.AuditEntry{}, refused
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
		if refused := still(); refused != nil {
			yield(api.AuditEntry{}, refused)
		}
	}
}

// all gives what is left, up to the first error.
func (s *auditSearch) all(ctx context.Context) iter.Seq2[api.AuditEntry, error] {
	return func(yield func(api.AuditEntry, error) bool) {
		for !s.done {
			s.walk.steps = auditBlocks
			for entry, err := range s.each(ctx) {
				if !yield(entry.AuditEntry, err) || err != nil {
					return
				}
			}
		}
	}
}
