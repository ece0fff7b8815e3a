//go:build unix

package pgtest

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// as makes cmd run as owner, in a process group of its own, so that a Ctrl-C of
// the tests leaves the end to the guard.
func as(cmd *exec.Cmd, owner *user.User) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if owner != nil {
		uid, gid := ids(owner)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
}

func give(dir string, owner *user.User) error {
	if owner == nil {
		return nil
	}
	uid, gid := ids(owner)
	return os.Chown(dir, uid, gid)
}

// ids are always numbers on Unix.
func ids(u *user.User) (uid, gid int) {
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid
}
