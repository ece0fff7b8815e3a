package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

type processesPendingCmd struct {
	ID  string `arg:"" optional:"" help:"One of them: its files with their SHA-256."`
	Dir string `help:"Write the files of the one into this directory, which must not be there." placeholder:"DIR" type:"path"`
	clientFlags
}

func (processesPendingCmd) Help() string { return talksToServer }

func (c *processesPendingCmd) Run(ctx context.Context, e *env) error {
	if c.ID == "" {
		return ask(e, func(cl *client.Client) (api.Proposals, error) { return cl.Proposals(ctx) }, func(w io.Writer, list api.Proposals) {
			var rows [][]string
			for _, p := range list.Items {
				rows = append(rows, []string{p.ID, p.By, strings.Join(p.Processes, " "), p.Mode, stamp(p.Made), stamp(p.Expires)})
			}
			table(w, []string{"DEPLOYMENT", "BY", "PROCESSES", "MODE", "PROPOSED", "UNTIL"}, rows)
		})
	}
	return ask(e, func(cl *client.Client) (api.Proposal, error) {
		p, err := cl.Proposal(ctx, c.ID)
		if err == nil && c.Dir != "" {
			err = writeProposed(c.Dir, p.Files)
		}
		return p, err
	}, writeProposal)
}

func writeProposal(w io.Writer, p api.Proposal) {
	pairs(w, "deployment", p.ID, "state", p.State, "by", p.By, "decided by", p.Decided, "until", stamp(p.Expires), "processes", strings.Join(p.Processes, " "), "mode", p.Mode)
	var rows [][]string
	for _, f := range p.Files {
		rows = append(rows, []string{f.Name, f.Hash})
	}
	table(w, []string{"FILE", "SHA-256"}, rows)
}

// writeProposed writes files, which have plain names, into a new directory.
func writeProposed(dir string, files []api.ProposedFile) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fault.New(fault.Invalid, "couldn't make the directory: %w", err)
	}
	for _, f := range files {
		if f.Name != filepath.Base(f.Name) || strings.ContainsAny(f.Name, `/\`) {
			return fault.New(fault.Integrity, "the server names a file %q, which is no plain name", f.Name)
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Content, 0o600); err != nil {
			return fault.New(fault.Unavailable, "couldn't write the file: %w", err)
		}
	}
	return nil
}

type processesApproveCmd struct {
	ID string `arg:"" help:"Id of the deployment."`
	reasonFlags
}

func (processesApproveCmd) Help() string {
	return talksToServer + " Who proposed it cannot: look at its files first, see underseal processes pending ID --dir DIR."
}

func (c *processesApproveCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Deployment, error) { return cl.ApproveDeployment(ctx, c.ID, c.Reason) }, writeDeployment)
}

type processesWithdrawCmd struct {
	ID string `arg:"" help:"Id of the deployment."`
	reasonFlags
}

func (processesWithdrawCmd) Help() string { return talksToServer }

func (c *processesWithdrawCmd) Run(ctx context.Context, e *env) error {
	return ask(e, func(cl *client.Client) (api.Proposal, error) { return cl.WithdrawDeployment(ctx, c.ID, c.Reason) }, writeProposal)
}
