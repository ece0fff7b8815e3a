package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"mime"
	"os"
	"path/filepath"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

type filesCmd struct {
	Put filesPutCmd `cmd:"" help:"Upload a file and print the id that puts it into an instance."`
	Get filesGetCmd `cmd:"" help:"Download a file of an instance."`
}

func (filesCmd) Help() string {
	return "An uploaded file is put into an instance by writing {\"$file\": \"ID\"} where it is to stand in variables, or at once by start and complete with --file."
}

type filesPutCmd struct {
	File string `arg:"" help:"The file, or - for stdin."`
	Name string `help:"Its name (default: that of the file)." placeholder:"TEXT"`
	Type string `help:"Its media type (default: by the ending of the name)." placeholder:"TYPE"`
	clientFlags
}

func (filesPutCmd) Help() string {
	return talksToServer + " A file that is not put into an instance within a day, by the same principal, is deleted."
}

func (c *filesPutCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	upload, err := e.putFile(ctx, cl, c.File, c.Name, c.Type)
	if err != nil {
		return err
	}
	return e.result(upload, func(w io.Writer) { fmt.Fprintln(w, upload.File) })
}

// putFile uploads a file, or stdin for "-".
func (e *env) putFile(ctx context.Context, cl *client.Client, path, name, media string) (api.Upload, error) {
	if name == "" && path == "-" {
		return api.Upload{}, &usage{text: "a file from stdin needs a --name"}
	}
	if name == "" {
		name = filepath.Base(path)
	}
	if media == "" {
		media = mime.TypeByExtension(filepath.Ext(name))
	}
	if path == "-" {
		return cl.PutFile(ctx, name, media, struct{ io.Reader }{e.stdin})
	}
	file, err := os.Open(path)
	if err != nil {
		return api.Upload{}, fault.New(fault.Invalid, "read the file: %w", err)
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return api.Upload{}, fault.New(fault.Invalid, "%s is not a file", path)
	}
	return cl.PutFile(ctx, name, media, file)
}

// fileFlags are the options of commands that put files into an instance.
type fileFlags struct {
	File []string `help:"A variable that is a file: FILE is uploaded; a.b=FILE puts it into a field." placeholder:"NAME=FILE" sep:"none"`
}

// attach uploads the files and puts them into the variables. All flags are looked
// at before anything is sent.
func (f fileFlags) attach(ctx context.Context, e *env, cl *client.Client, variables json.RawMessage) (json.RawMessage, error) {
	if len(f.File) == 0 {
		return variables, nil
	}
	if _, err := f.over(variables, func(string) (any, error) { return nil, nil }); err != nil {
		return nil, err
	}
	return f.over(variables, func(path string) (any, error) {
		upload, err := e.putFile(ctx, cl, path, "", "")
		return client.FileValue(upload), err
	})
}

// over puts what value makes of each file into the variables.
func (f fileFlags) over(variables json.RawMessage, value func(path string) (any, error)) (json.RawMessage, error) {
	given, merged := fields{}, map[string]json.RawMessage{}
	for _, pair := range f.File {
		name, path, ok := strings.Cut(pair, "=")
		if !ok || path == "" || path == "-" {
			return nil, notPair("--file", name)
		}
		v, err := value(path)
		if err != nil {
			return nil, err
		}
		if err := given.put("--file", name, encoded(v)); err != nil {
			return nil, err
		}
	}
	if variables != nil {
		if err := json.Unmarshal(variables, &merged); err != nil {
			return nil, err
		}
	}
	if err := given.refuseOver(merged, ""); err != nil {
		return nil, err
	}
	if err := given.mergeInto(merged, ""); err != nil {
		return nil, err
	}
	return json.Marshal(merged)
}

// refuseOver refuses a file that would take the place of an object with fields of its
// own: their loss would go unnoticed.
func (f fields) refuseOver(object map[string]json.RawMessage, path string) error {
	for name, value := range f {
		var below map[string]json.RawMessage
		if json.Unmarshal(object[name], &below) != nil || len(below) == 0 {
			continue
		}
		inner, nested := value.(fields)
		if !nested {
			return &usage{text: fmt.Sprintf("--file %s%s would replace an object of %s; --file %s%s.NAME=FILE adds the file to it",
				path, name, counted(len(below), "field"), path, name)}
		}
		if err := inner.refuseOver(below, path+name+"."); err != nil {
			return err
		}
	}
	return nil
}

type filesGetCmd struct {
	Instance string `arg:"" help:"Id of the instance."`
	ID       string `arg:"" help:"Id of the file."`
	Output   string `short:"o" help:"Where to write it, or - for stdout (default: its own name, in this directory)." placeholder:"FILE|-"`
	purposeFlag
	clientFlags
}

func (filesGetCmd) Help() string {
	return talksToServer + " What came of an interrupted download is kept in FILE.part, and the same command goes on from there. The file gets its name when its SHA-256 is right."
}

func (c *filesGetCmd) Run(ctx context.Context, e *env) (err error) {
	cl, err := e.connectFor(c.purposeFlag)
	if err != nil {
		return err
	}
	from, err := cl.GetFile(ctx, c.Instance, c.ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if c.Output == "-" {
		_, err := io.Copy(e.stdout, from)
		return err
	}
	path := c.Output
	if path == "" {
		path = filepath.Base(filepath.FromSlash(from.Name))
	}
	if err := fetch(from, path); err != nil {
		return err
	}
	info := api.FileInfo{File: c.ID, Name: path, Type: from.Type, Size: from.Size, SHA256: from.SHA256}
	return e.result(info, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d bytes, SHA-256 %s\n", printable(path), from.Size, from.SHA256)
	})
}

// fetch downloads to a file that must not be there, by way of one beside it.
func fetch(from *client.File, path string) (err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Conflict, "%s is there already", path).WithCode("file_exists").WithHint("-o FILE writes to another one")
	}
	part, err := os.OpenFile(path+".part", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fault.New(fault.Invalid, "write the file: %w", err)
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	sum := sha256.New()
	if err := resume(from, part, sum); err != nil {
		return err
	}
	if _, err := io.Copy(io.MultiWriter(part, sum), from); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != from.SHA256 {
		return errors.Join(fault.New(fault.Integrity, "what came is not the file: its SHA-256 is not %s", from.SHA256).
			WithHint("%s.part is emptied; start anew", path), part.Truncate(0))
	}
	if err := part.Sync(); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// resume hashes what is there of an earlier download and passes it over.
func resume(from *client.File, part *os.File, sum hash.Hash) error {
	n, err := io.Copy(sum, io.LimitReader(part, from.Size))
	if err != nil || n == 0 {
		return err
	}
	if err := part.Truncate(n); err != nil {
		return err
	}
	_, err = from.Seek(n, io.SeekStart)
	return err
}
