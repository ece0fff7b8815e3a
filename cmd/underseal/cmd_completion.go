package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (completionCmd) Help() string {
	return standsAlone + ` For the present shell: source <(underseal completion bash).`
}

func (c *completionCmd) Run(_ context.Context, e *env) error {
	parser, err := newParser(new(cli), e, os.Exit)
	if err != nil {
		return err
	}
	var script bytes.Buffer
	levels := completionLevels(parser.Model.Node)
	map[string]func(io.Writer, []completionLevel){"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell](&script, levels)
	_, err = e.stdout.Write(script.Bytes())
	return err
}

// A completionLevel is a command and the words that may follow it.
type completionLevel struct {
	path  string // "instances show", empty for the program itself
	words []string
}

// completionLevels walks the tree of commands. Flags of the whole program are
// repeated at every level, since they may stand anywhere.
func completionLevels(node *kong.Node) []completionLevel {
	level := completionLevel{path: strings.TrimPrefix(strings.TrimPrefix(node.Path(), "underseal"), " ")}
	for _, child := range node.Children {
		if !child.Hidden {
			level.words = append(level.words, child.Name)
		}
	}
	level.words = append(level.words, flagWords(node)...)
	levels := []completionLevel{level}
	for _, child := range node.Children {
		levels = append(levels, completionLevels(child)...)
	}
	return levels
}

// flagWords lists the flags that may follow a command: its own and those of the
// command that it is without another word.
func flagWords(node *kong.Node) []string {
	if node.DefaultCmd != nil {
		return flagWords(node.DefaultCmd)
	}
	var all []string
	for _, group := range node.AllFlags(true) {
		for _, flag := range group {
			all = append(all, "--"+flag.Name)
		}
	}
	return all
}

// cases writes the two shell cases both scripts are made of: one that follows
// the words typed so far down the tree, one that lists what may come next.
// Completing with no word of ours falls back to file names.
func walkCase(w io.Writer, levels []completionLevel) {
	for _, l := range levels {
		if l.path != "" {
			fmt.Fprintf(w, "      %q) path=%q ;;\n", l.path, l.path)
		}
	}
}

func wordCase(w io.Writer, levels []completionLevel) {
	for _, l := range levels {
		fmt.Fprintf(w, "    %q) words=%q ;;\n", l.path, strings.Join(l.words, " "))
	}
}

func bashCompletion(w io.Writer, levels []completionLevel) {
	fmt.Fprint(w, `# bash completion for underseal
_underseal() {
  local path="" words="" word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "${path:+$path }$word" in
`)
	walkCase(w, levels)
	fmt.Fprint(w, "    esac\n  done\n  case \"$path\" in\n")
	wordCase(w, levels)
	fmt.Fprint(w, `  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _underseal underseal
`)
}

func zshCompletion(w io.Writer, levels []completionLevel) {
	fmt.Fprint(w, `#compdef underseal
# zsh completion for underseal
_underseal() {
  local path="" words_next="" word
  for word in "${(@)words[2,CURRENT-1]}"; do
    case "${path:+$path }$word" in
`)
	walkCase(w, levels)
	fmt.Fprint(w, "    esac\n  done\n  case \"$path\" in\n")
	var next bytes.Buffer
	wordCase(&next, levels)
	io.WriteString(w, strings.ReplaceAll(next.String(), ") words=", ") words_next="))
	fmt.Fprint(w, `  esac
  compadd -- ${=words_next}
  _files
}
compdef _underseal underseal
`)
}

func fishCompletion(w io.Writer, levels []completionLevel) {
	fmt.Fprint(w, `# fish completion for underseal
function __underseal_path
  set -l path ""
  for word in (commandline -opc)[2..-1]
    switch (string trim -- "$path $word")
`)
	for _, l := range levels {
		if l.path != "" {
			fmt.Fprintf(w, "      case %q\n        set path %q\n", l.path, l.path)
		}
	}
	fmt.Fprint(w, "    end\n  end\n  echo -- $path\nend\n")
	for _, l := range levels {
		fmt.Fprintf(w, "complete -c underseal -n 'test (__underseal_path | string collect) = %q' -a %q\n", l.path, strings.Join(l.words, " "))
	}
}
