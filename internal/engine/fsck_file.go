package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// FileCheck says how far a check looks at what files hold.
type FileCheck int

const (
	// FilesUnread compares what names files with the log, and looks at no content.
	FilesUnread FileCheck = iota
	// FilesThere requires besides that each file's content is there, in its length.
	FilesThere
	// FilesWhole reads all of it and compares it with the hash that the log commits to.
	FilesWhole
)

const (
	// filesAtOnce is how many rows of files are read at once.
	filesAtOnce = 64
	// fileBytesAtOnce is after how many bytes of files a part ends.
	fileBytesAtOnce = 64 << 20
)

// there requires that the content of an instance's file is there, in its length.
func (c *Check) there(ctx context.Context, l *Live, f *file) error {
	if c.fileCheck != FilesThere {
		return nil
	}
	b, err := c.e.blobs.Open(ctx, c.scope.Tenant(), blob.ID(f.id))
	if err == nil {
		if b.Size() != envelope.SealedSize(f.size) {
			err = fault.New(fault.Integrity, "it has another length")
		}
		err = errors.Join(err, b.Close())
	}
	return c.content(l.id, f.id, err)
}

// content adds what a failed look at a file's content says, and returns errors that say
// nothing about that. Object is zero of a file that no instance has yet.
func (c *Check) content(object, id store.ID, err error) error {
	what := "is gone"
	switch {
	case err == nil:
		return nil
	case fault.Is(err, fault.Integrity):
		what = "is not what was uploaded: " + messageOf(err)
	case !fault.Is(err, fault.NotFound):
		return err
	}
	f := Finding{Kind: FoundFile, Where: "blobs", What: fmt.Sprintf("the content of file %s %s", fileName(id), what), Do: doFiles}
	if object != (store.ID{}) {
		f.Object = textID(object)
	}
	c.add(f)
	return nil
}

// filePart reads some files of instances, in the order of these.
func (c *Check) filePart(ctx context.Context) error {
	after, err := c.afterFile()
	if err != nil {
		return err
	}
	rows, err := c.e.store.FilesAfter(ctx, c.scope, after, filesAtOnce)
	whole := err == nil
	if err := c.unread("files", err); err != nil {
		return err
	}
	var live *Live
	before := c.State.Bytes
	for _, row := range rows {
		if c.State.Bytes-before >= fileBytesAtOnce {
			return nil
		}
		if live == nil || live.id != row.Object {
			// One that does not open was named when the objects were looked at.
			if live, err = c.e.Open(ctx, c.scope, row.Object); err != nil && outage(err) {
				return err
			}
		}
		if live != nil {
			if err := c.instanceFile(ctx, live, row.Blob); err != nil {
				return err
			}
		}
		c.State.After = textID(row.Object) + "/" + fileName(row.Blob)
		c.State.Rows++
	}
	if len(rows) == 0 || whole && len(rows) < filesAtOnce {
		c.State.Phase, c.State.After = phaseUploads, ""
	}
	return nil
}

func (c *Check) afterFile() (after store.HeldFile, err error) {
	if c.State.After == "" {
		return after, nil
	}
	object, name, _ := strings.Cut(c.State.After, "/")
	known := false
	if after.Object, err = store.ParseID(object); err == nil {
		after.Blob, known = parseFileName(name)
	}
	if err == nil && !known {
		err = badCursor(c.State.After)
	}
	return after, err
}

// instanceFile reads one file of an instance, unless it was erased. What is wrong with
// the rows that name it was found when the instance was looked at.
func (c *Check) instanceFile(ctx context.Context, l *Live, id store.ID) error {
	f, err := c.e.openFile(ctx, l, id)
	if err != nil {
		if outage(err) {
			return err
		}
		return nil
	}
	return c.content(l.id, id, c.readWhole(ctx, f))
}

// uploadPart reads some files that somebody can still claim.
func (c *Check) uploadPart(ctx context.Context) error {
	var after store.ID
	if c.State.After != "" {
		var known bool
		if after, known = parseFileName(c.State.After); !known {
			return badCursor(c.State.After)
		}
	}
	rows, err := c.e.store.Uploads(ctx, c.scope, after, filesAtOnce)
	if err != nil {
		return err
	}
	before := c.State.Bytes
	for _, row := range rows {
		if c.State.Bytes-before >= fileBytesAtOnce {
			return nil
		}
		if row.State == store.UploadReady {
			if err := c.uploaded(ctx, row); err != nil {
				return err
			}
		}
		c.State.After = fileName(row.Blob)
		c.State.Rows++
	}
	if len(rows) < filesAtOnce {
		c.endFiles()
	}
	return nil
}

// uploaded reads a file that nobody has claimed yet. A changed row was found before.
func (c *Check) uploaded(ctx context.Context, row store.UploadRow) error {
	u, err := c.e.openUpload(ctx, c.scope, row)
	if err != nil {
		if outage(err) {
			return err
		}
		return nil
	}
	return c.content(store.ID{}, row.Blob, c.readWhole(ctx, &u.file))
}

// readWhole reads all of a file. NotFound when it is not there, Integrity when it is not
// what was uploaded. That each piece opens is not enough: whoever has learned the file's
// key can seal something else under it, but the log commits to the hash.
func (c *Check) readWhole(ctx context.Context, f *file) error {
	b, err := c.e.blobs.Open(ctx, c.scope.Tenant(), blob.ID(f.id))
	if err != nil {
		return err
	}
	sum, err := c.sumOf(ctx, f, b)
	if err == nil && sum != f.sum {
		err = fault.New(fault.Integrity, "its hash is another one")
	}
	return errors.Join(err, b.Close())
}

// sumOf returns the SHA-256 of a file's content in hex.
func (c *Check) sumOf(ctx context.Context, f *file, b blob.Reader) (string, error) {
	opener, err := envelope.NewOpener(b, b.Size(), []envelope.Key{f.key}, c.e.fileContext(c.scope, "blob", f.id))
	if err != nil {
		return "", err
	}
	sum, buffer := sha256.New(), make([]byte, envelope.SegmentSize)
	for at := int64(0); at < opener.Size(); {
		n, err := opener.ReadAt(buffer[:min(int64(len(buffer)), opener.Size()-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		sum.Write(buffer[:n])
		at += int64(n)
		c.State.Bytes += uint64(n)
		if err := c.pace.wait(ctx, n); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// pace is how fast files are read.
type pace struct {
	rate int64     // bytes a second; 0: as fast as it goes
	next time.Time // when the next bytes are due
}

// wait waits until bytes that were read are within the rate.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(p.next.Sub(now)):
		return nil
	}
}
