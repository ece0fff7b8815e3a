package identity_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

func TestAuthenticate(t *testing.T) {
	env := testenv.New(t, nil)
	other := testenv.New(t, nil)
	good := env.Key()
	flipped := []byte(good)
	flipped[20] ^= 1
	tests := []struct {
		name, key string
	}{
		{"none", ""},
		{"no key at all", "secret"},
		{"a truncated key", good[:len(good)-1]},
		{"a key with a changed letter", string(flipped)},
		{"a key of another tenant", strings.Replace(good, "_main_", "_other_", 1)},
		{"a key of another installation", other.Key()},
		{"a very long text", good + strings.Repeat("a", 10_000)},
	}
	for _, test := range tests {
		t.Run("refuses "+test.name, func(t *testing.T) {
			_, err := env.Engine.Authenticate(t.Context(), test.key, "")
			if !fault.Is(err, fault.Denied) || fault.CodeOf(err) != "unauthenticated" {
				t.Errorf("error = %v, want Denied unauthenticated", err)
			}
			if test.key != "" && strings.Contains(err.Error(), test.key) {
				t.Error("the error quotes the key")
			}
		})
	}
	caller, err := env.Engine.Authenticate(t.Context(), good, "192.0.2.7")
	if err != nil {
		t.Fatal(err)
	}
	if caller.Principal != "ann" || caller.Scope.Tenant() != "main" || caller.Address != "192.0.2.7" || len(caller.Roles) != 1 {
		t.Errorf("caller = %+v, want ann of main with a role", caller)
	}
}

func TestAKeyWithoutARoleMayNothing(t *testing.T) {
	env := testenv.New(t, nil)
	key, err := env.Node.CreateAPIKey(t.Context(), "bob", "Nobody")
	if err != nil {
		t.Fatal(err)
	}
	bob, err := env.Engine.Authenticate(t.Context(), key, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.Instance(t.Context(), bob, "x"); !fault.Is(err, fault.Denied) {
		t.Errorf("reading without a role: %v, want Denied", err)
	}
}

// The checksum keeps mistyped and made-up keys away from the database.
func TestAMistypedKeyIsNotLookedUp(t *testing.T) {
	env := testenv.New(t, nil)
	good, unknown := env.Key(), testenv.New(t, nil).Key()
	flipped := []byte(good)
	flipped[20] ^= 1
	if err := env.Node.Close(); err != nil {
		t.Fatal(err)
	}
	env.Node = nil
	if _, err := env.Engine.Authenticate(t.Context(), unknown, ""); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("a well-formed key without a database: %v, want Unavailable", err)
	}
	if _, err := env.Engine.Authenticate(t.Context(), string(flipped), ""); !fault.Is(err, fault.Denied) {
		t.Errorf("a mistyped key: %v, want Denied", err)
	}
}

func TestAKeyWithTheRowOfAnotherIsRefused(t *testing.T) {
	env := testenv.New(t, nil)
	key, err := env.Node.CreateAPIKey(t.Context(), "bob", "Nobody")
	if err != nil {
		t.Fatal(err)
	}
	bob, err := env.Engine.Authenticate(t.Context(), key, "")
	if err != nil {
		t.Fatal(err)
	}
	env.Restart(func() {
		db, err := sql.Open("sqlite", filepath.Join(env.Config.Data, "data.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		result, err := db.Exec(`UPDATE api_keys SET sealed = (SELECT a.sealed FROM api_keys a WHERE a.token <> api_keys.token)
			WHERE lower(hex(substr(token, 1, 8))) = ?`, bob.Key)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := result.RowsAffected(); n != 1 || err != nil {
			t.Fatalf("%d rows changed, %v, want bob's", n, err)
		}
	})
	if caller, err := env.Engine.Authenticate(t.Context(), key, ""); !fault.Is(err, fault.Integrity) {
		t.Errorf("bob's key with the administrator's row: %+v, %v, want an integrity fault", caller, err)
	}
}
