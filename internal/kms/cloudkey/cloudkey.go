// Package cloudkey is what the key services of the clouds have in common: the
// header in front of the bytes that a service returned, and the meaning of its
// answers and of its silence.
//
// A wrapped key begins with
//
//	mark of the provider 1 | first 16 bytes of SHA-256(id of the root key) | length of the version 1 | version
//
// so that bytes of another root key are refused, and the version is known,
// without a call. The header is not secret; each provider makes sure that a
// changed one opens nothing.
package cloudkey

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// Timeout ends a call whose caller would wait longer. Providers do not try
// again by themselves: the caller knows how long a key may still be used.
const Timeout = 15 * time.Second

const (
	idSize     = 16
	headerSize = 1 + idSize + 1 // and the version
	maxWrapped = 4 << 10
	minKey     = 16
	maxKey     = 256
)

// A Root is a root key in a cloud.
type Root struct {
	Provider string // as in kms.Description
	Mark     byte   // what this provider wraps begins with it; not 0
	ID       string // the cloud's full name of the key, without a version
}

// String names the key for messages.
func (r Root) String() string { return r.Provider + " key " + r.ID }

// Header returns the header of what is wrapped under a version of 1 to 255 bytes.
func (r Root) Header(version string) []byte {
	id := sha256.Sum256([]byte(r.ID))
	header := append([]byte{r.Mark}, id[:idSize]...)
	return append(append(header, byte(len(version))), version...)
}

// Split returns the version that the header names and what follows the header.
// Integrity when these are no bytes of this provider, Conflict when they are of
// another root key.
func (r Root) Split(wrapped []byte) (version string, body []byte, err error) {
	if len(wrapped) <= headerSize || len(wrapped) > maxWrapped || wrapped[0] != r.Mark {
		return "", nil, fault.New(fault.Integrity, "%d bytes are no key wrapped by %s", len(wrapped), r.Provider)
	}
	if id := sha256.Sum256([]byte(r.ID)); [idSize]byte(wrapped[1:]) != [idSize]byte(id[:]) {
		return "", nil, fault.New(fault.Conflict, "a wrapped key was wrapped under another root key than %s", r).WithCode("other_root_key").
			WithHint("configure the key service with the key that the data was made with")
	}
	length, rest := int(wrapped[headerSize-1]), wrapped[headerSize:]
	if length == 0 || len(rest) <= length {
		return "", nil, fault.New(fault.Integrity, "%d bytes are no key wrapped by %s: they are cut", len(wrapped), r.Provider)
	}
	return string(rest[:length]), rest[length:], nil
}

// CheckKey refuses a key that is too short or too long: Invalid.
func CheckKey(key []byte) error {
	if len(key) < minKey || len(key) > maxKey {
		return fault.New(fault.Invalid, "wrap key: key has %d bytes, must have %d to %d", len(key), minKey, maxKey)
	}
	return nil
}

// CheckURL refuses an address that is not https://HOST[:PORT] alone. What a key
// service is sent are keys in clear.
func CheckURL(setting, address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" {
		return fault.New(fault.Invalid, "%s: %q is not an address such as https://kms.example.org", setting, address)
	}
	return nil
}

// Client returns an HTTP client that follows no redirect, since a request holds
// keys. transport may be nil for one that reaches the network.
func Client(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	return &http.Client{
		Transport:     transport,
		Timeout:       Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// An Answer is a refusal of a service.
type Answer struct {
	Status  int    // HTTP status
	Code    string // the service's own, if it gave one
	Message string
	Wait    time.Duration // how long it asked to be left alone, 0 when it did not say
}

// Error returns the refusal as the service put it.
func (a *Answer) Error() string { return fmt.Sprintf("%s (HTTP %d): %s", a.Code, a.Status, a.Message) }

// Fault gives the refusal its kind, by its HTTP status alone. What is neither a
// passing failure nor a request to wait is Denied: the service answered, and we
// may not use the key.
func (a *Answer) Fault(what string) error {
	switch {
	case a.Status == http.StatusTooManyRequests:
		return kms.Throttled(a.Wait, "%s: %w", what, a)
	case a.Status == http.StatusRequestTimeout || a.Status >= http.StatusInternalServerError:
		return fault.New(fault.Unavailable, "%s: %w", what, a)
	}
	return fault.New(fault.Denied, "%s: %w", what, a)
}

// Silence is the fault of a call that got no answer.
func Silence(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fault.New(fault.Unavailable, "%s: %w", what, err)
}

// PendingDeletion is the fault of using a key whose deletion was ordered and
// can still be taken back. It is Denied, not NotFound: if the deletion was a
// mistake, work waits instead of being told that its data was erased.
func PendingDeletion(what, undo string) error {
	return fault.New(fault.Denied, "%s: the key is waiting for its deletion", what).WithCode("key_pending_deletion").
		WithHint("if that was a mistake, take it back: %s", undo)
}
