package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// A client sends requests to one server.
type client struct {
	base      *url.URL
	namespace string
	http      *http.Client
}

func newClient(config Config) (*client, error) {
	base, err := config.base()
	if err != nil {
		return nil, err
	}
	transport, err := config.transport()
	if err != nil {
		return nil, err
	}
	return &client{base: base, namespace: config.Namespace, http: &http.Client{
		Transport: transport,
		// A redirection could lead the token anywhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// A refusal is an answer with another status than 200 or 204.
type refusal struct {
	status int
	says   []string // what Vault gave as errors; nil when the answer is not Vault's
	wait   time.Duration
}

func (r *refusal) Error() string {
	text := strings.Join(strings.Fields(strings.Join(r.says, "; ")), " ") // Vault's own has several lines
	if len(text) > 300 {
		text = text[:300] + ".."
	}
	return fmt.Sprintf("status %d %s: %s", r.status, http.StatusText(r.status), strings.ToValidUTF8(text, "?"))
}

// has reports whether err is a refusal of that status that Vault itself gave.
// Statuses that a proxy on the way made up say nothing about keys and rights. An
// error that has its kind already, and a refusal as its cause, is none.
func has(err error, status int) bool {
	r, ok := err.(*refusal)
	return ok && r.status == status && r.says != nil
}

// answerIn has the field "data" of an answer decoded into out.
func answerIn(out any) any {
	return &struct {
		Data any `json:"data"`
	}{out}
}

// send sends one request and decodes the answer into out, unless it is nil. The
// error is Unavailable or a refusal.
func (c *client) send(ctx context.Context, token, method, path string, in, out any) error {
	request, err := c.request(ctx, token, method, path, in)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fault.New(fault.Unavailable, "ask Vault: %w", err).WithHint("see whether Vault runs, and check address, ca_file and the network")
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fault.New(fault.Unavailable, "ask Vault: read the answer of %s: %w", c.base.Host, err)
	case len(body) > maxAnswer:
		return nonsense("ask Vault: the answer of %s is over %d bytes", c.base.Host, maxAnswer)
	case response.StatusCode != http.StatusOK && response.StatusCode != http.StatusNoContent:
		return refused(response, body)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		// The text of err could quote the answer, which may hold a key.
		return nonsense("ask Vault: the answer of %s is not what was asked for", c.base.Host)
	}
	return nil
}

func (c *client) request(ctx context.Context, token, method, path string, in any) (*http.Request, error) {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return nil, fault.New(fault.Internal, "ask Vault: %w", err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath("v1", path).String(), &body)
	if err != nil {
		return nil, fault.New(fault.Internal, "ask Vault: %w", err)
	}
	request.Header.Set("X-Vault-Request", "true")
	// A request over a connection that the server has closed meanwhile is sent
	// again over another one; the header is for net/http alone. At worst, a
	// rotation or login is made twice.
	request.Header["Idempotency-Key"] = nil
	if token != "" {
		request.Header.Set("X-Vault-Token", token)
	}
	if c.namespace != "" {
		request.Header.Set("X-Vault-Namespace", c.namespace)
	}
	return request, nil
}

// refused reads an answer that is no success.
func refused(response *http.Response, body []byte) error {
	r := &refusal{status: response.StatusCode, wait: retryAfter(response.Header.Get("Retry-After"))}
	var answer struct {
		Errors []string `json:"errors"`
	}
	if json.Unmarshal(body, &answer) == nil {
		r.says = answer.Errors
	}
	return r
}

// retryAfter reads the header of that name; a date instead of seconds counts as
// not said.
func retryAfter(header string) time.Duration {
	seconds, err := strconv.ParseUint(header, 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// outward gives a refusal its kind; other errors and nil stay as they are.
func outward(what, who string, err error) error {
	r, ok := err.(*refusal)
	if !ok {
		return err
	}
	switch {
	case r.status == http.StatusTooManyRequests:
		return kms.Throttled(r.wait, "%s: %s asks to wait: %w", what, who, r)
	case has(err, http.StatusForbidden), has(err, http.StatusUnauthorized):
		return fault.New(fault.Denied, "%s: %s refuses: %w", what, who, r).
			WithHint("give the token's policy the rights that docs/operations.md lists under Key services")
	case has(err, http.StatusBadRequest):
		return fault.New(fault.Invalid, "%s: %s does not understand: %w", what, who, r)
	case r.status >= 300 && r.status < 400:
		return fault.New(fault.Unavailable, "%s: %s sends us elsewhere, and a token is not taken along: %w", what, who, r).
			WithHint("name the address of the active server, or of a load balancer that finds it")
	case r.status == http.StatusServiceUnavailable:
		return fault.New(fault.Unavailable, "%s: %s is sealed or on standby: %w", what, who, r).WithHint("unseal it: vault operator unseal")
	}
	return fault.New(fault.Unavailable, "%s: %s: %w", what, who, r)
}
