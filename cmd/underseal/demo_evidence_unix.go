//go:build !windows

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// exportEvidence writes what an auditor gets: one file that proves the decision,
// and the policy that says whom to believe.
func (d *demo) exportEvidence(ctx context.Context) error {
	d.say("An auditor asks who decided what, and gets one file")
	disclosed := []string{"approved", "$actor"}
	bundle, err := d.client.Evidence(ctx, api.EvidenceRequest{Instance: d.big.ID, Task: d.task.ID, Fields: disclosed})
	if err != nil {
		return err
	}
	policy, err := d.client.LogPolicy(ctx)
	if err != nil {
		return err
	}
	if d.evidence, err = d.keep("loan-evidence.zip", bundle); err != nil {
		return err
	}
	if d.policy, err = d.keep("loan-policy.txt", []byte(policy.Policy)); err != nil {
		return err
	}
	d.tell("%s  discloses the decision and who acted, not the reason and nothing else", d.evidence)
	d.tell("%s  whose signatures count; the auditor should get it by another way", d.policy)
	return nil
}

// keep writes a file that outlives the demo, in place of the one of the last demo.
func (d *demo) keep(name string, data []byte) (string, error) {
	path := filepath.Join(d.to, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return "", fault.New(fault.Invalid, "write the evidence: %w", err).WithHint("--out DIR names another directory")
	}
	return path, nil
}

// verifyEvidence is the auditor, who has the two files and no server.
func (d *demo) verifyEvidence(context.Context) error {
	d.say("The auditor verifies it offline: underseal verify %s --policy %s", filepath.Base(d.evidence), filepath.Base(d.policy))
	bundle, err := os.ReadFile(d.evidence)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(d.policy)
	if err != nil {
		return err
	}
	policy, err := ledger.ParsePolicy(text)
	if err != nil {
		return err
	}
	report, err := ledger.VerifyBundle(bundle, policy)
	writeReport(prefixed{d.out}, report)
	if err != nil {
		return err
	}
	return d.forge(bundle, policy)
}

// forge turns the decision in the file round, as somebody on the way to the auditor
// could, and makes the file's list of hashes fit again.
func (d *demo) forge(bundle []byte, policy *ledger.Policy) error {
	b, err := ledger.ParseBundle(bundle)
	if err != nil {
		return err
	}
	for i, f := range b.Fields {
		if f.Value == canon.Value(canon.Bool(true)) {
			b.Fields[i].Value = canon.Bool(false)
		}
	}
	forged, err := b.Encode()
	if err != nil {
		return err
	}
	if _, err = ledger.VerifyBundle(forged, policy); !fault.Is(err, fault.Integrity) || bytes.Equal(forged, bundle) {
		return fault.New(fault.Internal, "evidence with another decision was believed: %v", err)
	}
	d.tell("")
	d.tell("with the decision turned round in the file, and its hashes made to fit again:")
	d.tell("  refused: %v", err)
	return nil
}
