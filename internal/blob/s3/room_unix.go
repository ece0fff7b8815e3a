//go:build unix

package s3

import (
	"sync"

	"golang.org/x/sys/unix"
)

// rooms lends memory for parts. It is none of the heap's: the collector lets a
// heap grow to twice of what lives in it, so a part would cost twice its size.
// Only what was written to is memory, of however large a room.
type rooms struct {
	size int // of each, in bytes

	mu   sync.Mutex // guards free
	free [][]byte
}

func (r *rooms) lend() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := len(r.free) - 1; last >= 0 {
		room := r.free[last]
		r.free = r.free[:last]
		return room, nil
	}
	return unix.Mmap(-1, 0, r.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

// takeBack gives the system the memory, but keeps the addresses: a request that
// was given up may still read from them. It gets other bytes than it signed then.
func (r *rooms) takeBack(room []byte) {
	_ = unix.Madvise(room, unix.MADV_DONTNEED) // what it does not take is used again
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, room)
}
