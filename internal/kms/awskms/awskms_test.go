package awskms_test

import (
	"context"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/awskms"
	"github.com/underseal/underseal/internal/kms/cloudkey/cloudtest"
	"github.com/underseal/underseal/internal/kms/kmstest"
)

func secret(text string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return text, nil }
}

// open returns a service for a key of its own.
func open(t *testing.T, f *fake) (kms.Service, string) {
	t.Helper()
	arn := f.addKey()
	s, err := awskms.Open(t.Context(), f.config(arn))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s, arn
}

// wrap returns a key wrapped in the usual context.
func wrap(t *testing.T, s kms.Service) []byte {
	t.Helper()
	wrapped, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
	if err != nil {
		t.Fatalf("Wrap: %v", err)
	}
	return wrapped
}

func TestAWSIsAService(t *testing.T) {
	f := newFake(t)
	kmstest.TestService(t, func(t *testing.T) kms.Service { s, _ := open(t, f); return s })
}

func TestAWSWorksInFIPSMode(t *testing.T) { cloudtest.InFIPSMode(t, "TestAWSIsAService") }

func TestAWSTellsDeniedFromUnreachable(t *testing.T) {
	kmstest.TestFaults(t, func(t *testing.T) (kms.Service, kmstest.Faults) {
		f := newFake(t)
		s, _ := open(t, f)
		return s, f.Faults(refuse(http.StatusBadRequest, "AccessDeniedException"), refuse(http.StatusBadRequest, "ThrottlingException"))
	})
}

func TestEachRefusalOfAWSHasItsKind(t *testing.T) {
	f := newFake(t)
	s, _ := open(t, f)
	wrapped := wrap(t, s)
	for code, want := range map[string]fault.Kind{
		"AccessDeniedException":       fault.Denied,
		"DisabledException":           fault.Denied,
		"UnrecognizedClientException": fault.Denied,
		"InvalidSignatureException":   fault.Denied,
		"ExpiredTokenException":       fault.Denied,
		"InvalidKeyUsageException":    fault.Denied,
		"KMSInternalException":        fault.Unavailable,
		"DependencyTimeoutException":  fault.Unavailable,
		"KeyUnavailableException":     fault.Unavailable,
		"LimitExceededException":      fault.Unavailable,
		"ThrottlingException":         fault.Unavailable,
		"InvalidCiphertextException":  fault.Integrity,
		"IncorrectKeyException":       fault.Conflict,
		"NotFoundException":           fault.NotFound,
	} {
		f.Fail(refuse(http.StatusBadRequest, code))
		before := f.Requests()
		if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, want) {
			t.Errorf("%s: %v, want %s", code, err, want)
		}
		if n := f.Requests() - before; n != 1 {
			t.Errorf("%s: asked %d times, want once", code, n)
		}
	}
	f.Fail(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) })
	if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a proxy's error: %v, want unavailable", err)
	}
}

func TestAnAnswerWithoutACiphertextIsNoKey(t *testing.T) {
	f := newFake(t)
	s, _ := open(t, f)
	f.Fail(func(http.ResponseWriter, *http.Request) {})
	if wrapped, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, fault.Unavailable) || wrapped != nil {
		t.Errorf("%x, %v", wrapped, err)
	}
}

func TestTheStateOfTheKeyDecides(t *testing.T) {
	for state, want := range map[string]struct {
		kind fault.Kind
		code string
	}{
		"Disabled":        {fault.Denied, "denied"},
		"PendingDeletion": {fault.Denied, "key_pending_deletion"},
		"PendingImport":   {fault.Denied, "denied"},
		"Unavailable":     {fault.Unavailable, "unavailable"},
	} {
		t.Run(state, func(t *testing.T) {
			f := newFake(t)
			s, arn := open(t, f)
			wrapped := wrap(t, s)
			f.change(arn, func(k *fakeKey) { k.state = state })
			_, unwrapErr := s.Unwrap(t.Context(), kmstest.Context(), wrapped)
			_, wrapErr := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
			for _, err := range []error{unwrapErr, wrapErr} {
				if !fault.Is(err, want.kind) || fault.CodeOf(err) != want.code {
					t.Errorf("%v (%s), want %s (%s)", err, fault.CodeOf(err), want.kind, want.code)
				}
			}
			f.change(arn, func(k *fakeKey) { k.state = "Enabled" })
			if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); err != nil {
				t.Errorf("Unwrap when that is over: %v", err)
			}
		})
	}
}

func TestADeletedKeyIsDestroyedToWhatItWrappedAndMissingToTheRest(t *testing.T) {
	f := newFake(t)
	s, arn := open(t, f)
	wrapped := wrap(t, s)
	f.change(arn, nil)
	if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, fault.NotFound) {
		t.Errorf("Unwrap: %v, want not_found", err)
	}
	if _, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, fault.Conflict) {
		t.Errorf("Wrap: %v, want conflict", err)
	}
	if _, err := s.Describe(t.Context()); !fault.Is(err, fault.Conflict) {
		t.Errorf("Describe: %v, want conflict", err)
	}
}

func TestTheContextIsAWSsOwnEncryptionContext(t *testing.T) {
	f := newFake(t)
	s, _ := open(t, f)
	if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrap(t, s)); err != nil {
		t.Fatal(err)
	}
	seen := f.seen()
	if len(seen) != 2 {
		t.Fatalf("%d calls, want 2", len(seen))
	}
	want := map[string]string{"app": "underseal", "deployment": "d1", "tenant": "main", "purpose": "data", "version": "1"}
	for _, got := range seen {
		if !maps.Equal(got, want) {
			t.Errorf("encryption context %v, want %v", got, want)
		}
	}
	// JSON would turn both bytes into the same replacement character.
	c := kmstest.Context()
	c.Tenant = "a\xff"
	if _, err := s.Wrap(t.Context(), c, make([]byte, 32)); !fault.Is(err, fault.Invalid) {
		t.Errorf("Wrap in a context that is no UTF-8: %v, want invalid", err)
	}
}

func TestRotationInAWSIsInvisible(t *testing.T) {
	f := newFake(t)
	s, arn := open(t, f)
	old := wrap(t, s)
	f.change(arn, (*fakeKey).rotate)
	fresh := wrap(t, s)
	for _, wrapped := range [][]byte{old, fresh} {
		if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); err != nil {
			t.Errorf("Unwrap: %v", err)
		}
		if version, err := s.Version(wrapped); err != nil || !strings.HasSuffix(arn, "key/"+version) {
			t.Errorf("Version: %q, %v, want the key's id", version, err)
		}
	}
	if _, ok := s.(kms.Rotator); ok {
		t.Error("the service says it can make versions, and could destroy none of them")
	}
}

func TestASecretThatIsWrongIsDeniedAndOneThatIsMissingAnOutage(t *testing.T) {
	const wrong = "a secret that was taken back"
	for want, read := range map[fault.Kind]func(context.Context) (string, error){
		fault.Denied:      secret(wrong),
		fault.Unavailable: func(context.Context) (string, error) { return "", fault.New(fault.NotFound, "no such file") },
	} {
		f := newFake(t)
		c := f.config(f.addKey())
		c.Secret = read
		s, err := awskms.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, want) || strings.Contains(err.Error(), wrong) {
			t.Errorf("Wrap: %v, want %s, without the secret", err, want)
		}
	}
}

func TestTheEnvironmentDoesNotSayWhereKeysGo(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", "https://elsewhere.example")
	t.Setenv("AWS_ENDPOINT_URL_KMS", "https://elsewhere.example")
	t.Setenv("AWS_REGION", "us-east-1")
	s, _ := open(t, newFake(t))
	wrap(t, s)
}

func TestAmbientCredentialsAreUsedOnlyWhenAskedFor(t *testing.T) {
	f := newFake(t)
	arn := f.addKey()
	t.Setenv("AWS_ACCESS_KEY_ID", accessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	nothing := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", nothing)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", nothing)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_CA_BUNDLE", "") // the fake's transport has its own
	s, err := awskms.Open(t.Context(), awskms.Config{Key: arn, Ambient: true, Transport: f.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	wrap(t, s)
	c := f.config(arn)
	c.AccessKeyID = "AKIAI44QH8DHBEXAMPLE"
	if s, err = awskms.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, fault.Denied) {
		t.Errorf("Wrap as somebody unknown: %v, want denied", err)
	}
}

func TestOpenRefusesNonsense(t *testing.T) {
	const key = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	good := awskms.Config{Key: key, AccessKeyID: accessKeyID, Secret: secret(secretKey)}
	for name, edit := range map[string]func(*awskms.Config){
		"no key":                 func(c *awskms.Config) { c.Key = "" },
		"an id without its ARN":  func(c *awskms.Config) { c.Key = "1234abcd-12ab-34cd-56ef-1234567890ab" },
		"an alias":               func(c *awskms.Config) { c.Key = strings.Replace(key, "key/", "alias/", 1) },
		"another service's ARN":  func(c *awskms.Config) { c.Key = strings.Replace(key, "kms", "s3", 1) },
		"no account":             func(c *awskms.Config) { c.Key = strings.Replace(key, "111122223333", "", 1) },
		"no region":              func(c *awskms.Config) { c.Key = strings.Replace(key, region, "", 1) },
		"a host as the region":   func(c *awskms.Config) { c.Key = strings.Replace(key, region, "example.org/", 1) },
		"a path after the key":   func(c *awskms.Config) { c.Key += "/x" },
		"no credentials":         func(c *awskms.Config) { c.AccessKeyID, c.Secret = "", nil },
		"an id without secret":   func(c *awskms.Config) { c.Secret = nil },
		"a secret without id":    func(c *awskms.Config) { c.AccessKeyID = "" },
		"credentials of 2 kinds": func(c *awskms.Config) { c.Ambient = true },
		"keys in clear":          func(c *awskms.Config) { c.Endpoint = "http://kms.example.org" },
		"an endpoint's password": func(c *awskms.Config) { c.Endpoint = "https://a:b@kms.example.org" },
		"an endpoint's path":     func(c *awskms.Config) { c.Endpoint = "https://kms.example.org/x" },
	} {
		c := good
		edit(&c)
		if _, err := awskms.Open(t.Context(), c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	if _, err := awskms.Open(t.Context(), good); err != nil {
		t.Errorf("good settings: %v", err)
	}
}
