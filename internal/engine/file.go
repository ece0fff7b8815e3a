package engine

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// A file is a large value. Its bytes are a blob, sealed under a data key of its
// own; what stands in a variable is a context that describes it. The secret of
// the key is in a field of the instance, "$file:<id>", which is sealed like the
// field in which the file was claimed: whoever destroys the keys of that one
// destroys the file.
type file struct {
	id    store.ID
	key   envelope.Key
	name  string
	media string // media type
	size  int64
	sum   string // hex SHA-256

	label process.Label // of the field that it was claimed in
	draft bool          // that is a draft
}

const heldPrefix = "$file:"

func filePath(id store.ID) string { return heldPrefix + fileName(id) }

// fileName is how the API and variables spell a file's id.
func fileName(id store.ID) string { return hex.EncodeToString(id[:]) }

// parseFileName reads what fileName wrote, and no other spelling.
func parseFileName(text string) (id store.ID, ok bool) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != len(id) || hex.EncodeToString(data) != text {
		return id, false
	}
	return store.ID(data), true
}

// heldFile returns the file whose own field has a path; false when it is another's.
func heldFile(path string) (id store.ID, ok bool) {
	text, ok := strings.CutPrefix(path, heldPrefix)
	if !ok {
		return id, false
	}
	return parseFileName(text)
}

// reference is what variables hold of a file.
func (f *file) reference() *canon.Context {
	return newContext(
		canon.Entry{Name: "file", Value: canon.String(fileName(f.id))},
		canon.Entry{Name: "name", Value: canon.String(f.name)},
		canon.Entry{Name: "sha256", Value: canon.String(f.sum)},
		canon.Entry{Name: "size", Value: canon.NewNumber(f.size)},
		canon.Entry{Name: "type", Value: canon.String(f.media)},
	)
}

// referenceNames are the names in a reference.
var referenceNames = []string{"file", "name", "sha256", "size", "type"}

// isReference reports whether a value is meant to be a file's reference: it has
// exactly these names, and what calls itself the file is the id of one.
func isReference(c *canon.Context) (id store.ID, ok bool) {
	for _, name := range referenceNames {
		if _, has := c.Get(name); !has {
			return id, false
		}
	}
	text, _ := c.Get("file")
	name, _ := text.(canon.String)
	id, ok = parseFileName(string(name))
	return id, ok && c.Len() == len(referenceNames)
}

// value is what the file's own field holds.
func (f *file) value() *canon.Context {
	subjects := make(canon.List, len(f.label.Subjects))
	for i, s := range f.label.Subjects {
		subjects[i] = canon.String(s)
	}
	return newContext(
		canon.Entry{Name: "class", Value: canon.String(f.label.Class.String())},
		canon.Entry{Name: "draft", Value: canon.Bool(f.draft)},
		canon.Entry{Name: "key", Value: canon.String(hex.EncodeToString(f.key.ID[:]))},
		canon.Entry{Name: "name", Value: canon.String(f.name)},
		canon.Entry{Name: "secret", Value: canon.String(hex.EncodeToString(f.key.Secret[:]))},
		canon.Entry{Name: "sha256", Value: canon.String(f.sum)},
		canon.Entry{Name: "size", Value: canon.NewNumber(f.size)},
		canon.Entry{Name: "subjects", Value: subjects},
		canon.Entry{Name: "type", Value: canon.String(f.media)},
	)
}

// write is the new version of the file's own field. It is sealed whatever its
// label, for it holds a key.
func (f *file) write() fieldWrite {
	label := f.label
	label.Class = max(label.Class, process.Confident)
	return fieldWrite{path: filePath(f.id), value: f.value(), label: label}
}

// newContext makes a context of entries whose names are constants of ours.
func newContext(entries ...canon.Entry) *canon.Context {
	c, err := canon.NewContext(entries...)
	if err != nil {
		panic("engine: internal error: context with equal names")
	}
	return c
}

// parseFile reads what value wrote. It is only ever read after it was opened, so
// a mistake is one of ours.
func parseFile(path string, v canon.Value) (*file, error) {
	c, _ := v.(*canon.Context)
	text := func(name string) string {
		v, _ := c.Get(name)
		s, _ := v.(canon.String)
		return string(s)
	}
	f := &file{name: text("name"), media: text("type"), sum: text("sha256")}
	size, _ := c.Get("size")
	number, _ := size.(canon.Number)
	draft, _ := c.Get("draft")
	f.draft = draft == canon.Value(canon.Bool(true))
	subjects, _ := c.Get("subjects")
	list, _ := subjects.(canon.List)
	for _, s := range list {
		name, _ := s.(canon.String)
		f.label.Subjects = append(f.label.Subjects, string(name))
	}
	var known, named bool
	var err error
	f.id, named = parseFileName(strings.TrimPrefix(path, heldPrefix))
	f.label.Class, known = process.ParseClass(text("class"))
	n, err1 := hex.Decode(f.key.ID[:], []byte(text("key")))
	m, err2 := hex.Decode(f.key.Secret[:], []byte(text("secret")))
	f.size, err = number.Decimal().Int64()
	if !known || !named || err != nil || err1 != nil || err2 != nil || n != len(f.key.ID) || m != len(f.key.Secret) {
		return nil, fault.New(fault.Integrity, "a stored file is malformed")
	}
	return f, nil
}

// openFile reads one file of an instance from its field. NotFound when it is not
// the instance's, Sealed when it was erased.
func (e *Engine) openFile(ctx context.Context, l *Live, id store.ID) (*file, error) {
	path := filePath(id)
	v, err := e.readField(ctx, &l.object, path)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, noSuch("file", fileName(id))
	}
	return parseFile(path, v)
}

// files lists the ids of an instance's files, ascending.
func (h *head) files() []store.ID {
	start, _ := slices.BinarySearchFunc(h.fields, heldPrefix, func(f stored, p string) int { return strings.Compare(f.path, p) })
	var ids []store.ID
	for _, f := range h.fields[start:] {
		text, ok := strings.CutPrefix(f.path, heldPrefix)
		if !ok {
			break
		}
		if id, ok := parseFileName(text); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// fileRow is the routing row of a file of the instance.
func (l *Live) fileRow(id store.ID) store.FileRow {
	row := store.FileRow{Blob: id}
	f, _ := l.head.field(filePath(id))
	for _, k := range f.keys {
		row.Keys = append(row.Keys, store.ID(l.head.keys[k]))
	}
	return row
}

// checkFiles compares an instance's rows of files with its head.
func (e *Engine) checkFiles(ctx context.Context, l *Live) error {
	ids := l.head.files()
	if len(ids) == 0 {
		return nil
	}
	rows, err := e.store.Files(ctx, l.scope, l.id)
	if err != nil {
		return err
	}
	same := slices.EqualFunc(rows, ids, func(row store.FileRow, id store.ID) bool {
		return row.Blob == id && slices.Equal(row.Keys, l.fileRow(id).Keys)
	})
	if !same {
		return l.changedIn("files", "has changed, missing or added rows in the list of files")
	}
	return nil
}

// fileInfos describes those of an instance's files that a lens shows; of the erased ones
// only that they were.
func (e *Engine) fileInfos(ctx context.Context, l *Live, v *lens) ([]api.FileInfo, error) {
	var infos []api.FileInfo
	for _, id := range l.head.files() {
		f, err := e.openFile(ctx, l, id)
		switch {
		case fault.Is(err, fault.Sealed) && v.names(filePath(id)):
			infos = append(infos, api.FileInfo{File: fileName(id), Erased: true})
			continue
		case fault.Is(err, fault.Sealed):
			continue
		case err != nil:
			return nil, err
		case !v.lookFile(f):
			continue
		}
		infos = append(infos, api.FileInfo{
			File: fileName(id), Name: f.name, Type: f.media, Size: f.size, SHA256: f.sum,
			Class: f.label.Class.String(), Subjects: v.named(f.label.Subjects),
		})
	}
	return infos, nil
}
