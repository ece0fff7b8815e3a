package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/fault"
)

// The directories follow the XDG base directory specification; root uses the
// system's own, so that a service started by it finds its data again.

// configDir holds the key files and config.yaml. Empty: neither variable says where.
func configDir() string {
	switch {
	case runtime.GOOS == "windows":
		return filepath.Join(os.Getenv("AppData"), "underseal")
	case os.Geteuid() == 0 && os.Getenv("XDG_CONFIG_HOME") == "":
		return "/etc/underseal"
	}
	return xdg("XDG_CONFIG_HOME", ".config")
}

// stateDir is the data directory unless another one is named. Empty: as above.
func stateDir() string {
	if os.Geteuid() == 0 && os.Getenv("XDG_STATE_HOME") == "" {
		return "/var/lib/underseal"
	}
	return xdg("XDG_STATE_HOME", ".local/state")
}

// xdg ignores a relative path in the variable, as the specification demands.
func xdg(variable, fallback string) string {
	if base := os.Getenv(variable); filepath.IsAbs(base) {
		return filepath.Join(base, "underseal")
	}
	home := os.Getenv("HOME")
	if !filepath.IsAbs(home) {
		return ""
	}
	return filepath.Join(home, filepath.FromSlash(fallback), "underseal")
}

// defaultConfigFile is empty when there is no place for it.
func defaultConfigFile() string {
	if configDir() == "" {
		return ""
	}
	return filepath.Join(configDir(), "config.yaml")
}

// expandDirs puts the directories into a default. What has no place is empty: a
// path relative to wherever the command runs would hide keys there.
func expandDirs(text string) string {
	for name, dir := range map[string]string{"{config}": configDir(), "{state}": stateDir()} {
		if strings.Contains(text, name) && dir == "" {
			return ""
		}
		text = strings.ReplaceAll(text, name, dir)
	}
	return text
}

// checkPlaces refuses settings that would have a default if this machine said
// where.
func (s *settings) checkPlaces(names ...string) error {
	for _, place := range []struct{ name, value, variable, flag string }{
		{"data", s.Data, "XDG_STATE_HOME", "--data"},
		{"root_key_file", s.RootKeyFile, "XDG_CONFIG_HOME", "--root-key-file"},
		{"api_key_file", s.APIKeyFile, "XDG_CONFIG_HOME", "--key-file"},
	} {
		if place.name == "data" && s.Database != "" {
			continue // Postgres has them
		}
		if place.value == "" && slices.Contains(names, place.name) {
			return noHome(place.variable, ", or give "+place.flag)
		}
	}
	return nil
}

// noHome says that this machine does not say where something has its place.
func noHome(variable, or string) error {
	return fault.New(fault.Invalid, "neither HOME nor %s is set", variable).WithCode("no_home").WithHint("set HOME%s", or)
}
