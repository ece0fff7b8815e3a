//go:build !windows

package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
)

// tuneMemory fits the garbage collector to a server with many short-lived
// allocations: it may use headroom on top of the live heap, however large that
// is, and nine tenths of the container's limit. GOGC and GOMEMLIMIT of the
// environment win.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		keepHeadroom()
	}
	if limit := memoryLimit("/sys/fs/cgroup/memory.max"); limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
}

// headroom is what may be allocated between two collections once the heap is as
// large; a smaller one at most doubles. A percentage, which is what the collector
// knows, would be much more than it helps for a large one: from twice the headroom on
// a quarter does.
const headroom = 20 << 20

// keepHeadroom sets the percentage anew after each collection: the finalizer of
// a lost object runs then, and loses the next one.
func keepHeadroom() {
	var stats [1]metrics.Sample
	stats[0].Name = "/gc/heap/live:bytes"
	metrics.Read(stats[:])
	percent := 25
	if live := max(stats[0].Value.Uint64(), 1<<20); live <= 2*headroom {
		percent = int(min(100*headroom/live, 100))
	}
	debug.SetGCPercent(percent)
	runtime.SetFinalizer(new(lost), func(*lost) { keepHeadroom() })
}

// forgetTheStart gives back the memory that only starting needed.
func forgetTheStart() {
	debug.FreeOSMemory()
	forgetProgram()
}

// lost is an object of its own: the allocator puts tiny ones together, and then
// it might never be lost alone.
type lost struct{ _ [64]byte }

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
