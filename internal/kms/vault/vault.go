// Package vault is the key service of a HashiCorp Vault or an OpenBao: a key of
// its transit secrets engine, over HTTP.
//
// What binds the context is either the key's associated data (AES-GCM and
// ChaCha20-Poly1305 keys) or, for a key made with derived=true, the context that
// a key of its own is derived from. A key of a type that does neither is
// refused, and the first wrap of a process tries out whether the server heeds
// what it was sent: an old one would ignore associated data without a word.
//
// API: https://developer.hashicorp.com/vault/api-docs/secret/transit and
// https://openbao.org/api-docs/secret/transit.
package vault

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// A Service is one transit key.
type Service struct {
	config  Config
	client  *client
	session session
	id      identity
	binds   atomic.Bool // the server was seen to refuse another context
}

var (
	_ kms.Service = (*Service)(nil)
	_ kms.Rotator = (*Service)(nil)
)

// Open checks the configuration and asks nobody: the service may be away.
// Invalid when the configuration makes no sense.
func Open(_ context.Context, config Config) (kms.Service, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	c, err := newClient(config)
	if err != nil {
		return nil, err
	}
	s := &Service{config: config, client: c}
	s.session = session{config: &s.config, client: c, turn: make(chan struct{}, 1)}
	s.id.turn = make(chan struct{}, 1)
	return s, nil
}

// String names server and key.
func (s *Service) String() string {
	return "transit key " + s.config.Key + " in " + s.config.Mount + " of " + s.client.base.Host
}

// minKey and maxKey are the sizes of keys that the contract of kms.Service names.
const (
	minKey = 16
	maxKey = 256
)

// Wrap implements kms.Service.
func (s *Service) Wrap(ctx context.Context, c kms.Context, key []byte) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(key) < minKey || len(key) > maxKey {
		return nil, fault.New(fault.Invalid, "wrap key: key has %d bytes, must have %d to %d", len(key), minKey, maxKey)
	}
	id, err := s.rootKey(ctx)
	if err != nil {
		return nil, err
	}
	transit, err := s.describe(ctx)
	if err != nil {
		return nil, err
	}
	h := transit.header(id)
	sealed, err := s.encrypt(ctx, h, c, key)
	if err != nil {
		return nil, err
	}
	if err := s.tryBinding(ctx, h, c, sealed); err != nil {
		return nil, err
	}
	return append(h.encode(), sealed...), nil
}

// Unwrap implements kms.Service.
func (s *Service) Unwrap(ctx context.Context, c kms.Context, wrapped []byte) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	h, sealed, err := parse(wrapped)
	if err != nil {
		return nil, err
	}
	id, err := s.rootKey(ctx)
	if err != nil {
		return nil, err
	}
	if h.root != digest(id) {
		return nil, fault.New(fault.Conflict, "unwrap key of tenant %q: it was wrapped under another root key than %s (%s)", c.Tenant, id, s).
			WithCode("other_root_key").WithHint("name the mount and the key that the data was made with; for a key that was moved, set key_id to its former id")
	}
	key, err := s.decrypt(ctx, h, c, sealed)
	if has(err, http.StatusBadRequest) {
		return nil, s.explain(ctx, h, c, err)
	}
	return key, s.outward("unwrap key", err)
}

// Version implements kms.Service.
func (s *Service) Version(wrapped []byte) (string, error) {
	h, _, err := parse(wrapped)
	if err != nil {
		return "", err
	}
	return strconv.FormatUint(uint64(h.version), 10), nil
}

// Describe implements kms.Service. The id is the mount's UUID and the key's
// name: both stay when versions come and go, when Vault is restored from its
// backup and on the replicas of a cluster.
func (s *Service) Describe(ctx context.Context) (kms.Description, error) {
	id, err := s.rootKey(ctx)
	if err != nil {
		return kms.Description{}, err
	}
	transit, err := s.describe(ctx)
	if err != nil {
		return kms.Description{}, err
	}
	return kms.Description{Provider: "vault", KeyID: id, Version: strconv.FormatUint(uint64(transit.Latest), 10)}, nil
}

// Rotate implements kms.Rotator.
func (s *Service) Rotate(ctx context.Context) (string, error) {
	// A key that is not there is said to be missing, and not denied.
	if _, err := s.describe(ctx); err != nil {
		return "", err
	}
	if err := s.ask(ctx, http.MethodPost, s.path("keys", "rotate"), struct{}{}, nil); err != nil {
		return "", s.outward("rotate", err)
	}
	transit, err := s.describe(ctx)
	if err != nil {
		return "", err
	}
	return strconv.FormatUint(uint64(transit.Latest), 10), nil
}

// Destroy implements kms.Service. Vault destroys only from the oldest version
// on, and never the newest: that one is destroyed by making a newer one first.
// A backup of Vault may still hold what was destroyed.
func (s *Service) Destroy(ctx context.Context, version string) error {
	transit, err := s.describe(ctx)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(version, 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != version || n == 0 || uint32(n) > transit.Latest {
		return fault.New(fault.NotFound, "destroy root key: %s has no version %q", s, version)
	}
	oldest := max(1, transit.MinAvailable)
	switch {
	case uint32(n) < oldest:
		return nil
	case uint32(n) > oldest:
		return fault.New(fault.Conflict, "destroy version %d of %s: version %d is older and still there", n, s, oldest).
			WithHint("Vault destroys versions only from the oldest on: destroy version %d first", oldest)
	case uint32(n) == transit.Latest:
		if _, err := s.Rotate(ctx); err != nil {
			return err
		}
	}
	return s.trim(ctx, transit, uint32(n)+1)
}

// trim makes oldest the first version that there is.
func (s *Service) trim(ctx context.Context, transit transitKey, oldest uint32) error {
	// Trimming wants both minimums to be set.
	limits := map[string]uint32{
		"min_decryption_version": max(oldest, transit.MinDecryption),
		"min_encryption_version": max(oldest, transit.MinEncryption),
	}
	if err := s.ask(ctx, http.MethodPost, s.path("keys", "config"), limits, nil); err != nil {
		return s.outward("destroy: set the oldest version", err)
	}
	err := s.ask(ctx, http.MethodPost, s.path("keys", "trim"), map[string]uint32{"min_available_version": oldest}, nil)
	return s.outward("destroy: trim", err)
}

// A transform is what encrypt and decrypt are asked with.
type transform struct {
	Plaintext      string `json:"plaintext,omitempty"`
	Ciphertext     string `json:"ciphertext,omitempty"`
	KeyVersion     uint32 `json:"key_version,omitempty"`
	AssociatedData string `json:"associated_data,omitempty"`
	Context        string `json:"context,omitempty"`
}

// bind puts in what binds header and context.
func (t transform) bind(h header, c kms.Context) transform {
	bound := base64.StdEncoding.EncodeToString(append(h.encode(), c.Encode()...))
	if h.derived {
		t.Context = bound
	} else {
		t.AssociatedData = bound
	}
	return t
}

// encrypt returns the bytes that the version of h made of key.
func (s *Service) encrypt(ctx context.Context, h header, c kms.Context, key []byte) ([]byte, error) {
	in := transform{Plaintext: base64.StdEncoding.EncodeToString(key), KeyVersion: h.version}.bind(h, c)
	var out transform
	if err := s.ask(ctx, http.MethodPost, s.path("encrypt"), in, answerIn(&out)); err != nil {
		return nil, s.outward("wrap key", err)
	}
	return h.sealed(out.Ciphertext)
}

// decrypt returns the key in sealed. Errors of the server come back as they are.
func (s *Service) decrypt(ctx context.Context, h header, c kms.Context, sealed []byte) ([]byte, error) {
	in := transform{Ciphertext: h.ciphertext(sealed)}.bind(h, c)
	var out transform
	if err := s.ask(ctx, http.MethodPost, s.path("decrypt"), in, answerIn(&out)); err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(out.Plaintext)
	if err != nil || len(key) < minKey || len(key) > maxKey {
		return nil, nonsense("unwrap key: the answer of %s holds no key", s)
	}
	return key, nil
}

// tryBinding makes sure, once in the life of the process, that what was wrapped
// in one context does not open in another.
func (s *Service) tryBinding(ctx context.Context, h header, c kms.Context, sealed []byte) error {
	if s.binds.Load() {
		return nil
	}
	other := c
	other.Purpose = "trying whether another context is refused"
	_, err := s.decrypt(ctx, h, other, sealed)
	switch {
	case err == nil:
		return fault.New(fault.Invalid, "%s opens a key in another context than it was wrapped in: the server ignores associated data", s).
			WithHint("use a newer version of Vault or OpenBao, or a transit key made with derived=true")
	case !has(err, http.StatusBadRequest):
		return s.outward("try whether another context is refused", err)
	}
	s.binds.Store(true)
	return nil
}

// explain says why the server would not open something: what is at fault may be
// the key as well as the bytes.
func (s *Service) explain(ctx context.Context, h header, c kms.Context, cause error) error {
	transit, err := s.describe(ctx)
	if err != nil {
		return err
	}
	switch {
	case h.version < transit.MinAvailable:
		return fault.New(fault.NotFound, "unwrap key: version %d of %s was destroyed", h.version, s).WithCode("root_key_destroyed")
	case h.version < transit.MinDecryption:
		return fault.New(fault.Denied, "unwrap key: version %d of %s may not be used: its min_decryption_version is %d", h.version, s, transit.MinDecryption).
			WithHint("vault write %s/keys/%s/config min_decryption_version=%d", s.config.Mount, s.config.Key, h.version)
	case transit.created(h.version) != h.created && transit.created(h.version) != 0:
		return fault.New(fault.Conflict, "unwrap key of tenant %q: version %d of %s is not the one it was wrapped under; the key was deleted and made again",
			c.Tenant, h.version, s).WithCode("other_root_key").WithHint("restore the transit key from the backup of Vault")
	}
	return fault.New(fault.Integrity, "unwrap key of tenant %q (%s, version %d): the stored bytes were changed or belong elsewhere: %w",
		c.Tenant, c.Purpose, c.Version, cause)
}

// aeads are the types of transit keys that bind associated data.
var aeads = []string{"aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"}

// check refuses a key that cannot do what kms.Service promises.
func (s *Service) check(transit transitKey) error {
	switch {
	case !slices.Contains(aeads, transit.Type):
		return fault.New(fault.Invalid, "%s is of the type %q, which binds no context", s, transit.Type).
			WithHint("make one of the type aes256-gcm96: vault write -f %s/keys/NAME", s.config.Mount)
	case transit.Convergent:
		return fault.New(fault.Invalid, "%s encrypts convergently: equal keys would give equal bytes", s).
			WithHint("make one without: vault write -f %s/keys/NAME", s.config.Mount)
	case transit.Latest == 0 || transit.created(transit.Latest) == 0:
		return nonsense("describe root key: the answer of %s does not say when version %d was made", s, transit.Latest)
	}
	return nil
}
