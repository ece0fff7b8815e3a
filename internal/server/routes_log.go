package server

import (
	"context"
	"net/http"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
)

// logRoutes are about who may read the log.
func (s *Server) logRoutes() []*operation {
	e, tag := s.engine, "log"
	create := newOperation("POST", "/v1/log/readers", "createLogReader", tag, "Make a path by which somebody may read the log",
		func(ctx context.Context, x *exchange, in api.LogReaderRequest) (api.NewLogReader, error) {
			return e.CreateLogReader(ctx, x.caller, in)
		})
	revoke := newOperation("POST", "/v1/log/readers/{reader}/revoke", "revokeLogReader", tag, "End a path, at once",
		func(ctx context.Context, x *exchange, _ none) (api.LogReader, error) {
			return e.RevokeLogReader(ctx, x.caller, x.id)
		})
	create.unkeyed, revoke.unkeyed = true, true // a path cannot be given again, and is revoked if it is one too many
	return []*operation{
		create, revoke, s.evidenceRoute(),
		newOperation("GET", "/v1/log/shards", "listLogShards", tag, "List the logs with their newest signed heads",
			func(ctx context.Context, x *exchange, _ none) (api.LogShards, error) {
				out, err := e.LogShards(ctx, x.caller)
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("GET", "/v1/log/proof", "getLogProof", tag, "Prove that the leaf of a step is in its log",
			func(ctx context.Context, x *exchange, in api.LogProofQuery) (api.LogProof, error) {
				return e.LogProof(ctx, x.caller, in.Instance, in.Step)
			}),
		newOperation("GET", "/v1/log/consistency", "getLogConsistency", tag, "Prove that a log continues itself",
			func(ctx context.Context, x *exchange, in api.ConsistencyQuery) (api.LogConsistency, error) {
				out, err := e.LogConsistency(ctx, x.caller, in)
				out.Hashes = list(out.Hashes)
				return out, err
			}),
		newOperation("GET", "/v1/log/policy", "getLogPolicy", tag, "Say by whom evidence may be believed",
			func(ctx context.Context, x *exchange, _ none) (api.LogPolicy, error) {
				return e.LogPolicy(ctx, x.caller)
			}),
		newOperation("GET", "/v1/log/anchoring", "getLogAnchoring", tag, "Say who sees the heads of logs, and when next",
			func(ctx context.Context, x *exchange, _ none) (api.LogAnchoring, error) {
				out, err := e.LogAnchoring(ctx, x.caller)
				out.Witnesses = list(out.Witnesses)
				return out, err
			}),
		newOperation("GET", "/v1/instances/{instance}/receipt", "getReceipt", tag, "Get the platform's signed receipt for a step",
			func(ctx context.Context, x *exchange, in api.StepQuery) (api.SignedReceipt, error) {
				return e.Receipt(ctx, x.caller, x.id, in.Step)
			}),
		newOperation("GET", "/v1/log/readers", "listLogReaders", tag, "List who was given a path, oldest first",
			func(ctx context.Context, x *exchange, in api.Page) (api.LogReaders, error) {
				out, err := e.LogReaders(ctx, x.caller, engine.Page(in))
				out.Items = list(out.Items)
				return out, err
			}),
	}
}

// evidenceRoute discloses values and leaves an entry in the log, so it is no GET.
func (s *Server) evidenceRoute() *operation {
	o := newOperation("POST", "/v1/evidence", "exportEvidence", "log", "Get the evidence of one step or entry as a file that proves it offline",
		func(ctx context.Context, x *exchange, in api.EvidenceRequest) (archive, error) {
			return s.engine.Evidence(ctx, x.caller, in)
		})
	o.unkeyed = true
	return o
}

// The files of logs, for clients of C2SP tlog-tiles. Such clients send no header, so
// the secret is in the path, and the answers are bytes: these two stand beside the
// API and are not in its document.
const (
	logFilePath  = "/log/{reader}/{shard}/{file...}"
	logShardPath = "/log/{reader}/{shard}"
)

// handleLogFiles registers them.
func (s *Server) handleLogFiles() {
	for _, path := range []string{logFilePath, logShardPath} {
		o := &operation{method: "GET", path: path, id: "getLogFile", public: true, free: true, serve: s.logFile}
		s.handle("GET "+path, o)
		s.handle(path, methodNotAllowed(path, []string{"GET"}))
	}
}

// logFile serves a file of a log to whoever knows a reader's path. A reader asks for
// many files, and for some that are not there yet, so only what leads nowhere counts,
// and nothing counts against a secret that led somewhere.
func (s *Server) logFile(ctx context.Context, x *exchange) error {
	secret := x.r.PathValue("reader")
	visit, refused := s.config.Limits.Enter(s.address(x.r), secret)
	if refused.Wait > 0 {
		return x.tooMany(refused)
	}
	f, err := s.engine.LogFile(ctx, secret, x.r.PathValue("shard"), x.r.PathValue("file"))
	if err != nil {
		if !fault.Is(err, fault.NotFound) {
			visit.Spare()
		}
		return err
	}
	visit.Good()
	kind, keep := "application/octet-stream", "private, max-age=31536000, immutable"
	if f.Text {
		kind = "text/plain; charset=utf-8"
	}
	if f.Immutable { // else no-store, as everywhere
		x.w.Header().Set("Cache-Control", keep)
	}
	x.write(http.StatusOK, kind, f.Body)
	return nil
}
