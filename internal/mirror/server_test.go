package mirror_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/mirror"
	"github.com/underseal/underseal/internal/server"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/internal/tiles"
	"github.com/underseal/underseal/ledger"
)

const step = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" targetNamespace="x">
<process id="p" isExecutable="true"><startEvent id="start"/><sequenceFlow id="f" sourceRef="start" targetRef="end"/><endEvent id="end"/></process>
</definitions>`

// aServer is a whole server with a log and a reader of it.
func aServer(t *testing.T) (env *testenv.Env, address string, reader api.NewLogReader) {
	t.Helper()
	env = testenv.New(t, nil)
	s, err := server.New(server.Config{Engine: env.Engine})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	if reader, err = env.Engine.CreateLogReader(t.Context(), env.Ann, api.LogReaderRequest{Name: "an auditor"}); err != nil {
		t.Fatal(err)
	}
	env.Deploy("p.bpmn", step)
	return env, web.URL + reader.Path, reader
}

// grown starts instances and waits until the newest one is under a signed head.
func grown(t *testing.T, env *testenv.Env, n int) api.LogShard {
	t.Helper()
	var id string
	for range n {
		id = env.Start("p", `{}`)
	}
	if _, err := testenv.Proven(func() (api.LogProof, error) { return env.Engine.LogProof(t.Context(), env.Ann, id, 1) }); err != nil {
		t.Fatal(err)
	}
	shards, err := env.Engine.LogShards(t.Context(), env.Ann)
	if err != nil || len(shards.Items) != 1 {
		t.Fatalf("logs: %+v, %v", shards, err)
	}
	return shards.Items[0]
}

// TestAnyTileClientReadsTheLogOfAServer reads it by nothing of ours: paths, tiles, hashes
// and proofs are those of x/mod, entries are read here as C2SP tlog-tiles says.
func TestAnyTileClientReadsTheLogOfAServer(t *testing.T) {
	env, address, _ := aServer(t)
	shard := grown(t, env, 300)
	client := webTiles{t, address + "/" + shard.Name}
	head, err := ledger.UnverifiedCheckpoint(client.get("checkpoint"))
	if err != nil || head.Origin != shard.Origin || head.Size < 300 {
		t.Fatalf("checkpoint %+v, %v", head, err)
	}
	reader := tlog.TileHashReader(tlog.Tree{N: int64(head.Size), Hash: tlog.Hash(head.Root)}, client)
	entries := append(client.entries("tile/entries/000"), client.entries(fmt.Sprintf("tile/entries/001.p/%d", head.Size-256))...)
	if len(entries) != int(head.Size) {
		t.Fatalf("%d entries, want %d", len(entries), head.Size)
	}
	for i := range int64(head.Size) {
		proof, err := tlog.ProveRecord(int64(head.Size), i, reader)
		if err != nil {
			t.Fatal(err)
		}
		hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, i)})
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(proof, int64(head.Size), tlog.Hash(head.Root), i, hashes[0]); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if tlog.RecordHash(entries[i]) != hashes[0] {
			t.Fatalf("entry %d is another than the tree has", i)
		}
	}
}

// webTiles is a tlog.TileReader by HTTP.
type webTiles struct {
	t      *testing.T
	prefix string
}

func (w webTiles) get(path string) []byte {
	w.t.Helper()
	res, err := http.Get(w.prefix + "/" + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		w.t.Fatalf("GET %s = %d, %v", path, res.StatusCode, err)
	}
	return data
}

// entries reads a bundle of entries: each is its length, two bytes with the higher one
// first, and so many bytes.
func (w webTiles) entries(path string) (list [][]byte) {
	w.t.Helper()
	for rest := w.get(path); len(rest) > 0; {
		n := 2 + int(rest[0])<<8 + int(rest[1])
		list, rest = append(list, rest[2:n]), rest[n:]
	}
	return list
}

func (webTiles) Height() int { return 8 }

func (w webTiles) ReadTiles(list []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range list {
		all = append(all, w.get(strings.Replace(t.Path(), "tile/8/", "tile/", 1))) // whose height is always 8
	}
	return all, nil
}

func (webTiles) SaveTiles([]tlog.Tile, [][]byte) {}

func TestAServersLogIsMirroredUntilTheReaderIsRevoked(t *testing.T) {
	env, address, reader := aServer(t)
	shard := grown(t, env, 300)
	names, err := mirror.Shards(t.Context(), http.DefaultClient, address)
	if err != nil || len(names) != 1 || names[0] != shard.Name {
		t.Fatalf("Shards = %q, %v, want %q", names, err, shard.Name)
	}
	policy, err := env.Engine.LogPolicy(t.Context(), env.Ann)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ledger.ParsePolicy([]byte(policy.Policy))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "copy")
	cfg := mirror.Config{Prefix: address + "/" + names[0], Dir: dir, Open: func(signed []byte) (ledger.Checkpoint, error) {
		c, _, err := p.Open(signed)
		return c, err
	}}
	first, err := mirror.Copy(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	grown(t, env, 30)
	second, err := mirror.Copy(t.Context(), cfg)
	if err != nil || second.Old != first.Size || second.Size < first.Size+30 {
		t.Fatalf("copied %+v, then %+v, %v", first, second, err)
	}
	if entries, err := os.ReadFile(filepath.Join(dir, "tile", "entries", "000")); err != nil || !strings.Contains(string(entries), `"instance.started"`) {
		t.Errorf("the first 256 entries: %d bytes, %v", len(entries), err)
	}
	if _, err := env.Engine.RevokeLogReader(t.Context(), env.Ann, reader.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := mirror.Copy(t.Context(), cfg); !fault.Is(err, fault.NotFound) {
		t.Errorf("after the reader was revoked: %v, want NotFound", err)
	}
}

func TestAReaderGetsNothingBeyondTheSignedHead(t *testing.T) {
	env, _, reader := aServer(t)
	shard := grown(t, env, 3)
	secret := strings.TrimPrefix(reader.Path, "/log/")
	ctx := t.Context()
	f := tiles.File{Width: int(shard.Size)}
	if _, err := env.Engine.LogFile(ctx, secret, shard.Name, f.Path()); err != nil {
		t.Errorf("%s: %v", f.Path(), err)
	}
	for _, c := range [][3]string{
		{secret, shard.Name, tiles.File{Width: 255}.Path()},
		{secret, shard.Name, tiles.File{Level: tiles.Entries, Width: 255}.Path()},
		{secret, shard.Name, "tile/1/000.p/1"},
		{secret, shard.Name, "tile/0/000.p/01"},
		{secret, shard.Name, ""},
		{secret, "1999", "checkpoint"},
		{secret + "x", shard.Name, "checkpoint"},
		{"usk_" + strings.TrimPrefix(secret, "usl_"), shard.Name, "checkpoint"},
		{env.Key(), shard.Name, "checkpoint"},
		{"", shard.Name, "checkpoint"},
	} {
		if got, err := env.Engine.LogFile(ctx, c[0], c[1], c[2]); !fault.Is(err, fault.NotFound) || strings.Contains(err.Error(), c[0]) && c[0] != "" {
			t.Errorf("%s of %s: %d bytes, %v, want NotFound that quotes nothing", c[2], c[1], len(got.Body), err)
		}
	}
	if _, err := env.Engine.Authenticate(ctx, secret, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("a reader's secret as an API key: %v, want Denied", err)
	}
}
