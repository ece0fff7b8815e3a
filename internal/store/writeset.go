package store

import "time"

// ID names an object: a UUIDv7, so that new rows stand together in every index.
type ID [16]byte

// Scope is a tenant that somebody was admitted to. Every function that touches
// a tenant's rows takes one; only identity and engine make them (kept by the
// import rules), so no other code can name a tenant of its own choice.
type Scope struct{ tenant string }

// NewScope admits the caller to a tenant.
func NewScope(tenant string) Scope { return Scope{tenant} }

// Tenant returns the tenant's name.
func (s Scope) Tenant() string { return s.tenant }

// Kind is the kind of an object.
type Kind string

// The kinds of object stored so far.
const (
	Instance   Kind = "instance"
	Definition Kind = "definition"
	Custody    Kind = "custody"
	Signer     Kind = "signer"
	KeyRecord  Kind = "keys" // what was done to the keys above the data keys
	Principal  Kind = "principal"
	Group      Kind = "group"
	Tenant     Kind = "tenant" // one per tenant
)

// WriteSet is all that one step of one object writes. It is applied whole or
// not at all, and only if the object's head still has the seq Expect.
type WriteSet struct {
	Object ID
	Kind   Kind
	Expect uint64 // the head's seq before; 0: the object must not exist yet

	Head   []byte // sealed; replaces the former head
	Step   []byte // clear canonical record of the step, appended
	Fields []Field
	Leaf   Leaf // appended; its seq is Expect+1

	// Entries are leaves of no object that belong to the step.
	Entries []*Entry

	// Routing rows. They are a projection of the head, for finding work.
	Instance   *InstanceRow   // inserted, or replaced when the object exists
	Definition *DefinitionRow // likewise
	Custody    *CustodyRow    // likewise
	Tasks      []TaskRow      // inserted or replaced
	Jobs       []JobRow
	Timers     []TimerRow
	Incidents  []IncidentRow
	// Closed rows, by their number in the instance.
	ClosedTasks, ClosedJobs, ClosedTimers, ClosedIncidents []uint64

	// Keys are data keys that from now on only this object's head names, besides
	// an instance's own; here they are known to be in use.
	Keys []ID

	// Claims are uploads that become the object's files; Rekeyed are files of the
	// object that are about other persons from now on.
	Claims, Rekeyed []FileRow
	Erase           *Erase // nil: nothing

	// Credentials are keyed hashes of credentials that lead to the object from now on;
	// those in Ended lead nowhere any more.
	Credentials, Ended [][32]byte

	Tokens    []Token    // a token that exists already refuses the whole set
	Resources []Resource // content-addressed; one that exists already is kept
}

// Field is one stored version of a field: clear canonical bytes or an envelope.
// Rows are only appended. The step's seq is Expect+1.
type Field struct {
	Path   string
	Sealed bool
	Value  []byte
	// Commitment is what the leaf holds of the value, 32 bytes, if that may have to be
	// known without the value; nil: it is not stored.
	Commitment *[32]byte
}

// FieldRef names one stored version of a field.
type FieldRef struct {
	Path string
	Seq  uint64
}

// Leaf is one entry of the tenant's log, encoded, with its RFC 6962 hash and the
// MAC by which the sequencer knows that a server made it and its terms.
type Leaf struct {
	Body []byte
	Hash [32]byte
	MAC  [32]byte
	// Terms are what it is found by besides what it says in clear, TermSize bytes each.
	Terms []byte
}

// InstanceRow routes to an instance. Key is the id of its data key, so that
// keys made ahead and never used can be told from used ones.
type InstanceRow struct {
	Process    string
	Version    int
	Definition ID
	Mode       string
	Status     string
	Incidents  int // open ones
	Started    time.Time
	Ended      time.Time // zero: running
	Key        ID
}

// DefinitionRow routes to a deployed process.
type DefinitionRow struct {
	Process  string
	Version  int
	Name     string
	Resource [32]byte // SHA-256 of the model's bytes
	Deployed time.Time
}

// CustodyRow routes to what is held or to be erased.
type CustodyRow struct {
	Target string // instance, subject or epoch
	State  string // none, pending, canceled, executing or done
	Holds  int
	Due    time.Time // zero: nothing is due
}

// Erase is what a step takes away from the rest of the data, once the keys are
// destroyed.
type Erase struct {
	// Instance loses its head, queue rows, clear values and tokens, and is called
	// erased from then on. Steps, leaves and sealed bytes stay, so that the log can
	// be checked. Zero: none does.
	Instance ID
	At       time.Time // its end, if it was running
	// Keys are persons' keys whose tokens go.
	Keys []ID
}

// TaskRow is an open user task.
type TaskRow struct {
	ID       uint64 // number in the instance
	Element  string
	Process  string
	Assignee string
	Groups   []string // sorted
	Users    []string // sorted
	Created  time.Time
	Due      time.Time // zero: none
}

// JobRow is a job that waits for a worker.
type JobRow struct {
	ID        uint64
	Element   string
	Process   string
	Type      string
	Retries   int
	NotBefore time.Time // zero: now
	Failed    bool      // an incident waits; not offered
	Created   time.Time
}

// TimerRow is a timer that waits.
type TimerRow struct {
	ID      uint64
	Element string
	Due     time.Time
}

// IncidentRow is an open incident.
type IncidentRow struct {
	ID      uint64
	Element string
	Process string
	Code    string
	Job     uint64 // 0: none
	Created time.Time
}

// TokenKind separates the uses of index tokens.
type TokenKind uint8

// The uses of index tokens.
const (
	IdempotencyToken TokenKind = iota + 1 // unique: one request
	BusinessKeyToken                      // any number of instances
	SearchToken                           // a field declared search="exact"
	SubjectToken                          // a person whom an object is about
)

// Token is a keyed hash of something that must be found but not read.
type Token struct {
	Kind   TokenKind
	Token  [32]byte
	Unique bool   // Conflict (code "token_taken") when the tenant has it already
	Print  []byte // IdempotencyToken: keyed fingerprint of the request, else nil
	// Key is the data key of the person it is about, so that it can be deleted with
	// that key; there is one row per person. Zero: nobody, or the token is unique.
	Key ID
}

// Resource is a file of a deployment, clear, named by the SHA-256 of its bytes.
type Resource struct {
	Hash [32]byte
	Data []byte
}
