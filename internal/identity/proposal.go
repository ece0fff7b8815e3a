package identity

import (
	"encoding/hex"
	"time"

	"github.com/underseal/underseal/internal/canon"
)

// Proposal is a deployment, or a setting of a process's mode, that waits for a second person. One that was decided is kept
// until it expires, so that who asks again gets the same answer.
type Proposal struct {
	ID            string
	By            string // who proposed it
	Key           string // id of the API key they used; empty: they were signed in
	Made, Expires time.Time
	Processes     []string
	Mode          string // that one process is set to; empty: its files are deployed
	Files         []ProposedFile
	State         ProposalState
	Decided       string   // by whom; empty while it waits
	Definitions   []string // object ids of what came of it, in the order of Processes
}

// ProposedFile is a file of a deployment, which is kept under its hash.
type ProposedFile struct {
	Name string
	Hash [32]byte // SHA-256
}

// ProposalState is what became of a proposal.
type ProposalState string

// The states of a proposal.
const (
	Waits     ProposalState = "pending"
	Approved  ProposalState = "approved"
	Withdrawn ProposalState = "withdrawn"
)

func (p *Proposal) value() canon.Value {
	files := make(canon.List, len(p.Files))
	for i, f := range p.Files {
		files[i] = contextOf(text("name", f.Name), text("hash", hex.EncodeToString(f.Hash[:])))
	}
	return contextOf(
		text("id", p.ID), text("by", p.By), text("key", p.Key), canon.Entry{Name: "made", Value: timeItem(p.Made)}, canon.Entry{Name: "expires", Value: timeItem(p.Expires)},
		canon.Entry{Name: "processes", Value: texts(p.Processes)}, text("mode", p.Mode), canon.Entry{Name: "files", Value: files},
		text("state", string(p.State)), text("decided", p.Decided), canon.Entry{Name: "definitions", Value: texts(p.Definitions)},
	)
}

func proposalOf(v canon.Value) Proposal {
	return Proposal{
		ID: textOf(entryOf(v, "id")), By: textOf(entryOf(v, "by")), Key: textOf(entryOf(v, "key")), Made: timeOf(entryOf(v, "made")), Expires: timeOf(entryOf(v, "expires")),
		Processes: textsOf[string](entryOf(v, "processes")), Mode: textOf(entryOf(v, "mode")), Files: listOf(entryOf(v, "files"), proposedFileOf),
		State: ProposalState(textOf(entryOf(v, "state"))), Decided: textOf(entryOf(v, "decided")), Definitions: textsOf[string](entryOf(v, "definitions")),
	}
}

func proposedFileOf(v canon.Value) ProposedFile {
	return ProposedFile{textOf(entryOf(v, "name")), tokenOf(entryOf(v, "hash"))}
}

func proposals(list []Proposal) canon.List {
	out := make(canon.List, len(list))
	for i := range list {
		out[i] = list[i].value()
	}
	return out
}
