package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/underseal/underseal/api"
)

// Pauses between tries grow from the first to the last of these, each shortened
// by chance to as little as half, so that many clients do not come back at once.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	// maxRetryAfter is the longest pause that a server may ask for.
	maxRetryAfter = 30 * time.Second
)

// request is one call of the API.
type request struct {
	method string
	route  string // the path without values, for error texts
	path   string
	query  url.Values
	body   any // nil: none
	wait   time.Duration
	tries  int    // 0: the client's
	bare   bool   // goes without the key
	empty  string // the name of a value of the path that is missing
}

// name says what is asked without any value.
func (r *request) name() string { return r.method + " " + r.route }

// call makes a request and reads the answer, which must be a T.
func call[T any](ctx context.Context, c *Client, r request) (T, error) {
	data, err := c.do(ctx, r)
	if err != nil {
		var none T
		return none, err
	}
	return decode[T](r, data)
}

// decode reads an answer, which must be a T.
func decode[T any](r request, data []byte) (T, error) {
	var out T
	if err := json.Unmarshal(data, &out); err != nil {
		return out, fmt.Errorf("%s: the answer is not what this client knows: %w", r.name(), err)
	}
	return out, nil
}

// do makes a request until it is answered or its tries are used up. The server
// may have carried it out without the answer coming through; the idempotency
// key, the same for every try, makes the repeat safe.
func (c *Client) do(ctx context.Context, r request) ([]byte, error) {
	if r.empty != "" { // the path would be another route's
		return nil, fmt.Errorf("%s: %s id is empty", r.name(), r.empty)
	}
	body, err := r.encode()
	if err != nil {
		return nil, err
	}
	key := c.idem
	if key == "" && r.method != http.MethodGet {
		key = newKey()
	}
	if r.tries == 0 {
		r.tries = c.tries
	}
	for try := 1; ; try++ {
		data, after, err := c.try(ctx, r, body, key)
		if err == nil || try >= r.tries || !repeatable(err) || ctx.Err() != nil {
			return data, err
		}
		if !pause(ctx, try, after) {
			return nil, err
		}
	}
}

// encode returns the body that is sent, nil for none. Text that is not UTF-8 is refused:
// what would arrive is not what was given.
func (r *request) encode() ([]byte, error) {
	if r.body == nil {
		return nil, nil
	}
	body, err := json.Marshal(r.body)
	if err != nil {
		return nil, fmt.Errorf("%s: encode: %w", r.name(), err)
	}
	if bad := badText(reflect.ValueOf(r.body), 0); bad != nil {
		body = bad
	}
	return body, refuseText(r, body)
}

// repeatable reports whether the same call may succeed later.
func repeatable(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		switch e.Status {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	return errors.Is(err, ErrUnreachable)
}

// permanent reports whether the server refused a call for good, as opposed to
// having failed at it.
func permanent(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status >= 400 && e.Status < 500 &&
		e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooManyRequests
}

// pause waits before the next try; it reports whether ctx is still alive.
func pause(ctx context.Context, try int, after time.Duration) bool {
	d := min(firstPause<<min(try-1, 10), lastPause)
	d = max(d/2+rand.N(d/2), after) // no secret depends on it
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// try makes the request once. After is how long the server asks to wait.
func (c *Client) try(ctx context.Context, r request, body []byte, key string) (data []byte, after time.Duration, err error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout+r.wait)
	defer cancel()
	req, err := c.newRequest(limited, r, body, key)
	if err != nil {
		return nil, 0, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, 0, unreachable(ctx, r, err)
	}
	defer res.Body.Close() // nothing is left to lose
	data, err = readAll(res)
	switch {
	case err != nil:
		return nil, 0, unreachable(ctx, r, err)
	case res.StatusCode == http.StatusOK, isUnready(r, res):
		return data, 0, nil
	}
	return nil, retryAfter(res.Header), refusal(r, res, data)
}

// isUnready reports whether res is the server's own word that it is not ready,
// which is no failure of the question.
func isUnready(r request, res *http.Response) bool {
	return r.route == "/readyz" && res.StatusCode == http.StatusServiceUnavailable &&
		res.Header.Get("Content-Type") == "application/json"
}

// newKey returns an idempotency key: a UUIDv7, by whose time the server keeps
// requests that were made together together.
func newKey() string { return uuid.Must(uuid.NewV7()).String() }

func (c *Client) newRequest(ctx context.Context, r request, body []byte, key string) (*http.Request, error) {
	if strings.ContainsFunc(c.purpose, unicode.IsControl) {
		return nil, fmt.Errorf("%s: the purpose is not one line", r.name())
	}
	target := c.base.JoinPath(r.path)
	target.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, target.String(), bytes.NewReader(body))
	if err != nil { // its text may quote values
		return nil, fmt.Errorf("%s: an argument cannot be part of a path", r.name())
	}
	if !r.bare {
		if err := c.identify(ctx, req); err != nil {
			return nil, err
		}
	}
	req.Header.Set("User-Agent", "underseal-go")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set(api.IdempotencyKey, key)
	}
	if c.purpose != "" {
		req.Header.Set(api.Purpose, c.purpose)
	}
	return req, nil
}

// identify says who calls: by the API key, or by what an issuer gave.
func (c *Client) identify(ctx context.Context, req *http.Request) error {
	bearer := c.key
	if c.tenant != "" {
		req.Header.Set(api.TenantHeader, c.tenant)
	}
	if c.token != nil {
		var err error
		if bearer, err = c.token(ctx); err != nil {
			return fmt.Errorf("get the access token: %w", err)
		}
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return nil
}

// readAll reads an answer into a buffer of its size.
func readAll(res *http.Response) ([]byte, error) {
	var buf bytes.Buffer
	if res.ContentLength > 0 && res.ContentLength < 1<<24 {
		buf.Grow(int(res.ContentLength) + bytes.MinRead)
	}
	_, err := io.Copy(&buf, res.Body)
	return buf.Bytes(), err
}

// unreachable says why there was no answer. It drops the text that net/http puts
// before a cause: it quotes the URL with its query, which may hold values.
func unreachable(ctx context.Context, r request, err error) error {
	if cause := context.Cause(ctx); cause != nil { // the caller has had enough
		return fmt.Errorf("%s: %w", r.name(), cause)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// refusal makes an Error of an answer that is no success. What is no problem of
// Underseal's comes from something in between.
func refusal(r request, res *http.Response, data []byte) error {
	e := &Error{Operation: r.name()}
	if res.Header.Get("Content-Type") != api.ProblemType || json.Unmarshal(data, &e.Problem) != nil {
		e.Problem = api.Problem{Detail: fmt.Sprintf("status %d from something that is no Underseal server", res.StatusCode)}
	}
	e.Status = res.StatusCode
	return e
}

func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}
