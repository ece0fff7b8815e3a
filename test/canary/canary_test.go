// Package canary_test looks for plaintext at rest: it puts marks into everything
// a confidential instance can hold, runs the real binary, and searches every
// file and stream the server leaves behind.
package canary_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/pgtest"
)

const model = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:seal="urn:underseal:bpmn:1" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="x">
<process id="canary" isExecutable="true" seal:mode="confidential">
<extensionElements><seal:policy default="internal">
<seal:field path="person.id" class="internal" search="exact"/>
<seal:field path="person.note" class="regulated" subject="person.id"/>
</seal:policy></extensionElements>
<startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="derive"/>
<scriptTask id="derive"><extensionElements><zeebe:script expression="=&quot;derived &quot; + person.note" resultVariable="derived"/></extensionElements></scriptTask>
<sequenceFlow id="b" sourceRef="derive" targetRef="split"/><parallelGateway id="split"/>
<sequenceFlow id="c1" sourceRef="split" targetRef="ask"/><sequenceFlow id="c2" sourceRef="split" targetRef="works"/>
<sequenceFlow id="c3" sourceRef="split" targetRef="fails"/><sequenceFlow id="c4" sourceRef="split" targetRef="errs"/>
<sequenceFlow id="c5" sourceRef="split" targetRef="bad"/>
<userTask id="ask"><extensionElements><zeebe:formDefinition formKey="ask.json"/></extensionElements></userTask>
<serviceTask id="works"><extensionElements><zeebe:taskDefinition type="works"/></extensionElements></serviceTask>
<serviceTask id="fails"><extensionElements><zeebe:taskDefinition type="fails"/></extensionElements></serviceTask>
<serviceTask id="errs"><extensionElements><zeebe:taskDefinition type="errs"/></extensionElements></serviceTask>
<exclusiveGateway id="bad"/><sequenceFlow id="d" sourceRef="bad" targetRef="end"><conditionExpression>=person.note + 1 &gt; 2</conditionExpression></sequenceFlow>
<endEvent id="end"/>
</process></definitions>`

const form = `{"type": "object", "required": ["answer"], "properties": {"answer": {"type": "string", "maxLength": 60}}}`

// mark returns a text that is nowhere else.
func mark(place string) string { return "CANARY-" + place + "-7f3a91" }

// places are where marks are put; each must not be found at rest.
var places = []string{
	"variable", "number-like", "subject", "nested", "list", "business-key", "idempotency", "job-result", "job-failure", "error-code",
	"error-message", "error-variable", "draft", "form-answer", "refused-answer", "refused-variable", "set-variable", "search", "malformed",
	"file", "file-name", "upload", "upload-name", "broken-upload", "refused-file",
}

func TestNothingSealedIsAtRestInClear(t *testing.T) { markedAtRest(t, "") }

func TestNothingSealedIsAtRestInClearOnPostgres(t *testing.T) { markedAtRest(t, pgtest.Database(t)) }

// markedAtRest fills a server with marks and looks for them in all that it leaves. An
// empty dsn is SQLite.
func markedAtRest(t *testing.T, dsn string) {
	s := prepare(t, on(t, dsn)...)
	s.sink(t)
	s.again(t)
	s.fill(t)
	s.fillPeople(t)
	s.kill(t) // so that the write-ahead log is searched too
	s.again(t)
	s.read(t)
	s.cli(t, 0, "backup", s.path("backup"))
	streams := map[string][]byte{"metrics": s.metrics(t)}
	s.stop(t)
	streams["traces"] = s.traces.received(t)
	files := filesOf(t, dsn)
	if dsn != "" && len(files) == 0 {
		t.Skip("the files of the Postgres server cannot be read from here")
	}
	maps.Copy(streams, files)

	searched := 0
	for _, place := range slices.Concat(places, peoplePlaces) {
		searched += s.search(t, mark(place), streams)
		if named := place == "refused-variable" || place == "malformed"; !named && bytes.Contains(s.refusals, []byte(mark(place))) {
			t.Errorf("the value in %s is in the answer that refuses it", place)
		}
	}
	if s.link == "" || !s.asked.Load() || len(s.refusals) == 0 {
		t.Errorf("setup link %q, asked the receiver of the audit: %v, %d bytes of refusals", s.link, s.asked.Load(), len(s.refusals))
	}
	for _, secret := range append(s.secrets, s.apiKey, s.link) {
		searched += s.search(t, secret, streams)
	}
	if searched < 5*len(places) {
		t.Errorf("%d places searched, want at least database, keys, log, metrics and traces each time", searched)
	}
	if dsn == "" {
		files["data.db"] = s.content(t, "data.db")
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(files)), func(data []byte) bool { return bytes.Contains(data, []byte("works")) }) {
		t.Error("the search does not find an element's id, which is clear")
	}
}

// on are the settings of a server on a database; an empty dsn is SQLite.
func on(t *testing.T, dsn string) []string {
	t.Helper()
	if dsn == "" {
		return nil
	}
	path := filepath.Join(t.TempDir(), "dsn")
	ok(t, os.WriteFile(path, []byte(dsn), 0o600))
	return []string{"UNDERSEAL_DATABASE=file:" + path}
}

// fill puts a mark into everything an instance can hold.
func (s *server) fill(t *testing.T) {
	ctx, c := t.Context(), s.client
	_, err := c.Deploy(ctx, api.File{Name: "canary.bpmn", Content: []byte(model)}, api.File{Name: "ask.json", Content: []byte(form)})
	ok(t, err)
	started, err := c.Idempotent(mark("idempotency")).Start(ctx, api.StartRequest{
		Process: "canary", BusinessKey: mark("business-key"), Variables: client.Variables(map[string]any{
			"plain":  mark("variable"),
			"nested": map[string]any{"deep": mark("nested"), "list": []any{mark("list")}},
			"person": map[string]any{"id": mark("subject"), "note": mark("number-like")},
		}),
	})
	ok(t, err)
	s.work(t, "works", func(job api.Job) any {
		return api.CompleteJobRequest{Lease: job.Lease, Variables: client.Variables(map[string]any{"result": mark("job-result")})}
	}, "complete")
	none := 0
	s.work(t, "fails", func(job api.Job) any {
		return api.FailJobRequest{Lease: job.Lease, Message: mark("job-failure"), Retries: &none}
	}, "fail")
	s.work(t, "errs", func(job api.Job) any {
		return api.ErrorJobRequest{Lease: job.Lease, Code: mark("error-code"), Message: mark("error-message"), Variables: client.Variables(map[string]any{"why": mark("error-variable")})}
	}, "error")
	tasks, err := c.Tasks(ctx, api.TaskFilter{Process: "canary"}, api.Page{})
	ok(t, err)
	if len(tasks.Items) != 1 {
		t.Fatalf("%d tasks, want 1", len(tasks.Items))
	}
	task := "/v1/tasks/" + tasks.Items[0].ID
	s.post(t, "PUT", task+"/draft", map[string]any{"draft": map[string]any{"answer": mark("draft")}}, 200)
	s.post(t, "POST", task+"/complete", map[string]any{"variables": map[string]any{"answer": strings.Repeat(mark("refused-answer"), 9)}}, 400)
	s.post(t, "POST", task+"/complete", map[string]any{"variables": map[string]any{"answer": mark("form-answer")}}, 200)
	s.post(t, "PATCH", "/v1/instances/"+started.Instance+"/variables", map[string]any{"variables": map[string]any{"plain": mark("set-variable")}}, 200)
	s.post(t, "PATCH", "/v1/instances/"+started.Instance+"/variables", map[string]any{"variables": map[string]any{"$" + mark("refused-variable"): 1}}, 400)
	s.raw(t, "POST", "/v1/instances", []byte(`{"process": "canary", "variables": {"`+mark("malformed")+`": 1, "`+mark("malformed")+`": 2}}`), 400)
	s.raw(t, "GET", "/v1/instances?process=canary&field=person.id&value="+mark("search"), nil, 200)
	s.instance = started.Instance
	s.fillFiles(t)
}

// fillFiles puts marks into files: one that the instance has, one that nobody
// claims, one whose sender hangs up, and one that is refused.
func (s *server) fillFiles(t *testing.T) {
	ctx, c := t.Context(), s.client
	body := func(place string) string { return strings.Repeat(mark(place)+"\n", 10_000) } // several segments
	file, err := c.PutFile(ctx, mark("file-name")+".txt", "text/plain", strings.NewReader(body("file")))
	ok(t, err)
	_, err = c.SetVariables(ctx, s.instance, client.Variables(map[string]any{"scan": client.FileValue(file)}))
	ok(t, err)
	s.file = file.File
	_, err = c.PutFile(ctx, mark("upload-name"), "text/plain", strings.NewReader(body("upload")))
	ok(t, err)
	broken, hangUp := context.WithCancel(ctx)
	_, err = c.PutFile(broken, "x", "", io.MultiReader(strings.NewReader(body("broken-upload")), breaking(hangUp)))
	if err == nil {
		t.Error("an upload whose sender hung up succeeded")
	}
	s.raw(t, "POST", "/v1/files?name="+mark("refused-file")+"%2F", []byte(mark("refused-file")), 400)
}

// breaking is the end of a body: it breaks the connection off.
type breaking context.CancelFunc

func (b breaking) Read([]byte) (int, error) {
	b()
	return 0, io.ErrUnexpectedEOF
}

// read shows everything again, after a restart.
func (s *server) read(t *testing.T) {
	ctx := t.Context()
	export, err := s.client.Export(ctx, s.instance)
	ok(t, err)
	text, err := json.Marshal(export)
	ok(t, err)
	for _, place := range []string{"subject", "nested", "list", "business-key", "job-result", "form-answer", "set-variable"} {
		if !bytes.Contains(text, []byte(mark(place))) {
			t.Errorf("the export lacks the mark put into %s", place)
		}
	}
	f, err := s.client.GetFile(ctx, s.instance, s.file)
	ok(t, err)
	content, err := io.ReadAll(f)
	ok(t, errors.Join(err, f.Close()))
	if !bytes.Contains(content, []byte(mark("file"))) || f.Name != mark("file-name")+".txt" {
		t.Error("the file lacks its mark")
	}
	incidents, err := s.client.Incidents(ctx, "canary", api.Page{})
	ok(t, err)
	if len(incidents.Items) != 3 {
		t.Errorf("%d incidents, want 3", len(incidents.Items))
	}
	_, err = s.client.SetVariables(ctx, s.instance, client.Variables(map[string]any{"plain": mark("variable")}))
	ok(t, err)
}

// forms are the ways in which a mark could be written down.
func forms(text string) [][]byte {
	sixteen := make([]byte, 0, 2*len(text))
	for _, b := range []byte(text) {
		sixteen = append(sixteen, b, 0)
	}
	std := base64.StdEncoding.EncodeToString([]byte(text))
	return [][]byte{[]byte(text), sixteen, []byte(hex.EncodeToString([]byte(text))), []byte(std[:len(std)-4])}
}

// search looks for a text in all that the server left behind and returns how
// many files and streams it looked at.
func (s *server) search(t *testing.T, text string, streams map[string][]byte) int {
	t.Helper()
	searched := 0
	look := func(name string, data []byte) {
		searched++
		for _, form := range forms(text) {
			if bytes.Contains(data, form) {
				t.Errorf("%s is in %s", text[:min(len(text), 20)], name)
			}
		}
	}
	err := filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path == s.keyPath {
			return err
		}
		data, err := os.ReadFile(path)
		look(path, data)
		return err
	})
	ok(t, err)
	for name, data := range streams {
		look(name, data)
	}
	return searched
}

// content reads a file of the data directory.
func (s *server) content(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, "data", file))
	ok(t, err)
	return data
}

// server is the real binary with all its files below one directory.
type server struct {
	settings                              []string // variables of its environment, and of all commands
	dir, binary                           string
	url, figures                          string // of the process that runs: the API and the metrics
	keyPath, apiKey, link, instance, file string
	process                               *os.Process
	exited                                chan error // receives when the process has ended
	client                                *client.Client
	traces                                *collector
	secrets                               []string    // credentials that it gave
	refusals                              []byte      // what it answered to requests that it refused
	asked                                 atomic.Bool // the receiver of the audit was
}

// collector is an OpenTelemetry collector that only keeps what it is sent.
type collector struct {
	*httptest.Server
	mu   sync.Mutex // guards data
	data []byte
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.data = append(c.data, body...); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) received(t *testing.T) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, span := range []string{"deliver variables_set", "GET /v1/instances/{instance}/export"} {
		if !bytes.Contains(c.data, []byte(span)) {
			t.Errorf("the collector was sent no span %q", span)
		}
	}
	return c.data
}

func start(t *testing.T, settings ...string) *server {
	t.Helper()
	s := prepare(t, settings...)
	s.again(t)
	return s
}

// prepare builds a server and does not start it.
func prepare(t *testing.T, settings ...string) *server {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the server, and runs it several times: left out by -short")
	}
	dir := t.TempDir()
	s := &server{settings: settings, dir: dir, binary: filepath.Join(t.TempDir(), "underseal"), keyPath: filepath.Join(dir, "api.key"), traces: newCollector(t)}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", s.binary, "github.com/underseal/underseal/cmd/underseal")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ok(t, os.Mkdir(filepath.Join(dir, "tmp"), 0o700))
	return s
}

// again starts the server, on ports that are free, and waits until it answers.
func (s *server) again(t *testing.T) {
	t.Helper()
	command := exec.Command(s.binary, "serve", "--json", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--log-level", "debug",
		"--data", filepath.Join(s.dir, "data"), "--root-key-file", filepath.Join(s.dir, "root.key"), "--link-file", s.linkPath())
	command.Env = append(s.environ(), "TMPDIR="+filepath.Join(s.dir, "tmp"), "OTEL_EXPORTER_OTLP_ENDPOINT="+s.traces.URL)
	log, err := os.OpenFile(filepath.Join(s.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ok(t, err)
	defer log.Close()
	command.Stderr = log
	stdout, err := command.StdoutPipe()
	ok(t, err)
	ok(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadBytes('\n') // all that it writes there
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("the server ended: %v\n%s", err, text)
	}
	_, err = log.Write(line) // is searched with the rest
	ok(t, err)
	s.process, s.exited = command.Process, make(chan error, 1)
	go func() { s.exited <- command.Wait() }()
	var ready struct{ URL, Metrics string }
	ok(t, json.Unmarshal(line, &ready))
	s.url, s.figures = ready.URL, ready.Metrics
	s.setUp(t)
	s.connect(t)
}

func (s *server) linkPath() string { return filepath.Join(s.dir, "setup.link") }

// setUp uses the link that a first start makes.
func (s *server) setUp(t *testing.T) {
	t.Helper()
	link, err := os.ReadFile(s.linkPath())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	ok(t, err)
	s.link = strings.TrimSpace(string(link))
	setup := exec.CommandContext(t.Context(), s.binary, "setup", "--server", s.url, "--link-file", s.linkPath(), "--key-file", s.keyPath,
		"--name", "admin", "--all-rights")
	setup.Env = s.environ()
	if out, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("setup: %v\n%s", err, out)
	}
}

// environ is that of the tests, but with no configuration of this machine's own.
func (s *server) environ() []string {
	return append(append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(s.dir, "config")), s.settings...)
}

// connect makes a client of the server that runs.
func (s *server) connect(t *testing.T) {
	t.Helper()
	key, err := os.ReadFile(s.keyPath)
	ok(t, err)
	s.apiKey = strings.TrimSpace(string(key))
	s.client, err = client.New(client.Config{URL: s.url, Key: s.apiKey})
	ok(t, err)
	t.Cleanup(s.client.Close)
}

// kill ends the server as a crash would.
func (s *server) kill(t *testing.T) {
	t.Helper()
	ok(t, s.process.Kill())
	<-s.exited
}

// stop ends the server in order.
func (s *server) stop(t *testing.T) {
	t.Helper()
	ok(t, s.process.Signal(syscall.SIGTERM))
	ok(t, <-s.exited)
}

func (s *server) work(t *testing.T, kind string, outcome func(api.Job) any, verb string) {
	t.Helper()
	var jobs api.Jobs
	answer := s.post(t, "POST", "/v1/jobs/activate", api.ActivateRequest{Type: kind, Worker: "w", WaitMS: 10_000}, 200)
	ok(t, json.Unmarshal(answer, &jobs))
	if len(jobs.Items) != 1 {
		t.Fatalf("%d jobs of type %s, want 1", len(jobs.Items), kind)
	}
	s.post(t, "POST", "/v1/jobs/"+jobs.Items[0].ID+"/"+verb, outcome(jobs.Items[0]), 200)
}

func (s *server) post(t *testing.T, method, path string, body any, status int) []byte {
	t.Helper()
	data, err := json.Marshal(body)
	ok(t, err)
	return s.raw(t, method, path, data, status)
}

func (s *server) raw(t *testing.T, method, path string, body []byte, status int) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, bytes.NewReader(body))
	ok(t, err)
	req.Header.Set("Authorization", "Bearer "+s.apiKey)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	ok(t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	ok(t, err)
	if res.StatusCode != status {
		t.Fatalf("%s %s: %d %s, want %d", method, path, res.StatusCode, answer, status)
	}
	if status >= 400 {
		s.refusals = append(s.refusals, answer...)
	}
	return answer
}

func (s *server) metrics(t *testing.T) []byte {
	t.Helper()
	res, err := http.Get(s.figures)
	ok(t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	ok(t, err)
	if !bytes.Contains(data, []byte("underseal_")) {
		t.Error("the metrics name nothing of underseal")
	}
	return data
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
