package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

type setupCmd struct {
	Name      string `help:"Your name, if the link makes an administrator: of a-z, 0-9 and ._@-, never changes." placeholder:"NAME"`
	AllRights bool   `help:"Give yourself what no role has, too: all processes to work, to manage and to see in clear." xor:"got"`
	Password  string `help:"Set this password instead of getting an API key: file:PATH or env:NAME; 15 characters or more." placeholder:"REFERENCE" xor:"got"`
	linkFlags
	clientFlags
}

func (setupCmd) Help() string {
	return talksToServer + " Uses a link, which counts once, and writes the API key that it gives to --key-file, where commands look for it; " +
		"with --password there is no key: underseal login then. " +
		"Where a company's link makes somebody administrator who is there already, all that admitted them before ends. " +
		"The link is read from --link-file, which is removed then, else from standard input; it is no argument, since others can see those."
}

// settled says what setup did.
type settled struct {
	Tenant     string `json:"tenant"`
	User       string `json:"user"`
	APIKeyFile string `json:"api_key_file,omitempty"`
	Ended      bool   `json:"ended,omitempty"`
}

// endedWays is said where a link was used for somebody who was there.
const endedWays = "this user was there: their former keys, passkeys, password, sessions and links to issuers have ended"

func (c *setupCmd) Run(ctx context.Context, e *env) error {
	if err := e.settings.checkPlaces("api_key_file"); err != nil {
		return err
	}
	config, err := e.settings.connection()
	if err != nil {
		return err
	}
	path := e.settings.APIKeyFile
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fault.New(fault.Denied, "make the directory of the API key file: %w", err)
	}
	in := api.SetupRequest{Name: c.Name}
	if in.Password, err = optionalSecret("--password", c.Password); err != nil {
		return err
	}
	if in.Link, err = e.setupLink(ctx); err != nil {
		return err
	}
	done, err := e.letIn(ctx, config, in)
	if err != nil {
		return err
	}
	if c.AllRights {
		config.Key = done.Key.Text
		if err := giveAllRights(ctx, config); err != nil {
			return err
		}
	}
	out, note := settled{Tenant: done.Tenant, User: done.User, Ended: done.Ended}, ""
	if out.Ended {
		note = endedWays
	}
	if in.Password == "" {
		out.APIKeyFile = path
	}
	signIn := ""
	if in.Password != "" {
		signIn = "underseal login --tenant " + out.Tenant + " --name " + out.User
	}
	return e.result(out, func(w io.Writer) {
		pairs(w, "tenant", out.Tenant, "name", out.User, "API key file", out.APIKeyFile, "sign in with", signIn, "note", note)
	})
}

// linkPrefix begins every link that lets somebody in.
const linkPrefix = "usi_"

// linkToFile reports whether a setup link goes through a file.
func (s *settings) linkToFile() bool { return s.LinkFile != "" && s.LinkFile != "-" }

// setupLink reads the link, from the link file, from standard input, or from a person.
func (e *env) setupLink(ctx context.Context) (string, error) {
	from := "-"
	if e.settings.linkToFile() {
		from = e.settings.LinkFile
	}
	var text string
	var err error
	if from == "-" && e.asksPerson() {
		text, err = e.asked(ctx, "the link: ")
	} else {
		var data []byte
		data, err = e.readInput(from)
		text = strings.TrimSpace(string(data))
	}
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(text, linkPrefix) || len(strings.Fields(text)) != 1 {
		return "", fault.New(fault.Invalid, "%s holds no link (it begins with %s)", nameOf(from), linkPrefix).WithCode("link_malformed").
			WithHint("whoever invited you has the link; --link-file names a file with it")
	}
	return text, nil
}

// letIn uses a link and writes the key that it gives, if it does. Who is asked for a name, and gave
// none, is a person or an error.
func (e *env) letIn(ctx context.Context, config client.Config, in api.SetupRequest) (api.SetupDone, error) {
	done, err := e.useLink(ctx, config, in)
	var refused *client.Error
	if in.Name != "" || !errors.As(err, &refused) || refused.Code != "invalid_name" {
		return done, err
	}
	if !e.asksPerson() {
		return done, fault.New(fault.Invalid, "the link makes an administrator, who needs a name").WithCode(refused.Code).
			WithHint("--name NAME; the link counts still")
	}
	if in.Name, err = e.asked(ctx, "your name (a-z, 0-9 and ._@-, never changes): "); err != nil {
		return done, err
	}
	return e.useLink(ctx, config, in)
}

func (e *env) useLink(ctx context.Context, config client.Config, in api.SetupRequest) (done api.SetupDone, err error) {
	use := func() (string, error) {
		done, err = client.Setup(ctx, config, in)
		return done.Key.Text, err
	}
	if in.Password != "" {
		_, err = use()
	} else {
		err = writeSecret(e.settings.APIKeyFile, use)
	}
	if client.IsUnauthenticated(err) { // told here: it says nothing of the key file, as it does elsewhere
		return done, fault.New(fault.Denied, "the server at %s does not take the link: it is malformed, used, ended or of another server", config.URL).
			WithCode("unauthenticated").WithHint("a link counts once and for 24 hours; who gave it to you can make another: " +
			"underseal users invite --again, or on the server's machine underseal init --new-link")
	}
	if err == nil && e.settings.linkToFile() {
		removeFile(e.settings.LinkFile)
	}
	return done, err
}

// removeFile removes a file that is of no use any more. What is none stays, such as a
// pipe, and so does one that cannot be removed.
func removeFile(path string) {
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
		_ = os.Remove(path)
	}
}

// giveAllRights gives the owner of a key the grants on all processes that there are not yet.
func giveAllRights(ctx context.Context, config client.Config) error {
	cl, err := client.New(config)
	if err != nil {
		return err
	}
	defer cl.Close()
	me, err := cl.Me(ctx)
	if err != nil {
		return err
	}
	for _, g := range []api.GrantRequest{
		{Right: "work"}, {Right: "manage"}, {Right: "reveal", Fields: []string{"*"}, Purpose: "administration"},
	} {
		if slices.ContainsFunc(me.Grants, func(has api.Grant) bool { return has.Right == g.Right && has.Process == "*" }) {
			continue
		}
		g.User, g.Process = me.User, "*"
		if _, err := cl.GiveGrant(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

// asksPerson reports whether a person may be at the other end of standard input.
func (e *env) asksPerson() bool {
	file, ok := e.stdin.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull) // where services have their input from, and no person is
	return err != nil || !os.SameFile(info, null)
}
