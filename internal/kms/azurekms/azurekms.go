// Package azurekms wraps the keys of tenants under an RSA key of Azure Key Vault
// or of a Managed HSM.
//
// # Binding
//
// What a vault wraps with RSA-OAEP is bound to nothing, and anybody who has the
// public key can wrap: a stored key could be moved to another tenant, or
// replaced by one that an attacker knows. (A Managed HSM has AES-GCM with
// additional data, a vault does not; the same is done for both.) So the vault
// wraps a random key made for this one use, and what is bound is bound here:
//
//	header | version of the signing key 16 | length 2 | RSA-OAEP-256 of a random key R, by the vault
//	nonce 12 | ciphertext | tag 16 | signature 64
//
// The ciphertext is the tenant key under AES-256-GCM with a random nonce and
//
//	HKDF-SHA-256(R, no salt, "underseal/v1/azure" 00 || all that stands before the nonce || context, 32)
//
// with what is bound as the additional data too. R is random and used once, so it
// needs no salt. The signature is made by the vault with a second key (ES256,
// P-256), of SHA-256("underseal/v1/azure signed" 00 || length of the context 4 ||
// context || all that stands before the signature): it shows that this was
// wrapped by somebody who may use the vault, and when unwrapping it is checked
// before anything else, against the public key that the vault gives at that
// moment. One key is not used for both, see NIST SP 800-57 part 1, 5.2.
//
// # Versions
//
// Rotating makes a new version of the wrapping key. Azure cannot destroy a
// version: a disabled one can be enabled again, and deleting takes the whole key.
// So Destroy refuses. To retire a root key, tenants are moved to a key service
// with another key; then its owner deletes and purges the old one.
package azurekms

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/cloudkey"
)

// provider is the name in kms.Description, mark the first byte of what is wrapped.
const (
	provider = "azure"
	mark     = 0xA3
)

// Config says which keys, and as whom.
type Config struct {
	Vault      string `koanf:"vault"`       // https://NAME.vault.azure.net, or a Managed HSM's address
	Key        string `koanf:"key"`         // name of an RSA key that may wrapKey and unwrapKey
	SigningKey string `koanf:"signing_key"` // name of an EC key (P-256) that may sign; another one than Key
	TenantID   string `koanf:"tenant_id"`   // the directory; goes with ClientID and Secret
	ClientID   string `koanf:"client_id"`
	Ambient    bool   `koanf:"ambient"`   // instead: credentials from where the SDK looks (environment, workload identity, managed identity, az)
	Authority  string `koanf:"authority"` // https://HOST that signs in, instead of https://login.microsoftonline.com

	Secret    func(context.Context) (string, error) `koanf:"-"` // the client secret; asked for with each token, so it may change
	Transport http.RoundTripper                     `koanf:"-"` // nil for the network
}

// A service is a wrapping key and a signing key in one vault.
type service struct {
	root   cloudkey.Root
	config Config
	client *azkeys.Client
}

var (
	_ kms.Service = (*service)(nil)
	_ kms.Rotator = (*service)(nil)
)

// Open returns the key service. It makes no call. Invalid when a setting is
// missing or makes no sense.
func Open(_ context.Context, c Config) (kms.Service, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	options := azcore.ClientOptions{
		Transport: cloudkey.Client(c.Transport),
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Telemetry: policy.TelemetryOptions{ApplicationID: "underseal"},
	}
	credential, err := c.credential(options)
	if err != nil {
		return nil, err
	}
	client, err := azkeys.NewClient(c.Vault, credential, &azkeys.ClientOptions{ClientOptions: options})
	if err != nil {
		return nil, fault.New(fault.Invalid, "open %s key service: %w", provider, err)
	}
	return &service{
		root:   cloudkey.Root{Provider: provider, Mark: mark, ID: c.Vault + "/keys/" + c.Key},
		config: c,
		client: client,
	}, nil
}

// Names of keys, ids of directories and of applications are of these forms.
var (
	keyPattern     = regexp.MustCompile(`^[0-9a-zA-Z-]{1,127}$`)
	accountPattern = regexp.MustCompile(`^[0-9a-zA-Z.-]{1,128}$`)
	versionPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// domains of vaults and Managed HSMs. The SDK sends a token only to the domain
// that it is for; an address elsewhere would fail with each call.
var domains = []string{
	".vault.azure.net", ".managedhsm.azure.net", ".vault.azure.cn", ".managedhsm.azure.cn",
	".vault.usgovcloudapi.net", ".managedhsm.usgovcloudapi.net",
}

func (c Config) check() error {
	if err := cloudkey.CheckURL("vault", c.Vault); err != nil {
		return err
	}
	if u, err := url.Parse(c.Vault); err != nil || !inDomains(u.Host) {
		return fault.New(fault.Invalid, "vault: %q is not the address of an Azure key vault or Managed HSM", c.Vault).
			WithHint("it looks like https://company.vault.azure.net")
	}
	for _, key := range []struct{ setting, name string }{{"key", c.Key}, {"signing_key", c.SigningKey}} {
		if !keyPattern.MatchString(key.name) {
			return fault.New(fault.Invalid, "%s: %q is not the name of a key in a vault; it has letters, digits and hyphens, and no version", key.setting, key.name)
		}
	}
	if strings.EqualFold(c.Key, c.SigningKey) {
		return fault.New(fault.Invalid, "signing_key: it must be another key than key, since one wraps and the other signs")
	}
	return c.checkCredentials()
}

func inDomains(host string) bool {
	for _, domain := range domains {
		if name, ok := strings.CutSuffix(host, domain); ok && keyPattern.MatchString(name) {
			return true
		}
	}
	return false
}

func (c Config) checkCredentials() error {
	own := c.TenantID != "" || c.ClientID != "" || c.Secret != nil
	switch {
	case own == c.Ambient:
		return fault.New(fault.Invalid, "credentials: name tenant_id, client_id and client_secret, or say ambient: true")
	case own && (c.Secret == nil || !accountPattern.MatchString(c.TenantID) || !accountPattern.MatchString(c.ClientID)):
		return fault.New(fault.Invalid, "tenant_id, client_id and client_secret go together; the first two are ids of the directory and the application")
	case c.Authority != "":
		return cloudkey.CheckURL("authority", c.Authority)
	}
	return nil
}

// Wrap implements kms.Service.
func (s *service) Wrap(ctx context.Context, c kms.Context, key []byte) ([]byte, error) {
	if err := cloudkey.CheckKey(key); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	call := s.begin(ctx, "wrap key of tenant %q with %s", c.Tenant, s.root)
	defer call.end()
	wrapping, err := call.newest(s.config.Key)
	if err != nil {
		return nil, err
	}
	signing, err := call.newest(s.config.SigningKey)
	if err != nil {
		return nil, err
	}
	once := newOnce()
	blob, err := call.wrapOnce(wrapping.version, once)
	if err != nil {
		return nil, err
	}
	sealed, err := once.seal(layout{s.root.Header(wrapping.version), signing.version, blob}.encode(), c, key)
	if err != nil {
		return nil, err
	}
	signature, err := call.sign(signing.version, toSign(c, sealed))
	if err != nil {
		return nil, err
	}
	return append(sealed, signature...), nil
}

// Unwrap implements kms.Service.
func (s *service) Unwrap(ctx context.Context, c kms.Context, wrapped []byte) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	version, p, err := s.parse(wrapped)
	if err != nil {
		return nil, err
	}
	call := s.begin(ctx, "unwrap key of tenant %q with %s", c.Tenant, s.root)
	defer call.end()
	if err := call.verify(p.signing, toSign(c, p.signed), p.signature); err != nil {
		return nil, err
	}
	once, err := call.unwrapOnce(version, p.blob)
	if err != nil {
		return nil, err
	}
	key, err := once.open(p.bound, c, p.sealed)
	if err != nil {
		return nil, call.changed()
	}
	return key, nil
}

// Version implements kms.Service.
func (s *service) Version(wrapped []byte) (string, error) {
	version, _, err := s.parse(wrapped)
	return version, err
}

// Describe implements kms.Service.
func (s *service) Describe(ctx context.Context) (kms.Description, error) {
	call := s.begin(ctx, "describe %s", s.root)
	defer call.end()
	found, err := call.newest(s.config.Key)
	if err != nil {
		return kms.Description{}, err
	}
	return kms.Description{Provider: provider, KeyID: s.root.ID, Version: found.version}, nil
}

// Rotate implements kms.Rotator.
func (s *service) Rotate(ctx context.Context) (string, error) {
	call := s.begin(ctx, "rotate %s", s.root)
	defer call.end()
	out, err := s.client.RotateKey(call.ctx, s.config.Key, nil)
	if err != nil {
		return "", call.fault(err)
	}
	made, err := call.read(out.KeyBundle)
	return made.version, err
}

// Destroy implements kms.Service by refusing, as the package comment says.
func (s *service) Destroy(ctx context.Context, version string) error {
	unknown := fault.New(fault.NotFound, "destroy root key: %s has no version %q", s.root, version)
	if !versionPattern.MatchString(version) {
		return unknown
	}
	call := s.begin(ctx, "destroy version %s of %s", version, s.root)
	defer call.end()
	if _, err := s.client.GetKey(call.ctx, s.config.Key, version, nil); isMissing(err) {
		return unknown
	} else if err != nil {
		return call.fault(err)
	}
	return fault.New(fault.Invalid, "destroy root key: Azure deletes %s whole, with all its versions, and that is left to its owner", s.root).
		WithCode(kms.CodeWholeKey).
		WithHint("move the tenants to a key service with another key; then delete and purge this one")
}

// decodeVersion turns a version's 32 hex digits into bytes.
func decodeVersion(text string) ([16]byte, bool) {
	var version [16]byte
	n, err := hex.Decode(version[:], []byte(text))
	return version, err == nil && n == len(version)
}
