package s3_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/blob/blobtest"
	"github.com/underseal/underseal/internal/blob/s3"
	"github.com/underseal/underseal/internal/blob/s3/s3test"
	"github.com/underseal/underseal/internal/fault"
)

// fake returns a fake service and how to reach it.
func fake(t testing.TB, handler http.Handler) s3.Config {
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	return s3.Config{
		Endpoint: server.URL, Bucket: "files", AccessKey: "AKIDEXAMPLE", SecretKey: "example", Deployment: "d1",
		Transport: server.Client().Transport,
	}
}

func newBucket(t testing.TB, answered bool) *s3test.Bucket {
	return s3test.NewBucket(t, fake(t, &s3test.Fake{AccessKey: "AKIDEXAMPLE"}), answered)
}

func TestABucketIsAStore(t *testing.T) {
	if testing.Short() {
		t.Skip("uploads hundreds of MiB")
	}
	blobtest.TestStore(t, func(t *testing.T) blobtest.Storage { return newBucket(t, false) })
}

func TestABucketSurvivesALostAnswer(t *testing.T) {
	blobtest.TestCrashes(t, func(t *testing.T) blobtest.Storage { return newBucket(t, true) })
}

func TestOneLostMessageEndsNoUpload(t *testing.T) {
	if testing.Short() {
		t.Skip("an upload for every message")
	}
	for name, answered := range map[string]bool{"a request": false, "an answer": true} {
		t.Run(name, func(t *testing.T) { s3test.TestOneLost(t, newBucket(t, answered)) })
	}
}

func TestSweepSparesWhatIsBeingWritten(t *testing.T) {
	b := newBucket(t, false)
	s := b.Open(t)
	id := blob.NewID()
	w, err := s.Create(t.Context(), "main", id)
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("x"), 2*s3test.PartSize+1)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := s.(blob.Sweeper).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Errorf("swept away: %v", err)
	}
	if b.Left(t) != 1 {
		t.Errorf("%d objects and uploads", b.Left(t))
	}
}

func TestOpenRefusesSettings(t *testing.T) {
	good := s3.Config{Endpoint: "https://s3.example.org", Bucket: "bbb", AccessKey: "a", SecretKey: "s", Deployment: "d"}
	if _, err := s3.Open(good); err != nil {
		t.Fatalf("good settings, of a service that is not there: %v", err)
	}
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*s3.Config)
	}{
		{"no endpoint", func(c *s3.Config) { c.Endpoint = "" }},
		{"a host without a scheme", func(c *s3.Config) { c.Endpoint = "s3.example.org" }},
		{"an endpoint with a path", func(c *s3.Config) { c.Endpoint = "https://s3.example.org/bucket" }},
		{"an endpoint with a password", func(c *s3.Config) { c.Endpoint = "https://a:hunter2@s3.example.org" }},
		{"http over a network", func(c *s3.Config) { c.Endpoint = "http://s3.example.org" }},
		{"another scheme", func(c *s3.Config) { c.Endpoint = "ftp://s3.example.org" }},
		{"no bucket", func(c *s3.Config) { c.Bucket = "" }},
		{"a bucket with a slash", func(c *s3.Config) { c.Bucket = "a/b/c" }},
		{"no key", func(c *s3.Config) { c.AccessKey = "" }},
		{"no secret", func(c *s3.Config) { c.SecretKey = "" }},
		{"an authority that is not there", func(c *s3.Config) { c.CAFile = notPEM + "x" }},
		{"an authority that is none", func(c *s3.Config) { c.CAFile = notPEM }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := good
			c.change(&bad)
			if _, err := s3.Open(bad); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

func TestTheServicesAuthorityIsChecked(t *testing.T) {
	server := httptest.NewTLSServer(&s3test.Fake{AccessKey: "a"})
	t.Cleanup(server.Close)
	cfg := s3.Config{Endpoint: server.URL, Bucket: "bbb", AccessKey: "a", SecretKey: "s", Deployment: "d"}
	open := func() error {
		s, err := s3.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.List(t.Context(), "main", blob.ID{}, 1)
		return err
	}
	if err := open(); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a certificate of an unknown authority: %v", err)
	}
	cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(cfg.CAFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(); err != nil {
		t.Errorf("a certificate of the authority in the file: %v (%v)", err, errors.Unwrap(err))
	}
}

func TestErrorsSayWhatToDoAndNoSecret(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   string
		says   string
	}{
		{403, "AccessDenied", "storage_denied", "refuses our key"}, {403, "InvalidAccessKeyId", "storage_denied", "refuses our key"},
		{404, "NoSuchBucket", "unavailable", "no such bucket"}, {403, "QuotaExceeded", blob.CodeFull, "no room"},
		{507, "Whatever", blob.CodeFull, "no room"}, {400, "Whatever", "unavailable", "failed"}, {503, "SlowDown", "unavailable", "failed"},
	} {
		t.Run(c.code, func(t *testing.T) {
			cfg := fake(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				fmt.Fprintf(w, `<Error><Code>%s</Code><Message>secret-message</Message></Error>`, c.code)
			}))
			cfg.SecretKey = "hunter2"
			s, err := s3.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.List(t.Context(), "main", blob.ID{}, 1)
			if !fault.Is(err, fault.Unavailable) || fault.CodeOf(err) != c.want || !strings.Contains(err.Error(), c.says) ||
				strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v (%s)", err, fault.CodeOf(err))
			}
		})
	}
}

// A stream is read with two requests for its ends and one for all the rest.
func TestReadingOnIsOneRequest(t *testing.T) {
	var requests atomic.Int64
	service := &s3test.Fake{AccessKey: "AKIDEXAMPLE"}
	s, err := s3.Open(fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			requests.Add(1)
		}
		service.ServeHTTP(w, r)
	})))
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	id := blob.NewID()
	w, err := s.Create(t.Context(), "main", id)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), "main", id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	end := make([]byte, 100)
	if _, err := r.ReadAt(end, r.Size()-100); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := io.CopyBuffer(struct{ io.Writer }{&got}, io.NewSectionReader(r, 0, r.Size()), make([]byte, 10_000)); err != nil || !bytes.Equal(got.Bytes(), data) {
		t.Fatalf("read %d bytes, %v", got.Len(), err)
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

// S3 takes 10,000 parts of an object: those of a very large one are larger.
func TestPartsGrow(t *testing.T) {
	if testing.Short() {
		t.Skip("uploads 118 MiB")
	}
	var sizes []int64 // of the parts, which come one after the other
	service := &s3test.Fake{AccessKey: "AKIDEXAMPLE"}
	cfg := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("partNumber") {
			sizes = append(sizes, r.ContentLength>>20)
		}
		service.ServeHTTP(w, r)
	}))
	cfg.Growth = 1
	s, err := s3.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := []int64{5, 10, 20, 40, 40, 3}
	id, megabyte, size := blob.NewID(), make([]byte, 1<<20), int64(0)
	w, err := s.Create(t.Context(), "main", id)
	for _, part := range want {
		for range part {
			if err == nil {
				_, err = w.Write(megabyte)
			}
		}
		size += part << 20
	}
	if err == nil {
		err = w.Commit()
	}
	if err != nil || !slices.Equal(sizes, want) {
		t.Fatalf("parts of %d MiB, %v; want %d", sizes, err, want)
	}
	r, err := s.Open(t.Context(), "main", id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Size() != size {
		t.Errorf("the blob has %d bytes, %d were written", r.Size(), size)
	}
}

// What one upload leaves in memory is no part of the next.
func TestUploadsShareNoBytes(t *testing.T) {
	s := newBucket(t, false).Open(t)
	for _, content := range []string{strings.Repeat("a", 3*s3test.PartSize), "b", "", strings.Repeat("c", s3test.PartSize+1)} {
		id := blob.NewID()
		w, err := s.Create(t.Context(), "main", id)
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err == nil {
			err = w.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Open(t.Context(), "main", id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if r.Close(); err != nil || string(got) != content {
			t.Errorf("%d bytes written, %d others read, %v", len(content), len(got), err)
		}
	}
}

// A service that does not know ranges would answer with other bytes.
func TestAnotherRangeIsRefused(t *testing.T) {
	service := &s3test.Fake{AccessKey: "AKIDEXAMPLE"}
	s, err := s3.Open(fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		service.ServeHTTP(w, r)
	})))
	if err != nil {
		t.Fatal(err)
	}
	id := blob.NewID()
	w, err := s.Create(t.Context(), "main", id)
	if err == nil {
		_, err = w.Write([]byte("0123456789"))
	}
	if err == nil {
		err = w.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), "main", id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := r.ReadAt(make([]byte, 3), 4); n != 0 || !fault.Is(err, fault.Unavailable) {
		t.Errorf("read %d bytes: %v", n, err)
	}
}

// hanging is a service that answers some requests and takes the others, or their
// bodies, for ever.
type hanging struct {
	answers int
	inner   http.RoundTripper
}

func (h *hanging) RoundTrip(req *http.Request) (*http.Response, error) {
	if h.answers--; h.answers >= 0 {
		return h.inner.RoundTrip(req)
	}
	if req.Method == http.MethodGet {
		size := 1000
		return &http.Response{
			Status: "206 Partial Content", StatusCode: http.StatusPartialContent, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{
				"Content-Range": {fmt.Sprintf("bytes 0-%d/%d", size-1, size)}, "Content-Length": {fmt.Sprint(size)},
				"Last-Modified": {"Thu, 01 Jan 2026 00:00:00 GMT"}, "Etag": {"x"},
			},
			Body: io.NopCloser(waiting{req.Context()}), ContentLength: int64(size), Request: req,
		}, nil
	}
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// waiting is a body that never comes.
type waiting struct{ ctx context.Context }

func (w waiting) Read([]byte) (int, error) {
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

// inMemory reaches a service without a network.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, req)
	return w.Result(), nil
}

func TestAServiceThatHangsIsGivenUp(t *testing.T) {
	for answers, what := range []string{"looking for the name", "putting", "looking for the length", "reading"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				err := inAndOut(t, &hanging{answers, inMemory{&s3test.Fake{AccessKey: "AKIDEXAMPLE"}}})
				if took := time.Since(begin); !fault.Is(err, fault.Unavailable) || took < time.Minute || took > 5*time.Minute {
					t.Errorf("given up after %s: %v", took, err)
				}
			})
		})
	}
}

// inAndOut writes a blob and reads it.
func inAndOut(t *testing.T, transport http.RoundTripper) error {
	s, err := s3.Open(s3.Config{
		Endpoint: "https://s3.example.org", Bucket: "files", AccessKey: "AKIDEXAMPLE", SecretKey: "example", Deployment: "d1", Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	id := blob.NewID()
	w, err := s.Create(t.Context(), "main", id)
	if err != nil {
		return err
	}
	if _, err := w.Write(make([]byte, 1000)); err != nil {
		return err
	}
	if err := w.Commit(); err != nil {
		return err
	}
	r, err := s.Open(t.Context(), "main", id)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.ReadAt(make([]byte, 1000), 0)
	return err
}
