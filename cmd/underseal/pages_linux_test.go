package main

import (
	"os"
	"slices"
	"testing"
)

// TestOnlyUnchangedPagesOfTheProgramAreGivenBack: others would be lost.
func TestOnlyUnchangedPagesOfTheProgramAreGivenBack(t *testing.T) {
	area := func(header, anonymous string) string {
		return header + "\nSize:  8 kB\nRss:  4 kB\nAnonymous:   " + anonymous + " kB\nAnonHugePages:  0 kB\nVmFlags: rd mr\n"
	}
	smaps := area("00400000-00402000 r-xp 00000000 fd:00 77                 /opt/our server", "0") +
		area("00402000-00404000 r--p 00002000 fd:00 77                 /opt/our server", "0") +
		area("00404000-00406000 r--p 00004000 fd:00 77                 /opt/our server", "4") + // relocated
		area("00406000-00408000 rw-p 00006000 fd:00 77                 /opt/our server", "0") +
		area("00408000-0040a000 rw-p 00000000 00:00 0 ", "0") +
		area("7fabee400000-7fabee402000 r-xp 00000000 fd:00 78         /opt/our server.so", "0") +
		area("7fabee402000-7fabee404000 r--p 00000000 fd:00 79         /lib/libc.so.6", "0")
	if got, want := unchanged(smaps, "/opt/our server"), []mapped{{0x400000, 0x402000}, {0x402000, 0x404000}}; !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	own, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if len(unchanged(string(own), program)) == 0 {
		t.Errorf("nothing of %s in\n%s", program, own)
	}
	forgetTheStart() // and this goes on
}
