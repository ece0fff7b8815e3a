// Package kms wraps the keys of tenants under a root key that never leaves the
// key service.
//
// Service is what every key service must do. The provider here is KeyFile, a
// root key in a local file; services that need a network live in packages of
// their own below this one. kmstest holds all of them to the same contract.
//
// A wrapped key opens only in the Context it was wrapped in: without that, a
// database administrator could give one tenant the key of another by swapping
// two rows. A service that cannot bind a context cannot be a provider.
package kms

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// A Service wraps and unwraps keys of 16 to 256 bytes. It is safe for
// concurrent use and returns when ctx is done. Its errors are of these kinds,
// and telling Denied from Unavailable is the heart of the contract, because a
// cached key survives an outage and does not survive a revocation:
//
//   - Denied: the service answered, and we may not use the key (any more), or
//     the key is not there (any more).
//   - Unavailable: no answer, or one that says "later" (Throttled); trying again
//     may help.
//   - NotFound: the version of the root key was destroyed, for good.
//   - Conflict: the key was wrapped under another root key than this one.
//   - Integrity: the wrapped bytes or their context were changed.
//   - Invalid: a context with an empty item, a key too short or too long, or
//     the service cannot do this at all (CodeWholeKey).
type Service interface {
	// Wrap encrypts and authenticates key, and authenticates c, under the newest
	// version of the root key. The result names what opens it and is at most 4 KiB.
	Wrap(ctx context.Context, c Context, key []byte) (wrapped []byte, err error)

	// Unwrap returns the key that Wrap was given with the same c.
	Unwrap(ctx context.Context, c Context, wrapped []byte) (key []byte, err error)

	// Version returns the version of the root key that opens wrapped, as Describe
	// called it when wrapped was made, without a call of the service. Integrity
	// when these are no bytes of this provider. That they open is not said.
	Version(wrapped []byte) (string, error)

	// Describe says which root key this is, without using it.
	Describe(ctx context.Context) (Description, error)

	// Destroy makes everything wrapped under that version of the root key
	// unreadable, durably when it returns (a provider with a waiting period: when
	// that is over). The caller has moved all that is still needed to a newer
	// version. A version destroyed already is no error, an unknown one NotFound.
	// A provider that can destroy only from the oldest on answers Conflict, and
	// destroys nothing, while an older version is there.
	Destroy(ctx context.Context, version string) error
}

// A Rotator is a Service that can make a new version of its root key by itself.
// Everything is wrapped under the new version from then on; what was wrapped
// before still opens.
type Rotator interface {
	Rotate(ctx context.Context) (version string, err error)
}

// CodeThrottled is the code of Unavailable errors of a service that answered
// "later": it is there, we may use it, and nothing helps but waiting.
const CodeThrottled = "key_service_throttled"

// CodeWholeKey is the code of the Invalid error of Destroy where a version
// cannot be destroyed, only the root key with all its versions. That is its
// owner's to do, once everything was moved to another root key.
const CodeWholeKey = "key_service_whole_key"

// Throttled returns an Unavailable error with CodeThrottled. wait is how long
// the service asked to be left alone, 0 when it did not say.
func Throttled(wait time.Duration, format string, args ...any) error {
	return fault.New(fault.Unavailable, "%w", &later{fmt.Errorf(format, args...), wait}).WithCode(CodeThrottled)
}

// Wait returns how long the service asked to be left alone, 0 when err is not
// from Throttled or the service did not say.
func Wait(err error) time.Duration {
	var l *later
	if errors.As(err, &l) {
		return l.wait
	}
	return 0
}

// later is an answer that asks to wait.
type later struct {
	error
	wait time.Duration
}

func (l *later) Unwrap() error { return l.error }

// A Context is bound into every wrapped key. All items are mandatory.
type Context struct {
	App        string // "underseal"; other users of the same root key have other names
	Deployment string // id of the installation
	Tenant     string
	Purpose    string // what the wrapped key is for
	Version    uint32 // version of the wrapped key, from 1
}

// A Description identifies a root key.
type Description struct {
	Provider string // "keyfile", ..
	KeyID    string // stays the same over versions; data remembers it
	Version  string // the newest one; empty when all were destroyed
}

// maxItem bounds the length of an item of a Context, in bytes.
const maxItem = 255

// Validate refuses a context with an item that is empty or over 255 bytes.
func (c Context) Validate() error {
	for _, item := range c.items() {
		if item.value == "" || len(item.value) > maxItem {
			return fault.New(fault.Invalid, "key context: %s has %d bytes, must have 1 to %d", item.name, len(item.value), maxItem)
		}
	}
	if c.Version == 0 {
		return fault.New(fault.Invalid, "key context: version is 0, the first one is 1")
	}
	return nil
}

// Encode returns the one spelling of the context: the number of items (5), then
// each as its length and its bytes, the version as 4 bytes; all numbers are
// 32 bits, big-endian.
func (c Context) Encode() []byte {
	out := binary.BigEndian.AppendUint32(nil, 5)
	for _, item := range c.items() {
		out = binary.BigEndian.AppendUint32(out, uint32(len(item.value)))
		out = append(out, item.value...)
	}
	out = binary.BigEndian.AppendUint32(out, 4)
	return binary.BigEndian.AppendUint32(out, c.Version)
}

type contextItem struct{ name, value string }

func (c Context) items() [4]contextItem {
	return [4]contextItem{{"app", c.App}, {"deployment", c.Deployment}, {"tenant", c.Tenant}, {"purpose", c.Purpose}}
}
