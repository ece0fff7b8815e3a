package keyring

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
	"github.com/underseal/underseal/internal/kms"
)

// context returns what the key service binds into a tenant key.
func (c *Config) context(tenant string, version uint32) kms.Context {
	return kms.Context{App: "underseal", Deployment: c.Deployment, Tenant: tenant, Purpose: "tenant-key", Version: version}
}

// secrets are what is derived from one version of a tenant key, each with a
// label of its own; the tenant key itself is not kept. A pointer to secrets also
// names one stretch of confirmation: when the key service takes the tenant key
// away and gives it back, there is a new pointer, and what was opened under the
// old one is opened again.
type secrets struct {
	wrap      envelope.Key // "kek/data": seals data keys
	tombstone [32]byte     // "mac/tombstone": proves that we destroyed a data key
	subject   [32]byte     // "mac/subject": binds a person's token to data keys
	minimum   uint32       // least version of the tenant key that may be used
}

const redacted = "[tenant key]"

func (secrets) String() string             { return redacted }
func (secrets) GoString() string           { return redacted }
func (secrets) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }
func (secrets) LogValue() slog.Value       { return slog.StringValue(redacted) }

// A rawTenantKey is a tenant key on its way to or from a key service, which
// wraps it as the key and the minimum, 4 bytes, big-endian. Since the service
// authenticates both, whoever can write rows alone cannot lower the minimum.
type rawTenantKey struct {
	key     [32]byte
	minimum uint32 // least version of the tenant key that may be used; 1 to the key's own
}

func (rawTenantKey) String() string             { return redacted }
func (rawTenantKey) GoString() string           { return redacted }
func (rawTenantKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }
func (rawTenantKey) LogValue() slog.Value       { return slog.StringValue(redacted) }

// newTenantKey returns a random key.
func newTenantKey(minimum uint32) rawTenantKey {
	k := rawTenantKey{minimum: minimum}
	rand.Read(k.key[:])
	return k
}

func (k rawTenantKey) encode() []byte { return binary.BigEndian.AppendUint32(k.key[:], k.minimum) }

// parseTenantKey reads what encode wrote.
func parseTenantKey(tenant string, version uint32, b []byte) (rawTenantKey, error) {
	if len(b) != 36 {
		return rawTenantKey{}, fault.New(fault.Integrity, "tenant key %d of tenant %q has %d bytes, want 36", version, tenant, len(b))
	}
	k := rawTenantKey{[32]byte(b), binary.BigEndian.Uint32(b[32:])}
	if k.minimum < 1 || k.minimum > version {
		return rawTenantKey{}, fault.New(fault.Integrity, "tenant key %d of tenant %q has the minimum version %d", version, tenant, k.minimum)
	}
	return k, nil
}

// derive returns the secrets of a version of a tenant key.
func (k rawTenantKey) derive(version uint32) (*secrets, error) {
	s := &secrets{minimum: k.minimum}
	binary.BigEndian.PutUint32(s.wrap.ID[12:], version)
	for label, out := range map[string]*[32]byte{"kek/data": &s.wrap.Secret, "mac/tombstone": &s.tombstone, "mac/subject": &s.subject} {
		derived, err := hkdf.Key(sha256.New, k.key[:], nil, label, len(out))
		if err != nil {
			return nil, fault.New(fault.Internal, "derive %s: %w", label, err)
		}
		copy(out[:], derived)
	}
	s.wrap = s.wrap.Kept()
	return s, nil
}

// newKey returns a random data key made at now. Its id is a UUIDv7 (RFC 9562,
// section 5.7), so that rows made together lie together.
func newKey(now time.Time) envelope.Key {
	var key envelope.Key
	rand.Read(key.Secret[:])
	rand.Read(key.ID[:])
	low := keyrow.IDAt(now)
	copy(key.ID[:6], low[:6])
	key.ID[6] = key.ID[6]&0x0f | low[6]
	key.ID[8] = key.ID[8]&0x3f | low[8]
	return key.Kept()
}

// place returns what the wrapped bytes of a data key are bound to.
func (c *Config) place(tenant string, id envelope.KeyID, scope string) envelope.Context {
	return envelope.Context{Deployment: c.Deployment, Tenant: tenant, Class: "key", Object: id.String(), Path: "data/" + scope}
}

// seal returns the row of a new data key.
func (c *Config) seal(s *secrets, version uint32, tenant, scope string, key envelope.Key) (DataKeyRow, error) {
	return c.sealAfter(s, version, tenant, scope, key, envelope.KeyID{})
}

// sealAfter is seal for a key for a purpose that follows another one, whose id is
// wrapped with it: so nobody can take away the key before the newest unnoticed.
func (c *Config) sealAfter(s *secrets, version uint32, tenant, scope string, key envelope.Key, former envelope.KeyID) (DataKeyRow, error) {
	plain := key.Secret[:]
	if former != (envelope.KeyID{}) {
		plain = slices.Concat(plain, former[:])
	}
	wrapped, err := envelope.Seal([]envelope.Key{s.wrap}, c.place(tenant, key.ID, scope), plain)
	if err != nil {
		return DataKeyRow{}, fault.New(fault.Internal, "wrap data key %s: %w", key.ID, err)
	}
	return DataKeyRow{Tenant: tenant, ID: key.ID, Scope: scope, State: keyrow.Ready, KeyVersion: version, Wrapped: wrapped}, nil
}

// unseal returns the key of a row and the id of the one that it follows (zero: none),
// Sealed when it was destroyed, and Integrity when anything in the row is not as we
// wrote it.
func (c *Config) unseal(s *secrets, row DataKeyRow) (key envelope.Key, former envelope.KeyID, err error) {
	switch row.State {
	case keyrow.Destroyed:
		return key, former, c.checkTombstone(s, row)
	case keyrow.Ready, keyrow.Assigned:
	default:
		return key, former, changed(row, "unknown state")
	}
	if len(row.Tombstone) > 0 {
		return key, former, changed(row, "a tombstone on a live key")
	}
	plain, err := envelope.Open([]envelope.Key{s.wrap}, c.place(row.Tenant, row.ID, row.Scope), row.Wrapped)
	if err != nil || len(plain) != len(key.Secret) && len(plain) != len(key.Secret)+len(former) {
		return key, former, changed(row, "its wrapped bytes do not open")
	}
	key.ID = row.ID
	copy(former[:], plain[copy(key.Secret[:], plain):])
	return key, former, nil
}

// checkTombstone returns Sealed when we destroyed the key, and Integrity when
// somebody only says so.
func (c *Config) checkTombstone(s *secrets, row DataKeyRow) error {
	if len(row.Wrapped) > 0 || !hmac.Equal(row.Tombstone, c.tombstoneMAC(s, row)) {
		return changed(row, "it is called destroyed, and we did not destroy it")
	}
	return fault.New(fault.Sealed, "data key %s was destroyed, and all that was sealed under it is erased", envelope.KeyID(row.ID))
}

// tombstoneMAC binds every column of a destroyed key's row.
func (c *Config) tombstoneMAC(s *secrets, row DataKeyRow) []byte {
	return mac(s.tombstone, c.Deployment, row.Tenant, string(row.ID[:]), row.Scope)
}

// subjectMAC binds every column of a subject row.
func (c *Config) subjectMAC(s *secrets, row SubjectRow) []byte {
	return mac(s.subject, c.Deployment, row.Tenant, string(row.Token[:]), string(row.KeyID[:]), string(row.Former))
}

// mac returns HMAC-SHA-256 over the items, each after its length as 32 bits,
// big-endian.
func mac(key [32]byte, items ...string) []byte {
	h := hmac.New(sha256.New, key[:])
	for _, item := range items {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(item))))
		h.Write([]byte(item))
	}
	return h.Sum(nil)
}

// changed returns the error for a data key's row that we did not write like this.
func changed(row DataKeyRow, how string) error {
	return fault.New(fault.Integrity, "data key %s of tenant %q: the stored row was changed: %s", envelope.KeyID(row.ID), row.Tenant, how)
}
