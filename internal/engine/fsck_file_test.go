package engine_test

import (
	"bytes"
	"io"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/blob/files"
	"github.com/underseal/underseal/internal/blob/s3"
	"github.com/underseal/underseal/internal/blob/s3/s3test"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// fileWorld is a node with two files of one length in an instance, an empty one, one that
// was erased, and one that nobody has claimed yet.
type fileWorld struct {
	*testenv.Env
	store                blob.Store
	instance             string
	first, second, loose string // ids
}

const looked = 2*envelope.SegmentSize + 1000 // bytes of each file

func newFileWorld(t *testing.T, open func(deployment string) (blob.Store, error)) *fileWorld {
	t.Helper()
	w := &fileWorld{}
	w.Env = testenv.New(t, func(c *node.Config) {
		c.OpenBlobs = func(deployment string) (blob.Store, error) {
			var err error
			w.store, err = open(deployment)
			return w.store, err
		}
	})
	w.Deploy("c.bpmn", classified)
	send := func(data []byte) string { return put(t, w.Env, w.Ann, data).File }
	w.first, w.second, w.loose = send(content(looked)), send(content(looked)), send(content(looked))
	w.instance = w.Start("classified", `{"a": `+named(w.first)+`, "b": `+named(w.second)+`, "c": `+named(send(nil))+`}`)
	erase(t, w.Env, "instance", w.Start("classified", `{"a": `+named(send(content(10)))+`}`))
	return w
}

// stored returns the bytes of a blob.
func (w *fileWorld) stored(t *testing.T, file string) []byte {
	t.Helper()
	r, err := w.store.Open(t.Context(), identity.MainTenant, blobID(t, file))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// keep puts other bytes in the place of a blob's; nil: none.
func (w *fileWorld) keep(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := w.store.Delete(t.Context(), identity.MainTenant, blobID(t, file)); err != nil || data == nil {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	to, err := w.store.Create(t.Context(), identity.MainTenant, blobID(t, file))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := to.Commit(); err != nil {
		t.Fatal(err)
	}
}

// found returns what a check of everything finds.
func (w *fileWorld) found(t *testing.T, o engine.CheckOptions) (all []engine.Finding, end engine.CheckState) {
	t.Helper()
	c := w.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, o)
	for !c.Done() {
		found, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all, c.State
}

// fileChanges are what is done to the content of a file. Of those that change its length
// or take it away it is enough to look where it is.
var fileChanges = []struct {
	name   string
	seen   bool // without reading it
	change func(t *testing.T, w *fileWorld, file string, data []byte) []byte
}{
	{"its beginning", false, byteChanged(0)},
	{"its salt", false, byteChanged(30)},
	{"a byte of the first piece", false, byteChanged(200)},
	{"a byte in the middle", false, byteChanged(envelope.SegmentSize + 500)},
	{"the last byte", false, byteChanged(-1)},
	{"two pieces exchanged", false, func(_ *testing.T, _ *fileWorld, _ string, data []byte) []byte {
		const prefix, piece = 69, envelope.SegmentSize + 28
		one := bytes.Clone(data[prefix : prefix+piece])
		copy(data[prefix:], data[prefix+piece:prefix+2*piece])
		copy(data[prefix+piece:], one)
		return data
	}},
	{"the content of another", false, func(t *testing.T, w *fileWorld, _ string, _ []byte) []byte { return w.stored(t, w.second) }},
	{"something else under its own key", false, func(t *testing.T, w *fileWorld, file string, _ []byte) []byte {
		key, at, err := w.Engine.FileKey(t.Context(), identity.MainTenant, w.instance, file)
		if err != nil {
			t.Fatal(err)
		}
		var sealed bytes.Buffer
		to, err := envelope.NewSealer(&sealed, []envelope.Key{key}, at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.Write(make([]byte, looked)); err != nil {
			t.Fatal(err)
		}
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
		return sealed.Bytes()
	}},
	{"a byte cut off", true, func(_ *testing.T, _ *fileWorld, _ string, data []byte) []byte { return data[:len(data)-1] }},
	{"a piece cut off", true, func(_ *testing.T, _ *fileWorld, _ string, data []byte) []byte { return data[:len(data)-1028] }},
	{"a byte added", true, func(_ *testing.T, _ *fileWorld, _ string, data []byte) []byte { return append(data, 0) }},
	{"emptied", true, func(*testing.T, *fileWorld, string, []byte) []byte { return []byte{} }},
	{"gone", true, func(*testing.T, *fileWorld, string, []byte) []byte { return nil }},
}

// byteChanged changes a byte; a negative place counts from the end.
func byteChanged(at int) func(*testing.T, *fileWorld, string, []byte) []byte {
	return func(_ *testing.T, _ *fileWorld, _ string, data []byte) []byte {
		data[(at+len(data))%len(data)] ^= 1
		return data
	}
}

// TestWhatIsDoneToTheContentOfFilesIsNamed changes what the stores of files hold.
func TestWhatIsDoneToTheContentOfFilesIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	service := httptest.NewTLSServer(&s3test.Fake{AccessKey: "AKIDEXAMPLE"})
	t.Cleanup(service.Close)
	for name, open := range map[string]func(string) (blob.Store, error){
		"files": func(deployment string) (blob.Store, error) { return files.Open(filepath.Join(dir, deployment)) },
		"S3": func(deployment string) (blob.Store, error) {
			return s3.Open(s3.Config{
				Endpoint: service.URL, Bucket: "files", AccessKey: "AKIDEXAMPLE", SecretKey: "example", Deployment: deployment,
				Transport: service.Client().Transport,
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contentChanged(t, newFileWorld(t, open))
		})
	}
}

func contentChanged(t *testing.T, w *fileWorld) {
	whole := engine.CheckOptions{Files: engine.FilesWhole}
	for _, o := range []engine.CheckOptions{{}, {Files: engine.FilesThere}, whole, {Files: engine.FilesWhole, WithoutKeys: true}} {
		if found, _ := w.found(t, o); len(found) > 0 {
			t.Fatalf("files as they were sent: %+v finds %+v", o, found)
		}
	}
	if _, end := w.found(t, whole); end.Bytes != 3*looked {
		t.Errorf("%d bytes of files were read, want %d", end.Bytes, 3*looked)
	}
	sent := w.stored(t, w.first)
	for _, c := range fileChanges {
		w.keep(t, w.first, c.change(t, w, w.first, bytes.Clone(sent)))
		for _, o := range []engine.CheckOptions{{}, {Files: engine.FilesThere}, whole} {
			found, _ := w.found(t, o)
			named := len(found) == 1 && found[0].Kind == engine.FoundFile && found[0].Object == w.instance && strings.Contains(found[0].What, w.first)
			if want := o.Files == engine.FilesWhole || o.Files == engine.FilesThere && c.seen; named != want || !want && len(found) > 0 {
				t.Errorf("%s: a check with %+v finds %+v", c.name, o, found)
			}
		}
		w.keep(t, w.first, sent)
	}
	loose := w.stored(t, w.loose)
	for _, data := range [][]byte{nil, byteChanged(-1)(t, w, "", bytes.Clone(loose))} {
		w.keep(t, w.loose, data)
		found, _ := w.found(t, whole)
		if len(found) != 1 || found[0].Kind != engine.FoundFile || found[0].Object != "" || !strings.Contains(found[0].What, w.loose) {
			t.Errorf("of a file that nobody has claimed, with %d bytes: %+v", len(data), found)
		}
	}
	w.keep(t, w.loose, loose)
	if found, _ := w.found(t, whole); len(found) > 0 {
		t.Errorf("files as they were: %+v", found)
	}
}

// TestAnOrderedCheckReadsFiles has a running server read them, at the rate that is set.
func TestAnOrderedCheckReadsFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blobs := &testenv.Blobs{}
		w := newFileWorld(t, func(string) (blob.Store, error) { return blobs, nil })
		w.Restart(func() { w.Config.CheckFilesRate = looked })
		began := time.Now()
		check := orderedCheck(t, w.Env, api.CheckRequest{Files: true})
		if took := time.Since(began); took < 3*time.Second || took > 10*time.Second {
			t.Errorf("at a third of them a second, files were read in %v", took)
		}
		if !check.Files || check.Bytes != 3*looked || len(check.Findings) > 0 {
			t.Errorf("of files as they were sent: %+v", check)
		}
		stored := w.stored(t, w.second)
		w.keep(t, w.second, nil)
		if check := orderedCheck(t, w.Env, api.CheckRequest{}); check.Files || check.Bytes > 0 || len(check.Findings) > 0 {
			t.Errorf("a check that was not told to read files: %+v", check)
		}
		w.Restart(nil)
		check = orderedCheck(t, w.Env, api.CheckRequest{Files: true})
		if len(check.Findings) != 1 || check.Findings[0].Kind != engine.FoundFile || alarms(t, w.Env) != 1 {
			t.Errorf("of a file that is gone: %+v, and %d alarms", check, alarms(t, w.Env))
		}
		// It stands until files are read again, whatever is checked meanwhile, and is told once.
		for _, restart := range []bool{false, true} {
			if restart {
				w.Restart(func() { w.Config.CheckRate = 1000 })
				time.Sleep(2 * time.Minute)
				if now := w.Node.CheckStatus(identity.MainTenant); now.Last == nil || len(now.Last.Findings) != 1 {
					t.Errorf("the server's own check without files says %+v", now.Last)
				}
			}
			if check := orderedCheck(t, w.Env, api.CheckRequest{}); len(check.Findings) != 1 || findings(t, w.Env) != 1 {
				t.Errorf("a check without files says %+v, the metric %v", check, findings(t, w.Env))
			}
		}
		w.keep(t, w.second, stored)
		if check := orderedCheck(t, w.Env, api.CheckRequest{Files: true}); len(check.Findings) > 0 || findings(t, w.Env) != 0 || alarms(t, w.Env) != 1 {
			t.Errorf("of the file that is there again: %+v, the metric says %v, and there are %d alarms", check, findings(t, w.Env), alarms(t, w.Env))
		}
	})
}

// TestACheckOfFilesGoesOn takes the state of a check after each part, as one that is
// interrupted leaves it.
func TestACheckOfFilesGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("a check that is cut off at every part")
	}
	t.Parallel()
	blobs := &testenv.Blobs{}
	w := newFileWorld(t, func(string) (blob.Store, error) { return blobs, nil })
	for i := range 100 {
		w.Start("classified", `{"a": `+named(put(t, w.Env, w.Ann, content(i)).File)+`}`)
	}
	w.keep(t, w.second, nil)
	var all []engine.Finding
	phases := map[string]int{}
	state := engine.CheckState{}
	for {
		c := w.Engine.NewCheck(identity.MainTenant, state.Clone(), engine.CheckOptions{Files: engine.FilesWhole})
		if c.Done() {
			break
		}
		phases[state.Phase]++
		found, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all, state = append(all, found...), c.State
	}
	if phases["files"] < 2 || phases["uploads"] != 1 || len(all) != 1 || all[0].Kind != engine.FoundFile || state.Bytes != 2*looked+99*100/2 {
		t.Errorf("parts %v of %d bytes found %+v", phases, state.Bytes, all)
	}
	for _, after := range []string{"x", "0192f0c1-0000-7000-8000-000000000002/x"} {
		for _, phase := range []string{"files", "uploads"} {
			c := w.Engine.NewCheck(identity.MainTenant, engine.CheckState{Phase: phase, After: after}, engine.CheckOptions{Files: engine.FilesWhole})
			if _, err := c.Next(t.Context()); err == nil {
				t.Errorf("a check goes on in phase %s after %q", phase, after)
			}
		}
	}
}
