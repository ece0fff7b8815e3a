package main

import (
	"context"
	"io"
)

// storeFlags are the options of every command that opens the database.
type storeFlags struct {
	Data string `name:"data" conf:"data" help:"${doc_data}" placeholder:"DIR"`
	keyFileFlags
	KeyFile      string `conf:"api_key_file" help:"${doc_api_key_file}" placeholder:"FILE"`
	Database     string `conf:"database" help:"${doc_database}" placeholder:"REFERENCE"`
	KeysDatabase string `conf:"keys_database" help:"${doc_keys_database}" placeholder:"REFERENCE"`
}

type initCmd struct {
	NewAPIKey bool `help:"Make another administrator's API key for data that exist."`
	storeFlags
}

func (initCmd) Help() string {
	return opensDatabase + " Makes the data directory, the key file that wraps all keys, the tenant main and an administrator's API key, each for its owner alone. Prints where they are, never a key."
}

// made says what init and serve made.
type made struct {
	Data        string `json:"data,omitempty"`
	RootKeyFile string `json:"root_key_file,omitempty"` // when the key file wraps the keys
	APIKeyFile  string `json:"api_key_file"`
	Tenant      string `json:"tenant"`
}

func (c *initCmd) Run(ctx context.Context, e *env) error {
	m, err := initialize(ctx, e, c.NewAPIKey)
	if err != nil {
		return err
	}
	return e.result(m, m.write)
}

func (m made) write(w io.Writer) {
	rootKey := m.RootKeyFile
	if rootKey != "" {
		rootKey += "  (keep a copy apart from the data)"
	}
	pairs(w, "data directory", m.Data, "root key file", rootKey, "API key file", m.APIKeyFile, "tenant", m.Tenant)
}
