package client

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/underseal/underseal/api"
)

// Audit searches the log for who did what. Reading it leaves an entry in it.
func (c *Client) Audit(ctx context.Context, q api.AuditQuery) (api.AuditEntries, error) {
	oldest := ""
	if q.OldestFirst {
		oldest = "true"
	}
	pairs := append(auditPairs(q.AuditFilter), "oldest_first", oldest, "after", q.After, "limit", number(q.Limit))
	return call[api.AuditEntries](ctx, c, get("/v1/audit").with(pairs...))
}

// ExportAudit writes the audit to a file, oldest first, one entry per line. When it
// returns an error, what was written is not all.
//
// Only a connection on which nothing moves for the client's Timeout ends it; bound the
// whole of it by ctx.
func (c *Client) ExportAudit(ctx context.Context, q api.AuditExportQuery, to io.Writer) error {
	r := get("/v1/audit/export").with(append(auditPairs(q.AuditFilter), "format", q.Format)...)
	limited, p := patiently(ctx, c.timeout)
	defer p.end()
	req, err := c.newRequest(limited, r, nil, "")
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return unreachable(ctx, r, err)
	}
	defer res.Body.Close() // it was only read
	if res.StatusCode != http.StatusOK {
		data, err := readAll(res)
		if err != nil {
			return unreachable(ctx, r, err)
		}
		return refusal(r, res, data)
	}
	if _, err := io.Copy(to, &moving{res.Body, p}); err != nil {
		return fmt.Errorf("%s: what was written is not all: %w", r.name(), err)
	}
	return nil
}

func auditPairs(f api.AuditFilter) []string {
	return []string{
		"from", f.From, "to", f.To, "kind", f.Kind, "principal", f.Principal, "address", f.Address, "about", f.About,
		"object", f.Object, "process", f.Process, "result", f.Result,
	}
}

// moving reads a body, which has the patience of its client as long as bytes come.
type moving struct {
	io.Reader
	waits *patience
}

func (m *moving) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.waits.moved()
	return n, err
}
