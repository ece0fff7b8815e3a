package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// host stands in requests where the name of a machine would.
const host = "underseal-kms"

const contentType = "application/json"

// call makes one call. An answer that breaks the protocol is an outage: nothing
// can be concluded from it, least of all that a key was destroyed or denied.
func (p *client) call(ctx context.Context, name string, request any, answer message) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Unavailable, "%s: %s: %w", p, name, err)
	}
	resp, body, err := p.exchange(ctx, name, request)
	if err != nil {
		return p.unreachable(name, err)
	}
	if resp.StatusCode != http.StatusOK {
		return p.refusal(name, resp, body)
	}
	if err := decode(body, answer); err != nil {
		return p.breach(name, "its answer %w", err)
	}
	return nil
}

// exchange sends a request and returns the answer, whose body was read.
func (p *client) exchange(ctx context.Context, name string, request any) (resp *http.Response, body []byte, err error) {
	content, err := json.Marshal(request)
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "write the request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+host+"/v1/"+name, bytes.NewReader(content))
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "write the request: %w", err)
	}
	req.Header.Set("Content-Type", contentType)
	if resp, err = p.http.Do(req); err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err = readAnswer(resp)
	return resp, body, err
}

// errBreach marks what is not HTTP and JSON as the protocol has it.
var errBreach = errors.New("breaks the protocol")

func readAnswer(resp *http.Response) ([]byte, error) {
	if !isJSON(resp.Header) {
		return nil, errBreach
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		return nil, errBreach
	}
	return body, err
}

// isJSON reports whether headers announce a body that is plain JSON.
func isJSON(h http.Header) bool {
	kinds := h.Values("Content-Type")
	return len(kinds) == 1 && kinds[0] == contentType && h.Get("Content-Encoding") == ""
}

// unreachable is the error of a call without an answer.
func (p *client) unreachable(name string, err error) error {
	if errors.Is(err, errBreach) {
		return p.breach(name, "its answer is no JSON of at most %d bytes", maxBody)
	}
	var ours *fault.Error
	if errors.As(err, &ours) {
		return ours
	}
	// What went around it names a URL that nobody wrote.
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return fault.New(fault.Unavailable, "%s: %s: %w", p, name, err).WithHint("is the plugin running? its own log says more")
}

// breach is the error of an answer that is none.
func (p *client) breach(name, format string, args ...any) error {
	what := fault.New(fault.Unavailable, format, args...)
	return fault.New(fault.Unavailable, "%s: %s: it does not keep to the protocol: %w", p, name, what).WithCode("plugin_protocol").
		WithHint("see whether the plugin listens there, or another program; the protocol is docs/design/kms-plugin.md")
}

// refusal is the error that an answer other than 200 stands for.
func (p *client) refusal(name string, resp *http.Response, body []byte) error {
	var answer problem
	if err := decode(body, &answer); err != nil {
		return p.breach(name, "its answer with status %d %w", resp.StatusCode, err)
	}
	row, ok := findWord(answer.Error)
	if !ok || row.status != resp.StatusCode || !row.of(name) {
		return p.breach(name, "status %d does not go with the error it tells", resp.StatusCode)
	}
	if row.code == kms.CodeThrottled {
		return kms.Throttled(retryAfter(resp.Header), "%s: %s: %s", p, name, printable(answer.Message))
	}
	err := fault.New(row.kind, "%s: %s: %s", p, name, printable(answer.Message)).WithCode(row.code)
	if row.kind == fault.Denied {
		err.WithHint("give the plugin the right to use the root key again")
	}
	return err
}

// retryAfter returns how long an answer asks to wait, 0 when it does not say.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// codeOtherRootKey is the code of every key service for keys of another root key.
const codeOtherRootKey = "other_root_key"

// words are the errors of the protocol.
var words = []word{
	{"invalid", http.StatusBadRequest, fault.Invalid, "", nil},
	{"denied", http.StatusForbidden, fault.Denied, "", nil},
	{"unknown_version", http.StatusNotFound, fault.NotFound, "unknown_version", []string{"destroy"}},
	{"other_root_key", http.StatusConflict, fault.Conflict, codeOtherRootKey, nil},
	{"older_first", http.StatusConflict, fault.Conflict, "older_versions", []string{"destroy"}},
	{"destroyed", http.StatusGone, fault.NotFound, "root_key_destroyed", []string{"wrap", "unwrap"}},
	{"integrity", http.StatusUnprocessableEntity, fault.Integrity, "", []string{"unwrap"}},
	{"throttled", http.StatusTooManyRequests, fault.Unavailable, kms.CodeThrottled, nil},
	{"unsupported", http.StatusNotImplemented, fault.Invalid, "rotation_unsupported", []string{"rotate"}},
	{"whole_key", http.StatusNotImplemented, fault.Invalid, kms.CodeWholeKey, []string{"destroy"}},
	{"unavailable", http.StatusServiceUnavailable, fault.Unavailable, "", nil},
}

// A word is one of those errors, with what it means to us.
type word struct {
	text   string
	status int
	kind   fault.Kind
	code   string
	calls  []string // that may answer it; nil: all
}

func findWord(text string) (word, bool) {
	i := slices.IndexFunc(words, func(w word) bool { return w.text == text })
	if i < 0 {
		return word{}, false
	}
	return words[i], true
}

// of reports whether that call may answer the word.
func (w word) of(call string) bool { return w.calls == nil || slices.Contains(w.calls, call) }
