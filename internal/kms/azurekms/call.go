package azurekms

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms/cloudkey"
)

// A call is one use of the vault, of one request or a few, with their time limit
// and what errors say about them.
type call struct {
	service *service
	ctx     context.Context
	end     context.CancelFunc
	what    string
}

func (s *service) begin(ctx context.Context, format string, args ...any) call {
	ctx, cancel := context.WithTimeout(ctx, cloudkey.Timeout)
	return call{s, ctx, cancel, fmt.Sprintf(format, args...)}
}

// A keyVersion is one version of a key as the vault describes it.
type keyVersion struct {
	version string
	enabled bool
	key     azkeys.JSONWebKey
}

// newest returns the newest version of the named key.
func (c call) newest(name string) (keyVersion, error) {
	out, err := c.service.client.GetKey(c.ctx, name, "", nil)
	if isMissing(err) {
		return keyVersion{}, c.missing(name, err)
	}
	if err != nil {
		return keyVersion{}, c.fault(err)
	}
	return c.read(out.KeyBundle)
}

// read checks a description of a key.
func (c call) read(bundle azkeys.KeyBundle) (keyVersion, error) {
	if bundle.Key == nil || bundle.Key.KID == nil || !versionPattern.MatchString(bundle.Key.KID.Version()) {
		return keyVersion{}, fault.New(fault.Unavailable, "%s: the vault described a key without a version", c.what)
	}
	enabled := bundle.Attributes == nil || bundle.Attributes.Enabled == nil || *bundle.Attributes.Enabled
	return keyVersion{bundle.Key.KID.Version(), enabled, *bundle.Key}, nil
}

func (c call) wrapOnce(version string, o once) ([]byte, error) {
	out, err := c.service.client.WrapKey(c.ctx, c.service.config.Key, version, azkeys.KeyOperationParameters{
		Algorithm: to.Ptr(azkeys.EncryptionAlgorithmRSAOAEP256), Value: o[:],
	}, nil)
	if err != nil {
		return nil, c.fault(err)
	}
	if len(out.Result) == 0 || len(out.Result) > maxBlob {
		return nil, fault.New(fault.Unavailable, "%s: the vault answered with %d bytes", c.what, len(out.Result))
	}
	return out.Result, nil
}

// maxBlob is what an RSA key of 16,384 bits would give; vaults have 4,096.
const maxBlob = 2048

func (c call) unwrapOnce(version string, blob []byte) (once, error) {
	out, err := c.service.client.UnwrapKey(c.ctx, c.service.config.Key, version, azkeys.KeyOperationParameters{
		Algorithm: to.Ptr(azkeys.EncryptionAlgorithmRSAOAEP256), Value: blob,
	}, nil)
	switch {
	case isMissing(err):
		return once{}, c.gone(version, err)
	case hasStatus(err, http.StatusBadRequest):
		return once{}, c.changed()
	case err != nil:
		return once{}, c.fault(err)
	case len(out.Result) != len(once{}):
		return once{}, c.changed()
	}
	return once(out.Result), nil
}

func (c call) sign(version string, digest [32]byte) ([]byte, error) {
	out, err := c.service.client.Sign(c.ctx, c.service.config.SigningKey, version, azkeys.SignParameters{
		Algorithm: to.Ptr(azkeys.SignatureAlgorithmES256), Value: digest[:],
	}, nil)
	if err != nil {
		return nil, c.fault(err)
	}
	if len(out.Result) != signatureSize {
		return nil, fault.New(fault.Unavailable, "%s: the vault answered with a signature of %d bytes", c.what, len(out.Result))
	}
	return out.Result, nil
}

// verify asks the vault for the public key and checks the signature with it. A
// signing key that was disabled vouches for nothing.
func (c call) verify(version string, digest [32]byte, signature []byte) error {
	out, err := c.service.client.GetKey(c.ctx, c.service.config.SigningKey, version, nil)
	if isMissing(err) {
		if _, err := c.newest(c.service.config.SigningKey); err != nil {
			return err // the whole key is missing, which is nothing that the stored bytes tell
		}
		return c.changed()
	}
	if err != nil {
		return c.fault(err)
	}
	found, err := c.read(out.KeyBundle)
	if err != nil {
		return err
	}
	if !found.enabled {
		return fault.New(fault.Denied, "%s: version %s of the signing key %s is disabled", c.what, version, c.service.config.SigningKey)
	}
	public, err := c.public(found.key)
	if err != nil {
		return err
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(public, digest[:], r, s) {
		return c.changed()
	}
	return nil
}

func (c call) public(key azkeys.JSONWebKey) (*ecdsa.PublicKey, error) {
	if key.Crv != nil && *key.Crv == azkeys.CurveNameP256 && len(key.X) <= 32 && len(key.Y) <= 32 {
		point := make([]byte, 65)
		point[0] = 4
		copy(point[33-len(key.X):], key.X)
		copy(point[65-len(key.Y):], key.Y)
		if public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err == nil {
			return public, nil
		}
	}
	return nil, fault.New(fault.Conflict, "%s: signing_key %s is not an EC key on the curve P-256", c.what, c.service.config.SigningKey)
}

// changed is the fault of a wrapped key that does not fit its place.
func (c call) changed() error {
	return fault.New(fault.Integrity, "%s: the stored bytes were changed or belong elsewhere", c.what)
}

// missing is the fault of a key that is not there by that name.
func (c call) missing(name string, err error) error {
	if deleted, known := c.deleted(name); known && deleted {
		return cloudkey.PendingDeletion(c.what, "az keyvault key recover --name "+name)
	}
	return fault.New(fault.Conflict, "%s: the vault has no key %q: %w", c.what, name, answerOf(err)).WithCode("root_key_missing").
		WithHint("check key and signing_key, and that this is the right vault")
}

// gone is the fault of a version that is not there, though something was
// wrapped under it: our signature says so.
func (c call) gone(version string, err error) error {
	switch deleted, known := c.deleted(c.service.config.Key); {
	case !known:
		return fault.New(fault.Denied, "%s: version %s is not there, and whether it can be recovered cannot be seen: %w", c.what, version, answerOf(err)).
			WithHint("allow keys/get of deleted keys to tell")
	case deleted:
		return cloudkey.PendingDeletion(c.what, "az keyvault key recover --name "+c.service.config.Key)
	}
	return fault.New(fault.NotFound, "%s: version %s was deleted and purged", c.what, version)
}

// deleted reports whether the key is deleted and not yet purged, if that is known.
func (c call) deleted(name string) (deleted, known bool) {
	_, err := c.service.client.GetDeletedKey(c.ctx, name, nil)
	return err == nil, err == nil || isMissing(err)
}

// fault gives the SDK's error its kind.
func (c call) fault(err error) error {
	var signIn *azidentity.AuthenticationFailedError
	if errors.As(err, &signIn) && signIn.RawResponse != nil {
		return (&cloudkey.Answer{Status: signIn.RawResponse.StatusCode, Code: "sign-in", Message: "the directory refused the credentials"}).Fault(c.what)
	}
	if answer := answerOf(err); answer != nil {
		return answer.Fault(c.what)
	}
	return cloudkey.Silence(c.ctx, c.what, err)
}

// answerOf reads a refusal, nil if err is none. The SDK's own text has many
// lines and the whole answer.
func answerOf(err error) *cloudkey.Answer {
	var refusal *azcore.ResponseError
	if !errors.As(err, &refusal) {
		return nil
	}
	answer := &cloudkey.Answer{Status: refusal.StatusCode, Code: refusal.ErrorCode, Message: "see the vault's log"}
	if strings.EqualFold(refusal.ErrorCode, "Throttled") {
		answer.Status = http.StatusTooManyRequests
	}
	if refusal.RawResponse != nil {
		seconds, _ := strconv.Atoi(refusal.RawResponse.Header.Get("Retry-After"))
		answer.Wait = time.Duration(seconds) * time.Second
	}
	return answer
}

func hasStatus(err error, status int) bool {
	var refusal *azcore.ResponseError
	return errors.As(err, &refusal) && refusal.StatusCode == status
}

func isMissing(err error) bool { return hasStatus(err, http.StatusNotFound) }
