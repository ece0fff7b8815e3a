package main

import (
	"context"
	"io"
	"time"
)

// storeFlags are the options of every command that opens the database.
type storeFlags struct {
	Data string `name:"data" conf:"data" help:"${doc_data}" placeholder:"DIR"`
	keyFileFlags
	Database     string `conf:"database" help:"${doc_database}" placeholder:"REFERENCE"`
	KeysDatabase string `conf:"keys_database" help:"${doc_keys_database}" placeholder:"REFERENCE"`
}

// linkFlags say where a setup link is.
type linkFlags struct {
	LinkFile string `conf:"link_file" help:"${doc_link_file}" placeholder:"FILE"`
}

type initCmd struct {
	NewLink bool   `help:"Make another setup link, for data that exist; the one before ends. Where it is used for somebody who is there, all that admitted them before ends."`
	Tenant  string `help:"Company whose administrator the link makes, with --new-link." default:"main" placeholder:"NAME"`
	linkFlags
	storeFlags
}

func (initCmd) Help() string {
	return opensDatabase + " Makes the data directory, the key file that wraps all keys and the tenant " + firstTenant + ", each for its owner alone. " +
		"Prints where they are, and once the setup link, which makes an administrator: see underseal setup."
}

// firstTenant is the tenant that every installation has.
const firstTenant = "main"

// made says what init and serve made.
type made struct {
	Data        string    `json:"data,omitempty"`
	RootKeyFile string    `json:"root_key_file,omitempty"` // when the key file wraps the keys
	Tenant      string    `json:"tenant"`
	Link        string    `json:"link,omitempty"`
	LinkFile    string    `json:"link_file,omitempty"` // holds the link instead
	Until       time.Time `json:"until"`               // when the link ends
}

func (c *initCmd) Run(ctx context.Context, e *env) error {
	if c.Tenant != firstTenant && !c.NewLink {
		return &usage{text: "--tenant is for --new-link"}
	}
	m, err := initialize(ctx, e, c.NewLink, c.Tenant)
	if err != nil {
		return err
	}
	return e.result(m, m.write)
}

func (m made) write(w io.Writer) {
	rootKey, use := m.RootKeyFile, "underseal setup"
	if rootKey != "" {
		rootKey += "  (keep a copy apart from the data)"
	}
	if m.LinkFile != "" {
		use += " --link-file " + m.LinkFile
	}
	pairs(w, "data directory", m.Data, "root key file", rootKey, "tenant", m.Tenant, "setup link", m.Link, "setup link file", m.LinkFile,
		"counts once, until", stamp(m.Until), "use it with", use)
}
