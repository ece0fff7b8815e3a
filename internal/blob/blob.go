// Package blob is the contract of stores for what is too large for a row:
// sequences of sealed bytes under random names, one tenant's apart from
// another's.
//
// A store sees ciphertext and never a key. Nothing it returns is to be believed:
// what is read is opened as a stream of the envelope, which refuses whatever was
// changed, cut off or exchanged. docs/design/blobs.md has the reasons.
//
// There are three: internal/blob/files, internal/blob/s3 and the rows of
// internal/store. blobtest.TestStore holds all of them to what is said here.
package blob

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"github.com/underseal/underseal/internal/fault"
)

// ID names a blob. It is random and nothing else: a name tells nothing, not even
// when the blob was made.
type ID [16]byte

// NewID returns an id that no blob has.
func NewID() (id ID) {
	_, _ = rand.Read(id[:]) // crypto/rand.Read never fails: it ends the program
	return id
}

// String returns the id as 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads what String writes; any other spelling is Invalid.
func ParseID(text string) (id ID, err error) {
	if len(text) == hex.EncodedLen(len(id)) {
		if _, err := hex.Decode(id[:], []byte(text)); err == nil && id.String() == text {
			return id, nil
		}
	}
	return ID{}, fault.New(fault.Invalid, "malformed blob id %q: want 32 digits of hexadecimal in lower case", text)
}

// A Store keeps blobs. It is safe for concurrent use, by one server at a time.
//
// The context given to Create or Open holds for all that is done with what they
// return. An outage is Unavailable; when there is no room, it has the code
// CodeFull.
type Store interface {
	// Create begins a blob. Until it is committed, nobody sees it. An id that is
	// there already is Conflict.
	Create(ctx context.Context, tenant string, id ID) (Writer, error)
	// Open returns a blob to read, NotFound if the tenant has none of that id.
	Open(ctx context.Context, tenant string, id ID) (Reader, error)
	// Delete ends a blob for good; one that is not there is no error. A reader
	// that has it open reads what it was or gets an error, nothing else.
	Delete(ctx context.Context, tenant string, id ID) error
	// List returns up to limit ids of the tenant's blobs behind after, ascending.
	List(ctx context.Context, tenant string, after ID, limit int) ([]ID, error)
}

// A Writer takes the bytes of a new blob, in bounded memory. It is for one
// goroutine. After an error only Abort is left.
type Writer interface {
	io.Writer
	// Commit makes the blob durable and visible, both before it returns nil. After
	// an error the blob is there whole or not at all.
	Commit() error
	// Abort takes back what was written. After Commit, or a second time, it does
	// nothing, so it can be deferred. What it could not take back, because the
	// store is out of reach or the process ends, never becomes visible and is
	// removed later.
	Abort() error
}

// A Reader reads a blob at any place. It is safe for concurrent use.
type Reader interface {
	io.ReaderAt
	io.Closer
	// Size returns the length in bytes.
	Size() int64
}

// A Sweeper is a Store that cannot tell at its start what unfinished uploads of
// earlier processes left, since its storage may be out of reach then.
type Sweeper interface {
	// Sweep removes what was left. It spares what this process writes.
	Sweep(ctx context.Context) error
}

// CodeFull is the code of an Unavailable fault when a store has no room.
const CodeFull = "storage_full"

// Full returns the error of a store without room for a blob.
func Full(id ID, cause error) error {
	return fault.New(fault.Unavailable, "store blob %s: there is no room left", id).WithCause(cause).WithCode(CodeFull).
		WithHint("make room where blobs are kept; nothing of the upload was kept")
}

// NotFound returns the error for a blob that is not there.
func NotFound(id ID) error { return fault.New(fault.NotFound, "blob %s does not exist", id) }

// Exists returns the error for a new blob whose id is taken.
func Exists(id ID) error { return fault.New(fault.Conflict, "blob %s exists already", id) }

// Folder returns the name under which a tenant's blobs are kept where names are
// paths: 64 hexadecimal digits, whatever the tenant is called.
func Folder(tenant string) string {
	sum := sha256.Sum256([]byte("underseal/v1/blobs\x00" + tenant))
	return hex.EncodeToString(sum[:])
}
