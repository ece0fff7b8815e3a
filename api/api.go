// Package api holds the types that travel over Underseal's HTTP API. It has no
// behavior, so a client can depend on it alone.
//
// Conventions: ids are text and opaque; times are RFC 3339 in UTC; variables
// are JSON objects whose numbers keep every digit (at most 34); lists are
// paged by an opaque cursor; every change accepts an Idempotency-Key header and
// gives the same answer again when it is repeated with the same body. Some take
// none: activating jobs and extending a lease change nothing that lasts, and work
// on keys can be done again.
//
// The tags say what a value must be like: the server builds its OpenAPI
// document and its checks from them, so the two cannot differ.
package api

import (
	"encoding/json"
	"time"
)

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
	Pending   *Proposal `json:"pending,omitempty" doc:"nothing is deployed before somebody else approves this"`
}

// Proposal is a deployment, or a setting of a process's mode, that a second person has to
// approve.
type Proposal struct {
	ID        string         `json:"id"`
	By        string         `json:"by" doc:"who proposed it, and cannot approve it"`
	Made      time.Time      `json:"made"`
	Expires   time.Time      `json:"expires"`
	Processes []string       `json:"processes" doc:"ids"`
	Mode      string         `json:"mode,omitempty" enum:"standard,model" doc:"that the process is set to; none: the files are deployed"`
	Files     []ProposedFile `json:"files"`
	State     string         `json:"state" enum:"pending,approved,withdrawn"`
	Decided   string         `json:"decided,omitempty" doc:"by whom"`
}

// ProposedFile is a file of a proposal.
type ProposedFile struct {
	Name    string `json:"name"`
	Hash    string `json:"hash" doc:"hex SHA-256"`
	Content []byte `json:"content,omitempty" doc:"of one proposal alone"`
}

// Proposals are the deployments that wait for somebody.
type Proposals struct {
	Items []Proposal `json:"items"`
}

// Process is one version of a deployed process.
type Process struct {
	ID         string    `json:"id" doc:"of the BPMN process"`
	Version    int       `json:"version"`
	Name       string    `json:"name,omitempty"`
	Definition string    `json:"definition" doc:"object id"`
	Hash       string    `json:"hash" doc:"hex SHA-256 of the model"`
	Mode       string    `json:"mode" doc:"standard or confidential, as new instances will have it"`
	ModeSource string    `json:"mode_source" enum:"model,setting"`
	Deployed   time.Time `json:"deployed"`
	Unchanged  bool      `json:"unchanged,omitempty" doc:"it was so already"`
	Pending    *Proposal `json:"pending,omitempty" doc:"the mode that was asked for, which waits for a second person"`
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
	Leaf     string `json:"leaf" doc:"hash of the leaf that commits to it, hex"`
}

// Instance is one run of a process.
type Instance struct {
	ID          string          `json:"id"`
	Process     string          `json:"process"`
	Version     int             `json:"version"`
	Mode        string          `json:"mode"`
	Status      string          `json:"status" enum:"active,completed,canceled,erased"`
	Started     time.Time       `json:"started"`
	Ended       *time.Time      `json:"ended,omitempty"`
	Incidents   int             `json:"incidents"`
	Seq         uint64          `json:"seq,omitempty" doc:"steps so far; in the answer for one instance, not in lists"`
	BusinessKey string          `json:"business_key,omitempty" doc:"not in lists"`
	Waiting     []Waiting       `json:"waiting,omitempty" doc:"not in lists"`
	Variables   json.RawMessage `json:"variables,omitempty" doc:"those of the root scope; not in lists"`
	Fields      []FieldInfo     `json:"fields,omitempty" doc:"not in lists"`
	Erased      []string        `json:"erased,omitempty" doc:"paths of fields whose key was destroyed; they read as null; not in lists"`
	Files       []FileInfo      `json:"files,omitempty" doc:"not in lists"`
	Masked      []string        `json:"masked,omitempty" doc:"paths of fields that were left out, for the caller may not see them in clear; not in lists"`
}

// Waiting is a place where an instance waits.
type Waiting struct {
	Element string `json:"element"`
	For     string `json:"for" enum:"task,job,timer,incident"`
	ID      string `json:"id"`

	Due     *time.Time `json:"due,omitempty" doc:"when a task is due, a timer fires, or a failed job is offered again"`
	Retries *int       `json:"retries,omitempty" doc:"tries that a job has left"`
}

// FieldInfo says how one field is kept.
type FieldInfo struct {
	Path     string   `json:"path"`
	Class    string   `json:"class"`
	Sealed   bool     `json:"sealed"`
	Seq      uint64   `json:"seq" doc:"step that wrote it"`
	Subjects []string `json:"subjects,omitempty"`
}

// FileInfo describes a file of an instance; of an erased one only that it is.
type FileInfo struct {
	File     string   `json:"file" doc:"id"`
	Name     string   `json:"name,omitempty"`
	Type     string   `json:"type,omitempty" doc:"media type, as the uploader named it"`
	Size     int64    `json:"size,omitempty" doc:"bytes"`
	SHA256   string   `json:"sha256,omitempty" doc:"hex"`
	Class    string   `json:"class,omitempty"`
	Subjects []string `json:"subjects,omitempty"`
	Erased   bool     `json:"erased,omitempty"`
}

// Upload is a file that no instance has yet. Whoever uploaded it puts it into an
// instance by writing {"$file": "<id>"} where it is to stand in variables.
type Upload struct {
	File    string    `json:"file" doc:"id"`
	Name    string    `json:"name"`
	Type    string    `json:"type" doc:"media type"`
	Size    int64     `json:"size" doc:"bytes"`
	SHA256  string    `json:"sha256" doc:"hex"`
	Expires time.Time `json:"expires" doc:"when it is deleted unless it was put into an instance"`
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
	About    string       `json:"about,omitempty" doc:"id of the task or job that the event happened to"`
	Actor    string       `json:"actor,omitempty" doc:"left out for who may see no more than some fields"`
	Rejected string       `json:"rejected,omitempty"`
	Trail    []Transition `json:"trail,omitempty"`
	Fields   []string     `json:"fields,omitempty" doc:"paths written"`
	Erased   []string     `json:"erased,omitempty" doc:"those of them whose value was erased since"`
	Leaf     string       `json:"leaf" doc:"hash of the leaf that commits to it, hex"`

	Values json.RawMessage `json:"values,omitempty" doc:"what was written, by path, and who acted ($actor); only in an export"`
	Masked []string        `json:"masked,omitempty" doc:"paths whose values were left out of these"`
}

// Transition is one thing that happened to an element or flow in a step.
type Transition struct {
	Element string `json:"element"`
	What    string `json:"what" enum:"entered,completed,terminated,taken"`
}

// Steps is a page of steps, oldest first.
type Steps struct {
	Items []Step `json:"items"`
	Next  string `json:"next,omitempty"`
}

// Export is all data of one instance that the caller may see: what it holds now, and what
// each step wrote, so also drafts, messages of incidents and values that were overwritten.
// The bytes of files are not in it; those that were erased are in nothing.
type Export struct {
	Instance Instance         `json:"instance"`
	Scopes   []ScopeVariables `json:"scopes"`
	Steps    []Step           `json:"steps"`
	Masked   []string         `json:"masked,omitempty" doc:"paths of fields that were left out of the scopes, for the caller may not see them in clear"`
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
	Name      string          `json:"name,omitempty"`
	Assignee  string          `json:"assignee,omitempty"`
	Groups    []string        `json:"groups,omitempty"`
	Users     []string        `json:"users,omitempty"`
	Created   time.Time       `json:"created"`
	Due       *time.Time      `json:"due,omitempty"`
	Signed    bool            `json:"signed,omitempty" doc:"what is entered must be signed by a passkey"`
	Form      json.RawMessage `json:"form,omitempty" doc:"JSON Schema; not in lists"`
	Variables json.RawMessage `json:"variables,omitempty"`
	Draft     json.RawMessage `json:"draft,omitempty"`
	Erased    []string        `json:"erased,omitempty" doc:"paths of what was erased of what the task shows; not in lists"`
	Masked    []string        `json:"masked,omitempty" doc:"paths of fields that were left out, for the caller may not see them in clear; not in lists"`
}

// Tasks is a page of tasks, those of the oldest instance first.
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
	Signed    *SignedTask     `json:"signed,omitempty" doc:"by the person's passkey"`
}

// DraftRequest saves what a person has entered so far; it need not be valid yet.
type DraftRequest struct {
	Draft json.RawMessage `json:"draft" doc:"a JSON object"`
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
	Lease     string            `json:"lease" doc:"goes back with the result"`
	Instance  string            `json:"instance"`
	Process   string            `json:"process"`
	Version   int               `json:"version"`
	Model     string            `json:"model" doc:"hex SHA-256 of the model"`
	Element   string            `json:"element"`
	Type      string            `json:"type"`
	Retries   int               `json:"retries"`
	Deadline  time.Time         `json:"deadline"`
	Headers   map[string]string `json:"headers,omitempty"`
	Variables json.RawMessage   `json:"variables"`
	Masked    []string          `json:"masked,omitempty" doc:"paths of fields that were left out, for a policy of the tenant forbids them"`

	Deployment string `json:"deployment" doc:"id of the installation, which a signed statement names"`
	Tenant     string `json:"tenant" doc:"likewise"`
}

// Jobs are the activated jobs, none when the wait ended without one.
type Jobs struct {
	Items []Job `json:"items"`
}

// CompleteJobRequest reports a job's result.
type CompleteJobRequest struct {
	Lease     string          `json:"lease" minLength:"1" maxLength:"255"`
	Variables json.RawMessage `json:"variables,omitempty"`
	Signed    *Signed         `json:"signed,omitempty"`
}

// FailJobRequest reports a failed try.
type FailJobRequest struct {
	Lease     string  `json:"lease" minLength:"1" maxLength:"255"`
	Message   string  `json:"message,omitempty" maxLength:"10000"`
	Retries   *int    `json:"retries,omitempty" doc:"tries left; absent: one less" minimum:"0"`
	BackoffMS *int    `json:"backoff_ms,omitempty" doc:"pause before the next try; absent: one second, doubled each time" minimum:"0" maximum:"2592000000"`
	Signed    *Signed `json:"signed,omitempty"`
}

// ErrorJobRequest throws a BPMN error.
type ErrorJobRequest struct {
	Lease     string          `json:"lease" minLength:"1" maxLength:"255"`
	Code      string          `json:"code" minLength:"1" maxLength:"255"`
	Message   string          `json:"message,omitempty" maxLength:"10000"`
	Variables json.RawMessage `json:"variables,omitempty"`
	Signed    *Signed         `json:"signed,omitempty"`
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
	Masked   []string  `json:"masked,omitempty" doc:"the path of the message, if it was left out"`
}

// Incidents is a page of open incidents, those of the oldest instance first.
type Incidents struct {
	Items []Incident `json:"items"`
	Next  string     `json:"next,omitempty"`
}

// RetryRequest tries again what failed.
type RetryRequest struct {
	Retries int `json:"retries,omitempty" doc:"new tries for a job, default 3" minimum:"0" maximum:"1000"`
}

// RenewKeysRequest gives a page of running instances, or of persons, new data keys, or
// the index tokens of a page of instances.
type RenewKeysRequest struct {
	Of          string `json:"of,omitempty" enum:"instances,subjects,index" doc:"whose keys, default instances; index: the tokens under former index keys are made anew under the newest"`
	OlderThanMS int    `json:"older_than_ms,omitempty" doc:"only if their key is at least that old" minimum:"0" maximum:"315360000000"`
	After       string `json:"after,omitempty" doc:"the cursor that came with the page before" maxLength:"64"`
	Limit       int    `json:"limit,omitempty" doc:"how many to look at, default 50" minimum:"0" maximum:"1000"`
}

// KeysRenewed says what became of a page of instances, or of persons.
type KeysRenewed struct {
	Seen    int      `json:"seen" doc:"instances looked at, running ones if their keys were asked for; of persons those whose key is that old"`
	Renewed int      `json:"renewed" doc:"those that have a new data key, or new index tokens, now"`
	Failed  []string `json:"failed,omitempty" doc:"instances that could not be opened, or data keys of persons of whom this is so; their key stays, or their tokens"`
	Next    string   `json:"next,omitempty"`
}

// ErasureTarget names what is held or to be erased: an instance by its id, or a
// person by the id that processes know them by.
type ErasureTarget struct {
	Kind string `json:"kind" enum:"instance,subject"`
	ID   string `json:"id" minLength:"1" maxLength:"1024"`
}

// HoldRequest keeps something from being erased.
type HoldRequest struct {
	Kind   string `json:"kind" enum:"instance,subject"`
	ID     string `json:"id" minLength:"1" maxLength:"1024"`
	Reason string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// Hold keeps something from being erased until it is released. Whom a hold on a
// person is about is not stored.
type Hold struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind" enum:"instance,subject"`
	Instance string    `json:"instance,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	By       string    `json:"by"`
	At       time.Time `json:"at"`
}

// Holds is a page of holds.
type Holds struct {
	Items []Hold `json:"items"`
	Next  string `json:"next,omitempty"`
}

// ErasureRequest orders that the keys of an instance or a person be destroyed.
type ErasureRequest struct {
	Kind    string `json:"kind" enum:"instance,subject"`
	ID      string `json:"id" minLength:"1" maxLength:"1024"`
	Reason  string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
	DelayMS *int   `json:"delay_ms,omitempty" doc:"how long it can be canceled; 0: at once, absent: as the server is set" minimum:"0" maximum:"31536000000"`
}

// Erasure is an order and what became of it. Whom the erasure of a person was about
// is not stored.
type Erasure struct {
	ID        string     `json:"id"`
	Kind      string     `json:"kind" enum:"instance,subject"`
	Instance  string     `json:"instance,omitempty"`
	State     string     `json:"state" enum:"pending,canceled,executing,done"`
	Reason    string     `json:"reason,omitempty"`
	By        string     `json:"by"`
	Ordered   time.Time  `json:"ordered"`
	Due       time.Time  `json:"due"`
	Completed *time.Time `json:"completed,omitempty"`
	Holds     int        `json:"holds" doc:"a pending erasure waits for their release"`
}

// Erasures is a page of erasures.
type Erasures struct {
	Items []Erasure `json:"items"`
	Next  string    `json:"next,omitempty"`
	Note  string    `json:"note,omitempty" doc:"what the last end of an epoch could not do"`
}

// ErasurePreview is what an erasure would take away, and what keeps it from doing so.
type ErasurePreview struct {
	ID        string   `json:"id" doc:"the erasure's, if it is ordered"`
	Kind      string   `json:"kind" enum:"instance,subject"`
	State     string   `json:"state" enum:"none,pending,canceled,executing,done"`
	Holds     []Hold   `json:"holds"`
	Keys      int      `json:"keys" doc:"to be destroyed"`
	Instances int      `json:"instances" doc:"of which something goes"`
	Running   int      `json:"running" doc:"of these instances"`
	Fields    int      `json:"fields" doc:"that would not be readable any more, newest versions"`
	Files     int      `json:"files" doc:"among the fields; deleted with their bytes"`
	Tokens    int      `json:"tokens" doc:"index tokens that go"`
	Tasks     int      `json:"tasks" doc:"that wait in these instances"`
	Jobs      int      `json:"jobs"`
	Timers    int      `json:"timers"`
	Incidents int      `json:"incidents"`
	Sample    []string `json:"sample" doc:"the first hundred of the instances"`
}

// ErasureReceipt says what an erasure did and from when on nothing of it can be read
// anywhere, also not from backups.
type ErasureReceipt struct {
	Erasure        Erasure    `json:"erasure"`
	Keys           []string   `json:"keys" doc:"ids of the keys destroyed"`
	Instances      int        `json:"instances"`
	Tokens         int        `json:"tokens" doc:"index tokens deleted"`
	Files          int        `json:"files" doc:"files deleted"`
	UnreadableFrom *time.Time `json:"unreadable_from,omitempty" doc:"on this server"`
	EverywhereFrom *time.Time `json:"everywhere_from,omitempty" doc:"also from backups: the end of the erasure epoch"`
	EpochEnded     *time.Time `json:"epoch_ended,omitempty" doc:"when that was done"`
	Note           string     `json:"note,omitempty"`
	Steps          []Step     `json:"steps" doc:"with the hashes of their leaves"`
}

// ErasureCheckRequest asks for the next part of a verification.
type ErasureCheckRequest struct {
	After string `json:"after,omitempty" doc:"the cursor that came with the part before" maxLength:"4096"`
}

// ErasureCheck is one part of a verification that tries to read what was erased.
type ErasureCheck struct {
	Fields   int      `json:"fields" doc:"sealed field versions looked at"`
	Erased   int      `json:"erased" doc:"those under a destroyed key, none of which opens"`
	Leaves   int      `json:"leaves" doc:"leaves of an erased instance that agree with what is stored"`
	Findings []string `json:"findings,omitempty" doc:"what can be read all the same"`
	Next     string   `json:"next,omitempty"`
}

// Keys says which keys wrap a tenant's data keys.
type Keys struct {
	TenantKeys []TenantKey  `json:"tenant_keys" doc:"oldest first; the newest wraps new data keys"`
	RootKeys   []RootKey    `json:"root_keys" doc:"versions seen of the root keys that wrap the tenant keys, oldest first"`
	Purposes   []PurposeKey `json:"purposes" doc:"the tenant's own data keys, the newest for each purpose"`
	Subjects   SubjectKeys  `json:"subjects"`
	Services   []KeyService `json:"services" doc:"key services that hold these root keys"`
	Rewrap     Rewrap       `json:"rewrap"`
}

// PurposeKey is a tenant's newest data key for a purpose of its own.
type PurposeKey struct {
	Purpose string    `json:"purpose" doc:"index, audit, inbox, log"`
	Number  int       `json:"number" doc:"how many there were, this one included"`
	Made    time.Time `json:"made"`
}

// SubjectKeys counts the data keys of a tenant's persons.
type SubjectKeys struct {
	Subjects int        `json:"subjects" doc:"persons, each with one newest key"`
	Former   int        `json:"former" doc:"keys that these had before"`
	Oldest   *time.Time `json:"oldest,omitempty" doc:"when the oldest of the newest ones was made"`
}

// TenantKey is one version of a tenant's key.
type TenantKey struct {
	Version     uint32    `json:"version"`
	Service     string    `json:"service" doc:"key service that wraps it, as it is configured"`
	RootKey     string    `json:"root_key" doc:"id of the service's root key"`
	RootVersion string    `json:"root_version,omitempty" doc:"of the root key; empty when the service cannot tell"`
	Made        time.Time `json:"made"`
	DataKeys    int       `json:"data_keys" doc:"data keys that it wraps, destroyed ones included"`
	Subjects    int       `json:"subjects" doc:"rows of persons that it authenticates"`
	Newest      bool      `json:"newest,omitempty"`
	Dispensable bool      `json:"dispensable,omitempty" doc:"nothing needs it any more, it can be retired"`
}

// RootKey is one version of a root key.
type RootKey struct {
	Service     string    `json:"service"`
	RootKey     string    `json:"root_key"`
	Version     string    `json:"version"`
	Seen        time.Time `json:"seen" doc:"for the first time"`
	TenantKeys  int       `json:"tenant_keys" doc:"tenant keys that it wraps"`
	Newest      bool      `json:"newest,omitempty"`
	Dispensable bool      `json:"dispensable,omitempty"`
}

// KeyService says whether a key service just opened a key.
type KeyService struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty" doc:"why it did not"`
}

// RotateKeyRequest makes a new key: of the tenant, a new version of the root key of a
// key service, one of the tenant's own data keys, or one of a person; the versions of
// data keys are their numbers. After is the version it follows: when another one is the newest
// by now, nothing is done, so the request can be repeated.
type RotateKeyRequest struct {
	Key     string `json:"key" enum:"tenant,root,index,audit,inbox,subject"`
	Subject string `json:"subject,omitempty" doc:"the person's id, when the key is subject" maxLength:"1024"`
	Service string `json:"service,omitempty" doc:"key service; default: the one that wraps the tenant's newest key. Naming another one for the tenant moves the tenant there." maxLength:"64"`
	After   string `json:"after,omitempty" maxLength:"255"`
}

// RotatedKey is the newest version after a rotation.
type RotatedKey struct {
	Version string `json:"version"`
}

// RewrapRequest wraps the tenant's data keys anew, under its newest key.
type RewrapRequest struct {
	Rate int `json:"rate,omitempty" doc:"at most so many a second, default no limit" minimum:"0" maximum:"10000000"`
}

// Rewrap says how far wrapping anew is, on the server that answers.
type Rewrap struct {
	Running bool   `json:"running,omitempty"`
	Done    int    `json:"done"`
	Left    int    `json:"left"`
	Error   string `json:"error,omitempty" doc:"with which the last one ended"`
}

// RetireKeyRequest gives up an old key for good.
type RetireKeyRequest struct {
	Key     string `json:"key" enum:"tenant,root"`
	Version string `json:"version" minLength:"1" maxLength:"255"`
	Service string `json:"service,omitempty" doc:"of a root key; default: the one that wraps the tenant's newest key" maxLength:"64"`
	DryRun  bool   `json:"dry_run,omitempty" doc:"only say what still needs the key"`
}

// Retirement says whether an old key can be given up, and whether it was.
type Retirement struct {
	Safe  bool   `json:"safe" doc:"nothing needs the key"`
	Done  bool   `json:"done,omitempty" doc:"it is gone for good"`
	Read  int    `json:"read" doc:"rows that were opened to find out"`
	Hangs []Hang `json:"hangs,omitempty"`
}

// Hang is one reason to keep an old key.
type Hang struct {
	Where string `json:"where" doc:"table"`
	Count int    `json:"count"`
	Why   string `json:"why"`
}

// Health is the answer of /healthz and /readyz.
type Health struct {
	Status string            `json:"status" doc:"ok, unavailable, or degraded: some tenants cannot work"`
	Checks map[string]string `json:"checks,omitempty"`
}
