package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

// fileServer serves one file and takes others.
type fileServer struct {
	content []byte
	hash    string // that it claims; "": the file's
	breaks  int    // connections that end after a part
	refuses int    // requests answered by 503
	seen    []string
}

func (s *fileServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.seen = append(s.seen, r.Method+" "+r.Header.Get("Range"))
	if s.refuses > 0 {
		s.refuses--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if r.Method == http.MethodPost {
		s.take(w, r)
		return
	}
	sum := sha256.Sum256(s.content)
	hash := hex.EncodeToString(sum[:])
	if s.hash != "" {
		hash = s.hash
	}
	w.Header().Set("ETag", `"`+hash+`"`)
	w.Header().Set("Content-Type", "application/pdf")
	w.Header().Set("Content-Disposition", "attachment; filename*=utf-8''M%C3%A4rz.pdf")
	if s.breaks > 0 {
		s.breaks--
		w = &breaking{w, 1000}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.content))
}

func (s *fileServer) take(w http.ResponseWriter, r *http.Request) {
	if s.breaks > 0 {
		s.breaks--
		_, _ = io.CopyN(io.Discard, r.Body, 10)
		panic(http.ErrAbortHandler)
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	sum := sha256.Sum256(data)
	u := api.Upload{File: "f", Name: r.URL.Query().Get("name"), Type: r.Header.Get("Content-Type"), Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
	if s.hash != "" {
		u.SHA256 = s.hash
	}
	_ = json.NewEncoder(w).Encode(u)
}

// breaking ends the connection after some bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		_, _ = b.ResponseWriter.Write(p[:len(p)+b.left])
		_ = http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return b.ResponseWriter.Write(p)
}

func (s *fileServer) client(t *testing.T) *client.Client {
	t.Helper()
	ts := httptest.NewServer(s)
	t.Cleanup(ts.Close)
	c, err := client.New(client.Config{URL: ts.URL, Key: "usk_x", Tries: 3})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDownloadsGoOnWhereTheyBroke(t *testing.T) {
	s := &fileServer{content: bytes.Repeat([]byte("0123456789"), 1000), breaks: 3, refuses: 1}
	f, err := s.client(t).GetFile(t.Context(), "i", "f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Name != "März.pdf" || f.Type != "application/pdf" || f.Size != 10_000 {
		t.Errorf("described as %+v", f)
	}
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, s.content) {
		t.Errorf("%d bytes, %v; want the file", len(got), err)
	}
	if len(s.seen) != 5 || s.seen[4] != "GET bytes=3000-" {
		t.Errorf("requests were %q", s.seen)
	}
}

func TestDownloadsAreCompared(t *testing.T) {
	s := &fileServer{content: []byte("other content"), hash: strings.Repeat("ab", 32)}
	f, err := s.client(t).GetFile(t.Context(), "i", "f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.ReadAll(f); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("a file that is not what the server says: %v", err)
	}
	if _, err := s.client(t).PutFile(t.Context(), "n", "", strings.NewReader("content")); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("an upload that arrived as something else: %v", err)
	}
}

func TestDownloadsBeginAnywhere(t *testing.T) {
	s := &fileServer{content: []byte("0123456789")}
	f, err := s.client(t).GetFile(t.Context(), "i", "f")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		offset int64
		whence int
		want   string
	}{{4, io.SeekStart, "456789"}, {-2, io.SeekEnd, "89"}, {0, io.SeekStart, "0123456789"}, {20, io.SeekStart, ""}, {-19, io.SeekCurrent, "123456789"}} {
		if _, err := f.Seek(c.offset, c.whence); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f); err != nil || string(got) != c.want {
			t.Errorf("from %d (%d): %q, %v; want %q", c.offset, c.whence, got, err, c.want)
		}
	}
	if _, err := f.Seek(-1, io.SeekStart); err == nil {
		t.Error("a seek before the beginning is no error")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Error(err)
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("after Close: %d bytes, %v", n, err)
	}
}

// A file that was exchanged under way is not put together from two.
func TestADownloadIsOfOneFile(t *testing.T) {
	s := &fileServer{content: bytes.Repeat([]byte("x"), 10_000), breaks: 1}
	f, err := s.client(t).GetFile(t.Context(), "i", "f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.content = bytes.Repeat([]byte("y"), 10_000)
	if _, err := io.ReadAll(f); err == nil || !strings.Contains(err.Error(), "another") {
		t.Errorf("the file was exchanged under way: %v", err)
	}
}

// A body that has nothing to read keeps nobody: neither who gives up nor who is
// refused.
func TestAnUploadDoesNotWaitForItsBody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	body, end := io.Pipe() // nothing is ever written to it
	defer end.Close()
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := (&fileServer{}).client(t).PutFile(ctx, "n", "", body); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if _, err := (&fileServer{refuses: 1}).client(t).PutFile(t.Context(), "n", "", body); err == nil {
		t.Errorf("refused: %v", err)
	}
}

func TestUploadsAreSentAgain(t *testing.T) {
	body := strings.Repeat("x", 1<<20)
	s := &fileServer{breaks: 1, refuses: 1}
	u, err := s.client(t).PutFile(t.Context(), "a b.pdf", "application/pdf", strings.NewReader(body))
	if err != nil || u.Size != 1<<20 || u.Name != "a b.pdf" || u.Type != "application/pdf" {
		t.Errorf("%+v, %v", u, err)
	}
	if len(s.seen) != 3 {
		t.Errorf("%d requests, want 3", len(s.seen))
	}
	s.breaks = 1
	once := io.MultiReader(strings.NewReader(body))
	if _, err := s.client(t).PutFile(t.Context(), "n", "", once); !errors.Is(err, client.ErrUnreachable) || len(s.seen) != 4 {
		t.Errorf("a body that cannot be read again: %v after %d requests", err, len(s.seen))
	}
	if u, err := s.client(t).PutFile(t.Context(), "n", "", strings.NewReader("")); err != nil || u.Size != 0 {
		t.Errorf("an empty file: %+v, %v", u, err)
	}
	if got := client.FileValue(api.Upload{File: "f"})["$file"]; got != "f" {
		t.Errorf("the value of a file names %q", got)
	}
}
