package anchor_test

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/witness"
	"github.com/underseal/underseal/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTenantsCheckpointsAreAnchoredOnceAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, 2)
		w.authority(newTSA(t, nil))
		ann, bob := w.publish("ann", 3), w.publish("bob", 8)
		time.Sleep(3 * time.Minute)
		c, names := w.verify("ann", ann)
		if !slices.Equal(names, []string{"w1.example", "w2.example"}) || c.Size != 2 {
			t.Errorf("at size %d by %v, want 2 by both witnesses", c.Size, names)
		}
		w.verify("bob", bob)
		first := ann
		for size := uint64(4); size < 20; size++ { // one a second: they share an entry
			ann = w.publish("ann", size)
			time.Sleep(time.Second)
		}
		w.notAnchored("ann", 19)
		time.Sleep(2 * time.Minute)
		if c, _ := w.verify("ann", ann); c.Size > 4 {
			t.Errorf("the anchor log has %d entries, want at most one per tenant and interval", c.Size)
		}
		w.verify("ann", first)
		size, calls := w.head(), w.net.asked("w1.example")
		time.Sleep(24 * time.Hour)
		if w.head() != size || w.net.asked("w1.example") != calls {
			t.Error("without anything new there were new checkpoints or calls")
		}
	})
}

func TestAnEntryDoesNotTellWhatItStandsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0, 0)
		w.publish("ann", 3)
		time.Sleep(2 * time.Minute)
		w.restart(func() { w.exec("data.db", `DELETE FROM anchor_openings`) })
		w.publish("ann", 3)
		time.Sleep(2 * time.Minute)
		hashes, err := w.db.AnchorHashes(t.Context(), 1, []int64{0, 1})
		if err != nil || hashes[0] == hashes[1] {
			t.Errorf("the same checkpoint twice gives %x, %v", hashes, err)
		}
	})
}

func TestAWitnessThatIsAwayOnlyDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, 2)
		back := w.net.hosts["w2.example"]
		w.net.set("w2.example", nil)
		time.Sleep(time.Second)
		ann := w.publish("ann", 3)
		time.Sleep(time.Hour)
		w.notAnchored("ann", 3)
		if n := w.net.asked("w2.example"); n < 50 || n > 90 {
			t.Errorf("%d tries in an hour, want them further and further apart, to a minute", n)
		}
		if n := w.net.asked("w1.example"); n > 3 {
			t.Errorf("%d calls to the witness that had answered", n)
		}
		if w.figure("underseal_witness_failing", "w2.example") != 1 || w.figure("underseal_witness_failing", "w1.example") != 0 ||
			w.figure("underseal_anchor_waiting_seconds", "") < 3000 || w.log.Halted() != nil {
			t.Error("the figures do not say who fails, or the log is halted")
		}
		w.net.set("w2.example", back)
		time.Sleep(2 * time.Minute)
		w.verify("ann", ann)
		if w.figure("underseal_witness_failing", "w2.example") != 0 || w.figure("underseal_anchor_waiting_seconds", "") != 0 {
			t.Error("the figures still say that something fails")
		}
	})
}

func TestAQuorumIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 2)
		w.net.set("w1.example", nil)
		ann := w.publish("ann", 3)
		time.Sleep(3 * time.Minute)
		if _, names := w.verify("ann", ann); !slices.Equal(names, []string{"w2.example", "w3.example"}) {
			t.Errorf("cosigned by %v", names)
		}
	})
}

func TestAnswersThatAreNoCosignatureDoNotCount(t *testing.T) {
	answer := func(status int, text string) http.Handler {
		return http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
			out.WriteHeader(status)
			io.WriteString(out, text)
		})
	}
	for name, h := range map[string]http.Handler{
		"another key's": answer(200, "\u2014 w1.example AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"),
		"nothing":       answer(200, ""),
		"a page":        answer(200, "<html>"),
		"too much":      answer(200, strings.Repeat("x", 1<<20)),
		"not known":     answer(404, ""),
		"refused":       answer(403, ""),
		"no size":       answer(409, "many\n"),
		"another place": http.RedirectHandler("https://elsewhere.example/", http.StatusTemporaryRedirect),
		"a size each":   answer(409, "0\n"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1, 1)
				w.net.set("w1.example", h)
				w.publish("ann", 3)
				time.Sleep(5 * time.Minute)
				w.notAnchored("ann", 3)
				if w.log.Halted() != nil || w.net.asked("elsewhere.example") != 0 || w.net.asked("w1.example") == 0 {
					t.Errorf("halted by %v, or %d calls elsewhere", w.log.Halted(), w.net.asked("elsewhere.example"))
				}
			})
		})
	}
}

// TestADatabaseThatWasChangedHaltsTheLog changes the closed database by SQL.
func TestADatabaseThatWasChangedHaltsTheLog(t *testing.T) {
	for _, test := range []struct{ name, file, sql, says string }{
		{"the newest entry is gone", "data.db", `DELETE FROM anchor_hashes WHERE pos = (SELECT max(pos) FROM anchor_hashes)`, "set back"},
		{"all entries are gone", "data.db", `DELETE FROM anchor_hashes`, "set back"},
		{"one entry is another", "data.db", `UPDATE anchor_hashes SET hash = (SELECT hash FROM anchor_hashes WHERE pos = 1) WHERE pos = 3`, "was changed"},
		{"a hash of the tree is missing", "data.db", `DELETE FROM anchor_hashes WHERE pos = 2`, "was changed"},
		{"the head has another root", "keys.db", `UPDATE anchor_heads SET root = zeroblob(32)`, "was changed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1, 1)
				w.publish("ann", 3)
				w.publish("bob", 3)
				time.Sleep(2 * time.Minute)
				w.publish("ann", 4)
				time.Sleep(2 * time.Minute)
				size := w.head()
				w.restart(func() { w.exec(test.file, test.sql) })
				w.halted(test.says)
				w.publish("ann", 9)
				time.Sleep(time.Hour)
				if w.head() != size {
					t.Errorf("a checkpoint of size %d was signed after that of %d", w.head(), size)
				}
				w.restart(func() {})
				w.halted(test.says)
			})
		})
	}
}

// TestAnOpeningThatWasChangedIsRefused changes each column of what is stored for a
// bundle.
func TestAnOpeningThatWasChangedIsRefused(t *testing.T) {
	for _, change := range []string{
		`UPDATE anchor_openings SET blind = zeroblob(32) WHERE tenant = 'ann'`,
		`UPDATE anchor_openings SET size = 4 WHERE tenant = 'ann'`,
		`UPDATE anchor_openings SET idx = 1 - idx WHERE tenant = 'ann'`,
		`UPDATE anchor_openings SET signed = (SELECT signed FROM anchor_openings WHERE tenant = 'bob') WHERE tenant = 'ann'`,
		`UPDATE anchor_openings SET log = 2 WHERE tenant = 'ann'`,
		`UPDATE anchor_openings SET shard = 2 WHERE tenant = 'ann'`,
		`DELETE FROM anchor_openings WHERE tenant = 'ann'`,
		`UPDATE anchor_hashes SET hash = zeroblob(32) WHERE pos = 1`,
		`UPDATE anchor_checkpoints SET size = size + 100`,
		`UPDATE anchor_checkpoints SET log = 2`,
		`UPDATE anchor_checkpoints SET signed = X'00'`,
		`DELETE FROM anchor_checkpoints`,
	} {
		t.Run(change, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 0, 0)
				w.publish("ann", 3)
				w.publish("bob", 5)
				time.Sleep(2 * time.Minute)
				w.log.Stop()
				w.exec("data.db", change)
				if _, _, err := w.log.Opening(t.Context(), store.NewScope("ann"), 1, 3); err == nil {
					t.Error("nobody noticed")
				}
			})
		})
	}
}

// TestWitnessesNoticeWhatWasSetBackAsAWhole puts an old copy of data and keys in
// place, which agree with each other.
func TestWitnessesNoticeWhatWasSetBackAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, 1)
		w.publish("ann", 3)
		time.Sleep(2 * time.Minute)
		var old string
		w.restart(func() { old = copyOf(t, w.dir) })
		w.publish("bob", 3)
		time.Sleep(2 * time.Minute)
		w.restart(func() { w.dir = old })
		w.publish("bob", 9)
		time.Sleep(2 * time.Minute)
		w.halted("has seen 2 entries of this log, which has 1")
		if w.head() != 1 {
			t.Errorf("a checkpoint of size %d was signed, in a log that was set back to 1", w.head())
		}
	})
}

// TestNothingIsSignedAfterAStartWithoutAQuorum has the witnesses away while an old
// copy starts.
func TestNothingIsSignedAfterAStartWithoutAQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		w.publish("ann", 3)
		time.Sleep(2 * time.Minute)
		back := w.net.hosts["w1.example"]
		w.net.set("w1.example", nil)
		w.restart(func() {})
		ann := w.publish("ann", 9)
		time.Sleep(time.Hour)
		if w.head() != 1 {
			t.Errorf("a checkpoint of size %d was signed before a witness had confirmed that of 1", w.head())
		}
		w.net.set("w1.example", back)
		time.Sleep(3 * time.Minute)
		w.verify("ann", ann)
	})
}

// TestAForkedLogIsHalted has a second database under the same key, smaller or larger
// than what the witness has seen.
func TestAForkedLogIsHalted(t *testing.T) {
	for name, entries := range map[string]int{"smaller": 1, "of the same size": 2, "larger": 4} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1, 1)
				w.publish("ann", 3)
				w.publish("bob", 3)
				time.Sleep(2 * time.Minute)
				back := w.net.hosts["w1.example"]
				w.net.set("w1.example", nil)
				w.config.Tenants = func(context.Context) ([]string, error) { return []string{"ann", "bob", "eve", "joe"}[:entries], nil }
				w.restart(func() { w.dir = filepath.Join(t.TempDir(), "other") })
				for _, tenant := range []string{"ann", "bob", "eve", "joe"}[:entries] {
					w.publish(tenant, 3)
				}
				time.Sleep(2 * time.Minute)
				w.net.set("w1.example", back)
				time.Sleep(2 * time.Minute)
				w.halted("w1.example contradicts")
				w.notAnchored("ann", 3)
				w.net.set("w1.example", nil)
				w.restart(func() {})
				w.halted("w1.example contradicts")
			})
		})
	}
}

func TestAWitnessThatForgotIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		w.publish("ann", 3)
		time.Sleep(2 * time.Minute)
		cfg := witness.Config{
			Key: must(witness.GenerateKey(filepath.Join(t.TempDir(), "key"), "w1.example")), State: t.TempDir(),
			Logs: []witness.Log{{Key: anchorKey(1)}},
		}
		w.config.Witnesses[0].Key = must(ledger.ParseVerifier(cfg.Key.Verifier()))
		w.open("w1.example", cfg)
		w.restart(func() {}) // knows the new key, and nothing of what it cosigned
		w.publish("ann", 5)
		time.Sleep(2 * time.Minute)
		cfg.State = t.TempDir()
		w.open("w1.example", cfg) // has an empty state now
		ann := w.publish("ann", 9)
		time.Sleep(2 * time.Minute)
		w.verify("ann", ann)
		if w.figure("underseal_witness_set_back", "w1.example") != 1 {
			t.Error("nobody says that the witness was set back")
		}
	})
}

// TestACrashBetweenTwoWritesLosesNothing ends the log after entries were added and
// before they were signed, and after that before they were shown.
func TestACrashBetweenTwoWritesLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		seed := w.config.Seed
		w.config.Seed = func(context.Context) ([]byte, error) {
			return nil, fault.New(fault.Unavailable, "no key now")
		}
		w.restart(func() {})
		ann := w.publish("ann", 3)
		time.Sleep(3 * time.Minute)
		if w.head() != 0 {
			t.Fatal("signed without a key")
		}
		w.config.Seed = seed
		back := w.net.hosts["w1.example"]
		w.net.set("w1.example", nil)
		w.restart(func() {})
		time.Sleep(3 * time.Minute)
		if w.head() != 1 {
			t.Fatalf("signed is a checkpoint of size %d, want 1", w.head())
		}
		w.net.set("w1.example", back)
		w.restart(func() {})
		time.Sleep(3 * time.Minute)
		if c, _ := w.verify("ann", ann); c.Size != 1 {
			t.Errorf("the anchor log has %d entries, want 1", c.Size)
		}
	})
}

func TestARestoredLogIsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		ann := w.publish("ann", 3)
		time.Sleep(2 * time.Minute)
		w.log.Stop()
		if err := anchor.Renew(t.Context(), w.db, true); err != nil {
			t.Fatal(err)
		}
		w.restart(func() {})
		w.verify("ann", ann) // what was anchored stays
		head := must(w.db.AnchorHead(t.Context()))
		w.publish("ann", 4)
		time.Sleep(2 * time.Minute)
		_, a, err := w.log.Opening(t.Context(), store.NewScope("ann"), 1, 4)
		if err != nil {
			t.Fatal(err)
		}
		if c := must(ledger.UnverifiedCheckpoint(a.Proof.Checkpoint)); head.Log <= 1 || c.Origin != anchor.Origin(deployment, head.Log) || c.Size != 1 {
			t.Errorf("anchored under %+v, want the first entry of another log", c)
		}
	})
}

func TestConfigurationIsRefused(t *testing.T) {
	key := must(ledger.ParseVerifier(must(witness.GenerateKey(filepath.Join(t.TempDir(), "key"), "w1.example")).Verifier()))
	good := anchor.Witness{Key: key, URL: "https://w1.example"}
	at := func(url string) anchor.Config {
		return anchor.Config{Quorum: 1, Witnesses: []anchor.Witness{{Key: key, URL: url}}}
	}
	for name, cfg := range map[string]anchor.Config{
		"a key of a log":        {Quorum: 1, Witnesses: []anchor.Witness{{Key: must(ledger.ParseVerifier(anchorKey(1))), URL: good.URL}}},
		"no address":            at(""),
		"in clear":              at("http://w1.example"),
		"a password":            at("https://a:b@w1.example"),
		"a quorum of none":      {Witnesses: []anchor.Witness{good}},
		"a quorum of too many":  {Witnesses: []anchor.Witness{good}, Quorum: 2},
		"one witness twice":     {Witnesses: []anchor.Witness{good, good}, Quorum: 1},
		"an authority's root":   {Authority: &anchor.Authority{URL: "http://tsa.example"}},
		"an interval backwards": {Interval: -1},
	} {
		if _, err := anchor.New(cfg); fault.CodeOf(err) != "config_invalid" {
			t.Errorf("%s: %v, want config_invalid", name, err)
		}
	}
	for _, url := range []string{"https://w1.example/prefix/", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"} {
		if _, err := anchor.New(at(url)); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestThePolicyChecksAnchors writes the policy out and checks an anchor by it.
func TestThePolicyChecksAnchors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 2)
		w.net.set("w3.example", nil)
		w.authority(newTSA(t, nil))
		w.publish("ann", 3)
		time.Sleep(2 * time.Minute)
		written := ledger.Policy{Quorum: "none"}
		if err := w.log.Policy(t.Context(), &written); err != nil {
			t.Fatal(err)
		}
		policy, err := ledger.ParsePolicy(written.Encode())
		if err != nil {
			t.Fatalf("%v in\n%s", err, written.Encode())
		}
		_, a, err := w.log.Opening(t.Context(), store.NewScope("ann"), 1, 3)
		if err != nil {
			t.Fatal(err)
		}
		_, n, err := policy.Open(a.Proof.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		if err := policy.CheckQuorum(n); err != nil || len(policy.Authorities) != 1 {
			t.Errorf("quorum: %v, %d authorities", err, len(policy.Authorities))
		}
	})
}
