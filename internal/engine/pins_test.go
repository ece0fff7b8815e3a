package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// objectTables hold all of an object that is no instance, but for its places in the
// log, which a start compares with the tree.
var objectTables = []string{"heads", "steps", "fields", "leaves", "definitions", "custodies", "credentials", "tokens", "unique_tokens"}

// keepRows remembers all rows of the data.
func keepRows(t *testing.T, env *testenv.Env) {
	t.Helper()
	for _, table := range objectTables {
		execRaw(t, env, fmt.Sprintf(`CREATE TABLE kept_%s AS SELECT * FROM %s`, table, table))
	}
}

// setBack gives an object the rows that were kept, and no others: none, if it was not
// there then.
func setBack(t *testing.T, env *testenv.Env, object string) {
	t.Helper()
	for _, table := range objectTables {
		execRaw(t, env, fmt.Sprintf(`DELETE FROM %[1]s WHERE object = x'%[2]s'; INSERT INTO %[1]s SELECT * FROM kept_%[1]s WHERE object = x'%[2]s'; DROP TABLE kept_%[1]s`,
			table, strings.ReplaceAll(object, "-", "")))
	}
}

// ruler is an object that says what may be done: how it is changed, and what its change
// must go on to prevent.
type ruler struct {
	name    string
	prepare func(t *testing.T, env *testenv.Env)
	change  func(t *testing.T, env *testenv.Env) (object string)
	then    func(t *testing.T, env *testenv.Env) error
}

func signers(t *testing.T, env *testenv.Env) error {
	_, err := env.Engine.Signers(t.Context(), env.Ann)
	return err
}

var rulers = []ruler{
	{"a signer whose key was revoked", func(t *testing.T, env *testenv.Env) { register(t, env, "scorer", newKey(t)) },
		func(t *testing.T, env *testenv.Env) string { return revoke(t, env, "scorer").Object }, signers},
	{"a signer that is gone", func(*testing.T, *testenv.Env) {},
		func(t *testing.T, env *testenv.Env) string { return register(t, env, "scorer", newKey(t)).Object }, signers},
	{"a process that was made confidential", func(*testing.T, *testenv.Env) {},
		func(t *testing.T, env *testenv.Env) string {
			p, err := env.Engine.SetMode(t.Context(), env.Ann, "timed", "confidential", "")
			if err != nil {
				t.Fatal(err)
			}
			return p.Definition
		}, startTimed},
	{"the newest version of a process", func(*testing.T, *testenv.Env) {},
		func(t *testing.T, env *testenv.Env) string {
			return env.Deploy("timed.bpmn", strings.Replace(withTimer, "targetNamespace", `name="two" targetNamespace`, 1)).Processes[0].Definition
		}, startTimed},
	{"a hold", func(*testing.T, *testenv.Env) {},
		holdPerson, func(t *testing.T, env *testenv.Env) error {
			_, err := order(t, env, "subject", "p-1", time.Hour)
			return err
		}},
	{"a hold around what is to be erased", func(*testing.T, *testenv.Env) {},
		holdPerson, func(t *testing.T, env *testenv.Env) error {
			_, err := order(t, env, "subject", "p-2", time.Hour)
			return err
		}},
	{"a role that was taken", func(t *testing.T, env *testenv.Env) { bobsKey = env.PersonsKey("bob", "Viewer") },
		func(t *testing.T, env *testenv.Env) string {
			return objectOf(t)(env.Engine.TakeUserRole(t.Context(), env.Ann, "bob", api.RoleRequest{Role: "Viewer"}, ""))
		}, bobSignsIn},
	{"a grant that was revoked", func(t *testing.T, env *testenv.Env) {
		bobsKey = env.PersonsKey("bob")
		bobsGrant = give(t, env, api.GrantRequest{User: "bob", Right: "view", Process: "*"}).ID
	}, func(t *testing.T, env *testenv.Env) string {
		if _, err := env.Engine.RevokeGrant(t.Context(), env.Ann, bobsGrant, api.ReasonRequest{}, ""); err != nil {
			t.Fatal(err)
		}
		return objectOf(t)(env.Engine.User(t.Context(), env.Ann, "bob"))
	}, bobSignsIn},
	{"a key that was revoked", func(t *testing.T, env *testenv.Env) { bobsKey = env.PersonsKey("bob", "Viewer") },
		func(t *testing.T, env *testenv.Env) string {
			key := env.SignIn(bobsKey).Key
			if _, err := env.Engine.RevokeAPIKey(t.Context(), env.Ann, key, api.ReasonRequest{}, ""); err != nil {
				t.Fatal(err)
			}
			return objectOf(t)(env.Engine.User(t.Context(), env.Ann, "bob"))
		}, bobSignsIn},
	{"somebody who was disabled", func(t *testing.T, env *testenv.Env) { bobsKey = env.PersonsKey("bob", "Viewer") },
		func(t *testing.T, env *testenv.Env) string {
			return objectOf(t)(env.Engine.DisableUser(t.Context(), env.Ann, "bob", api.ReasonRequest{}, ""))
		}, bobSignsIn},
	{"somebody who is gone", func(*testing.T, *testenv.Env) {},
		func(t *testing.T, env *testenv.Env) string {
			env.Person("bob", "Viewer")
			return objectOf(t)(env.Engine.User(t.Context(), env.Ann, "bob"))
		}, func(t *testing.T, env *testenv.Env) error {
			_, err := env.Engine.Users(t.Context(), env.Ann, engine.Page{})
			return err
		}},
	{"a role that a group gave", func(t *testing.T, env *testenv.Env) {
		if _, err := env.Engine.CreateGroup(t.Context(), env.Ann, api.GroupRequest{Name: "g", Roles: []string{"Viewer"}}, ""); err != nil {
			t.Fatal(err)
		}
		bobsKey = env.PersonsKey("bob")
		if _, err := env.Engine.JoinGroup(t.Context(), env.Ann, "bob", api.MemberRequest{Group: "g"}, ""); err != nil {
			t.Fatal(err)
		}
	}, func(t *testing.T, env *testenv.Env) string {
		g, err := env.Engine.TakeGroupRole(t.Context(), env.Ann, "g", api.RoleRequest{Role: "Viewer"}, "")
		if err != nil {
			t.Fatal(err)
		}
		return g.Object
	}, bobSignsIn},
	{"networks that were set", func(t *testing.T, env *testenv.Env) { bobsKey = env.PersonsKey("bob") },
		func(t *testing.T, env *testenv.Env) string {
			s, err := env.Engine.SetNetworks(t.Context(), env.Ann, api.NetworksRequest{Networks: api.Networks{All: []string{"192.0.2.1"}}}, "")
			if err != nil {
				t.Fatal(err)
			}
			return s.Object
		}, bobSignsIn},
	{"a policy that was set", func(t *testing.T, env *testenv.Env) { bobsKey = env.PersonsKey("bob") },
		func(t *testing.T, env *testenv.Env) string {
			setPolicies(t, env, noHome)
			s, err := env.Engine.Settings(t.Context(), env.Ann)
			if err != nil {
				t.Fatal(err)
			}
			return s.Object
		}, bobSignsIn},
	{"four eyes", func(*testing.T, *testenv.Env) {},
		func(t *testing.T, env *testenv.Env) string {
			s, err := env.Engine.SetFourEyes(t.Context(), env.Ann, api.FourEyesRequest{Required: true}, "")
			if err != nil {
				t.Fatal(err)
			}
			return s.Object
		}, func(t *testing.T, env *testenv.Env) error {
			_, err := env.Engine.Authenticate(t.Context(), env.Key(), "192.0.2.1")
			return err
		}},
}

// bobsKey and bobsGrant are what the case at hand has prepared; cases run one by one.
var bobsKey, bobsGrant string

func bobSignsIn(t *testing.T, env *testenv.Env) error {
	_, err := env.Engine.Authenticate(t.Context(), bobsKey, "192.0.2.1")
	return err
}

// objectOf returns the id of a user's object.
func objectOf(t *testing.T) func(api.User, error) string {
	t.Helper()
	return func(u api.User, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return u.Object
	}
}

func give(t *testing.T, env *testenv.Env, r api.GrantRequest) api.Grant {
	t.Helper()
	g, err := env.Engine.GiveGrant(t.Context(), env.Ann, r, "")
	if err != nil {
		t.Fatal(err)
	}
	return g.Grant
}

func startTimed(t *testing.T, env *testenv.Env) error {
	_, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "timed"}, "")
	return err
}

func revoke(t *testing.T, env *testenv.Env, name string) api.Signer {
	t.Helper()
	s, err := env.Engine.RevokeSigner(t.Context(), env.Ann, name, api.RevokeSignerRequest{Reason: "lost"}, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAnObjectThatRulesIsNotSetBack puts all rows of an object back to a former moment,
// at once and so that they fit each other, and starts the server anew.
func TestAnObjectThatRulesIsNotSetBack(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("every kind of object, restarted")
	}
	for _, r := range rulers {
		t.Run(r.name, func(t *testing.T) {
			env := testenv.New(t, nil)
			env.Deploy("timed.bpmn", withTimer)
			r.prepare(t, env)
			keepRows(t, env)
			object := r.change(t, env)
			env.Restart(func() {
				newest, keys := readFile(t, filepath.Join(env.Config.Data, "data.db")), readFile(t, filepath.Join(env.Config.Data, "keys.db"))
				setBack(t, env, object)
				n, err := node.Open(t.Context(), env.Config)
				if err == nil {
					env.Engine = n.Engine
					err = errors.Join(r.then(t, env), n.Close())
				}
				if fault.CodeOf(err) != "tampered" {
					t.Errorf("what it says counts no more: %v, want an integrity fault", err)
				}
				putBack(t, env, newest)
				putBackFile(t, env, "keys.db", keys) // which has heads of the log since
			})
		})
	}
}

// TestAReadersRevocationIsNotTakenBack takes the entry that says so away, too.
func TestAReadersRevocationIsNotTakenBack(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	made, err := env.Engine.CreateLogReader(t.Context(), env.Ann, api.LogReaderRequest{Name: "the auditor"})
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimPrefix(made.Path, "/log/")
	for _, table := range []string{"readers", "leaves", "fields"} {
		execRaw(t, env, fmt.Sprintf(`CREATE TABLE kept_%[1]s AS SELECT * FROM %[1]s`, table))
	}
	if _, err := env.Engine.RevokeLogReader(t.Context(), env.Ann, made.ID); err != nil {
		t.Fatal(err)
	}
	env.Restart(func() {
		execRaw(t, env, `REPLACE INTO readers SELECT * FROM kept_readers; DROP TABLE kept_readers`)
		for _, table := range []string{"leaves", "fields"} {
			execRaw(t, env, fmt.Sprintf(`DELETE FROM %[1]s WHERE (object, seq) NOT IN (SELECT object, seq FROM kept_%[1]s); DROP TABLE kept_%[1]s`, table))
		}
	})
	if _, err := env.Engine.LogFile(t.Context(), secret, "shards", ""); !fault.Is(err, fault.Integrity) {
		t.Errorf("a reader whose revocation was taken back: %v, want Integrity", err)
	}
}

func execKeys(t *testing.T, env *testenv.Env, text string) {
	t.Helper()
	db := openRaw(t, filepath.Join(env.Config.Data, "keys.db"))
	defer db.Close()
	if _, err := db.Exec(text); err != nil {
		t.Fatal(err)
	}
}

// TestAStepThatACrashLeftUnpinnedIsPinnedWhenItIsRead sets pins back as a crash between
// a step and its pin leaves them, and further than any crash does.
func TestAStepThatACrashLeftUnpinnedIsPinnedWhenItIsRead(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	s := register(t, env, "scorer", newKey(t))
	object := strings.ReplaceAll(s.Object, "-", "")
	pinned := func() (n int) {
		db := openRaw(t, filepath.Join(env.Config.Data, "keys.db"))
		defer db.Close()
		if err := db.QueryRow(`SELECT coalesce(max(seq), 0) FROM pinned_leaves WHERE object = x'` + object + `'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	env.Restart(func() { execKeys(t, env, `DELETE FROM pinned_leaves WHERE object = x'`+object+`'`) })
	if err := signers(t, env); err != nil || pinned() != 1 {
		t.Errorf("a first step without its pin: %v, pinned is step %d", err, pinned())
	}
	execKeys(t, env, `CREATE TABLE kept AS SELECT * FROM pinned_leaves`)
	revoke(t, env, "scorer")
	env.Restart(func() {
		execKeys(t, env, `CREATE TABLE before AS SELECT * FROM pinned_leaves; REPLACE INTO pinned_leaves SELECT * FROM kept WHERE object = x'`+object+`'`)
	})
	if err := signers(t, env); err != nil || pinned() != 2 {
		t.Errorf("a second step without its pin: %v, pinned is step %d", err, pinned())
	}
	for name, change := range map[string]string{
		"gone":             `DELETE FROM pinned_leaves WHERE object = x'` + object + `'`,
		"of another leaf":  `UPDATE pinned_leaves SET hash = zeroblob(32) WHERE object = x'` + object + `'`,
		"of a former leaf": `UPDATE pinned_leaves SET seq = 1 WHERE object = x'` + object + `'`,
		"of a later leaf":  `UPDATE pinned_leaves SET seq = 3 WHERE object = x'` + object + `'`,
	} {
		env.Restart(func() { execKeys(t, env, change) })
		if err := signers(t, env); !fault.Is(err, fault.Integrity) {
			t.Errorf("the pin of the second step is %s: %v, want Integrity", name, err)
		}
		env.Restart(func() { execKeys(t, env, `REPLACE INTO pinned_leaves SELECT * FROM before`) })
		if err := signers(t, env); err != nil {
			t.Fatalf("put right again: %v", err)
		}
	}
	execKeys(t, env, `DROP TABLE kept; DROP TABLE before`)
}

// putBack replaces the data of a stopped node by a former copy.
func putBack(t *testing.T, env *testenv.Env, old []byte) {
	t.Helper()
	putBackFile(t, env, "data.db", old)
}

func putBackFile(t *testing.T, env *testenv.Env, name string, old []byte) {
	t.Helper()
	path := filepath.Join(env.Config.Data, name)
	writeFile(t, path, old)
	for _, left := range []string{"-wal", "-shm"} {
		os.Remove(path + left)
	}
}

// TestRightsThatEndedDoNotComeBackWithABackup restores data of before a worker's key
// and a reader's path were revoked.
func TestRightsThatEndedDoNotComeBackWithABackup(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("timed.bpmn", withTimer)
	register(t, env, "scorer", newKey(t))
	register(t, env, "another", newKey(t))
	var paths, ids []string
	for range 2 {
		made, err := env.Engine.CreateLogReader(t.Context(), env.Ann, api.LogReaderRequest{Name: "somebody"})
		if err != nil {
			t.Fatal(err)
		}
		paths, ids = append(paths, strings.TrimPrefix(made.Path, "/log/")), append(ids, made.ID)
	}
	bobs, carols := env.PersonsKey("bob", "Viewer"), env.PersonsKey("carol", "Viewer")
	setIssuer(t, env, "corp", api.IssuerRequest{Kind: "people", URL: idp, Client: "underseal"})
	link := api.LinkRequest{Issuer: "corp", Subject: "7"}
	if _, err := env.Engine.LinkUser(t.Context(), env.Ann, "bob", link, ""); err != nil {
		t.Fatal(err)
	}
	var old []byte
	env.Restart(func() { old = readFile(t, filepath.Join(env.Config.Data, "data.db")) })
	revoke(t, env, "scorer")
	if _, err := env.Engine.TakeUserRole(t.Context(), env.Ann, "bob", api.RoleRequest{Role: "Viewer"}, ""); err != nil {
		t.Fatal(err)
	}
	register(t, env, "later", newKey(t))
	if _, err := env.Engine.RevokeLogReader(t.Context(), env.Ann, ids[0]); err != nil {
		t.Fatal(err)
	}
	env.Restart(func() {
		putBack(t, env, old)
		env.Config.Restored = true
	})
	env.Config.Restored = false
	env.Restart(nil)

	list, err := env.Engine.Signers(t.Context(), env.Ann)
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, s := range list.Items {
		states[s.Name] = s.State
	}
	if got, want := fmt.Sprint(states), "map[another:active platform:active scorer:revoked]"; got != want {
		t.Errorf("signers are %s, want %s", got, want)
	}
	for name, key := range map[string]string{"bob": bobs, "carol": carols} {
		if err := signIn(t, env, key); (err == nil) != (name == "carol") {
			t.Errorf("%s signs in: %v, want Carol alone, of whom nothing was lost", name, err)
		}
	}
	if _, err := env.Engine.EnableUser(t.Context(), env.Ann, "bob", api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	if err := signIn(t, env, bobs); !unauthenticated(err) {
		t.Errorf("a key that may have been revoked admits Bob again: %v", err)
	}
	if u, err := env.Engine.User(t.Context(), env.Ann, "bob"); err != nil || len(u.Identities) != 1 || u.Identities[0].Ended == nil {
		t.Errorf("who may not be somebody of an issuer any more: %+v, %v, want that it has ended", u.Identities, err)
	}
	if _, err := env.Engine.LinkUser(t.Context(), env.Ann, "carol", link, ""); fault.CodeOf(err) != "linked_already" {
		t.Errorf("Carol in his place: %v, want linked_already", err)
	}
	for i, want := range []bool{false, true} {
		if _, err := env.Engine.LogFile(t.Context(), paths[i], "shards", ""); (err == nil) != want {
			t.Errorf("reader %d reads: %v, want %v", i, err, want)
		}
	}
	performed := entriesOf(t, env, "restore.performed")
	if len(performed) != 1 {
		t.Fatalf("%d restores", len(performed))
	}
	if lost, _ := performed[0].Fields["$lost"].(canon.List); len(lost) != 4 {
		t.Errorf("it names %v, want two signers, a principal and an entry", lost)
	}
	for c := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{}); !c.Done(); {
		if found, err := c.Next(context.Background()); err != nil || len(found) > 0 {
			t.Fatalf("the check finds %+v, %v", found, err)
		}
	}
}

// TestLeavesBehindTheLastHeadOfAnEndedLogHaveNoProof restores data that have more
// leaves than signed heads cover, as a copy between a step and its checkpoint has.
func TestLeavesBehindTheLastHeadOfAnEndedLogHaveNoProof(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("timed.bpmn", withTimer)
	id := env.Start("timed", `{}`)
	var old []byte
	env.Restart(func() { old = readFile(t, filepath.Join(env.Config.Data, "data.db")) })
	env.Start("timed", `{}`)
	env.Restart(func() {
		putBack(t, env, old)
		execRaw(t, env, `DELETE FROM log_checkpoints`)
		env.Config.Restored = true
	})
	env.Config.Restored = false
	_, err := env.Engine.LogProof(t.Context(), env.Ann, id, 1)
	if fault.CodeOf(err) != "log_ended" || !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "has place ") {
		t.Errorf("a proof of its leaf: %v, want that there is none", err)
	}
	ended, err := env.Engine.EndedLogs(t.Context())
	if err != nil || len(ended) != 1 || ended[0].Size == 0 || ended[0].Signed != 0 {
		t.Fatalf("logs that ended: %+v, %v", ended, err)
	}
	check := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{})
	for !check.Done() {
		if _, err := check.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if check.State.Uncovered != ended[0].Size {
		t.Errorf("the check counts %d leaves without proof, want %d", check.State.Uncovered, ended[0].Size)
	}
	later := env.Start("timed", `{}`)
	if _, err := testenv.Proven(func() (api.LogProof, error) { return env.Engine.LogProof(t.Context(), env.Ann, later, 1) }); err != nil {
		t.Errorf("a proof of a leaf in the next log: %v", err)
	}
}

// TestAPolicyTakesNoPlaceUnproven moves the leaf by which the platform's key was
// revoked.
func TestAPolicyTakesNoPlaceUnproven(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("timed.bpmn", withTimer)
	env.Start("timed", `{}`)
	policyOf(t, env)
	revoke(t, env, "platform")
	before := policyOf(t, env)
	if n := strings.Count(before, "\nplatform "); n != 2 {
		t.Fatalf("%d lines of keys in\n%s", n, before)
	}
	links, err := engine.PlatformLinks(t.Context(), env.Engine, env.Ann)
	if err != nil || len(links) != 2 {
		t.Fatalf("%d steps of the platform, %v", len(links), err)
	}
	at := links[1].Index
	for _, move := range []string{
		fmt.Sprintf(`UPDATE log_entries SET idx = %d WHERE idx = %d`, 1_000_000, at-1),
		fmt.Sprintf(`UPDATE log_entries SET idx = %d WHERE idx = %d`, at-1, at),
		fmt.Sprintf(`UPDATE log_entries SET idx = %d WHERE idx = %d`, at, 1_000_000),
	} {
		execSQL(t, env, move)
	}
	if p, err := env.Engine.LogPolicy(t.Context(), env.Ann); !fault.Is(err, fault.Integrity) {
		t.Errorf("a policy with a place that is not the leaf's: %v\n%s", err, p.Policy)
	}
}

// holdPerson places a hold on p-1 and returns the object that has it.
func holdPerson(t *testing.T, env *testenv.Env) string {
	t.Helper()
	h, err := env.Engine.PlaceHold(t.Context(), env.Ann, api.HoldRequest{Kind: "subject", ID: "p-1"}, "")
	if err != nil {
		t.Fatal(err)
	}
	object, _, _ := strings.Cut(h.ID, ".")
	return object
}
