package s3test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/underseal/underseal/internal/blob"
)

// TestOneLost loses one message at a time. A store that asks again has the blob,
// and nothing besides it once it was swept.
func TestOneLost(t *testing.T, b *Bucket) {
	data := bytes.Repeat([]byte("0123456789"), PartSize/10*2+1)
	for n := 0; ; n++ {
		s := b.Open(t)
		b.Lose(n)
		id := blob.NewID()
		if err := write(t, s, id, data); err != nil {
			t.Errorf("message %d: %v", n, err)
		}
		lost := b.Failed()
		s = b.Open(t)
		if got, err := read(t, s, id); err != nil || !bytes.Equal(got, data) {
			t.Errorf("message %d: %d bytes are there, %v", n, len(got), err)
		}
		if left := b.Left(t); left != 1 {
			t.Errorf("message %d: %d objects and uploads", n, left)
		}
		if err := s.Delete(t.Context(), "main", id); err != nil {
			t.Error(err)
		}
		if !lost {
			if n < 4 {
				t.Errorf("an upload was %d messages", n)
			}
			return
		}
	}
}

func write(t *testing.T, s blob.Store, id blob.ID, data []byte) error {
	w, err := s.Create(t.Context(), "main", id)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return errors.Join(err, w.Abort())
	}
	if err := w.Commit(); err != nil {
		return errors.Join(err, w.Abort())
	}
	return nil
}

func read(t *testing.T, s blob.Store, id blob.ID) ([]byte, error) {
	r, err := s.Open(t.Context(), "main", id)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
}
