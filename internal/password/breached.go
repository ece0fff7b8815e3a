package password

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"

	"github.com/underseal/underseal/internal/fault"
)

// File is a list of breached passwords in a file, sorted, one to a line: the SHA-1 or
// SHA-256 in upper case hex, and whatever follows after a colon. So it takes the lists
// that Have I Been Pwned gives out, as they are, of any size: nothing of it is kept in
// memory, and nothing is asked for elsewhere.
type File struct{ path string }

var _ Breached = File{}

// OpenFile returns the list in a file, which must be there and begin like one (Invalid).
func OpenFile(path string) (File, error) {
	list := File{path}
	file, _, err := list.open()
	if err != nil {
		return list, err
	}
	return list, file.Close()
}

// longestLine is what a line has at most: a hash, a colon and a count.
const longestLine = 128

func (l File) open() (file *os.File, digits int, err error) {
	file, err = os.Open(l.path)
	if err != nil {
		return nil, 0, fault.New(fault.Unavailable, "read the list of breached passwords: %w", err).WithCode("breached_passwords")
	}
	head := make([]byte, longestLine)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		file.Close()
		return nil, 0, fault.New(fault.Unavailable, "read the list of breached passwords: %w", err).WithCode("breached_passwords")
	}
	for digits < n && isDigit(head[digits]) {
		digits++
	}
	if digits != 2*sha1.Size && digits != 2*sha256.Size {
		file.Close()
		return nil, 0, fault.New(fault.Invalid, "the list of breached passwords %s does not begin with a SHA-1 or SHA-256 in upper case hex", l.path).
			WithCode("breached_passwords")
	}
	return file, digits, nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' }

// Contains implements Breached. A list that cannot be read is Unavailable, not empty.
func (l File) Contains(password string) (bool, error) {
	file, digits, err := l.open()
	if err != nil {
		return false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return false, fault.New(fault.Unavailable, "read the list of breached passwords: %w", err).WithCode("breached_passwords")
	}
	sum := sha1.Sum([]byte(password)) // the list's, not ours
	wanted := sum[:]
	if digits == 2*sha256.Size {
		sum := sha256.Sum256([]byte(password))
		wanted = sum[:]
	}
	found, err := find(file, info.Size(), bytes.ToUpper([]byte(hex.EncodeToString(wanted))))
	if err != nil {
		err = fault.New(fault.Unavailable, "read the list of breached passwords: %w", err).WithCode("breached_passwords")
	}
	return found, err
}

// find looks for a line that begins with wanted, halving the sorted file: between low and
// high begins every line that may be it.
func find(file io.ReaderAt, size int64, wanted []byte) (bool, error) {
	for low, high := int64(0), size; low < high; {
		middle := low + (high-low)/2
		line, begin, end, err := lineAt(file, size, middle, low)
		if err != nil {
			return false, err
		}
		switch bytes.Compare(line[:min(len(line), len(wanted))], wanted) {
		case 0:
			return true, nil
		case -1:
			low = end
		default:
			high = begin
		}
	}
	return false, nil
}

// lineAt returns the line that the byte at a place is in, where it begins, and where the
// next one does. No line begins before low that matters.
func lineAt(file io.ReaderAt, size, at, low int64) (line []byte, begin, end int64, err error) {
	from := max(low, at-longestLine)
	window := make([]byte, min(size, at+longestLine)-from)
	if _, err := file.ReadAt(window, from); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, 0, err
	}
	inside := at - from
	start := int64(bytes.LastIndexByte(window[:inside], '\n') + 1)
	if start == 0 && from > low {
		return nil, 0, 0, errors.New("a line is too long")
	}
	stop := bytes.IndexByte(window[inside:], '\n')
	if stop < 0 {
		if from+int64(len(window)) < size {
			return nil, 0, 0, errors.New("a line is too long")
		}
		return window[start:], from + start, size, nil
	}
	length := inside + int64(stop)
	return window[start:length], from + start, from + length + 1, nil
}
