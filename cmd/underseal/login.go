package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/underseal/underseal/internal/fault"
)

// login is where a person is signed in from the command line. It is kept in the
// configuration directory, with the server that gave it: a session shown to another server
// would be that one's to use.
type login struct {
	Server  string `json:"server"`
	CAFile  string `json:"ca_file,omitempty"`
	Tenant  string `json:"tenant"`
	User    string `json:"user"`
	Issuer  string `json:"issuer,omitempty"` // that they signed in by; empty: by password
	Session string `json:"session"`          // its text
}

// again is the command that signs them in again.
func (l *login) again() string {
	text := "underseal login --server " + l.Server + " --tenant " + l.Tenant
	if l.Issuer != "" {
		return text + " --issuer " + l.Issuer
	}
	return text + " --name " + l.User
}

// loginFile is where the login is kept. Empty: this machine does not say where.
func loginFile() string {
	if configDir() == "" {
		return ""
	}
	return filepath.Join(configDir(), "login.json")
}

// readLogin returns how somebody is signed in; nil: nobody is.
func readLogin() (*login, error) {
	path := loginFile()
	if path == "" {
		return nil, nil
	}
	data, err := readOwn("login file", path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var l login
	if json.Unmarshal(data, &l) != nil || checkServerURL(l.Server) != nil || !strings.HasPrefix(l.Session, sessionPrefix) {
		return nil, fault.New(fault.Invalid, "%s is not what underseal login writes", path).WithCode("login_malformed").
			WithHint("sign in again: underseal login")
	}
	return &l, nil
}

// writeLogin keeps a login in the place of the one that was there, for its owner alone.
func writeLogin(l login) error {
	path := loginFile()
	if path == "" {
		return noHome("XDG_CONFIG_HOME", "")
	}
	failed := func(err error) error { return fault.New(fault.Denied, "keep the login: %w", err) }
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return failed(err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), "login-*") // of mode 0600
	if err != nil {
		return failed(err)
	}
	data, err := json.MarshalIndent(l, "", "  ")
	if err == nil {
		_, err = file.Write(append(data, '\n'))
	}
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return failed(errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}

// adopt has a command talk to the server where somebody is signed in, unless another one
// is named: then they are not signed in there.
func (s *settings) adopt(l *login) error {
	if s.from["ca_file"] == "default" {
		s.CAFile = l.CAFile
	}
	if s.from["server"] != "default" && strings.TrimSuffix(s.Server, "/") != strings.TrimSuffix(l.Server, "/") {
		return fault.New(fault.Denied, "you are signed in at %s, and not at %s", l.Server, s.Server).WithCode("signed_in_elsewhere").
			WithHint("underseal login --server %s signs in there; or --key-file names an API key", s.Server)
	}
	s.Server = l.Server
	return nil
}
