package oidc_test

import (
	"bufio"
	"bytes"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// terminal runs the program for somebody with a configuration directory of their own.
func (c *company) terminal(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(c.Context(), filepath.Join(c.bin, "underseal"), args...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(c.bin, "config"))
	return cmd
}

// build makes the program, and says which server it is to believe.
func (c *company) build() (authority string) {
	c.Helper()
	c.bin = c.TempDir()
	cmd := exec.CommandContext(c.Context(), "go", "build", "-o", c.bin, "./cmd/underseal")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		c.Fatalf("build: %v\n%s", err, out)
	}
	authority = filepath.Join(c.bin, "server.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.server.Certificate().Raw}), 0o600); err != nil {
		c.Fatal(err)
	}
	return authority
}

// Who signs in on the command line does so with a browser, which shows the check code of the
// terminal and is not signed in itself.
func TestTheCommandLineSignsInWithARealProvider(t *testing.T) {
	c := newCompany(t, map[string]account{"zoe": {"zoe.berg", []string{"leads"}}})
	c.people()
	authority := c.build()
	login := c.terminal("login", "--server", c.server.URL, "--ca-file", authority, "--issuer", "corp", "--no-browser", "--again")
	var out bytes.Buffer
	login.Stdout = &out
	stderr, err := login.StderrPipe()
	if err == nil {
		err = login.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines, said := bufio.NewScanner(stderr), ""
	told := func() string {
		if !lines.Scan() {
			t.Fatalf("the command ended: %v: %s", login.Wait(), said)
		}
		said += lines.Text() + "\n"
		return lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:]
	}
	address, check := told(), told()

	zoe := c.browser()
	var page, after string
	c.do(zoe, "sign zoe in on the command line", chromedp.Navigate(address), enter("zoe"),
		chromedp.WaitVisible(`#go`), chromedp.Text(`body`, &page), chromedp.Click(`#go`),
		chromedp.WaitNotPresent(`#go`), chromedp.Text(`body`, &after))
	if !strings.Contains(page, "zoe.berg at main") || !strings.Contains(page, check) || len(check) != 9 {
		t.Errorf("to check code %s the page says %q", check, page)
	}
	if !strings.Contains(after, "Go back to the terminal") {
		t.Errorf("in the end the browser shows %q", after)
	}
	for lines.Scan() {
		said += lines.Text() + "\n"
	}
	if err := login.Wait(); err != nil || !strings.Contains(out.String(), "federated corp") {
		t.Fatalf("the command ends with %v: %s%s", err, &out, said)
	}
	if me, err := c.terminal("users", "me").Output(); err != nil || !strings.Contains(string(me), "zoe.berg") {
		t.Errorf("the command line is %s, %v", me, err)
	}
	if c.signedIn(zoe) {
		t.Error("the browser is signed in, too")
	}
}
