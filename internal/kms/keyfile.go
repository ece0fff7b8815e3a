package kms

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/google/uuid"

	"github.com/underseal/underseal/internal/fault"
)

// A KeyFile is a root key in a local file of mode 0600, which may have a passphrase
// besides.
//
// The file is read again for each call: calls are minutes apart, the root key
// does not stay in memory, taking the file away or changing its mode is an
// outage or a revocation like that of any other service, and readiness notices.
// Of a passphrase, what is derived stays in memory: that takes too long for each
// call, and without the file it opens nothing.
type KeyFile struct {
	path string
	id   uuid.UUID
	mu   sync.Mutex // held while the file is replaced
	open *lockKey   // nil: the file has no passphrase
}

var (
	_ Service = (*KeyFile)(nil)
	_ Rotator = (*KeyFile)(nil)
)

// CreateKeyFile makes a key file with a fresh root key and its directory, both
// durable when it returns. A file that exists is never touched: Conflict.
// Call it only together with making new data.
func CreateKeyFile(path string) (*KeyFile, error) {
	content := keyFileContent{id: uuid.New()}
	if err := content.add(); err != nil {
		return nil, err
	}
	return content.create(path)
}

// CreateLockedKeyFile is CreateKeyFile with a passphrase of 12 to 1024 bytes.
func CreateLockedKeyFile(path, passphrase string) (*KeyFile, error) {
	id := uuid.New()
	under, err := newLock(id, passphrase)
	if err != nil {
		return nil, err
	}
	content := keyFileContent{id: id, lock: under.lock, open: under}
	if err := content.add(); err != nil {
		return nil, err
	}
	return content.create(path)
}

// create writes the content to a new file.
func (c *keyFileContent) create(path string) (*KeyFile, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "create key file: %w", err)
	}
	switch err := writeNew(path, c.encode()); {
	case errors.Is(err, fs.ErrExist):
		return nil, fault.New(fault.Conflict, "create key file: %s exists already and is never overwritten", path)
	case err != nil:
		return nil, fault.New(fault.Unavailable, "create key file: %w", err)
	}
	// The directory's own entry may be as new as the file's.
	if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))); err != nil {
		return nil, fault.New(fault.Unavailable, "create key file: %w", err)
	}
	return &KeyFile{path: path, id: c.id, open: c.open}, nil
}

// OpenKeyFile reads and checks a key file without passphrase. NotFound when it is
// missing, Denied when it may not be read, others may, or it has a passphrase,
// Integrity when it is half-written or garbled.
func OpenKeyFile(path string) (*KeyFile, error) {
	content, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	f := &KeyFile{path: path, id: content.id}
	if err := f.unlock(&content); err != nil {
		return nil, err
	}
	return f, nil
}

// OpenLockedKeyFile is OpenKeyFile for a file with a passphrase. Denied when the
// passphrase is another, or the file has none: whoever gave one counts on it.
func OpenLockedKeyFile(path, passphrase string) (*KeyFile, error) {
	content, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	if content.lock == nil {
		return nil, unlocked(path)
	}
	under, err := content.lock.derive(passphrase)
	if err != nil {
		return nil, err
	}
	if !under.fits(content.id) {
		return nil, fault.New(fault.Denied, "key file %s (root key %s): the passphrase is not the right one", path, content.id).
			WithCode("passphrase_wrong").WithHint("see what root_key_passphrase names; the escrow copy opens without it")
	}
	return &KeyFile{path: path, id: content.id, open: under}, nil
}

// unlock gives the content the key of its lock, if it is the one the file was
// opened with.
func (f *KeyFile) unlock(content *keyFileContent) error {
	switch {
	case content.lock == nil && f.open == nil:
	case content.lock == nil:
		return unlocked(f.path)
	case f.open == nil:
		return fault.New(fault.Denied, "key file %s (root key %s) has a passphrase, and none was given", f.path, content.id).
			WithCode("passphrase_needed").WithHint("name it by root_key_passphrase, as file:PATH or env:NAME")
	case *content.lock != *f.open.lock:
		return fault.New(fault.Denied, "key file %s: its passphrase was changed", f.path).WithCode("passphrase_wrong").
			WithHint("start again with the new one")
	}
	content.open = f.open
	return nil
}

func unlocked(path string) error {
	return fault.New(fault.Denied, "key file %s has no passphrase, although one was given", path).WithCode("passphrase_unused").
		WithHint("give it one with underseal keys passphrase, or take root_key_passphrase away")
}

// ChangePassphrase seals the key file under another passphrase, or under none when
// it is empty, and returns the file as it is then. What had it open is refused.
func (f *KeyFile) ChangePassphrase(ctx context.Context, passphrase string) (*KeyFile, error) {
	under, err := lockUnder(f.id, passphrase)
	if err != nil {
		return nil, err
	}
	err = f.change(ctx, func(content *keyFileContent) (err error) {
		*content, err = content.relock(under)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &KeyFile{path: f.path, id: f.id, open: under}, nil
}

// Export returns the text of the key file as it would be without passphrase.
// Whoever has it can read the data: it is for an escrow copy, encrypted at once.
func (f *KeyFile) Export(ctx context.Context) ([]byte, error) {
	content, err := f.read(ctx)
	if err != nil {
		return nil, err
	}
	if content, err = content.relock(nil); err != nil {
		return nil, err
	}
	return content.encode(), nil
}

// RestoreKeyFile makes a key file of an exported text, with a passphrase unless it
// is empty. A file that exists is never touched: Conflict. Integrity for a text
// that is not one.
func RestoreKeyFile(path string, text []byte, passphrase string) (*KeyFile, error) {
	content, err := parseKeyFile(path, text)
	if err != nil || content.lock != nil {
		return nil, fault.New(fault.Integrity, "restore key file: the text is no whole key file without passphrase")
	}
	under, err := lockUnder(content.id, passphrase)
	if err != nil {
		return nil, err
	}
	if content, err = content.relock(under); err != nil {
		return nil, err
	}
	return content.create(path)
}

// String names the file and the id of its root key.
func (f *KeyFile) String() string { return "key file " + f.path + " (root key " + f.id.String() + ")" }

// Wrap implements Service.
func (f *KeyFile) Wrap(ctx context.Context, c Context, key []byte) ([]byte, error) {
	content, err := f.use(ctx, c)
	if err != nil {
		return nil, err
	}
	version := content.newest()
	if version == 0 {
		return nil, fault.New(fault.NotFound, "%s: all versions of the root key were destroyed", f)
	}
	root, err := content.version(version)
	if err != nil {
		return nil, err
	}
	return wrap(root, header{f.id, version}, c, key)
}

// Unwrap implements Service.
func (f *KeyFile) Unwrap(ctx context.Context, c Context, wrapped []byte) ([]byte, error) {
	content, err := f.use(ctx, c)
	if err != nil {
		return nil, err
	}
	h, err := f.header(wrapped)
	if err != nil {
		return nil, err
	}
	root, err := content.version(h.version)
	if err != nil {
		return nil, err
	}
	return unwrap(root, h, c, wrapped)
}

// Version implements Service. Bytes of another key file are a Conflict.
func (f *KeyFile) Version(wrapped []byte) (string, error) {
	h, err := f.header(wrapped)
	if err != nil {
		return "", err
	}
	return strconv.FormatUint(uint64(h.version), 10), nil
}

// header reads the header of a wrapped key and makes sure that it names this root key.
func (f *KeyFile) header(wrapped []byte) (header, error) {
	h, err := parseHeader(wrapped)
	if err != nil {
		return header{}, err
	}
	if h.id != f.id {
		return header{}, fault.New(fault.Conflict, "a wrapped key was wrapped under root key %s, and this is %s",
			uuid.UUID(h.id), f).WithCode("other_root_key").WithHint("start with the key file whose id is %s", uuid.UUID(h.id))
	}
	return h, nil
}

// Describe implements Service.
func (f *KeyFile) Describe(ctx context.Context) (Description, error) {
	content, err := f.read(ctx)
	if err != nil {
		return Description{}, err
	}
	d := Description{Provider: "keyfile", KeyID: f.id.String()}
	if version := content.newest(); version > 0 {
		d.Version = strconv.FormatUint(uint64(version), 10)
	}
	return d, nil
}

// Destroy implements Service. The old file's bytes are overwritten, which a file
// system that copies on write, a snapshot or a flash disk may still defeat: copies
// of the key file are the operator's to destroy.
func (f *KeyFile) Destroy(ctx context.Context, version string) error {
	n, err := strconv.ParseUint(version, 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != version {
		return fault.New(fault.NotFound, "destroy root key: %s has no version %q", f, version)
	}
	return f.change(ctx, func(content *keyFileContent) error { return content.destroy(uint32(n)) })
}

// Rotate implements Rotator. The new version is durable when it returns.
func (f *KeyFile) Rotate(ctx context.Context) (version string, err error) {
	err = f.change(ctx, func(content *keyFileContent) error {
		version = strconv.Itoa(len(content.keys) + 1)
		return content.add()
	})
	if err != nil {
		return "", err
	}
	return version, nil
}

// use reads the file for a call in the context c.
func (f *KeyFile) use(ctx context.Context, c Context) (keyFileContent, error) {
	if err := c.Validate(); err != nil {
		return keyFileContent{}, err
	}
	return f.read(ctx)
}

// read reads the file again and makes sure that it is still the same key. Once
// a server runs, a file that is gone or damaged is an outage.
func (f *KeyFile) read(ctx context.Context) (keyFileContent, error) {
	if err := ctx.Err(); err != nil {
		return keyFileContent{}, fault.New(fault.Unavailable, "read %s: %w", f, err)
	}
	content, err := readKeyFile(f.path)
	switch {
	case fault.Is(err, fault.Denied):
		return keyFileContent{}, err
	case err != nil:
		return keyFileContent{}, outage(err)
	case content.id != f.id:
		return keyFileContent{}, fault.New(fault.Conflict, "%s was replaced: it holds root key %s now", f, content.id).WithCode("other_root_key")
	}
	return content, f.unlock(&content)
}

// outage turns an error of reading the file into an Unavailable one.
func outage(err error) error {
	e := fault.New(fault.Unavailable, "%w", err)
	var cause *fault.Error
	if errors.As(err, &cause) {
		e.Code, e.Hint = cause.Code, cause.Hint
	}
	return e
}

// change replaces the file by an edited one, whole or not at all.
func (f *KeyFile) change(ctx context.Context, edit func(*keyFileContent) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	content, err := f.read(ctx)
	if err != nil {
		return err
	}
	if err := edit(&content); err != nil {
		return err
	}
	if err := replace(f.path, content.encode()); err != nil {
		return fault.New(fault.Unavailable, "change %s: %w", f, err)
	}
	return nil
}

// readKeyFile reads, checks and parses a key file.
func readKeyFile(path string) (keyFileContent, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return keyFileContent{}, fault.New(fault.Invalid, "key file %s is not a regular file", path)
	}
	// An open file's mode cannot be exchanged between the check and the reading.
	file, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return keyFileContent{}, missing(path)
	case errors.Is(err, fs.ErrPermission):
		return keyFileContent{}, fault.New(fault.Denied, "read key file: %w", err).WithHint("run as the user who owns %s", path)
	case err != nil:
		return keyFileContent{}, fault.New(fault.Unavailable, "read key file: %w", err)
	}
	defer file.Close()
	if err := checkMode(file); err != nil {
		return keyFileContent{}, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return keyFileContent{}, fault.New(fault.Unavailable, "read key file: %w", err)
	}
	return parseKeyFile(path, text)
}

func missing(path string) error {
	return fault.New(fault.NotFound, "key file %s is missing, and the data cannot be read without it", path).WithCode("key_file_missing").
		WithHint("restore %s from its backup, or name the right file; a new one is made only together with new data", path)
}

// checkMode refuses a file that anybody but its owner may use. Who the owner is
// does not matter: a file mounted from a secret store often belongs to root.
func checkMode(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return fault.New(fault.Unavailable, "read key file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&^0o600 != 0 {
		return fault.New(fault.Denied, "key file %s has mode %04o, and others than its owner must not use it", file.Name(), mode).
			WithCode("key_file_too_open").WithHint("chmod 600 %s", file.Name())
	}
	return nil
}
