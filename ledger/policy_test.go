package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// witnessKey is the i-th witness of these tests; its name is in no policy file.
func witnessSeedOf(i int) []byte { return bytes.Repeat([]byte{byte(100 + i)}, 32) }

func witnessName(i int) string { return fmt.Sprintf("w%d.example/key", i) }

func witnessKey(i int) string { return ledger.CosignerKey(witnessName(i), public(witnessSeedOf(i))) }

// certificate is a certificate of its own in base64, as a tsa line has it.
func certificate(t testing.TB, name string) string {
	t.Helper()
	key := ed25519.NewKeyFromSeed(otherSeed)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(bytes.NewReader(nil), c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func parsePolicy(t testing.TB, text string) *ledger.Policy {
	t.Helper()
	p, err := ledger.ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// twoLevels is the example of C2SP tlog-policy: 2 of 3 and 1 of 3.
func twoLevels() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# an example\nlog %s https://log.example/\n\n", ledger.VerifierKey(origin, public(logSeed)))
	for i := range 6 {
		fmt.Fprintf(&b, "\twitness W%d  %s\n", i, witnessKey(i))
	}
	b.WriteString("group X 2 W0 W1 W2\ngroup Y any W3 W4 W5\ngroup X-and-Y all X Y\n quorum X-and-Y \n")
	return b.String()
}

func TestPolicyIsWrittenAndReadAgain(t *testing.T) {
	text := twoLevels() + "platform " + ledger.VerifierKey(origin, public(otherSeed)) + " 1 100\nplatform " + ledger.VerifierKey(origin+".2", public(otherSeed)) + " 5 -\n" +
		"tsa ours " + certificate(t, "ours") + "\n"
	p := parsePolicy(t, text)
	again := parsePolicy(t, string(p.Encode()))
	if !bytes.Equal(p.Encode(), again.Encode()) || len(again.Logs) != 3 || len(again.Witnesses) != 6 || len(again.Groups) != 3 || len(again.Authorities) != 1 || again.Quorum != "X-and-Y" {
		t.Errorf("written and read again: %s\nwant %s", again.Encode(), p.Encode())
	}
	if l := again.Logs[1]; l.First != 1 || l.Last != 100 || again.Logs[2].First != 5 || again.Logs[2].Last != 1<<64-1 || again.Logs[0].URL == "" {
		t.Errorf("logs %+v", again.Logs)
	}
}

// badPolicies are refused, each with what the message says.
func badPolicies(t testing.TB) map[string]string {
	key, other := ledger.VerifierKey(origin, public(logSeed)), ledger.VerifierKey("other", public(logSeed))
	w := "witness A " + witnessKey(0) + "\nwitness B " + witnessKey(1) + "\n"
	return map[string]string{
		"":                           "no quorum line",
		"quorum none\nquorum none\n": "second quorum",
		"quorum A\n" + w:             `"A" is no witness`,
		"quorum\n":                   "a quorum line is",
		"quorum none none\n":         "a quorum line is",
		"hello\nquorum none\n":       "line 1: \"hello\" is not known",
		"quorum none\n\x01\n":        "line 2: it has the control character",
		"quorum none\r\n":            "control character",
		"log\nquorum none\n":         "a log line is",
		"log " + witnessKey(0) + "\nquorum none\n":                                   "a witness's key",
		"log " + key + "\nlog " + other + "\nquorum none\n":                          "second line with this key",
		"log " + key + "\nplatform " + other + " 1 2\nquorum none\n":                 "second line with this key",
		"platform " + key + " 1 2\nplatform " + key + " 3 4\nquorum none\n":          "second line with this key",
		"log " + key[1:] + "\nquorum none\n":                                         "id of another key",
		"platform " + key + "\nquorum none\n":                                        "a platform line is",
		"platform " + key + " 2 1\nquorum none\n":                                    "comes after",
		"platform " + key + " 01 2\nquorum none\n":                                   "not a decimal",
		"platform " + key + " 1 x\nquorum none\n":                                    "not a decimal",
		"witness A\nquorum none\n":                                                   "a witness line is",
		"witness A " + key + "\nquorum none\n":                                       "not a witness's",
		"witness A x\nquorum none\n":                                                 "is not of the form",
		w + "witness C " + witnessKey(1) + "\nquorum none\n":                         "same key as B",
		w + "witness A " + witnessKey(2) + "\nquorum none\n":                         `"A" is taken`,
		w + "witness none " + witnessKey(2) + "\nquorum none\n":                      `"none" is taken`,
		w + "group A any B\nquorum none\n":                                           `"A" is taken`,
		w + "group G any\nquorum G\n":                                                "a group line is",
		w + "group G any C\nquorum G\n":                                              `"C" is no witness`,
		w + "group G any none\nquorum G\n":                                           `"none" is no witness`,
		w + "group G any A A\nquorum G\n":                                            `"A" is already a member`,
		w + "group G any A\ngroup H any A B\nquorum G\n":                             `"A" is already a member`,
		w + "group G any G\nquorum G\n":                                              `"G" is no witness`,
		w + "group G 0 A\nquorum G\n":                                                "cannot be",
		w + "group G 3 A B\nquorum G\n":                                              "cannot be",
		w + "group G +1 A B\nquorum G\n":                                             "cannot be",
		"tsa x\nquorum none\n":                                                       "a tsa line is",
		"tsa x !\nquorum none\n":                                                     "not in base64",
		"tsa x AAAA\nquorum none\n":                                                  "cannot be read",
		strings.Repeat("tsa x "+certificate(t, "x")+"\n", 2) + "quorum none\n":       "is taken",
		"quorum none\n" + strings.Repeat("# more than any policy needs\n", 1<<20/20): "bytes are more",
	}
}

func TestPoliciesThatAreRefused(t *testing.T) {
	for text, says := range badPolicies(t) {
		_, err := ledger.ParsePolicy([]byte(text))
		if !fault.Is(err, fault.Invalid) || fault.CodeOf(err) != "policy_invalid" || !strings.Contains(err.Error(), says) {
			t.Errorf("ParsePolicy(%.100q): %v, want %q", text, err, says)
		}
	}
}

// policyNote is a checkpoint, and the code with which a policy refuses it.
type policyNote struct {
	name   string
	signed []byte
	code   string
}

// quorumNotes are cosigned by some of the witnesses of twoLevels.
func quorumNotes(t testing.TB) (notes []policyNote) {
	c := ledger.Checkpoint{Origin: origin, Size: 12}
	for _, of := range []struct {
		name      string
		witnesses []int
		code      string
	}{
		{"nobody", nil, "quorum_not_met"}, {"two and one", []int{0, 2, 5}, ""}, {"all", []int{0, 1, 2, 3, 4, 5}, ""},
		{"one and one", []int{0, 3}, "quorum_not_met"}, {"two and none", []int{0, 1}, "quorum_not_met"}, {"none and three", []int{3, 4, 5}, "quorum_not_met"},
		{"one and a stranger", []int{0, 3, 9}, "quorum_not_met"},
	} {
		signers := []note.Signer{signer(t, origin, logSeed)}
		for _, i := range of.witnesses {
			signers = append(signers, cosigner(t, witnessName(i), witnessSeedOf(i)))
		}
		notes = append(notes, policyNote{of.name, signCheckpoint(t, c, signers...), of.code})
	}
	return notes
}

// checkByPolicy opens a note and asks for the quorum.
func checkByPolicy(p *ledger.Policy, signed []byte) error {
	_, n, err := p.Open(signed)
	if err != nil {
		return err
	}
	return p.CheckQuorum(n)
}

// checkNotes requires that each note is accepted, or refused with its code.
func checkNotes(t *testing.T, p *ledger.Policy, notes []policyNote) {
	t.Helper()
	for _, n := range notes {
		t.Run(n.name, func(t *testing.T) {
			if err := checkByPolicy(p, n.signed); n.code != "" {
				wantCode(t, err, n.code)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestQuorum(t *testing.T) {
	checkNotes(t, parsePolicy(t, twoLevels()), quorumNotes(t))
	none := parsePolicy(t, "log "+ledger.VerifierKey(origin, public(logSeed))+"\nquorum none\n")
	if err := checkByPolicy(none, signCheckpoint(t, ledger.Checkpoint{Origin: origin, Size: 12}, signer(t, origin, logSeed))); err != nil {
		t.Errorf("a policy that asks no witness: %v", err)
	}
}

// TestOneWitnessIsCountedOnce: a witness that signs twice, or under the name of
// another, does not make two.
func TestOneWitnessIsCountedOnce(t *testing.T) {
	p := parsePolicy(t, twoLevels())
	c := ledger.Checkpoint{Origin: origin, Size: 12}
	twice := signCheckpoint(t, c, signer(t, origin, logSeed), cosigner(t, witnessName(0), witnessSeedOf(0)), cosigner(t, witnessName(0), witnessSeedOf(0)),
		cosigner(t, witnessName(1), witnessSeedOf(0)), cosigner(t, witnessName(3), witnessSeedOf(3)))
	_, n, err := p.Open(twice)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, p.CheckQuorum(n), "quorum_not_met")
}

// twoKeys is a policy of a log whose key was replaced at size 21.
func twoKeys() string {
	return "platform " + ledger.VerifierKey(origin, public(logSeed)) + " 10 20\nplatform " + ledger.VerifierKey(origin, public(otherSeed)) + " 21 -\n" +
		"witness W " + witnessKey(0) + "\nquorum none\n"
}

// signedNotes are signed by one key or the other of twoKeys, or by others.
func signedNotes(t testing.TB) []policyNote {
	at := func(size uint64) ledger.Checkpoint { return ledger.Checkpoint{Origin: origin, Size: size} }
	old, young := signer(t, origin, logSeed), signer(t, origin, otherSeed)
	return []policyNote{
		{"the first size", signCheckpoint(t, at(10), old), ""},
		{"the last size", signCheckpoint(t, at(20), old), ""},
		{"the new key", signCheckpoint(t, at(21), young), ""},
		{"both keys", signCheckpoint(t, at(21), old, young), ""},
		{"before the first size", signCheckpoint(t, at(9), old), "key_out_of_range"},
		{"after the last size", signCheckpoint(t, at(21), old), "key_out_of_range"},
		{"the new key too early", signCheckpoint(t, at(20), young), "key_out_of_range"},
		{"a key of nobody", signCheckpoint(t, at(15), signer(t, origin, witnessSeed)), "key_not_in_policy"},
		{"a witness alone", signCheckpoint(t, at(15), cosigner(t, witnessName(0), witnessSeedOf(0))), "key_not_in_policy"},
		{"another log", signCheckpoint(t, ledger.Checkpoint{Origin: "other", Size: 15}, signer(t, "other", logSeed)), "log_not_in_policy"},
		{"another log with this log's signature", signCheckpoint(t, ledger.Checkpoint{Origin: "other", Size: 15}, old), "log_not_in_policy"},
		{"no note", []byte("hello"), "checkpoint_malformed"},
		{"a witness's wrong signature", swapWitness(signCheckpoint(t, at(15), old, cosigner(t, witnessName(0), witnessSeedOf(0)))), "checkpoint_forged"},
	}
}

func TestPolicyOpensOnlyWhatItsKeysSigned(t *testing.T) {
	checkNotes(t, parsePolicy(t, twoKeys()), signedNotes(t))
}

// policyVector is a policy that is read, or refused as one, or a note that it refuses.
type policyVector struct {
	Name   string `json:"name"`
	Policy string `json:"policy"`
	Note   string `json:"note,omitempty"`
	Kind   string `json:"kind,omitempty"`
	Code   string `json:"code,omitempty"`
}

func makePolicyVectors(t *testing.T) (vectors []policyVector) {
	vectors = []policyVector{
		{Name: "groups of two levels", Policy: twoLevels()}, {Name: "a key that was replaced", Policy: twoKeys()}, {Name: "an authority", Policy: "tsa ours " + certificate(t, "ours") + "\nquorum none"},
		{Name: "comments and space", Policy: "# nobody\n\n \t\n\tquorum \t none \t\n# x"},
	}
	bad := badPolicies(t)
	for _, text := range slices.Sorted(maps.Keys(bad)) {
		if len(text) < 1<<16 {
			vectors = append(vectors, policyVector{Name: bad[text], Policy: text, Kind: "invalid", Code: "policy_invalid"})
		}
	}
	for _, of := range []struct {
		policy string
		notes  []policyNote
	}{{twoLevels(), quorumNotes(t)}, {twoKeys(), signedNotes(t)}} {
		for _, n := range of.notes {
			v := policyVector{Name: n.name, Policy: of.policy, Note: string(n.signed), Code: n.code}
			if n.code != "" {
				v.Kind = "integrity"
			}
			vectors = append(vectors, v)
		}
	}
	return vectors
}

func TestPolicyVectors(t *testing.T) {
	for _, v := range readVectors(t, "policy.json", makePolicyVectors(t)) {
		t.Run(v.Name, func(t *testing.T) {
			p, err := ledger.ParsePolicy([]byte(v.Policy))
			if err == nil && v.Note != "" {
				err = checkByPolicy(p, []byte(v.Note))
			}
			refusedAs(t, err, v.Kind, v.Code)
		})
	}
}

// swapWitness changes the last signature of a note.
func swapWitness(signed []byte) []byte {
	i := len(signed) - 8
	if signed[i] == 'A' {
		signed[i] = 'B'
	} else {
		signed[i] = 'A'
	}
	return signed
}

// FuzzParsePolicy looks for a panic, and for a policy that is lost when written.
func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(twoLevels()))
	for text := range badPolicies(f) {
		if len(text) < 1<<16 {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ledger.ParsePolicy(data)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		again, err := ledger.ParsePolicy(p.Encode())
		if err != nil || !bytes.Equal(again.Encode(), p.Encode()) {
			t.Errorf("%q is written as %q: %v", data, p.Encode(), err)
		}
	})
}
