package server

import (
	"bufio"
	"context"
	"net/http"
	"reflect"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/export"
)

// lines is the answer of an operation that is a text without an end that is known.
type lines struct{}

// auditRoutes are about who did what.
func (s *Server) auditRoutes() []*operation {
	tag := "audit"
	return []*operation{
		newOperation("GET", "/v1/audit", "searchAudit", tag, "Search the log for who did what; that it was read is in the log, too",
			func(ctx context.Context, x *exchange, in api.AuditQuery) (api.AuditEntries, error) {
				out, err := s.engine.Audit(ctx, x.caller, in)
				out.Items = list(out.Items)
				return out, err
			}),
		{
			method: "GET", path: "/v1/audit/export", id: "exportAudit", tag: tag, streams: true,
			summary: "Get the audit as lines, oldest first; that it was exported is in the log, too",
			in:      reflect.TypeFor[api.AuditExportQuery](), out: reflect.TypeFor[lines](), serve: s.exportAudit,
		},
	}
}

// exportAudit writes entries as they are read. An error in between ends the connection:
// the answer then has no proper end.
func (s *Server) exportAudit(ctx context.Context, x *exchange) error {
	var in api.AuditExportQuery
	if err := bindQuery(x.op.query, x.r.URL.RawQuery, reflect.ValueOf(&in).Elem()); err != nil {
		return err
	}
	format, err := export.ParseFormat(in.Format)
	if err != nil {
		return err
	}
	entries, err := s.engine.ExportAudit(ctx, x.caller, in)
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("Content-Type", format.MediaType())
	h.Set("Content-Disposition", "attachment")
	to := &sending{ResponseWriter: x.w, x: x}
	to.WriteHeader(http.StatusOK)
	out := bufio.NewWriterSize(to, 32<<10)
	origin := export.Origin{Tenant: x.caller.Scope.Tenant(), Version: s.config.Version}
	var line []byte
	for entry, err := range entries {
		if err != nil {
			return err
		}
		if line, err = format.Append(line[:0], origin, entry); err != nil {
			return err
		}
		if _, err := out.Write(line); err != nil {
			return nil // the client is gone, which is no error of anybody here
		}
	}
	_ = out.Flush() // likewise
	return nil
}
