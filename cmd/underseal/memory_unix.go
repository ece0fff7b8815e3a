//go:build !windows

package main

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// tuneMemory fits the garbage collector to a server with a small live heap and
// many short-lived allocations: it runs at three times the live heap instead of
// two, and within nine tenths of the container's limit. GOGC and GOMEMLIMIT of
// the environment win.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
	if limit := memoryLimit("/sys/fs/cgroup/memory.max"); limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
}

// memoryLimit reads a control group's limit in bytes; 0 when there is none.
func memoryLimit(path string) int64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil || limit == math.MaxInt64 {
		return 0 // "max"
	}
	return limit
}
