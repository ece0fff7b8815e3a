package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"github.com/underseal/underseal/internal/fault"
)

// Range is the objects of a tenant above After, up to and with Upto. Whoever goes
// through a whole database does so in ranges, of which each fits into memory.
type Range struct{ After, Upto ID }

// Last reports whether nothing comes after the range.
func (r Range) Last() bool { return r.Upto == lastID }

var lastID = ID(bytes.Repeat([]byte{0xff}, 16))

// bounds are the range as one of columns of any length: from the first on, below the
// second. What is shorter or longer than an id is in some range too.
func (r Range) bounds() (from, below []byte) {
	if r.After != (ID{}) {
		from = append(r.After[:], 0)
	}
	if r.Last() {
		return from, bytes.Repeat([]byte{0xff}, 64)
	}
	return from, append(r.Upto[:], 0)
}

// upto returns the range that ends with a column, or beside it if it is no id.
func (r Range) upto(object []byte) Range {
	r.Upto = lastID
	copy(r.Upto[:], object)
	if bytes.Compare(r.Upto[:], r.After[:]) > 0 {
		return r
	}
	r.Upto = r.After // with more behind it: go on all the same
	for i := len(r.Upto) - 1; i >= 0; i-- {
		if r.Upto[i]++; r.Upto[i] > 0 {
			break
		}
	}
	return r
}

// codeNoID is the code of a column that should be an id and is none.
const codeNoID = "no_id"

func idOf(object []byte) (id ID, err error) {
	if len(object) != len(id) {
		return id, fault.New(fault.Integrity, "the id of an object has %d bytes, want %d", len(object), len(id)).WithCode(codeNoID)
	}
	return ID(object), nil
}

// readable is collect for rows that others may have written. It leaves those out whose
// ids are none; the Integrity fault beside the others says how many.
func readable[T any](ctx context.Context, b backend, tenant, text string, args []any, read func(row, *T) error) ([]T, error) {
	var all []T
	var first error
	unread := 0
	err := b.each(ctx, tenant, text, args, func(r row) error {
		var v T
		err := read(r, &v)
		switch {
		case err == nil:
			all = append(all, v)
		case fault.CodeOf(err) == codeNoID:
			unread++
			first = cmp.Or(first, err)
		default:
			return err
		}
		return nil
	})
	if err == nil && unread > 0 {
		err = fault.New(fault.Integrity, "%d rows cannot be read; the first: %w", unread, first)
	}
	return all, err
}

// NextRange returns the range that begins after an object and holds about n leaves,
// those of no object among them. The last one has no end.
func (db *DB) NextRange(ctx context.Context, s Scope, after ID, n int) (Range, error) {
	r := Range{After: after, Upto: lastID}
	err := db.data.each(ctx, s.tenant, `
		SELECT object FROM leaves WHERE tenant = $1 AND object > $2
		ORDER BY object, seq
		LIMIT 1 OFFSET $3`,
		[]any{s.tenant, r.After, n}, func(row row) error {
			var object []byte
			err := row.scan(&object)
			r = r.upto(object)
			return err
		})
	return r, err
}

// LeafPlace names a leaf and, in a log, its place.
type LeafPlace struct {
	Object ID
	Seq    uint64
	Shard  int
	Index  uint64
}

// LeavesIn lists the leaves of a range, ascending by object and seq, without places.
// Beside the others, an Integrity fault says that some cannot be read.
func (db *DB) LeavesIn(ctx context.Context, s Scope, r Range) ([]LeafPlace, error) {
	from, below := r.bounds()
	return readable(ctx, db.data, s.tenant, `
		SELECT object, seq FROM leaves WHERE tenant = $1 AND object >= $2 AND object < $3
		ORDER BY object, seq`,
		[]any{s.tenant, from, below}, func(row row, l *LeafPlace) error {
			var object []byte
			err := row.scan(&object, &l.Seq)
			if err == nil {
				l.Object, err = idOf(object)
			}
			return err
		})
}

// EntriesIn lists what the logs hold of a range, ascending by object and seq. Beside the
// others, an Integrity fault says that some cannot be read.
func (db *DB) EntriesIn(ctx context.Context, s Scope, r Range) ([]LeafPlace, error) {
	from, below := r.bounds()
	return readable(ctx, db.data, s.tenant, `
		SELECT object, seq, shard, idx FROM log_entries WHERE tenant = $1 AND object >= $2 AND object < $3
		ORDER BY object, seq, shard, idx`,
		[]any{s.tenant, from, below}, func(row row, l *LeafPlace) error {
			var object []byte
			err := row.scan(&object, &l.Seq, &l.Shard, &l.Index)
			if err == nil {
				l.Object, err = idOf(object)
			}
			return err
		})
}

// Pending reports whether a leaf came after all that have a place in a log. On Postgres
// one of a transaction that has not begun did not: it would never get a place. Only where
// the cursor is of such a one too are the rows of another Postgres, whose order the start
// mends.
func (db *DB) Pending(ctx context.Context, s Scope, object ID, seq uint64) (pending bool, err error) {
	err = db.data.each(ctx, s.tenant, db.dialect(
		`SELECT l.pos > `+cursorNow+` FROM leaves l WHERE l.tenant = $1 AND l.object = $2 AND l.seq = $3`,
		`SELECT l.xid >= c.at AND (l.xid < c.next OR c.at >= c.next)
			FROM leaves l, (SELECT `+cursorNow+`::text::xid8 AS at, pg_snapshot_xmax(pg_current_snapshot()) AS next) c
			WHERE l.tenant = $1 AND l.object = $2 AND l.seq = $3`),
		[]any{s.tenant, object, seq}, func(r row) error { return r.scan(&pending) })
	return pending, err
}

// HeadRow is a head's row without its body.
type HeadRow struct {
	Object ID
	Kind   Kind
	Seq    uint64
}

// HeadsIn lists the heads of a range, ascending. Beside the others, an Integrity fault
// says that some cannot be read.
func (db *DB) HeadsIn(ctx context.Context, s Scope, r Range) ([]HeadRow, error) {
	from, below := r.bounds()
	return readable(ctx, db.data, s.tenant, `
		SELECT object, kind, seq FROM heads WHERE tenant = $1 AND object >= $2 AND object < $3
		ORDER BY object`,
		[]any{s.tenant, from, below}, func(row row, h *HeadRow) error {
			var object []byte
			var kind string
			err := row.scan(&object, &kind, &h.Seq)
			if err == nil {
				h.Object, err = idOf(object)
			}
			h.Kind = Kind(kind)
			return err
		})
}

// Stray is a row that nothing leads to.
type Stray struct {
	Table  string
	Object []byte // as it stands there: an id, or something else
	Seq    int64  // or the number of a task, job, timer or incident
}

// strays are the rows of each table that must belong to something, and what that is.
// t is the table's row.
var strays = []struct{ table, object, seq, belongs string }{
	{"steps", "object", "t.seq", `SELECT 1 FROM leaves l WHERE l.tenant = t.tenant AND l.object = t.object AND l.seq = t.seq`},
	{"fields", "object", "t.seq", `SELECT 1 FROM leaves l WHERE l.tenant = t.tenant AND l.object = t.object AND l.seq = t.seq`},
	{"tokens", "object", "t.seq", `SELECT 1 FROM leaves l WHERE l.tenant = t.tenant AND l.object = t.object AND l.seq = t.seq`},
	{"instances", "object", "0", `SELECT 1 FROM heads h WHERE h.tenant = t.tenant AND h.object = t.object AND h.kind = 'instance'`},
	{"definitions", "object", "0", `SELECT 1 FROM heads h WHERE h.tenant = t.tenant AND h.object = t.object AND h.kind = 'definition'`},
	{"custodies", "object", "0", `SELECT 1 FROM heads h WHERE h.tenant = t.tenant AND h.object = t.object AND h.kind = 'custody'`},
	{"credentials", "object", "0", `SELECT 1 FROM heads h WHERE h.tenant = t.tenant AND h.object = t.object AND h.kind IN ('principal', 'tenant')`},
	{"tasks", "instance", "t.id", `SELECT 1 FROM instances i WHERE i.tenant = t.tenant AND i.object = t.instance`},
	{"task_candidates", "instance", "t.task", `SELECT 1 FROM tasks k WHERE k.tenant = t.tenant AND k.instance = t.instance AND k.id = t.task`},
	{"jobs", "instance", "t.id", `SELECT 1 FROM instances i WHERE i.tenant = t.tenant AND i.object = t.instance`},
	{"timers", "instance", "t.id", `SELECT 1 FROM instances i WHERE i.tenant = t.tenant AND i.object = t.instance`},
	{"incidents", "instance", "t.id", `SELECT 1 FROM instances i WHERE i.tenant = t.tenant AND i.object = t.instance`},
	{"files", "object", "0", `SELECT 1 FROM instances i WHERE i.tenant = t.tenant AND i.object = t.object`},
}

// StraysIn lists up to limit rows of a range, of each table, that belong to nothing.
func (db *DB) StraysIn(ctx context.Context, s Scope, r Range, limit int) ([]Stray, error) {
	var found []Stray
	from, below := r.bounds()
	for _, t := range strays {
		some, err := collect(ctx, db.data, s.tenant, `
			SELECT DISTINCT t.`+t.object+`, `+t.seq+` FROM `+t.table+` t
			WHERE t.tenant = $1 AND t.`+t.object+` >= $2 AND t.`+t.object+` < $3 AND NOT EXISTS (`+t.belongs+`)
			LIMIT $4`,
			[]any{s.tenant, from, below, limit}, func(row row, x *Stray) error {
				x.Table = t.table
				return row.scan(&x.Object, &x.Seq)
			})
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	return found, nil
}

// RequestRow is the token that a request left beside its step.
type RequestRow struct {
	Kind   TokenKind
	Token  [32]byte
	Object ID
	Seq    uint64
	Print  []byte
}

// Requests lists the tokens of requests, ascending, after one. Beside the others, an
// Integrity fault says that some cannot be read.
func (db *DB) Requests(ctx context.Context, s Scope, after RequestRow, limit int) ([]RequestRow, error) {
	return readable(ctx, db.data, s.tenant, `
		SELECT kind, token, object, seq, print FROM unique_tokens
		WHERE tenant = $1 AND (kind, token) > ($2, $3)
		ORDER BY kind, token
		LIMIT $4`,
		[]any{s.tenant, after.Kind, after.Token, limit}, scanAnyRequest)
}

// TextOf returns a column that should be an id as a text: the id's, or its bytes in hex.
func TextOf(column []byte) string {
	if len(column) == len(ID{}) {
		return ID(column).String()
	}
	return fmt.Sprintf("%x", column)
}

// PlacedToken is a token of an object.
type PlacedToken struct {
	Kind  TokenKind
	Token [32]byte
	TokenRow
}

// ObjectTokens lists the tokens of an object that any number of objects may have.
func (db *DB) ObjectTokens(ctx context.Context, s Scope, object ID) ([]PlacedToken, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT kind, token, object, seq, print, data_key FROM tokens WHERE tenant = $1 AND object = $2`,
		[]any{s.tenant, object}, func(r row, t *PlacedToken) error {
			var kind int64
			err := r.scan(&kind, &t.Token, &t.Object, &t.Seq, &t.Print, (*optionalID)(&t.Key))
			t.Kind = TokenKind(kind)
			return err
		})
}

// PersonKeyHolder returns the object that met the person of a key without a name;
// false when there is none.
func (db *DB) PersonKeyHolder(ctx context.Context, s Scope, key ID) (object ID, found bool, err error) {
	err = db.data.each(ctx, s.tenant, `SELECT object FROM person_keys WHERE tenant = $1 AND data_key = $2`,
		[]any{s.tenant, key}, func(r row) error {
			found = true
			return r.scan(&object)
		})
	return object, found, err
}

// LooseRow names a row of a table that stands in no object's order.
type LooseRow struct {
	Table, Where string
}

// LooseRows lists up to limit rows that nothing leads to, of the tables whose order
// is not that of objects: persons' keys and keys of files.
func (db *DB) LooseRows(ctx context.Context, s Scope, limit int) ([]LooseRow, error) {
	var found []LooseRow
	for _, q := range []struct{ table, text string }{
		{"person_keys", `
			SELECT object FROM person_keys t WHERE tenant = $1 AND NOT EXISTS (
				SELECT 1 FROM leaves l WHERE l.tenant = t.tenant AND l.object = t.object AND l.seq = 1)
			LIMIT $2`},
		{"file_keys", `
			SELECT blob FROM file_keys t WHERE tenant = $1 AND NOT EXISTS (
				SELECT 1 FROM files f WHERE f.tenant = t.tenant AND f.blob = t.blob)
			LIMIT $2`},
	} {
		some, err := collect(ctx, db.data, s.tenant, q.text, []any{s.tenant, limit}, func(r row, l *LooseRow) error {
			var id []byte
			err := r.scan(&id)
			*l = LooseRow{q.table, TextOf(id)}
			return err
		})
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	return found, nil
}

// Resources lists the hashes by which files of deployments are named, ascending.
func (db *DB) Resources(ctx context.Context, s Scope) ([][32]byte, error) {
	return collect(ctx, db.data, s.tenant, `SELECT hash FROM resources WHERE tenant = $1 ORDER BY hash`,
		[]any{s.tenant}, func(r row, hash *[32]byte) error { return r.scan(hash) })
}

// Uploads lists the uploads of a tenant, ascending, after one.
func (db *DB) Uploads(ctx context.Context, s Scope, after ID, limit int) ([]UploadRow, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT `+uploadColumns+` FROM uploads WHERE tenant = $1 AND blob > $2
		ORDER BY blob
		LIMIT $3`,
		[]any{s.tenant, after, limit}, scanUpload)
}

// HeldFile names a file that an instance has.
type HeldFile struct{ Object, Blob ID }

// FilesAfter lists the files of instances, ascending by instance and file, after one.
// Beside the others, an Integrity fault says that some cannot be read.
func (db *DB) FilesAfter(ctx context.Context, s Scope, after HeldFile, limit int) ([]HeldFile, error) {
	return readable(ctx, db.data, s.tenant, `
		SELECT object, blob FROM files WHERE tenant = $1 AND (object, blob) > ($2, $3)
		ORDER BY object, blob
		LIMIT $4`,
		[]any{s.tenant, after.Object, after.Blob, limit}, func(r row, f *HeldFile) error {
			var object, blob []byte
			err := r.scan(&object, &blob)
			if err == nil {
				f.Object, err = idOf(object)
			}
			if err == nil {
				f.Blob, err = idOf(blob)
			}
			return err
		})
}

// ShardsOf lists the numbers of the logs that entries, tiles, checkpoints or what is
// anchored of them name.
func (db *DB) ShardsOf(ctx context.Context, s Scope, table string) ([]int, error) {
	switch table {
	case "log_entries", "log_tiles", "log_checkpoints", "anchor_openings":
	default:
		return nil, fault.New(fault.Internal, "table %s has no shards", table)
	}
	var all []int
	for number := -1; ; { // one look-up for each, not one for each row
		next := number
		err := db.data.each(ctx, s.tenant, `SELECT shard FROM `+table+` WHERE tenant = $1 AND shard > $2 ORDER BY shard LIMIT 1`,
			[]any{s.tenant, number}, func(r row) error { return r.scan(&next) })
		if err != nil || next == number {
			return all, err
		}
		number, all = next, append(all, next)
	}
}

// CountTiles returns how many tiles a log has.
func (db *DB) CountTiles(ctx context.Context, s Scope, shard int) (n int, err error) {
	err = db.data.each(ctx, s.tenant, `SELECT count(*) FROM log_tiles WHERE tenant = $1 AND shard = $2`,
		[]any{s.tenant, shard}, func(r row) error { return r.scan(&n) })
	return n, err
}

// Published is a published checkpoint.
type Published struct {
	Size   uint64
	Signed []byte
}

// PublishedAfter lists the published checkpoints of a log above a size, ascending.
func (db *DB) PublishedAfter(ctx context.Context, s Scope, shard int, size uint64, limit int) ([]Published, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT size, signed FROM log_checkpoints WHERE tenant = $1 AND shard = $2 AND size > $3
		ORDER BY size
		LIMIT $4`,
		[]any{s.tenant, shard, size, limit}, func(r row, p *Published) error { return r.scan(&p.Size, &p.Signed) })
}

// AnchoredAfter lists the anchored checkpoints of a log above a size, ascending.
func (db *DB) AnchoredAfter(ctx context.Context, s Scope, shard int, size uint64, limit int) ([]Published, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT size, signed FROM anchor_openings WHERE tenant = $1 AND shard = $2 AND size > $3
		ORDER BY size
		LIMIT $4`,
		[]any{s.tenant, shard, size, limit}, func(r row, p *Published) error { return r.scan(&p.Size, &p.Signed) })
}

// OpeningsAfter lists what was anchored of a tenant, by log and size, after one.
func (db *DB) OpeningsAfter(ctx context.Context, s Scope, shard int, size uint64, limit int) ([]AnchorOpening, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT `+openingColumns+` FROM anchor_openings WHERE tenant = $1 AND (shard, size) > ($2, $3)
		ORDER BY shard, size
		LIMIT $4`, []any{s.tenant, shard, size, limit}, scanOpening)
}

// AnchorHeads lists the heads of all anchor logs, oldest first.
func (db *DB) AnchorHeads(ctx context.Context) ([]AnchorHead, error) {
	return collect(ctx, db.keys, "", `SELECT log, size, root, signed, halted FROM anchor_heads ORDER BY log`, nil, scanAnchorHead)
}

// StoredAnchorLogs lists the numbers of the anchor logs that the data know of.
func (db *DB) StoredAnchorLogs(ctx context.Context) ([]int64, error) {
	var all []int64
	for number := int64(0); ; { // one look-up for each, not one for each row
		next := number
		err := db.data.each(ctx, "", `
			SELECT min(log) FROM (
				SELECT min(log) AS log FROM anchor_hashes WHERE log > $1
				UNION ALL SELECT min(log) FROM anchor_checkpoints WHERE log > $1) l
			HAVING min(log) IS NOT NULL`,
			[]any{number}, func(r row) error { return r.scan(&next) })
		if err != nil || next == number {
			return all, err
		}
		number, all = next, append(all, next)
	}
}

// AnchorHash is a stored hash of an anchor log's tree.
type AnchorHash struct {
	Pos  int64
	Hash [32]byte
}

// AnchorHashesFrom lists the hashes of an anchor log from a position on.
func (db *DB) AnchorHashesFrom(ctx context.Context, log, pos int64, limit int) ([]AnchorHash, error) {
	return collect(ctx, db.data, "", `
		SELECT pos, hash FROM anchor_hashes WHERE log = $1 AND pos >= $2
		ORDER BY pos
		LIMIT $3`,
		[]any{log, pos, limit}, func(r row, h *AnchorHash) error { return r.scan(&h.Pos, &h.Hash) })
}

// AnchorCheckpointsAfter lists the complete checkpoints of an anchor log above a
// size, ascending.
func (db *DB) AnchorCheckpointsAfter(ctx context.Context, log int64, size uint64, limit int) ([]AnchorCheckpoint, error) {
	return collect(ctx, db.data, "", `
		SELECT `+anchorCheckpointColumns+` FROM anchor_checkpoints WHERE log = $1 AND size > $2
		ORDER BY size
		LIMIT $3`,
		[]any{log, size, limit}, func(r row, c *AnchorCheckpoint) error { return r.scan(c.targets()...) })
}

// RequestsLike lists the tokens of requests that begin with these bytes.
func (db *DB) RequestsLike(ctx context.Context, s Scope, prefix []byte) ([]RequestRow, error) {
	from, to := [32]byte{}, [32]byte(bytes.Repeat([]byte{0xff}, 32))
	copy(from[:], prefix)
	copy(to[:], prefix)
	return collect(ctx, db.data, s.tenant, `
		SELECT kind, token, object, seq, print FROM unique_tokens
		WHERE tenant = $1 AND kind = $2 AND token BETWEEN $3 AND $4`,
		[]any{s.tenant, IdempotencyToken, from, to}, scanRequest)
}

// scanAnyRequest is scanRequest of a row that somebody else may have written.
func scanAnyRequest(r row, q *RequestRow) error {
	var kind int64
	var token, object []byte
	err := r.scan(&kind, &token, &object, &q.Seq, &q.Print)
	if err == nil && (len(token) != len(q.Token) || int64(TokenKind(kind)) != kind) {
		err = fault.New(fault.Integrity, "a token of kind %d has %d bytes, want %d", kind, len(token), len(q.Token)).WithCode(codeNoID)
	}
	if err == nil {
		q.Kind, q.Token = TokenKind(kind), [32]byte(token)
		q.Object, err = idOf(object)
	}
	return err
}

func scanRequest(r row, q *RequestRow) error {
	var kind int64
	err := r.scan(&kind, &q.Token, &q.Object, &q.Seq, &q.Print)
	q.Kind = TokenKind(kind)
	return err
}
