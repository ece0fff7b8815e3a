package store_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/blob/blobtest"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
)

// blobRows is storage for blobs whose wire to the database can be cut.
type blobRows struct {
	dsn   string
	admin *pgx.Conn
	db    *store.DB
	// answered cuts the wire behind a write instead of before it.
	answered bool

	mu     sync.Mutex // guards what follows
	left   int        // writes to the wire that still go through; negative: any number
	failed bool
}

func newBlobRows(t *testing.T, answered bool) *blobRows {
	b := &blobRows{dsn: pgtest.Database(t), answered: answered}
	b.admin = must[*pgx.Conn](t)(pgx.Connect(t.Context(), b.dsn))
	t.Cleanup(func() {
		b.close(t)
		ok(t, b.admin.Close(context.Background()))
	})
	return b
}

func TestRowsAreAStoreOfBlobs(t *testing.T) {
	t.Parallel()
	blobtest.TestStore(t, func(t *testing.T) blobtest.Storage { return newBlobRows(t, false) })
}

func TestRowsSurviveALostAnswer(t *testing.T) {
	t.Parallel()
	blobtest.TestCrashes(t, func(t *testing.T) blobtest.Storage { return newBlobRows(t, true) })
}

func (b *blobRows) close(t testing.TB) {
	if b.db != nil {
		ok(t, b.db.Close())
		b.db = nil
	}
}

func (b *blobRows) Open(t testing.TB) blob.Store {
	t.Helper()
	b.close(t)
	b.Fail(-1)
	b.db = must[*store.DB](t)(store.Open(t.Context(), store.Config{DSN: b.dsn, Connections: 4}.WithDial(b.dial)))
	b.Full(t, -1)
	return must[*store.Blobs](t)(b.db.Blobs(t.Context()))
}

func (b *blobRows) Fail(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left, b.failed = n, false
}

func (b *blobRows) Failed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

// cut reports whether the wire is cut before the next write, and whether this
// one is the first that is lost.
func (b *blobRows) cut() (cut, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left != 0 {
		b.left = max(b.left-1, -1)
		return false, false
	}
	first, b.failed = !b.failed, true
	return true, first
}

func (b *blobRows) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	return &blobWire{conn, b}, err
}

// blobWire is a connection that ends when the storage's wire is cut.
type blobWire struct {
	net.Conn
	rows *blobRows
}

func (w *blobWire) Write(p []byte) (int, error) {
	cut, first := w.rows.cut()
	if !cut {
		return w.Conn.Write(p)
	}
	if first && w.rows.answered {
		if n, err := w.Conn.Write(p); err != nil {
			return n, err
		}
	}
	w.Conn.Close()
	return 0, net.ErrClosed
}

// Full has the database refuse chunks beyond the bytes, as a full disk does.
func (b *blobRows) Full(t testing.TB, bytes int) {
	t.Helper()
	_, err := b.admin.Exec(t.Context(), `
		DROP TRIGGER IF EXISTS no_room ON underseal.blob_chunks`)
	ok(t, err)
	if bytes < 0 {
		return
	}
	for _, text := range []string{`
		CREATE TABLE IF NOT EXISTS underseal.room AS SELECT 0::bigint AS bytes`, `
		GRANT SELECT ON underseal.room TO underseal_app`, `
		CREATE OR REPLACE FUNCTION underseal.no_room() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF octet_length(NEW.data) + (SELECT coalesce(sum(octet_length(data)), 0) FROM underseal.blob_chunks) > (SELECT room.bytes FROM underseal.room) THEN
				RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
			END IF;
			RETURN NEW;
		END $$`, `
		CREATE TRIGGER no_room BEFORE INSERT ON underseal.blob_chunks FOR EACH ROW EXECUTE FUNCTION underseal.no_room()`} {
		_, err := b.admin.Exec(t.Context(), text)
		ok(t, err)
	}
	_, err = b.admin.Exec(t.Context(), `UPDATE underseal.room SET bytes = $1`, bytes)
	ok(t, err)
}

func (b *blobRows) Piece() int { return 256 << 10 }

// Left counts the rows of both tables.
func (b *blobRows) Left(t testing.TB) (n int) {
	t.Helper()
	ok(t, b.admin.QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM underseal.blobs) + (SELECT count(*) FROM underseal.blob_chunks)`).Scan(&n))
	return n
}

func TestBlobsInSQLiteAreRefused(t *testing.T) {
	t.Parallel()
	db := openDB(t, store.Config{Path: t.TempDir()})
	if _, err := db.Blobs(t.Context()); !fault.Is(err, fault.Invalid) {
		t.Errorf("Blobs: %v", err)
	}
}

// A full disk ends an upload and not the server.
func TestAFullDiskDuringAnUploadDoesNotEndTheServer(t *testing.T) {
	t.Parallel()
	b := newBlobRows(t, false)
	s := b.Open(t)
	b.Full(t, 0)
	w := must[blob.Writer](t)(s.Create(t.Context(), "main", blob.NewID()))
	_, err := w.Write(make([]byte, b.Piece()))
	is(t, "Write", err, fault.Unavailable, blob.CodeFull)
	ok(t, w.Abort())
	ok(t, b.db.Err())
	ok(t, b.db.Commit(t.Context(), main, minimal(store.ID{1}, 0)))
}

// What the administrator did to rows is found out here, or by the stream.
func TestAChunkOfAnotherLengthIsRefused(t *testing.T) {
	t.Parallel()
	b := newBlobRows(t, false)
	s := b.Open(t)
	for _, c := range []struct {
		change string
		kind   fault.Kind
	}{
		{`UPDATE underseal.blob_chunks SET data = substr(data, 2) WHERE n = 0`, fault.Integrity},
		{`UPDATE underseal.blob_chunks SET data = data || 'x' WHERE n = 1`, fault.Integrity},
		{`DELETE FROM underseal.blob_chunks WHERE n = 1`, fault.NotFound},
	} {
		id := blob.NewID()
		w := must[blob.Writer](t)(s.Create(t.Context(), "main", id))
		_, err := w.Write(make([]byte, b.Piece()+10))
		ok(t, err)
		ok(t, w.Commit())
		admin(t, b.dsn, c.change)
		r := must[blob.Reader](t)(s.Open(t.Context(), "main", id))
		_, err = r.ReadAt(make([]byte, b.Piece()+10), 0)
		is(t, "ReadAt after "+c.change, err, c.kind, "")
		ok(t, s.Delete(t.Context(), "main", id))
	}
}
