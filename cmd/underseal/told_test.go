package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func toldOf(t *testing.T, file string) map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := loadSettings(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.told()
}

// TestEverySettingIsToldOrSaysWhyNot goes through all settings: a new one is told unless
// somebody says why it need not be.
func TestEverySettingIsToldOrSaysWhyNot(t *testing.T) {
	told, left := toldOf(t, "{}"), len(untold)
	for _, k := range keys() {
		_, is := told[k.name]
		why, not := untold[k.name]
		if not {
			left--
		}
		if is == not || not && why == "" {
			t.Errorf("%s: told %v, left out %v because %q", k.name, is, not, why)
		}
	}
	if _, ok := untold[witnessKey]; !ok || left != 1 {
		t.Errorf("%v leaves out what is no setting", untold)
	}
}

// TestSectionsOfTheConfigurationAreTold changes one thing in each. What a sink is sent to
// may hold a secret, and is not among it.
func TestSectionsOfTheConfigurationAreTold(t *testing.T) {
	const file = `
log: {quorum: %d, witnesses: [{vkey: "w+1+x", url: "https://w.example"}]}
audit_sinks: {siem: {webhook: "https://siem.example.org/%d-token"}}
key_services: {hsm: {kind: plugin, socket: "/run/%d.sock"}}
s3: {endpoint: "https://s3.example.org", bucket: "b%d"}
witness: {state: "/var/%d"}
`
	one, two := toldOf(t, strings.ReplaceAll(file, "%d", "1")), toldOf(t, strings.ReplaceAll(file, "%d", "2"))
	for _, name := range []string{"log.quorum", "audit_sinks.siem", "key_services.hsm", "s3.bucket"} {
		if one[name] == "" || one[name] == two[name] {
			t.Errorf("%s is told as %q and as %q", name, one[name], two[name])
		}
	}
	if text := fmt.Sprint(one); strings.Contains(text, "token") || strings.Contains(text, "/var/1") {
		t.Errorf("told: %s", text)
	}
}
