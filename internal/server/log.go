package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/underseal/underseal/internal/fault"
)

// tracer makes a span of each request; it does nothing until the process names
// a collector. Spans carry routes and statuses, never paths or values.
var tracer = otel.Tracer("github.com/underseal/underseal/internal/server")

// observe serves one request: it recovers panics, and counts and logs the
// request by its route, never by its path, query or body, which hold values.
func (s *Server) observe(o *operation, w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	ctx, span := r.Context(), trace.SpanFromContext(r.Context())
	if !o.public { // health checks would drown the rest
		ctx, span = tracer.Start(ctx, o.method+" "+o.path, trace.WithSpanKind(trace.SpanKindServer))
	}
	x := &exchange{server: s, op: o, w: w, r: r.WithContext(ctx), request: newRequestID()}
	s.setHeaders(w.Header(), x.request)
	s.metrics.inFlight.Inc()
	defer func() {
		s.metrics.inFlight.Dec()
		took := time.Since(start)
		o.series.observe(x.status, took)
		span.SetAttributes(attribute.Int("http.response.status_code", x.status))
		span.End()
		x.log(took)
	}()
	defer x.recover()
	if err := x.run(); err != nil {
		x.fail(err)
	}
}

// log writes the request down: failures of ours as errors, refusals at level
// info, and the rest, thousands a second, at level debug. So is readiness, which is asked
// every few seconds and tells of each change by itself.
func (x *exchange) log(took time.Duration) {
	level := slog.LevelDebug
	switch {
	case x.op.path == readiness:
	case x.status >= 500:
		level = slog.LevelError
	case x.status >= 400:
		level = slog.LevelInfo
	}
	ctx := x.r.Context()
	if !x.server.log.Enabled(ctx, level) {
		return
	}
	x.server.log.LogAttrs(ctx, level, "request",
		slog.String("method", x.op.method), slog.String("route", x.op.path), slog.Int("status", x.status),
		slog.Duration("took", took), slog.String("request", x.request), slog.String("principal", x.caller.Principal))
}

// recover turns a panic into an internal error. What was panicked with may hold
// a value, so only its type is logged, and the text of the runtime's own.
func (x *exchange) recover() {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	what := fmt.Sprintf("%T", v)
	var bug runtime.Error
	if err, ok := v.(error); ok && errors.As(err, &bug) {
		what = redact(bug)
	}
	x.server.log.LogAttrs(x.r.Context(), slog.LevelError, "panic", slog.String("request", x.request),
		slog.String("operation", x.op.id), slog.String("what", what), slog.String("stack", frames(debug.Stack())))
	x.fail(fault.New(fault.Internal, "panic"))
}

// frames drops the arguments from a stack, keeping functions and lines.
func frames(stack []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(stack)) {
		if i := strings.LastIndexByte(line, '('); i > 0 && !strings.HasPrefix(line, "\t") {
			line = line[:i] + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// newRequestID returns what a request is called in the log. It counts nothing: whoever saw how
// many requests came between two of theirs would know that there are others.
func newRequestID() string { return strings.ToLower(rand.Text()[:16]) }

// Headers of every answer: nothing here is to be framed, sniffed, kept or run.
var (
	headerNoStore  = []string{"no-store"}
	headerNoSniff  = []string{"nosniff"}
	headerPolicy   = []string{"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
	headerReferrer = []string{"no-referrer"}
	headerResource = []string{"same-origin"}
	headerOpener   = []string{"same-origin"}
	headerHSTS     = []string{"max-age=31536000; includeSubDomains"}
)

func (s *Server) setHeaders(h http.Header, request string) {
	h["X-Request-Id"] = []string{request}
	h["Cache-Control"] = headerNoStore
	h["X-Content-Type-Options"] = headerNoSniff
	h["Content-Security-Policy"] = headerPolicy
	h["Referrer-Policy"] = headerReferrer
	h["Cross-Origin-Resource-Policy"] = headerResource
	h["Cross-Origin-Opener-Policy"] = headerOpener
	if s.config.StrictTransport {
		h["Strict-Transport-Security"] = headerHSTS
	}
}
