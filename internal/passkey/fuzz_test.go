package passkey_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/passkey"
	"github.com/underseal/underseal/ledger"
)

// Whatever a browser says it has answered, only a challenge that was given counts.
func FuzzCheck(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	challenges := passkey.NewChallenges()
	given := challenges.New(passkey.SignIn, "", now)
	said := func(c ledger.Hash) []byte {
		return fmt.Appendf(nil, `{"type":"webauthn.get","challenge":%q}`, base64.RawURLEncoding.EncodeToString(c[:]))
	}
	f.Add(said(given))
	f.Add(said(passkey.NewChallenges().New(passkey.SignIn, "", now)))
	f.Add(said(challenges.New(passkey.Register, "ann", now)))
	f.Add([]byte(`{"challenge":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, client []byte) {
		got, err := challenges.Check(passkey.SignIn, "", client, now)
		if err == nil && got != given || err != nil && !fault.Is(err, fault.Denied) {
			t.Errorf("%q: %x, %v", client, got, err)
		}
	})
}

// An address that there are passkeys for is one that a browser shows.
func FuzzParseAddress(f *testing.F) {
	for _, text := range []string{"https://seal.example.org:8443/", "http://localhost:80", "https://[::1]", "https://ann@x?y#z", "https://x:0", "https://:"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rp, err := passkey.ParseAddress(text)
		if err != nil {
			if !fault.Is(err, fault.Invalid) || rp.Configured() {
				t.Errorf("%q: %+v, %v", text, rp, err)
			}
			return
		}
		if !rp.Configured() || len(rp.Origins) != 1 || !strings.Contains(rp.Origins[0], "://"+rp.ID) {
			t.Fatalf("%q is %+v", text, rp)
		}
		if again, err := passkey.ParseAddress(rp.Origins[0]); err != nil || again.ID != rp.ID || again.Origins[0] != rp.Origins[0] {
			t.Errorf("%q is %+v, and its origin is %+v, %v", text, rp, again, err)
		}
	})
}
