package engine_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/testenv"
)

// actorOf returns a member of an entry's actor.
func actorOf(past engine.PastEntry, name string) string {
	actor, _ := past.Fields["$actor"].(*canon.Context)
	value, _ := actor.Get(name)
	text, _ := value.(canon.String)
	return string(text)
}

// TestTheLogIsToldThatACredentialWasUsed uses a key from two addresses: the first use from
// each is told at once, those that follow by their number.
func TestTheLogIsToldThatACredentialWasUsed(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	key := env.PersonsKey("bob", "Viewer")
	for _, address := range []string{"192.0.2.7", "192.0.2.7", "198.51.100.1", "192.0.2.7"} {
		if _, err := env.Engine.Authenticate(t.Context(), key, address); err != nil {
			t.Fatal(err)
		}
	}
	usedBy := func(name string) (told []string) {
		for _, past := range entriesOf(t, env, "credential.used") {
			if actorOf(past, "principal") == name {
				told = append(told, fmt.Sprint(actorOf(past, "address"), " ", string(canon.EncodeJSON(past.Fields["$count"]))))
			}
		}
		return told
	}
	if told := usedBy("bob"); len(told) != 2 || told[0] != "192.0.2.7 1" || told[1] != "198.51.100.1 1" {
		t.Errorf("after four uses from two addresses the log says %q", told)
	}
	for range 2 {
		if err := env.Engine.WriteUses(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if told := usedBy("bob"); len(told) != 3 || told[2] != "192.0.2.7 2" {
		t.Errorf("when uses are written down the log says %q", told)
	}
}

// TestUsesOfACredentialAreToldLater has the database refuse leaves for a while, and uses a
// key from more addresses than are told apart.
func TestUsesOfACredentialAreToldLater(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	key := env.PersonsKey("bob", "Viewer")
	noLeaves(t, env)
	for i := range 200 {
		if _, err := env.Engine.Authenticate(t.Context(), key, fmt.Sprintf("192.0.2.%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	leavesAgain(t, env)
	if err := env.Engine.WriteUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	uses, leaves := 0, 0
	for _, past := range entriesOf(t, env, "credential.used") {
		if actorOf(past, "principal") != "bob" {
			continue
		}
		n, _ := past.Fields["$count"].(canon.Number)
		count, err := strconv.Atoi(n.String())
		if err != nil {
			t.Fatal(err)
		}
		uses, leaves = uses+count, leaves+1
	}
	if uses != 200 || leaves != 65 {
		t.Errorf("%d leaves count %d uses, want 200 in 65", leaves, uses)
	}
}

// TestACompanyLearnsOfARefusedKey tries a key that was revoked, and one from where it does
// not count: the company's log is told, and not that of the main tenant.
func TestACompanyLearnsOfARefusedKey(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	acme := env.Tenant("acme")
	key := acme.PersonsKey("bob", "Viewer")
	bob := acme.SignIn(key)
	limited, err := acme.Engine.CreateAPIKey(t.Context(), acme.Ann, api.APIKeyRequest{User: "bob", Networks: []string{"203.0.113.0/24"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := acme.Engine.RevokeAPIKey(t.Context(), acme.Ann, bob.Key, api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	for address, text := range map[string]string{"192.0.2.7": key, "198.51.100.1": limited.Text} {
		if c, err := env.Engine.Authenticate(t.Context(), text, address); !unauthenticated(err) || c.Principal != "" || c.Who != nil {
			t.Fatalf("a key that does not count admits %q, %v", c.Principal, err)
		}
	}
	told := map[string]string{}
	for _, past := range entriesOf(t, acme, "sign_in.failed") {
		told[actorOf(past, "address")] = actorOf(past, "principal")
	}
	if len(told) != 2 || told["198.51.100.1"] != "bob" {
		t.Errorf("the company's log tells of %v, want both addresses, and whose key it was", told)
	}
	if n := len(entriesOf(t, env, "sign_in.failed")); n != 0 {
		t.Errorf("%d entries in the main tenant's log tell of it", n)
	}
}

// TestACompanyLearnsOfWhoTriesToComeIn has strangers come with what names a company: its log
// is told, and the main tenant's of what names none.
func TestACompanyLearnsOfWhoTriesToComeIn(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, withIssuers(words{}))
	acme := env.Tenant("acme")
	inside := api.Networks{All: []string{"192.0.2.0/24"}}
	if _, err := acme.Engine.SetNetworks(t.Context(), acme.Ann, api.NetworksRequest{Networks: inside}, ""); err != nil {
		t.Fatal(err)
	}
	tries := map[string]func(tenant, address string) error{
		"192.0.2.7": func(tenant, address string) error {
			_, err := env.Engine.AuthenticateService(t.Context(), engine.Presented{Tenant: tenant, Token: "robot", Address: address})
			return err
		},
		"198.51.100.2": func(tenant, address string) error { // from outside
			_, err := env.Engine.AuthenticateService(t.Context(), engine.Presented{Tenant: tenant, Token: "robot", Address: address})
			return err
		},
		"192.0.2.8": func(tenant, address string) error {
			_, err := env.Engine.Setup(t.Context(), api.SetupRequest{Link: identity.LinkText.Generate(tenant)}, address)
			return err
		},
		"198.51.100.1": func(tenant, address string) error { // from outside
			_, err := env.Engine.SignIn(t.Context(), api.SignInRequest{Tenant: tenant, Name: "zoe", Password: otherWords}, engine.From{Address: address})
			return err
		},
	}
	for address, try := range tries {
		for _, tenant := range []string{"acme", "none"} {
			if err := try(tenant, address); !unauthenticated(err) {
				t.Errorf("from %s at %s: %v", address, tenant, err)
			}
		}
	}
	for name, at := range map[string]*testenv.Env{"the company's": acme, "the main tenant's": env} {
		told := map[string]bool{}
		for _, past := range entriesOf(t, at, "sign_in.failed") {
			told[actorOf(past, "address")] = true
		}
		if len(told) != len(tries) {
			t.Errorf("%s log tells of %v, want %d addresses", name, told, len(tries))
		}
	}
}

// TestUsesThatCannotBeWrittenDownAreKept has the database refuse them when they are due.
func TestUsesThatCannotBeWrittenDownAreKept(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	key := env.PersonsKey("bob", "Viewer")
	use := func() engine.Caller {
		t.Helper()
		c, err := env.Engine.Authenticate(t.Context(), key, "192.0.2.7")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	use()
	use()
	noLeaves(t, env)
	execRaw(t, env, `CREATE TRIGGER no_uses BEFORE UPDATE ON credentials BEGIN SELECT RAISE(ABORT, 'no uses'); END`)
	for range 2 {
		if err := env.Engine.WriteUses(t.Context()); err == nil {
			t.Error("uses that cannot be written down are nobody's error")
		}
	}
	keys, err := env.Engine.APIKeys(t.Context(), env.Ann, "bob", engine.Page{})
	if err != nil || len(keys.Items) != 1 || keys.Items[0].Used == nil {
		t.Errorf("the key is %+v, %v, want that it was used", keys.Items, err)
	}
	leavesAgain(t, env)
	execRaw(t, env, `DROP TRIGGER no_uses`)
	use()
	if err := env.Engine.WriteUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	var counts []string
	for _, past := range entriesOf(t, env, "credential.used") {
		if actorOf(past, "principal") == "bob" {
			counts = append(counts, string(canon.EncodeJSON(past.Fields["$count"])))
		}
	}
	if !slices.Equal(counts, []string{"1", "2"}) {
		t.Errorf("the log counts %q, want the first use, and two more", counts)
	}
}
