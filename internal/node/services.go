package node

import (
	"context"
	"errors"
	"maps"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
	"github.com/underseal/underseal/internal/kms"
)

// KeyFileService is the name of the key service that the key file is.
const KeyFileService = "keyfile"

// keyServices returns all key services by name and the name of the default one.
// The key file is among them if it is the default one, if stored keys want it, or
// if it is there. It is made only together with new data.
func (n *Node) keyServices(ctx context.Context, cfg Config, fresh bool) (map[string]kms.Service, string, error) {
	services, byDefault := maps.Clone(cfg.KeyServices), cfg.KeyService
	if services == nil {
		services = map[string]kms.Service{}
	}
	if byDefault == "" {
		byDefault = KeyFileService
	}
	if services[KeyFileService] != nil {
		return services, byDefault, nil
	}
	rows, err := n.db.Keys().AllTenantKeys(ctx)
	if err != nil {
		return nil, "", err
	}
	rootKey, wants := wanted(rows)
	file, err := cfg.openKeyFile()
	switch {
	case fault.Is(err, fault.NotFound) && fresh && byDefault == KeyFileService:
		file, err = cfg.createKeyFile()
	case fault.Is(err, fault.NotFound) && !wants && byDefault != KeyFileService:
		return services, byDefault, nil
	case err != nil && wants:
		return nil, "", saying(err, " (the data wants the root key "+rootKey+")")
	}
	if err != nil {
		return nil, "", err
	}
	services[KeyFileService] = file
	return services, byDefault, nil
}

func (cfg *Config) openKeyFile() (*kms.KeyFile, error) {
	if cfg.KeyFilePassphrase == "" {
		return kms.OpenKeyFile(cfg.KeyFile)
	}
	return kms.OpenLockedKeyFile(cfg.KeyFile, cfg.KeyFilePassphrase)
}

func (cfg *Config) createKeyFile() (*kms.KeyFile, error) {
	if cfg.KeyFilePassphrase == "" {
		return kms.CreateKeyFile(cfg.KeyFile)
	}
	return kms.CreateLockedKeyFile(cfg.KeyFile, cfg.KeyFilePassphrase)
}

// guard puts a guard around each key service.
func (n *Node) guard(services map[string]kms.Service, cfg Config) map[string]kms.Service {
	guarded := map[string]kms.Service{}
	for name, service := range services {
		g := kms.Guard(service, kms.GuardConfig{Name: name, Log: cfg.Log, Now: cfg.Now})
		n.guards, guarded[name] = append(n.guards, g), g
	}
	return guarded
}

// wanted returns the root key of the key file that wrapped stored keys, and
// whether one did.
func wanted(rows []keyrow.TenantKey) (rootKey string, wants bool) {
	for _, row := range rows {
		if row.Service == KeyFileService {
			return row.RootKey, true
		}
	}
	return "", false
}

// saying adds to the message of an error.
func saying(err error, more string) error {
	var f *fault.Error
	if errors.As(err, &f) {
		f.Message += more
	}
	return err
}
