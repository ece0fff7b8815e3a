//go:build !windows

package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
)

// The tenant and the principal that a fresh installation has.
const (
	firstTenant    = "main"
	firstPrincipal = "admin"
)

// initialize makes everything a server needs.
func initialize(ctx context.Context, e *env, another bool) (made, error) {
	if err := e.settings.checkPlaces("data", "root_key_file", "api_key_file"); err != nil {
		return made{}, err
	}
	n, err := e.openNode(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return made{}, besideServer(err, another)
	}
	if n.Created {
		another = true
	}
	if !another {
		return made{}, errors.Join(fault.New(fault.Conflict, "there is data already, with its keys").WithCode("initialized").
			WithHint("underseal init --new-api-key --key-file FILE makes another administrator's key"), n.Close())
	}
	return e.settings.made(), errors.Join(e.makeAPIKey(ctx, n), n.Close())
}

// besideServer says how to make a key while a server has the data.
func besideServer(err error, another bool) error {
	var f *fault.Error
	if !another || !errors.As(err, &f) || f.Code != "locked" {
		return err
	}
	return fault.New(f.Kind, "%w", err).WithCode(f.Code).WithHint("stop the server, run this again, start it")
}

func (s *settings) made() made {
	m := made{APIKeyFile: s.APIKeyFile, Tenant: firstTenant}
	if s.KeyService == node.KeyFileService {
		m.RootKeyFile = s.RootKeyFile
	}
	if s.Database == "" {
		m.Data = s.Data
	}
	return m
}

// openNode opens the database and the keys, and makes both if there are neither.
func (e *env) openNode(ctx context.Context, log *slog.Logger) (*node.Node, error) {
	if err := forbidCoreDumps(); err != nil {
		return nil, err
	}
	config, err := e.settings.nodeConfig()
	if err != nil {
		return nil, err
	}
	if err := e.settings.spareAPIKey(); err != nil {
		return nil, err
	}
	config.Log = log
	return node.Open(ctx, config)
}

func (s *settings) nodeConfig() (node.Config, error) {
	config := node.Config{Data: s.Data, KeyFile: s.RootKeyFile, KeyService: s.KeyService, Create: true, HotInstances: s.HotInstances, CheckRate: s.CheckRate}
	config.Blobs = s.Blobs
	config.Files = engine.FileLimits{One: s.MaxFile, All: s.MaxFilesTotal, Uploads: s.MaxUploads}
	var err error
	if config.ErasureDelay, err = parseSpan(s.ErasureDelay); err != nil {
		return config, fault.New(fault.Invalid, "erasure_delay: %w", err).WithCode("config_invalid")
	}
	if config.ErasureEpoch, err = parseSpan(s.ErasureEpoch); err != nil {
		return config, fault.New(fault.Invalid, "erasure_epoch: %w", err).WithCode("config_invalid")
	}
	if config.KeyServices, err = s.openKeyServices(); err != nil {
		return config, err
	}
	if config.Limits, err = s.rates(); err != nil {
		return config, err
	}
	if config.OpenBlobs, err = s.openBlobs(); err != nil {
		return config, err
	}
	if config.KeyFilePassphrase, err = s.passphrase(); err != nil {
		return config, err
	}
	if config.Rotation, err = s.rotation(); err != nil {
		return config, err
	}
	if config.Anchor, err = s.anchorConfig(); err != nil {
		return config, err
	}
	if s.Database != "" {
		if config.DSN, err = secretText("database", s.Database); err != nil {
			return config, err
		}
	}
	if s.KeysDatabase != "" {
		config.KeysDSN, err = secretText("keys_database", s.KeysDatabase)
	}
	return config, err
}

// spareAPIKey refuses to make new data while the API key file of other data is
// where the new one would go: it is the only copy of that key.
func (s *settings) spareAPIKey() error {
	entries, err := os.ReadDir(s.Data)
	fresh := s.Database == "" && (errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0)
	if _, err := os.Lstat(s.APIKeyFile); err != nil || !fresh {
		return nil
	}
	return fault.New(fault.Conflict, "%s is empty, but the API key file %s exists and belongs to other data", s.Data, s.APIKeyFile).
		WithCode("api_key_exists").WithHint("--data names the other data; --key-file names another place for the new key")
}

// makeAPIKey makes an administrator's key and writes it to the key file. The file
// comes first, so that no key is made that nobody could know.
func (e *env) makeAPIKey(ctx context.Context, n *node.Node) (err error) {
	path := e.settings.APIKeyFile
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fault.New(fault.Denied, "make the directory of the API key file: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Conflict, "the API key file %s exists and is never overwritten", path).
			WithCode("api_key_exists").WithHint("underseal init --new-api-key --key-file FILE writes a new key elsewhere")
	} else if err != nil {
		return fault.New(fault.Denied, "write the API key file: %w", err)
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			os.Remove(path)
		}
	}()
	key, err := n.SetUp(ctx, firstPrincipal)
	if err != nil {
		return err
	}
	if _, err := file.WriteString(key + "\n"); err != nil {
		return err
	}
	return file.Sync()
}
