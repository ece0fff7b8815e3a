//go:build !windows

package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/password"
)

// initialize makes everything a server needs, or, for data that exist, another link.
func initialize(ctx context.Context, e *env, newLink bool, tenant string) (made, error) {
	if err := e.settings.checkPlaces("data", "root_key_file"); err != nil {
		return made{}, err
	}
	n, err := e.openNode(ctx, slog.New(slog.DiscardHandler), !newLink)
	if err != nil {
		return made{}, besideServer(err, newLink)
	}
	if !n.Created && !newLink {
		return made{}, errors.Join(fault.New(fault.Conflict, "there is data already, with its keys").WithCode("initialized").
			WithHint("underseal init --new-link makes another link for an administrator"), n.Close())
	}
	m, err := e.makeLink(ctx, n, tenant)
	return m, errors.Join(err, n.Close())
}

// besideServer says how to make a link while a server has the data.
func besideServer(err error, newLink bool) error {
	var f *fault.Error
	if !newLink || !errors.As(err, &f) || f.Code != "locked" {
		return err
	}
	return fault.New(f.Kind, "%w", err).WithCode(f.Code).WithHint("stop the server, run this again, start it")
}

// openNode opens the database and the keys. If there are neither, it makes both when it
// is to.
func (e *env) openNode(ctx context.Context, log *slog.Logger, create bool) (*node.Node, error) {
	if err := forbidCoreDumps(); err != nil {
		return nil, err
	}
	config, err := e.settings.nodeConfig()
	if err != nil {
		return nil, err
	}
	if err := e.settings.spareLink(); err != nil {
		return nil, err
	}
	config.Log, config.Create = log, create
	return node.Open(ctx, config)
}

func (s *settings) nodeConfig() (node.Config, error) {
	config := node.Config{Data: s.Data, KeyFile: s.RootKeyFile, KeyService: s.KeyService, Create: true, HotInstances: s.HotInstances, CheckRate: s.CheckRate, CheckFilesRate: s.CheckFilesRate}
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
	if config.SessionAge, err = parseSpan(s.SessionAge); err != nil {
		return config, err
	}
	if config.SessionIdle, err = parseSpan(s.SessionIdle); err != nil {
		return config, err
	}
	if config.Passkeys, err = s.passkeys(); err != nil {
		return config, err
	}
	if err = s.breakGlass(&config); err != nil {
		return config, err
	}
	if s.BreachedPasswords != "" {
		if config.Breached, err = password.OpenFile(s.BreachedPasswords); err != nil {
			return config, err
		}
	}
	if config.Issuers, err = s.issuers(); err != nil {
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

// spareLink refuses to make new data while there is a file where their link would go.
func (s *settings) spareLink() error {
	entries, err := os.ReadDir(s.Data)
	fresh := s.Database == "" && (errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0)
	if !fresh || !s.linkToFile() {
		return nil
	}
	if _, err := os.Lstat(s.LinkFile); err != nil {
		return nil
	}
	return fault.New(fault.Conflict, "%s is empty, but the setup link file %s exists", s.Data, s.LinkFile).WithCode("file_exists").
		WithHint("--data names the data that it belongs to; --link-file names another place for the new link")
}

// makeLink makes a setup link of a tenant. It is in what is returned, or in the link file
// if one is named; the file comes first, so that no link is made that nobody could know.
func (e *env) makeLink(ctx context.Context, n *node.Node, tenant string) (made, error) {
	s := e.settings
	m := made{Tenant: tenant}
	if s.KeyService == node.KeyFileService {
		m.RootKeyFile = s.RootKeyFile
	}
	if s.Database == "" {
		m.Data = s.Data
	}
	newLink := func() (string, error) {
		out, err := n.Engine.NewSetupLink(ctx, tenant)
		if err == nil {
			m.Until = out.Tenant.SetUp.UTC()
		}
		return out.Link, err
	}
	var err error
	if s.linkToFile() {
		m.LinkFile = s.LinkFile
		err = writeSecret(m.LinkFile, newLink)
	} else {
		m.Link, err = newLink()
	}
	return m, err
}

// breakGlass adds the settings of break-glasses.
func (s *settings) breakGlass(config *node.Config) (err error) {
	if config.BreakGlassLongest, err = parseSpan(s.BreakGlassLongest); err != nil {
		return err
	}
	config.BreakGlassSettled, err = parseSpan(s.BreakGlassSettled)
	if config.BreakGlassSettled == 0 {
		config.BreakGlassSettled = -1 // none; the configuration's 0 is the default
	}
	return err
}
