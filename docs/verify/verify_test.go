// Package verify_test runs the second verifier, verify.py, over the same vectors as
// the first, and both over the same damaged files.
package verify_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// python runs a script of this folder. A machine without Python fails the test: a
// second verifier that nobody runs is none.
func python(t *testing.T, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Python: left out by -short")
	}
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("python3 is missing (test/setup installs it): %v", err)
	}
	cmd := exec.CommandContext(t.Context(), path, append([]string{"-B"}, args...)...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err = cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	return out.String(), complaints.String(), cmd.ProcessState.ExitCode()
}

func TestTheSecondVerifierAgreesOnEveryVector(t *testing.T) {
	stdout, stderr, exit := python(t, "vectors.py", "../..")
	if exit != 0 || strings.Count(stdout, "\n") != 15 {
		t.Errorf("exit code %d\n%s%s", exit, stdout, stderr)
	}
}

// verdict is what both verifiers say of a file.
type verdict struct {
	Result string `json:"result"`
	Code   string `json:"code"`
}

func second(t *testing.T, bundle, policy string) verdict {
	t.Helper()
	args := []string{"verify.py", bundle, "--json"}
	if policy != "" {
		args = append(args, "--policy", policy)
	}
	stdout, stderr, exit := python(t, args...)
	var v verdict
	if err := json.Unmarshal([]byte(stdout), &v); err != nil {
		t.Fatalf("%v: %v, exit code %d\n%s%s", args, err, exit, stdout, stderr)
	}
	if (exit == 0) != (v.Code == "") || (v.Code == "") != (v.Result != "") {
		t.Errorf("%v: exit code %d of %+v", args, exit, v)
	}
	return v
}

func first(data []byte, p *ledger.Policy) verdict {
	report, err := ledger.VerifyBundle(data, p)
	return verdict{report.Result, fault.CodeOf(err)}
}

type vector struct {
	Name, File, Policy, Result string
}

func accepted(t *testing.T) (vector, []byte) {
	t.Helper()
	data, err := os.ReadFile("../../ledger/testdata/evidence.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if v.Result == ledger.Proven {
			bundle, err := os.ReadFile(filepath.Join("../../ledger/testdata", v.File))
			if err != nil {
				t.Fatal(err)
			}
			return v, bundle
		}
	}
	t.Fatal("no vector is proven")
	return vector{}, nil
}

// As a program, with files, it says what the library says.
func TestTheCommandPrintsAReport(t *testing.T) {
	v, bundle := accepted(t)
	dir := t.TempDir()
	path, policy := filepath.Join(dir, "b.zip"), filepath.Join(dir, "policy")
	for name, data := range map[string][]byte{path: bundle, policy: []byte(v.Policy)} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := second(t, path, policy); got != (verdict{Result: ledger.Proven}) {
		t.Errorf("with its policy: %+v", got)
	}
	if got := second(t, path, ""); got != (verdict{Result: ledger.Consistent}) {
		t.Errorf("without a policy: %+v", got)
	}
	stdout, _, exit := python(t, "verify.py", path, "--policy", policy)
	if exit != 0 || !strings.HasSuffix(stdout, "result: proven\n") || strings.Count(stdout, "ok ") < 8 {
		t.Errorf("exit code %d\n%s", exit, stdout)
	}
	if _, stderr, exit := python(t, "verify.py", path, "--require-policy"); exit == 0 || !strings.Contains(stderr, "policy_required") {
		t.Errorf("without the policy that is required: exit code %d, %s", exit, stderr)
	}
}

// Both refuse a file in which a byte was changed, and for the same reason. The places
// are spread over the whole file.
func TestBothRefuseEveryChangedByte(t *testing.T) {
	v, bundle := accepted(t)
	policy, err := ledger.ParsePolicy([]byte(v.Policy))
	if err != nil {
		t.Fatal(err)
	}
	if got := first(bundle, policy); got.Result != ledger.Proven {
		t.Fatalf("the file as it is: %+v", got)
	}
	dir := t.TempDir()
	want := map[string]string{}
	for i := 0; i < len(bundle); i += max(1, len(bundle)/400) {
		changed := bytes.Clone(bundle)
		changed[i] ^= 1 << (i % 8)
		path := filepath.Join(dir, "changed-"+string(rune('a'+len(want)%26))+filepath.Base(t.TempDir()))
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		got := first(changed, policy)
		if got.Result != "" {
			t.Errorf("the first accepts a file with another byte at %d", i)
		}
		want[path] = got.Code
	}
	list := filepath.Join(dir, "list.json")
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, data, 0o600); err != nil {
		t.Fatal(err)
	}
	script := "import json, sys, verify as v\n" +
		"policy = v.Policy(sys.argv[2].encode())\n" +
		"for path, want in json.load(open(sys.argv[1])).items():\n" +
		"    try:\n        got = v.Verification(open(path, 'rb').read(), policy).run()\n" +
		"    except v.Refused as e:\n        got = e.code\n" +
		"    if got != want: sys.exit(f'{path}: {got}, not {want}')\n" +
		"print('agreed')\n"
	if stdout, stderr, _ := python(t, "-c", script, list, v.Policy); stdout != "agreed\n" {
		t.Errorf("the second does not agree: %s%s", stdout, stderr)
	}
}
