// Package export writes entries of the audit in the formats that other systems read:
// JSON lines, OCSF and CEF.
//
// It is pure: an entry goes in, a line comes out. Whatever an entry holds, one entry
// is one line, and nothing in it can begin another one or another field.
package export

import (
	"encoding/json"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
)

// Format is how entries are written.
type Format string

// The formats.
const (
	JSONL Format = "jsonl" // api.AuditEntry as JSON
	OCSF  Format = "ocsf"  // Open Cybersecurity Schema Framework 1.1, as JSON
	CEF   Format = "cef"   // ArcSight Common Event Format, version 0
)

// ParseFormat reads the name of a format; "" is JSONL. Another one is Invalid.
func ParseFormat(name string) (Format, error) {
	switch f := Format(name); f {
	case "":
		return JSONL, nil
	case JSONL, OCSF, CEF:
		return f, nil
	}
	return "", fault.New(fault.Invalid, "format %q is none of jsonl, ocsf and cef", name)
}

// MediaType is what a file of such lines is.
func (f Format) MediaType() string {
	if f == CEF {
		return "text/plain; charset=utf-8"
	}
	return "application/x-ndjson"
}

// Origin says whose audit it is.
type Origin struct {
	Tenant  string
	Version string // of the server
}

// Append appends an entry as one line, with its end.
func (f Format) Append(dst []byte, o Origin, e api.AuditEntry) ([]byte, error) {
	if f == CEF {
		return append(appendCEF(dst, o, e), '\n'), nil
	}
	var v any = e
	if f == OCSF {
		v = newEvent(o, e)
	}
	line, err := json.Marshal(v)
	if err != nil {
		return dst, fault.New(fault.Internal, "write the entry %s of the audit as %s: %w", e.Entry, f, err)
	}
	return append(append(dst, line...), '\n'), nil
}

const (
	vendor  = "Underseal"
	product = "Underseal"
)

// whoOf names who acted, somebody of another tenant as TENANT/NAME.
func whoOf(e api.AuditEntry) string {
	if e.Tenant == "" {
		return e.Principal
	}
	return e.Tenant + "/" + e.Principal
}

// family returns what a kind begins with, and what is done: "data", "shown".
func family(kind string) (of, done string) {
	of, done, _ = strings.Cut(kind, ".")
	return of, done
}
