package engine

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/time/rate"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/tiles"
	"github.com/underseal/underseal/ledger"
)

// LogFile is one file of a log (C2SP tlog-tiles).
type LogFile struct {
	Text      bool // else bytes
	Immutable bool // it will never be another under this name
	Body      []byte
}

// A reader may ask for this many files a second, after a burst. A first copy of ten
// million leaves takes some three minutes.
const (
	readerRate  = 500
	readerBurst = 2000
)

// readerRates bounds what each reader of the log asks for.
type readerRates struct {
	mu     sync.Mutex // guards limits
	limits map[store.ID]*rate.Limiter
}

// spend takes one request of a reader's. Readers are few: each is made by hand.
func (r *readerRates) spend(e *Engine, id store.ID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limits == nil {
		r.limits = map[store.ID]*rate.Limiter{}
	}
	limit, ok := r.limits[id]
	if !ok {
		limit = rate.NewLimiter(readerRate, readerBurst)
		r.limits[id] = limit
	}
	if !limit.AllowN(e.now(), 1) {
		return fault.New(fault.Unavailable, "this reader asks for more than %d files a second", readerRate).
			WithCode("too_many_requests").WithHint("wait a second and go on more slowly")
	}
	return nil
}

// LogFile returns a file of a log to the reader whose path holds the secret. Nobody
// else is told anything: a secret that is unknown or revoked, a shard and a file
// that do not exist are all the same NotFound. The log holds no values, so reading
// it discloses nothing and leaves no entry in it.
func (e *Engine) LogFile(ctx context.Context, secret, shard, name string) (LogFile, error) {
	scope, reader, err := e.identity.Reader(ctx, secret)
	if err != nil {
		return LogFile{}, err
	}
	if err := e.readers.spend(e, reader.ID); err != nil {
		return LogFile{}, err
	}
	if err := e.letsRead(ctx, scope); err != nil {
		return LogFile{}, err
	}
	if err := e.checkRevocation(ctx, scope, reader); err != nil {
		return LogFile{}, err
	}
	if err := e.checkMaker(ctx, scope, reader); err != nil {
		return LogFile{}, err
	}
	if shard == "shards" && name == "" {
		return e.shardList(ctx, scope)
	}
	number, err := e.shardNamed(ctx, scope, shard)
	if err != nil {
		return LogFile{}, err
	}
	size, signed, err := e.store.Checkpoint(ctx, scope, number)
	if fault.Is(err, fault.NotFound) { // none was published yet
		err = noLogFile()
	}
	if err != nil {
		return LogFile{}, err
	}
	if name == "checkpoint" {
		return LogFile{Text: true, Body: signed}, nil
	}
	file, err := tiles.ParsePath(name)
	if err == nil && !file.In(size) {
		err = noLogFile()
	}
	if err != nil {
		return LogFile{}, err
	}
	body, err := e.logTile(ctx, scope, number, file)
	return LogFile{Immutable: true, Body: body}, err
}

// letsRead refuses readers of a tenant that is disabled: none of its credentials counts.
func (e *Engine) letsRead(ctx context.Context, scope store.Scope) error {
	r, err := e.knownRules(ctx, scope)
	if fault.Is(err, fault.NotFound) || err == nil && r.Tenant.State != identity.Active {
		err = noLog()
	}
	return err
}

func noLog() error { return fault.New(fault.NotFound, "there is no such log") }

func noLogFile() error { return fault.New(fault.NotFound, "there is no such file in a log") }

// shardList names the tenant's shards, oldest first: what a mirror has to copy.
func (e *Engine) shardList(ctx context.Context, scope store.Scope) (LogFile, error) {
	shards, err := e.store.Shards(ctx, scope)
	if err != nil {
		return LogFile{}, err
	}
	var list strings.Builder
	for _, s := range shards {
		list.WriteString(s.Origin + "\n")
	}
	return LogFile{Text: true, Body: []byte(list.String())}, nil
}

// shardNamed returns the number of the shard whose origin ends with the name.
func (e *Engine) shardNamed(ctx context.Context, scope store.Scope, name string) (int, error) {
	shards, err := e.store.Shards(ctx, scope)
	if err != nil {
		return 0, err
	}
	for _, s := range shards {
		if shardName(s.Origin) == name {
			return s.Number, nil
		}
	}
	return 0, noLogFile()
}

// shardName is the last part of a shard's origin: "2026", after a restore "2026.1795334432".
func shardName(origin string) string { return origin[strings.LastIndexByte(origin, '/')+1:] }

// logTile returns a tile or a bundle that the log has.
func (e *Engine) logTile(ctx context.Context, scope store.Scope, shard int, f tiles.File) ([]byte, error) {
	changed := fault.New(fault.Integrity, "the log's file %s is not in the database as its checkpoint says", f.Path()).
		WithCode("tampered").WithHint("the database was changed behind our back; underseal fsck names what is missing")
	if f.Level != tiles.Entries {
		hashes, err := e.store.Tile(ctx, scope, shard, f.Level, f.Index)
		if fault.Is(err, fault.NotFound) || err == nil && len(hashes) < f.Width*tiles.HashSize {
			err = changed
		}
		if err != nil {
			return nil, err
		}
		return hashes[:f.Width*tiles.HashSize], nil
	}
	entries, err := e.store.LogEntries(ctx, scope, shard, f.Index*tiles.Width, f.Width)
	if err == nil && len(entries) != f.Width {
		err = changed
	}
	if err != nil {
		return nil, err
	}
	var bundle []byte
	for i, entry := range entries {
		if entry.Index != f.Index*tiles.Width+uint64(i) || ledger.LeafHash(entry.Body) != entry.Hash {
			return nil, changed
		}
		if bundle, err = tiles.AppendEntry(bundle, entry.Body); err != nil {
			return nil, err
		}
	}
	return bundle, nil
}
