package client

import (
	"errors"
	"fmt"

	"github.com/underseal/underseal/api"
)

// Error is an answer by which the server refused a call. One with Status 0 was refused
// before it was sent: the server would have taken something else for what was given.
type Error struct {
	api.Problem
	Operation string // what was asked, for instance "POST /v1/instances"
}

// Error says what was refused and why.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %s", e.Operation, e.Detail)
	if e.Detail == "" {
		text = fmt.Sprintf("%s: status %d", e.Operation, e.Status)
	}
	for _, f := range e.Errors {
		text += fmt.Sprintf("\n  %s: %s", f.Place, f.Message)
	}
	return text
}

// Kind returns the kind of the *Error in err's chain (api.KindInvalid, ..), ""
// if there is none: then the server was not reached.
func Kind(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Problem.Kind
	}
	return ""
}

// Code returns the stable code of the *Error in err's chain, "" if there is none.
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Problem.Code
	}
	return ""
}

// IsInvalid reports whether the call will never be accepted as it stands.
func IsInvalid(err error) bool { return Kind(err) == api.KindInvalid }

// IsNotFound reports whether the thing does not exist, or not for this caller.
func IsNotFound(err error) bool { return Kind(err) == api.KindNotFound }

// IsConflict reports whether the call does not fit the present state: the task
// is done, the lease is somebody else's, the instance has ended.
func IsConflict(err error) bool { return Kind(err) == api.KindConflict }

// IsDenied reports whether the caller may not do this or is not admitted at all
// (IsUnauthenticated).
func IsDenied(err error) bool { return Kind(err) == api.KindDenied }

// IsUnauthenticated reports whether the server does not accept the key.
func IsUnauthenticated(err error) bool { return Code(err) == api.CodeUnauthenticated }

// IsSealed reports whether the value was erased.
func IsSealed(err error) bool { return Kind(err) == api.KindSealed }

// IsUnavailable reports whether the server could not be reached, or cannot reach
// what it needs: the same call may succeed later.
func IsUnavailable(err error) bool {
	return Kind(err) == api.KindUnavailable || errors.Is(err, ErrUnreachable)
}

// ErrUnreachable is in the chain of the error of a call that got no answer. A
// change may have been made nevertheless; repeating it with the same key is safe.
var ErrUnreachable = errors.New("the server cannot be reached")

// ErrForged is in the chain of the error of a call whose answer is not what a key of
// Config.Policy signed: the server, or something in between, said something else than it
// signed.
var ErrForged = errors.New("the answer is not what the server's keys signed")
