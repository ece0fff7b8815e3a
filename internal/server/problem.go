package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
)

// statuses are the codes whose HTTP status is not that of their kind.
var statuses = map[string]int{
	api.CodeUnauthenticated:      http.StatusUnauthorized,
	api.CodeMisdirected:          http.StatusMisdirectedRequest,
	api.CodeTooLarge:             http.StatusRequestEntityTooLarge,
	api.CodeUnsupportedMediaType: http.StatusUnsupportedMediaType,
	api.CodeMethodNotAllowed:     http.StatusMethodNotAllowed,
	api.CodeTimeout:              http.StatusRequestTimeout,
	api.CodeTooMany:              http.StatusTooManyRequests,
	api.CodeFilesFull:            http.StatusRequestEntityTooLarge,
	api.CodeRange:                http.StatusRequestedRangeNotSatisfiable,
}

// titles say the kinds in words.
var titles = map[fault.Kind]string{
	fault.Internal:    "internal error",
	fault.Invalid:     "the request is not accepted",
	fault.NotFound:    "not found",
	fault.Conflict:    "the request does not fit the present state",
	fault.Denied:      "not allowed",
	fault.Sealed:      "erased",
	fault.Integrity:   "stored data was changed",
	fault.Unavailable: "not available now",
}

// clientGone is what the log and the metrics show for a request whose client
// hung up before the answer (nginx's number; it never goes over the wire).
const clientGone = 499

// Findings of hostile input are many or long; an answer holds no more than this.
const (
	maxFindings = 100
	maxPlace    = 300
)

// fail is the one writer of errors: every error of the API, whoever found it,
// leaves through here.
func (x *exchange) fail(err error) {
	if x.status != 0 { // too late to say anything; end the connection
		x.logFailure(err)
		panic(http.ErrAbortHandler)
	}
	f := shown(err)
	p := problem(f)
	p.Request = x.request
	// net/http also ends the context of a request whose body did not come in time;
	// its sender is still there.
	gone := x.r.Context().Err() != nil && p.Code != api.CodeTimeout
	if p.Status >= 500 && !(gone && errors.Is(err, context.Canceled)) {
		x.logFailure(err)
	}
	if gone {
		x.status = clientGone
		return
	}
	switch {
	case p.Status == http.StatusUnauthorized:
		x.w.Header().Set("WWW-Authenticate", "Bearer")
	case f.Kind == fault.Unavailable && x.w.Header().Get("Retry-After") == "":
		x.w.Header().Set("Retry-After", "1")
	}
	if err := x.writeJSON(p.Status, api.ProblemType, p); err != nil {
		x.logFailure(err)
	}
}

// shown returns what the caller may know of an error: our own faults, and of
// all others only that there was one.
func shown(err error) *fault.Error {
	var f *fault.Error
	switch {
	case errors.As(err, &f) && f.Kind != fault.Internal && f.Kind != fault.Withheld:
		return f // Withheld is a masked value inside an answer, never an error
	case f == nil && errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Unavailable, "this took too long; try again")
	}
	return fault.New(fault.Internal, "something went wrong here; the server's log has more under the id of this request")
}

// problem describes a fault on the wire.
func problem(f *fault.Error) api.Problem {
	p := api.Problem{
		Type:   api.ProblemURN + f.StableCode(),
		Title:  titles[f.Kind],
		Status: f.Kind.Status(),
		Detail: f.OwnText(),
		Code:   f.StableCode(),
		Kind:   f.Kind.String(),
		Hint:   f.Hint,
	}
	if status, ok := statuses[p.Code]; ok {
		p.Status = status
	}
	for i, d := range f.Details {
		if i == maxFindings {
			p.Errors = append(p.Errors, api.Finding{Message: fmt.Sprintf("and %d more", len(f.Details)-i)})
			break
		}
		p.Errors = append(p.Errors, api.Finding{Place: shorten(d.Place), Message: d.Message})
	}
	return p
}

// shorten cuts a place that holds names of somebody else's making.
func shorten(place string) string {
	if len(place) <= maxPlace {
		return place
	}
	cut := maxPlace
	for !utf8.RuneStart(place[cut]) {
		cut--
	}
	return place[:cut] + ".."
}

// logFailure writes down what the caller is not told.
func (x *exchange) logFailure(err error) {
	x.server.log.LogAttrs(x.r.Context(), slog.LevelError, "request failed",
		slog.String("request", x.request), slog.String("operation", x.op.id),
		slog.String("kind", fault.KindOf(err).String()), slog.String("error", redact(err)))
}

// quoted is what libraries put around the values they complain of.
var quoted = regexp.MustCompile("\"[^\"]*\"|'[^']*'|`[^`]*`|=\\([^()]*\\)")

// redact returns the text of an error for the log. Our own texts hold no
// values of variables by rule. The text of an error from elsewhere may quote
// one, so whatever stands in quotes is taken out of it.
func redact(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Err == nil {
		return f.Error()
	}
	text := quoted.ReplaceAllString(strings.ToValidUTF8(err.Error(), "?"), "[..]")
	return fmt.Sprintf("%s [%T]", text, innermost(err))
}

func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
