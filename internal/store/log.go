package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// Shard is one log of a tenant: that of a year, or since a restore. Size is how
// many leaves have a place in it.
type Shard struct {
	Number int // 1, 2, .. within the tenant
	Origin string
	Open   bool // at most one is: the newest
	Size   uint64
}

// Shards lists a tenant's logs, oldest first.
func (db *DB) Shards(ctx context.Context, s Scope) ([]Shard, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT number, origin, open, size FROM log_shards WHERE tenant = $1 ORDER BY number`,
		[]any{s.tenant}, func(r row, sh *Shard) error { return r.scan(&sh.Number, &sh.Origin, &sh.Open, &sh.Size) })
}

// Leaf returns the leaf of an object's step; seq 0 is that of an entry. NotFound
// when there is none.
func (db *DB) Leaf(ctx context.Context, s Scope, object ID, seq uint64) (Leaf, error) {
	found, err := collect(ctx, db.data, s.tenant, `
		SELECT hash, body, mac, terms FROM leaves WHERE tenant = $1 AND object = $2 AND seq = $3`,
		[]any{s.tenant, object, seq}, func(r row, l *Leaf) error { return r.scan(&l.Hash, &l.Body, &l.MAC, &l.Terms) })
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "%s has no leaf of step %d", object, seq)
	}
	if err != nil {
		return Leaf{}, err
	}
	return found[0], nil
}

// LogEntry is a leaf at its place in a log.
type LogEntry struct {
	Index  uint64
	Object ID
	Seq    uint64
	Hash   [32]byte
	Body   []byte   // of the leaf; empty when its row is missing
	MAC    [32]byte // of the leaf
	Terms  []byte   // of the leaf
}

// Leaf returns the entry's leaf.
func (e *LogEntry) Leaf() Leaf { return Leaf{Body: e.Body, Hash: e.Hash, MAC: e.MAC, Terms: e.Terms} }

// LogIndex returns the place of a leaf. NotFound (code "not_sequenced") when it
// has none (yet).
func (db *DB) LogIndex(ctx context.Context, s Scope, object ID, seq uint64) (shard int, index uint64, err error) {
	err = db.data.each(ctx, s.tenant, `
		SELECT shard, idx FROM log_entries WHERE tenant = $1 AND object = $2 AND seq = $3`,
		[]any{s.tenant, object, seq}, func(r row) error { return r.scan(&shard, &index) })
	if err == nil && shard == 0 {
		err = fault.New(fault.NotFound, "the leaf of %s, step %d, has no place in a log yet", object, seq).
			WithCode("not_sequenced").WithHint("it gets one within seconds; try again")
	}
	return shard, index, err
}

// LogEntries returns up to n entries of a log, from an index on, with their leaves.
func (db *DB) LogEntries(ctx context.Context, s Scope, shard int, from uint64, n int) ([]LogEntry, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT e.idx, e.object, e.seq, e.hash, l.body, l.mac, l.terms
		FROM log_entries e
		LEFT JOIN leaves l ON l.tenant = e.tenant AND l.object = e.object AND l.seq = e.seq
		WHERE e.tenant = $1 AND e.shard = $2 AND e.idx >= $3
		ORDER BY e.idx
		LIMIT $4`,
		[]any{s.tenant, shard, from, n}, func(r row, e *LogEntry) error {
			return r.scan(&e.Index, &e.Object, &e.Seq, &e.Hash, &e.Body, (*optionalHash)(&e.MAC), &e.Terms)
		})
}

// Tile returns the hashes that are stored of a tile, 32 bytes each, at most 256.
// NotFound when there is none.
func (db *DB) Tile(ctx context.Context, s Scope, shard, level int, index uint64) ([]byte, error) {
	var hashes []byte
	err := db.data.each(ctx, s.tenant, `
		SELECT hashes FROM log_tiles WHERE tenant = $1 AND shard = $2 AND level = $3 AND idx = $4`,
		[]any{s.tenant, shard, level, index}, func(r row) error { return r.scan(&hashes) })
	if err == nil && hashes == nil {
		err = fault.New(fault.NotFound, "log %d has no tile %d of level %d", shard, index, level)
	}
	return hashes, err
}

// Unsequenced is a leaf that has no place in a log.
type Unsequenced struct {
	Object ID
	Seq    uint64
	Leaf   Leaf
	Pos    uint64 // where the cursor stands once it has one: rowid in SQLite, transaction in Postgres
}

// withoutEntry asks for each leaf by itself, so that no plan joins whole tables.
const withoutEntry = `(
	SELECT e.idx FROM log_entries e WHERE e.tenant = l.tenant AND e.object = l.object AND e.seq = l.seq) IS NULL`

// cursorNow is the cursor of the newest log.
const cursorNow = `coalesce((SELECT s.cursor FROM log_shards s WHERE s.tenant = $1 ORDER BY s.number DESC LIMIT 1), 0)`

const (
	// The sign before tenant keeps SQLite from walking through all of the tenant's
	// leaves by their index.
	unsequencedSQLite = `
		FROM leaves l
		WHERE +l.tenant = $1 AND l.pos >= ` + cursorNow + ` AND ` + withoutEntry + `
		ORDER BY l.pos
		LIMIT $2`
	// Of transactions below xmin all are over: none of them can still commit a leaf
	// that would have come before one that is returned.
	unsequencedPostgres = `
		FROM leaves l
		WHERE l.tenant = $1 AND l.xid >= ` + cursorNow + `::text::xid8
			AND l.xid < pg_snapshot_xmin(pg_current_snapshot()) AND ` + withoutEntry + `
		ORDER BY l.xid, l.object, l.seq
		LIMIT $2`
)

// Unsequenced returns up to limit leaves without a place, in the order in which
// they were committed. On Postgres a leaf is held back while a transaction runs
// that began before its own.
func (db *DB) Unsequenced(ctx context.Context, s Scope, limit int) ([]Unsequenced, error) {
	return db.unsequenced(ctx, s, limit, unsequencedSQLite, unsequencedPostgres)
}

// LostLeaves does the same for all leaves, wherever the cursor stands and whatever
// transactions run. It is for a database with a lost order, before anything is
// written to it.
func (db *DB) LostLeaves(ctx context.Context, s Scope, limit int) ([]Unsequenced, error) {
	return db.unsequenced(ctx, s, limit,
		`FROM leaves l WHERE +l.tenant = $1 AND `+withoutEntry+` ORDER BY l.pos LIMIT $2`,
		`FROM leaves l WHERE l.tenant = $1 AND `+withoutEntry+` ORDER BY l.xid, l.object, l.seq LIMIT $2`)
}

func (db *DB) unsequenced(ctx context.Context, s Scope, limit int, sqlite, postgres string) ([]Unsequenced, error) {
	return collect(ctx, db.data, s.tenant,
		db.dialect(`SELECT l.pos, l.object, l.seq, l.hash, l.body, l.mac, l.terms `+sqlite, `SELECT l.xid::text::bigint, l.object, l.seq, l.hash, l.body, l.mac, l.terms `+postgres),
		[]any{s.tenant, limit}, func(r row, u *Unsequenced) error {
			return r.scan(&u.Pos, &u.Object, &u.Seq, &u.Leaf.Hash, &u.Leaf.Body, &u.Leaf.MAC, &u.Leaf.Terms)
		})
}

// CountUnsequenced returns how many leaves have no place, those that are held back
// among them, up to a limit.
func (db *DB) CountUnsequenced(ctx context.Context, s Scope, limit int) (n int, err error) {
	err = db.data.each(ctx, s.tenant,
		`SELECT count(*) FROM (SELECT 1 FROM leaves l WHERE `+
			db.dialect(`+l.tenant = $1 AND l.pos >= `+cursorNow, `l.tenant = $1 AND l.xid >= `+cursorNow+`::text::xid8`)+
			` AND `+withoutEntry+` LIMIT $2) few`,
		[]any{s.tenant, limit}, func(r row) error { return r.scan(&n) })
	return n, err
}

// LostOrder reports whether the order of the leaves is another than that in which
// the cursor was set: the rows were taken to another Postgres, whose transactions
// have other numbers, or the newest were deleted. Then there may be leaves without a
// place on this side of the cursor. It is asked before anything is written; cursor is
// where it belongs once all leaves have a place.
func (db *DB) LostOrder(ctx context.Context, s Scope) (lost bool, cursor uint64, err error) {
	err = db.data.each(ctx, s.tenant, db.dialect(`
		SELECT `+cursorNow+` > coalesce(max(l.pos), 0), coalesce(max(l.pos), 0) FROM leaves l`, `
		SELECT `+cursorNow+`::text::xid8 >= pg_snapshot_xmax(pg_current_snapshot())
				OR EXISTS (SELECT FROM leaves l WHERE l.tenant = $1 AND l.xid >= pg_snapshot_xmax(pg_current_snapshot())),
			pg_snapshot_xmin(pg_current_snapshot())::text::bigint`),
		[]any{s.tenant}, func(r row) error { return r.scan(&lost, &cursor) })
	return lost, cursor, err
}

// CopiesKeepOrder reports whether a copy of the database, made at whatever moment, has
// all leaves that come before any which it has: then they get the places that they got,
// or would have got, in the original. With one writer that is so. In Postgres a
// transaction that began first may end after the copy was made.
func (db *DB) CopiesKeepOrder() bool {
	_, postgres := db.data.(*postgresDB)
	return !postgres
}

// dialect returns the text for the database of the data.
func (db *DB) dialect(sqlite, postgres string) string {
	if _, ok := db.data.(*postgresDB); ok {
		return postgres
	}
	return sqlite
}

// Tile is the stored part of one tile of a tree: its hashes, 32 bytes each.
type Tile struct {
	Level  int
	Index  uint64
	Hashes []byte
}

// Growth is what is added to a log at once.
type Growth struct {
	Shard   int
	From    uint64     // size before
	Entries []LogEntry // from index From on; their leaves are not used
	Terms   []LogTerm  // what the entries are found by; Shard is not used
	Tiles   []Tile     // those that are new or have grown
	Cursor  uint64     // Pos of the last leaf
}

// Grow appends entries to a log, with the tiles and the size that follow from
// them, in one unit. Conflict (code "stale") when the log has another size than
// the growth began with.
func (db *DB) Grow(ctx context.Context, s Scope, g Growth) error {
	unit := []statement{{
		text: `
			UPDATE log_shards SET size = $4, cursor = $5
			WHERE tenant = $1 AND number = $2 AND size = $3`,
		args: []any{s.tenant, g.Shard, g.From, g.From + uint64(len(g.Entries)), g.Cursor},
		one:  true,
		refused: fault.New(fault.Conflict, "log %d was grown meanwhile: it is no longer at size %d", g.Shard, g.From).
			WithCode("stale"),
	}}
	unit = insertEntries(unit, s, g.Shard, g.Entries)
	unit = insertTerms(unit, s, g.Shard, g.Terms)
	for _, t := range g.Tiles {
		unit = append(unit, statement{
			text: `
				INSERT INTO log_tiles (tenant, shard, level, idx, hashes) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (tenant, shard, level, idx) DO UPDATE SET hashes = excluded.hashes`,
			args: []any{s.tenant, g.Shard, t.Level, t.Index, t.Hashes},
		})
	}
	return db.data.apply(ctx, s.tenant, unit)
}

// maxEntryRows is how many entries one statement inserts.
const maxEntryRows = 32

// insertEntriesText holds, at n, the statement that inserts n entries.
var insertEntriesText = func() (texts [maxEntryRows + 1]string) {
	for n := 1; n <= maxEntryRows; n++ {
		rows := make([]string, n)
		for i := range rows {
			rows[i] = fmt.Sprintf("($1, $2, $%d, $%d, $%d, $%d)", 4*i+3, 4*i+4, 4*i+5, 4*i+6)
		}
		texts[n] = `INSERT INTO log_entries (tenant, shard, idx, object, seq, hash) VALUES ` + strings.Join(rows, ", ")
	}
	return texts
}()

func insertEntries(unit []statement, s Scope, shard int, entries []LogEntry) []statement {
	for len(entries) > 0 {
		n := min(len(entries), maxEntryRows)
		args := make([]any, 0, 2+4*n)
		args = append(args, s.tenant, shard)
		for i := range entries[:n] {
			e := &entries[i]
			args = append(args, e.Index, e.Object, e.Seq, e.Hash)
		}
		unit = append(unit, statement{text: insertEntriesText[n], args: args})
		entries = entries[n:]
	}
	return unit
}

// LogHead is the newest signed checkpoint of a log, as it is kept beside the keys.
type LogHead struct {
	Origin string
	Size   uint64
	Root   [32]byte
	Note   []byte // the signed note
}

// LogHeads lists the heads of a tenant's logs, by origin.
func (db *DB) LogHeads(ctx context.Context, s Scope) ([]LogHead, error) {
	return collect(ctx, db.keys, "", `SELECT origin, size, root, note FROM log_heads WHERE tenant = $1 ORDER BY origin`,
		[]any{s.tenant}, func(r row, h *LogHead) error { return r.scan(&h.Origin, &h.Size, &h.Root, &h.Note) })
}

// PutLogHead replaces a log's head, whose size and root must be those of former;
// nil: it must not have one yet. Conflict (code "stale") otherwise.
func (db *DB) PutLogHead(ctx context.Context, s Scope, former *LogHead, h LogHead) error {
	return db.keys.update(ctx, func(t tx) error {
		n, err := putLogHead(t, s, former, h)
		if err == nil && n == 0 {
			err = fault.New(fault.Conflict, "the checkpoint beside the keys of log %s was replaced meanwhile", h.Origin).WithCode("stale")
		}
		return err
	})
}

func putLogHead(t tx, s Scope, former *LogHead, h LogHead) (int64, error) {
	if former == nil {
		return t.exec(`
			INSERT INTO log_heads (tenant, origin, size, root, note) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (tenant, origin) DO NOTHING`, s.tenant, h.Origin, h.Size, h.Root, h.Note)
	}
	return t.exec(`
		UPDATE log_heads SET size = $5, root = $6, note = $7
		WHERE tenant = $1 AND origin = $2 AND size = $3 AND root = $4`,
		s.tenant, h.Origin, former.Size, former.Root, h.Size, h.Root, h.Note)
}

// Publish makes a signed checkpoint the newest of its log. One of the same size
// stays as it is, and counts as published at that time. It takes the place of the one
// of another size (0: of none), which goes unless it was anchored.
func (db *DB) Publish(ctx context.Context, s Scope, shard int, size uint64, signed []byte, at time.Time, former uint64) error {
	unit := []statement{{
		text: `
			INSERT INTO log_checkpoints (tenant, shard, size, published, signed) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (tenant, shard, size) DO UPDATE SET published = excluded.published`,
		args: []any{s.tenant, shard, size, at, signed},
	}}
	if former != 0 && former != size {
		unit = append(unit, statement{
			text: `
				DELETE FROM log_checkpoints
				WHERE tenant = $1 AND shard = $2 AND size = $3 AND NOT EXISTS (
					SELECT 1 FROM anchor_openings o WHERE o.tenant = $1 AND o.shard = $2 AND o.size = $3)`,
			args: []any{s.tenant, shard, former},
		})
	}
	return db.data.apply(ctx, s.tenant, unit)
}

// Checkpoint returns the newest published checkpoint of a log as a signed note.
// NotFound when there is none.
func (db *DB) Checkpoint(ctx context.Context, s Scope, shard int) (size uint64, signed []byte, err error) {
	err = db.data.each(ctx, s.tenant, `
		SELECT size, signed FROM log_checkpoints WHERE tenant = $1 AND shard = $2 ORDER BY size DESC LIMIT 1`,
		[]any{s.tenant, shard}, func(r row) error { return r.scan(&size, &signed) })
	if err == nil && signed == nil {
		err = fault.New(fault.NotFound, "log %d has no checkpoint yet", shard).
			WithCode("not_sequenced").WithHint("it gets one within seconds; try again")
	}
	return size, signed, err
}

// PublishedAt returns when the newest checkpoint of a log was published; zero: there
// is none.
func (db *DB) PublishedAt(ctx context.Context, s Scope, shard int) (at time.Time, err error) {
	err = db.data.each(ctx, s.tenant, `
		SELECT published FROM log_checkpoints WHERE tenant = $1 AND shard = $2 ORDER BY size DESC LIMIT 1`,
		[]any{s.tenant, shard}, func(r row) error { return r.scan(&at) })
	return at, err
}

// insertShard opens a log. Its number and origin must be new, and no other open.
func insertShard(s Scope, sh Shard) statement {
	return statement{
		text: `
			INSERT INTO log_shards (tenant, number, origin, open, size, cursor)
			VALUES ($1, $2, $3, $4, 0, ` + cursorNow + `)`,
		args: []any{s.tenant, sh.Number, sh.Origin, true},
		refused: fault.New(fault.Conflict, "log %s cannot be opened: another one is open, or it exists already", sh.Origin).
			WithCode("stale"),
	}
}

// closeShard closes a log that is open.
func closeShard(s Scope, number int) statement {
	return statement{
		text:    `UPDATE log_shards SET open = $3 WHERE tenant = $1 AND number = $2 AND open`,
		args:    []any{s.tenant, number, false},
		one:     true,
		refused: fault.New(fault.Conflict, "log %d cannot be closed: it is not open", number).WithCode("stale"),
	}
}

// OpenShard opens a tenant's next log, with its first leaves, in one unit. Conflict
// (code "stale") when another one is open, or it exists already.
func (db *DB) OpenShard(ctx context.Context, s Scope, sh Shard, first ...*Entry) error {
	return db.changeShard(ctx, s, insertShard(s, sh), first)
}

// CloseShard closes a log, with its last leaves, in one unit. Conflict (code
// "stale") when it is not open.
func (db *DB) CloseShard(ctx context.Context, s Scope, number int, last ...*Entry) error {
	return db.changeShard(ctx, s, closeShard(s, number), last)
}

func (db *DB) changeShard(ctx context.Context, s Scope, change statement, entries []*Entry) error {
	unit, err := entryStatements([]statement{change}, s, entries)
	if err == nil {
		err = checkText(unit)
	}
	if err != nil {
		return err
	}
	return db.data.apply(ctx, s.tenant, unit)
}
