package gcpkms_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/cloudkey/cloudtest"
	"github.com/underseal/underseal/internal/kms/gcpkms"
	"github.com/underseal/underseal/internal/kms/kmstest"
)

// open returns a service for a key of its own.
func open(t *testing.T, f *fake) (kms.Service, string) {
	t.Helper()
	name := f.addKey()
	s, err := gcpkms.Open(t.Context(), f.config(name))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s, name
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

func TestGCPIsAService(t *testing.T) {
	f := newFake(t)
	kmstest.TestService(t, func(t *testing.T) kms.Service { s, _ := open(t, f); return s })
}

func TestGCPWorksInFIPSMode(t *testing.T) { cloudtest.InFIPSMode(t, "TestGCPIsAService") }

func TestGCPTellsDeniedFromUnreachable(t *testing.T) {
	kmstest.TestFaults(t, func(t *testing.T) (kms.Service, kmstest.Faults) {
		f := newFake(t)
		s, _ := open(t, f)
		return s, f.Faults(refuse(http.StatusForbidden, "PERMISSION_DENIED", "no"), refuse(http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "later"))
	})
}

func TestEachRefusalOfGoogleHasItsKind(t *testing.T) {
	f := newFake(t)
	s, _ := open(t, f)
	wrapped := wrap(t, s)
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   fault.Kind
	}{
		"not allowed":    {refuse(http.StatusForbidden, "PERMISSION_DENIED", "no"), fault.Denied},
		"a stale token":  {refuse(http.StatusUnauthorized, "UNAUTHENTICATED", "no"), fault.Denied},
		"too much":       {refuse(http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "later"), fault.Unavailable},
		"out of order":   {refuse(http.StatusServiceUnavailable, "UNAVAILABLE", "later"), fault.Unavailable},
		"broken":         {refuse(http.StatusInternalServerError, "INTERNAL", "oh"), fault.Unavailable},
		"changed bytes":  {refuse(http.StatusBadRequest, "INVALID_ARGUMENT", "Decryption failed"), fault.Integrity},
		"damaged":        {refuse(http.StatusBadRequest, "INVALID_ARGUMENT", "ciphertext_crc32c differs"), fault.Unavailable},
		"a proxy's page": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }, fault.Unavailable},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusTemporaryRedirect)
		}, fault.Denied},
	} {
		f.Fail(test.answer)
		before := f.Requests()
		if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
		if n := f.Requests() - before; n != 1 {
			t.Errorf("%s: asked %d times, want once", name, n)
		}
	}
}

func TestTheStateOfTheVersionDecides(t *testing.T) {
	for state, want := range map[string]struct {
		kind fault.Kind
		code string
	}{
		"DISABLED":           {fault.Denied, "denied"},
		"DESTROY_SCHEDULED":  {fault.Denied, "key_pending_deletion"},
		"DESTROYED":          {fault.NotFound, "not_found"},
		"PENDING_GENERATION": {fault.Unavailable, "unavailable"},
	} {
		t.Run(state, func(t *testing.T) {
			f := newFake(t)
			s, name := open(t, f)
			wrapped := wrap(t, s)
			set := func(state string) { f.change(func() { f.keys[name].versions[0].state = state }) }
			set(state)
			_, unwrapErr := s.Unwrap(t.Context(), kmstest.Context(), wrapped)
			_, wrapErr := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
			for _, err := range []error{unwrapErr, wrapErr} {
				if !fault.Is(err, want.kind) || fault.CodeOf(err) != want.code {
					t.Errorf("%v (%s), want %s (%s)", err, fault.CodeOf(err), want.kind, want.code)
				}
			}
			set("ENABLED")
			if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); err != nil {
				t.Errorf("Unwrap when that is over: %v", err)
			}
		})
	}
}

func TestADeletedKeyIsDestroyedToWhatItWrappedAndMissingToTheRest(t *testing.T) {
	f := newFake(t)
	s, name := open(t, f)
	wrapped := wrap(t, s)
	f.change(func() { delete(f.keys, name) })
	if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, fault.NotFound) {
		t.Errorf("Unwrap: %v, want not_found", err)
	}
	_, wrapErr := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
	_, describeErr := s.Describe(t.Context())
	for _, err := range []error{wrapErr, describeErr} {
		if !fault.Is(err, fault.Conflict) || fault.CodeOf(err) != "root_key_missing" {
			t.Errorf("%v, want conflict", err)
		}
	}
}

func TestDestroyBeginsTheWaitingPeriodAndCanBeRepeated(t *testing.T) {
	f := newFake(t)
	f.change(func() { f.keeps = true })
	s, name := open(t, f)
	wrapped := wrap(t, s)
	for range 2 {
		if err := s.Destroy(t.Context(), "1"); err != nil {
			t.Fatalf("Destroy: %v", err)
		}
	}
	if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); fault.CodeOf(err) != "key_pending_deletion" {
		t.Errorf("Unwrap in the waiting period: %v", err)
	}
	f.change(func() { f.keys[name].versions[0].state = "DESTROYED" })
	if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, fault.NotFound) {
		t.Errorf("Unwrap after it: %v, want not_found", err)
	}
	if d, err := s.Describe(t.Context()); err != nil || d.Version != "" {
		t.Errorf("Describe: %+v, %v, want no version", d, err)
	}
}

func TestRotateWaitsForAHardwareModule(t *testing.T) {
	f := newFake(t)
	s, name := open(t, f)
	f.change(func() { f.hsm = 3 })
	if version, err := s.(kms.Rotator).Rotate(t.Context()); err != nil || version != "2" {
		t.Errorf("Rotate: %q, %v, want 2", version, err)
	}
	f.change(func() { f.hsm = 1 << 30 })
	ctx, cancel := context.WithCancel(t.Context())
	f.change(func() { f.tamper = func(map[string]any) { cancel() } })
	if version, err := s.(kms.Rotator).Rotate(ctx); !fault.Is(err, fault.Unavailable) || version != "" {
		t.Errorf("Rotate without an end: %q, %v, want unavailable", version, err)
	}
	f.change(func() {
		if n := f.keys[name].primary; n != 2 {
			t.Errorf("version %d is primary, want 2", n)
		}
	})
}

func TestChecksumsAreSentAndChecked(t *testing.T) {
	for name, tamper := range map[string]func(out map[string]any){
		"a ciphertext that was damaged":  func(out map[string]any) { flip(out, "ciphertext") },
		"a ciphertext without a sum":     func(out map[string]any) { delete(out, "ciphertextCrc32c") },
		"a key that arrived damaged":     func(out map[string]any) { out["verifiedPlaintextCrc32c"] = false },
		"a context that arrived damaged": func(out map[string]any) { delete(out, "verifiedAdditionalAuthenticatedDataCrc32c") },
		"a ciphertext of another key":    func(out map[string]any) { out["name"] = strings.Replace(out["name"].(string), "root", "toor", 1) },
		"a ciphertext of another version": func(out map[string]any) {
			out["name"] = strings.Replace(out["name"].(string), "Versions/1", "Versions/2", 1)
		},
		"a ciphertext of nobody knows what":   func(out map[string]any) { delete(out, "name") },
		"a ciphertext that is no base64 text": func(out map[string]any) { out["ciphertext"] = "?" },
	} {
		f := newFake(t)
		s, _ := open(t, f)
		f.change(func() {
			f.tamper = func(out map[string]any) {
				if out["ciphertext"] != nil {
					tamper(out)
				}
			}
		})
		if wrapped, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, fault.Unavailable) || wrapped != nil {
			t.Errorf("Wrap with %s: %v, want unavailable", name, err)
		}
	}
	for name, tamper := range map[string]func(out map[string]any){
		"a key that was damaged":       func(out map[string]any) { flip(out, "plaintext") },
		"a key without a sum":          func(out map[string]any) { delete(out, "plaintextCrc32c") },
		"a key that is no base64 text": func(out map[string]any) { out["plaintext"] = "?" },
	} {
		f := newFake(t)
		s, _ := open(t, f)
		wrapped := wrap(t, s)
		f.change(func() { f.tamper = tamper })
		if key, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, fault.Unavailable) || key != nil {
			t.Errorf("Unwrap with %s: %v, want unavailable", name, err)
		}
	}
}

// flip changes a bit of bytes in an answer.
func flip(out map[string]any, member string) {
	b := append([]byte{}, out[member].([]byte)...)
	b[len(b)-1] ^= 1
	out[member] = b
}

func TestATokenIsKeptAndCredentialsAreReadForTheNext(t *testing.T) {
	f := newFake(t)
	text := accountFile()
	c := f.config(f.addKey())
	c.Credentials = func(context.Context) (string, error) { return text, nil }
	s, err := gcpkms.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	wrap(t, s)
	wrap(t, s)
	f.change(func() {
		if len(f.tokens) != 1 {
			t.Errorf("%d sign-ins, want one", len(f.tokens))
		}
		f.refuses = true
	})
	another, err := gcpkms.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := another.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, fault.Denied) {
		t.Errorf("Wrap with an account that is refused: %v, want denied", err)
	}
	for _, text = range []string{"", "{", `{"type":"external_account"}`, `{"type":"authorized_user"}`} {
		if _, err := another.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, fault.Unavailable) {
			t.Errorf("Wrap with credentials %q: %v, want unavailable", text, err)
		}
	}
}

func TestTheEnvironmentDoesNotSayWhereKeysGo(t *testing.T) {
	t.Setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "elsewhere.example")
	s, _ := open(t, newFake(t))
	wrap(t, s)
}

func TestAmbientCredentialsAreUsedOnlyWhenAskedFor(t *testing.T) {
	f := newFake(t)
	path := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(path, []byte(accountFile()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	s, err := gcpkms.Open(t.Context(), gcpkms.Config{Key: f.addKey(), Ambient: true, Transport: f.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	wrap(t, s)
	c := f.config(f.addKey())
	c.Credentials = secret("{}")
	if s, err = gcpkms.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Wrap with credentials that are none: %v, want unavailable", err)
	}
}

func TestOpenRefusesNonsense(t *testing.T) {
	const key = "projects/acme/locations/europe-west3/keyRings/underseal/cryptoKeys/root"
	good := gcpkms.Config{Key: key, Credentials: secret(accountFile())}
	for name, edit := range map[string]func(*gcpkms.Config){
		"no key":                 func(c *gcpkms.Config) { c.Key = "" },
		"a name alone":           func(c *gcpkms.Config) { c.Key = "root" },
		"a version":              func(c *gcpkms.Config) { c.Key += "/cryptoKeyVersions/1" },
		"a path":                 func(c *gcpkms.Config) { c.Key = strings.Replace(key, "acme", "a/../b", 1) },
		"no credentials":         func(c *gcpkms.Config) { c.Credentials = nil },
		"credentials of 2 kinds": func(c *gcpkms.Config) { c.Ambient = true },
		"keys in clear":          func(c *gcpkms.Config) { c.Endpoint = "http://kms.example.org" },
	} {
		c := good
		edit(&c)
		if _, err := gcpkms.Open(t.Context(), c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	if _, err := gcpkms.Open(t.Context(), good); err != nil {
		t.Errorf("good settings: %v", err)
	}
}
