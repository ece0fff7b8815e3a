package password_test

import (
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha256"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/password"
)

const words = "four walls and a blue door"

// mac is that of one tenant or another.
func mac(tenant string) password.MAC {
	return func(hash []byte) [32]byte {
		h := hmac.New(sha256.New, []byte("the key of the tenant "+tenant))
		h.Write(hash)
		return [32]byte(h.Sum(nil))
	}
}

func TestOnlyThePasswordMatches(t *testing.T) {
	kept, err := password.Keep(words, mac("main"))
	if err != nil {
		t.Fatal(err)
	}
	head := "$argon2id$v=19$m=19456,t=2,p=1$"
	if fips140.Enabled() {
		head = "$pbkdf2-sha512$i=210000$"
	}
	if !strings.HasPrefix(kept, head) || strings.Contains(kept, words) || !password.Usable(kept) {
		t.Errorf("kept is %q, want %q and what says nothing", kept, head)
	}
	again, err := password.Keep(words, mac("main"))
	if err != nil || again == kept {
		t.Errorf("the same password is kept as the same text: %v", err)
	}
	for _, c := range []struct {
		name, kept, tried, tenant string
		matches                   bool
	}{
		{"the password", kept, words, "main", true},
		{"another one", kept, words + ".", "main", false},
		{"in upper case", kept, strings.ToUpper(words), "main", false},
		{"none", kept, "", "main", false},
		{"under another tenant's key", kept, words, "acme", false},
		{"where none is kept", "", words, "main", false},
		{"where none is kept, and none is tried", "", "", "main", false},
		{"where another text is kept", head + "x", words, "main", false},
		{"of another scheme", "$argon2i$v=19$m=19456,t=2,p=1$" + strings.TrimPrefix(kept, head), words, "main", false},
		{"of less work", strings.NewReplacer("m=19456", "m=8", "i=210000", "i=1").Replace(kept), words, "main", false},
		{"with a cut salt", strings.Replace(kept, head, head[:len(head)-1]+"$A", 1), words, "main", false},
		{"without its last letter", kept[:len(kept)-1], words, "main", false},
	} {
		if got, err := password.Matches(c.kept, c.tried, mac(c.tenant)); err != nil || got != c.matches {
			t.Errorf("%s matches: %v, %v, want %v", c.name, got, err, c.matches)
		}
	}
}

// TestInFIPSMode runs the tests of this package as an installation does that may use
// approved algorithms alone.
func TestInFIPSMode(t *testing.T) {
	if fips140.Enabled() {
		t.Skip("this is that run")
	}
	cmd := exec.Command(os.Args[0], "-test.run", "TestOnlyThePasswordMatches", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestOnlyThePasswordMatches") {
		t.Errorf("with GODEBUG=fips140=only: %v\n%s", err, out)
	}
}

func TestWhatIsNoPassword(t *testing.T) {
	known := []string{"zoe", "Zoe Zimmermann", "acme", ""}
	for _, c := range []struct{ text, code string }{
		{words, ""},
		{"Ünïcödé wörds, fifteen", ""},
		{strings.Repeat("abcde", 200), ""},
		{"", "password_too_short"},
		{"fourteen signs", "password_too_short"},
		{strings.Repeat("é", 14), "password_too_short"},
		{strings.Repeat("abcde", 205), "password_too_long"},
		{"not UTF-8 at all \xff", "password_malformed"},
		{strings.Repeat("a", 30), "password_guessable"},
		{"abcdabcdabcdabcdabcd", "password_guessable"},
		{"Zoe Zimmermann 12", "password_guessable"},
		{"ACMEacmeZOEzoe1234", "password_guessable"},
		{"known from a breach", "password_breached"},
		{"a list that is away", "unavailable"},
	} {
		if err := password.Check(c.text, known, breaches{}); fault.CodeOf(err) != c.code && !(c.code == "unavailable" && fault.Is(err, fault.Unavailable)) {
			t.Errorf("%q: %v, want %q", c.text, err, c.code)
		}
	}
	if err := password.Check("known from a breach", known, nil); err != nil {
		t.Errorf("without a list: %v", err)
	}
}

type breaches struct{}

func (breaches) Contains(text string) (bool, error) {
	if text == "a list that is away" {
		return false, fault.New(fault.Unavailable, "away")
	}
	return text == "known from a breach", nil
}
