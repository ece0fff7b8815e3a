// Package blobtest holds every store of blobs to the contract of package blob.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
)

// Storage is where a store under test keeps blobs.
type Storage interface {
	// Open opens the store as a new process does, and removes what unfinished
	// uploads left. Whatever was made to fail works again.
	Open(t testing.TB) blob.Store
	// Fail lets n changes of the storage happen and makes all further ones fail
	// until Open, as if the process had ended.
	Fail(n int)
	// Failed reports whether a change failed since Fail.
	Failed() bool
	// Full lets so many bytes be stored and no more, until Open. Negative: no limit.
	Full(t testing.TB, bytes int)
	// Left counts all pieces of blobs that are stored, visible or not.
	Left(t testing.TB) int
	// Piece is in how many bytes the store divides a blob, and at least 1 KiB.
	Piece() int
}

const tenant = "main"

// TestStore checks all that package blob promises. open returns empty storage.
func TestStore(t *testing.T, open func(t *testing.T) Storage) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Storage)
	}{
		{"what is committed is read", roundTrip},
		{"ranges are read", ranges},
		{"nothing is visible before the commit", invisible},
		{"an abort leaves nothing", abort},
		{"an ended writer takes nothing", ended},
		{"what ends with its context is not committed", cancelled},
		{"an id is used once", taken},
		{"deleted is not found", deleted},
		{"ids are listed in order and in pages", listed},
		{"tenants do not see each other", isolated},
		{"a tenant may be called anything", anyTenant},
		{"readers while it is deleted", readWhileDeleted},
		{"many at a time", many},
		{"no room in the middle of an upload", full},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
	TestCrashes(t, open)
}

// TestCrashes ends the process between every two changes of the storage. It is
// part of TestStore, and apart for storage that can fail in several ways.
func TestCrashes(t *testing.T, open func(t *testing.T) Storage) {
	t.Run("a crash at any moment of an upload", func(t *testing.T) { crashedUpload(t, open(t)) })
	t.Run("a crash at any moment of a deletion", func(t *testing.T) { crashedDelete(t, open(t)) })
}

// content is n bytes that differ from those of any other n.
func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}).Read(b) // it never fails
	return b
}

// put stores a blob, writing it in pieces of an odd length.
func put(ctx context.Context, s blob.Store, tenant string, id blob.ID, data []byte) (err error) {
	w, err := s.Create(ctx, tenant, id)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = w.Abort() // the first error counts
		}
	}()
	for part := range slices.Chunk(data, 70_001) {
		if n, err := w.Write(part); err != nil || n != len(part) {
			return errors.Join(err, shortWrite(n, len(part)))
		}
	}
	return w.Commit()
}

func shortWrite(n, want int) error {
	if n < want {
		return io.ErrShortWrite
	}
	return nil
}

func mustPut(t testing.TB, s blob.Store, tenant string, data []byte) blob.ID {
	t.Helper()
	id := blob.NewID()
	if err := put(t.Context(), s, tenant, id, data); err != nil {
		t.Fatal(err)
	}
	return id
}

func get(ctx context.Context, s blob.Store, tenant string, id blob.ID) (data []byte, err error) {
	r, err := s.Open(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
}

// holds fails unless the tenant has exactly this blob under the id.
func holds(t testing.TB, s blob.Store, tenant string, id blob.ID, want []byte) {
	t.Helper()
	if got, err := get(t.Context(), s, tenant, id); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes read, %v; want %d", len(got), err, len(want))
	}
}

func missing(t testing.TB, s blob.Store, tenant string, id blob.ID) {
	t.Helper()
	if _, err := get(t.Context(), s, tenant, id); !fault.Is(err, fault.NotFound) {
		t.Errorf("read: %v, want not found", err)
	}
}

func list(t testing.TB, s blob.Store, tenant string) []blob.ID {
	t.Helper()
	ids, err := s.List(t.Context(), tenant, blob.ID{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// nothing fails unless the storage is empty.
func nothing(t testing.TB, storage Storage) {
	t.Helper()
	if n := storage.Left(t); n != 0 {
		t.Errorf("%d pieces are left", n)
	}
}

func sizes(piece int) []int {
	return []int{0, 1, 1000, piece - 1, piece, piece + 1, 2*piece - 1, 2 * piece, 2*piece + 1, 3*piece + 7}
}

func roundTrip(t *testing.T, storage Storage) {
	s := storage.Open(t)
	for _, size := range sizes(storage.Piece()) {
		id := mustPut(t, s, tenant, content(size))
		holds(t, s, tenant, id, content(size))
		s = storage.Open(t)
		holds(t, s, tenant, id, content(size))
	}
}

func ranges(t *testing.T, storage Storage) {
	s := storage.Open(t)
	piece := storage.Piece()
	data := content(3*piece + 7)
	r, err := s.Open(t.Context(), tenant, mustPut(t, s, tenant, data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Size() != int64(len(data)) {
		t.Errorf("size %d, want %d", r.Size(), len(data))
	}
	for _, off := range []int{2 * piece, 0, 1, piece - 1, piece, piece + 1, 3 * piece, len(data) - 1, len(data), len(data) + 5} {
		for _, n := range []int{0, 1, 2, 1000, piece, piece + 2, len(data)} {
			p := make([]byte, n)
			got, err := r.ReadAt(p, int64(off))
			want := data[min(off, len(data)):min(off+n, len(data))]
			if !bytes.Equal(p[:got], want) || err != nil && !errors.Is(err, io.EOF) || got < n && err == nil {
				t.Fatalf("%d bytes at %d: read %d, %v", n, off, got, err)
			}
		}
	}
	if err := iotest.TestReader(io.NewSectionReader(r, 5, 3000), data[5:3005]); err != nil {
		t.Error(err)
	}
}

func invisible(t *testing.T, storage Storage) {
	s := storage.Open(t)
	id, data := blob.NewID(), content(2*storage.Piece()+1)
	w, err := s.Create(t.Context(), tenant, id)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		missing(t, s, tenant, id)
		if ids := list(t, s, tenant); len(ids) > 0 {
			t.Errorf("%d blobs are listed", len(ids))
		}
		if _, err := w.Write(data[:len(data)/2+1][:len(data)/2]); err != nil {
			t.Fatal(err)
		}
	}
	missing(t, s, tenant, id)
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	want := data[:len(data)/2]
	holds(t, s, tenant, id, append(bytes.Clone(want), want...))
	if err := w.Abort(); err != nil {
		t.Errorf("abort after commit: %v", err)
	}
	holds(t, s, tenant, id, append(bytes.Clone(want), want...))
}

func abort(t *testing.T, storage Storage) {
	s := storage.Open(t)
	for _, size := range sizes(storage.Piece()) {
		id := blob.NewID()
		w, err := s.Create(t.Context(), tenant, id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content(size)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Abort(), w.Abort()); err != nil {
			t.Error(err)
		}
		missing(t, s, tenant, id)
	}
	nothing(t, storage)
}

func ended(t *testing.T, storage Storage) {
	s := storage.Open(t)
	for _, end := range []func(blob.Writer) error{blob.Writer.Commit, blob.Writer.Abort} {
		w, err := s.Create(t.Context(), tenant, blob.NewID())
		if err != nil {
			t.Fatal(err)
		}
		if err := end(w); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("x")); err == nil {
			t.Error("written to")
		}
		if err := w.Commit(); err == nil {
			t.Error("committed")
		}
	}
}

func cancelled(t *testing.T, storage Storage) {
	s := storage.Open(t)
	for _, size := range []int{0, 10, 2 * storage.Piece()} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		id := blob.NewID()
		w, err := s.Create(ctx, tenant, id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content(size)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := w.Commit(); !fault.Is(err, fault.Unavailable) {
			t.Errorf("committed: %v", err)
		}
		if err := w.Abort(); err != nil { // goes on without the caller's context
			t.Error(err)
		}
		missing(t, s, tenant, id)
	}
	nothing(t, storage)
}

func taken(t *testing.T, storage Storage) {
	s := storage.Open(t)
	id := mustPut(t, s, tenant, content(10))
	err := put(t.Context(), s, tenant, id, content(20))
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("written over: %v", err)
	}
	holds(t, s, tenant, id, content(10))
	if err := put(t.Context(), s, "other", id, content(20)); err != nil {
		t.Errorf("another tenant's blob is in the way: %v", err)
	}
	holds(t, s, tenant, id, content(10))
}

func deleted(t *testing.T, storage Storage) {
	s := storage.Open(t)
	for _, size := range sizes(storage.Piece()) {
		id := mustPut(t, s, tenant, content(size))
		for range 2 {
			if err := s.Delete(t.Context(), tenant, id); err != nil {
				t.Fatal(err)
			}
			missing(t, s, tenant, id)
		}
	}
	if ids := list(t, s, tenant); len(ids) > 0 {
		t.Errorf("%d blobs are listed", len(ids))
	}
	if err := s.Delete(t.Context(), "nobody", blob.NewID()); err != nil {
		t.Errorf("a tenant without blobs: %v", err)
	}
	nothing(t, storage)
}

func listed(t *testing.T, storage Storage) {
	s := storage.Open(t)
	var want []blob.ID
	for range 23 {
		want = append(want, mustPut(t, s, tenant, []byte("x")))
	}
	slices.SortFunc(want, func(a, b blob.ID) int { return bytes.Compare(a[:], b[:]) })
	for _, limit := range []int{1, 7, 23, 100} {
		var got []blob.ID
		for after := (blob.ID{}); ; after = got[len(got)-1] {
			page, err := s.List(t.Context(), tenant, after, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("%d of %d: %v", len(page), limit, err)
			}
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %v, want %v", limit, got, want)
		}
	}
	if ids, err := s.List(t.Context(), "nobody", blob.ID{}, 10); len(ids) > 0 || err != nil {
		t.Errorf("a tenant without blobs: %v, %v", ids, err)
	}
}

func isolated(t *testing.T, storage Storage) {
	s := storage.Open(t)
	id := mustPut(t, s, tenant, content(100))
	for _, other := range []string{"other", "mai", "main2", "Main"} {
		missing(t, s, other, id)
		if ids := list(t, s, other); len(ids) > 0 {
			t.Errorf("%s sees %d blobs", other, len(ids))
		}
		if err := s.Delete(t.Context(), other, id); err != nil {
			t.Errorf("%s: %v", other, err)
		}
	}
	holds(t, s, tenant, id, content(100))
}

func anyTenant(t *testing.T, storage Storage) {
	s := storage.Open(t)
	names := []string{"..", "../..", "../x", "/", "/etc", "a/b", `a\b`, "new", "größe 📏", "a b", "%2e%2e", "-", "."}
	ids := map[string]blob.ID{}
	for i, name := range names {
		ids[name] = mustPut(t, s, name, content(i+1))
	}
	for i, name := range names {
		holds(t, s, name, ids[name], content(i+1))
		if got := list(t, s, name); !slices.Equal(got, []blob.ID{ids[name]}) {
			t.Errorf("%q has %v", name, got)
		}
		if err := s.Delete(t.Context(), name, ids[name]); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	nothing(t, storage)
}

func readWhileDeleted(t *testing.T, storage Storage) {
	s := storage.Open(t)
	data := content(4*storage.Piece() + 3)
	id := mustPut(t, s, tenant, data)
	started, done := make(chan struct{}), make(chan error, 4)
	for range cap(done) {
		r, err := s.Open(t.Context(), tenant, id)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			<-started
			got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			err = errors.Join(onlyMissing(err), r.Close())
			if !bytes.Equal(got, data[:len(got)]) || err == nil && len(got) < len(data) && r.Size() != int64(len(data)) {
				err = errors.Join(err, errors.New("read other bytes"))
			}
			done <- err
		}()
	}
	close(started)
	if err := s.Delete(t.Context(), tenant, id); err != nil {
		t.Error(err)
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	missing(t, s, tenant, id)
	nothing(t, storage)
}

// onlyMissing takes away the error that a deletion may give its readers.
func onlyMissing(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func many(t *testing.T, storage Storage) {
	s := storage.Open(t)
	done := make(chan error, 6)
	for i := range cap(done) {
		go func() {
			data, id := content(storage.Piece()+i), blob.NewID()
			err := put(t.Context(), s, tenant, id, data)
			if err == nil {
				var got []byte
				if got, err = get(t.Context(), s, tenant, id); err == nil && !bytes.Equal(got, data) {
					err = errors.New("read other bytes")
				}
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if ids := list(t, s, tenant); len(ids) != cap(done) {
		t.Errorf("%d blobs are listed", len(ids))
	}
}

func full(t *testing.T, storage Storage) {
	piece := storage.Piece()
	for _, room := range []int{0, piece / 2, 2*piece + 1} {
		s := storage.Open(t)
		storage.Full(t, room)
		id := blob.NewID()
		err := put(t.Context(), s, tenant, id, content(4*piece))
		if !fault.Is(err, fault.Unavailable) || fault.CodeOf(err) != blob.CodeFull {
			t.Errorf("with room for %d bytes: %v", room, err)
		}
		missing(t, s, tenant, id)
		nothing(t, storage)
		storage.Full(t, -1)
		if err := put(t.Context(), s, tenant, id, content(4*piece)); err != nil {
			t.Errorf("once there is room: %v", err)
		}
		if err := s.Delete(t.Context(), tenant, id); err != nil {
			t.Error(err)
		}
	}
}

// crashedUpload ends the process between every two changes. Then the blob is
// there whole or not at all, what is there is listed, and nothing else is left.
func crashedUpload(t *testing.T, storage Storage) {
	data := content(2*storage.Piece() + 9)
	for n := 0; ; n++ {
		s := storage.Open(t)
		id := blob.NewID()
		storage.Fail(n)
		err := put(t.Context(), s, tenant, id, data)
		crashed := storage.Failed()
		s = storage.Open(t)
		got, readErr := get(t.Context(), s, tenant, id)
		switch {
		case err == nil && readErr != nil:
			t.Errorf("crash %d: acknowledged and lost: %v", n, readErr)
		case readErr == nil && !bytes.Equal(got, data):
			t.Errorf("crash %d: %d of %d bytes are there", n, len(got), len(data))
		case fault.Is(readErr, fault.NotFound):
			nothing(t, storage)
		case readErr != nil:
			t.Errorf("crash %d: %v", n, readErr)
		}
		if visible := slices.Contains(list(t, s, tenant), id); visible != (readErr == nil) {
			t.Errorf("crash %d: listed: %t, read: %v", n, visible, readErr)
		}
		if err := s.Delete(t.Context(), tenant, id); err != nil {
			t.Errorf("crash %d: %v", n, err)
		}
		nothing(t, storage)
		if !crashed {
			if n < 3 || err != nil {
				t.Errorf("the upload needed %d changes: %v", n, err)
			}
			return
		}
	}
}

func crashedDelete(t *testing.T, storage Storage) {
	data := content(2*storage.Piece() + 9)
	for n := 0; ; n++ {
		s := storage.Open(t)
		id := mustPut(t, s, tenant, data)
		storage.Fail(n)
		err := s.Delete(t.Context(), tenant, id)
		crashed := storage.Failed()
		s = storage.Open(t)
		got, readErr := get(t.Context(), s, tenant, id)
		switch {
		case err == nil && !fault.Is(readErr, fault.NotFound):
			t.Errorf("crash %d: acknowledged and there: %v", n, readErr)
		case readErr == nil && !bytes.Equal(got, data):
			t.Errorf("crash %d: %d of %d bytes are there", n, len(got), len(data))
		}
		if err := s.Delete(t.Context(), tenant, id); err != nil {
			t.Errorf("crash %d: %v", n, err)
		}
		nothing(t, storage)
		if !crashed {
			if n == 0 || err != nil {
				t.Errorf("the deletion needed %d changes: %v", n, err)
			}
			return
		}
	}
}
