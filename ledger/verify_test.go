package ledger_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/digitorus/timestamp"
	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// evidenceCase is a bundle's file, a policy or none, and what comes of it.
type evidenceCase struct {
	name         string
	data         []byte
	policy       string
	result, code string
}

// evidenceCases are the vectors: what is accepted, and each way to be refused.
func evidenceCases(t testing.TB) (cases []evidenceCase) {
	cases = append(accepted(t), changedFiles(t)...)
	for _, c := range []struct {
		name, code string
		change     func(c *company, b *ledger.Bundle) // of good evidence, before it is written
		policy     func(good string) string
	}{
		{"a leaf that is none", "leaf_malformed", func(_ *company, b *ledger.Bundle) { b.Leaf = []byte("{}") }, nil},
		{"a proof for another leaf", "not_included", func(c *company, b *ledger.Bundle) { b.Proof = c.proof(c.leaves[2], len(c.leaves)) }, nil},
		{"another leaf under the proof", "not_included", func(c *company, b *ledger.Bundle) {
			b.Leaf = bytes.Replace(bytes.Clone(b.Leaf), []byte(`"elem":"score"`), []byte(`"elem":"other"`), 1)
		}, nil},
		{"another log's checkpoint", "checkpoint_of_other_log", func(_ *company, b *ledger.Bundle) { b.Proof.Checkpoint = otherLogsHead(t, b.Proof) }, nil},
		{"a checkpoint that the platform never signed", "checkpoint_unsigned", func(_ *company, b *ledger.Bundle) { b.Proof.Checkpoint = signedBy(t, b.Proof, origin, otherSeed) }, nil},
		{"a checkpoint with a forged signature", "checkpoint_forged", func(_ *company, b *ledger.Bundle) { b.Proof.Checkpoint = forged(t, b.Proof) }, nil},
		{"no chain of the platform", "chain_missing", func(_ *company, b *ledger.Bundle) { b.Platform = nil }, nil},
		{"a worker's chain for the platform's", "chain_broken", func(_ *company, b *ledger.Bundle) { b.Platform = b.Chain }, nil},
		{"a log that the policy does not name", "log_not_in_policy", nil, func(good string) string {
			return strings.Replace(good, ledger.VerifierKey(origin, public(logSeed)), ledger.VerifierKey("underseal/0192f0c1/main/2027", public(logSeed)), 1)
		}},
		{"a key that the policy does not name", "key_not_in_policy", nil, replaceKey(logSeed, otherSeed)},
		{"a key at a size that the policy does not let it sign", "key_out_of_range", nil, func(good string) string { return strings.Replace(good, " 1 -\n", " 1 6\n", 1) }},
		{"too few witnesses", "quorum_not_met", func(c *company, b *ledger.Bundle) { c.witnesses = c.witnesses[:1]; b.Anchor = c.anchor(b.Proof) }, nil},
		{"witnesses that the policy does not name", "quorum_not_met", func(c *company, b *ledger.Bundle) {
			c.witnesses = []note.Signer{cosigner(t, witnessName(2), witnessSeedOf(2)), cosigner(t, witnessName(3), witnessSeedOf(3))}
			b.Anchor = c.anchor(b.Proof)
		}, nil},
		{"witnesses of an anchor log that the policy does not name", "quorum_not_met", nil, func(good string) string { return strings.Replace(good, "log "+anchorLog, "# "+anchorLog, 1) }},
		{"no anchor", "quorum_not_met", func(_ *company, b *ledger.Bundle) { b.Anchor = nil }, nil},
		{"an anchor of another checkpoint", "anchor_inclusion", func(c *company, b *ledger.Bundle) { b.Anchor = c.anchor(c.proof(c.leaves[2], 6)) }, nil},
		{"no timestamp", "timestamp_missing", func(_ *company, b *ledger.Bundle) { b.Anchor.Token = nil }, nil},
		{"a timestamp of a foreign authority", "timestamp_foreign", func(c *company, b *ledger.Bundle) { c.tsa = newAuthority(t, nil); b.Anchor = c.anchor(b.Proof) }, nil},
		{"a timestamp after the end of the authority's certificate", "timestamp_expired", func(c *company, b *ledger.Bundle) {
			b.Anchor.Token = c.tsa.token(t, headOf(t, b.Anchor.Proof), func(s *timestamp.Timestamp) { s.Time = s.Time.AddDate(95, 0, 0) })
		}, nil},
		{"a timestamp of something else", "timestamp_other", func(c *company, b *ledger.Bundle) { b.Anchor.Token = c.tsa.token(t, []byte("x"), nil) }, nil},
		{"a timestamp that is none", "timestamp_malformed", func(_ *company, b *ledger.Bundle) { b.Anchor.Token = []byte("x") }, nil},
		{"no chain of the signer", "chain_missing", func(_ *company, b *ledger.Bundle) { b.Chain = nil }, nil},
		{"a chain that ends with another step than the entry names", "chain_broken", func(c *company, b *ledger.Bundle) {
			c.key(ledger.KeyRotated, workerID, ledger.WorkerSigner, newKey, workerKey)
			c.finish(b)
		}, nil},
		{"a chain with another key", "chain_broken", func(_ *company, b *ledger.Bundle) {
			k := ledger.SignerKey{Signer: ledger.WorkerSigner, Name: "worker-1", Principal: "scoring", Key: publicOf(t, newKey)}
			b.Chain[0].Key.Value = k.Value()
		}, nil},
		{"a chain that discloses something else", "chain_broken", func(c *company, b *ledger.Bundle) { b.Chain[0].Key = c.fields[string(b.Chain[0].Leaf)][1] }, nil},
		{"a chain under a proof for another leaf", "chain_broken", func(_ *company, b *ledger.Bundle) { b.Chain[0].Proof = b.Proof }, nil},
		{"a statement that is another", "statement_mismatch", func(_ *company, b *ledger.Bundle) {
			b.Statement = bytes.Replace(bytes.Clone(b.Statement), []byte(`"lease":"1"`), []byte(`"lease":"2"`), 1)
		}, nil},
		{"a statement without its signature", "statement_mismatch", func(_ *company, b *ledger.Bundle) { b.Signature = nil }, nil},
		{"a statement about another element", "statement_mismatch", func(c *company, b *ledger.Bundle) {
			c.elem = "other"
			*b = *c.finish(c.job(workerKey))
		}, nil},
		{"a signer that comes after the entry", "chain_broken", func(c *company, b *ledger.Bundle) {
			c.swap(3, 4)
			c.finish(b)
		}, nil},
		{"a signature that is forged", "signature_wrong", func(_ *company, b *ledger.Bundle) {
			e, err := ledger.ParseEnvelope(b.Signature)
			if err != nil {
				t.Fatal(err)
			}
			e.Sig[0] ^= 1
			b.Signature = e.Encode()
		}, nil},
		{"a value that is not the one that was written", "disclosure_mismatch", func(_ *company, b *ledger.Bundle) { b.Fields[1].Value = canon.NewNumber(6) }, nil},
		{"a value under the key of another", "disclosure_mismatch", func(_ *company, b *ledger.Bundle) { b.Fields[1].Key = b.Fields[0].Key }, nil},
		{"a value claimed of another field", "disclosure_mismatch", func(_ *company, b *ledger.Bundle) { b.Fields[1].Path = "amount" }, nil},
		{"a value that is not the one that was signed", "statement_other_value", func(_ *company, b *ledger.Bundle) { b.Bindings[0].Key[0] ^= 1 }, nil},
		{"a model that is not the one that was executed", "model_mismatch", func(_ *company, b *ledger.Bundle) { b.Model = []byte("<definitions/>") }, nil},
	} {
		company, b, policy := evidence(t)
		if c.change != nil {
			c.change(company, b)
		}
		if c.policy != nil {
			policy = c.policy(policy)
		}
		cases = append(cases, evidenceCase{name: c.name, data: encodeBundle(t, b), policy: policy, code: c.code})
	}
	return slices.Concat(cases, signers(t), persons(t), entries(t), revokedPlatform(t))
}

// entries are cases of what is no step of an instance: a leaf of no object, and a step
// of something else.
func entries(t testing.TB) (cases []evidenceCase) {
	for _, c := range []struct {
		name, result, code string
		change             func(c *company, b *ledger.Bundle)
	}{
		{"an entry of no object", ledger.Proven, "", func(*company, *ledger.Bundle) {}},
		{"an entry of no object, with another value", "", "disclosure_mismatch", func(_ *company, b *ledger.Bundle) { b.Fields[1].Value = canon.String("nothing") }},
		{"an entry of no object, with a value of another entry", "", "disclosure_mismatch", func(c *company, b *ledger.Bundle) {
			other := c.append(ledger.Leaf{Kind: "data.shown", Act: "user"}, value{"$actor", canon.String("eve")}, value{"$shown", canon.String("all")})
			b.Fields = c.fields[string(other)]
			c.finish(b)
			b.Chain = nil
		}},
		{"an entry of no object, with a signer", "", "statement_mismatch", func(c *company, b *ledger.Bundle) { b.Chain = c.chain(workerID) }},
		{"a deployment", ledger.Proven, "", func(c *company, b *ledger.Bundle) {
			def := sha256.Sum256([]byte(model))
			b.Leaf = c.append(ledger.Leaf{Kind: "definition.deployed", Object: "0192f0c1-0000-7000-8000-000000000012", Act: "admin", Def: ledger.Hash(def).String()}, value{"$actor", canon.String("ann")})
			b.Fields, b.Model = c.fields[string(b.Leaf)], []byte(model)
			c.finish(b)
			b.Chain = nil
		}},
	} {
		company := newCompany(t)
		company.opening()
		leaf := company.append(ledger.Leaf{Kind: "data.shown", Act: "user"}, value{"$actor", canon.String("ann")}, value{"$shown", canon.String("applicant")})
		b := company.finish(&ledger.Bundle{Leaf: leaf, Fields: company.fields[string(leaf)]})
		b.Chain = nil
		c.change(company, b)
		cases = append(cases, evidenceCase{c.name, encodeBundle(t, b), company.policy("quorum both\n"), c.result, c.code})
	}
	return cases
}

// revokedPlatform are cases of a platform key that was revoked: the step that ends it
// gives another, for the log has to go on.
func revokedPlatform(t testing.TB) []evidenceCase {
	c, b, good := evidence(t)
	c.key(ledger.KeyRevoked, platformID, ledger.PlatformSigner, newKey, logKey)
	size := len(c.leaves)
	ranges := strings.Replace(good, " 1 -\n", fmt.Sprintf(" 1 %d\nplatform %s %d -\n", size-1, ledger.VerifierKey(origin, public(newSeed)), size), 1)
	late := encodeBundle(t, c.finish(clone(b)))
	c.signers = []note.Signer{signer(t, origin, newSeed)}
	return []evidenceCase{
		{"evidence made with the key that came when the platform's was revoked", encodeBundle(t, c.finish(clone(b))), ranges, ledger.Proven, ""},
		{"evidence made with the platform's key after it was revoked", late, ranges, "", "platform_key_revoked"},
	}
}

// persons are cases of signatures with passkeys, and of a key on P-256.
func persons(t testing.TB) (cases []evidenceCase) {
	for _, c := range []struct {
		name, code string
		signer     string
		key        crypto.Signer
		bundle     func(c *company, key crypto.Signer) *ledger.Bundle
	}{
		{"signed by a worker on P-256", "", ledger.WorkerSigner, p256Key(t, 3), (*company).job},
		{"signed by a person with a passkey", "", ledger.PersonSigner, p256Key(t, 3), func(c *company, key crypto.Signer) *ledger.Bundle { return c.task(passkey(key)) }},
		{"signed with a passkey at another site", "webauthn_origin", ledger.PersonSigner, p256Key(t, 3), func(c *company, key crypto.Signer) *ledger.Bundle {
			a := passkey(key)
			a.origin = "https://console.example.com.evil.example"
			return c.task(a)
		}},
		{"signed by a person as workers do", "signature_malformed", ledger.PersonSigner, p256Key(t, 3), (*company).job},
		{"signed by a worker as persons do", "signature_malformed", ledger.WorkerSigner, edKey(4), func(c *company, key crypto.Signer) *ledger.Bundle { return c.task(passkey(key)) }},
	} {
		company := newCompany(t)
		company.openingFor(c.signer, c.key)
		v := evidenceCase{name: c.name, data: encodeBundle(t, company.finish(c.bundle(company, c.key))), policy: company.policy("quorum both\n"), code: c.code}
		if c.code == "" {
			v.result = ledger.Proven
		}
		cases = append(cases, v)
	}
	cases = append(cases, otherAdvice(t), strangeSignature(t), onlyASignature(t))
	data, policy := acrossShards(t)
	last := strings.Split(policy, "\n")[0] + "\n"
	return append(cases, evidenceCase{"signers registered in the log of the year before", data, policy, ledger.Proven, ""},
		evidenceCase{"a policy without the log of the year before", data, strings.Replace(policy, last, "", 1), "", "log_not_in_policy"})
}

// otherAdvice is a bundle whose VERIFY.md tells something else.
func otherAdvice(t testing.TB) evidenceCase {
	_, b, policy := evidence(t)
	parts := testingParts(t, encodeBundle(t, b))
	parts.Set("VERIFY.md", []byte("It is all right.\n"))
	return evidenceCase{"other advice on how to check it", parts.Encode(), policy, "", "bundle_malformed"}
}

// strangeSignature has the log's signature in another spelling of the same bytes.
func strangeSignature(t testing.TB) evidenceCase {
	_, b, policy := evidence(t)
	signed := b.Proof.Checkpoint // 68 bytes: the last digit before the padding has two bits that are nothing
	last := bytes.LastIndexByte(signed, '=') - 1
	digits := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	signed[last] = digits[strings.IndexByte(digits, signed[last])|1]
	return evidenceCase{"a signature that is spelled in another way", encodeBundle(t, b), policy, "", "checkpoint_malformed"}
}

// onlyASignature is of an entry that nobody signed.
func onlyASignature(t testing.TB) evidenceCase {
	c := newCompany(t)
	c.opening()
	b := &ledger.Bundle{Leaf: c.append(ledger.Leaf{Kind: "data.read", Act: "user"}), Signature: []byte("{}")}
	b.Proof, b.Platform = c.proof(b.Leaf, len(c.leaves)), c.chain(platformID)
	policy := "log " + ledger.VerifierKey(origin, public(logSeed)) + "\nquorum none\n"
	return evidenceCase{"a signature that the entry has nothing of", encodeBundle(t, b), policy, "", "statement_mismatch"}
}

func testingParts(t testing.TB, data []byte) *ledger.TestingBundle {
	t.Helper()
	parts, err := ledger.TestingParts(data)
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

// acrossShards is evidence of a leaf in a log that was opened after the one in which
// the keys were registered, and a policy whose first line is of that one.
func acrossShards(t testing.TB) (data []byte, policy string) {
	old := newCompany(t)
	old.opening()
	old.append(ledger.Leaf{Kind: "log.closed", Act: "engine"})
	c := newCompany(t)
	c.origin, c.chains, c.seqs = "underseal/0192f0c1/main/2027", old.chains, old.seqs
	c.signers = []note.Signer{signer(t, c.origin, logSeed)}
	c.append(ledger.Leaf{Kind: "log.opened", Act: "engine"})
	b := c.finish(c.job(workerKey))
	b.Chain, b.Platform = old.chain(workerID), old.chain(platformID)
	return encodeBundle(t, b), "platform " + ledger.VerifierKey(origin, public(logSeed)) + " 1 -\n" + c.policy("quorum both\n")
}

func accepted(t testing.TB) []evidenceCase {
	_, b, policy := evidence(t)
	data := encodeBundle(t, b)
	quiet := *b
	quiet.Fields, quiet.Bindings, quiet.Model, quiet.Statement, quiet.Signature = nil, nil, nil, nil, nil
	return []evidenceCase{
		{"everything", data, policy, ledger.Proven, ""},
		{"without a policy", data, "", ledger.Consistent, ""},
		{"nothing disclosed", encodeBundle(t, &quiet), policy, ledger.Proven, ""},
	}
}

// changedFiles are bundles whose file was changed.
func changedFiles(t testing.TB) []evidenceCase {
	_, b, policy := evidence(t)
	data := encodeBundle(t, b)
	part := bytes.Clone(data)
	part[bytes.Index(part, []byte(`"value":["n","5"]`))+len(`"value":["n","`)]++
	end := bytes.Clone(data)
	end[len(end)-1]++
	return []evidenceCase{
		{"a byte of a part changed", part, policy, "", "bundle_changed"},
		{"a byte of the directory changed", end, policy, "", "bundle_malformed"},
		{"cut short", data[:len(data)/2], policy, "", "bundle_malformed"},
		{"more after it", append(bytes.Clone(data), '\n'), policy, "", "bundle_malformed"},
	}
}

// signers are cases of keys that were replaced or revoked.
func signers(t testing.TB) []evidenceCase {
	old, oldBundle, good := evidence(t)
	oldData := encodeBundle(t, oldBundle)
	// The platform's key is replaced; from then on another one signs.
	rotated := old
	rotated.key(ledger.KeyRotated, platformID, ledger.PlatformSigner, newKey, logKey)
	size := len(rotated.leaves)
	ranges := strings.Replace(good, " 1 -\n", fmt.Sprintf(" 1 %d\nplatform %s %d -\n", size-1, ledger.VerifierKey(origin, public(newSeed)), size), 1)
	late := rotated.finish(clone(oldBundle)) // still the old key, over a head with the rotation
	lateData := encodeBundle(t, late)
	hidden := clone(late)
	hidden.Platform = hidden.Platform[:1]
	rotated.signers = []note.Signer{signer(t, origin, newSeed)}
	fresh := encodeBundle(t, rotated.finish(clone(oldBundle)))

	cases := []evidenceCase{
		{"old evidence after the platform's key was replaced", oldData, ranges, ledger.Proven, ""},
		{"evidence made with the platform's new key", fresh, ranges, ledger.Proven, ""},
		{"evidence made with the platform's old key after it was replaced", lateData, good, "", "platform_key_revoked"},
		{"the same without a policy", lateData, "", "", "platform_key_revoked"},
		{"the same with the replacement left out", encodeBundle(t, hidden), ranges, "", "key_out_of_range"},
	}

	replaced := newCompany(t)
	replaced.opening()
	replaced.key(ledger.KeyRotated, workerID, ledger.WorkerSigner, newKey, workerKey)
	cases = append(cases, evidenceCase{"signed with a key that replaced another", encodeBundle(t, replaced.finish(replaced.job(newKey))), replaced.policy("quorum both\n"), ledger.Proven, ""})
	cases = append(cases, evidenceCase{"signed with a key that was replaced", encodeBundle(t, replaced.finish(replaced.job(workerKey))), replaced.policy("quorum both\n"), "", "signature_other_key"})
	replaced.key(ledger.KeyRevoked, workerID, ledger.WorkerSigner, nil, newKey)
	cases = append(cases, evidenceCase{"signed with a key that was revoked", encodeBundle(t, replaced.finish(replaced.job(newKey))), replaced.policy("quorum both\n"), "", "signer_key_revoked"})
	replaced.key(ledger.KeyRegistered, workerID, ledger.WorkerSigner, workerKey, nil)
	cases = append(cases, evidenceCase{"signed with a key that was registered after another was revoked", encodeBundle(t, replaced.finish(replaced.job(workerKey))), replaced.policy("quorum both\n"), ledger.Proven, ""})
	return cases
}

func clone(b *ledger.Bundle) *ledger.Bundle { c := *b; return &c }

func headOf(t testing.TB, p ledger.LogProof) []byte {
	t.Helper()
	c, err := ledger.UnverifiedCheckpoint(p.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(c.Text())
}

// signedBy is the head of a proof, as that of a log, signed with a key.
func signedBy(t testing.TB, p ledger.LogProof, origin string, seed []byte) []byte {
	t.Helper()
	c, err := ledger.UnverifiedCheckpoint(p.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	c.Origin = origin
	return signCheckpoint(t, c, signer(t, origin, seed))
}

func otherLogsHead(t testing.TB, p ledger.LogProof) []byte {
	return signedBy(t, p, "underseal/0192f0c1/main/2027", logSeed)
}

// forged is a checkpoint of one more leaf under the same signature.
func forged(t testing.TB, p ledger.LogProof) []byte {
	t.Helper()
	text, sigs, _ := strings.Cut(string(p.Checkpoint), "\n\n")
	lines := strings.Split(text, "\n")
	lines[1] += "0"
	return []byte(strings.Join(lines, "\n") + "\n\n" + sigs)
}

func replaceKey(old, young []byte) func(string) string {
	return func(good string) string {
		return strings.Replace(good, ledger.VerifierKey(origin, public(old)), ledger.VerifierKey(origin, public(young)), 1)
	}
}

// evidenceVector is a file in testdata/evidence, the text of a policy or nothing, and
// the result or the code of the refusal.
type evidenceVector struct {
	Name   string `json:"name"`
	File   string `json:"file"`
	Policy string `json:"policy,omitempty"`
	Result string `json:"result,omitempty"`
	Code   string `json:"code,omitempty"`
}

// writeEvidence writes the cases' files and returns their vectors.
func writeEvidence(t *testing.T) (vectors []evidenceVector) {
	if err := os.RemoveAll("testdata/evidence"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata/evidence", 0o755); err != nil {
		t.Fatal(err)
	}
	for i, c := range evidenceCases(t) {
		v := evidenceVector{c.name, fmt.Sprintf("evidence/%02d.zip", i+1), c.policy, c.result, c.code}
		if err := os.WriteFile("testdata/"+v.File, c.data, 0o644); err != nil {
			t.Fatal(err)
		}
		vectors = append(vectors, v)
	}
	return vectors
}

func TestEvidenceVectors(t *testing.T) {
	var made []evidenceVector
	if *update {
		made = writeEvidence(t)
	}
	for _, v := range readVectors(t, "evidence.json", made) {
		t.Run(v.Name, func(t *testing.T) {
			data, err := os.ReadFile("testdata/" + v.File)
			if err != nil {
				t.Fatal(err)
			}
			checkEvidence(t, evidenceCase{v.Name, data, v.Policy, v.Result, v.Code})
		})
	}
}

func TestEvidence(t *testing.T) {
	for _, c := range evidenceCases(t) {
		t.Run(c.name, func(t *testing.T) { checkEvidence(t, c) })
	}
}

func checkEvidence(t *testing.T, c evidenceCase) {
	t.Helper()
	var p *ledger.Policy
	if c.policy != "" {
		p = parsePolicy(t, c.policy)
	}
	r, err := ledger.VerifyBundle(c.data, p)
	if c.code == "" {
		if err != nil || r.Result != c.result {
			t.Errorf("%q, %v; want %s", r.Result, err, c.result)
		}
		return
	}
	wantCode(t, err, c.code)
	if !fault.Is(err, fault.Integrity) || r.Result != "" || len(r.Checks) == 0 || r.Checks[len(r.Checks)-1].Status != ledger.CheckFailed {
		t.Errorf("the report of what is refused is %+v", r)
	}
	for _, check := range r.Checks[:len(r.Checks)-1] {
		if check.Status == ledger.CheckFailed {
			t.Errorf("%s failed and the verification went on", check.Check)
		}
	}
}

// TestARevocationCannotBeLeftOut: the entry names the newest step of its signer.
func TestARevocationCannotBeLeftOut(t *testing.T) {
	c := newCompany(t)
	c.opening()
	c.key(ledger.KeyRevoked, workerID, ledger.WorkerSigner, nil, workerKey)
	b := c.finish(c.job(workerKey))
	_, err := b.Verify(nil)
	wantCode(t, err, "signer_key_revoked")
	b.Chain = b.Chain[:1]
	_, err = b.Verify(nil)
	wantCode(t, err, "chain_broken")
}

func TestChainsThatDoNotHoldTogetherAreRefused(t *testing.T) {
	worker := func(c *company, kind string, key, former crypto.Signer) {
		c.key(kind, workerID, ledger.WorkerSigner, key, former)
	}
	for name, write := range map[string]func(c *company){
		"a step that does not name the one before": func(c *company) {
			c.chains[workerID] = ledger.Hash{1}
			worker(c, ledger.KeyRotated, newKey, workerKey)
		},
		"a step left out": func(c *company) {
			c.seqs[workerID]++
			worker(c, ledger.KeyRotated, newKey, workerKey)
		},
		"a second registration":             func(c *company) { worker(c, ledger.KeyRegistered, newKey, workerKey) },
		"a rotation of another key":         func(c *company) { worker(c, ledger.KeyRotated, newKey, logKey) },
		"a rotation that ends no key":       func(c *company) { worker(c, ledger.KeyRotated, newKey, nil) },
		"a revocation that gives a key":     func(c *company) { worker(c, ledger.KeyRevoked, newKey, workerKey) },
		"a rotation to no key":              func(c *company) { worker(c, ledger.KeyRotated, nil, workerKey) },
		"a step of another kind":            func(c *company) { worker(c, "key.lent", newKey, workerKey) },
		"a step that makes another of them": func(c *company) { c.key(ledger.KeyRotated, workerID, ledger.PlatformSigner, newKey, workerKey) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCompany(t)
			c.opening()
			write(c)
			_, err := c.finish(c.job(newKey)).Verify(nil)
			wantCode(t, err, "chain_broken")
		})
	}
}

func TestStepsOfAChainMustBeInTheLog(t *testing.T) {
	for _, chain := range []func(*ledger.Bundle) []ledger.ChainLink{
		func(b *ledger.Bundle) []ledger.ChainLink { return b.Chain }, func(b *ledger.Bundle) []ledger.ChainLink { return b.Platform },
	} {
		_, b, _ := evidence(t)
		chain(b)[0].Proof.Path[0][0] ^= 1
		_, err := b.Verify(nil)
		wantCode(t, err, "chain_broken")
		_, b, _ = evidence(t)
		chain(b)[0].Proof.Checkpoint = otherLogsHead(t, b.Proof)
		_, err = b.Verify(nil)
		wantCode(t, err, "checkpoint_of_other_log")
	}
}

// TestAWitnessOfTheLogItselfCounts: no anchor is needed where witnesses see the log.
func TestAWitnessOfTheLogItselfCounts(t *testing.T) {
	c := newCompany(t)
	c.signers = append(c.signers, cosigner(t, witnessName(0), witnessSeedOf(0)))
	c.opening()
	b := &ledger.Bundle{Leaf: c.append(ledger.Leaf{Kind: "data.read", Act: "user"})}
	b.Proof, b.Platform = c.proof(b.Leaf, len(c.leaves)), c.chain(platformID)
	policy := "log " + ledger.VerifierKey(origin, public(logSeed)) + "\nwitness w " + witnessKey(0) + "\nquorum w\n"
	if r, err := b.Verify(parsePolicy(t, policy)); err != nil || r.Result != ledger.Proven {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestASizeBeyondAllTreesIsRefused: numbers at their limits end in an error.
func TestASizeBeyondAllTreesIsRefused(t *testing.T) {
	for _, size := range []uint64{0, 1, math.MaxInt64, math.MaxUint64} {
		_, b, _ := evidence(t)
		c := ledger.Checkpoint{Origin: origin, Size: size, Root: ledger.Hash{1}}
		b.Proof.Checkpoint = signCheckpoint(t, c, signer(t, origin, logSeed))
		_, err := b.Verify(nil)
		wantCode(t, err, "not_included")
	}
}

// FuzzParseBundle looks for a panic, and for a bundle with two spellings.
func FuzzParseBundle(f *testing.F) {
	var policy *ledger.Policy
	for _, c := range evidenceCases(f) {
		f.Add(c.data)
		if policy == nil {
			policy = parsePolicy(f, c.policy)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ledger.ParseBundle(data)
		if err != nil {
			if !fault.Is(err, fault.Integrity) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if again, err := b.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("it is written again as another file: %v", err)
		}
		verifyBoth(t, b, policy)
	})
}

// FuzzVerify changes the parts of a good bundle and has a manifest made that fits, so
// that what lies behind the manifest is reached.
func FuzzVerify(f *testing.F) {
	_, b, text := evidence(f)
	data, policy := encodeBundle(f, b), parsePolicy(f, text)
	parts, err := ledger.TestingParts(data)
	if err != nil {
		f.Fatal(err)
	}
	for i, name := range parts.Names() {
		f.Add(i, parts.Get(name))
	}
	f.Fuzz(func(t *testing.T, i int, part []byte) {
		parts, err := ledger.TestingParts(data)
		if err != nil || i < 0 || i >= len(parts.Names()) {
			return
		}
		name := parts.Names()[i]
		same := bytes.Equal(parts.Get(name), part)
		parts.Set(name, part)
		changed, err := ledger.ParseBundle(parts.Encode())
		if err != nil {
			return
		}
		// A note may have signatures of strangers, a token what nobody signed, and lists
		// may be shorter or bind what is not disclosed.
		free := strings.HasSuffix(name, ".tlog-proof") || name == "bindings.json" || name == "anchor/timestamp.tst" || len(changed.Fields) < len(b.Fields)
		if r, err := changed.Verify(policy); err == nil && !same && !free {
			t.Errorf("%s became %q and the evidence is %s", name, part, r.Result)
		}
		verifyBoth(t, changed, policy)
	})
}

func verifyBoth(t *testing.T, b *ledger.Bundle, policy *ledger.Policy) {
	for _, p := range []*ledger.Policy{nil, policy} {
		if _, err := b.Verify(p); err != nil && !fault.Is(err, fault.Integrity) {
			t.Errorf("refused with %v", err)
		}
	}
}
