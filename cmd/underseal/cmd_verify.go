package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

type verifyCmd struct {
	File          string `arg:"" help:"Evidence as it was exported (.zip), a receipt, or a proof from underseal log prove; - is stdin."`
	Policy        string `help:"Whom to believe: keys of the log, witnesses, time stamping authority. Get it from elsewhere than the file." placeholder:"FILE"`
	Leaf          string `help:"The entry that the file has to be about: its hash, or a file that holds it. A proof alone does not say which it is of." placeholder:"HASH|FILE"`
	RequirePolicy bool   `help:"Fail without a policy, so that \"consistent\" cannot be taken for \"proven\"."`
}

func (verifyCmd) Help() string {
	return standsAlone + " Checks evidence offline and says each thing that it checked. The result is \"proven\" with a policy, and without one " +
		"\"" + ledger.Consistent + "\". Receipts and proofs carry no keys, so they need a policy, and a receipt is only the platform's word: \"" + ledger.Receipted +
		"\". The exit code says what does not hold: docs/exit-codes.md."
}

func (c *verifyCmd) Run(_ context.Context, e *env) error {
	policy, err := c.policy(e)
	if err != nil {
		return err
	}
	leaf, err := c.leaf(e)
	if err != nil {
		return err
	}
	data, err := e.readInput(c.File)
	if err != nil {
		return err
	}
	report, refused := ledger.VerifyFile(data, leaf, policy)
	if len(report.Checks) == 0 { // nothing could be checked
		return refused
	}
	if err := e.result(report, func(w io.Writer) { writeReport(w, report) }); err != nil {
		return err
	}
	return refused
}

// policy reads the policy; nil: none was given and none is required.
func (c *verifyCmd) policy(e *env) (*ledger.Policy, error) {
	if c.Policy == "" {
		if c.RequirePolicy {
			return nil, fault.New(fault.Invalid, "without a policy nothing can be proven").WithCode("policy_required").
				WithHint("get the policy from the operator of the log, by another way than the bundle, and give it with --policy FILE")
		}
		return nil, nil
	}
	return e.readPolicy(c.Policy)
}

// leaf is the hash of the entry that the file has to be about; nil: it says so itself.
func (c *verifyCmd) leaf(e *env) (*ledger.Hash, error) {
	if c.Leaf == "" {
		return nil, nil
	}
	if hash, err := ledger.ParseHash(c.Leaf); err == nil {
		return &hash, nil
	}
	body, err := e.readInput(c.Leaf)
	if err != nil {
		return nil, err
	}
	if _, err := ledger.ParseLeaf(body); err != nil {
		return nil, fault.New(fault.Invalid, "%s holds no entry of a log: %w", c.Leaf, err).WithCode("leaf_malformed").
			WithHint("--leaf takes the hash of an entry (64 hex digits), or a file with its bytes and nothing else")
	}
	hash := ledger.LeafHash(body)
	return &hash, nil
}

func writeReport(w io.Writer, r ledger.Report) {
	for _, c := range r.Checks {
		// Text from a bundle stays on its line: it cannot look like a check.
		fmt.Fprintf(w, "%-7s %-11s %s\n", c.Status, c.Check, printable(strings.ReplaceAll(c.Shows, "\n", " ")))
	}
	if r.Result != "" {
		fmt.Fprintf(w, "\nresult: %s\n", r.Result)
	}
}

// verdict is why evidence or a database does not hold, with the exit code that says so.
type verdict struct {
	exit    int
	codes   []string // of the errors; one that ends in _ stands for all that begin so
	meaning string
}

// verdicts are the exit codes of verify that no kind of error has.
// docs/exit-codes.md publishes them.
var verdicts = []verdict{
	{20, []string{"bundle_malformed", "receipt_malformed", "proof_malformed", "checkpoint_malformed", "leaf_malformed"}, "the file is no evidence, receipt or proof, or not in its one spelling"},
	{21, []string{"bundle_changed"}, "a part of the bundle was changed"},
	{22, []string{"not_included"}, "the entry is not in the log where the proof says, or the file is about another entry"},
	{23, []string{"checkpoint_of_other_log", "log_not_in_policy"}, "the checkpoint is that of another log, or of one that the policy does not name"},
	{24, []string{"checkpoint_unsigned", "checkpoint_forged", "receipt_forged"}, "no key of the platform signed the checkpoint or receipt, or the signature is forged"},
	{25, []string{"platform_key_revoked"}, "the key that signed the checkpoint had been revoked or replaced"},
	{26, []string{"key_not_in_policy", "key_out_of_range"}, "the policy does not let this key sign this checkpoint or receipt"},
	{27, []string{"quorum_not_met"}, "too few of the policy's witnesses have seen it"},
	{28, []string{"timestamp_foreign"}, "the timestamp is by an authority that the policy does not name"},
	{29, []string{"timestamp_expired"}, "the authority's certificate was not valid when it gave the timestamp"},
	{30, []string{"timestamp_malformed", "timestamp_other", "timestamp_missing"}, "the timestamp is none, is of something else, or is missing"},
	{31, []string{"disclosure_mismatch"}, "a disclosed value is not the one that was written"},
	{32, []string{"model_mismatch"}, "the process model is not the one that was executed"},
	{33, []string{"statement_"}, "the statement is none, is about something else, or a disclosed value is not the one that was signed"},
	{34, []string{"signature_", "webauthn_"}, "the signature of the worker or person does not hold"},
	{35, []string{"signer_key_revoked"}, "the signer's key had been revoked"},
	{36, []string{"chain_broken", "chain_missing"}, "how a key was registered is not shown, or does not hold together"},
	{37, []string{"anchor_inclusion"}, "the checkpoint is not in the anchor log"},
	{38, []string{"policy_required"}, "no policy, which --require-policy asks for, and so does a receipt or proof"},
	{39, []string{"leaf_required"}, "a proof alone, without --leaf"},
	{42, []string{"bundle_required"}, "a proof alone, and a policy that asks for witnesses or a timestamp: these are in the evidence bundle"},
}

// verdictOf returns the exit code of a code, 0 if it has none of its own.
func verdictOf(code string) int {
	for _, v := range slices.Concat(verdicts, fsckVerdicts) {
		for _, c := range v.codes {
			if c == code || strings.HasSuffix(c, "_") && strings.HasPrefix(code, c) {
				return v.exit
			}
		}
	}
	return 0
}
