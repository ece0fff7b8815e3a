package engine_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/ledger"
)

// platformNow returns the name of the key that signs a size of a log, and the
// platform's public key as it is listed.
func signerAt(t *testing.T, env *testenv.Env, origin string, size uint64) note.Signer {
	t.Helper()
	signers, err := env.Engine.PlatformSigners(t.Context(), "main", origin, size)
	if err != nil || len(signers) != 1 {
		t.Fatalf("%d signers, %v, want one", len(signers), err)
	}
	return signers[0]
}

func platformOf(t *testing.T, env *testenv.Env) api.Signer {
	t.Helper()
	list, err := env.Engine.Signers(t.Context(), env.Ann)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list.Items, func(s api.Signer) bool { return s.Kind == "platform" })
	if i < 0 {
		t.Fatal("there is no platform signer")
	}
	return list.Items[i]
}

// originOf returns the origin of the log that takes leaves now.
func originOf(t *testing.T, env *testenv.Env) string {
	t.Helper()
	env.Deploy("timed.bpmn", withTimer)
	leaf, _, err := engine.PastStep(t.Context(), env.Engine, env.Ann, env.Start("timed", `{}`), 1)
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Log
}

// verifierOf is a note key of the platform's as a stranger has it.
func verifierOf(t *testing.T, origin string, s api.Signer) note.Verifier {
	t.Helper()
	key, err := ledger.ParsePublicKey(s.Alg, s.Public)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(ledger.VerifierKey(origin, key.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A rotation takes effect with the place of its own leaf: until it has one, the old
// key signs every size. Keys are the same after a restart.
func TestThePlatformsKey(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	origin := originOf(t, env)
	first := signerAt(t, env, origin, 1)
	listed := platformOf(t, env)
	if v := verifierOf(t, origin, listed); v.KeyHash() != first.KeyHash() {
		t.Fatal("checkpoints are signed with another key than the one that is registered")
	}
	if again := signerAt(t, env, origin, 1000); again.KeyHash() != first.KeyHash() {
		t.Error("a second call made a second key")
	}
	env.Restart(nil)
	if again := signerAt(t, env, origin, 1); again.KeyHash() != first.KeyHash() {
		t.Error("a restart made another key")
	}
	public := publicKey(t, newKey(t))
	if _, err := env.Engine.RotateSigner(t.Context(), env.Ann, "platform", api.RotateSignerRequest{Alg: public.Alg(), Public: public.Text()}, ""); !fault.Is(err, fault.Invalid) {
		t.Errorf("a key from outside for the platform: %v", err)
	}
}

// published waits for the sequencer and returns its newest checkpoint.
func published(t *testing.T, env *testenv.Env) []byte {
	t.Helper()
	time.Sleep(3 * time.Second)
	synctest.Wait()
	signed, err := engine.Published(t.Context(), env.Engine, env.Ann)
	if err != nil || len(signed) == 0 {
		t.Fatalf("no checkpoint: %v", err)
	}
	return signed
}

// believed opens a checkpoint as whoever has the platform's chain does.
func believed(t *testing.T, links []ledger.KeyLink, signed []byte) (ledger.Checkpoint, error) {
	t.Helper()
	claimed, err := ledger.UnverifiedCheckpoint(signed)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := ledger.PlatformKeyAt(links, claimed.Origin, claimed.Size)
	if !ok {
		t.Fatalf("no key for size %d", claimed.Size)
	}
	v, err := note.NewVerifier(ledger.VerifierKey(claimed.Origin, key.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := ledger.OpenCheckpoint(signed, v)
	return c, err
}

// TestKeyCompromiseDrill rotates the platform's key and revokes it: what was signed
// before still verifies, and who has an old key signs nothing of later sizes.
func TestKeyCompromiseDrill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		env.Deploy("timed.bpmn", withTimer)
		env.Start("timed", `{}`)
		old := [][]byte{published(t, env)}
		stolen := signerAt(t, env, claim(t, old[0]).Origin, claim(t, old[0]).Size)
		hashes := []uint32{stolen.KeyHash()}
		for _, change := range []func() (api.Signer, error){
			func() (api.Signer, error) {
				return env.Engine.RotateSigner(t.Context(), env.Ann, "platform", api.RotateSignerRequest{}, "")
			},
			func() (api.Signer, error) {
				return env.Engine.RevokeSigner(t.Context(), env.Ann, "platform", api.RevokeSignerRequest{Reason: "drill"}, "")
			},
		} {
			changed, err := change()
			if err != nil || changed.State != "active" {
				t.Fatalf("%+v, %v", changed, err)
			}
			env.Start("timed", `{}`)
			old = append(old, published(t, env))
			c := claim(t, old[len(old)-1])
			now := signerAt(t, env, c.Origin, c.Size)
			if slices.Contains(hashes, now.KeyHash()) || now.KeyHash() != verifierOf(t, c.Origin, platformOf(t, env)).KeyHash() {
				t.Fatal("the key is an old one, or not the one that is listed")
			}
			hashes = append(hashes, now.KeyHash())
		}
		env.Restart(nil)
		links, err := engine.PlatformLinks(t.Context(), env.Engine, env.Ann)
		if err != nil || len(links) != 3 {
			t.Fatalf("%d steps of the platform's chain, %v, want 3", len(links), err)
		}
		for i, signed := range old {
			if _, err := believed(t, links, signed); err != nil {
				t.Errorf("checkpoint %d of before: %v", i, err)
			}
		}
		newest := claim(t, old[2])
		for size := links[1].Index + 1; size <= newest.Size; size++ {
			forged, err := ledger.SignCheckpoint(ledger.Checkpoint{Origin: newest.Origin, Size: size, Root: newest.Root}, stolen)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := believed(t, links, forged); fault.CodeOf(err) != "checkpoint_unsigned" {
				t.Errorf("size %d under the stolen key: %v", size, err)
			}
		}
		// The leaf of the rotation is the first that the new key signs.
		if at := signerAt(t, env, newest.Origin, links[1].Index); at.KeyHash() != hashes[0] {
			t.Error("the size before the rotation has another key than the old one")
		}
		if at := signerAt(t, env, newest.Origin, links[1].Index+1); at.KeyHash() != hashes[1] {
			t.Error("the size with the rotation has not the new key")
		}
	})
}

func claim(t *testing.T, signed []byte) ledger.Checkpoint {
	t.Helper()
	c, err := ledger.UnverifiedCheckpoint(signed)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Bundles of before a revocation still prove what they did, those of after it too,
// and one whose checkpoint the old key signed after it proves nothing.
func TestEvidenceOutlivesTheKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		id, job, _ := completedLoan(t, env)
		ask := api.EvidenceRequest{Instance: id, Job: job, Fields: []string{"score"}}
		before := evidence(t, env, ask)
		old := claim(t, published(t, env))
		stolen := signerAt(t, env, old.Origin, old.Size)
		for _, name := range []string{"platform", "scorer"} {
			if _, err := env.Engine.RevokeSigner(t.Context(), env.Ann, name, api.RevokeSignerRequest{Reason: "drill"}, ""); err != nil {
				t.Fatal(err)
			}
		}
		published(t, env)
		after := evidence(t, env, ask)
		policy, err := ledger.ParsePolicy([]byte(policyOf(t, env)))
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"before": before, "after": after} {
			if report, err := ledger.VerifyBundle(data, policy); err != nil || report.Result != ledger.Proven {
				t.Errorf("evidence of %s the revocation: %q, %v", name, report.Result, err)
			}
		}
		bundle, err := ledger.ParseBundle(after)
		if err != nil {
			t.Fatal(err)
		}
		if bundle.Proof.Checkpoint, err = ledger.SignCheckpoint(claim(t, bundle.Proof.Checkpoint), stolen); err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.Verify(policy); fault.CodeOf(err) != "platform_key_revoked" {
			t.Errorf("evidence under the stolen key: %v", err)
		}
	})
}
