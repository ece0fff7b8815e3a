// Package vault_test runs the Vault provider's tests against a real Vault: its
// core, its HTTP API, its transit engine and its ways to sign in, with storage in
// memory. It is a module of its own, so that Vault and all that it needs never
// become dependencies of the program. The tests themselves stand beside the
// provider: this module builds the server and asks for nothing of ours, so that
// neither module's versions move the other's.
//
// Compiling Vault takes minutes the first time.
package vault_test

import (
	"encoding/base64"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/transit"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/vault"
)

// atLeast is how many tests of the provider must run here.
const atLeast = 8

func TestProviderAgainstARealVault(t *testing.T) {
	tests := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-run", "^TestReal", "./internal/kms/vault")
	tests.Dir = filepath.Join("..", "..")
	tests.Env = append(os.Environ(), start(t)...)
	out, err := tests.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	passed, skipped := strings.Count(string(out), "\n--- PASS: TestReal"), strings.Count(string(out), "--- SKIP: TestReal")
	if passed < atLeast || skipped > 0 {
		t.Errorf("%d tests passed and %d were skipped, want %d or more and none\n%s", passed, skipped, atLeast, out)
	}
}

// start starts a Vault with TLS and returns the environment that describes it.
func start(t *testing.T) (environ []string) {
	t.Helper()
	core, shares, token := vault.TestCoreUnsealedWithConfig(t, &vault.CoreConfig{
		LogicalBackends:    map[string]logical.Factory{"transit": transit.Factory},
		CredentialBackends: map[string]logical.Factory{"approle": approle.Factory, "kubernetes": kubernetes.Factory},
	})
	server := httptest.NewTLSServer(vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}}))
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	var unseal []string
	for _, share := range shares {
		unseal = append(unseal, base64.StdEncoding.EncodeToString(share))
	}
	return []string{
		"UNDERSEAL_TEST_VAULT_ADDRESS=" + server.URL, "UNDERSEAL_TEST_VAULT_CA=" + ca,
		"UNDERSEAL_TEST_VAULT_TOKEN=" + token, "UNDERSEAL_TEST_VAULT_UNSEAL=" + strings.Join(unseal, ","),
	}
}
