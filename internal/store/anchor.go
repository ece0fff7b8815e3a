package store

import (
	"context"

	"github.com/underseal/underseal/internal/fault"
)

// AnchorHead is the newest checkpoint that an anchor log has signed, as it is kept
// beside the keys. Log is 1, and another number after a restore.
type AnchorHead struct {
	Log    int64
	Size   uint64
	Root   [32]byte
	Signed []byte // signed note; empty at size 0
	Halted string // why nothing more is signed; empty: nothing is wrong
}

// AnchorHead returns the head of the newest anchor log; NotFound when there is none.
func (db *DB) AnchorHead(ctx context.Context) (AnchorHead, error) {
	found, err := collect(ctx, db.keys, "", `
		SELECT log, size, root, signed, halted FROM anchor_heads ORDER BY log DESC LIMIT 1`,
		nil, scanAnchorHead)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "there is no anchor log yet")
	}
	if err != nil {
		return AnchorHead{}, err
	}
	return found[0], nil
}

func scanAnchorHead(r row, h *AnchorHead) error {
	return r.scan(&h.Log, &h.Size, &h.Root, &h.Signed, &h.Halted)
}

// AnchorLogs lists the numbers of the anchor logs, oldest first.
func (db *DB) AnchorLogs(ctx context.Context) ([]int64, error) {
	return collect(ctx, db.keys, "", `SELECT log FROM anchor_heads ORDER BY log`, nil,
		func(r row, log *int64) error { return r.scan(log) })
}

// OpenAnchorLog begins an anchor log, which must be newer than all others. Conflict
// (code "stale") when it is not.
func (db *DB) OpenAnchorLog(ctx context.Context, h AnchorHead) error {
	return db.keys.update(ctx, func(t tx) error {
		n, err := t.exec(`
			INSERT INTO anchor_heads (log, size, root, signed, halted)
			SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT 1 FROM anchor_heads WHERE log >= $1)`,
			h.Log, h.Size, h.Root, h.Signed, h.Halted)
		if err == nil && n == 0 {
			err = fault.New(fault.Conflict, "anchor log %d cannot be opened: there is a newer one", h.Log).WithCode("stale")
		}
		return err
	})
}

// PutAnchorHead replaces the head of an anchor log, whose size and root must be
// those of former, and which must not be halted. Conflict (code "stale") otherwise.
func (db *DB) PutAnchorHead(ctx context.Context, former, h AnchorHead) error {
	return db.keys.update(ctx, func(t tx) error {
		n, err := t.exec(`
			UPDATE anchor_heads SET size = $4, root = $5, signed = $6, halted = $7
			WHERE log = $1 AND size = $2 AND root = $3 AND halted = ''`,
			former.Log, former.Size, former.Root, h.Size, h.Root, h.Signed, h.Halted)
		if err == nil && n == 0 {
			err = fault.New(fault.Conflict, "the head of anchor log %d was replaced meanwhile", former.Log).WithCode("stale")
		}
		return err
	})
}

// AnchorLength returns how many hashes of an anchor log's tree are stored.
func (db *DB) AnchorLength(ctx context.Context, log int64) (n int64, err error) {
	err = db.data.each(ctx, "", `SELECT coalesce(max(pos), -1) + 1 FROM anchor_hashes WHERE log = $1`,
		[]any{log}, func(r row) error { return r.scan(&n) })
	return n, err
}

// AnchorHashes returns stored hashes of an anchor log's tree by their positions. An
// Integrity fault when one is missing.
func (db *DB) AnchorHashes(ctx context.Context, log int64, positions []int64) ([][32]byte, error) {
	hashes, found := make([][32]byte, len(positions)), 0
	args := make([][]any, len(positions))
	for i, pos := range positions {
		args[i] = []any{log, pos}
	}
	err := db.data.eachOf(ctx, "", `SELECT hash FROM anchor_hashes WHERE log = $1 AND pos = $2`, args, func(i int, r row) error {
		found++
		return r.scan(&hashes[i])
	})
	if err == nil && found != len(positions) {
		err = fault.New(fault.Integrity, "anchor log %d lacks %d hashes of its tree", log, len(positions)-found)
	}
	return hashes, err
}

// AnchorOpening is what shows that a checkpoint of a tenant is in an anchor log.
type AnchorOpening struct {
	Shard  int
	Size   uint64
	Signed []byte // the tenant's checkpoint, a signed note
	Blind  [32]byte
	Log    int64
	Index  uint64 // of its entry in the anchor log
}

// AddAnchor appends an entry to an anchor log: its opening, and the hashes that the
// tree gets by it, from a position on. Conflict (code "stale") when something is
// there already.
func (db *DB) AddAnchor(ctx context.Context, s Scope, o AnchorOpening, from int64, hashes [][32]byte) error {
	stale := fault.New(fault.Conflict, "anchor log %d was grown meanwhile, or has the checkpoint at size %d already", o.Log, o.Size).WithCode("stale")
	unit := []statement{{
		text: `
			INSERT INTO anchor_openings (tenant, shard, size, signed, blind, log, idx)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		args:    []any{s.tenant, o.Shard, o.Size, o.Signed, o.Blind, o.Log, o.Index},
		refused: stale,
	}}
	for i, h := range hashes {
		unit = append(unit, statement{
			text: `INSERT INTO anchor_hashes (log, pos, hash) VALUES ($1, $2, $3)`,
			args: []any{o.Log, from + int64(i), h}, refused: stale,
		})
	}
	return db.data.apply(ctx, s.tenant, unit)
}

const openingColumns = `shard, size, signed, blind, log, idx`

func scanOpening(r row, o *AnchorOpening) error {
	return r.scan(&o.Shard, &o.Size, &o.Signed, &o.Blind, &o.Log, &o.Index)
}

// NewestOpening returns the opening of the largest checkpoint of a shard that was
// anchored; NotFound when there is none.
func (db *DB) NewestOpening(ctx context.Context, s Scope, shard int) (AnchorOpening, error) {
	return db.opening(ctx, s, `
		SELECT `+openingColumns+` FROM anchor_openings WHERE tenant = $1 AND shard = $2
		ORDER BY size DESC LIMIT 1`, shard)
}

// OpeningFrom returns the opening of the smallest checkpoint of a shard, at least of
// that size, that was anchored under a complete checkpoint; NotFound (code
// "not_anchored") when there is none yet.
func (db *DB) OpeningFrom(ctx context.Context, s Scope, shard int, size uint64) (AnchorOpening, error) {
	return db.opening(ctx, s, `
		SELECT `+openingColumns+` FROM anchor_openings o
		WHERE tenant = $1 AND shard = $2 AND size >= $3
			AND EXISTS (SELECT 1 FROM anchor_checkpoints c WHERE c.log = o.log AND c.size > o.idx)
		ORDER BY size LIMIT 1`, shard, size)
}

func (db *DB) opening(ctx context.Context, s Scope, text string, args ...any) (AnchorOpening, error) {
	found, err := collect(ctx, db.data, s.tenant, text, append([]any{s.tenant}, args...), scanOpening)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "no checkpoint of that size was anchored yet").WithCode("not_anchored").
			WithHint("the anchor log takes a checkpoint once a minute, unless log.interval says otherwise")
	}
	if err != nil {
		return AnchorOpening{}, err
	}
	return found[0], nil
}

// AnchorCheckpoint is a checkpoint of an anchor log that witnesses and the timestamp
// authority, as far as there are any, have seen.
type AnchorCheckpoint struct {
	Log    int64
	Size   uint64
	Signed []byte // signed note with cosignatures
	Token  []byte // RFC 3161; empty: none

	Quorum    int      // how many cosignatures were asked for
	Authority []byte   // SHA-256 of the authority's root certificate; empty: no timestamp was asked for
	Mark      [32]byte // keyed hash of all the above
}

const anchorCheckpointColumns = `log, size, signed, token, quorum, authority, mark`

func (c *AnchorCheckpoint) targets() []any {
	return []any{&c.Log, &c.Size, &c.Signed, &c.Token, &c.Quorum, &c.Authority, &c.Mark}
}

// PutAnchorCheckpoint stores a complete checkpoint. One of that size that is there
// already stays.
func (db *DB) PutAnchorCheckpoint(ctx context.Context, c AnchorCheckpoint) error {
	return db.data.apply(ctx, "", []statement{{
		text: `
			INSERT INTO anchor_checkpoints (` + anchorCheckpointColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (log, size) DO NOTHING`,
		args: []any{c.Log, c.Size, c.Signed, c.Token, c.Quorum, c.Authority, c.Mark},
	}})
}

// AnchorCheckpointFrom returns the smallest complete checkpoint of an anchor log of
// at least that size; NotFound (code "not_anchored") when there is none.
func (db *DB) AnchorCheckpointFrom(ctx context.Context, log int64, size uint64) (AnchorCheckpoint, error) {
	return db.anchorCheckpoint(ctx, `
		SELECT `+anchorCheckpointColumns+` FROM anchor_checkpoints WHERE log = $1 AND size >= $2 ORDER BY size LIMIT 1`, log, size)
}

// NewestAnchorCheckpoint returns the largest complete checkpoint of an anchor log;
// NotFound (code "not_anchored") when there is none.
func (db *DB) NewestAnchorCheckpoint(ctx context.Context, log int64) (AnchorCheckpoint, error) {
	return db.anchorCheckpoint(ctx, `
		SELECT `+anchorCheckpointColumns+` FROM anchor_checkpoints WHERE log = $1 ORDER BY size DESC LIMIT 1`, log)
}

func (db *DB) anchorCheckpoint(ctx context.Context, text string, args ...any) (AnchorCheckpoint, error) {
	found, err := collect(ctx, db.data, "", text, args, func(r row, c *AnchorCheckpoint) error {
		return r.scan(c.targets()...)
	})
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "the anchor log has no complete checkpoint of that size").WithCode("not_anchored")
	}
	if err != nil {
		return AnchorCheckpoint{}, err
	}
	return found[0], nil
}
