// Package api holds the types that travel over Underseal's HTTP API. It has no
// behavior, so a client can depend on it alone.
//
// Conventions: ids are text and opaque; times are RFC 3339 in UTC; variables
// are JSON objects whose numbers keep every digit (at most 34); lists are
// paged by an opaque cursor; every POST accepts an Idempotency-Key header and
// gives the same answer again when it is repeated with the same body.
package api

import (
	"encoding/json"
	"time"
)

// IdempotencyKey is the name of the header that makes a POST repeatable.
const IdempotencyKey = "Idempotency-Key"

// Problem is the body of every error (RFC 9457, application/problem+json).
type Problem struct {
	Type   string    `json:"type"`             // urn:underseal:problem:CODE
	Title  string    `json:"title"`            // the kind, in words
	Status int       `json:"status"`           // HTTP status code
	Detail string    `json:"detail"`           // what happened, where, what to do
	Code   string    `json:"code"`             // stable, snake_case
	Kind   string    `json:"kind"`             // invalid, not_found, conflict, denied, ..
	Hint   string    `json:"hint,omitempty"`   // what to do about it
	Errors []Finding `json:"errors,omitempty"` // every single finding
}

// Finding is one of several findings behind a Problem.
type Finding struct {
	Place   string `json:"place"` // JSON pointer, or file:line element
	Message string `json:"message"`
}

// File is one file of a deployment.
type File struct {
	Name    string `json:"name" doc:"file name, for instance loan.bpmn" minLength:"1" maxLength:"255"`
	Content []byte `json:"content" doc:"the bytes, base64"`
}

// DeployRequest deploys a set of files, whole or not at all.
type DeployRequest struct {
	Files []File `json:"files" minItems:"1" maxItems:"100"`
}

// Deployment is what a deployment made.
type Deployment struct {
	Processes []Process `json:"processes"`
}

// Process is one version of a deployed process.
type Process struct {
	ID         string    `json:"id"` // of the BPMN process
	Version    int       `json:"version"`
	Name       string    `json:"name,omitempty"`
	Definition string    `json:"definition"`  // object id
	Hash       string    `json:"hash"`        // hex SHA-256 of the model
	Mode       string    `json:"mode"`        // standard or confidential, as new instances will have it
	ModeSource string    `json:"mode_source"` // model or setting
	Deployed   time.Time `json:"deployed"`
	Unchanged  bool      `json:"unchanged,omitempty"` // the same files were deployed already
}

// Processes is a page of the newest versions.
type Processes struct {
	Items []Process `json:"items"`
	Next  string    `json:"next,omitempty"`
}

// ModeRequest sets whether new instances of a process are confidential:
// "standard", "confidential", or "model" to follow the model again.
type ModeRequest struct {
	Mode string `json:"mode" enum:"standard,confidential,model"`
}

// StartRequest starts an instance.
type StartRequest struct {
	Process     string          `json:"process" minLength:"1" maxLength:"255"`
	Version     int             `json:"version,omitempty" doc:"0 or absent: the newest" minimum:"0"`
	BusinessKey string          `json:"business_key,omitempty" maxLength:"1024"`
	Variables   json.RawMessage `json:"variables,omitempty" doc:"a JSON object"`
}

// Receipt says what a change became: the step of the instance and the hash of
// the leaf that commits to it. The same request repeated gives the same receipt.
type Receipt struct {
	Instance string `json:"instance"`
	Seq      uint64 `json:"seq"`
	Leaf     string `json:"leaf"` // hex
}

// Instance is one run of a process.
type Instance struct {
	ID          string          `json:"id"`
	Process     string          `json:"process"`
	Version     int             `json:"version"`
	Mode        string          `json:"mode"`
	Status      string          `json:"status"` // active, completed, canceled, failed
	Started     time.Time       `json:"started"`
	Ended       *time.Time      `json:"ended,omitempty"`
	Incidents   int             `json:"incidents"`
	Seq         uint64          `json:"seq,omitempty"` // single instance only, like what follows
	BusinessKey string          `json:"business_key,omitempty"`
	Waiting     []Waiting       `json:"waiting,omitempty"`
	Variables   json.RawMessage `json:"variables,omitempty"`
	Fields      []FieldInfo     `json:"fields,omitempty"`
}

// Waiting is a place where an instance waits.
type Waiting struct {
	Element string `json:"element"`
	For     string `json:"for"` // task, job, timer, incident
	ID      string `json:"id"`
}

// FieldInfo says how one field is kept.
type FieldInfo struct {
	Path     string   `json:"path"`
	Class    string   `json:"class"`
	Sealed   bool     `json:"sealed"`
	Seq      uint64   `json:"seq"` // step that wrote it
	Subjects []string `json:"subjects,omitempty"`
}

// Instances is a page of instances, newest first.
type Instances struct {
	Items []Instance `json:"items"`
	Next  string     `json:"next,omitempty"`
}

// Step is one committed step of an instance.
type Step struct {
	Seq      uint64       `json:"seq"`
	At       time.Time    `json:"at"`
	Event    string       `json:"event"`
	Element  string       `json:"element,omitempty"`
	Actor    string       `json:"actor"`
	Rejected string       `json:"rejected,omitempty"`
	Trail    []Transition `json:"trail,omitempty"`
	Fields   []string     `json:"fields,omitempty"` // paths written
	Leaf     string       `json:"leaf"`             // hex
}

// Transition is one thing that happened to an element or flow in a step.
type Transition struct {
	Element string `json:"element"`
	What    string `json:"what"` // entered, completed, terminated, taken
}

// Steps is a page of steps, oldest first.
type Steps struct {
	Items []Step `json:"items"`
	Next  string `json:"next,omitempty"`
}

// Export is all data of one instance.
type Export struct {
	Instance Instance         `json:"instance"`
	Scopes   []ScopeVariables `json:"scopes"`
	Steps    []Step           `json:"steps"`
}

// ScopeVariables are the variables of one scope of an instance.
type ScopeVariables struct {
	Scope     uint64          `json:"scope"`
	Element   string          `json:"element"`
	Variables json.RawMessage `json:"variables"`
}

// VariablesRequest changes fields of a running instance.
type VariablesRequest struct {
	Variables json.RawMessage `json:"variables" doc:"a JSON object; each name replaces the variable"`
}

// Task is work for a person.
type Task struct {
	ID        string          `json:"id"`
	Instance  string          `json:"instance"`
	Process   string          `json:"process"`
	Element   string          `json:"element"`
	Name      string          `json:"name,omitempty"` // single task only, like what follows the times
	Assignee  string          `json:"assignee,omitempty"`
	Groups    []string        `json:"groups,omitempty"`
	Users     []string        `json:"users,omitempty"`
	Created   time.Time       `json:"created"`
	Due       *time.Time      `json:"due,omitempty"`
	Form      json.RawMessage `json:"form,omitempty"` // JSON Schema
	Variables json.RawMessage `json:"variables,omitempty"`
	Draft     json.RawMessage `json:"draft,omitempty"`
}

// Tasks is a page of tasks, oldest first.
type Tasks struct {
	Items []Task `json:"items"`
	Next  string `json:"next,omitempty"`
}

// ClaimRequest names who takes the task; empty is the caller.
type ClaimRequest struct {
	Assignee string `json:"assignee,omitempty" maxLength:"255"`
}

// CompleteTaskRequest completes a task with what the person entered.
type CompleteTaskRequest struct {
	Variables json.RawMessage `json:"variables,omitempty" doc:"a JSON object, valid for the form"`
}

// ActivateRequest asks for jobs. The call waits up to Wait for the first one.
type ActivateRequest struct {
	Type    string `json:"type" minLength:"1" maxLength:"255"`
	Worker  string `json:"worker" minLength:"1" maxLength:"255" doc:"a name for the worker, shown to administrators"`
	Max     int    `json:"max,omitempty" doc:"1 to 1000, default 1" minimum:"0" maximum:"1000"`
	LeaseMS int    `json:"lease_ms,omitempty" doc:"how long the jobs are the worker's, default 60000" minimum:"0" maximum:"86400000"`
	WaitMS  int    `json:"wait_ms,omitempty" doc:"how long to wait for a job, default 0" minimum:"0" maximum:"60000"`
}

// Job is work for a worker, leased until Deadline.
type Job struct {
	ID        string            `json:"id"`
	Lease     string            `json:"lease"` // goes back with the result
	Instance  string            `json:"instance"`
	Process   string            `json:"process"`
	Element   string            `json:"element"`
	Type      string            `json:"type"`
	Retries   int               `json:"retries"`
	Deadline  time.Time         `json:"deadline"`
	Headers   map[string]string `json:"headers,omitempty"`
	Variables json.RawMessage   `json:"variables"`
}

// Jobs are the activated jobs, none when the wait ended without one.
type Jobs struct {
	Items []Job `json:"items"`
}

// CompleteJobRequest reports a job's result.
type CompleteJobRequest struct {
	Lease     string          `json:"lease" minLength:"1" maxLength:"255"`
	Variables json.RawMessage `json:"variables,omitempty"`
}

// FailJobRequest reports a failed try.
type FailJobRequest struct {
	Lease     string `json:"lease" minLength:"1" maxLength:"255"`
	Message   string `json:"message,omitempty" maxLength:"10000"`
	Retries   *int   `json:"retries,omitempty" doc:"tries left; absent: one less" minimum:"0"`
	BackoffMS *int   `json:"backoff_ms,omitempty" doc:"pause before the next try; absent: one second, doubled each time" minimum:"0"`
}

// ErrorJobRequest throws a BPMN error.
type ErrorJobRequest struct {
	Lease     string          `json:"lease" minLength:"1" maxLength:"255"`
	Code      string          `json:"code" minLength:"1" maxLength:"255"`
	Message   string          `json:"message,omitempty" maxLength:"10000"`
	Variables json.RawMessage `json:"variables,omitempty"`
}

// ExtendJobRequest lengthens a lease, counted from now.
type ExtendJobRequest struct {
	Lease   string `json:"lease" minLength:"1" maxLength:"255"`
	LeaseMS int    `json:"lease_ms" minimum:"1" maximum:"86400000"`
}

// Lease is a lengthened lease.
type Lease struct {
	Deadline time.Time `json:"deadline"`
}

// Incident is something that failed and waits for help.
type Incident struct {
	ID       string    `json:"id"`
	Instance string    `json:"instance"`
	Process  string    `json:"process"`
	Element  string    `json:"element"`
	Code     string    `json:"code"`
	Message  string    `json:"message,omitempty"`
	Job      string    `json:"job,omitempty"`
	Created  time.Time `json:"created"`
}

// Incidents is a page of open incidents, oldest first.
type Incidents struct {
	Items []Incident `json:"items"`
	Next  string     `json:"next,omitempty"`
}

// RetryRequest tries again what failed.
type RetryRequest struct {
	Retries int `json:"retries,omitempty" doc:"new tries for a job, default 3" minimum:"0" maximum:"1000"`
}

// Health is the answer of /healthz and /readyz.
type Health struct {
	Status string            `json:"status"` // ok or unavailable
	Checks map[string]string `json:"checks,omitempty"`
}
