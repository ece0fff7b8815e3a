// Package store keeps objects in SQLite or Postgres.
package store

import (
	"context"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

var errNotYet = fault.New(fault.Internal, "not yet built")

// Config says where the data is.
type Config struct {
	// Path is the data directory (SQLite). It is made with mode 0700.
	Path string
	// DSN of a Postgres database; when set, Path is ignored.
	DSN string
	// KeysDSN is the database of the key tables; default: another schema of DSN.
	KeysDSN string
	// Connections bounds the connections to Postgres. Default 16.
	Connections int
}

// DB is an open database.
type DB struct{}

// Meta identifies a deployment.
type Meta struct {
	Deployment string // uuid
	KeyFile    string // id of the key file
}

// Loaded is an object's head with its newest leaf.
type Loaded struct {
	Kind    Kind
	Seq     uint64
	Head    []byte
	Leaf    Leaf
	LeafSeq uint64 // 0: the object has no leaf
}

// StoredField is one stored version of a field.
type StoredField struct {
	Path   string
	Seq    uint64
	Sealed bool
	Value  []byte
}

// StepRow is a step with its leaf.
type StepRow struct {
	Seq  uint64
	Body []byte
	Leaf Leaf // empty when the row is missing
}

// StoredDefinition is a deployed process.
type StoredDefinition struct {
	ID ID
	DefinitionRow
}

// ListedInstance is a row of an instance list.
type ListedInstance struct {
	ID ID
	InstanceRow
}

// ListedTask is a row of a task list.
type ListedTask struct {
	Instance ID
	TaskRow
}

// ListedIncident is a row of an incident list.
type ListedIncident struct {
	Instance ID
	IncidentRow
}

// DefinitionFilter selects definitions: newest version first per process.
type DefinitionFilter struct {
	Process string // "": all
	After   DefinitionCursor
	Limit   int
}

// DefinitionCursor is the last definition of the page before.
type DefinitionCursor struct {
	Process string
	Version int
}

// InstanceFilter selects instances; empty fields do not restrict.
type InstanceFilter struct {
	Process string
	Status  string
	Token   *Token // only Kind and Token are looked at
	After   ID     // last instance of the page before; zero: begin
	Limit   int
}

// TaskFilter selects tasks; empty fields do not restrict.
type TaskFilter struct {
	Process    string
	Assignee   string
	Group      string
	User       string
	Unassigned bool
	After      QueueCursor
	Limit      int
}

// IncidentFilter selects incidents; empty fields do not restrict.
type IncidentFilter struct {
	Process  string
	Instance ID
	After    QueueCursor
	Limit    int
}

// QueueCursor is the last row of the page before, of tasks or incidents.
type QueueCursor struct {
	Instance ID
	ID       uint64
}

// Rows are all queue rows of one instance, ascending by number.
type Rows struct {
	Instance  *InstanceRow // nil when the row is missing
	Tasks     []TaskRow
	Jobs      []JobRow
	Timers    []TimerRow
	Incidents []IncidentRow
}

// TokenRow is an object that has an index token.
type TokenRow struct {
	Object ID
	Seq    uint64 // the step that wrote the token
	Print  []byte
}

// JobCursor is the last job of the scan before.
type JobCursor struct {
	Tenant   string
	Instance ID
	ID       uint64
}

// ScannedJob is a job with its tenant.
type ScannedJob struct {
	Tenant   string
	Instance ID
	JobRow
}

// TimerCursor is the last timer of the scan before.
type TimerCursor struct {
	Due      time.Time
	Tenant   string
	Instance ID
	ID       uint64
}

// ScannedTimer is a timer with its tenant.
type ScannedTimer struct {
	Tenant   string
	Instance ID
	TimerRow
}

// Keys keeps wrapped keys; see keyring.Storage.
type Keys struct{}

func Open(ctx context.Context, cfg Config) (*DB, error) { return nil, errNotYet }
func (db *DB) Close() error                             { return errNotYet }
func (db *DB) Failed() <-chan struct{}                  { return nil }
func (db *DB) Err() error                               { return errNotYet }
func (db *DB) Check(ctx context.Context) error          { return errNotYet }
func (db *DB) Keys() *Keys                              { return nil }
func (db *DB) Deployment(ctx context.Context) (Meta, bool, error) {
	return Meta{}, false, errNotYet
}
func (db *DB) InitDeployment(ctx context.Context, m Meta) error { return errNotYet }

func (db *DB) Commit(ctx context.Context, s Scope, sets ...*WriteSet) error { return errNotYet }

func (db *DB) Load(ctx context.Context, s Scope, object ID) (Loaded, error) {
	return Loaded{}, errNotYet
}
func (db *DB) Fields(ctx context.Context, s Scope, object ID, refs []FieldRef) ([]StoredField, error) {
	return nil, errNotYet
}
func (db *DB) Steps(ctx context.Context, s Scope, object ID, after uint64, limit int) ([]StepRow, error) {
	return nil, errNotYet
}
func (db *DB) StepFields(ctx context.Context, s Scope, object ID, seq uint64) ([]StoredField, error) {
	return nil, errNotYet
}
func (db *DB) Resource(ctx context.Context, s Scope, hash [32]byte) ([]byte, error) {
	return nil, errNotYet
}
func (db *DB) Definition(ctx context.Context, s Scope, process string, version int) (StoredDefinition, error) {
	return StoredDefinition{}, errNotYet
}
func (db *DB) Definitions(ctx context.Context, s Scope, f DefinitionFilter) ([]StoredDefinition, error) {
	return nil, errNotYet
}
func (db *DB) Instances(ctx context.Context, s Scope, f InstanceFilter) ([]ListedInstance, error) {
	return nil, errNotYet
}
func (db *DB) Tasks(ctx context.Context, s Scope, f TaskFilter) ([]ListedTask, error) {
	return nil, errNotYet
}
func (db *DB) Incidents(ctx context.Context, s Scope, f IncidentFilter) ([]ListedIncident, error) {
	return nil, errNotYet
}
func (db *DB) Rows(ctx context.Context, s Scope, instance ID) (Rows, error) {
	return Rows{}, errNotYet
}
func (db *DB) FindToken(ctx context.Context, s Scope, kind TokenKind, token [32]byte) ([]TokenRow, error) {
	return nil, errNotYet
}
func (db *DB) ScanJobs(ctx context.Context, after JobCursor, limit int) ([]ScannedJob, error) {
	return nil, errNotYet
}
func (db *DB) ScanTimers(ctx context.Context, dueBefore time.Time, after TimerCursor, limit int) ([]ScannedTimer, error) {
	return nil, errNotYet
}
func (db *DB) KeysInUse(ctx context.Context, s Scope, ids []ID) (map[ID]bool, error) {
	return nil, errNotYet
}
func (db *DB) PutAPIKey(ctx context.Context, s Scope, token [32]byte, sealed []byte) error {
	return errNotYet
}
func (db *DB) APIKey(ctx context.Context, s Scope, token [32]byte) ([]byte, error) {
	return nil, errNotYet
}

var _ = keyrow.Pool
