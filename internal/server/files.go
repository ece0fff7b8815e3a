package server

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
)

// fileBytes is the answer of an operation that is a file.
type fileBytes struct{}

// fileRoutes are the two operations that do not fit into memory. They have no
// time in which they must be over, but each part of them must move on.
func (s *Server) fileRoutes() []*operation {
	put := &operation{
		method: "POST", path: "/v1/files", id: "putFile", tag: "files", streams: true, unkeyed: true,
		summary: "Upload a file, which its id then puts into an instance",
		in:      reflect.TypeFor[api.FileQuery](), out: reflect.TypeFor[api.Upload](), serve: s.putFile,
	}
	get := &operation{
		method: "GET", path: "/v1/instances/{instance}/files/{file}", id: "getFile", tag: "files", streams: true,
		summary: "Download a file of an instance, or ranges of it",
		in:      reflect.TypeFor[none](), out: reflect.TypeFor[fileBytes](), param: "instance", inner: "file", serve: s.getFile,
	}
	return []*operation{put, get}
}

// putFile reads a body of any type and size.
func (s *Server) putFile(ctx context.Context, x *exchange) error {
	var in api.FileQuery
	if err := bindQuery(x.op.query, x.r.URL.RawQuery, reflect.ValueOf(&in).Elem()); err != nil {
		return err
	}
	if err := checkFileType(x.r.Header); err != nil {
		return refuseBody(x.w, err)
	}
	out, err := s.engine.PutFile(ctx, x.caller, engine.Incoming{
		Name: in.Name, Type: x.r.Header.Get("Content-Type"), Size: x.r.ContentLength, Body: x.moving(x.r.Body),
	})
	x.move()
	if err != nil { // the rest of the body may never come
		return refuseBody(x.w, err)
	}
	return x.answer(http.StatusOK, out)
}

// checkFileType refuses a form that holds files: it would be kept as it is.
func checkFileType(h http.Header) error {
	if h["Content-Encoding"] != nil {
		return fault.New(fault.Invalid, "the file must not be compressed on its way (no Content-Encoding)").
			WithCode(api.CodeUnsupportedMediaType)
	}
	if kind, _, err := mime.ParseMediaType(h.Get("Content-Type")); err == nil && strings.HasPrefix(kind, "multipart/") {
		return fault.New(fault.Invalid, "the body must be the file itself, not a form with it").
			WithCode(api.CodeUnsupportedMediaType).WithHint("with curl: --data-binary @FILE -H 'Content-Type: application/pdf'")
	}
	return nil
}

// getFile serves a file to be kept, never to be shown: it is somebody's upload.
func (s *Server) getFile(ctx context.Context, x *exchange) error {
	d, err := s.engine.File(ctx, x.caller, x.id, x.innerID)
	if err != nil {
		return err
	}
	defer d.Close() // it was only read
	h := x.w.Header()
	h.Set("Content-Type", d.Type)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": d.Name}))
	h.Set("ETag", `"`+d.SHA256+`"`)
	from, to := &checked{ReadSeeker: d}, &sending{ResponseWriter: x.w, x: x}
	http.ServeContent(to, x.r, "", time.Time{}, from)
	if to.unsatisfied {
		h.Del("Content-Disposition")
		return fault.New(fault.Invalid, "the file has %d bytes, and none in the range that was asked for", d.Size).
			WithCode(api.CodeRange)
	}
	// The answer's head is gone: all that is left to say that the rest does not
	// come is to end the connection.
	return from.err
}

// checked remembers why reading failed, which http.ServeContent does not say.
type checked struct {
	io.ReadSeeker
	err error
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// sending notes the status of an answer, and gives each part of it time of its own.
type sending struct {
	http.ResponseWriter
	x           *exchange
	unsatisfied bool // the range; what net/http has to say of it is not sent
}

func (s *sending) WriteHeader(status int) {
	if status == http.StatusRequestedRangeNotSatisfiable {
		s.unsatisfied = true
		return
	}
	s.x.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (s *sending) Write(p []byte) (int, error) {
	if s.unsatisfied {
		return len(p), nil
	}
	s.x.move()
	return s.ResponseWriter.Write(p)
}

// moving gives each part of a body time of its own to arrive.
func (x *exchange) moving(body io.Reader) io.Reader { return &arriving{body, x} }

type arriving struct {
	io.Reader
	x *exchange
}

func (a *arriving) Read(p []byte) (int, error) {
	a.x.move()
	n, err := a.Reader.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fault.New(fault.Invalid, "the body did not arrive in time").WithCode(api.CodeTimeout)
	}
	return n, err
}

// move gives the connection the time of a whole request from now on, whatever
// time the listener gave it. Writers without deadlines (in tests) need none.
func (x *exchange) move() {
	c, until := http.NewResponseController(x.w), time.Now().Add(x.server.config.Timeout)
	_ = c.SetReadDeadline(until)
	_ = c.SetWriteDeadline(until)
}

// describeFile adds to the documentation what is not JSON.
func (o *operation) describeFile(doc *huma.Operation) {
	bytes := content("*/*", &huma.Schema{Type: "string", Format: "binary"})
	if o.out != reflect.TypeFor[fileBytes]() {
		doc.RequestBody = &huma.RequestBody{Required: true, Content: bytes}
		return
	}
	doc.Responses["200"].Content = bytes
	doc.Responses["206"] = &huma.Response{Description: http.StatusText(http.StatusPartialContent), Content: bytes}
	for _, h := range [][2]string{
		{"Range", "parts of the file (RFC 9110, section 14)"},
		{"If-Range", "an ETag: parts only of the very file it stands for"},
		{"If-None-Match", "an ETag: 304 if that is what the file has"},
	} {
		doc.Parameters = append(doc.Parameters, &huma.Param{Name: h[0], In: "header", Description: h[1], Schema: &huma.Schema{Type: "string"}})
	}
}
