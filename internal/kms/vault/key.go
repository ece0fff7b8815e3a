package vault

import (
	"context"
	"encoding/json"
	"net/http"
	"path"
	"strconv"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// ask sends a request with a token. When Vault refuses a token that it no longer
// knows, there is another try with a new one.
func (s *Service) ask(ctx context.Context, method, path string, in, out any) error {
	token, err := s.session.get(ctx)
	if err != nil {
		return err
	}
	refusal := s.client.send(ctx, token, method, path, in, out)
	if !has(refusal, http.StatusForbidden) {
		return refusal
	}
	known, err := s.knows(ctx, token)
	if known || err != nil {
		return errorOr(err, refusal)
	}
	fresh, err := s.session.replace(ctx, token)
	switch {
	case err != nil:
		return err
	case fresh == token:
		return fault.New(fault.Denied, "Vault at %s does not know our token: %w", s.client.base.Host, refusal).
			WithCode("key_service_token").WithHint("the token is wrong, expired or revoked: give the server another one")
	}
	return s.client.send(ctx, fresh, method, path, in, out)
}

func errorOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// knows reports whether Vault knows a token, which tells missing rights from an
// expired token.
func (s *Service) knows(ctx context.Context, token string) (bool, error) {
	err := s.client.send(ctx, token, http.MethodGet, "auth/token/lookup-self", nil, nil)
	switch {
	case err == nil:
		return true, nil
	case has(err, http.StatusForbidden):
		return false, nil
	}
	return false, s.outward("look the token up", err)
}

// path returns the API path of something of the key: keys/KEY, keys/KEY/rotate,
// encrypt/KEY.
func (s *Service) path(kind string, more ...string) string {
	return path.Join(append([]string{s.config.Mount, kind, s.config.Key}, more...)...)
}

func (s *Service) outward(what string, err error) error {
	if has(err, http.StatusNotFound) {
		return s.missing(what, err)
	}
	return outward(what, s.String(), err)
}

// missing is the error for a key that is not there. Deleting a key is the
// strongest way to take it away, so it is a refusal; that the data is gone for
// good is not said, since a backup of Vault may bring it back.
func (s *Service) missing(what string, err error) error {
	return fault.New(fault.Denied, "%s: there is no %s: %w", what, s, err).WithCode("root_key_missing").
		WithHint("check mount, key and namespace; a key that was deleted comes back with a backup of Vault")
}

// A transitKey is what transit says about a key.
type transitKey struct {
	Type          string                     `json:"type"`
	Derived       bool                       `json:"derived"`
	Convergent    bool                       `json:"convergent_encryption"`
	Latest        uint32                     `json:"latest_version"`
	MinAvailable  uint32                     `json:"min_available_version"`
	MinDecryption uint32                     `json:"min_decryption_version"`
	MinEncryption uint32                     `json:"min_encryption_version"`
	Versions      map[string]json.RawMessage `json:"keys"`
}

// created returns when a version was made, as a Unix time; 0 when it is not
// there. Vault writes a number for the types of keys that we use; a time as text,
// as it writes for others, is understood too.
func (k transitKey) created(version uint32) int64 {
	raw := k.Versions[strconv.FormatUint(uint64(version), 10)]
	var seconds int64
	if json.Unmarshal(raw, &seconds) == nil {
		return seconds
	}
	var at time.Time
	if json.Unmarshal(raw, &at) == nil {
		return at.Unix()
	}
	return 0
}

// header returns the header of what is wrapped now, under the newest version.
func (k transitKey) header(rootKey string) header {
	return header{derived: k.Derived, root: digest(rootKey), version: k.Latest, created: k.created(k.Latest)}
}

// describe reads what transit says about the key and refuses one that does not do.
func (s *Service) describe(ctx context.Context) (transitKey, error) {
	var key transitKey
	if err := s.ask(ctx, http.MethodGet, s.path("keys"), nil, answerIn(&key)); err != nil {
		return transitKey{}, s.outward("describe root key", err)
	}
	return key, s.check(key)
}

// identity is the id of the root key once it is known.
type identity struct {
	turn chan struct{} // holds a token while somebody uses id
	id   string
}

// rootKey returns the id of the root key, which it asks for once.
func (s *Service) rootKey(ctx context.Context) (string, error) {
	if s.config.KeyID != "" {
		return s.config.KeyID, nil
	}
	if err := take(ctx, s.id.turn); err != nil {
		return "", err
	}
	defer func() { <-s.id.turn }()
	if s.id.id != "" {
		return s.id.id, nil
	}
	var mount struct {
		UUID string `json:"uuid"`
		Type string `json:"type"`
	}
	if err := s.ask(ctx, http.MethodGet, "sys/internal/ui/mounts/"+s.config.Mount, nil, answerIn(&mount)); err != nil {
		return "", s.outward("identify root key", err)
	}
	switch {
	case mount.Type != "transit":
		return "", fault.New(fault.Invalid, "the mount %s of Vault at %s is of the type %q, not transit", s.config.Mount, s.client.base.Host, mount.Type)
	case !name.MatchString(mount.UUID) || len(mount.UUID) > 64:
		return "", nonsense("identify root key: the answer of Vault at %s names no mount", s.client.base.Host)
	}
	s.id.id = mount.UUID + "/" + s.config.Key
	return s.id.id, nil
}
