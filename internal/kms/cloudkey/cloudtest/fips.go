package cloudtest

import (
	"bytes"
	"crypto/fips140"
	"os"
	"os/exec"
	"testing"
)

// InFIPSMode runs the named test again in a process that refuses whatever FIPS
// 140-3 does not allow, in the SDK and beneath it too.
func InFIPSMode(t *testing.T, name string) {
	if fips140.Enforced() {
		return
	}
	if testing.Short() {
		t.Skip("runs the test once more, as a process of its own")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+name)) {
		t.Fatalf("%s with GODEBUG=fips140=only: %v\n%s", name, err, out)
	}
}
