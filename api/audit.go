package api

import (
	"encoding/json"
	"time"
)

// AuditFilter narrows the audit; empty fields do not.
type AuditFilter struct {
	From      string `query:"from" doc:"entries of this time (RFC 3339) or later" maxLength:"64"`
	To        string `query:"to" doc:"entries from before this time (RFC 3339)" maxLength:"64"`
	Kind      string `query:"kind" doc:"of this kind, or, with a point at the end, of all kinds that begin so" maxLength:"255"`
	Principal string `query:"principal" doc:"who acted" maxLength:"255"`
	Address   string `query:"address" doc:"network address that the request came from" maxLength:"255"`
	About     string `query:"about" doc:"name of a user or program: what was done to them, roles, grants, keys and sessions included" maxLength:"255"`
	Object    string `query:"object" doc:"id of an instance or another object: its steps, and when it was shown or refused to somebody" maxLength:"255"`
	Process   string `query:"process" doc:"id of a process: steps of its definitions and instances" maxLength:"255"`
	Result    string `query:"result" enum:"done,denied,failed"`
}

// AuditQuery are the query parameters of the audit.
type AuditQuery struct {
	AuditFilter
	OldestFirst bool `query:"oldest_first" doc:"else the newest come first"`
	Page
}

// AuditEntry is an entry of a log with what it tells of the act. What was erased since
// is left out.
type AuditEntry struct {
	Entry   string    `json:"entry" doc:"LOG/NUMBER, by which evidence of it is asked for"`
	Kind    string    `json:"kind" doc:"what was done"`
	At      time.Time `json:"at"`
	Act     string    `json:"act" doc:"user, worker, engine or admin"`
	Result  string    `json:"result" enum:"done,denied,failed"`
	Object  string    `json:"object,omitempty" doc:"whose step it is"`
	Name    string    `json:"name,omitempty" doc:"of the user, program or group whose step it is"`
	Step    uint64    `json:"step,omitempty" doc:"number of the object's step"`
	Process string    `json:"process,omitempty" doc:"of the instance or definition whose step it is"`
	Element string    `json:"element,omitempty"`
	Leaf    string    `json:"leaf" doc:"hash of the leaf, hex"`

	Principal string `json:"principal,omitempty" doc:"who acted"`
	Tenant    string `json:"tenant,omitempty" doc:"whose principal that is, if it is none of the tenant whose log this is"`
	Key       string `json:"key,omitempty" doc:"id of the credential that was used"`
	Address   string `json:"address,omitempty" doc:"network address that the request came from"`

	Shown  []AuditShown `json:"shown,omitempty" doc:"what was shown"`
	Count  int          `json:"count,omitempty" doc:"how often it happened"`
	Reason string       `json:"reason,omitempty"`
	// Purpose of a disclosure.
	Purpose string          `json:"purpose,omitempty" doc:"what for"`
	Details json.RawMessage `json:"details,omitempty" doc:"what else the entry tells, by name"`
	Erased  bool            `json:"erased,omitempty" doc:"who acted cannot be read any more: the key was destroyed"`
}

// AuditShown is what was shown of an object; a path stands for all below it.
type AuditShown struct {
	Object string   `json:"object"`
	Paths  []string `json:"paths"`
}

// AuditEntries is a page of the audit. A page may hold none and still have a next one.
type AuditEntries struct {
	Items []AuditEntry `json:"items"`
	Next  string       `json:"next,omitempty"`
}

// Results of what entries tell of.
const (
	ResultDone   = "done"
	ResultDenied = "denied"
	ResultFailed = "failed"
)

// AuditExportQuery are the query parameters of an export of the audit.
type AuditExportQuery struct {
	AuditFilter
	Format string `query:"format" doc:"one entry per line: JSON (jsonl, the default), OCSF 1.x (ocsf) or CEF (cef)" enum:"jsonl,ocsf,cef"`
}
