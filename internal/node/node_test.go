package node_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/node"
)

// made returns the configuration of a node that was made and closed.
func made(t *testing.T) node.Config {
	t.Helper()
	cfg := config(t)
	n, err := node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !n.Created {
		t.Error("new data is not said to be created")
	}
	if _, err := n.Engine.NewSetupLink(t.Context(), "main"); err != nil { // makes the tenant's keys
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func config(t *testing.T) node.Config {
	dir := t.TempDir()
	return node.Config{Data: filepath.Join(dir, "data"), KeyFile: filepath.Join(dir, "root.key"), Create: true}
}

func TestOpenRefuses(t *testing.T) {
	other := made(t)
	tests := []struct {
		name  string
		spoil func(t *testing.T, cfg *node.Config)
		kind  fault.Kind
		says  string
	}{
		{"a key file that is missing, and makes none", func(t *testing.T, cfg *node.Config) {
			remove(t, cfg.KeyFile)
		}, fault.NotFound, "wants the root key"},
		{"a key file that others may read", func(t *testing.T, cfg *node.Config) {
			if err := os.Chmod(cfg.KeyFile, 0o644); err != nil {
				t.Fatal(err)
			}
		}, fault.Denied, "root.key"},
		{"another installation's key file", func(_ *testing.T, cfg *node.Config) {
			cfg.KeyFile = other.KeyFile
		}, fault.Conflict, "was made with root key"},
		{"key tables of another installation", func(t *testing.T, cfg *node.Config) {
			copyFile(t, filepath.Join(other.Data, "keys.db"), filepath.Join(cfg.Data, "keys.db"))
		}, fault.Integrity, "not of one backup"},
		{"a key file inside the data directory", func(_ *testing.T, cfg *node.Config) {
			cfg.KeyFile = filepath.Join(cfg.Data, "root.key")
		}, fault.Invalid, "inside the data directory"},
		{"a directory without data unless told to make some", func(t *testing.T, cfg *node.Config) {
			cfg.Data, cfg.Create = t.TempDir(), false
		}, fault.NotFound, "no data"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := made(t)
			test.spoil(t, &cfg)
			n, err := node.Open(t.Context(), cfg)
			if err == nil {
				n.Close()
				t.Fatal("opened")
			}
			if fault.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error is %s: %v, want %s saying %q", fault.KindOf(err), err, test.kind, test.says)
			}
		})
	}
}

// fileAt makes a key file beside the data's.
func fileAt(t *testing.T, cfg node.Config, name string) kms.Service {
	t.Helper()
	file, err := kms.CreateKeyFile(filepath.Join(filepath.Dir(cfg.KeyFile), name))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAnotherDefaultNeedsNoKeyFile(t *testing.T) {
	cfg := config(t)
	cfg.KeyServices = map[string]kms.Service{"second": fileAt(t, cfg, "second.key")}
	cfg.KeyService = "second"
	for range 2 {
		n, err := node.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Engine.NewSetupLink(t.Context(), "main"); err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(cfg.KeyFile); !os.IsNotExist(err) {
		t.Errorf("a key file: %v, want none", err)
	}

	cfg.KeyServices, cfg.KeyService = nil, ""
	if _, err := node.Open(t.Context(), cfg); !fault.Is(err, fault.NotFound) {
		t.Errorf("without the service, and no key file: %v, want NotFound", err)
	}
	fileAt(t, cfg, "root.key")
	if _, err := node.Open(t.Context(), cfg); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "second") {
		t.Errorf("without the service: %v, want a conflict that names it", err)
	}
}

func TestAKeyFileIsWantedAsLongAsKeysNameIt(t *testing.T) {
	cfg := made(t)
	cfg.KeyServices = map[string]kms.Service{"second": fileAt(t, cfg, "second.key")}
	cfg.KeyService = "second"
	n, err := node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	remove(t, cfg.KeyFile)
	if _, err := node.Open(t.Context(), cfg); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "wants the root key") {
		t.Errorf("without the key file: %v, want NotFound", err)
	}
}

func TestASecondServerIsRefused(t *testing.T) {
	cfg := config(t)
	first, err := node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if second, err := node.Open(context.Background(), cfg); !fault.Is(err, fault.Conflict) {
		if err == nil {
			second.Close()
		}
		t.Errorf("a second server: %v, want Conflict", err)
	}
}

func TestACrashBetweenKeyFileAndDataIsMended(t *testing.T) {
	cfg := made(t)
	if err := os.RemoveAll(cfg.Data); err != nil { // as if only the key file had been made
		t.Fatal(err)
	}
	n, err := node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
