package store

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// UploadState is where an upload stands in its life.
type UploadState string

// The states of an upload. Each later one is reached from the ones before it by
// a conditional update, so that a claim and a collection cannot both win.
const (
	UploadOpen    UploadState = "open"    // bytes are arriving, or an upload that broke off
	UploadReady   UploadState = "ready"   // whole; waits for somebody to claim it
	UploadClaimed UploadState = "claimed" // an instance has it; its own key is to be destroyed
	UploadDropped UploadState = "dropped" // nobody will have it; blob and key are to be deleted
)

// UploadRow is a file that no instance has yet. Everything that is decided by
// is inside Sealed.
type UploadRow struct {
	Blob   ID
	Key    ID // data key that the blob is sealed under; zero: of a blob without a row
	State  UploadState
	Size   int64 // bytes of the file; counts towards the tenant's total
	Made   time.Time
	Sealed []byte // under Key; shows that it is this upload's
}

// FileRow is a file that an instance has.
type FileRow struct {
	Blob ID
	Size int64
	Keys []ID // data keys of the persons it is about, sorted
}

// AddUpload stores a new upload. It comes before the blob, so that there is never
// a blob without a row.
func (db *DB) AddUpload(ctx context.Context, s Scope, u UploadRow) error {
	return db.data.apply(ctx, s.tenant, []statement{{
		text: `
			INSERT INTO uploads (tenant, blob, data_key, state, size, made, sealed)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		args:    []any{s.tenant, u.Blob, u.Key, string(u.State), u.Size, u.Made, u.Sealed},
		refused: fault.New(fault.Conflict, "there is an upload of this name already"),
	}})
}

// FinishUpload makes an open upload ready. Conflict when it is not open any more.
func (db *DB) FinishUpload(ctx context.Context, s Scope, blob ID, size int64, sealed []byte) error {
	return db.data.apply(ctx, s.tenant, []statement{{
		text: `
			UPDATE uploads SET state = 'ready', size = $3, sealed = $4
			WHERE tenant = $1 AND blob = $2 AND state = 'open'`,
		args: []any{s.tenant, blob, size, sealed}, one: true,
		refused: fault.New(fault.Conflict, "the upload took longer than uploads are kept").WithCode("upload_expired"),
	}})
}

// DropUpload gives up an upload that nobody has claimed. Conflict when somebody
// has, or when it is gone. Dropping again is no error.
func (db *DB) DropUpload(ctx context.Context, s Scope, blob ID) error {
	return db.data.apply(ctx, s.tenant, []statement{{
		text: `UPDATE uploads SET state = 'dropped' WHERE tenant = $1 AND blob = $2 AND state <> 'claimed'`,
		args: []any{s.tenant, blob}, one: true,
		refused: fault.New(fault.Conflict, "the upload is claimed or gone"),
	}})
}

// DeleteUpload deletes the row of an upload whose key is destroyed, and whose
// blob is deleted or an instance's. One that is open or ready is kept.
func (db *DB) DeleteUpload(ctx context.Context, s Scope, blob ID) error {
	return db.data.apply(ctx, s.tenant, []statement{{
		text: `DELETE FROM uploads WHERE tenant = $1 AND blob = $2 AND state IN ('claimed', 'dropped')`,
		args: []any{s.tenant, blob},
	}})
}

const uploadColumns = `blob, data_key, state, size, made, sealed`

func scanUpload(r row, u *UploadRow) error {
	var state string
	err := r.scan(&u.Blob, &u.Key, &state, &u.Size, &u.Made, &u.Sealed)
	u.State = UploadState(state)
	return err
}

// Upload returns one upload. NotFound when there is none of this name.
func (db *DB) Upload(ctx context.Context, s Scope, blob ID) (UploadRow, error) {
	found, err := collect(ctx, db.data, s.tenant,
		`SELECT `+uploadColumns+` FROM uploads WHERE tenant = $1 AND blob = $2`, []any{s.tenant, blob}, scanUpload)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "there is no such upload")
	}
	if err != nil {
		return UploadRow{}, err
	}
	return found[0], nil
}

// SpentUploads returns up to limit uploads that are to be cleared away: those
// claimed or dropped, and those made before a time that nobody has claimed.
func (db *DB) SpentUploads(ctx context.Context, s Scope, before time.Time, after ID, limit int) ([]UploadRow, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT `+uploadColumns+` FROM uploads
		WHERE tenant = $1 AND blob > $2 AND (state IN ('claimed', 'dropped') OR made < $3)
		ORDER BY blob
		LIMIT $4`,
		[]any{s.tenant, after, before, limit}, scanUpload)
}

// KnownBlobs returns those of the ids that an upload or an instance has.
func (db *DB) KnownBlobs(ctx context.Context, s Scope, ids []ID) (map[ID]bool, error) {
	args := make([][]any, len(ids))
	for i, id := range ids {
		args[i] = []any{s.tenant, id}
	}
	known := map[ID]bool{}
	err := db.data.eachOf(ctx, s.tenant, `
		SELECT 1 FROM uploads WHERE tenant = $1 AND blob = $2
		UNION ALL SELECT 1 FROM files WHERE tenant = $1 AND blob = $2`,
		args, func(i int, _ row) error {
			known[ids[i]] = true
			return nil
		})
	return known, err
}

// FileHolder returns the instance that has a file; false when none has.
func (db *DB) FileHolder(ctx context.Context, s Scope, blob ID) (object ID, found bool, err error) {
	err = db.data.each(ctx, s.tenant, `SELECT object FROM files WHERE tenant = $1 AND blob = $2`, []any{s.tenant, blob},
		func(r row) error {
			found = true
			return r.scan(&object)
		})
	return object, found, err
}

// Files returns the files of an instance, ascending.
func (db *DB) Files(ctx context.Context, s Scope, object ID) ([]FileRow, error) {
	var files []FileRow
	err := db.data.each(ctx, s.tenant, `
		SELECT f.blob, f.size, coalesce(k.data_key, f.blob), k.data_key IS NOT NULL
		FROM files f LEFT JOIN file_keys k ON k.tenant = f.tenant AND k.blob = f.blob
		WHERE f.tenant = $1 AND f.object = $2
		ORDER BY f.blob, k.data_key`,
		[]any{s.tenant, object}, func(r row) error {
			var f FileRow
			var key ID
			var keyed bool
			err := r.scan(&f.Blob, &f.Size, &key, &keyed)
			if n := len(files); n == 0 || files[n-1].Blob != f.Blob {
				files = append(files, f)
			}
			if last := &files[len(files)-1]; keyed {
				last.Keys = append(last.Keys, key)
			}
			return err
		})
	return files, err
}

// FilesUnder returns the files that are about one of the persons with these keys.
func (db *DB) FilesUnder(ctx context.Context, s Scope, keys []ID) ([]ID, error) {
	args := make([][]any, len(keys))
	for i, key := range keys {
		args[i] = []any{s.tenant, key}
	}
	var blobs []ID
	err := db.data.eachOf(ctx, s.tenant, `SELECT blob FROM file_keys WHERE tenant = $1 AND data_key = $2`,
		args, func(_ int, r row) error {
			var blob ID
			err := r.scan(&blob)
			blobs = append(blobs, blob)
			return err
		})
	slices.SortFunc(blobs, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(blobs), err
}

// FilesTotal returns how many bytes a tenant's files and uploads have together.
func (db *DB) FilesTotal(ctx context.Context, s Scope) (total int64, err error) {
	err = db.data.each(ctx, s.tenant, `
		SELECT CAST(coalesce(sum(size), 0) AS bigint) FROM (
			SELECT size FROM uploads WHERE tenant = $1 AND state <> 'claimed'
			UNION ALL SELECT size FROM files WHERE tenant = $1) sizes`,
		[]any{s.tenant}, func(r row) error { return r.scan(&total) })
	return total, err
}

// EmptyFile notes that the bytes of a file are gone: they count no longer.
func (db *DB) EmptyFile(ctx context.Context, s Scope, blob ID) error {
	return db.data.apply(ctx, s.tenant, []statement{{
		text: `UPDATE files SET size = 0 WHERE tenant = $1 AND blob = $2`,
		args: []any{s.tenant, blob},
	}})
}

// claim appends the statements that give an upload to an instance. An upload
// that somebody else claimed or collected meanwhile refuses the whole set.
func (f *FileRow) claim(unit []statement, s Scope, object ID) []statement {
	taken := fault.New(fault.Conflict, "the file is claimed already, or was not claimed in time").WithCode("file_claimed")
	unit = append(unit, statement{
		text: `UPDATE uploads SET state = 'claimed' WHERE tenant = $1 AND blob = $2 AND state = 'ready'`,
		args: []any{s.tenant, f.Blob}, one: true, refused: taken,
	}, statement{
		text: `INSERT INTO files (tenant, blob, object, size) VALUES ($1, $2, $3, $4)`,
		args: []any{s.tenant, f.Blob, object, f.Size}, refused: taken,
	})
	return f.insertKeys(unit, s)
}

// rekey appends the statements that replace the persons a file is about.
func (f *FileRow) rekey(unit []statement, s Scope) []statement {
	unit = append(unit, statement{
		text: `DELETE FROM file_keys WHERE tenant = $1 AND blob = $2`,
		args: []any{s.tenant, f.Blob},
	})
	return f.insertKeys(unit, s)
}

func (f *FileRow) insertKeys(unit []statement, s Scope) []statement {
	for _, key := range f.Keys {
		unit = append(unit, statement{
			text: `INSERT INTO file_keys (tenant, data_key, blob) VALUES ($1, $2, $3)`,
			args: []any{s.tenant, key, f.Blob},
		})
	}
	return unit
}
