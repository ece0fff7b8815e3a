package crash_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A disk is the model of a file system that loses its power. It knows of each
// file what was synced, and what was written since and may or may not have
// arrived; of each directory, which names were synced and which changes of names
// may be lost.
//
// It is as forgetful as POSIX allows, with three exceptions. Changes of one
// directory's names arrive in order, as in every journaling file system. A
// write damages no bytes beside its own (SQLite's "powersafe overwrite", which
// every disk and file system of today keeps). And data is not returned garbled,
// but old or as zeros.
type disk struct {
	base string // only what is below this directory is of interest
	root *inode
	fds  map[int]*handle

	syncs map[*call]synced // under way
	calls map[*call]*edit  // writes under way
	acks  []string         // lines written to stdout
	// fileSyncs counts completed syncs of files, failed those that failed.
	fileSyncs, failed int
}

// An inode is a file or a directory.
type inode struct {
	path    string // where it was made, for messages
	durable []byte
	pending []*edit

	names    map[string]*inode // of a directory, as programs see it; nil: a file
	kept     map[string]*inode // as it was synced
	renaming []rename          // since
	renamed  int               // changes of names that were synced
}

// An edit is a change of a file's content that was not synced yet.
type edit struct {
	offset   int64
	data     []byte
	truncate bool // to offset
	done     bool // the call has returned
	lost     bool // a sync of it failed: the kernel will not try again
}

// A rename is a change of one name; a nil file takes it away.
type rename struct {
	name string
	file *inode
}

// synced is what a sync that begins now will have made durable when it ends.
type synced struct {
	file  *inode
	edits []*edit
	names int // of all changes of its names
}

// A handle is an open file descriptor.
type handle struct {
	file   *inode
	offset int64
}

func newDisk(base string) *disk {
	return &disk{base: base, root: newDirectory(base), fds: map[int]*handle{}, syncs: map[*call]synced{}, calls: map[*call]*edit{}}
}

func newDirectory(path string) *inode {
	return &inode{path: path, names: map[string]*inode{}, kept: map[string]*inode{}}
}

// play takes the disk one mark further.
func (d *disk) play(m mark) error {
	var err error
	if m.end {
		err = d.end(m.call)
	} else {
		err = d.begin(m.call)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", m.call.name, err)
	}
	return nil
}

// begin does what a call may have done as soon as it has begun.
func (d *disk) begin(c *call) error {
	switch c.name {
	case "close":
		// Another thread may get the number before this call has returned.
		fd, _, err := c.fd(0)
		delete(d.fds, fd)
		return err
	case "write", "pwrite64", "ftruncate":
		return d.beginEdit(c)
	case "fsync", "fdatasync":
		return d.beginSync(c)
	}
	return nil
}

func (d *disk) end(c *call) error {
	switch c.name {
	case "close":
		return nil
	case "write", "pwrite64", "ftruncate":
		return d.endEdit(c)
	case "fsync", "fdatasync":
		return d.endSync(c)
	case "mmap":
		return d.mmap(c)
	}
	if c.result < 0 {
		return nil
	}
	switch c.name {
	case "open":
		return d.open(c, c.args[1])
	case "openat":
		return d.open(c, c.args[2])
	case "mkdir":
		return d.name(c, 0, func(path string) *inode { return newDirectory(path) })
	case "mkdirat":
		return d.name(c, 1, func(path string) *inode { return newDirectory(path) })
	case "unlink", "rmdir":
		return d.name(c, 0, func(string) *inode { return nil })
	case "unlinkat":
		return d.name(c, 1, func(string) *inode { return nil })
	case "rename":
		return d.move(c, 0, 1)
	case "renameat":
		return d.move(c, 1, 3)
	}
	return d.unknown(c)
}

// unknown refuses calls that the model has no idea of, if they touch our files.
func (d *disk) unknown(c *call) error {
	for _, arg := range c.args {
		_, where := undecorated(arg)
		path, err := unhex(where)
		if text, ok := strings.CutPrefix(arg, `"`); ok {
			path, err = text, nil
		}
		if err != nil || d.within(path) {
			return fmt.Errorf("the model of the disk does not know this call: %.200q", c.args)
		}
	}
	return nil
}

func (d *disk) within(path string) bool { return strings.HasPrefix(path, d.base+"/") || path == d.base }

// find returns the directory of a path and the last name in it.
func (d *disk) find(path string) (parent *inode, name string, err error) {
	parent = d.root
	parts := strings.Split(strings.TrimPrefix(strings.TrimPrefix(path, d.base), "/"), "/")
	for _, part := range parts[:len(parts)-1] {
		if parent = parent.names[part]; parent == nil || parent.names == nil {
			return nil, "", fmt.Errorf("no directory for %s", path)
		}
	}
	return parent, parts[len(parts)-1], nil
}

func (d *disk) open(c *call, flags string) error {
	fd := int(c.result)
	delete(d.fds, fd)
	if !d.within(c.where) {
		return nil
	}
	if c.where == d.base {
		d.fds[fd] = &handle{file: d.root}
		return nil
	}
	parent, name, err := d.find(c.where)
	if err != nil {
		return err
	}
	file := parent.names[name]
	switch {
	case strings.Contains(flags, "O_APPEND"):
		return fmt.Errorf("%s is opened to append", c.where)
	case file == nil && !strings.Contains(flags, "O_CREAT"):
		return fmt.Errorf("%s was opened but never made", c.where)
	case file == nil:
		file = &inode{path: c.where}
		parent.set(name, file)
	case strings.Contains(flags, "O_TRUNC"):
		file.pending = append(file.pending, &edit{truncate: true, done: true})
	}
	d.fds[fd] = &handle{file: file}
	return nil
}

func (f *inode) set(name string, file *inode) {
	f.renaming = append(f.renaming, rename{name: name, file: file})
	if file == nil {
		delete(f.names, name)
	} else {
		f.names[name] = file
	}
}

// name gives the file at the path in argument i to what make returns for it.
func (d *disk) name(c *call, i int, make func(path string) *inode) error {
	path, err := c.text(i)
	if err != nil || !d.within(path) {
		return err
	}
	parent, name, err := d.find(path)
	if err == nil {
		parent.set(name, make(path))
	}
	return err
}

// move gives the file at the path in argument from to the path in argument to, of
// the same directory. If only half of it is kept, the file has both names.
func (d *disk) move(c *call, from, to int) error {
	source, err := c.text(from)
	if err != nil || !d.within(source) {
		return err
	}
	target, err := c.text(to)
	if err != nil {
		return err
	}
	parent, name, err := d.find(source)
	if err != nil {
		return err
	}
	other, anew, err := d.find(target)
	if err != nil || other != parent || parent.names[name] == nil {
		return fmt.Errorf("%s becomes %s, which the model of the disk does not know (%v)", source, target, err)
	}
	parent.set(anew, parent.names[name])
	parent.set(name, nil)
	return nil
}

// mmap refuses shared mappings that could be written to, but for the index of
// the write-ahead log, which SQLite makes anew after a crash.
func (d *disk) mmap(c *call) error {
	if len(c.args) < 5 || !strings.Contains(c.args[3], "MAP_SHARED") || !strings.Contains(c.args[2], "PROT_WRITE") {
		return nil
	}
	if _, path, err := c.fd(4); err != nil || d.within(path) && !volatile(path) {
		return fmt.Errorf("%s is mapped for writing, past this trace (%v)", path, err)
	}
	return nil
}

func volatile(path string) bool { return strings.HasSuffix(path, "-shm") }

func (d *disk) beginEdit(c *call) error {
	fd, _, err := c.fd(0)
	if err != nil {
		return err
	}
	h := d.fds[fd]
	if h == nil {
		if fd == 1 {
			text, err := c.text(1)
			d.acks = append(d.acks, strings.TrimSuffix(text, "\n"))
			return err
		}
		return nil
	}
	e := &edit{}
	if c.name == "ftruncate" {
		e.truncate = true
		e.offset, err = c.number(1)
	} else {
		err = e.write(c, h)
	}
	h.file.pending = append(h.file.pending, e)
	d.calls[c] = e
	return err
}

func (e *edit) write(c *call, h *handle) error {
	text, err := c.text(1)
	if err != nil {
		return err
	}
	e.data, e.offset = []byte(text), h.offset
	if c.name == "pwrite64" {
		e.offset, err = c.number(3)
	} else {
		h.offset += int64(len(text))
	}
	return err
}

// endEdit takes back what the call turned out not to have done.
func (d *disk) endEdit(c *call) error {
	e := d.calls[c]
	if e == nil {
		return nil
	}
	delete(d.calls, c)
	e.done = true
	if c.result < 0 {
		e.lost, e.truncate, e.data = true, false, nil
	} else if !e.truncate && c.result < int64(len(e.data)) {
		e.data = e.data[:c.result]
	}
	return nil
}

// beginSync notes what was written before: only that is durable afterwards.
func (d *disk) beginSync(c *call) error {
	fd, _, err := c.fd(0)
	h := d.fds[fd]
	if err != nil || h == nil {
		return err
	}
	s := synced{file: h.file, names: h.file.renamed + len(h.file.renaming)}
	for _, e := range h.file.pending {
		if e.done && !e.lost {
			s.edits = append(s.edits, e)
		}
	}
	d.syncs[c] = s
	return nil
}

func (d *disk) endSync(c *call) error {
	s, ok := d.syncs[c]
	if !ok {
		return nil
	}
	delete(d.syncs, c)
	if c.result < 0 {
		d.failed++
		for _, e := range s.edits {
			e.lost = true
		}
		return nil // names stay in doubt
	}
	d.fileSyncs++
	s.file.keep(s.edits)
	for s.file.renamed < s.names {
		apply(s.file.kept, s.file.renaming[0])
		s.file.renaming = s.file.renaming[1:]
		s.file.renamed++
	}
	return nil
}

func apply(names map[string]*inode, r rename) {
	if r.file == nil {
		delete(names, r.name)
	} else {
		names[r.name] = r.file
	}
}

// keep makes edits durable. An older one that is still in doubt must not come
// out on top of them later, so it counts as lost where they touch.
func (f *inode) keep(edits []*edit) {
	if len(edits) == 0 {
		return
	}
	covered := map[*edit]bool{}
	for _, e := range edits {
		f.durable = e.apply(f.durable)
		covered[e] = true
	}
	var left []*edit
	for i, e := range f.pending {
		if covered[e] {
			continue
		}
		newer := slices.ContainsFunc(f.pending[i+1:], func(o *edit) bool { return covered[o] && o.touches(e) })
		if !newer {
			left = append(left, e)
		}
	}
	f.pending = left
}

func (e *edit) touches(o *edit) bool {
	if e.truncate || o.truncate {
		return true
	}
	return e.offset < o.offset+int64(len(o.data)) && o.offset < e.offset+int64(len(e.data))
}

// apply returns content with the edit made.
func (e *edit) apply(content []byte) []byte {
	if e.truncate {
		return resize(content, e.offset)
	}
	return put(content, e.offset, e.data)
}

func put(content []byte, offset int64, data []byte) []byte {
	if len(data) == 0 {
		return content
	}
	if end := offset + int64(len(data)); end > int64(len(content)) {
		content = resize(content, end)
	}
	copy(content[offset:], data)
	return content
}

func resize(content []byte, size int64) []byte {
	if size <= int64(len(content)) {
		return content[:size]
	}
	old := len(content)
	content = slices.Grow(content, int(size)-old)[:size]
	clear(content[old:])
	return content
}

// A loss decides which of the changes in doubt arrived on the disk.
type loss string

// The losses that are tried.
const (
	loseAll    loss = "all that was not synced"
	loseNone   loss = "nothing"
	loseTail   loss = "the last changes of each file"
	loseSome   loss = "some changes, whatever their order"
	loseParts  loss = "some sectors of some changes"
	loseExtent loss = "some changes, but not the sizes of the files"
)

var losses = []loss{loseAll, loseNone, loseTail, loseSome, loseParts, loseExtent}

// write makes a directory as the loss leaves it.
func (d *disk) write(to string, l loss, rng *rand.Rand) error { return d.root.write(to, l, rng) }

func (f *inode) write(to string, l loss, rng *rand.Rand) error {
	if f.names == nil {
		return os.WriteFile(to, f.content(l, rng), 0o600)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	names := map[string]*inode{}
	for name, file := range f.kept {
		names[name] = file
	}
	for _, r := range f.renaming[:some(len(f.renaming), l, rng)] {
		apply(names, r)
	}
	sorted := make([]string, 0, len(names)) // the order decides what rng gives
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		if volatile(name) {
			continue
		}
		if err := names[name].write(filepath.Join(to, name), l, rng); err != nil {
			return err
		}
	}
	return nil
}

func some(n int, l loss, rng *rand.Rand) int {
	switch l {
	case loseAll:
		return 0
	case loseNone:
		return n
	}
	return rng.IntN(n + 1)
}

// content returns what is found in the file.
func (f *inode) content(l loss, rng *rand.Rand) []byte {
	content := slices.Clone(f.durable)
	kept, end := some(len(f.pending), l, rng), int64(0)
	for i, e := range f.pending {
		end = max(end, e.offset+int64(len(e.data)))
		switch {
		case l == loseTail && i >= kept, l == loseAll:
		case l == loseNone, l == loseTail:
			content = e.apply(content)
		case rng.IntN(2) == 0:
		case l == loseParts && !e.truncate:
			content = e.applyParts(content, rng)
		default:
			content = e.apply(content)
		}
	}
	if l == loseExtent && end > int64(len(content)) {
		content = resize(content, end)
	}
	return content
}

// applyParts makes an edit in some of the sectors or pages that it spans.
func (e *edit) applyParts(content []byte, rng *rand.Rand) []byte {
	unit := int64(512)
	if rng.IntN(2) == 0 {
		unit = 4096
	}
	end := e.offset + int64(len(e.data))
	for from := e.offset; from < end; {
		to := min((from/unit+1)*unit, end)
		if rng.IntN(2) == 0 {
			content = put(content, from, e.data[from-e.offset:to-e.offset])
		}
		from = to
	}
	return content
}
