package server

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// bodies are the buffers that request bodies are read into. What leaves a
// binder never points into them.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is the largest buffer that is kept for the next request.
const maxPooled = 64 << 10

// bindBody reads the request's body into dst. A type without required names may
// come without a body.
func (o *operation) bindBody(w http.ResponseWriter, r *http.Request, dst reflect.Value) error {
	buf := bodies.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxPooled {
			buf.Reset()
			bodies.Put(buf)
		}
	}()
	if err := readBody(w, r, o.limit, buf); err != nil {
		return err
	}
	if buf.Len() == 0 {
		return o.withoutBody()
	}
	if err := checkType(r.Header); err != nil {
		return err
	}
	return decodeBody(o.bind, buf.Bytes(), dst)
}

func (o *operation) withoutBody() error {
	if !o.needsBody {
		return nil
	}
	return fault.New(fault.Invalid, "this needs a body, a JSON object").WithCode(api.CodeInvalidBody)
}

// decodeBody refuses what is not strict JSON of the binder's shape.
func decodeBody(bind binder, data []byte, dst reflect.Value) error {
	v, err := canon.DecodeJSON(data)
	if err != nil {
		return err
	}
	if details := bind(v, dst); details != nil {
		return fault.New(fault.Invalid, "the body is not accepted").
			WithCode(api.CodeInvalidBody).WithDetails(details...)
	}
	return nil
}

// readBody reads at most limit bytes. After a refusal the connection is closed,
// for the rest of the body may never come.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, buf *bytes.Buffer) error {
	if r.Body == nil || r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength > limit {
		return refuseBody(w, tooLarge(limit))
	}
	if r.ContentLength > 0 {
		buf.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(r.Body, limit+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuseBody(w, fault.New(fault.Invalid, "the body did not arrive in time").WithCode(api.CodeTimeout))
	case err != nil: // its text may quote what came
		return refuseBody(w, fault.New(fault.Invalid, "the body ended early").WithCode(api.CodeInvalidBody))
	case int64(buf.Len()) > limit:
		return refuseBody(w, tooLarge(limit))
	}
	return nil
}

func refuseBody(w http.ResponseWriter, err error) error {
	w.Header().Set("Connection", "close")
	return err
}

func tooLarge(limit int64) error {
	return fault.New(fault.Invalid, "the body is larger than %d bytes", limit).WithCode(api.CodeTooLarge)
}

// checkType accepts application/json, in UTF-8 and not compressed.
func checkType(h http.Header) error {
	text := h["Content-Type"]
	if len(text) == 1 && text[0] == "application/json" && h["Content-Encoding"] == nil {
		return nil
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset, other := params["charset"], len(params)
	if charset != "" {
		other--
	}
	switch {
	case len(text) > 1 || err != nil || kind != "application/json" || other > 0,
		charset != "" && !strings.EqualFold(charset, "utf-8"):
		return fault.New(fault.Invalid, "the body must be of Content-Type application/json").
			WithCode(api.CodeUnsupportedMediaType)
	case h["Content-Encoding"] != nil:
		return fault.New(fault.Invalid, "the body must not be compressed (no Content-Encoding)").
			WithCode(api.CodeUnsupportedMediaType)
	}
	return nil
}
