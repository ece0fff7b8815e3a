package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

const vectorsFolder = "../../ledger/testdata"

type evidenceVector struct{ Name, File, Text, Leaf, Policy, Result, Code string }

// evidenceVectors reads the vectors of bundles (evidence.json), or of receipts and
// proofs (lone.json), whose text becomes a file.
func evidenceVectors(t *testing.T, name string) []evidenceVector {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectorsFolder, name))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []evidenceVector
	if err := json.Unmarshal(data, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for i := range vectors {
		v := &vectors[i]
		if v.File = filepath.Join(vectorsFolder, v.File); v.Text != "" {
			v.File = filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(v.File, []byte(v.Text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return vectors
}

// verify runs the command with the vector's policy, if it has one.
func verify(t *testing.T, v evidenceVector, more ...string) (exit int, stdout, stderr string) {
	t.Helper()
	args := append([]string{"verify", v.File}, more...)
	if v.Leaf != "" {
		args = append(args, "--leaf", v.Leaf)
	}
	if v.Policy != "" {
		policy := filepath.Join(t.TempDir(), "policy")
		if err := os.WriteFile(policy, []byte(v.Policy), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--policy", policy)
	}
	var out, errs bytes.Buffer
	exit = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return exit, out.String(), errs.String()
}

func TestEveryEvidenceVectorHasItsExitCode(t *testing.T) {
	if testing.Short() {
		t.Skip("a run of the program for each vector")
	}
	for _, v := range append(evidenceVectors(t, "evidence.json"), evidenceVectors(t, "lone.json")...) {
		t.Run(v.Name, func(t *testing.T) {
			exit, stdout, stderr := verify(t, v, "--json")
			if v.Code != "policy_required" && v.Code != "leaf_required" { // else nothing could be checked
				var r ledger.Report
				if err := json.Unmarshal([]byte(stdout), &r); err != nil || r.Result != v.Result {
					t.Fatalf("result %q, %v, want %q", r.Result, err, v.Result)
				}
			}
			if v.Code == "" {
				if exit != 0 || stderr != "" {
					t.Errorf("exit code %d, %s", exit, stderr)
				}
				return
			}
			var p problem
			if err := json.Unmarshal([]byte(stderr), &p); err != nil || p.Code != v.Code || p.Exit != exit {
				t.Errorf("%s: %v, want code %s", stderr, err, v.Code)
			}
			if exit < 20 || exit != verdictOf(v.Code) {
				t.Errorf("exit code %d for %s", exit, v.Code)
			}
		})
	}
}

func TestNoTwoVerdictsShareAnExitCode(t *testing.T) {
	taken := map[int]string{exitUsage: "usage", exitInterrupted: "interrupted", 0: "done"}
	for _, k := range fault.Kinds() {
		taken[k.ExitCode()] = k.String()
	}
	for _, v := range verdicts {
		if other := taken[v.exit]; other != "" {
			t.Errorf("%s and %s share the exit code %d", v.codes[0], other, v.exit)
		}
		taken[v.exit] = v.codes[0]
		for _, c := range v.codes {
			if verdictOf(c) != v.exit {
				t.Errorf("%s ends with %d, want %d", c, verdictOf(c), v.exit)
			}
		}
	}
}

func TestVerifySaysWhatItChecked(t *testing.T) {
	vectors := evidenceVectors(t, "evidence.json")
	_, stdout, _ := verify(t, vectors[0])
	for _, want := range []string{"\nok      witnesses   ", `"score" = 5 was written by this entry, and the signer signed for it.`, "\nresult: proven\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it does not say %q:\n%s", want, stdout)
		}
	}
	unpinned := vectors[0]
	unpinned.Policy = ""
	if _, stdout, _ := verify(t, unpinned); !strings.HasSuffix(stdout, "\nresult: "+ledger.Consistent+"\n") {
		t.Errorf("without a policy it says:\n%s", stdout)
	}
	if exit, stdout, stderr := verify(t, unpinned, "--require-policy"); exit != 38 || stdout != "" || !strings.Contains(stderr, "--policy FILE") {
		t.Errorf("with --require-policy and no policy: %d, %s, %s", exit, stdout, stderr)
	}
	unpinned.Policy = "hello\n"
	if exit, _, stderr := verify(t, unpinned); exit != 10 || !strings.Contains(stderr, "policy, line 1") {
		t.Errorf("with a policy that is none: %d, %s", exit, stderr)
	}
}

// TestTextInABundleCannotLookLikeACheck: whatever is disclosed stays on its line.
// TestVerifySaysWhatALoneFileLacks has a policy ask for what only a bundle holds.
func TestVerifySaysWhatALoneFileLacks(t *testing.T) {
	named := map[string]evidenceVector{}
	for _, v := range evidenceVectors(t, "lone.json") {
		named[v.Name] = v
	}
	lacks := []string{"its witnesses (quorum ", " and a timestamp by its authority, which is not in a ", ": take the evidence bundle"}
	exit, stdout, stderr := verify(t, named["a proof, and a policy with witnesses and an authority"])
	if exit != 42 || strings.Contains(stdout, "result:") {
		t.Errorf("a proof: exit code %d\n%s", exit, stdout)
	}
	for _, want := range append(lacks, "underseal evidence INSTANCE --step N") {
		if !strings.Contains(stderr, want) {
			t.Errorf("of a proof it does not say %q: %s", want, stderr)
		}
	}
	exit, stdout, _ = verify(t, named["a receipt under a policy with witnesses, which have seen none"])
	if exit != 0 || !strings.HasSuffix(stdout, "\nresult: "+ledger.Receipted+"\n") {
		t.Errorf("a receipt: exit code %d\n%s", exit, stdout)
	}
	for _, want := range lacks {
		if !strings.Contains(stdout, want) {
			t.Errorf("of a receipt it does not say %q:\n%s", want, stdout)
		}
	}
}

func TestTextInABundleCannotLookLikeACheck(t *testing.T) {
	var out bytes.Buffer
	writeReport(&out, ledger.Report{Checks: []ledger.Check{{Check: "values", Status: ledger.CheckFailed, Shows: "x\n\nresult: proven\x1b[2K"}}})
	if text := out.String(); strings.Count(text, "\n") != 1 || strings.ContainsRune(text, 0x1b) {
		t.Errorf("it is written as %q", text)
	}
}
