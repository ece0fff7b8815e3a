// Package fault gives every error of Underseal a kind.
//
// A kind says what the caller can do about an error. One table, in this file,
// maps each kind to its name, its HTTP status and the exit code of the command
// line; nothing else in the program decides those.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind classifies an error by what can be done about it.
type Kind uint8

const (
	// Internal is a defect of ours; its text is never shown to a user.
	Internal Kind = iota
	// Invalid is input that will never be accepted as it stands.
	Invalid
	// NotFound is a thing that does not exist or that the caller may not see.
	NotFound
	// Conflict is input that does not fit the present state.
	Conflict
	// Denied is a caller who may not do this.
	Denied
	// Withheld is a value that exists and is masked for this caller.
	Withheld
	// Sealed is a value that was erased: its key is gone.
	Sealed
	// Integrity is stored data that was changed behind our back.
	Integrity
	// Unavailable is a service (key service, database) that cannot be reached now.
	Unavailable
)

// table is the one place that gives kinds a meaning outside the program.
// Exit code 2 is left to usage errors and to Go's own crashes.
var table = [...]struct {
	name   string
	status int
	exit   int
}{
	Internal:    {"internal", 500, 1},
	Invalid:     {"invalid", 400, 10},
	NotFound:    {"not_found", 404, 11},
	Conflict:    {"conflict", 409, 12},
	Denied:      {"denied", 403, 13},
	Withheld:    {"withheld", 200, 14},
	Sealed:      {"sealed", 410, 15},
	Integrity:   {"integrity", 500, 16},
	Unavailable: {"unavailable", 503, 17},
}

// Kinds lists all kinds in the order of their exit codes.
func Kinds() []Kind {
	kinds := make([]Kind, len(table))
	for i := range table {
		kinds[i] = Kind(i)
	}
	return kinds
}

// String returns the kind's stable name, as it stands in API problems.
func (k Kind) String() string { return table[k].name }

// Status returns the HTTP status code of the kind.
func (k Kind) Status() int { return table[k].status }

// ExitCode returns the exit code of a command that fails with the kind.
func (k Kind) ExitCode() int { return table[k].exit }

// Parse returns the kind with the given name; an unknown name is Internal.
func Parse(name string) Kind {
	for i, row := range table {
		if row.name == name {
			return Kind(i)
		}
	}
	return Internal
}

// A Detail is one of several findings behind an error, with its place.
type Detail struct {
	// Place says where: a JSON pointer ("/variables/amount"), or
	// "file.bpmn:12 element_id" for a model.
	Place string
	// Message says what is wrong there and what to do.
	Message string
}

// Error is an error with a kind. Message and Details are written for the user
// who caused the error and hold no sealed value; Err is for the log alone.
type Error struct {
	Kind    Kind
	Code    string // stable, snake_case; empty means the kind's name
	Message string // lower case, no period: what was attempted, quoting the input
	Hint    string // what to do about it, may be empty
	Details []Detail
	Err     error // cause, may be nil; reachable by errors.Is and As
}

// New returns an error of the given kind. The format may wrap a cause with %w.
func New(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), Err: errors.Unwrap(err)}
}

// OwnText returns the message. Of what is wrong with our own services it leaves out what a
// library said, which tells of hosts, files and tables.
func (e *Error) OwnText() string {
	var ours *Error
	if e.Err == nil || errors.As(e.Err, &ours) || e.Kind != Unavailable && e.Kind != Integrity {
		return e.Message
	}
	own, _, _ := strings.Cut(e.Message, e.Err.Error())
	return strings.TrimRight(own, ": ")
}

// WithCode sets the stable code and returns the error.
func (e *Error) WithCode(code string) *Error { e.Code = code; return e }

// WithHint sets the hint and returns the error.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithDetails appends findings and returns the error.
func (e *Error) WithDetails(details ...Detail) *Error {
	e.Details = append(e.Details, details...)
	return e
}

// WithCause sets the cause, which only the log sees, and returns the error.
func (e *Error) WithCause(err error) *Error { e.Err = err; return e }

// Error returns the message followed by the details.
func (e *Error) Error() string {
	text := e.Message
	for _, d := range e.Details {
		text += "\n  " + d.Place + ": " + d.Message
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// StableCode returns the error's code, which defaults to its kind's name.
func (e *Error) StableCode() string {
	if e.Code != "" {
		return e.Code
	}
	return e.Kind.String()
}

// KindOf returns the kind of the first Error in err's chain; any other error is
// Internal. It must not be called with nil.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is an Error of the given kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}

// CodeOf returns the stable code of the first Error in err's chain, "" if there
// is none.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.StableCode()
	}
	return ""
}
