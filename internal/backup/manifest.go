package backup

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

const (
	format       = "underseal-backup/1"
	manifestName = "manifest.json"
	keyName      = "manifest.key" // among the keys
	blobsName    = "blobs"
)

// Manifest describes one part of a backup.
type Manifest struct {
	Format     string    `json:"format"`
	Backup     string    `json:"backup"` // the same in both parts
	Part       string    `json:"part"`   // data or keys
	Deployment string    `json:"deployment"`
	Database   string    `json:"database"`        // sqlite or postgres
	Files      string    `json:"files,omitempty"` // where the server keeps files; those of other stores are not in the backup
	Began      time.Time `json:"began"`
	Ended      time.Time `json:"ended"`
	Logs       []Log     `json:"logs"`
	Content    []File    `json:"content"`
	MAC        string    `json:"mac"` // hex; see mac
}

// mac authenticates a manifest, and with it every file that it names, under a key
// which the deployment has beside its keys. So who has the data of a backup alone
// cannot change them.
func (m Manifest) mac(key []byte) (string, error) {
	m.MAC = ""
	text, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("underseal/v1/backup\x00"))
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// authentic requires that the deployment with this key made the manifest.
func (m *Manifest) authentic(key []byte) error {
	mac, err := m.mac(key)
	if err != nil || hmac.Equal([]byte(mac), []byte(m.MAC)) {
		return err
	}
	return fault.New(fault.Integrity, "the manifest of the %s was changed, or is of another deployment than the keys: its MAC is not theirs", m.Part).
		WithCode("backup_forged").WithHint("do not use this copy; take another one, with keys of the same deployment")
}

// Log is the newest checkpoint of a log at the moment of the copy: among the data the
// one that was published, among the keys the one that is kept beside them, which is of
// as much or more. A log of which nothing was signed yet is not listed.
type Log struct {
	Tenant string `json:"tenant"`
	Origin string `json:"origin"`
	Size   uint64 `json:"size"` // leaves
	Root   string `json:"root"` // hex
}

// logsOf reads the checkpoints of a copy. What they say is not verified: whose key
// signed them, fsck says.
func logsOf(copied []store.CopiedLog) ([]Log, error) {
	logs := make([]Log, 0, len(copied))
	for _, c := range copied {
		says, err := ledger.UnverifiedCheckpoint(c.Signed)
		if err != nil {
			return nil, fault.New(fault.Integrity, "read a checkpoint of tenant %s in the copy: %w", c.Tenant, err)
		}
		logs = append(logs, Log{Tenant: c.Tenant, Origin: says.Origin, Size: says.Size, Root: says.Root.String()})
	}
	return logs, nil
}

// holds requires that what is restored has the logs that the manifest names.
func (m *Manifest) holds(logs []Log) error {
	if slices.Equal(m.Logs, logs) {
		return nil
	}
	return fault.New(fault.Integrity, "the %s of the backup have other logs than their manifest says", m.Part).WithCode("backup_damaged").
		WithHint("take another copy of this backup, or an older backup")
}

// with requires that keys which know these logs are of the moment of the data or a
// later one: a checkpoint stands beside the keys before it is published.
func (m *Manifest) with(keys []Log) error {
	for _, log := range m.Logs {
		i := slices.IndexFunc(keys, func(k Log) bool { return k.Tenant == log.Tenant && k.Origin == log.Origin })
		switch {
		case i < 0:
			return tooOld("the data have %d signed leaves of the log %s, of which the keys know nothing", log.Size, log.Origin)
		case keys[i].Size < log.Size:
			return tooOld("the data have %d signed leaves of the log %s, and the keys know of %d", log.Size, log.Origin, keys[i].Size)
		case keys[i].Size == log.Size && keys[i].Root != log.Root:
			return fault.New(fault.Integrity, "data and keys have different checkpoints of %d leaves of the log %s", log.Size, log.Origin).WithCode("backup_mixed").
				WithHint("one of the two was changed, or goes on from another restore; take data and keys of the same backup")
		}
	}
	return nil
}

func tooOld(format string, args ...any) error {
	return fault.New(fault.Conflict, format+": keys that the data need are missing", args...).WithCode("keys_too_old").
		WithHint("take the keys of the same backup or of a later one, best the newest there are")
}

// File is one file of a part; its path has slashes and is below the part's directory.
type File struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex
}

// write makes the part's directory durable and then names its content.
func (m *Manifest) write(dir string, key []byte) (err error) {
	if m.MAC, err = m.mac(key); err != nil {
		return err
	}
	text, err := m.encode()
	if err != nil {
		return err
	}
	if err := syncTree(context.Background(), dir); err != nil {
		return err
	}
	path := filepath.Join(dir, manifestName)
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = file.Write(text)
		err = errors.Join(err, file.Sync(), file.Close())
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncTree(context.Background(), filepath.Dir(dir))
	}
	if err != nil {
		return fault.New(fault.Unavailable, "write the manifest of the backup: %w", err)
	}
	return nil
}

// encode returns the one text that says what the manifest does.
func (m *Manifest) encode() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	return append(text, '\n'), err
}

// decode reads what encode returns, and no other text: the MAC is of what a manifest says,
// so one that could be read in two ways would have it in both.
func decode(text []byte) (m Manifest, ok bool) {
	if err := json.Unmarshal(text, &m); err != nil || m.Format != format {
		return m, false
	}
	again, err := m.encode()
	return m, err == nil && bytes.Equal(again, text)
}

// Read returns the manifest of a part and requires that exactly the files it names
// are there, unchanged. NotFound when the directory holds no finished backup.
func Read(ctx context.Context, dir, part string) (Manifest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Manifest{}, fault.New(fault.NotFound, "read the backup: %w", err)
	}
	defer root.Close()
	text, err := root.ReadFile(manifestName)
	if errors.Is(err, fs.ErrNotExist) {
		none := fault.New(fault.NotFound, "%s is no finished backup: it has no %s", dir, manifestName)
		if _, err := os.Stat(filepath.Join(dir, part, manifestName)); err == nil {
			none = none.WithHint("it has the parts of a backup: name %s", filepath.Join(dir, part))
		}
		return Manifest{}, none
	}
	if err != nil {
		return Manifest{}, fault.New(fault.Denied, "read the backup: %w", err)
	}
	m, ok := decode(text)
	if !ok {
		return m, fault.New(fault.Invalid, "the manifest of %s is not of the format %q, or was written anew by something else than underseal backup", dir, format)
	}
	if m.Part != part {
		return m, fault.New(fault.Invalid, "%s holds %s, not %s", dir, m.Part, part)
	}
	content, err := hashTree(ctx, dir, root)
	if err != nil {
		return m, err
	}
	return m, m.compare(dir, content)
}

func (m *Manifest) compare(dir string, content []File) error {
	there := map[string]File{}
	for _, f := range content {
		there[f.Path] = f
	}
	for _, want := range m.Content {
		if there[want.Path] != want {
			return m.damaged(dir, want.Path)
		}
		delete(there, want.Path)
	}
	for path := range there {
		return fault.New(fault.Integrity, "the backup %s has a file %s that its manifest does not name", dir, path).WithCode("backup_damaged")
	}
	return nil
}

func (m *Manifest) damaged(dir, path string) error {
	return fault.New(fault.Integrity, "the backup %s is damaged: %s is not what was copied", dir, path).WithCode("backup_damaged").
		WithHint("take another copy of this backup, or an older backup")
}

// hashTree lists all files below a part's directory but its manifest, ascending by
// path. Whatever is neither a file nor a directory is damage: a link would lead out.
func hashTree(ctx context.Context, dir string, root *os.Root) ([]File, error) {
	var files []File
	err := walk(ctx, dir, func(path string, entry fs.DirEntry) error {
		if entry.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == manifestName {
			return err
		}
		if !entry.Type().IsRegular() {
			return fault.New(fault.Integrity, "the backup %s has a %s that is no file, but a link or something else", dir, rel).WithCode("backup_damaged").
				WithHint("no backup is made with such; somebody put it there")
		}
		file, err := hashFile(root, rel)
		files = append(files, file)
		return err
	})
	slices.SortFunc(files, func(a, b File) int { return bytes.Compare([]byte(a.Path), []byte(b.Path)) })
	return files, err
}

func hashFile(root *os.Root, rel string) (File, error) {
	in, err := root.Open(rel)
	if err != nil {
		return File{}, err
	}
	defer in.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, in)
	return File{Path: filepath.ToSlash(rel), Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}, err
}
