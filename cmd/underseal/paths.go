package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// The directories follow the XDG base directory specification; root uses the
// system's own, so that a service started by it finds its data again.

// configDir holds the key files and config.yaml.
func configDir() string {
	switch {
	case runtime.GOOS == "windows":
		return filepath.Join(os.Getenv("AppData"), "underseal")
	case os.Geteuid() == 0 && os.Getenv("XDG_CONFIG_HOME") == "":
		return "/etc/underseal"
	}
	return xdg("XDG_CONFIG_HOME", ".config")
}

// stateDir is the data directory unless another one is named.
func stateDir() string {
	if os.Geteuid() == 0 && os.Getenv("XDG_STATE_HOME") == "" {
		return "/var/lib/underseal"
	}
	return xdg("XDG_STATE_HOME", ".local/state")
}

// xdg ignores a relative path in the variable, as the specification demands.
func xdg(variable, fallback string) string {
	base := os.Getenv(variable)
	if !filepath.IsAbs(base) {
		base = filepath.Join(os.Getenv("HOME"), filepath.FromSlash(fallback))
	}
	return filepath.Join(base, "underseal")
}

func defaultConfigFile() string { return filepath.Join(configDir(), "config.yaml") }

func expandDirs(text string) string {
	return strings.NewReplacer("{config}", configDir(), "{state}", stateDir()).Replace(text)
}
