package keyring

import (
	"context"

	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// The rows are declared in keyrow so that the database layer need not import
// this package.
type (
	TenantKeyRow   = keyrow.TenantKey
	RootVersionRow = keyrow.RootVersion
	DataKeyRow     = keyrow.DataKey
	SubjectRow     = keyrow.Subject
	DataKeyChange  = keyrow.DataKeyChange
	SubjectChange  = keyrow.SubjectChange
	Succession     = keyrow.Succession
	SubjectCount   = keyrow.SubjectCount
	Count          = keyrow.Count
)

// CodeNoTenantKey is the code of the Conflict when a row names a version of a
// tenant key that was retired meanwhile.
const CodeNoTenantKey = keyrow.CodeNoTenantKey

// Storage keeps wrapped keys. It is never shown a key in clear, and nothing it
// returns is believed before it was authenticated.
//
// Every method is safe for concurrent use, also from several processes. A
// method that writes is one transaction: when it returns nil, all of it is
// durable (survives power loss), and when it returns an error, none of it is
// visible, unless the error is Unavailable, which may also mean that the reply
// was lost. Rows and slices belong to the caller after the call, in both
// directions. Kinds of errors are those named here, else Unavailable when
// trying again may help, else Internal.
//
// keyringtest.TestStorage holds an implementation to all of this.
type Storage interface {
	// Tenants returns all tenants that have a tenant key, ascending by bytes.
	Tenants(ctx context.Context) ([]string, error)

	// Found makes a tenant's first keys: the tenant key key, and one data key of
	// each scope in rows, all of key.Tenant. It writes all of them or none.
	// Conflict when the tenant has a tenant key already: then somebody was
	// faster, and the caller reads theirs. Integrity when it has none and yet
	// has data keys or subjects: then its tenant key was deleted behind our
	// back, and a new one would hide that.
	Found(ctx context.Context, key TenantKeyRow, rows []DataKeyRow) error

	// TenantKeys returns all versions of the tenant's key, ascending. A tenant
	// that has none gives an empty slice and no error.
	TenantKeys(ctx context.Context, tenant string) ([]TenantKeyRow, error)

	// AllTenantKeys returns all versions of all tenants' keys, ascending by tenant
	// and version.
	AllTenantKeys(ctx context.Context) ([]TenantKeyRow, error)

	// AddTenantKey stores a version of a tenant's key that is higher than prev, which
	// is the newest one as the caller read it. Conflict when another is the newest by
	// now, or prev was wrapped anew.
	AddTenantKey(ctx context.Context, prev, row TenantKeyRow) error

	// ReplaceTenantKey puts row in the place of old, of the same tenant and version.
	// Conflict when old does not stand there as the caller read it.
	ReplaceTenantKey(ctx context.Context, old, row TenantKeyRow) error

	// RetireTenantKeys puts row in the place of old, which is the tenant's newest
	// version, and deletes all versions up to upTo, whose bytes must not stay behind,
	// as in DestroyDataKey. Versions that are gone already are no error. Conflict as
	// in ReplaceTenantKey, when old is not the newest, or when data keys or subjects
	// name one of the versions; then nothing was done.
	RetireTenantKeys(ctx context.Context, old, row TenantKeyRow, upTo uint32) error

	// HighestOwn returns the highest version of the tenant key that a data key of a
	// scope other than keyrow.Pool and keyrow.Replaced names, 0 when there are none.
	HighestOwn(ctx context.Context, tenant string) (uint32, error)

	// Counts returns how many data keys (of every state) and subjects name each
	// version of the tenant key, ascending, those with any.
	Counts(ctx context.Context, tenant string) ([]Count, error)

	// CountBelow returns how many data keys (of every state) and subjects name a
	// version of the tenant key under below.
	CountBelow(ctx context.Context, tenant string, below uint32) (int, error)

	// DataKeysBelow returns up to limit of the tenant's data keys, of every state and
	// scope, that have an id above after and a key version under below; ascending by id.
	DataKeysBelow(ctx context.Context, tenant string, after [16]byte, below uint32, limit int) ([]DataKeyRow, error)

	// SubjectsBelow does the same for subjects, ascending by token.
	SubjectsBelow(ctx context.Context, tenant string, after [32]byte, below uint32, limit int) ([]SubjectRow, error)

	// RewrapDataKeys changes the key version, wrapped bytes and tombstone of those
	// rows of one tenant in which these stand as in Old, at most 8192, passes over
	// the others, and returns how many it changed. State is left alone. Conflict with
	// CodeNoTenantKey as in AddDataKeys; then none was changed.
	RewrapDataKeys(ctx context.Context, changes []DataKeyChange) (int, error)

	// RewrapSubjects does the same for the key version and MAC of subjects.
	RewrapSubjects(ctx context.Context, changes []SubjectChange) (int, error)

	// NoteRootVersion stores when a version of a root key was seen first, unless it is
	// stored already.
	NoteRootVersion(ctx context.Context, row RootVersionRow) error

	// RootVersions returns all that were noted, ascending by service, root key and
	// time.
	RootVersions(ctx context.Context) ([]RootVersionRow, error)

	// ForgetRootVersion deletes one. One that is not there is no error.
	ForgetRootVersion(ctx context.Context, row RootVersionRow) error

	// AddDataKeys stores new keys of one tenant, 1 to 8192 of them, ids
	// ascending. Conflict when one of the ids exists already, or when a key of
	// a scope other than keyrow.Pool and keyrow.Replaced exists already. Conflict with the code
	// CodeNoTenantKey when one names a version of the tenant key that is not there
	// (any more).
	AddDataKeys(ctx context.Context, rows []DataKeyRow) error

	// DataKey returns one key. NotFound when the tenant has none with this id.
	DataKey(ctx context.Context, tenant string, id [16]byte) (DataKeyRow, error)

	// ScopeKey returns the tenant's one key of a scope other than keyrow.Pool,
	// whatever its state. NotFound when there is none.
	ScopeKey(ctx context.Context, tenant, scope string) (DataKeyRow, error)

	// ScopeKeys returns the tenant's keys of a scope other than keyrow.Pool and of all
	// scopes that begin with it and a slash, as keyrow.Former does; whatever their
	// state, in any order. None at all are an empty slice and no error.
	ScopeKeys(ctx context.Context, tenant, scope string) ([]DataKeyRow, error)

	// SucceedDataKey puts former in the place of old, of the same tenant and id, and
	// stores next, whose scope is that of old. Conflict when old's scope and wrapped
	// bytes do not stand there as the caller read them, or the id of next or the scope
	// of former exists already, and with CodeNoTenantKey as in AddDataKeys; then
	// nothing was done.
	SucceedDataKey(ctx context.Context, old, former, next DataKeyRow) error

	// MarkAssigned turns those of the keys that are Ready into Assigned; others,
	// also unknown ids, it passes over without an error. At most 8192 ids.
	MarkAssigned(ctx context.Context, tenant string, ids [][16]byte) error

	// DestroyDataKey overwrites the row of (tomb.Tenant, tomb.ID) by tomb, whose
	// State is Destroyed and whose Wrapped is empty, and deletes the subject row
	// that points to it, if any, whatever stood in the row. The old bytes must
	// not stay in free pages or a journal of the database: where that cannot be
	// had at once, the error is Unavailable, and the caller calls again. NotFound
	// when there is no such key. Conflict with CodeNoTenantKey as in AddDataKeys.
	DestroyDataKey(ctx context.Context, tomb DataKeyRow) error

	// Subject returns the row of a token. NotFound when there is none.
	Subject(ctx context.Context, tenant string, token [32]byte) (SubjectRow, error)

	// LinkSubject stores row and marks its key as Assigned, unless the token has
	// a row already. It returns the token's row as it stands afterwards, which
	// is another's when they were faster; then nothing was written. Conflict
	// when the token has no row and the key belongs to another token, or has
	// another scope than keyrow.Pool. NotFound when the key does not exist or is
	// Destroyed. Conflict with CodeNoTenantKey as in AddDataKeys. Conflict with
	// keyrow.CodeOtherToken when the token has no row and one of the others has, or
	// the tenant has more keys of the scope keyrow.Index, former ones included, than
	// there are tokens, this one and the others.
	LinkSubject(ctx context.Context, row SubjectRow, others ...[32]byte) (SubjectRow, error)

	// SucceedSubjects gives subjects of one tenant, at most 8192, new data keys, and
	// marks these and the former ones as Assigned. Conflict when one of the subjects
	// does not stand as in Old, or the scope, key version and wrapped bytes of its
	// key not as in Key, or the id of Next exists already, and with CodeNoTenantKey
	// as in AddDataKeys; then nothing was done.
	SucceedSubjects(ctx context.Context, changes []Succession) error

	// SubjectsWithin returns up to limit of the tenant's subjects whose KeyID is above
	// after and under before, compared as bytes; ascending by KeyID.
	SubjectsWithin(ctx context.Context, tenant string, after, before [16]byte, limit int) ([]SubjectRow, error)

	// CountSubjects counts a tenant's subjects and their former keys.
	CountSubjects(ctx context.Context, tenant string) (SubjectCount, error)

	// Unassigned returns up to limit ids of the tenant's keys that have scope
	// keyrow.Pool, state Ready, no subject row, and an id with after < id <
	// before compared as bytes; ascending.
	Unassigned(ctx context.Context, tenant string, after, before [16]byte, limit int) ([][16]byte, error)

	// DeleteUnassigned deletes those of the keys that have scope keyrow.Pool,
	// state Ready and no subject row at the time of the call, and returns how
	// many these were. At most 8192 ids.
	DeleteUnassigned(ctx context.Context, tenant string, ids [][16]byte) (int, error)
}
