package plugin_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/plugin"
)

const (
	goodContext = `{"app":"underseal","deployment":"d1","tenant":"main","purpose":"tenant-key","version":1}`
	goodWrap    = `{"context":` + goodContext + `,"key":` + goodKey + `}`
)

func post(h http.Handler, path, body string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, request)
	return recorder
}

func TestTheHandlerTakesOnlyWhatTheProtocolHas(t *testing.T) {
	h := plugin.Handler(keyFile(t), nil)
	if got := post(h, "/v1/wrap", goodWrap); got.Code != http.StatusOK {
		t.Fatalf("a good request: %d %s", got.Code, got.Body)
	}
	for name, body := range map[string]string{
		"no JSON":                 `wrap`,
		"nothing":                 ``,
		"no context":              `{"key":` + goodKey + `}`,
		"no key":                  `{"context":` + goodContext + `}`,
		"another member":          strings.Replace(goodWrap, `"key"`, `"more":1,"key"`, 1),
		"another in the context":  strings.Replace(goodWrap, `"app"`, `"more":1,"app"`, 1),
		"a member twice":          strings.Replace(goodWrap, `"app"`, `"app":"x","app"`, 1),
		"a name in capitals":      strings.Replace(goodWrap, `"app"`, `"App"`, 1),
		"an empty item":           strings.Replace(goodWrap, `"main"`, `""`, 1),
		"an item that is null":    strings.Replace(goodWrap, `"main"`, `null`, 1),
		"an item that is long":    strings.Replace(goodWrap, `main`, strings.Repeat("m", 256), 1),
		"a version of zero":       strings.Replace(goodWrap, `:1}`, `:0}`, 1),
		"a version as text":       strings.Replace(goodWrap, `:1}`, `:"1"}`, 1),
		"a version with a point":  strings.Replace(goodWrap, `:1}`, `:1.5}`, 1),
		"a version that is large": strings.Replace(goodWrap, `:1}`, `:4294967296}`, 1),
		"a short key":             strings.Replace(goodWrap, goodKey, `"AAAA"`, 1),
		"a large body":            goodWrap + strings.Repeat(" ", 17<<10),
	} {
		got := post(h, "/v1/wrap", body)
		if got.Code != http.StatusBadRequest || !strings.HasPrefix(got.Body.String(), `{"error":"invalid","message":"`) {
			t.Errorf("%s: %d %s, want 400 and the word invalid", name, got.Code, got.Body)
		}
	}
	for _, path := range []string{"/v1/", "/v1/wrap/", "/v2/wrap", "/", "/v1/Wrap"} {
		if got := post(h, path, goodWrap); got.Code != http.StatusNotFound || strings.Contains(got.Body.String(), "error") {
			t.Errorf("%s: %d %s, want 404 and no word", path, got.Code, got.Body)
		}
	}
	request := httptest.NewRequest(http.MethodPost, "/v1/wrap", strings.NewReader(goodWrap))
	request.Header.Set("Content-Type", "text/json")
	recorder := httptest.NewRecorder()
	if h.ServeHTTP(recorder, request); recorder.Code != http.StatusBadRequest {
		t.Errorf("another type: %d, want 400", recorder.Code)
	}
}

func FuzzRequest(f *testing.F) {
	file, err := kms.CreateKeyFile(filepath.Join(f.TempDir(), "root.key"))
	if err != nil {
		f.Fatal(err)
	}
	h := plugin.Handler(file, nil)
	f.Add("wrap", goodWrap)
	f.Add("unwrap", `{"context":`+goodContext+`,"key_id":"k","version":"1","wrapped":"AAAA"}`)
	f.Add("describe", `{}`)
	f.Add("wrap", `{"context":{"app":1},"key":null}`)
	f.Fuzz(func(t *testing.T, call, body string) {
		if call != "wrap" && call != "unwrap" && call != "describe" {
			return
		}
		got := post(h, "/v1/"+call, body)
		if !json.Valid(got.Body.Bytes()) || got.Code >= 500 || got.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s %q: %d %q", call, body, got.Code, got.Body)
		}
		// Whatever is taken is strict JSON with exactly the members of the call.
		if got.Code == http.StatusOK && call == "wrap" && strings.Count(body, `"`) < 22 {
			t.Errorf("%s takes %q", call, body)
		}
	})
}

func TestTheHandlerBelievesNoName(t *testing.T) {
	file := keyFile(t)
	h := plugin.Handler(file, nil)
	var stored map[string]any
	if err := json.Unmarshal(post(h, "/v1/wrap", goodWrap).Body.Bytes(), &stored); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		member, value string
		status        int
	}{
		"as stored":           {"version", "1", http.StatusOK},
		"another version":     {"version", "2", http.StatusUnprocessableEntity},
		"a version not there": {"version", "3", http.StatusUnprocessableEntity},
		"another root key":    {"key_id", "another", http.StatusConflict},
	} {
		changed := map[string]any{"context": json.RawMessage(goodContext)}
		for k, v := range stored {
			changed[k] = v
		}
		changed[test.member] = test.value
		body, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		if got := post(h, "/v1/unwrap", string(body)); got.Code != test.status {
			t.Errorf("%s: %d %s, want %d", name, got.Code, got.Body, test.status)
		}
	}
}

func TestListenReplacesWhatAKilledPluginLeft(t *testing.T) {
	path := socketPath(t)
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if _, err := plugin.Listen(t.Context(), plugin.ServerConfig{Socket: path}); !fault.Is(err, fault.Conflict) {
		t.Errorf("Listen beside another plugin: %v, want conflict", err)
	}
	left.Close()
	l, err := plugin.Listen(t.Context(), plugin.ServerConfig{Socket: path})
	if err != nil {
		t.Fatalf("Listen after it was killed: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := plugin.Listen(t.Context(), plugin.ServerConfig{Socket: path}); !fault.Is(err, fault.Conflict) {
		t.Errorf("Listen over a file: %v, want conflict", err)
	}
}

// page is the protocol as strangers read it.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/design/kms-plugin.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestThePageGivesTheBytesOfAContext(t *testing.T) {
	text := page(t)
	example := regexp.MustCompile("(?s)```json\n(.*?)\n```.*?```\n(.*?)\n```").FindStringSubmatch(text)
	if example == nil {
		t.Fatal("the page has no context and its bytes")
	}
	var c struct {
		App, Deployment, Tenant, Purpose string
		Version                          uint32
	}
	if err := json.Unmarshal([]byte(example[1]), &c); err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.ReplaceAll(example[2], " ", ""))
	if got := kms.Context(c).Encode(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Encode: %x, the page says %x (%v)", got, want, err)
	}
}

func TestThePagesConversationIsOne(t *testing.T) {
	text := page(t)
	_, conversation, ok := strings.Cut(text, "```\nPOST ")
	conversation, _, end := strings.Cut(conversation, "\n```")
	request, reply, both := strings.Cut(conversation, "\n\nHTTP/1.1 200 OK\n")
	if !ok || !end || !both {
		t.Fatal("the page has no conversation")
	}
	body := announced(t, request)
	if got := post(plugin.Handler(keyFile(t), nil), "/v1/wrap", body); got.Code != http.StatusOK {
		t.Errorf("the page's request: %d %s", got.Code, got.Body)
	}
	service := defiant(t, plugin.Config{}, write(answer(announced(t, reply))))
	stored, err := service.Wrap(t.Context(), kms.Context{App: "a", Deployment: "d", Tenant: "t", Purpose: "p", Version: 1}, make([]byte, 32))
	if err != nil {
		t.Fatalf("the page's answer: %v", err)
	}
	if version, err := service.Version(stored); version != "2" || err != nil {
		t.Errorf("Version: %q, %v, want 2", version, err)
	}
}

// announced returns the body of a message whose Content-Length must fit.
func announced(t *testing.T, text string) string {
	t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	want := "Content-Length: " + strconv.Itoa(len(body))
	if !strings.Contains(head, want+"\n") {
		t.Errorf("the page lacks %q", want)
	}
	return body
}

func TestThePageHasEveryWord(t *testing.T) {
	text := page(t)
	for _, line := range plugin.Words() {
		if !strings.Contains(text, line) {
			t.Errorf("the page lacks %q", line)
		}
	}
}
