package load_test

import (
	"testing"

	"github.com/underseal/underseal/test/bench/load"
)

const mounts = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /tmp rw,nosuid shared:2 - ext4 /dev/vdb rw
31 22 0:27 / /tmp rw,nosuid shared:3 - tmpfs tmpfs rw
32 31 0:28 / /tmp/disk rw - xfs /dev/vdc rw
`

func TestTheFileSystemOfADirectory(t *testing.T) {
	tests := []struct{ dir, want string }{
		{"/", "ext4"},
		{"/home/ann", "ext4"},
		{"/tmp", "tmpfs"},
		{"/tmp/underseal", "tmpfs"},
		{"/tmp/disk/underseal", "xfs"},
		{"/tmpfile", "ext4"},
	}
	for _, test := range tests {
		t.Run(test.dir, func(t *testing.T) {
			if got := load.FileSystem(mounts, test.dir); got != test.want {
				t.Errorf("%s is on %q, want %q", test.dir, got, test.want)
			}
		})
	}
}
