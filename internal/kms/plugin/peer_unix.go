//go:build linux || darwin

package plugin

import (
	"io/fs"
	"syscall"
)

const supported = true

// owner returns the user whom a file belongs to.
func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
