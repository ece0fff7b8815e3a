package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

// cli is the tree of commands. One file, cmd_NAME.go, holds each of them.
type cli struct {
	Config string `help:"Configuration file (default: ${config_file})." placeholder:"FILE" type:"path"`
	JSON   bool   `help:"Write results and errors as JSON." name:"json"`

	Init  initCmd  `cmd:"" group:"server" help:"Make the data directory, the keys and the link for the first administrator."`
	Serve serveCmd `cmd:"" group:"server" help:"Run the server."`
	Demo  demoCmd  `cmd:"" group:"server" help:"Show a confidential process from start to end."`

	Backup  backupCmd  `cmd:"" group:"server" help:"Copy data and keys while the server runs."`
	Restore restoreCmd `cmd:"" group:"server" help:"Put a backup back and go on with it."`
	Fsck    fsckCmd    `cmd:"" group:"server" help:"Compare the whole database with its log."`

	Deploy    deployCmd    `cmd:"" group:"client" help:"Deploy a set of files, whole or not at all."`
	Processes processesCmd `cmd:"" group:"client" help:"List processes, set their mode."`
	Start     startCmd     `cmd:"" group:"client" help:"Start an instance of a process."`
	Instances instancesCmd `cmd:"" group:"client" help:"List, inspect and change instances."`
	Tasks     tasksCmd     `cmd:"" group:"client" help:"List, claim and save people's tasks."`
	Complete  completeCmd  `cmd:"" group:"client" help:"Complete a person's task."`
	Files     filesCmd     `cmd:"" group:"client" help:"Upload and download files."`
	Worker    workerCmd    `cmd:"" group:"client" help:"Run a command for each job of a type."`
	Incidents incidentsCmd `cmd:"" group:"client" help:"List what failed and waits, try it again."`
	Erase     eraseCmd     `cmd:"" group:"client" help:"Destroy the keys of an instance or a person; receipts, verification."`
	Holds     holdsCmd     `cmd:"" group:"client" help:"Keep instances or persons from being erased."`
	Evidence  evidenceCmd  `cmd:"" group:"client" help:"Write a file that proves a step to a stranger, offline."`
	Keys      keysCmd      `cmd:"" group:"client" help:"List, rotate and retire keys; copies of the key file, its passphrase."`
	Log       logCmd       `cmd:"" group:"client" help:"The log and who may read it."`
	Audit     auditCmd     `cmd:"" group:"client" help:"Who did what, saw what and was refused what."`
	Users     usersCmd     `cmd:"" group:"client" help:"People and programs: invite, disable, roles, groups."`
	Groups    groupsCmd    `cmd:"" group:"client" help:"Groups, which give their members roles and grants."`
	Grants    grantsCmd    `cmd:"" group:"client" help:"Rights on processes, instances, tasks and fields."`
	APIKeys   apiKeysCmd   `cmd:"" name:"apikeys" group:"client" help:"API keys: make, rotate and revoke."`
	Issuers   issuersCmd   `cmd:"" group:"client" help:"OpenID providers and CAs whose word counts for who calls."`
	Sessions  sessionsCmd  `cmd:"" group:"client" help:"Where people are signed in; end it."`
	Passkeys  passkeysCmd  `cmd:"" group:"client" help:"With which passkeys people sign in and sign; remove them."`
	Login     loginCmd     `cmd:"" group:"client" help:"Sign in; all other commands are you then."`
	Logout    logoutCmd    `cmd:"" group:"client" help:"End the session that you are signed in by."`
	Password  passwordCmd  `cmd:"" group:"client" help:"Set your password."`
	Revoke    revokeCmd    `cmd:"" group:"client" help:"End all that admits somebody, one key, or all sessions, at once."`
	Tenants   tenantsCmd   `cmd:"" group:"client" help:"Companies on this server, and what is set for one."`
	Policies  policiesCmd  `cmd:"" group:"client" help:"What your company forbids beyond roles and grants."`
	Glass     glassCmd     `cmd:"" name:"breakglass" group:"client" help:"Sight of an instance or process in an emergency, which two people give."`
	Explain   explainCmd   `cmd:"" group:"client" help:"Say why somebody may, or may not, do something."`
	Setup     setupCmd     `cmd:"" group:"client" help:"Use a link that lets you in."`
	Signers   signersCmd   `cmd:"" group:"client" help:"Whose signatures count: register, rotate and revoke keys of workers and of the server."`

	Witness    witnessCmd    `cmd:"" group:"other" help:"Be a witness of other people's logs."`
	Verify     verifyCmd     `cmd:"" group:"other" help:"Check evidence offline."`
	Check      configCmd     `cmd:"" name:"config" group:"other" help:"Check the configuration."`
	Doctor     doctorCmd     `cmd:"" group:"other" help:"Find out what is wrong with this installation."`
	Version    versionCmd    `cmd:"" group:"other" help:"Print the version."`
	Completion completionCmd `cmd:"" group:"other" help:"Print a completion script for a shell."`
}

// Every command says in its help which of these it is.
const (
	talksToServer = "Talks to the server (--server); never opens the database."
	opensDatabase = "Opens the database itself; needs no running server."
	standsAlone   = "Neither talks to the server nor opens the database."
)

// eachSaysIt is what the help of a group says whose commands differ in that.
const eachSaysIt = "Each command says in its help whether it talks to the server or opens the database."

// withoutCommand says what a group of commands does by itself, and where the flags
// for that are listed.
func withoutCommand(group string) string {
	return "Without a command: list; see underseal " + group + " list --help."
}

// A command is what each leaf of the tree is.
type command interface {
	Run(context.Context, *env) error
}

// env is what a command gets from the process it runs in.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	json           bool
	settings       *settings
	login          *login // that a command talks to the server by; nil: by no session
}

// run is the program. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	args = helpAsked(versionCommand(args))
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr, json: wantsJSON(args)}
	if err := e.run(ctx, args); err != nil {
		return e.report(ctx, err)
	}
	return 0
}

// versionCommand takes --version, where a command would stand, for the command
// version. As a flag of the whole program it would clash with start --version.
func versionCommand(args []string) []string {
	for i, arg := range args {
		switch arg {
		case "--json":
			continue
		case "--version":
			return slices.Replace(slices.Clone(args), i, i+1, "version")
		}
		break
	}
	return args
}

// helpAsked takes no arguments at all, and "help COMMAND", for --help.
func helpAsked(args []string) []string {
	if len(args) == 0 {
		return []string{"--help"}
	}
	if args[0] == "help" {
		return append(slices.Clone(args[1:]), "--help")
	}
	return args
}

func (e *env) run(ctx context.Context, args []string) error {
	run, name, err := e.parse(args)
	if err != nil || run == nil {
		return err
	}
	err = e.explain(run(ctx, e))
	if u := (*usage)(nil); errors.As(err, &u) && u.command == "" {
		u.command = name
	}
	return err
}

// parse reads the arguments and the settings, and returns the command to run with
// its name; none when the help was asked for. What it read them with is let go of: a
// server would keep the tree of all commands in its memory.
func (e *env) parse(args []string) (run func(context.Context, *env) error, name string, err error) {
	var commands cli
	if err := checkText(args); err != nil {
		return nil, "", err
	}
	helped := false
	parser, err := newParser(&commands, e, func(int) { helped = true })
	if err != nil {
		return nil, "", err
	}
	parsed, err := parser.Parse(args)
	switch {
	case helped: // kong goes on parsing after it printed the help
		return nil, "", nil
	case err != nil:
		return nil, "", usageError(err)
	}
	if err := emptyID(parsed); err != nil {
		return nil, "", err
	}
	if e.settings, err = loadSettings(commands.Config, os.Environ(), flagSettings(parsed)); err != nil {
		return nil, "", err
	}
	chosen, ok := parsed.Selected().Target.Addr().Interface().(command)
	if !ok {
		return nil, "", fmt.Errorf("%s is no command", commandOf(parsed))
	}
	return chosen.Run, commandOf(parsed), nil
}

// checkText refuses arguments that are no text, which the parser and encoding/json
// would mend with U+FFFD, each in its way, and credentials, before an error can quote
// one. What follows "--" is not ours.
func checkText(args []string) error {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if !utf8.ValidString(arg) {
			return &usage{text: fmt.Sprintf("argument %d is not UTF-8", i+1)}
		}
		if _, value, is := strings.Cut(arg, "="); isCredential(arg) || is && strings.HasPrefix(arg, "-") && isCredential(value) {
			return &usage{text: fmt.Sprintf("argument %d is a link or a key: others on this machine see arguments, and the shell keeps them; links, keys and sessions go through files, or standard input", i+1)}
		}
	}
	return nil
}

func isCredential(text string) bool {
	return strings.HasPrefix(text, linkPrefix) || strings.HasPrefix(text, apiKeyPrefix) || strings.HasPrefix(text, sessionPrefix)
}

// emptyID refuses an empty argument, as a shell makes it of a list without
// entries: on its way to the server it would be a path to something else.
func emptyID(parsed *kong.Context) error {
	for _, step := range parsed.Path {
		if step.Positional == nil || step.Positional.Target.Kind() != reflect.String || step.Positional.Target.String() != "" {
			continue
		}
		name := step.Positional.Name
		switch name {
		case "task", "instance", "incident", "process":
			name += " id"
		}
		return &usage{text: name + " is empty", command: commandOf(parsed)}
	}
	return nil
}

// newParser builds the command tree with its help texts.
func newParser(commands *cli, e *env, exit func(int)) (*kong.Kong, error) {
	parser, err := kong.New(commands,
		kong.Name("underseal"),
		kong.Description("Runs business processes whose data only the right people can read and nobody can quietly change."),
		kong.Writers(e.stdout, e.stderr),
		kong.Exit(exit),
		kong.Vars{"config_file": defaultConfigFile()},
		kong.PostBuild(explainSettings),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "server", Title: "On the machine of the server:"},
			{Key: "client", Title: "Talking to a server:"},
			{Key: "other", Title: "Besides:"},
			{Key: "connection", Title: "Which server, as whom:"},
		}))
	if err == nil {
		explainGroups(parser.Model.Node)
	}
	return parser, err
}

// explainGroups begins the help of each group of commands with what that of all of
// them says.
func explainGroups(node *kong.Node) {
	for _, group := range node.Children {
		if len(group.Children) > 0 {
			group.Detail = strings.TrimSpace(sharedSentence(group.Leaves(true)) + "\n\n" + group.Detail)
			explainGroups(group)
		}
	}
}

// sharedSentence is what all commands say of the server and the database.
func sharedSentence(commands []*kong.Node) string {
	for _, sentence := range []string{talksToServer, opensDatabase, standsAlone} {
		if !slices.ContainsFunc(commands, func(c *kong.Node) bool { return !strings.Contains(c.Detail, sentence) }) {
			return sentence
		}
	}
	return eachSaysIt
}

// wantsJSON looks for --json before the arguments are parsed, so that even a
// usage error is written the way it was asked for. What follows "--" is not ours.
func wantsJSON(args []string) bool {
	for _, arg := range args {
		switch arg {
		case "--json", "--json=true":
			return true
		case "--":
			return false
		}
	}
	return false
}

// usageError marks an error of the command line itself, which has its own exit code.
func usageError(err error) error {
	var parse *kong.ParseError
	if errors.As(err, &parse) {
		text := err.Error()
		if flag, _, missing := strings.Cut(text, `: expected string value but got "EOL"`); missing {
			text = flag + " needs a value"
		}
		return &usage{text: text + likelyCommand(parse), command: commandOf(parse.Context)}
	}
	return &usage{text: err.Error()}
}

// likelyCommand names the commands of a group in which a word is none: kong takes it
// for an argument of the group's default command, and says that there is none.
func likelyCommand(parse *kong.ParseError) string {
	word, unexpected := strings.CutPrefix(parse.Error(), "unexpected argument ")
	node := parse.Context.Selected()
	if !unexpected || node == nil || node.Parent == nil || node.Parent.DefaultCmd != node {
		return ""
	}
	if other := knownElsewhere[node.Parent.Name+" "+word]; other != "" {
		return fmt.Sprintf(", did you mean %q?", other)
	}
	var names []string
	for _, child := range node.Parent.Children {
		if n := min(len(word), len(child.Name), 3); n > 1 && word[:n] == child.Name[:n] {
			return fmt.Sprintf(", did you mean %q?", node.Parent.Name+" "+child.Name)
		}
		names = append(names, child.Name)
	}
	return fmt.Sprintf("; %s has %s", node.Parent.Name, strings.Join(names, ", "))
}

// knownElsewhere are the commands for what other programs have elsewhere, or call otherwise.
var knownElsewhere = map[string]string{
	"tasks complete": "complete", "instances start": "start", "processes start": "start", "processes deploy": "deploy",
	"instances get": "instances show", "tasks get": "tasks show", "users get": "users show", "audit search": "audit list",
	"users create": "users invite", "users add": "users invite", "users delete": "revoke principal", "users remove": "revoke principal",
	"users revoke": "revoke principal", "groups add": "users join", "groups join": "users join", "groups members": "groups show",
	"grants add": "grants give", "grants create": "grants give", "grants delete": "grants revoke", "grants remove": "grants revoke",
	"apikeys add": "apikeys create", "apikeys delete": "apikeys revoke", "issuers add": "issuers set", "issuers create": "issuers set",
	"policies show": "policies list", "tenants show": "tenants settings", "keys create": "keys rotate",
}

func commandOf(parsed *kong.Context) string {
	if parsed == nil || parsed.Selected() == nil {
		return ""
	}
	return parsed.Selected().FullPath()
}
