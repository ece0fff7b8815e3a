package plugin

import (
	"fmt"
	"net"
	"testing"
)

// PretendPeer has every peer be a process of that user.
func PretendPeer(t *testing.T, uid int) {
	real := peerUID
	peerUID = func(*net.UnixConn) (int, error) { return uid, nil }
	t.Cleanup(func() { peerUID = real })
}

// Words returns how each error begins its row in a table.
func Words() []string {
	var rows []string
	for _, w := range words {
		rows = append(rows, fmt.Sprintf("| %d | `%s` |", w.status, w.text))
	}
	return rows
}
