package crash_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// traced are all system calls that change files or decide what a file descriptor
// is; "?": some architectures lack it. The model of the disk fails on those that
// it does not know.
const traced = "?open,openat,?creat,close,dup,?dup2,dup3,lseek,mmap," +
	"write,writev,pwrite64,pwritev,?pwritev2,ftruncate,truncate,fallocate,sendfile,copy_file_range," +
	"fsync,fdatasync,sync_file_range,?unlink,unlinkat,?rename,?renameat,renameat2,?link,linkat,?symlink,symlinkat," +
	"?mkdir,mkdirat,?rmdir"

// strace returns the command line that traces a command's system calls to a
// file. Where that cannot be done, the test fails and says what to do: a test of
// power loss that did not look must not pass.
func strace(t *testing.T, log, calls string, more ...string) []string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs strace: left out by -short")
	}
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is not installed; run: sudo apt-get install -y strace")
	}
	if out, err := exec.Command(path, "-o", os.DevNull, path, "-V").CombinedOutput(); err != nil {
		t.Fatalf("strace may not trace here (ptrace is forbidden, as in a container without CAP_SYS_PTRACE): %v\n%s", err, out)
	}
	args := []string{path, "-f", "-y", "-xx", "-s", "4000000", "--seccomp-bpf", "-e", "signal=none", "-e", "trace=" + calls, "-o", log}
	return append(args, more...)
}

// A call is one system call of the trace.
type call struct {
	name   string
	args   []string // a string is a quotation mark and its bytes, decoded
	result int64
	where  string // path of the file descriptor that it returned
}

// A mark is the begin or the end of a call, in the order in which they happened.
type mark struct {
	call *call
	end  bool
}

// readTrace reads a log of strace -f -xx.
func readTrace(path string) (marks []mark, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	open := map[string]*call{} // by thread
	for r := bufio.NewReaderSize(file, 1<<20); ; {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return marks, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if marks, err = readLine(marks, open, strings.TrimSuffix(line, "\n")); err != nil {
			return nil, fmt.Errorf("trace: %w: %.200s", err, line)
		}
	}
}

// readLine reads a call, or the begin or the end of one that others came between.
func readLine(marks []mark, open map[string]*call, line string) ([]mark, error) {
	thread, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimLeft(rest, " ")
	switch {
	case strings.HasPrefix(rest, "+++") || strings.HasPrefix(rest, "---"):
		return marks, nil
	case strings.HasPrefix(rest, "<... "):
		c := open[thread]
		if c == nil {
			return nil, errors.New("the end of a call without a begin")
		}
		delete(open, thread)
		_, tail, _ := strings.Cut(rest, " resumed>")
		return append(marks, mark{c, true}), c.finish(tail)
	}
	name, rest, ok := strings.Cut(rest, "(")
	if !ok {
		return nil, errors.New("not a call")
	}
	c := &call{name: name}
	marks = append(marks, mark{c, false})
	if begin, ok := strings.CutSuffix(rest, " <unfinished ...>"); ok {
		open[thread] = c
		return marks, c.take(begin)
	}
	return append(marks, mark{c, true}), c.finish(rest)
}

// take appends arguments. In hexadecimal no argument has a comma in it.
func (c *call) take(args string) error {
	for arg := range strings.SplitSeq(args, ", ") {
		if quoted, ok := strings.CutPrefix(arg, `"`); ok {
			text, whole := strings.CutSuffix(quoted, `"`)
			if !whole {
				return errors.New("a string that was cut short")
			}
			decoded, err := unhex(text)
			if err != nil {
				return err
			}
			arg = `"` + decoded
		}
		if arg != "" {
			c.args = append(c.args, arg)
		}
	}
	return nil
}

// finish reads the rest of a call's arguments and its result.
func (c *call) finish(rest string) error {
	i := strings.LastIndex(rest, " = ")
	if i < 0 {
		return errors.New("a call without a result")
	}
	args := strings.TrimSuffix(strings.TrimRight(rest[:i], " "), ")")
	if err := c.take(strings.TrimPrefix(args, ", ")); err != nil {
		return err
	}
	result, _, _ := strings.Cut(rest[i+3:], " ")
	number, where := undecorated(result)
	if number == "?" { // the process ended within the call
		c.result = -1
		return nil
	}
	var err error
	if c.name != "mmap" { // an address
		c.result, err = strconv.ParseInt(number, 0, 64)
	}
	if err == nil {
		c.where, err = unhex(where)
	}
	return err
}

// undecorated splits 5</path> and 5</path>(deleted).
func undecorated(fd string) (number, path string) {
	number, path, _ = strings.Cut(fd, "<")
	path, _, _ = strings.Cut(path, ">")
	return number, path
}

// fd returns an argument that is a file descriptor, and its path.
func (c *call) fd(i int) (int, string, error) {
	if i >= len(c.args) {
		return 0, "", fmt.Errorf("%s has %d arguments", c.name, len(c.args))
	}
	number, where := undecorated(c.args[i])
	where, err := unhex(where)
	if err != nil {
		return 0, "", err
	}
	if number == "AT_FDCWD" {
		return -100, where, nil
	}
	fd, err := strconv.Atoi(number)
	return fd, where, err
}

// text returns an argument that is a string.
func (c *call) text(i int) (string, error) {
	if i >= len(c.args) || !strings.HasPrefix(c.args[i], `"`) {
		return "", fmt.Errorf("%s: argument %d is not a string", c.name, i)
	}
	return c.args[i][1:], nil
}

func (c *call) number(i int) (int64, error) {
	if i >= len(c.args) {
		return 0, fmt.Errorf("%s has %d arguments", c.name, len(c.args))
	}
	return strconv.ParseInt(c.args[i], 0, 64)
}

// unhex decodes \x2f\x74, as -xx writes it.
func unhex(text string) (string, error) {
	if !strings.HasPrefix(text, `\x`) {
		return text, nil // a pipe or socket is described in clear
	}
	data := make([]byte, 0, len(text)/4)
	for i := 0; i < len(text); i += 4 {
		if i+4 > len(text) || text[i] != '\\' || text[i+1] != 'x' {
			return "", fmt.Errorf("%.40q is not hexadecimal", text)
		}
		high, low := digit(text[i+2]), digit(text[i+3])
		if high > 15 || low > 15 {
			return "", fmt.Errorf("%.40q is not hexadecimal", text)
		}
		data = append(data, high<<4|low)
	}
	return string(data), nil
}

func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}
