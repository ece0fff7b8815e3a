// Package s3test holds internal/blob/s3 to its contract on any S3 service, the
// fake of this package or a real one.
package s3test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/blob/blobtest"
	"github.com/underseal/underseal/internal/blob/s3"
)

// PartSize is that of the stores under test: the least that S3 allows.
const PartSize = 5 << 20

// Bucket is storage in a bucket whose service answers as a test wants.
type Bucket struct {
	cfg   s3.Config
	admin *minio.Core
	// answered loses the first answer instead of the first request.
	answered bool

	mu     sync.Mutex // guards what follows
	left   int        // changes that may still happen; negative: any number
	once   bool       // only one is lost
	failed bool
	room   int // bytes that may still be put; negative: any number
}

var _ blobtest.Storage = (*Bucket)(nil)

// NewBucket makes the bucket of the configuration, whose Transport reaches the
// service, unless it is there. What is stored is told apart by the deployment.
func NewBucket(t testing.TB, cfg s3.Config, answered bool) *Bucket {
	t.Helper()
	minio.DefaultRetryUnit, minio.DefaultRetryCap = time.Millisecond, time.Millisecond
	secure := cfg.Endpoint[:5] == "https"
	host := cfg.Endpoint[len("http://"):]
	if secure {
		host = cfg.Endpoint[len("https://"):]
	}
	admin, err := minio.NewCore(host, &minio.Options{
		Creds: credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""), Secure: secure, Region: "us-east-1", Transport: cfg.Transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = admin.MakeBucket(t.Context(), cfg.Bucket, minio.MakeBucketOptions{})
	if code := minio.ToErrorResponse(err).Code; err != nil && code != "BucketAlreadyOwnedByYou" && code != "BucketAlreadyExists" {
		t.Fatal(err)
	}
	cfg.Deployment, cfg.PartSize = blob.NewID().String(), PartSize
	b := &Bucket{cfg: cfg, admin: admin, answered: answered, left: -1, room: -1}
	b.cfg.Transport = wire{b, cfg.Transport}
	return b
}

// Open implements blobtest.Storage.
func (b *Bucket) Open(t testing.TB) blob.Store {
	t.Helper()
	b.Fail(-1)
	b.Full(t, -1)
	s, err := s3.Open(b.cfg)
	if err == nil {
		err = s.Sweep(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Fail implements blobtest.Storage.
func (b *Bucket) Fail(n int) { b.lose(n, false) }

// Lose lets n changes happen and loses the next request or its answer, and none
// after it.
func (b *Bucket) Lose(n int) { b.lose(n, true) }

func (b *Bucket) lose(n int, once bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left, b.once, b.failed = n, once, false
}

// Failed implements blobtest.Storage.
func (b *Bucket) Failed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

// Full implements blobtest.Storage.
func (b *Bucket) Full(_ testing.TB, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.room = bytes
}

// Piece implements blobtest.Storage.
func (b *Bucket) Piece() int { return PartSize }

// Left counts objects and uploads.
func (b *Bucket) Left(t testing.TB) (n int) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	for object := range b.admin.Client.ListObjects(ctx, b.cfg.Bucket, minio.ListObjectsOptions{Prefix: b.cfg.Deployment, Recursive: true}) {
		if object.Err != nil {
			t.Fatal(object.Err)
		}
		n++
	}
	for upload := range b.admin.ListIncompleteUploads(ctx, b.cfg.Bucket, b.cfg.Deployment, true) {
		if upload.Err != nil {
			t.Fatal(upload.Err)
		}
		n++
	}
	return n
}

// wire is the way to the service.
type wire struct {
	*Bucket
	inner http.RoundTripper
}

var errCut = errors.New("the wire is cut")

// RoundTrip implements http.RoundTripper.
func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	lost, first, full := w.next(req)
	switch {
	case full:
		return noRoom(req), nil
	case !lost:
		return w.inner.RoundTrip(req)
	case first && w.answered:
		if resp, err := w.inner.RoundTrip(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	return nil, errCut
}

// next says what becomes of a request: it is lost, it is the first that is, or
// there is no room for it.
func (w wire) next(req *http.Request) (lost, first, full bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change := req.Method != http.MethodGet && req.Method != http.MethodHead
	if w.failed && !w.once {
		return true, false, false
	}
	if change && w.left == 0 && !w.failed {
		w.failed = true
		return true, true, false
	}
	if change && w.left > 0 {
		w.left--
	}
	if req.Method == http.MethodPut && w.room >= 0 {
		if w.room -= int(req.ContentLength); w.room < 0 {
			w.room = 0
			return false, false, true
		}
	}
	return false, false, false
}

// noRoom is how a service answers that has none.
func noRoom(req *http.Request) *http.Response {
	body := []byte(`<?xml version="1.0"?><Error><Code>QuotaExceeded</Code><Message>no room</Message></Error>`)
	return &http.Response{
		Status: "403 Forbidden", StatusCode: http.StatusForbidden, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/xml"}}, Body: io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)), Request: req,
	}
}
