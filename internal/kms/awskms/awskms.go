// Package awskms wraps the keys of tenants under a symmetric key of AWS KMS.
//
// The context goes into the service's own EncryptionContext, which AWS binds
// into the ciphertext and writes into CloudTrail: deployment, tenant, purpose and
// version of the wrapped key are visible there, and a key policy can ask for them
// (kms:EncryptionContext:tenant). No personal data is in it.
//
// # Versions
//
// AWS keeps the backing keys of a rotated key for as long as the key exists,
// says of no ciphertext which of them it needs, and destroys none by itself. So
// this provider knows one version, the key's own id. Rotation, whether yearly or
// on demand, is switched on in AWS and needs nothing from us; it makes nothing
// unreadable. Hence the service is no kms.Rotator, and Destroy refuses: deleting
// the key would take along whatever else was wrapped under it, by us or by
// somebody else. To retire a root key, tenants are moved to a key service with
// another key; then its owner schedules the deletion of the old one in AWS.
package awskms

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/cloudkey"
)

// provider is the name in kms.Description, mark the first byte of what is wrapped.
const (
	provider = "aws"
	mark     = 0xA1
)

// Config says which key, and as whom.
type Config struct {
	Key         string `koanf:"key"`           // ARN of a symmetric encryption key; no alias, which could be pointed elsewhere
	AccessKeyID string `koanf:"access_key_id"` // goes with Secret
	Ambient     bool   `koanf:"ambient"`       // instead: credentials from where the SDK looks (environment, files, web identity, instance)
	Endpoint    string `koanf:"endpoint"`      // https://HOST instead of the region's public one

	Secret    func(context.Context) (string, error) `koanf:"-"` // the secret access key; asked for with the first call
	Transport http.RoundTripper                     `koanf:"-"` // nil for the network
}

// A service is one key of AWS KMS.
type service struct {
	root   cloudkey.Root
	id     string // the key's id, which is the only version
	client *sdk.Client
}

var _ kms.Service = (*service)(nil)

// Open returns the key service. It makes no call. Invalid when a setting is
// missing or makes no sense.
func Open(ctx context.Context, c Config) (kms.Service, error) {
	key, err := parseKey(c.Key)
	if err != nil {
		return nil, err
	}
	if c.Endpoint != "" {
		if err := cloudkey.CheckURL("endpoint", c.Endpoint); err != nil {
			return nil, err
		}
	}
	options := sdk.Options{Region: key.Region, Retryer: aws.NopRetryer{}, HTTPClient: cloudkey.Client(c.Transport)}
	if c.Endpoint != "" {
		options.BaseEndpoint = aws.String(c.Endpoint)
	}
	if err := c.authenticate(ctx, &options); err != nil {
		return nil, err
	}
	return &service{
		root:   cloudkey.Root{Provider: provider, Mark: mark, ID: c.Key},
		id:     strings.TrimPrefix(key.Resource, "key/"),
		client: sdk.New(options),
	}, nil
}

var (
	resourcePattern = regexp.MustCompile(`^key/[0-9A-Za-z-]{1,64}$`)
	regionPattern   = regexp.MustCompile(`^[a-z0-9-]{1,63}$`) // becomes part of a host's name
	accountPattern  = regexp.MustCompile(`^[0-9]{12}$`)
)

func parseKey(text string) (arn.ARN, error) {
	key, err := arn.Parse(text)
	if err != nil || key.Service != "kms" || !regionPattern.MatchString(key.Region) || !accountPattern.MatchString(key.AccountID) || !resourcePattern.MatchString(key.Resource) {
		return arn.ARN{}, fault.New(fault.Invalid, "key: %q is not the ARN of a key of AWS KMS", text).
			WithHint("it looks like arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab; an alias is refused, since it can be pointed to another key")
	}
	return key, nil
}

// authenticate gives the options the configured credentials. Nothing is looked
// for in the environment or on the network unless Ambient asks for it.
func (c Config) authenticate(ctx context.Context, options *sdk.Options) error {
	switch own := c.AccessKeyID != "" || c.Secret != nil; {
	case own == c.Ambient:
		return fault.New(fault.Invalid, "credentials: name access_key_id and secret_access_key, or say ambient: true")
	case own && (c.AccessKeyID == "" || c.Secret == nil):
		return fault.New(fault.Invalid, "access_key_id and secret_access_key go together")
	case own:
		options.Credentials = aws.CredentialsProviderFunc(c.static)
		return nil
	}
	load := []func(*config.LoadOptions) error{
		config.WithRegion(options.Region),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
	}
	if c.Transport != nil {
		load = append(load, config.WithHTTPClient(options.HTTPClient))
	}
	found, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return fault.New(fault.Invalid, "find credentials of AWS: %w", err)
	}
	options.Credentials = found.Credentials
	return nil
}

func (c Config) static(ctx context.Context) (aws.Credentials, error) {
	secret, err := c.Secret(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	return aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: secret, Source: "underseal"}, nil
}

// Wrap implements kms.Service.
func (s *service) Wrap(ctx context.Context, c kms.Context, key []byte) ([]byte, error) {
	if err := cloudkey.CheckKey(key); err != nil {
		return nil, err
	}
	if err := check(c); err != nil {
		return nil, err
	}
	call := s.begin(ctx, "wrap key of tenant %q with %s", c.Tenant, s.root)
	defer call.end()
	out, err := s.client.Encrypt(call.ctx, &sdk.EncryptInput{
		KeyId: aws.String(s.root.ID), Plaintext: key, EncryptionContext: encryptionContext(c),
	})
	if err != nil {
		return nil, call.fault(err)
	}
	if len(out.CiphertextBlob) == 0 { // what stands for nothing would never be opened again
		return nil, fault.New(fault.Unavailable, "wrap key of tenant %q with %s: the answer holds no ciphertext", c.Tenant, s.root)
	}
	return append(s.root.Header(s.id), out.CiphertextBlob...), nil
}

// Unwrap implements kms.Service.
func (s *service) Unwrap(ctx context.Context, c kms.Context, wrapped []byte) ([]byte, error) {
	if err := check(c); err != nil {
		return nil, err
	}
	blob, err := s.blob(wrapped)
	if err != nil {
		return nil, err
	}
	call := s.begin(ctx, "unwrap key of tenant %q with %s", c.Tenant, s.root)
	defer call.end()
	// Naming the key keeps AWS from using whichever key the blob names.
	out, err := s.client.Decrypt(call.ctx, &sdk.DecryptInput{
		KeyId: aws.String(s.root.ID), CiphertextBlob: blob, EncryptionContext: encryptionContext(c),
	})
	if err != nil {
		return nil, call.unwrapFault(err)
	}
	return out.Plaintext, nil
}

// Version implements kms.Service. It is always the key's id.
func (s *service) Version(wrapped []byte) (string, error) {
	if _, err := s.blob(wrapped); err != nil {
		return "", err
	}
	return s.id, nil
}

// blob returns what AWS gave us.
func (s *service) blob(wrapped []byte) ([]byte, error) {
	version, blob, err := s.root.Split(wrapped)
	if err == nil && version != s.id {
		err = fault.New(fault.Integrity, "a wrapped key of %s names version %q, and there is only %q", s.root, version, s.id)
	}
	if err != nil {
		return nil, err
	}
	return blob, nil
}

// Describe implements kms.Service.
func (s *service) Describe(ctx context.Context) (kms.Description, error) {
	call := s.begin(ctx, "describe %s", s.root)
	defer call.end()
	if _, err := s.client.DescribeKey(call.ctx, &sdk.DescribeKeyInput{KeyId: aws.String(s.root.ID)}); err != nil {
		return kms.Description{}, call.fault(err)
	}
	return kms.Description{Provider: provider, KeyID: s.root.ID, Version: s.id}, nil
}

// Destroy implements kms.Service by refusing, as the package comment says.
func (s *service) Destroy(_ context.Context, version string) error {
	if version != s.id {
		return fault.New(fault.NotFound, "destroy root key: %s has no version %q", s.root, version)
	}
	return fault.New(fault.Invalid, "destroy root key: AWS deletes %s whole, with all that anybody wrapped under it, and that is left to its owner", s.root).
		WithCode(kms.CodeWholeKey).
		WithHint("move the tenants to a key service with another key; when nothing else uses this one, run: aws kms schedule-key-deletion --key-id %s", s.root.ID)
}

// check refuses a context that is incomplete, or that JSON cannot carry
// unchanged: two items that differ only in what is no UTF-8 would be the same to
// AWS.
func check(c kms.Context) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if !utf8.ValidString(c.App + "\x00" + c.Deployment + "\x00" + c.Tenant + "\x00" + c.Purpose) {
		return fault.New(fault.Invalid, "key context: an item is not UTF-8, which AWS KMS cannot bind")
	}
	return nil
}

func encryptionContext(c kms.Context) map[string]string {
	return map[string]string{
		"app":        c.App,
		"deployment": c.Deployment,
		"tenant":     c.Tenant,
		"purpose":    c.Purpose,
		"version":    strconv.FormatUint(uint64(c.Version), 10),
	}
}
