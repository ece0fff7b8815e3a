package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/minio/minio-go/v7"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
)

// Create implements blob.Store.
func (s *Store) Create(ctx context.Context, tenant string, id blob.ID) (blob.Writer, error) {
	name := s.name(tenant, id)
	if !s.begin(name) {
		return nil, blob.Exists(id)
	}
	_, err := s.stat(ctx, name)
	switch err = failed("create", id, err); {
	case err == nil:
		err = blob.Exists(id)
	case fault.Is(err, fault.NotFound):
		return &writer{ctx: ctx, store: s, id: id, name: name}, nil
	}
	s.end(name)
	return nil, err
}

// writer is a blob that is being written. It holds one part. What fits into one
// is put as it is, more is a multipart upload.
type writer struct {
	ctx    context.Context // of the whole upload; a writer does not outlive it
	store  *Store
	id     blob.ID
	name   string
	upload string // id of the multipart upload; empty: there is none yet
	parts  []minio.CompletePart
	part   []byte // the next one, in a room of the store; nil: it has none
	size   int64
	ended  bool
	err    error // the first failure
}

// Write implements blob.Writer.
func (w *writer) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if err := w.usable(); err != nil {
			return n, err
		}
		switch room := w.partSize() - len(w.part); {
		case w.part == nil:
			w.begin()
		case room == 0:
			w.flush()
		default:
			part := min(len(p)-n, room)
			w.part = append(w.part, p[n:n+part]...)
			n += part
		}
	}
	return n, w.err
}

// begin makes room for the first part.
func (w *writer) begin() {
	room, err := w.store.rooms.lend()
	if err != nil {
		w.err = fault.New(fault.Unavailable, "write blob %s: there is no memory for a part of it: %w", w.id, err)
		return
	}
	w.part = room[:0]
}

// partSize is how large the next part is, unless it is the last one.
func (w *writer) partSize() int {
	return w.store.partSize << min(len(w.parts)/w.store.growth, doublings)
}

func (w *writer) usable() error {
	if w.err == nil && w.ended {
		return fault.New(fault.Invalid, "blob %s was committed or aborted already", w.id)
	}
	return w.err
}

// flush sends a part; w.err says whether it went well.
func (w *writer) flush() {
	s := w.store
	ctx, cancel := context.WithTimeout(w.ctx, callTimeout)
	defer cancel()
	if w.upload == "" {
		if w.upload, w.err = s.core.NewMultipartUpload(ctx, s.bucket, w.name, options); w.err != nil {
			w.err = failed("write", w.id, w.err)
			return
		}
	}
	number := len(w.parts) + 1
	part, err := s.core.PutObjectPart(ctx, s.bucket, w.name, w.upload, number, bytes.NewReader(w.part), int64(len(w.part)),
		minio.PutObjectPartOptions{Sha256Hex: digest(w.part)})
	if err != nil {
		w.err = failed("write", w.id, err)
		return
	}
	w.parts = append(w.parts, minio.CompletePart{PartNumber: number, ETag: part.ETag})
	w.size += int64(len(w.part))
	w.part = w.part[:0]
}

var options = minio.PutObjectOptions{ContentType: "application/octet-stream"}

// digest lets the service check what it got, in the request's signature.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Commit implements blob.Writer.
func (w *writer) Commit() error {
	if err := w.usable(); err != nil {
		return err
	}
	if w.upload == "" {
		w.put()
	} else {
		w.complete()
	}
	w.release()
	if w.err == nil {
		w.end()
	}
	return w.err
}

// put sends a blob that fits into one part.
func (w *writer) put() {
	ctx, cancel := context.WithTimeout(w.ctx, callTimeout)
	defer cancel()
	_, err := w.store.core.PutObject(ctx, w.store.bucket, w.name, bytes.NewReader(w.part), int64(len(w.part)), "", digest(w.part), options)
	w.err = failed("commit", w.id, err)
}

func (w *writer) complete() {
	if w.flush(); w.err != nil {
		return
	}
	s := w.store
	ctx, cancel := context.WithTimeout(w.ctx, callTimeout)
	defer cancel()
	_, err := s.core.CompleteMultipartUpload(ctx, s.bucket, w.name, w.upload, w.parts, options)
	if err != nil && code(err) == codeNoUpload {
		// It may have been completed by a request whose answer was lost.
		if size, err := s.stat(w.ctx, w.name); err == nil && size == w.size {
			return
		}
	}
	w.err = failed("commit", w.id, err)
}

// end releases what the writer holds.
func (w *writer) end() {
	w.ended = true
	w.release()
	w.store.end(w.name)
}

// release gives back the memory of the part.
func (w *writer) release() {
	if w.part != nil {
		w.store.rooms.takeBack(w.part[:cap(w.part)])
		w.part = nil
	}
}

// Abort implements blob.Writer.
func (w *writer) Abort() error {
	if w.ended {
		return nil
	}
	defer w.end()
	if w.upload == "" {
		return nil
	}
	return failed("abort", w.id, w.store.abort(context.WithoutCancel(w.ctx), w.name, w.upload))
}
