package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
)

// FileValue is what stands in variables for an upload: {"$file": "<id>"}. The
// change that carries it puts the file into the instance.
func FileValue(u api.Upload) map[string]string { return map[string]string{"$file": u.File} }

// PutFile uploads a file of any size and media type ("": application/octet-stream).
// Nobody but the caller can put it into an instance, see FileValue, and it is
// deleted if that does not happen within a day. A body that can seek is sent again
// when its answer is lost; that makes another upload, and the first one is deleted.
//
// Only a connection on which nothing moves for the client's Timeout ends the
// upload; bound the whole of it by ctx.
func (c *Client) PutFile(ctx context.Context, name, mediaType string, body io.Reader) (api.Upload, error) {
	r := request{method: http.MethodPost, route: "/v1/files", path: "/v1/files", query: url.Values{"name": {name}}}
	seeker, _ := body.(io.Seeker)
	start, size, err := extent(seeker)
	if err != nil {
		return api.Upload{}, fmt.Errorf("%s: %w", r.name(), err)
	}
	for try := 1; ; try++ {
		out, after, err := c.putOnce(ctx, r, mediaType, size, body)
		if err == nil || seeker == nil || try >= c.tries || !repeatable(err) || !pause(ctx, try, after) {
			return out, err
		}
		if _, err := seeker.Seek(start, io.SeekStart); err != nil {
			return api.Upload{}, fmt.Errorf("%s: send again: %w", r.name(), err)
		}
	}
}

// extent returns where a body begins and how long it is; -1 for one that cannot
// seek.
func extent(s io.Seeker) (start, size int64, err error) {
	if s == nil {
		return 0, -1, nil
	}
	if start, err = s.Seek(0, io.SeekCurrent); err != nil {
		return 0, -1, err
	}
	end, err := s.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, -1, err
	}
	_, err = s.Seek(start, io.SeekStart)
	return start, end - start, err
}

func (c *Client) putOnce(ctx context.Context, r request, mediaType string, size int64, body io.Reader) (out api.Upload, after time.Duration, err error) {
	limited, p := patiently(ctx, c.timeout)
	defer p.end()
	if size < 0 {
		body = &leavable{ctx: limited, body: body}
	}
	sent := &outflow{body: body, sum: sha256.New(), patience: p, turn: make(chan struct{}, 1)}
	sent.give()
	// The transport may go on reading after it has the answer.
	defer func() { p.end(); sent.stop() }()
	req, err := c.newRequest(limited, r, nil, "")
	if err != nil {
		return out, 0, err
	}
	req.Body, req.ContentLength = io.NopCloser(sent), size
	if size == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Expect", "100-continue") // a refusal comes before the body goes
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return out, 0, unreachable(ctx, r, err)
	}
	defer res.Body.Close() // nothing is left to lose
	data, err := readAll(res)
	switch {
	case err != nil:
		return out, 0, unreachable(ctx, r, err)
	case res.StatusCode != http.StatusOK:
		return out, retryAfter(res.Header), refusal(r, res, data)
	}
	if out, err = decode[api.Upload](r, data); err != nil {
		return out, 0, err
	}
	if sum := sent.hex(); sum != out.SHA256 {
		return out, 0, fmt.Errorf("%s: the server has other bytes (SHA-256 %s) than were sent (%s)", r.name(), out.SHA256, sum)
	}
	return out, 0, nil
}

// leavable is a reader whose Read ends with the context, also while the reader
// below it, such as a terminal, has nothing to give. What that gives later is lost.
type leavable struct {
	ctx  context.Context
	body io.Reader
}

type part struct {
	data []byte
	err  error
}

func (l *leavable) Read(p []byte) (int, error) {
	parts := make(chan part, 1)
	go func() {
		data := make([]byte, len(p))
		n, err := l.body.Read(data)
		parts <- part{data[:n], err}
	}()
	select {
	case got := <-parts:
		return copy(p, got.data), got.err
	case <-l.ctx.Done():
		return 0, l.ctx.Err()
	}
}

// outflow is a body on its way, hashed.
type outflow struct {
	patience *patience

	turn    chan struct{} // holds a token while nobody has what follows
	body    io.Reader
	sum     hash.Hash
	stopped bool
}

func (o *outflow) give() { o.turn <- struct{}{} }

func (o *outflow) Read(p []byte) (int, error) {
	<-o.turn
	defer o.give()
	if o.stopped {
		return 0, errors.New("the upload has ended")
	}
	n, err := o.body.Read(p)
	o.sum.Write(p[:n])
	o.patience.moved()
	return n, err
}

func (o *outflow) stop() {
	<-o.turn
	defer o.give()
	o.stopped = true
}

func (o *outflow) hex() string {
	<-o.turn
	defer o.give()
	return hex.EncodeToString(o.sum.Sum(nil))
}

// patience ends a context when nothing has moved for a while.
type patience struct {
	cancel context.CancelFunc
	timer  *time.Timer
	limit  time.Duration
}

func patiently(ctx context.Context, limit time.Duration) (context.Context, *patience) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, &patience{cancel, time.AfterFunc(limit, cancel), limit}
}

func (p *patience) moved() { p.timer.Reset(p.limit) }

func (p *patience) end() { p.timer.Stop(); p.cancel() }

// A File is a file of an instance that is being downloaded. A connection that
// breaks is replaced, and the download goes on where it was. It is for one
// goroutine. Close it.
type File struct {
	Name   string
	Type   string // media type, as the uploader named it
	Size   int64
	SHA256 string // hex

	client  *Client
	ctx     context.Context // of GetFile: a reader has none of its own
	request request
	offset  int64     // of the next byte
	sum     hash.Hash // of all bytes up to offset; nil when some were passed over
	body    io.ReadCloser
	waits   *patience // of body
	failed  int       // tries since bytes came last
}

var _ io.ReadSeekCloser = (*File)(nil)

// GetFile downloads a file of an instance. What is read from the beginning to the
// end is compared with the SHA-256 that the server names: the last Read returns an
// error instead of io.EOF when it is not that.
func (c *Client) GetFile(ctx context.Context, instance, file string) (*File, error) {
	f := &File{client: c, ctx: ctx, request: get("/v1/instances/{instance}/files/{file}", instance, file), sum: sha256.New()}
	if f.request.empty != "" {
		return nil, fmt.Errorf("%s: %s id is empty", f.request.name(), f.request.empty)
	}
	for {
		res, after, err := f.open()
		if err == nil {
			return f, f.describe(res.Header)
		}
		if f.failed++; !repeatable(err) || f.failed >= c.tries || !pause(ctx, f.failed, after) {
			return nil, err
		}
	}
}

// describe reads what the first answer says of the file.
func (f *File) describe(h http.Header) error {
	_, params, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	f.Name, f.Type = params["filename"], h.Get("Content-Type")
	f.SHA256 = strings.Trim(h.Get("ETag"), `"`)
	var sizeErr error
	f.Size, sizeErr = strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err = errors.Join(err, sizeErr); err != nil || len(f.SHA256) != hex.EncodedLen(sha256.Size) {
		return errors.Join(fmt.Errorf("%s: the answer is not what this client knows: %w", f.request.name(), err), f.Close())
	}
	return nil
}

// open asks for the file from the offset on.
func (f *File) open() (res *http.Response, after time.Duration, err error) {
	ctx, waits := patiently(f.ctx, f.client.timeout)
	defer func() {
		if err != nil {
			waits.end()
		}
	}()
	req, err := f.client.newRequest(ctx, f.request, nil, "")
	if err != nil {
		return nil, 0, err
	}
	want := http.StatusOK
	if f.offset > 0 {
		want = http.StatusPartialContent
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", f.offset))
		req.Header.Set("If-Range", `"`+f.SHA256+`"`)
	}
	if res, err = f.client.http.Do(req); err != nil {
		return nil, 0, unreachable(f.ctx, f.request, err)
	}
	if res.StatusCode == want {
		f.body, f.waits = res.Body, waits
		return res, 0, nil
	}
	defer res.Body.Close() // nothing is left to lose
	if res.StatusCode == http.StatusOK {
		return nil, 0, fmt.Errorf("%s: the file is another one by now", f.request.name())
	}
	var data bytes.Buffer
	if _, err := io.Copy(&data, io.LimitReader(res.Body, 1<<20)); err != nil {
		return nil, 0, unreachable(f.ctx, f.request, err)
	}
	return nil, retryAfter(res.Header), refusal(f.request, res, data.Bytes())
}

// Read reads on. It tries again, a few times, when the connection breaks.
func (f *File) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for f.offset < f.Size {
		var after time.Duration
		var err error
		if f.body == nil {
			_, after, err = f.open()
		}
		if err == nil {
			var n int
			if n, err = f.readOn(p); n > 0 {
				return n, nil
			}
		}
		if f.failed++; !repeatable(err) || f.failed >= f.client.tries || !pause(f.ctx, f.failed, after) {
			return 0, err
		}
	}
	if f.sum != nil && hex.EncodeToString(f.sum.Sum(nil)) != f.SHA256 {
		return 0, fmt.Errorf("%s: what came is not the file: its SHA-256 is not %s", f.request.name(), f.SHA256)
	}
	return 0, io.EOF
}

// readOn reads from the connection that is open.
func (f *File) readOn(p []byte) (int, error) {
	n, err := f.body.Read(p[:min(int64(len(p)), f.Size-f.offset)])
	f.waits.moved()
	if n > 0 {
		f.failed = 0
		f.offset += int64(n)
		if f.sum != nil {
			f.sum.Write(p[:n])
		}
		return n, nil
	}
	if err == nil {
		return 0, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	err = unreachable(f.ctx, f.request, err)
	return 0, errors.Join(err, f.hangUp())
}

// Seek sets the place of the next Read. Only a file that is read from its
// beginning to its end is compared with its SHA-256.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		offset += f.Size
	}
	if offset < 0 {
		return f.offset, fmt.Errorf("%s: seek to %d", f.request.name(), offset)
	}
	if offset == f.offset {
		return offset, nil
	}
	f.offset, f.sum = offset, nil
	if offset == 0 {
		f.sum = sha256.New()
	}
	return offset, f.hangUp()
}

// Close ends the download.
func (f *File) Close() error {
	f.ctx = closed
	return f.hangUp()
}

// closed is the context of files that were closed.
var closed = func() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("the file is closed"))
	return ctx
}()

func (f *File) hangUp() error {
	if f.body == nil {
		return nil
	}
	f.waits.end()
	body := f.body
	f.body = nil
	return body.Close()
}
