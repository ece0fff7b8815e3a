package kms

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/underseal/underseal/internal/fault"
)

// keyFileTitle is the beginning of every key file.
const keyFileTitle = "underseal key file 1\n" +
	"# Whoever has this file can read the data; without it nobody can.\n" +
	"# Keep a copy of it, and not beside the copies of the data.\n"

// maxKeyFile bounds what is read of a key file, in bytes.
const maxKeyFile = 1 << 20

// keyFileContent is what a key file says. As text:
//
//	underseal key file 1           and two lines of comment
//	id UUID
//	lock pbkdf2-sha256 N SALT CHECK      if it has a passphrase, see lock
//	key 1 BASE64                   one line per version, 1, 2, ..; 32 bytes, sealed under the lock 60
//	key 2 destroyed
//	end HEX                        SHA-256 of all bytes before this line
//
// There is one spelling of each content; a file in any other is refused. The
// last line tells a half-written or damaged file from a whole one.
type keyFileContent struct {
	id   uuid.UUID
	lock *lock       // nil: no passphrase
	keys []storedKey // of version i+1; nil when it was destroyed
	open *lockKey    // what opens the lock
}

// A storedKey is a version's line: the key itself, or sealed under the lock.
type storedKey []byte

func (storedKey) String() string             { return redacted }
func (storedKey) GoString() string           { return redacted }
func (storedKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// add appends a version with a random key.
func (c *keyFileContent) add() error {
	var key rootKey
	rand.Read(key[:])
	return c.put(len(c.keys), key)
}

// put stores a key as that of version i+1, the next one or one there is.
func (c *keyFileContent) put(i int, key rootKey) error {
	stored := storedKey(key[:])
	if c.lock != nil {
		var err error
		if stored, err = c.open.seal(c.id, uint32(i+1), key[:]); err != nil {
			return err
		}
	}
	c.keys = append(c.keys[:i:i], append([]storedKey{stored}, c.keys[min(i+1, len(c.keys)):]...)...)
	return nil
}

// key returns the key of version i+1, which was not destroyed.
func (c *keyFileContent) key(i int) (rootKey, error) {
	if c.lock == nil {
		return rootKey(c.keys[i]), nil
	}
	raw, err := c.open.open(c.id, uint32(i+1), c.keys[i])
	if err != nil || len(raw) != len(rootKey{}) {
		return rootKey{}, fault.New(fault.Integrity, "root key %s: version %d does not open under the key file's passphrase", c.id, i+1)
	}
	return rootKey(raw), nil
}

// relock returns the same keys under another lock, or under none.
func (c *keyFileContent) relock(under *lockKey) (keyFileContent, error) {
	out := keyFileContent{id: c.id, open: under, keys: make([]storedKey, len(c.keys))}
	if under != nil {
		out.lock = under.lock
	}
	for i, stored := range c.keys {
		if stored == nil {
			continue
		}
		key, err := c.key(i)
		if err == nil {
			err = out.put(i, key)
		}
		if err != nil {
			return keyFileContent{}, err
		}
	}
	return out, nil
}

// destroy drops the key of a version and keeps its number.
func (c *keyFileContent) destroy(version uint32) error {
	if version == 0 || int(version) > len(c.keys) {
		return fault.New(fault.NotFound, "root key %s has no version %d", c.id, version)
	}
	c.keys[version-1] = nil
	return nil
}

// newest returns the highest version that was not destroyed, 0 if all were.
func (c *keyFileContent) newest() (version uint32) {
	for i, stored := range slices.Backward(c.keys) {
		if stored != nil {
			return uint32(i + 1)
		}
	}
	return 0
}

// version returns a key. NotFound when it was destroyed; Integrity when there
// never was one, because then no wrapped key can name it.
func (c *keyFileContent) version(version uint32) (rootKey, error) {
	switch {
	case version == 0 || int(version) > len(c.keys):
		return rootKey{}, fault.New(fault.Integrity, "unwrap key: it names version %d of root key %s, which does not exist", version, c.id)
	case c.keys[version-1] == nil:
		return rootKey{}, fault.New(fault.NotFound, "unwrap key: version %d of root key %s was destroyed", version, c.id).WithCode("root_key_destroyed")
	}
	return c.key(int(version - 1))
}

// encode returns the content as text.
func (c *keyFileContent) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%sid %s\n", keyFileTitle, c.id)
	if c.lock != nil {
		fmt.Fprintf(&b, "lock %s\n", c.lock.text())
	}
	for i, stored := range c.keys {
		value := "destroyed"
		if stored != nil {
			value = base64.StdEncoding.EncodeToString(stored)
		}
		fmt.Fprintf(&b, "key %d %s\n", i+1, value)
	}
	sum := sha256.Sum256(b.Bytes())
	fmt.Fprintf(&b, "end %s\n", hex.EncodeToString(sum[:]))
	return b.Bytes()
}

// parseKeyFile reads the text of a key file. No error quotes what it holds.
func parseKeyFile(path string, text []byte) (keyFileContent, error) {
	content, line := decodeKeyFile(string(text))
	if line > 0 || !bytes.Equal(content.encode(), text) {
		return keyFileContent{}, garbled(path, text, line)
	}
	return content, nil
}

// garbled says what is wrong with a key file, as far as it can be told.
func garbled(path string, text []byte, line int) error {
	what := "was damaged or edited: its checksum does not fit"
	_, tail, _ := bytes.Cut(text, []byte("\nend "))
	switch {
	case !startsLikeKeyFile(string(text)):
		what = "is not an underseal key file"
	case len(tail) < 2*sha256.Size+len("\n"):
		what = "is incomplete: its writing was interrupted"
	case line > 0:
		what = fmt.Sprintf("was damaged or edited: line %d cannot be read", line)
	}
	return fault.New(fault.Integrity, "key file %s %s", path, what).WithCode("key_file_garbled").
		WithHint("restore %s from its backup; only if no data was ever made with it, remove it and start again", path)
}

// startsLikeKeyFile reports whether text begins with the first line of a key
// file, or is itself a beginning of it.
func startsLikeKeyFile(text string) bool {
	first, _, _ := strings.Cut(keyFileTitle, "\n")
	return strings.HasPrefix(text, first) || strings.HasPrefix(first, text)
}

// decodeKeyFile reads as much as makes sense and returns the number of the
// first line that does not, 0 when all do. Whether the spelling is the right
// one is for the caller to see, by encoding it again.
func decodeKeyFile(text string) (content keyFileContent, line int) {
	rest, ok := strings.CutPrefix(text, keyFileTitle)
	if !ok {
		return content, 1
	}
	for i, l := range strings.Split(rest, "\n") {
		word, value, _ := strings.Cut(l, " ")
		switch word {
		case "id":
			content.id, ok = parseID(value)
		case "lock":
			content.lock, ok = parseLock(value)
		case "key":
			ok = content.parseKey(value)
		case "end":
			return content, 0
		default:
			ok = false
		}
		if !ok {
			return content, strings.Count(keyFileTitle, "\n") + i + 1
		}
	}
	return content, 1
}

func parseID(text string) (uuid.UUID, bool) {
	id, err := uuid.Parse(text)
	return id, err == nil
}

// parseKey reads "1 BASE64" or "1 destroyed" as the next version.
func (c *keyFileContent) parseKey(text string) bool {
	number, value, _ := strings.Cut(text, " ")
	if number != strconv.Itoa(len(c.keys)+1) {
		return false
	}
	if value == "destroyed" {
		c.keys = append(c.keys, nil)
		return true
	}
	size := len(rootKey{})
	if c.lock != nil {
		size += gcmSize
	}
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(raw) != size {
		return false
	}
	c.keys = append(c.keys, raw)
	return true
}
