package engine_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// content is n bytes that no other content begins with.
func content(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	return data
}

// put uploads a file as a principal.
func put(t *testing.T, env *testenv.Env, c engine.Caller, data []byte) api.Upload {
	t.Helper()
	u, err := env.Engine.PutFile(t.Context(), c, engine.Incoming{
		Name: "payslip.pdf", Type: "application/pdf", Size: int64(len(data)), Body: bytes.NewReader(data)})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// get downloads a whole file.
func get(t *testing.T, env *testenv.Env, instance, id string) ([]byte, error) {
	t.Helper()
	d, err := env.Engine.File(t.Context(), env.Ann, instance, id)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return io.ReadAll(d)
}

// as signs in a new principal who may do everything.
func as(t *testing.T, env *testenv.Env, principal string) engine.Caller {
	t.Helper()
	return env.Person(principal, "Admin", "Designer", "Executor", "Viewer")
}

// named is how a caller names a file.
func named(id string) string { return `{"$file": "` + id + `"}` }

func startWith(t *testing.T, env *testenv.Env, c engine.Caller, variables string) (string, error) {
	t.Helper()
	r, err := env.Engine.Start(t.Context(), c, api.StartRequest{Process: "classified", Variables: json.RawMessage(variables)}, "")
	return r.Instance, err
}

func collect(t *testing.T, env *testenv.Env) {
	t.Helper()
	if _, err := env.Engine.CollectFiles(t.Context(), env.Ann.Scope.Tenant()); err != nil {
		t.Fatal(err)
	}
}

func blobID(t *testing.T, id string) (b blob.ID) {
	t.Helper()
	if n, err := hex.Decode(b[:], []byte(id)); err != nil || n != len(b) {
		t.Fatalf("file id %q: %v", id, err)
	}
	return b
}

// count counts rows of a database that nobody has open.
func count(t *testing.T, env *testenv.Env, file, query string) (n int) {
	t.Helper()
	db := openRaw(t, filepath.Join(env.Config.Data, file))
	defer db.Close()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAFileGoesInAndComesOut(t *testing.T) { onBoth(t, fileInAndOut) }

// fileInAndOut brings a file to an instance in every way there is.
func fileInAndOut(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	data := content(200_000)
	sum := sha256.Sum256(data)
	ann := env.Ann
	id, err := startWith(t, env, ann, `{"room": `+named(put(t, env, ann, data).File)+`, "docs": [{"scan": `+named(put(t, env, ann, nil).File)+`}]}`)
	if err != nil {
		t.Fatal(err)
	}
	set := put(t, env, ann, data)
	if _, err := env.Engine.SetVariables(t.Context(), ann, id, []byte(`{"set": `+named(set.File)+`}`), ""); err != nil {
		t.Fatal(err)
	}
	env.Work("work", `{"result": `+named(put(t, env, ann, data).File)+`}`)
	task := env.Task(id).ID
	draft := named(put(t, env, ann, data).File)
	if _, err := env.Engine.SaveTask(t.Context(), ann, task, []byte(`{"entered": `+draft+`}`), ""); err != nil {
		t.Fatal(err)
	}
	env.Restart(nil)
	if _, err := env.Engine.CompleteTask(t.Context(), ann, task, []byte(`{"entered": `+draft+`}`), ""); err != nil {
		t.Fatal(err)
	}
	env.Restart(nil)
	files := env.Instance(id).Files
	if len(files) != 5 {
		t.Fatalf("%d files, want 5: %+v", len(files), files)
	}
	for _, f := range files {
		got, err := get(t, env, id, f.File)
		if f.Size == 0 && err == nil && len(got) == 0 {
			continue
		}
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("file %s: %d bytes, %v, want those that were sent", f.File, len(got), err)
		}
		if f.Name != "payslip.pdf" || f.Type != "application/pdf" || f.Size != 200_000 || f.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("file is described as %+v", f)
		}
	}
	var variables struct{ Set map[string]any }
	if err := json.Unmarshal(env.Instance(id).Variables, &variables); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"file": set.File, "name": "payslip.pdf", "type": "application/pdf", "size": 2e5, "sha256": hex.EncodeToString(sum[:])}
	if got := variables.Set; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the variable holds %v, want %v", got, want)
	}
	if _, err := env.Engine.Export(t.Context(), env.Ann, id); err != nil {
		t.Errorf("Export: %v", err)
	}
	collect(t, env)
	if _, err := get(t, env, id, set.File); err != nil {
		t.Errorf("after a collection: %v", err)
	}
}

// TestAClaimIsRefused names files that are not the caller's to name.
func TestAClaimIsRefused(t *testing.T) { onBoth(t, refusedClaims) }

func refusedClaims(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	bob := as(t, env, "bob")
	anns, bobs := put(t, env, env.Ann, content(10)).File, put(t, env, bob, content(10)).File
	first, err := startWith(t, env, env.Ann, `{"a": `+named(anns)+`}`)
	if err != nil {
		t.Fatal(err)
	}
	reference := func(id string) string {
		text, err := json.Marshal(map[string]any{"file": id, "name": "n", "sha256": "", "size": 1, "type": "t"})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, c := range map[string]struct {
		value string
		kind  fault.Kind
		code  string
	}{
		"somebody else's upload":         {named(bobs), fault.NotFound, "not_found"},
		"an id that never was":           {named(strings.Repeat("ab", 16)), fault.NotFound, "not_found"},
		"a file that another has":        {named(anns), fault.Conflict, "file_claimed"},
		"no id":                          {named("x"), fault.Invalid, "invalid_file"},
		"an id in another spelling":      {named(strings.ToUpper(bobs)), fault.Invalid, "invalid_file"},
		"a number":                       {`{"$file": 7}`, fault.Invalid, "invalid_file"},
		"something beside it":            {`{"$file": "` + bobs + `", "name": "x"}`, fault.Invalid, "invalid_file"},
		"a reference to another's file":  {reference(anns), fault.Invalid, "foreign_file"},
		"a reference to an upload":       {reference(bobs), fault.Invalid, "foreign_file"},
		"a reference without its upload": {reference(strings.Repeat("ab", 16)), fault.Invalid, "foreign_file"},
	} {
		_, err := startWith(t, env, env.Ann, `{"list": [1, {"a/b": `+c.value+`}]}`)
		if !fault.Is(err, c.kind) || fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v (%s), want %s", name, err, fault.CodeOf(err), c.code)
			continue
		}
		var f *fault.Error
		if !errors.As(err, &f) || len(f.Details) != 1 || f.Details[0].Place != "/variables/list/1/a~1b" {
			t.Errorf("%s: the places are %+v", name, f.Details)
		}
	}
	lies := strings.Replace(reference(anns), `"n"`, `"other name"`, 1)
	if _, err := env.Engine.SetVariables(t.Context(), env.Ann, first, []byte(`{"b": `+lies+`}`), ""); fault.CodeOf(err) != "invalid_file" {
		t.Errorf("a reference that is not true: %v, want invalid_file", err)
	}
	if _, err := startWith(t, env, bob, `{"a": `+named(bobs)+`}`); err != nil {
		t.Errorf("bob's own upload, after all that: %v", err)
	}
}

func TestARepeatedRequestClaimsOnce(t *testing.T) { onBoth(t, repeatedClaim) }

func repeatedClaim(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	r := api.StartRequest{Process: "classified", Variables: json.RawMessage(`{"a": ` + named(put(t, env, env.Ann, content(10)).File) + `}`)}
	first, err := env.Engine.Start(t.Context(), env.Ann, r, "key")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if again, err := env.Engine.Start(t.Context(), env.Ann, r, "key"); err != nil || again != first {
			t.Errorf("repeated: %+v, %v, want %+v", again, err, first)
		}
		env.Restart(nil)
	}
	if _, err := env.Engine.Start(t.Context(), env.Ann, r, "other key"); fault.CodeOf(err) != "file_claimed" {
		t.Errorf("another request: %v, want file_claimed", err)
	}
}

// TestAClaimMovesTheKey looks at what is stored: after the claim, the key that the
// bytes are sealed under exists in the instance's sealed field alone.
func TestAClaimMovesTheKey(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	file, public := api.FileInfo{}, put(t, env, env.Ann, content(10)).File
	id, err := startWith(t, env, env.Ann, `{"room": `+named(public)+`, "shoe": `+named(put(t, env, env.Ann, content(10)).File)+`, "person": {"id": "p-1"}}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range env.Instance(id).Files {
		if f.File != public {
			file = f
		}
	}
	if len(file.Subjects) != 1 || file.Subjects[0] != "person.id" {
		t.Errorf("the file is about %v, want the person that the field is about", file.Subjects)
	}
	env.Restart(func() {
		sealed := env.Blobs.Get(env.Ann.Scope.Tenant(), blobID(t, file.File))
		if len(sealed) < 21 || sealed[2] != 2 || sealed[4] != 1 {
			t.Fatalf("the blob begins with %x, want a stream under one key", sealed[:5])
		}
		db := openRaw(t, filepath.Join(env.Config.Data, "keys.db"))
		defer db.Close()
		var state string
		if err := db.QueryRow(`SELECT state FROM data_keys WHERE id = ?`, sealed[5:21]).Scan(&state); err != nil || state != "destroyed" {
			t.Errorf("the key that the blob is sealed under is %q, %v, want destroyed", state, err)
		}
		data := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
		defer data.Close()
		var field []byte
		if err := data.QueryRow(`SELECT value FROM fields WHERE path = ?`, "$file:"+file.File).Scan(&field); err != nil {
			t.Fatal(err)
		}
		if ids, err := envelope.KeyIDs(field); err != nil || len(ids) != 2 {
			t.Errorf("the file's field is under %v, %v, want the instance's key and the person's", ids, err)
		}
		if err := data.QueryRow(`SELECT value FROM fields WHERE path = ?`, "$file:"+public).Scan(&field); err != nil || !envelope.IsSealed(field) {
			t.Errorf("the key of a file in a public field is stored in clear (%v)", err)
		}
		if n := count(t, env, "data.db", `SELECT count(*) FROM uploads`); n != 0 {
			t.Errorf("%d uploads are left, want none", n)
		}
	})
	if got, err := get(t, env, id, file.File); err != nil || len(got) != 10 {
		t.Errorf("afterwards: %d bytes, %v", len(got), err)
	}
}

// TestACopyOpensWhereItCameFrom copies a file's reference by an expression, and
// from a draft: the file keeps, or takes, the label of the place where it belongs.
func TestACopyOpensWhereItCameFrom(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	// derive2 copies person.diagnosis to "copied".
	id, err := startWith(t, env, env.Ann, `{"salary": 1, "person": {"id": "p-1", "diagnosis": `+named(put(t, env, env.Ann, content(10)).File)+`}}`)
	if err != nil {
		t.Fatal(err)
	}
	i := env.Instance(id)
	var variables struct{ Copied api.FileInfo }
	if err := json.Unmarshal(i.Variables, &variables); err != nil || len(i.Files) != 1 || variables.Copied.File != i.Files[0].File {
		t.Fatalf("copied is %+v of %+v, %v", variables.Copied, i.Files, err)
	}
	if f := i.Files[0]; f.Class != "regulated" || fmt.Sprint(f.Subjects) != "[person.id]" {
		t.Errorf("the file is %s about %v, want regulated about person.id", f.Class, f.Subjects)
	}
	env.Work("work", `{}`)
	task := env.Task(id).ID
	draft := named(put(t, env, env.Ann, content(10)).File)
	if _, err := env.Engine.SaveTask(t.Context(), env.Ann, task, []byte(`{"room": `+draft+`}`), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.CompleteTask(t.Context(), env.Ann, task, []byte(`{"room": `+draft+`}`), ""); err != nil {
		t.Fatal(err)
	}
	env.Restart(nil)
	for _, f := range env.Instance(id).Files {
		if f.File != variables.Copied.File && (f.Class != "public" || len(f.Subjects) > 0) {
			t.Errorf("entered from a draft: %s about %v, want public, like the field", f.Class, f.Subjects)
		}
	}
}

// TestAFileFollowsItsPerson claims a file about somebody who is named later, and
// then renamed.
func TestAFileFollowsItsPerson(t *testing.T) { onBoth(t, fileOfRenamedPerson) }

func fileOfRenamedPerson(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	data := content(100)
	id, err := startWith(t, env, env.Ann, `{"shoe": `+named(put(t, env, env.Ann, data).File)+`}`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := startWith(t, env, env.Ann, somebody); err != nil { // p-1 has a key
		t.Fatal(err)
	}
	for _, name := range []string{"p-1", "p-2"} {
		if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, []byte(`{"person": {"id": "`+name+`"}}`), ""); err != nil {
			t.Fatal(err)
		}
		env.Restart(nil)
		i := env.Instance(id)
		if got, err := get(t, env, id, i.Files[0].File); err != nil || !bytes.Equal(got, data) {
			t.Errorf("about %s: %d bytes, %v", name, len(got), err)
		}
		export, err := env.Engine.Export(t.Context(), env.Ann, id)
		if err != nil {
			t.Fatal(err)
		}
		if last := export.Steps[len(export.Steps)-1]; !slices.Contains(last.Fields, "$file:"+i.Files[0].File) {
			t.Errorf("about %s: the file was not sealed anew, but %v", name, last.Fields)
		}
	}
}

func TestFilesAreFoundInTheirInstanceOnly(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	file := put(t, env, env.Ann, content(10)).File
	upload := put(t, env, env.Ann, content(10)).File
	id, err := startWith(t, env, env.Ann, `{"a": `+named(file)+`}`)
	if err != nil {
		t.Fatal(err)
	}
	other, err := startWith(t, env, env.Ann, `{}`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, env, id, file); err != nil {
		t.Errorf("its own instance: %v", err)
	}
	for name, at := range map[string][2]string{
		"another instance":     {other, file},
		"an upload":            {id, upload},
		"no such file":         {id, strings.Repeat("0", 32)},
		"no file id":           {id, "x"},
		"another spelling":     {id, strings.ToUpper(file)},
		"no such instance":     {"0192f0c1-9a3b-7c4d-8e5f-000000000001", file},
		"something after it":   {id, file + "0"},
		"the name of a field":  {id, "$file:" + file},
		"an instance's key":    {id, id},
		"another field's path": {id, "../a"},
	} {
		if _, err := get(t, env, at[0], at[1]); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v, want not found", name, err)
		}
	}
	stranger := withoutRoles(env.Ann)
	if _, err := env.Engine.File(t.Context(), stranger, id, file); !fault.Is(err, fault.Denied) {
		t.Errorf("without a role: %v, want denied", err)
	}
	if _, err := env.Engine.PutFile(t.Context(), stranger, engine.Incoming{Name: "n", Body: strings.NewReader("")}); !fault.Is(err, fault.Denied) {
		t.Errorf("an upload without a role: %v, want denied", err)
	}
}

// TestAnyRangeIsThatOfTheWhole reads a file at random places.
func TestAnyRangeIsThatOfTheWhole(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	data := content(3*envelope.SegmentSize + 17)
	file := put(t, env, env.Ann, data).File
	id, err := startWith(t, env, env.Ann, `{"a": `+named(file)+`}`)
	if err != nil {
		t.Fatal(err)
	}
	d, err := env.Engine.File(t.Context(), env.Ann, id, file)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.IntRange(0, len(data)).Draw(t, "start")
		size := rapid.IntRange(0, len(data)-start).Draw(t, "size")
		if _, err := d.Seek(int64(start), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, size)
		if _, err := io.ReadFull(d, got); err != nil || !bytes.Equal(got, data[start:start+size]) {
			t.Fatalf("%d bytes at %d: %v", size, start, err)
		}
	})
}

// TestAChangedBlobIsRefused damages a blob in every way; nothing wrong is ever
// read of it.
func TestAChangedBlobIsRefused(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	data := content(3 * envelope.SegmentSize)
	file, other := put(t, env, env.Ann, data).File, put(t, env, env.Ann, data).File
	id, err := startWith(t, env, env.Ann, `{"a": `+named(file)+`, "b": `+named(other)+`}`)
	if err != nil {
		t.Fatal(err)
	}
	tenant, name := env.Ann.Scope.Tenant(), blobID(t, file)
	good := env.Blobs.Get(tenant, name)
	segment := (len(good) - 69 - 16) / 3 // what comes before the segments, with one key
	start := len(good) - 3*segment
	for what, bad := range map[string][]byte{
		"missing":                nil,
		"empty":                  {},
		"cut in a segment":       good[:len(good)-1],
		"cut between segments":   good[:len(good)-segment],
		"lengthened":             append(bytes.Clone(good), 0),
		"another's":              env.Blobs.Get(tenant, blobID(t, other)),
		"two segments exchanged": append(append(append(bytes.Clone(good[:start]), good[start+segment:start+2*segment]...), good[start:start+segment]...), good[start+2*segment:]...),
		"a bit of the first":     flipped(good, start+20),
		"a bit of the middle":    flipped(good, start+segment+20),
		"a bit of the head":      flipped(good, 3),
		"in clear":               data,
	} {
		env.Blobs.Put(tenant, name, bad)
		got, err := get(t, env, id, file)
		if !fault.Is(err, fault.Integrity) {
			t.Errorf("%s: %v, want Integrity", what, err)
		}
		if !bytes.HasPrefix(data, got) {
			t.Errorf("%s: wrong bytes were read", what)
		}
	}
	env.Blobs.Put(tenant, name, good)
	if _, err := get(t, env, id, file); err != nil {
		t.Errorf("as it was: %v", err)
	}
}

func flipped(data []byte, at int) []byte {
	changed := bytes.Clone(data)
	changed[at] ^= 1
	return changed
}

// TestUploadsThatBreakOffLeaveNothing fails an upload at each of its writes, and
// lets its sender hang up.
func TestUploadsThatBreakOffLeaveNothing(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	full := fault.New(fault.Unavailable, "no space left")
	for _, point := range []string{"create", "write", "commit"} {
		env.Blobs.Fault = func(p string) error {
			if p == point {
				return full
			}
			return nil
		}
		_, err := env.Engine.PutFile(t.Context(), env.Ann, engine.Incoming{Name: "n", Body: bytes.NewReader(content(200_000))})
		if !errors.Is(err, full) {
			t.Errorf("failing at %s: %v, want that failure", point, err)
		}
	}
	env.Blobs.Fault = nil
	body := io.MultiReader(bytes.NewReader(content(200_000)), broken{})
	if _, err := env.Engine.PutFile(t.Context(), env.Ann, engine.Incoming{Name: "n", Body: body}); fault.CodeOf(err) != "upload_incomplete" {
		t.Errorf("a sender that hangs up: %v, want upload_incomplete", err)
	}
	leaves(t, env, 0)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// leaves checks how many blobs, uploads and keys of uploads there are.
func leaves(t *testing.T, env *testenv.Env, want int) {
	t.Helper()
	blobs, err := env.Blobs.List(t.Context(), env.Ann.Scope.Tenant(), blob.ID{}, 100)
	if err != nil || len(blobs) != want {
		t.Errorf("%d blobs are left, %v, want %d", len(blobs), err, want)
	}
	env.Restart(func() {
		if n := count(t, env, "data.db", `SELECT count(*) FROM uploads`); n != want {
			t.Errorf("%d uploads are left, want %d", n, want)
		}
	})
}

// TestUploadsAreCollected leaves an upload unclaimed, whole and broken off by a
// crash, and a blob that no row knows.
func TestUploadsAreCollected(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Now())
	env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
	env.Deploy("c.bpmn", classified)
	tenant := env.Ann.Scope.Tenant()
	kept := put(t, env, env.Ann, content(10)).File
	id, err := startWith(t, env, env.Ann, `{"a": `+named(kept)+`}`)
	if err != nil {
		t.Fatal(err)
	}
	unclaimed := put(t, env, env.Ann, content(10))
	env.Blobs.Fault = func(point string) error { // nothing can be cleared away: as after a crash
		if point == "commit" || point == "delete" {
			return fault.New(fault.Unavailable, "gone")
		}
		return nil
	}
	if _, err := env.Engine.PutFile(t.Context(), env.Ann, engine.Incoming{Name: "n", Body: bytes.NewReader(content(10))}); err == nil {
		t.Fatal("the upload did not fail")
	}
	env.Blobs.Fault = nil
	env.Blobs.Put(tenant, blob.ID{1}, content(10))
	collect(t, env)
	if got, err := env.Blobs.List(t.Context(), tenant, blob.ID{}, 100); err != nil || len(got) != 3 {
		t.Errorf("%d blobs on the first day, %v, want 3", len(got), err)
	}
	if unclaimed.Expires.Sub(clock.now()).Round(time.Second) != 24*time.Hour {
		t.Errorf("the upload expires at %s, want in a day", unclaimed.Expires)
	}
	clock.pass(24*time.Hour + time.Second)
	if _, err := startWith(t, env, env.Ann, `{"a": `+named(unclaimed.File)+`}`); !fault.Is(err, fault.NotFound) {
		t.Errorf("claimed a day later: %v, want not found", err)
	}
	collect(t, env)
	leavesOnly := func() {
		got, err := env.Blobs.List(t.Context(), tenant, blob.ID{}, 100)
		if err != nil || len(got) != 1 || got[0] != blobID(t, kept) {
			t.Errorf("blobs %x are left, %v, want the one that an instance has", got, err)
		}
	}
	leavesOnly()
	env.Restart(func() {
		if n := count(t, env, "data.db", `SELECT count(*) FROM uploads`); n != 0 {
			t.Errorf("%d uploads are left, want none", n)
		}
		if n := count(t, env, "keys.db", `SELECT count(*) FROM data_keys WHERE state = 'destroyed'`); n != 3 {
			t.Errorf("%d keys are destroyed, want those of the claimed upload and of two that were not", n)
		}
	})
	collect(t, env)
	leavesOnly()
	if _, err := get(t, env, id, kept); err != nil {
		t.Errorf("the file that is kept: %v", err)
	}
}

// TestAClaimThatBreaksOffIsFinished destroys a claimed upload's key later, when
// that was not possible at once.
func TestAClaimThatBreaksOffIsFinished(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	file := put(t, env, env.Ann, content(10)).File
	env.Restart(func() { // the key database as it is before the claim
		db := openRaw(t, filepath.Join(env.Config.Data, "keys.db"))
		defer db.Close()
		if _, err := db.Exec(`CREATE TRIGGER no BEFORE UPDATE OF state ON data_keys WHEN NEW.state = 'destroyed' BEGIN SELECT RAISE(ABORT, 'no'); END`); err != nil {
			t.Fatal(err)
		}
	})
	id, err := startWith(t, env, env.Ann, `{"a": `+named(file)+`}`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := startWith(t, env, env.Ann, `{"a": `+named(file)+`}`); fault.CodeOf(err) != "file_claimed" {
		t.Errorf("claimed again: %v, want file_claimed", err)
	}
	env.Restart(func() {
		db := openRaw(t, filepath.Join(env.Config.Data, "keys.db"))
		defer db.Close()
		if _, err := db.Exec(`DROP TRIGGER no`); err != nil {
			t.Fatal(err)
		}
		if n := count(t, env, "data.db", `SELECT count(*) FROM uploads WHERE state = 'claimed'`); n != 1 {
			t.Errorf("%d claimed uploads wait for their key to be destroyed, want 1", n)
		}
	})
	collect(t, env)
	if _, err := get(t, env, id, file); err != nil {
		t.Errorf("the file: %v", err)
	}
	env.Restart(func() {
		if n := count(t, env, "data.db", `SELECT count(*) FROM uploads`) + 1 - count(t, env, "keys.db", `SELECT count(*) FROM data_keys WHERE state = 'destroyed'`); n != 0 {
			t.Errorf("the upload is still there, or its key")
		}
	})
}

// send uploads n bytes without saying how many they are.
func send(t *testing.T, env *testenv.Env, n int) (api.Upload, error) {
	t.Helper()
	return env.Engine.PutFile(t.Context(), env.Ann, engine.Incoming{Name: "n", Size: -1, Body: bytes.NewReader(content(n))})
}

func limitedEnv(t *testing.T, l engine.FileLimits) *testenv.Env {
	t.Helper()
	return testenv.New(t, func(c *node.Config) { c.Files = l })
}

// TestLimitsOfFiles sends too much: in one file, announced or not, and in all.
func TestLimitsOfFiles(t *testing.T) {
	t.Parallel()
	env := limitedEnv(t, engine.FileLimits{One: 100_000, All: 250_000})
	send := func(n int, announced int64) error {
		_, err := env.Engine.PutFile(t.Context(), env.Ann, engine.Incoming{Name: "n", Size: announced, Body: bytes.NewReader(content(n))})
		return err
	}
	for range 2 { // what was refused does not count
		if err := send(100_001, 100_001); fault.CodeOf(err) != "too_large" {
			t.Errorf("announced: %v, want too_large", err)
		}
		if err := send(100_001, -1); fault.CodeOf(err) != "too_large" {
			t.Errorf("not announced: %v, want too_large", err)
		}
		if err := send(100_000, -1); err != nil {
			t.Errorf("as large as may be: %v", err)
		}
		env.Restart(nil)
	}
	if err := send(100_000, -1); fault.CodeOf(err) != "files_full" {
		t.Errorf("more than all may take: %v, want files_full", err)
	}
	if err := send(50_000, -1); err != nil {
		t.Errorf("what still fits: %v", err)
	}
	if err := send(1, -1); fault.CodeOf(err) != "files_full" {
		t.Errorf("one byte more: %v, want files_full", err)
	}
}

func TestNamesAndTypesOfFiles(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	for _, c := range []struct{ name, media, code string }{
		{"Gehalt März.pdf", "application/pdf", ""},
		{"a b;c\"d.txt", `text/plain; charset="utf-8"`, ""},
		{"x", "", ""},
		{"", "text/plain", "invalid_name"},
		{"../etc/passwd", "text/plain", "invalid_name"},
		{`C:\x`, "text/plain", "invalid_name"},
		{"a\nb", "text/plain", "invalid_name"},
		{"invoice\u202Efdp.exe", "text/plain", "invalid_name"},
		{"a\u2066b", "text/plain", "invalid_name"},
		{"a\u061Cb", "text/plain", "invalid_name"},
		{"a\u2028b", "text/plain", "invalid_name"},
		{"a\u0085b", "text/plain", "invalid_name"},
		{"\u05D7\u05D5\u05D6\u05D4.pdf", "application/pdf", ""}, // a word that is written from the right
		{"a\xff", "text/plain", "invalid_name"},
		{strings.Repeat("x", 256), "text/plain", "invalid_name"},
		{"x", "pdf", "unsupported_media_type"},
		{"x", "text/plain; x", "unsupported_media_type"},
		{"x", "text/" + strings.Repeat("x", 255), "unsupported_media_type"},
	} {
		_, err := env.Engine.PutFile(t.Context(), env.Ann, engine.Incoming{Name: c.name, Type: c.media, Body: strings.NewReader("x")})
		if err == nil && c.code != "" || err != nil && fault.CodeOf(err) != c.code {
			t.Errorf("%q of type %q: %v, want code %q", c.name, c.media, err, c.code)
		}
	}
}

// TestUploadsAtOnceAreBounded holds some open while more come.
func TestUploadsAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	env := limitedEnv(t, engine.FileLimits{Uploads: 2})
	company := env.Tenant("other")
	type sender struct {
		body *io.PipeWriter
		done chan error
	}
	begin := func() sender {
		read, write := io.Pipe()
		s := sender{write, make(chan error, 1)}
		go func() {
			_, err := env.Engine.PutFile(t.Context(), env.Ann, engine.Incoming{Name: "n", Size: -1, Body: read})
			s.done <- err
			read.Close()
		}()
		if _, err := write.Write(content(10)); err != nil { // when it returns, somebody reads
			t.Fatal(err)
		}
		return s
	}
	open := []sender{begin(), begin()}
	if _, err := send(t, env, 10); fault.CodeOf(err) != api.CodeTooMany {
		t.Errorf("a third upload: %v, want %s", err, api.CodeTooMany)
	}
	if _, err := env.Engine.PutFile(t.Context(), company.Ann, engine.Incoming{Name: "n", Size: -1, Body: bytes.NewReader(content(10))}); err != nil {
		t.Errorf("another tenant's upload: %v", err)
	}
	open[0].body.Close()
	open[1].body.CloseWithError(io.ErrUnexpectedEOF) // hangs up
	if err := <-open[0].done; err != nil {
		t.Errorf("an upload: %v", err)
	}
	if err := <-open[1].done; err == nil {
		t.Error("an upload that was cut short is taken in")
	}
	for range 3 {
		if _, err := send(t, env, 10); err != nil {
			t.Errorf("after the others ended: %v", err)
		}
	}
}
