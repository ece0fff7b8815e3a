//go:build unix

package crash_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

// kept is a file of an instance whose start was acknowledged.
type kept struct {
	instance, file string
	size           int64
}

// TestServerKilledInUploadsKeepsWhatItAcknowledged kills the server while files go
// up and into instances: each that was acknowledged comes down whole, and of the
// others nothing stays half-written.
func TestServerKilledInUploadsKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	const kills = 20
	rng := newRand(t)
	s := newServer(t, "")
	s.start()
	if _, err := s.client().Deploy(s.ctx, api.File{Name: "crash.bpmn", Content: model(t)}); err != nil {
		t.Fatal(err)
	}
	var all []kept
	for range kills {
		added := make(chan []kept)
		size := rng.Int64N(4 << 20)
		c := s.client()
		go func() { added <- s.keepFiles(c, size) }()
		time.Sleep(time.Duration(rng.Int64N(int64(400 * time.Millisecond)))) // the moment of the kill
		s.kill()
		s.start()
		all = append(all, <-added...)
		left, err := filepath.Glob(s.path("data", "blobs", "new", "*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%d half-written blobs are left after a start, %v", len(left), err)
		}
	}
	for len(all) == 0 { // a slow machine was killed too early each time
		all = s.keepFiles(s.client(), 1<<20)
	}
	for _, k := range all {
		if err := s.check(k); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d files in %d kills", len(all), kills)
	s.stop()
}

// keepFiles starts instances with files until the server is gone, three at most.
// It returns those that were acknowledged.
func (s *server) keepFiles(c *client.Client, size int64) (all []kept) {
	for range 3 {
		u, err := c.PutFile(s.ctx, "f", "", bytes.NewReader(fileOf(size)))
		if err != nil {
			return all
		}
		receipt, err := c.Start(s.ctx, api.StartRequest{Process: "crash", Variables: client.Variables(map[string]any{"file": client.FileValue(u)})})
		if err != nil {
			return all
		}
		all = append(all, kept{receipt.Instance, u.File, size})
	}
	return all
}

// fileOf is a file whose every part tells its place.
func fileOf(size int64) []byte {
	var b bytes.Buffer
	for i := 0; int64(b.Len()) < size; i++ {
		fmt.Fprintf(&b, "%d/%d ", i, size)
	}
	return b.Bytes()[:size]
}

// check downloads a file, which the client compares with its hash.
func (s *server) check(k kept) error {
	f, err := s.client().GetFile(s.ctx, k.instance, k.file)
	if err != nil {
		return fmt.Errorf("a file of %d bytes that was acknowledged: %w", k.size, err)
	}
	data, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err == nil && !bytes.Equal(data, fileOf(k.size)) {
		err = fmt.Errorf("a file of %d bytes came back as %d other ones", k.size, len(data))
	}
	return err
}
