package hsm_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/underseal/underseal/cmd/underseal-pkcs11/internal/hsm"
	"github.com/underseal/underseal/cmd/underseal-pkcs11/internal/softhsm"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms/kmstest"
)

func TestMain(m *testing.M) {
	if err := softhsm.Check(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// create makes a root key in a token, which is the only one that this process has
// at a time.
func create(t *testing.T, pin func() (string, error)) (*hsm.RootKey, *softhsm.Token) {
	t.Helper()
	s := softhsm.New(t)
	t.Setenv("SOFTHSM2_CONF", s.Config())
	key, err := hsm.Create(t.Context(), hsm.Config{Module: softhsm.Module(), Token: softhsm.Label, Key: "underseal", PIN: pin})
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	t.Cleanup(key.Close)
	return key, s
}

// loseToken has the module forget everything, as one does whose token was away.
func loseToken(t *testing.T) {
	t.Helper()
	if err := pkcs11.New(softhsm.Module()).Finalize(); err != nil {
		t.Fatal(err)
	}
}

func TestALostTokenIsAnOutageUntilItIsBack(t *testing.T) {
	key, _ := create(t, func() (string, error) { return softhsm.PIN, nil })
	wrapped, err := key.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		loseToken(t)
		if _, err := key.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, fault.Unavailable) {
			t.Fatalf("Unwrap without its token: %v, want unavailable", err)
		}
		if _, err := key.Unwrap(t.Context(), kmstest.Context(), wrapped); err != nil {
			t.Fatalf("Unwrap with its token back: %v", err)
		}
	}
}

// Whoever tries a wrong PIN again and again locks the token for everybody.
func TestARefusedPINIsNotTriedAgain(t *testing.T) {
	pin, asked := softhsm.PIN, 0
	key, s := create(t, func() (string, error) { asked++; return pin, nil })
	loseToken(t)
	pin = "999999"
	for range 3 {
		if _, err := key.Describe(t.Context()); fault.Is(err, fault.Unavailable) {
			continue // it finds out that the token was lost
		} else if !fault.Is(err, fault.Denied) || fault.CodeOf(err) != "pin_refused" {
			t.Fatalf("Describe with a wrong PIN: %v, want denied", err)
		}
	}
	// The wrong one becomes the right one, and would be accepted if it were tried.
	s.Tool(t, "--change-pin", "--new-pin", pin)
	if _, err := key.Describe(t.Context()); !fault.Is(err, fault.Denied) {
		t.Errorf("Describe: %v, so the PIN was tried again", err)
	}
	if pin = " " + pin; asked < 3 {
		t.Errorf("the PIN was asked for %d times, want each time", asked)
	}
	if _, err := key.Describe(t.Context()); !fault.Is(err, fault.Denied) {
		t.Errorf("Describe with another wrong PIN: %v, want denied", err)
	}
	pin = "999999"
	if _, err := key.Describe(t.Context()); err != nil {
		t.Errorf("Describe with the right PIN after a wrong one: %v", err)
	}
}

func TestAVersionWithAMarkIsDestroyedEvenIfItsKeyIsThere(t *testing.T) {
	key, s := create(t, func() (string, error) { return softhsm.PIN, nil })
	wrapped, err := key.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	// What a crash in the middle of Destroy leaves.
	s.Write(t, "mark", string(wrapped[1:21]))
	s.Tool(t, "--write-object", s.Path("mark"), "--type", "data", "--label", "underseal", "--private",
		"--application-label", "underseal: destroyed version")
	if _, err := key.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, fault.NotFound) {
		t.Errorf("Unwrap: %v, want not_found", err)
	}
	if err := key.Destroy(t.Context(), "1"); err != nil {
		t.Fatalf("Destroy: %v", err)
	}
	module := s.Tool(t, "--list-objects", "--type", "secrkey")
	if module != "" {
		t.Errorf("the token still has\n%s", module)
	}
	if _, err := key.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, fault.NotFound) {
		t.Errorf("Unwrap after that: %v, want not_found", err)
	}
}

func TestAPINThatCannotBeReadIsSaid(t *testing.T) {
	s := softhsm.New(t)
	t.Setenv("SOFTHSM2_CONF", s.Config())
	missing := errors.New("no such file")
	_, err := hsm.Open(t.Context(), hsm.Config{Module: softhsm.Module(), Token: softhsm.Label, Key: "underseal",
		PIN: func() (string, error) { return "", missing }})
	if !errors.Is(err, missing) {
		t.Errorf("Open: %v, want its cause", err)
	}
}
