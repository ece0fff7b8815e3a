// Package gcpkms wraps the keys of tenants under a symmetric key of Google
// Cloud KMS.
//
// The version that a key is wrapped under stands in our header, and header and
// context are the service's additionalAuthenticatedData: neither can be changed.
// Both ways, CRC32C sums are sent and checked, as Google asks for: bytes that
// were damaged between here and the service are never stored and never taken
// for a key.
//
// Rotating makes a new CryptoKeyVersion and then makes it the primary one.
// Destroying a version begins the key's waiting period (30 days unless the key
// was made with another one, 24 hours at least); until its end the version opens
// nothing and can be restored in Google Cloud. Google says that it may take hours
// until all its machines know that a version may not be used any more.
//
// The REST API is used (google.golang.org/api/cloudkms/v1, Google's own too),
// since the gRPC client makes the binary 2 MB larger.
package gcpkms

import (
	"cmp"
	"context"
	"encoding/base64"
	"hash/crc32"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/api/cloudkms/v1"
	"google.golang.org/api/option"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/cloudkey"
)

// provider is the name in kms.Description, mark the first byte of what is wrapped.
const (
	provider = "gcp"
	mark     = 0xA2
)

// Config says which key, and as whom.
type Config struct {
	Key      string `koanf:"key"`      // projects/P/locations/L/keyRings/R/cryptoKeys/K
	Ambient  bool   `koanf:"ambient"`  // credentials from where the SDK looks, instead of Credentials
	Endpoint string `koanf:"endpoint"` // https://HOST instead of the public one

	Credentials func(context.Context) (string, error) `koanf:"-"` // JSON key of a service account; asked for when a token is needed
	Transport   http.RoundTripper                     `koanf:"-"` // nil for the network
}

// A service is one key of Cloud KMS.
type service struct {
	root cloudkey.Root
	keys *cloudkms.ProjectsLocationsKeyRingsCryptoKeysService
}

var (
	_ kms.Service = (*service)(nil)
	_ kms.Rotator = (*service)(nil)
)

var keyPattern = regexp.MustCompile(`^projects/[a-z0-9:.-]{1,63}/locations/[a-z0-9-]{1,63}/keyRings/[A-Za-z0-9_-]{1,63}/cryptoKeys/[A-Za-z0-9_-]{1,63}$`)

// Open returns the key service. It makes no call. Invalid when a setting is
// missing or makes no sense.
func Open(ctx context.Context, c Config) (kms.Service, error) {
	if !keyPattern.MatchString(c.Key) {
		return nil, fault.New(fault.Invalid, "key: %q is not the name of a key of Cloud KMS", c.Key).
			WithHint("it looks like projects/acme/locations/europe-west3/keyRings/underseal/cryptoKeys/root, without a version")
	}
	if c.Ambient == (c.Credentials != nil) {
		return nil, fault.New(fault.Invalid, "credentials: name the file of a service account's key, or say ambient: true")
	}
	client := cloudkey.Client(c.Transport)
	client.Transport = &bearer{config: c, client: cloudkey.Client(c.Transport), base: client.Transport}
	endpoint := cmp.Or(c.Endpoint, "https://cloudkms.googleapis.com")
	if err := cloudkey.CheckURL("endpoint", endpoint); err != nil {
		return nil, err
	}
	// Named in any case, or a variable of the environment could name another.
	api, err := cloudkms.NewService(ctx, option.WithHTTPClient(client), option.WithEndpoint(endpoint+"/"))
	if err != nil {
		return nil, fault.New(fault.Invalid, "open %s key service: %w", provider, err)
	}
	return &service{
		root: cloudkey.Root{Provider: provider, Mark: mark, ID: c.Key},
		keys: api.Projects.Locations.KeyRings.CryptoKeys,
	}, nil
}

// Wrap implements kms.Service. It asks for the primary version first, so that
// the version can be bound.
func (s *service) Wrap(ctx context.Context, c kms.Context, key []byte) ([]byte, error) {
	if err := cloudkey.CheckKey(key); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	call := s.begin(ctx, "wrap key of tenant %q with %s", c.Tenant, s.root)
	defer call.end()
	version, err := call.primary()
	if err != nil {
		return nil, err
	}
	if version == "" {
		return nil, fault.New(fault.NotFound, "%s: its primary version was destroyed, or there is none", call.what).
			WithHint("make a new version of the key and make it the primary one")
	}
	header := s.root.Header(version)
	blob, err := call.encrypt(version, key, append(header, c.Encode()...))
	if err != nil {
		return nil, err
	}
	return append(header[:len(header):len(header)], blob...), nil
}

// Unwrap implements kms.Service.
func (s *service) Unwrap(ctx context.Context, c kms.Context, wrapped []byte) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	version, blob, err := s.split(wrapped)
	if err != nil {
		return nil, err
	}
	call := s.begin(ctx, "unwrap key of tenant %q with %s", c.Tenant, s.root)
	defer call.end()
	return call.decrypt(version, blob, append(s.root.Header(version), c.Encode()...))
}

// Version implements kms.Service.
func (s *service) Version(wrapped []byte) (string, error) {
	version, _, err := s.split(wrapped)
	return version, err
}

// split returns the version and what Google gave us.
func (s *service) split(wrapped []byte) (version string, blob []byte, err error) {
	version, blob, err = s.root.Split(wrapped)
	if err == nil && !isVersion(version) {
		err = fault.New(fault.Integrity, "a wrapped key of %s names version %q, which is no number", s.root, version)
	}
	if err != nil {
		return "", nil, err
	}
	return version, blob, nil
}

// Describe implements kms.Service.
func (s *service) Describe(ctx context.Context) (kms.Description, error) {
	call := s.begin(ctx, "describe %s", s.root)
	defer call.end()
	version, err := call.primary()
	if err != nil {
		return kms.Description{}, err
	}
	return kms.Description{Provider: provider, KeyID: s.root.ID, Version: version}, nil
}

// Rotate implements kms.Rotator. If it ends early, the key may have a version
// that is not the primary one, which does no harm.
func (s *service) Rotate(ctx context.Context) (string, error) {
	call := s.begin(ctx, "rotate %s", s.root)
	defer call.end()
	made, err := s.keys.CryptoKeyVersions.Create(s.root.ID, &cloudkms.CryptoKeyVersion{}).Context(call.ctx).Do()
	if err != nil {
		return "", call.fault(err)
	}
	version, err := call.versionOf(made.Name)
	if err != nil {
		return "", err
	}
	if err := call.waitUntilEnabled(version, made.State); err != nil {
		return "", err
	}
	request := &cloudkms.UpdateCryptoKeyPrimaryVersionRequest{CryptoKeyVersionId: version}
	if _, err := s.keys.UpdatePrimaryVersion(s.root.ID, request).Context(call.ctx).Do(); err != nil {
		return "", call.fault(err)
	}
	return version, nil
}

// Destroy implements kms.Service. The version is out of use when it returns, and
// destroyed for good after the key's waiting period.
func (s *service) Destroy(ctx context.Context, version string) error {
	unknown := fault.New(fault.NotFound, "destroy root key: %s has no version %q", s.root, version)
	if !isVersion(version) {
		return unknown
	}
	call := s.begin(ctx, "destroy version %s of %s", version, s.root)
	defer call.end()
	found, err := s.keys.CryptoKeyVersions.Get(s.versionName(version)).Context(call.ctx).Do()
	switch {
	case isMissing(err):
		return unknown
	case err != nil:
		return call.fault(err)
	case found.State == destroyed || found.State == destroyScheduled:
		return nil
	}
	_, err = s.keys.CryptoKeyVersions.Destroy(s.versionName(version), &cloudkms.DestroyCryptoKeyVersionRequest{}).Context(call.ctx).Do()
	if err != nil {
		return call.fault(err)
	}
	return nil
}

func (s *service) versionName(version string) string {
	return s.root.ID + "/cryptoKeyVersions/" + version
}

// isVersion reports whether text is how Google writes the number of a version.
func isVersion(text string) bool {
	n, err := strconv.ParseUint(text, 10, 63)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == text
}

// versionOf returns the number of a version of this key from its full name.
func (c call) versionOf(name string) (string, error) {
	version, ours := strings.CutPrefix(name, c.service.root.ID+"/cryptoKeyVersions/")
	if !ours || !isVersion(version) {
		return "", fault.New(fault.Unavailable, "%s: the service answered for %q", c.what, name)
	}
	return version, nil
}

// primary returns the version that wraps, empty when it opens nothing any more.
func (c call) primary() (string, error) {
	key, err := c.service.keys.Get(c.service.root.ID).Context(c.ctx).Do()
	switch {
	case isMissing(err):
		return "", fault.New(fault.Conflict, "%s: there is no such key: %w", c.what, err).WithCode("root_key_missing").WithHint("check its name under key")
	case err != nil:
		return "", c.fault(err)
	case key.Primary == nil || key.Primary.State == destroyed:
		return "", nil
	}
	return c.versionOf(key.Primary.Name)
}

// castagnoli is the polynomial of CRC32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) int64 { return int64(crc32.Checksum(b, castagnoli)) }

func (c call) encrypt(version string, key, bound []byte) ([]byte, error) {
	out, err := c.service.keys.Encrypt(c.service.versionName(version), &cloudkms.EncryptRequest{
		Plaintext:                         base64.StdEncoding.EncodeToString(key),
		PlaintextCrc32c:                   checksum(key),
		AdditionalAuthenticatedData:       base64.StdEncoding.EncodeToString(bound),
		AdditionalAuthenticatedDataCrc32c: checksum(bound),
		// A sum may be 0, which is left out otherwise, and then nothing is checked.
		ForceSendFields: []string{"PlaintextCrc32c", "AdditionalAuthenticatedDataCrc32c"},
	}).Context(c.ctx).Do()
	if err != nil {
		return nil, c.versionFault(version, err)
	}
	if !out.VerifiedPlaintextCrc32c || !out.VerifiedAdditionalAuthenticatedDataCrc32c {
		return nil, c.damaged()
	}
	if got, err := c.versionOf(out.Name); err != nil || got != version {
		return nil, fault.New(fault.Unavailable, "%s: the service answered for %q", c.what, out.Name)
	}
	return c.checked(out.Ciphertext, out.CiphertextCrc32c)
}

func (c call) decrypt(version string, blob, bound []byte) ([]byte, error) {
	out, err := c.service.keys.Decrypt(c.service.root.ID, &cloudkms.DecryptRequest{
		Ciphertext:                        base64.StdEncoding.EncodeToString(blob),
		CiphertextCrc32c:                  checksum(blob),
		AdditionalAuthenticatedData:       base64.StdEncoding.EncodeToString(bound),
		AdditionalAuthenticatedDataCrc32c: checksum(bound),
		ForceSendFields:                   []string{"CiphertextCrc32c", "AdditionalAuthenticatedDataCrc32c"},
	}).Context(c.ctx).Do()
	if err != nil {
		return nil, c.versionFault(version, err)
	}
	return c.checked(out.Plaintext, out.PlaintextCrc32c)
}

// checked decodes bytes of an answer and compares them with their sum.
func (c call) checked(text string, sum int64) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || checksum(b) != sum {
		return nil, c.damaged()
	}
	return b, nil
}

// damaged is the fault of bytes that changed on their way. What is stored is
// as it was; the next try may do better.
func (c call) damaged() error {
	return fault.New(fault.Unavailable, "%s: checksums differ, so something was damaged on its way to or from the service", c.what).
		WithCode("key_service_damaged")
}
