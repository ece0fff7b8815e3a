package main

import (
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
)

func TestTheExitCodesPageIsTheFaultTable(t *testing.T) {
	page, err := os.ReadFile("../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range fault.Kinds() {
		row := fmt.Sprintf("\n| %d | `%s` | %d | ", k.ExitCode(), k, k.Status())
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/exit-codes.md has no row %q", strings.TrimSpace(row))
		}
	}
	for code, kind := range map[int]string{exitUsage: "usage", exitInterrupted: "interrupted"} {
		if row := fmt.Sprintf("\n| %d | `%s` | | ", code, kind); !strings.Contains(string(page), row) {
			t.Errorf("docs/exit-codes.md has no row %q", strings.TrimSpace(row))
		}
	}
	for _, v := range slices.Concat(verdicts, fsckVerdicts) {
		codes := strings.ReplaceAll("`"+strings.Join(v.codes, "`, `")+"`", "_`", "_*`")
		if row := fmt.Sprintf("\n| %d | %s | %s |", v.exit, codes, v.meaning); !strings.Contains(string(page), row) {
			t.Errorf("docs/exit-codes.md has no row %q", strings.TrimSpace(row))
		}
	}
	if want, got := len(fault.Kinds())+len(verdicts)+len(fsckVerdicts)+3, strings.Count(string(page), "\n| ")-7; got != want {
		t.Errorf("docs/exit-codes.md has %d exit codes, want %d", got, want)
	}
}

// Secret scanners find the keys that there are by what the manual says.
func TestScannersFindKeysByTheManual(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile("`(\\\\busk_[^`]*)`").FindSubmatch(page)
	if said == nil {
		t.Fatal("docs/operations.md does not say what keys match")
	}
	pattern := regexp.MustCompile(string(said[1]))
	for _, tenant := range []string{"main", "a", "7-acme-7", strings.Repeat("x", 40)} {
		key := identity.APIKeyText.Generate(tenant)
		if found := pattern.FindString("key = \"" + key + "\";"); found != key {
			t.Errorf("of a key of %s scanners find %q", tenant, found)
		}
		sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(key[:len(key)-7])))
		if text := strings.ToLower(strings.TrimRight(base32.StdEncoding.EncodeToString(sum), "=")); text != key[len(key)-7:] {
			t.Errorf("the checksum of a key of %s is %s by the manual", tenant, text)
		}
	}
}

func TestEveryCommandSaysWhatItOpens(t *testing.T) {
	var commands cli
	parser, err := newParser(&commands, &env{stdout: io.Discard, stderr: io.Discard}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	leaves := parser.Model.Leaves(false)
	if len(leaves) < 20 {
		t.Errorf("only %d commands were looked at", len(leaves))
	}
	for _, command := range leaves {
		said := 0
		for _, sentence := range []string{talksToServer, opensDatabase, standsAlone} {
			said += strings.Count(command.Detail, sentence)
		}
		if said != 1 {
			t.Errorf("the help of %q says %d times whether it talks to the server or opens the database", command.FullPath(), said)
		}
	}
	for group, want := range map[string]string{"instances": talksToServer, "tasks": talksToServer, "config": standsAlone, "keys": eachSaysIt} {
		i := slices.IndexFunc(parser.Model.Children, func(n *kong.Node) bool { return n.Name == group })
		if i < 0 || !strings.HasPrefix(parser.Model.Children[i].Detail, want) {
			t.Errorf("the help of the group %q does not begin with %q", group, want)
		}
	}
}

func TestEveryFlagOfASettingNamesOne(t *testing.T) {
	var commands cli
	parser, err := newParser(&commands, &env{stdout: io.Discard, stderr: io.Discard}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, k := range keys() {
		known[k.name] = true
	}
	seen := 0
	err = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok && flag.Tag.Has("conf") {
			seen++
			if !known[flag.Tag.Get("conf")] {
				t.Errorf("--%s sets %q, which is no setting", flag.Name, flag.Tag.Get("conf"))
			}
		}
		return next(nil)
	})
	if err != nil || seen == 0 {
		t.Errorf("looked at %d flags: %v", seen, err)
	}
}

func TestTheOperationsPageListsEverySetting(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys() {
		if row := fmt.Sprintf("\n| `%s` | %s | ", k.name, k.doc); !strings.Contains(string(page), row) {
			t.Errorf("docs/operations.md has no row %q", strings.TrimSpace(row))
		}
	}
}
