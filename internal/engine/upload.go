package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"mime"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// uploadAge is how long an upload waits for somebody to claim it.
const uploadAge = 24 * time.Hour

// upload is a file that no instance has yet. What is known of it is sealed in
// its row, under the key of its blob.
type upload struct {
	file
	owner string // the principal who sent it, and who alone may claim it
	made  time.Time
}

// Incoming is a file on its way in.
type Incoming struct {
	Name string // for people; without directories
	Type string // media type; "": application/octet-stream
	Size int64  // negative: not announced
	Body io.Reader
}

// PutFile takes a file in. It is nobody's until the same principal names it in
// what an instance is given, and is collected after a day without. Sending it
// again makes another upload.
func (e *Engine) PutFile(ctx context.Context, c Caller, in Incoming) (api.Upload, error) {
	may := func(c Caller) error { return e.may(ctx, c, access.PutFile, "file", "") }
	if err := may(c); err != nil {
		return api.Upload{}, err
	}
	u, err := e.newUpload(c, in)
	if err != nil {
		return api.Upload{}, err
	}
	if err := e.limits.fits(in.Size); err != nil {
		return api.Upload{}, err
	}
	done, err := e.limits.begin(c.Scope)
	if err != nil {
		return api.Upload{}, err
	}
	defer done()
	if u.key, err = e.ring.NewKey(ctx, c.Scope.Tenant()); err != nil {
		return api.Upload{}, err
	}
	row := store.UploadRow{Blob: u.id, Key: store.ID(u.key.ID), State: store.UploadOpen, Made: u.made}
	if row.Sealed, err = e.sealUpload(c.Scope, u); err != nil {
		return api.Upload{}, err
	}
	if err := e.store.AddUpload(ctx, c.Scope, row); err != nil {
		return api.Upload{}, err
	}
	e.ring.Assigned(c.Scope.Tenant(), u.key.ID)
	if err := e.receive(ctx, c.Scope, u, in.Body, e.still(ctx, c, may)); err != nil {
		// Whoever sent it may have hung up. What cannot be cleared away now is
		// collected later.
		_ = e.discard(context.WithoutCancel(ctx), c.Scope, row)
		return api.Upload{}, err
	}
	return api.Upload{
		File: fileName(u.id), Name: u.name, Type: u.media, Size: u.size, SHA256: u.sum, Expires: u.made.Add(uploadAge),
	}, nil
}

// newUpload checks what a file says of itself.
func (e *Engine) newUpload(c Caller, in Incoming) (*upload, error) {
	u := &upload{owner: c.Principal, made: e.moment()}
	u.id, u.name, u.media = store.ID(blob.NewID()), in.Name, in.Type
	if u.name == "" || len(u.name) > 255 || !utf8.ValidString(u.name) || strings.ContainsFunc(u.name, unfit) {
		return nil, fault.New(fault.Invalid, "the name of a file has 1 to 255 bytes of text, without slashes, control characters and those that turn the direction of writing").
			WithCode("invalid_name").WithDetails(fault.Detail{Place: "?name", Message: "is not the name of a file"})
	}
	if u.media == "" {
		u.media = "application/octet-stream"
	}
	kind, params, err := mime.ParseMediaType(u.media)
	if err != nil || len(u.media) > 255 || !strings.Contains(kind, "/") {
		return nil, fault.New(fault.Invalid, "the Content-Type of a file must be a media type, such as application/pdf").
			WithCode("unsupported_media_type")
	}
	u.media = mime.FormatMediaType(kind, params)
	return u, nil
}

// unfit are characters that would show a name as another one than it is, or end its line.
func unfit(r rune) bool {
	return r == '/' || r == '\\' || unicode.In(r, unicode.Cc, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

// receive seals the bytes of a file into its blob, and makes the upload ready. A
// blob that is left behind by an error is deleted by whoever clears the row away.
func (e *Engine) receive(ctx context.Context, scope store.Scope, u *upload, body io.Reader, still func() error) error {
	// A sender who hangs up ends the body; what was written is still to be taken back.
	w, err := e.blobs.Create(context.WithoutCancel(ctx), scope.Tenant(), blob.ID(u.id))
	if err != nil {
		return err
	}
	in := &inflow{ctx: ctx, engine: e, scope: scope, body: body, still: still, sum: sha256.New()}
	defer in.release()
	if err = e.seal(scope, u, in, w); err == nil {
		err = w.Commit()
	}
	if err != nil { // a store may keep what came until it is told
		return errors.Join(err, w.Abort())
	}
	sealed, err := e.sealUpload(scope, u)
	if err != nil {
		return err
	}
	if err := e.store.FinishUpload(ctx, scope, u.id, u.size, sealed); err != nil {
		return err
	}
	e.limits.changed(scope)
	return nil
}

// seal reads a file to its end. Only then the stream is whole.
func (e *Engine) seal(scope store.Scope, u *upload, in *inflow, to io.Writer) error {
	sealer, err := envelope.NewSealer(to, []envelope.Key{u.key}, e.fileContext(scope, "blob", u.id))
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(sealer, in, make([]byte, envelope.SegmentSize)); err != nil {
		return err
	}
	u.size, u.sum = in.size, hex.EncodeToString(in.sum.Sum(nil))
	return sealer.Close()
}

// inflow is the body of an upload, counted and hashed.
type inflow struct {
	ctx    context.Context
	engine *Engine
	scope  store.Scope
	body   io.Reader
	still  func() error // decides again, for each part
	size   int64
	sum    hash.Hash
}

func (in *inflow) Read(p []byte) (int, error) {
	n, err := in.body.Read(p)
	in.size += int64(n)
	in.sum.Write(p[:n])
	if limit := in.engine.admit(in.ctx, in.scope, in.size, int64(n)); limit != nil {
		return 0, limit
	}
	if refused := in.still(); refused != nil {
		return 0, refused
	}
	var known *fault.Error
	if err != nil && err != io.EOF && !errors.As(err, &known) { // its text may quote what came
		err = fault.New(fault.Invalid, "the file ended early").WithCode("upload_incomplete").
			WithHint("send it again; what came is not kept")
	}
	return n, err
}

// release takes the bytes out of those that are arriving.
func (in *inflow) release() { in.engine.limits.arrived(in.scope, in.size) }

// fileContext is the place that a file's ciphertexts belong to. They are sealed
// under a key that nothing else is sealed under, and written once.
func (e *Engine) fileContext(scope store.Scope, class string, id store.ID) envelope.Context {
	return envelope.Context{Deployment: e.deployment, Tenant: scope.Tenant(), Class: class, Object: fileName(id)}
}

// sealUpload seals what is known of an upload. That is done at its beginning too, to
// show whose key it is that the row names.
func (e *Engine) sealUpload(scope store.Scope, u *upload) ([]byte, error) {
	plain := canon.Encode(newContext(
		canon.Entry{Name: "made", Value: canon.String(formatTime(u.made))},
		canon.Entry{Name: "name", Value: canon.String(u.name)},
		canon.Entry{Name: "owner", Value: canon.String(u.owner)},
		canon.Entry{Name: "sha256", Value: canon.String(u.sum)},
		canon.Entry{Name: "size", Value: canon.NewNumber(u.size)},
		canon.Entry{Name: "type", Value: canon.String(u.media)},
	))
	return envelope.Seal([]envelope.Key{u.key}, e.fileContext(scope, "upload", u.id), plain)
}

// openUpload reads a row of a ready upload. Integrity when it was changed.
func (e *Engine) openUpload(ctx context.Context, scope store.Scope, row store.UploadRow) (*upload, error) {
	changed := changedUpload(row.Blob)
	key, err := e.ring.Key(ctx, scope.Tenant(), envelope.KeyID(row.Key))
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Sealed) {
		return nil, changed.WithCause(err)
	}
	if err != nil {
		return nil, err
	}
	plain, err := envelope.Open([]envelope.Key{key}, e.fileContext(scope, "upload", row.Blob), row.Sealed)
	if err != nil {
		return nil, changed.WithCause(err)
	}
	u, err := parseUpload(plain)
	if err != nil {
		return nil, changed.WithCause(err)
	}
	if u.sum == "" {
		return nil, changed // what was sealed before its bytes came
	}
	u.id, u.key = row.Blob, key
	return u, nil
}

func changedUpload(id store.ID) *fault.Error {
	return fault.New(fault.Integrity, "the row of upload %s was changed", fileName(id)).
		WithCode("tampered").WithHint("the database was changed behind our back; compare it with a backup")
}

func parseUpload(plain []byte) (*upload, error) {
	value, err := canon.Decode(plain)
	c, ok := value.(*canon.Context)
	if err != nil || !ok {
		return nil, fault.New(fault.Integrity, "a stored upload is malformed")
	}
	text := func(name string) string {
		v, _ := c.Get(name)
		s, _ := v.(canon.String)
		return string(s)
	}
	u := &upload{owner: text("owner")}
	u.name, u.media, u.sum = text("name"), text("type"), text("sha256")
	size, _ := c.Get("size")
	number, _ := size.(canon.Number)
	if u.size, err = number.Decimal().Int64(); err != nil {
		return nil, err
	}
	u.made, err = time.Parse(time.RFC3339Nano, text("made"))
	return u, err
}
