package engine_test

import (
	"slices"
	"testing"

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
