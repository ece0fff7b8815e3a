// Package hsm keeps a root key in a hardware security module that speaks
// PKCS#11: each version is an AES-256 key that never leaves it.
//
// A wrapped key is encrypted by the module with AES-GCM, the context as
// additional data. Random nonces allow 2^32 wraps under one version (NIST SP
// 800-38D, section 8.3); each tenant takes one for each of its keys.
package hsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"strconv"
	"sync"

	"github.com/google/uuid"
	"github.com/miekg/pkcs11"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// Config says which key of which token.
type Config struct {
	Module string                 // path of the module's library
	Token  string                 // label of the token
	Key    string                 // label of the root key
	PIN    func() (string, error) // asked at each login, so that it can be changed
	// TokenNonce has the token draw the nonces, as some demand in their FIPS mode.
	TokenNonce bool
	Sessions   int // calls at once; 0: 4
}

// A RootKey is a root key in a token. Close it.
type RootKey struct {
	token      *token
	label      string
	tokenNonce bool
	changing   sync.Mutex // held while a version is made or destroyed
}

var (
	_ kms.Service = (*RootKey)(nil)
	_ kms.Rotator = (*RootKey)(nil)
)

// Create makes the first version of a root key. Conflict when the token has keys
// of that label.
func Create(ctx context.Context, c Config) (*RootKey, error) {
	k, err := connect(c)
	if err != nil {
		return nil, err
	}
	return k.checked(k.create(ctx))
}

// Open logs in to the token. Denied when the PIN is refused or there is no such
// root key.
func Open(ctx context.Context, c Config) (*RootKey, error) {
	k, err := connect(c)
	if err != nil {
		return nil, err
	}
	_, err = k.Describe(ctx)
	return k.checked(err)
}

func connect(c Config) (*RootKey, error) {
	t, err := newToken(c)
	return &RootKey{token: t, label: c.Key, tokenNonce: c.TokenNonce}, err
}

// checked closes a root key that turned out not to be usable.
func (k *RootKey) checked(err error) (*RootKey, error) {
	if err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// Close logs out and unloads the module. No call may be under way.
func (k *RootKey) Close() { k.token.close() }

// String names the key and its token.
func (k *RootKey) String() string { return "root key " + k.label + " of token " + k.token.label }

// format is the first byte of a wrapped key:
//
//	format 01 | root key id 16 | version 4 | nonce 12 | ciphertext | tag 16
//
// The additional data are all before the nonce, then the context.
const (
	format     = 1
	headerSize = 1 + 16 + 4
	nonceSize  = 12
	tagSize    = 16
	minKey     = 16
	maxKey     = 256
)

func header(id uuid.UUID, version uint32) []byte {
	out := append([]byte{format}, id[:]...)
	return binary.BigEndian.AppendUint32(out, version)
}

// parse reads the header of a wrapped key and checks its size.
func parse(wrapped []byte) (id uuid.UUID, version uint32, err error) {
	rest := len(wrapped) - headerSize - nonceSize - tagSize
	if rest < minKey || rest > maxKey || wrapped[0] != format {
		return id, 0, fault.New(fault.Integrity, "unwrap key: %d bytes that are no wrapped key of a PKCS#11 token", len(wrapped))
	}
	return uuid.UUID(wrapped[1:17]), binary.BigEndian.Uint32(wrapped[17:headerSize]), nil
}

// Wrap implements kms.Service.
func (k *RootKey) Wrap(ctx context.Context, c kms.Context, key []byte) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(key) < minKey || len(key) > maxKey {
		return nil, fault.New(fault.Invalid, "wrap key: key has %d bytes, must have %d to %d", len(key), minKey, maxKey)
	}
	return use(ctx, k.token, func(s *session) ([]byte, error) {
		all, err := k.versions(s)
		if err != nil {
			return nil, err
		}
		newest, ok := all.newest()
		if !ok {
			return nil, fault.New(fault.NotFound, "%s: all its versions were destroyed", k)
		}
		return k.encrypt(s, all.id, newest, c, key)
	})
}

func (k *RootKey) encrypt(s *session, id uuid.UUID, v version, c kms.Context, key []byte) ([]byte, error) {
	head := header(id, v.number)
	nonce, sealed, err := s.seal(v.handle, k.tokenNonce, append(header(id, v.number), c.Encode()...), key)
	if err != nil {
		return nil, failed("encrypt", err)
	}
	// What a token that draws no nonces would leave.
	if len(nonce) != nonceSize || [nonceSize]byte(nonce) == [nonceSize]byte{} {
		return nil, fault.New(fault.Invalid, "wrap key: token %s draws no nonces", k.token.label).WithHint("run the plugin with --nonce own")
	}
	return append(append(head, nonce...), sealed...), nil
}

// Unwrap implements kms.Service.
func (k *RootKey) Unwrap(ctx context.Context, c kms.Context, wrapped []byte) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	id, number, err := parse(wrapped)
	if err != nil {
		return nil, err
	}
	return use(ctx, k.token, func(s *session) ([]byte, error) {
		all, err := k.versions(s)
		if err != nil {
			return nil, err
		}
		v, err := all.find(k, id, number)
		if err != nil {
			return nil, err
		}
		return k.decrypt(s, v.handle, c, wrapped)
	})
}

// decrypt tells bytes that were changed from a token that fails. Some tokens answer
// both with the same general error; then one that can still encrypt and decrypt
// under this very key has seen changed bytes.
func (k *RootKey) decrypt(s *session, handle pkcs11.ObjectHandle, c kms.Context, wrapped []byte) ([]byte, error) {
	head, rest := wrapped[:headerSize:headerSize], wrapped[headerSize:]
	key, err := s.open(handle, rest[:nonceSize], append(head, c.Encode()...), rest[nonceSize:])
	switch {
	case err == nil:
		return key, nil
	case !isRefusedTag(err) && !(isVague(err) && k.works(s, handle)):
		return nil, failed("decrypt", err)
	}
	return nil, fault.New(fault.Integrity, "unwrap key of tenant %q (%s, version %d): the stored bytes were changed or belong elsewhere",
		c.Tenant, c.Purpose, c.Version)
}

func (k *RootKey) works(s *session, handle pkcs11.ObjectHandle) bool {
	probe := make([]byte, minKey)
	nonce, sealed, err := s.seal(handle, k.tokenNonce, nil, probe)
	if err != nil {
		return false
	}
	got, err := s.open(handle, nonce, nil, sealed)
	return err == nil && bytes.Equal(got, probe)
}

// Version implements kms.Service.
func (k *RootKey) Version(wrapped []byte) (string, error) {
	_, number, err := parse(wrapped)
	if err != nil {
		return "", err
	}
	return strconv.FormatUint(uint64(number), 10), nil
}

// Describe implements kms.Service.
func (k *RootKey) Describe(ctx context.Context) (kms.Description, error) {
	return use(ctx, k.token, func(s *session) (kms.Description, error) {
		all, err := k.versions(s)
		if err != nil {
			return kms.Description{}, err
		}
		d := kms.Description{Provider: "pkcs11", KeyID: all.id.String()}
		if newest, ok := all.newest(); ok {
			d.Version = strconv.FormatUint(uint64(newest.number), 10)
		}
		return d, nil
	})
}

// Rotate implements kms.Rotator.
func (k *RootKey) Rotate(ctx context.Context) (string, error) {
	k.changing.Lock()
	defer k.changing.Unlock()
	return use(ctx, k.token, func(s *session) (string, error) {
		all, err := k.versions(s)
		if err != nil {
			return "", err
		}
		return strconv.FormatUint(uint64(all.last)+1, 10), k.generate(s, all.id, all.last+1)
	})
}

func (k *RootKey) create(ctx context.Context) error {
	_, err := use(ctx, k.token, func(s *session) (struct{}, error) {
		switch _, err := k.versions(s); {
		case err == nil:
			return struct{}{}, fault.New(fault.Conflict, "make %s: it exists", k).WithHint("choose another label with --key, or go on with underseal-pkcs11 serve")
		case fault.CodeOf(err) != codeMissing:
			return struct{}{}, err
		}
		return struct{}{}, k.generate(s, uuid.New(), 1)
	})
	return err
}

// Destroy implements kms.Service. The mark comes first: after a crash between the
// two the version counts as destroyed, and destroying it again removes the key.
func (k *RootKey) Destroy(ctx context.Context, version string) error {
	number, err := strconv.ParseUint(version, 10, 32)
	if err != nil || number == 0 || strconv.FormatUint(number, 10) != version {
		return fault.New(fault.NotFound, "destroy root key: %s has no version %q", k, version)
	}
	k.changing.Lock()
	defer k.changing.Unlock()
	_, err = use(ctx, k.token, func(s *session) (struct{}, error) {
		all, err := k.versions(s)
		if err != nil {
			return struct{}{}, err
		}
		if uint32(number) > all.last {
			return struct{}{}, fault.New(fault.NotFound, "destroy root key: %s has no version %s", k, version)
		}
		return struct{}{}, k.destroy(s, all, uint32(number))
	})
	return err
}
