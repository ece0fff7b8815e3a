// Package keyrow is the shape of the rows in which keys are stored, wrapped.
//
// It is apart from keyring and imports nothing of ours, so that the database
// layer can read and write the rows without reaching any code that could open
// them.
package keyrow

import (
	"strconv"
	"time"
)

// A TenantKey is one version of a tenant's key K1, primary key (Tenant,
// Version). Tenant and Version are bound into Wrapped by the key service, with the
// least version of the tenant that may still be used; Service and RootKey say
// where it opens, and one that does not name that opens nowhere.
type TenantKey struct {
	Tenant  string
	Version uint32    // 1, 2, ..; the highest one wraps new data keys
	Service string    // configured name of the key service
	RootKey string    // id of the service's root key
	Made    time.Time // microseconds, UTC; not bound, and only for the next rotation
	Wrapped []byte    // as the key service returned it, opaque, at most 4 KiB
}

// A RootVersion says when a version of a root key was first seen, primary key
// (Service, RootKey, Version). Nothing is bound; it is for the next rotation.
type RootVersion struct {
	Service, RootKey, Version string
	Seen                      time.Time // microseconds, UTC
}

// CodeNoTenantKey is the code of the fault for a row that names a version of its
// tenant's key that does not exist.
const CodeNoTenantKey = "tenant_key_retired"

// CodeOtherToken is the code of the fault for a person who has, or could have, a row
// under another index key than the one that the caller made their token with.
const CodeOtherToken = "other_token"

// State is where a data key stands in its life.
type State string

const (
	// Ready is a key made ahead that nothing is known to use. The flag is not
	// bound. Changing it loses nothing: a key called Ready that is in use is found
	// to be so before it is swept, and one called Assigned that is not used costs
	// a row.
	Ready State = "ready"
	// Assigned is a key that something uses.
	Assigned State = "assigned"
	// Destroyed is a key whose wrapped bytes are gone for good. The row's
	// Tombstone proves that we did it.
	Destroyed State = "destroyed"
)

// Pool is the Scope of keys made ahead for instances and subjects. Of every
// other scope ("index", "audit", ..) but Replaced a tenant has exactly one key.
const Pool = "pool"

// Index is the Scope of a tenant's newest index key, Former(Index, n) that of one before
// it. A person has a token under each of them.
const Index = "index"

// Replaced is the Scope of keys of subjects that another one has followed. They are
// never swept and never become anybody else's.
const Replaced = "replaced"

// Former returns the scope of the n-th key, 1, 2, .., that was made for a scope and
// that another one has followed since.
func Former(scope string, n int) string { return scope + "/" + strconv.Itoa(n) }

// A DataKey is one data key K2, primary key (Tenant, ID). All columns but State
// are bound into Wrapped, and State is bound into Tombstone once it is
// Destroyed.
type DataKey struct {
	Tenant     string
	ID         [16]byte // UUIDv7; its time is when the key was made
	Scope      string   // Pool, Replaced, or the one purpose of a tenant's single key; at most 32 bytes
	State      State
	KeyVersion uint32 // version of the tenant key that wraps it, and keys Tombstone
	Wrapped    []byte // envelope, under 256 bytes; empty exactly when Destroyed
	Tombstone  []byte // MAC of 32 bytes exactly when Destroyed, else empty
}

// A Subject says which data keys belong to a person, primary key (Tenant,
// Token), unique (Tenant, KeyID). All columns are bound by MAC.
type Subject struct {
	Tenant     string
	Token      [32]byte // index token of the person's id
	KeyID      [16]byte // the newest: a DataKey of the same tenant, with Scope Pool
	Former     []byte   // ids of those before it, with Scope Replaced, oldest first, 16 bytes each; at most MaxFormer
	KeyVersion uint32   // version of the tenant key that keys MAC
	MAC        []byte   // 32 bytes
}

// MaxFormer is how many keys a person may have had before the newest.
const MaxFormer = 255

// A Succession gives a subject a new key: New takes the place of Old, Former that of
// Key, which was the subject's key until then, and Next is stored.
type Succession struct {
	Old, New          Subject
	Key, Former, Next DataKey
}

// A SubjectCount says how many subjects a tenant has.
type SubjectCount struct {
	Subjects int
	Former   int      // data keys that these had before their newest ones
	Oldest   [16]byte // smallest id of the newest ones; zero when there are none
}

// A DataKeyChange puts New in the place of Old, of the same tenant and id.
type DataKeyChange struct{ Old, New DataKey }

// A SubjectChange puts New in the place of Old, of the same tenant and token.
type SubjectChange struct{ Old, New Subject }

// A Count says how many rows a version of a tenant key is needed for.
type Count struct {
	Version            uint32
	DataKeys, Subjects int
}

// IDAt returns the smallest UUIDv7 made at t or later (RFC 9562, section 5.7:
// 48 bits of Unix milliseconds, version and variant set, all else zero). Keys
// made before t are those with a smaller id, compared as bytes.
func IDAt(t time.Time) [16]byte {
	ms := uint64(t.UnixMilli())
	return [16]byte{
		byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms),
		0x70, 0, 0x80,
	}
}

// TimeOf returns when the key with a UUIDv7 was made, to the millisecond.
func TimeOf(id [16]byte) time.Time {
	ms := uint64(id[0])<<40 | uint64(id[1])<<32 | uint64(id[2])<<24 | uint64(id[3])<<16 | uint64(id[4])<<8 | uint64(id[5])
	return time.UnixMilli(int64(ms)).UTC()
}
