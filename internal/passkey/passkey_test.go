package passkey_test

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/passkey"
	"github.com/underseal/underseal/ledger"
)

func TestForWhichAddressesThereArePasskeys(t *testing.T) {
	for _, c := range []struct{ text, host, origin string }{
		{"https://seal.example.org", "seal.example.org", "https://seal.example.org"},
		{"https://Seal.Example.org/", "seal.example.org", "https://seal.example.org"},
		{"https://seal.example.org:443", "seal.example.org", "https://seal.example.org"},
		{"https://seal.example.org:8443", "seal.example.org", "https://seal.example.org:8443"},
		{"http://localhost:8700", "localhost", "http://localhost:8700"},
		{"http://localhost:80", "localhost", "http://localhost"},
		{"", "", ""},
		{"seal.example.org", "", ""},
		{"http://seal.example.org", "", ""},
		{"https://192.0.2.1", "", ""},
		{"https://[2001:db8::1]:8700", "", ""},
		{"https://seal.example.org/console", "", ""},
		{"https://seal.example.org?x=1", "", ""},
		{"https://ann@seal.example.org", "", ""},
		{"https://", "", ""},
		{"https://:443", "", ""},
		{"ftp://seal.example.org", "", ""},
	} {
		rp, err := passkey.ParseAddress(c.text)
		if c.host == "" {
			if !fault.Is(err, fault.Invalid) || rp.Configured() {
				t.Errorf("%q: %+v, %v, want it refused", c.text, rp, err)
			}
			continue
		}
		if err != nil || rp.ID != c.host || len(rp.Origins) != 1 || rp.Origins[0] != c.origin {
			t.Errorf("%q: %+v, %v, want %s at %s", c.text, rp, err, c.host, c.origin)
		}
	}
}

func clientData(challenge ledger.Hash) []byte {
	return fmt.Appendf(nil, `{"type":"x","challenge":%q}`, base64.RawURLEncoding.EncodeToString(challenge[:]))
}

func TestChallenges(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	all, others := passkey.NewChallenges(), passkey.NewChallenges()
	good := all.New(passkey.Register, "s-1", now)
	if again := all.New(passkey.Register, "s-1", now); again == good {
		t.Error("two challenges are the same")
	}
	changed, later := good, good
	changed[20]++
	later[0]++ // its end
	for _, c := range []struct {
		name   string
		by     *passkey.Challenges
		p      passkey.Purpose
		bound  string
		data   []byte
		at     time.Time
		counts bool
	}{
		{"the one that was given", all, passkey.Register, "s-1", clientData(good), now, true},
		{"to its end", all, passkey.Register, "s-1", clientData(good), now.Add(passkey.Age - time.Second), true},
		{"at its end", all, passkey.Register, "s-1", clientData(good), now.Add(passkey.Age), false},
		{"for something else", all, passkey.SignIn, "s-1", clientData(good), now, false},
		{"of another session", all, passkey.Register, "s-2", clientData(good), now, false},
		{"of another process", others, passkey.Register, "s-1", clientData(good), now, false},
		{"changed", all, passkey.Register, "s-1", clientData(changed), now, false},
		{"prolonged", all, passkey.Register, "s-1", clientData(later), now, false},
		{"cut short", all, passkey.Register, "s-1", []byte(`{"challenge":"AAAA"}`), now, false},
		{"none", all, passkey.Register, "s-1", []byte(`{}`), now, false},
		{"no text", all, passkey.Register, "s-1", []byte(`{"challenge":7}`), now, false},
		{"no object", all, passkey.Register, "s-1", []byte(`[]`), now, false},
		{"no JSON", all, passkey.Register, "s-1", nil, now, false},
	} {
		got, err := c.by.Check(c.p, c.bound, c.data, c.at)
		if (err == nil) != c.counts || c.counts && got != good || err != nil && fault.CodeOf(err) != "challenge_unknown" {
			t.Errorf("%s: %x, %v, want it to count: %v", c.name, got, err, c.counts)
		}
	}
	if err := all.Take(good, now); err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Duration{0, passkey.Age - time.Second, passkey.Age, passkey.Age} { // who checked it in time may take it late
		if err := all.Take(good, now.Add(at)); fault.CodeOf(err) != "challenge_unknown" {
			t.Errorf("taken again after %v: %v", at, err)
		}
	}
}
