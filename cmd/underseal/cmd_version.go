package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// version is set by the linker for releases.
var version = ""

type versionCmd struct{}

func (versionCmd) Help() string { return standsAlone }

type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source tree
	Modified bool   `json:"modified,omitempty"` // the source tree had uncommitted changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (versionCmd) Run(_ context.Context, e *env) error {
	v := buildVersion()
	return e.result(v, func(w io.Writer) {
		fmt.Fprintf(w, "underseal %s (%s, %s)\n", v.Version, v.Platform, v.Go)
		pairs(w, "revision", v.Revision)
	})
}

// buildVersion reads what the Go tool recorded in the binary.
func buildVersion() versionInfo {
	v := versionInfo{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version == "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
