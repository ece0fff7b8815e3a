package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// handler makes a plugin of a key service.
type handler struct {
	service kms.Service
	log     *slog.Logger

	mu    sync.Mutex // guards what follows
	keyID string     // of the root key; empty until the service told it
}

// Handler answers the calls of the protocol with a key service. Errors that the
// protocol has no word for go to the log alone, which may be nil.
func Handler(service kms.Service, log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &handler{service: service, log: log}
	mux := http.NewServeMux()
	for name, call := range map[string]func(context.Context, []byte) (any, error){
		"wrap": h.wrap, "unwrap": h.unwrap, "describe": h.describe, "rotate": h.rotate, "destroy": h.destroy,
	} {
		mux.HandleFunc("POST /v1/"+name, func(w http.ResponseWriter, r *http.Request) { h.answer(w, r, name, call) })
	}
	return mux
}

// answer reads a request, makes the call and writes what came of it.
func (h *handler) answer(w http.ResponseWriter, r *http.Request, name string, call func(context.Context, []byte) (any, error)) {
	var result any
	body, err := readRequest(w, r)
	if err == nil {
		result, err = call(r.Context(), body)
	}
	status := http.StatusOK
	if err != nil {
		row := wordOf(err, name)
		h.log.Log(r.Context(), levelOf(row), "call failed", "call", name, "error", err)
		if wait := kms.Wait(err); wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)))
		}
		status, result = row.status, problem{row.text, messageOf(err)}
	}
	content, err := json.Marshal(result)
	if err != nil {
		panic("plugin: an answer cannot be written as JSON: " + err.Error())
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(content) // whoever asked may be gone
}

func readRequest(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if !isJSON(r.Header) {
		return nil, fault.New(fault.Invalid, "the request is not of Content-Type %s", contentType)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, fault.New(fault.Invalid, "the request ended early or is larger than %d bytes", maxBody)
	}
	return body, nil
}

// parse reads a request's body.
func parse(body []byte, m message) error {
	if err := decode(body, m); err != nil {
		return fault.New(fault.Invalid, "the request %w", err)
	}
	return nil
}

func (h *handler) wrap(ctx context.Context, body []byte) (any, error) {
	var request wrapRequest
	if err := parse(body, &request); err != nil {
		return nil, err
	}
	id, err := h.rootKey(ctx)
	if err != nil {
		return nil, err
	}
	out, err := h.service.Wrap(ctx, kms.Context(request.Context), request.Key)
	if err != nil {
		return nil, err
	}
	version, err := h.service.Version(out)
	return wrapped{id, version, out}, err
}

// unwrap believes none of the names it is given.
func (h *handler) unwrap(ctx context.Context, body []byte) (any, error) {
	var request unwrapRequest
	if err := parse(body, &request); err != nil {
		return nil, err
	}
	id, err := h.rootKey(ctx)
	if err != nil {
		return nil, err
	}
	if request.KeyID != id {
		return nil, fault.New(fault.Conflict, "the key was wrapped under root key %s, and this is %s", request.KeyID, id)
	}
	version, err := h.service.Version(request.Bytes)
	if err != nil {
		return nil, err
	}
	if version != request.Version {
		return nil, fault.New(fault.Integrity, "the wrapped key is of version %s of the root key, not of %s", version, request.Version)
	}
	key, err := h.service.Unwrap(ctx, kms.Context(request.Context), request.Bytes)
	return unwrapAnswer{key}, err
}

func (h *handler) describe(ctx context.Context, body []byte) (any, error) {
	if err := parse(body, &nothing{}); err != nil {
		return nil, err
	}
	d, err := h.service.Describe(ctx)
	return describeAnswer(d), err
}

func (h *handler) rotate(ctx context.Context, body []byte) (any, error) {
	if err := parse(body, &nothing{}); err != nil {
		return nil, err
	}
	rotator, ok := h.service.(kms.Rotator)
	if !ok {
		return nil, fault.New(fault.Invalid, "the key service cannot be told to rotate")
	}
	version, err := rotator.Rotate(ctx)
	return versionMessage{version}, err
}

func (h *handler) destroy(ctx context.Context, body []byte) (any, error) {
	var request versionMessage
	if err := parse(body, &request); err != nil {
		return nil, err
	}
	return nothing{}, h.service.Destroy(ctx, request.Version)
}

// rootKey returns the id of the root key, which never changes.
func (h *handler) rootKey(ctx context.Context) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keyID != "" {
		return h.keyID, nil
	}
	d, err := h.service.Describe(ctx)
	h.keyID = d.KeyID
	return d.KeyID, err
}

// wordOf returns the protocol's word for an error. What has none is told as an
// outage: that destroys and denies nothing.
func wordOf(err error, call string) word {
	if row, ok := findWord(textOf(fault.KindOf(err), fault.CodeOf(err), call)); ok && row.of(call) {
		return row
	}
	row, _ := findWord("unavailable")
	return row
}

func textOf(kind fault.Kind, code, call string) string {
	switch {
	case code == kms.CodeThrottled:
		return "throttled"
	case code == kms.CodeWholeKey:
		return "whole_key"
	case kind == fault.Invalid && call == "rotate":
		return "unsupported"
	case kind == fault.NotFound && call == "destroy":
		return "unknown_version"
	case kind == fault.Conflict && call == "destroy" && code != codeOtherRootKey:
		return "older_first"
	}
	return map[fault.Kind]string{
		fault.Invalid: "invalid", fault.Denied: "denied", fault.NotFound: "destroyed",
		fault.Conflict: "other_root_key", fault.Integrity: "integrity",
	}[kind]
}

// levelOf keeps what a caller did wrong, or what lies far away, apart from what
// only this log can tell.
func levelOf(row word) slog.Level {
	if row.kind == fault.Unavailable {
		return slog.LevelError
	}
	return slog.LevelWarn
}

// messageOf is the text of an error for the operator at the other end; of a
// defect it says nothing.
func messageOf(err error) string {
	var ours *fault.Error
	if !errors.As(err, &ours) || ours.Kind == fault.Internal {
		return "the plugin failed; its log says how"
	}
	text := printable(ours.Message)
	return strings.ToValidUTF8(text[:min(len(text), maxMessage)], "")
}
