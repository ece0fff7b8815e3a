package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// forgetProgram gives back the pages of the program that only starting needed. Nearly all
// of them are touched when the libraries are initialized; a server works with half. They
// stay in the system's cache, and what is used again comes back without reading the disk.
func forgetProgram() {
	smaps, err := os.ReadFile("/proc/self/smaps")
	program, err2 := os.Executable()
	if err != nil || err2 != nil {
		return
	}
	for _, m := range unchanged(string(smaps), program) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.begin, m.end-m.begin, unix.MADV_DONTNEED) // without it they only stay
	}
}

// mapped is a range of addresses.
type mapped struct{ begin, end uintptr }

// unchanged returns where a file is mapped read-only, of what the kernel tells in smaps
// (proc_pid_smaps(5)). Ranges with a page that was written to, as by a dynamic linker
// before it protected them, are not among them: they would go back to what the file has.
func unchanged(smaps, file string) []mapped {
	var all []mapped
	var last *mapped
	for line := range strings.Lines(smaps) {
		var m mapped
		var mode string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &m.begin, &m.end, &mode); n == 3 {
			last = nil
			if strings.HasSuffix(line, " "+file+"\n") && !strings.Contains(mode, "w") {
				last = &m
			}
		}
		var written int
		if n, _ := fmt.Sscanf(line, "Anonymous: %d kB", &written); n == 1 && last != nil && written == 0 {
			all = append(all, *last)
		}
	}
	return all
}
