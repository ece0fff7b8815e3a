package engine_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

func TestFilesGoWithTheirPersonAndTheirInstance(t *testing.T) { onBoth(t, erasedFiles) }

// erasedFiles erases a person, then an instance, and looks for their files.
func erasedFiles(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	data := content(1000)
	instance := func(person string) string {
		id, err := startWith(t, env, env.Ann, `{"shoe": `+named(put(t, env, env.Ann, data).File)+`, "plain": `+named(put(t, env, env.Ann, data).File)+`, "person": {"id": "`+person+`"}}`)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first, other := instance("p-1"), instance("p-2")
	about := map[string]bool{} // files, and whether they are about the person
	for _, f := range env.Instance(first).Files {
		about[f.File] = len(f.Subjects) > 0
	}
	backup := map[blob.ID][]byte{}
	for id := range about {
		backup[blobID(t, id)] = env.Blobs.Get(env.Ann.Scope.Tenant(), blobID(t, id))
	}
	if p := preview(t, env, "subject", "p-1"); p.Files != 1 {
		t.Errorf("the preview counts %d files of the person, want 1", p.Files)
	}
	receipt := func(of api.Erasure, files int) {
		t.Helper()
		if r, err := env.Engine.ErasureReceipt(t.Context(), env.Ann, of.ID); err != nil || r.Files != files {
			t.Errorf("the receipt counts %d files, %v, want %d", r.Files, err, files)
		}
	}
	receipt(erase(t, env, "subject", "p-1"), 1)
	for _, restart := range []bool{false, true} {
		if restart {
			env.Restart(nil)
		}
		for _, f := range env.Instance(first).Files {
			if f.Erased != about[f.File] || f.Erased && f.Name != "" {
				t.Errorf("file %+v; want it erased: %v", f, about[f.File])
			}
			hasFile(t, env, first, f.File, data, !about[f.File])
		}
	}
	for _, f := range env.Instance(other).Files {
		hasFile(t, env, other, f.File, data, true)
	}
	if p := preview(t, env, "instance", first); p.Files != 1 {
		t.Errorf("the preview counts %d files of the instance, want the one that is left", p.Files)
	}
	erased := erase(t, env, "instance", first)
	receipt(erased, 1)
	for id := range about {
		hasFile(t, env, first, id, data, false)
	}
	verified(t, env, erased.ID)
	for id, bytes := range backup { // whoever has a copy of the blob has nothing
		env.Blobs.Put(env.Ann.Scope.Tenant(), id, bytes)
	}
	for id := range about {
		if _, err := get(t, env, first, id); !fault.Is(err, fault.Sealed) {
			t.Errorf("with the blob from a backup: %v; want it to be erased", err)
		}
	}
}

// TestAVerificationFindsWhatIsLeftOfAFile puts the bytes of erased files back, then their
// uploads, and then the keys of these.
func TestAVerificationFindsWhatIsLeftOfAFile(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"subject", "instance"} {
		t.Run(kind, func(t *testing.T) { foundFile(t, kind) })
	}
}

func foundFile(t *testing.T, kind string) {
	env := testenv.New(t, nil)
	tenant := env.Ann.Scope.Tenant()
	env.Deploy("c.bpmn", classified)
	file := put(t, env, env.Ann, content(1000)).File
	env.Restart(func() {
		execRaw(t, env, `CREATE TABLE saved AS SELECT * FROM uploads`)
		execKeys(t, env, `CREATE TABLE saved AS SELECT * FROM data_keys`)
	})
	stored := env.Blobs.Get(tenant, blobID(t, file))
	id, err := startWith(t, env, env.Ann, `{"shoe": `+named(file)+`, "person": {"id": "p-1"}}`)
	if err != nil {
		t.Fatal(err)
	}
	_, target := ofKind(t, env, kind, id)
	done := erase(t, env, kind, target)
	verified(t, env, done.ID)
	finds := func(want ...string) {
		t.Helper()
		check, err := env.Engine.VerifyErasure(t.Context(), env.Ann, done.ID, api.ErasureCheckRequest{})
		if err != nil || !slices.Equal(check.Findings, want) {
			t.Errorf("the verification finds %q, %v, want %q", check.Findings, err, want)
		}
	}
	env.Blobs.Put(tenant, blobID(t, file), stored)
	bytesThere := "the bytes of file " + file + " are there"
	finds(bytesThere)
	env.Restart(func() { execSQL(t, env, `INSERT INTO uploads SELECT * FROM saved`) })
	finds(bytesThere, "the upload of file "+file+" is there")
	env.Restart(func() { execKeys(t, env, `INSERT OR REPLACE INTO data_keys SELECT * FROM saved`) })
	finds(bytesThere, "the upload of file "+file+" is there, with its key")
	if err := env.Blobs.Delete(t.Context(), tenant, blobID(t, file)); err != nil {
		t.Fatal(err)
	}
	finds("the upload of file " + file + " is there, with its key")
}

// hasFile requires that a file and its blob are there, or that both are gone.
func hasFile(t *testing.T, env *testenv.Env, instance, id string, data []byte, want bool) {
	t.Helper()
	got, err := get(t, env, instance, id)
	stored := env.Blobs.Get(env.Ann.Scope.Tenant(), blobID(t, id)) != nil
	switch {
	case want && (err != nil || !stored || !bytes.Equal(got, data)):
		t.Errorf("file %s: %d bytes, %v; want it to be there", id, len(got), err)
	case !want && (stored || !fault.Is(err, fault.Sealed)):
		t.Errorf("file %s: %v, its blob stored: %v; want both to be gone", id, err, stored)
	}
}

func TestErasedFilesDoNotCount(t *testing.T) {
	t.Parallel()
	env := limitedEnv(t, engine.FileLimits{All: 2500})
	env.Deploy("c.bpmn", classified)
	id, err := startWith(t, env, env.Ann, `{"shoe": `+named(put(t, env, env.Ann, content(1000)).File)+`, "plain": `+named(put(t, env, env.Ann, content(1000)).File)+`, "person": {"id": "p-1"}}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range [][2]string{{"subject", "p-1"}, {"instance", id}} {
		if _, err := send(t, env, 1000); fault.CodeOf(err) != "files_full" {
			t.Errorf("before the erasure of the %s: %v; want files_full", what[0], err)
		}
		erase(t, env, what[0], what[1])
		if _, err := send(t, env, 1000); err != nil {
			t.Errorf("after the erasure of the %s: %v", what[0], err)
		}
	}
}

// Another tenant's files are as if they were not.
func TestFilesAreOfOneTenant(t *testing.T) { onBoth(t, filesOfTenants) }

func filesOfTenants(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	file, upload := put(t, env, env.Ann, content(10)).File, put(t, env, env.Ann, content(10)).File
	id, err := startWith(t, env, env.Ann, `{"a": `+named(file)+`}`)
	if err != nil {
		t.Fatal(err)
	}
	stranger := env.Tenant("elsewhere").Ann
	if _, err := env.Engine.Deploy(t.Context(), stranger, []api.File{{Name: "c.bpmn", Content: []byte(classified)}}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.File(t.Context(), stranger, id, file); !fault.Is(err, fault.NotFound) {
		t.Errorf("the file: %v; want not found", err)
	}
	for _, name := range []string{file, upload} {
		if _, err := startWith(t, env, stranger, `{"a": `+named(name)+`}`); !fault.Is(err, fault.NotFound) {
			t.Errorf("a claim of %s: %v; want not found", name, err)
		}
	}
	if _, err := env.Engine.CollectFiles(t.Context(), "elsewhere"); err != nil {
		t.Error(err)
	}
	if _, err := startWith(t, env, env.Ann, `{"a": `+named(upload)+`}`); err != nil {
		t.Errorf("the upload in its own tenant: %v", err)
	}
}
