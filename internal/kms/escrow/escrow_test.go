package escrow_test

import (
	"bytes"
	"crypto/fips140"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms/escrow"
)

var text = []byte(strings.Repeat("the text of a key file\n", 10_000))

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func seal(t *testing.T, to ...*age.X25519Identity) []byte {
	t.Helper()
	var recipients []string
	for _, id := range to {
		recipients = append(recipients, id.Recipient().String())
	}
	copied, err := escrow.Seal(text, recipients)
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	return copied
}

func TestEachRecipientOpensTheCopyAlone(t *testing.T) {
	a, b, other := identity(t), identity(t), identity(t)
	copied := seal(t, a, b)
	if bytes.Contains(copied, text[:20]) || !bytes.HasPrefix(copied, []byte("-----BEGIN AGE ENCRYPTED FILE-----\n")) {
		t.Errorf("the copy begins with %q", copied[:40])
	}
	for name, file := range map[string]string{
		"one":         a.String(),
		"the other":   b.String(),
		"with others": "# a comment\n" + other.String() + "\n" + a.String() + "\n",
	} {
		if got, err := escrow.Open(bytes.NewReader(copied), file); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: Open: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestWhatDoesNotOpenSaysWhy(t *testing.T) {
	a := identity(t)
	copied := seal(t, a)
	damaged := bytes.Replace(copied, []byte("\n"), []byte("\nAAAA"), 3)
	for name, test := range map[string]struct {
		copied []byte
		file   string
		kind   fault.Kind
	}{
		"another identity": {copied, identity(t).String(), fault.Denied},
		"no identity":      {copied, "", fault.Invalid},
		"a public key":     {copied, a.Recipient().String(), fault.Invalid},
		"half a copy":      {copied[:len(copied)/2], a.String(), fault.Integrity},
		"a damaged copy":   {damaged, a.String(), fault.Integrity},
		"nothing":          {nil, a.String(), fault.Integrity},
		"another file":     {text, a.String(), fault.Integrity},
	} {
		got, err := escrow.Open(bytes.NewReader(test.copied), test.file)
		if got != nil || !fault.Is(err, test.kind) {
			t.Errorf("%s: Open: %d bytes, %v, want %s", name, len(got), err, test.kind)
		}
		if strings.Contains(fmt.Sprint(err), "AGE-SECRET-KEY") {
			t.Errorf("%s: the error shows an identity", name)
		}
	}
}

func TestFIPSModeIsSaidToForbidIt(t *testing.T) {
	if !fips140.Enforced() {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPSModeIsSaidToForbidIt$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Fatalf("with GODEBUG=fips140=only: %v\n%s", err, out)
		}
		return
	}
	_, sealErr := escrow.Seal(text, []string{"age1"})
	_, openErr := escrow.Open(bytes.NewReader(text), "AGE-SECRET-KEY-1")
	for _, err := range []error{sealErr, openErr} {
		if fault.CodeOf(err) != "escrow_fips" {
			t.Errorf("%v, want the code escrow_fips", err)
		}
	}
}

func TestARecipientThatIsNoneIsRefused(t *testing.T) {
	a := identity(t)
	for name, recipients := range map[string][]string{
		"none":         {},
		"an identity":  {a.String()},
		"a misspelled": {a.Recipient().String()[:60]},
		"a comment":    {a.Recipient().String(), "# age1"},
		"two in one":   {a.Recipient().String() + "\n" + a.Recipient().String()},
	} {
		_, err := escrow.Seal(text, recipients)
		if !fault.Is(err, fault.Invalid) || strings.Contains(fmt.Sprint(err), "AGE-SECRET-KEY") {
			t.Errorf("%s: Seal: %v, want invalid and no secret shown", name, err)
		}
	}
}
