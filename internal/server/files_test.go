package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/server"
)

// A file is somebody's upload: it is given out to be kept, never to be shown.
func TestAFileIsGivenOutAsAttachment(t *testing.T) {
	s := newServer(t, &fakeEngine{})
	for _, method := range []string{"GET", "HEAD"} {
		w := serve(s, request(method, "/v1/instances/1/files/2", ""))
		if want := map[string]string{"GET": fileContent, "HEAD": ""}[method]; w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s = %d with %d bytes", method, w.Code, w.Body.Len())
		}
		for name, want := range map[string]string{
			"Content-Type": "text/html", "Content-Disposition": "attachment; filename*=utf-8''M%C3%A4rz%201%3B.pdf",
			"X-Content-Type-Options": "nosniff", "Content-Length": "200000", "Accept-Ranges": "bytes", "Cache-Control": "no-store",
			"Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s = %q; want %q", method, name, got, want)
			}
		}
	}
}

func TestRangesOfAFile(t *testing.T) {
	s := newServer(t, &fakeEngine{})
	etag := serve(s, request("HEAD", "/v1/instances/1/files/2", "")).Header().Get("ETag")
	if len(etag) != 66 {
		t.Fatalf("ETag = %s; want a SHA-256", etag)
	}
	for _, c := range []struct {
		header, value, condition string
		status                   int
		body                     string
	}{
		{"Range", "bytes=3-5", "", 206, "345"},
		{"Range", "bytes=-2", "", 206, "89"},
		{"Range", "bytes=199998-", "", 206, "89"},
		{"Range", "bytes=199998-999999", "", 206, "89"},
		{"Range", "bytes=3-5", etag, 206, "345"},
		{"Range", "bytes=3-5", `"other"`, 200, fileContent},
		{"Range", "pages=3-5", "", 416, ""},
		{"Range", "bytes=200000-", "", 416, ""},
		{"Range", "bytes=5-3", "", 416, ""},
		{"If-None-Match", etag, "", 304, ""},
		{"If-None-Match", `"other"`, "", 200, fileContent},
		{"If-Match", `"other"`, "", 412, ""},
	} {
		r := request("GET", "/v1/instances/1/files/2", "")
		r.Header.Set(c.header, c.value)
		if c.condition != "" {
			r.Header.Set("If-Range", c.condition)
		}
		w := serve(s, r)
		if w.Code != c.status {
			t.Errorf("%s: %s (%s) = %d; want %d", c.header, c.value, c.condition, w.Code, c.status)
		}
		if c.status == 416 {
			if p := decodeProblem(t, w); p.Code != "range_not_satisfiable" || w.Header().Get("Content-Disposition") != "" {
				t.Errorf("%s: %s: code %s; want range_not_satisfiable", c.header, c.value, p.Code)
			}
			continue
		}
		if w.Body.String() != c.body {
			t.Errorf("%s: %s gave %d other bytes", c.header, c.value, w.Body.Len())
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(0, len(fileContent)-1).Draw(t, "from")
		to := rapid.IntRange(from, len(fileContent)-1).Draw(t, "to")
		r := request("GET", "/v1/instances/1/files/2", "")
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to))
		if w := serve(s, r); w.Code != 206 || w.Body.String() != fileContent[from:to+1] {
			t.Fatalf("bytes=%d-%d = %d with %d bytes", from, to, w.Code, w.Body.Len())
		}
	})
}

// What was sent cannot be taken back: a file that turns out to be damaged in its
// middle ends the connection, so that nobody takes a part for the whole.
func TestADamagedFileEndsTheConnection(t *testing.T) {
	ts := httptest.NewServer(newServer(t, &fakeEngine{damaged: 150_000}))
	defer ts.Close()
	r := request("GET", ts.URL+"/v1/instances/1/files/2", "")
	r.RequestURI = ""
	res, err := ts.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(fileContent, string(got)) {
		t.Errorf("got %d bytes and %v; want a beginning and then an unexpected end", len(got), err)
	}
}

func TestAnUploadIsStreamed(t *testing.T) {
	e := &fakeEngine{}
	s := newServer(t, e, func(c *server.Config) { c.MaxBody = 10 })
	body := strings.Repeat("x", 3<<20) // far beyond the bound of other bodies
	r := request("POST", "/v1/files?name=a%20b.pdf", body)
	r.Header.Set("Content-Type", "application/pdf")
	if w := serve(s, r); w.Code != 200 {
		t.Fatalf("status = %d: %s", w.Code, w.Body)
	}
	want := engine.Incoming{Name: "a b.pdf", Type: "application/pdf", Size: 3 << 20}
	if got := e.last(t); got.in != want || got.id != body || got.caller.Principal != "p-1" {
		t.Errorf("the engine got %+v by %s; want %+v", got.in, got.caller.Principal, want)
	}
}

func TestUploadsThatAreNotAccepted(t *testing.T) {
	for _, c := range []struct {
		path, header, value string
		fault               error
		status              int
		code                string
	}{
		{"/v1/files?name=a&name=b", "", "", nil, 400, "invalid_query"},
		{"/v1/files?nam=a", "", "", nil, 400, "invalid_query"},
		{"/v1/files?name=a", "Content-Type", "multipart/form-data; boundary=x", nil, 415, "unsupported_media_type"},
		{"/v1/files?name=a", "Content-Encoding", "gzip", nil, 415, "unsupported_media_type"},
		{"/v1/files?name=a", "", "", fault.New(fault.Invalid, "too large").WithCode("too_large"), 413, "too_large"},
		{"/v1/files?name=a", "", "", fault.New(fault.Conflict, "full").WithCode("files_full"), 413, "files_full"},
		{"/v1/files?name=a", "", "", fault.New(fault.Unavailable, "full").WithCode("storage_full"), 503, "storage_full"},
	} {
		r := request("POST", c.path, "content")
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		w := serve(newServer(t, &fakeEngine{err: c.fault}), r)
		if p := decodeProblem(t, w); w.Code != c.status || p.Code != c.code {
			t.Errorf("POST %s %s = %d %s; want %d %s", c.path, c.value, w.Code, p.Code, c.status, c.code)
		}
	}
}

// A sender who stops in the middle is not waited for for ever, and one who is
// slow but moves on is not cut off, however long it takes.
func TestUploadsMustMoveOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		h := &http.Server{Handler: newServer(t, &fakeEngine{}), ReadTimeout: time.Minute, WriteTimeout: time.Minute}
		go h.Serve(l)
		defer h.Close()
		conn, err := l.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		head := "POST /v1/files?name=a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + goodKey + "\r\nContent-Length: 10\r\n\r\n123"
		if _, err := conn.Write([]byte(head)); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		answer, err := io.ReadAll(conn)
		if err != nil || !bytes.Contains(answer, []byte("408 Request Timeout")) || !bytes.Contains(answer, []byte(`"code":"timeout"`)) {
			t.Errorf("a sender who stops is answered %q, %v; want 408", answer, err)
		}
		if took := time.Since(begin); took < 30*time.Second || took > time.Minute {
			t.Errorf("a sender who stops is given up after %s; want 30 s", took)
		}
		c, err := client.New(client.Config{URL: "http://127.0.0.1", Key: goodKey, HTTPClient: &http.Client{Transport: &http.Transport{DialContext: l.dial}}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if u, err := c.PutFile(t.Context(), "a", "", slow{strings.NewReader(strings.Repeat("x", 8))}); err != nil || u.Size != 8 {
			t.Errorf("a slow sender: %+v, %v", u, err)
		}
	})
}

// slow gives a byte every 20 seconds.
type slow struct{ from io.Reader }

func (s slow) Read(p []byte) (int, error) {
	time.Sleep(20 * time.Second) // of the bubble's time
	return s.from.Read(p[:1])
}

// pipes is a listener without a network, so that its connections live in the
// bubble's time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours, nil
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }
