//go:build !windows

package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// widthOf is how many columns the terminal has that is written to; 0: it is none.
func widthOf(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
