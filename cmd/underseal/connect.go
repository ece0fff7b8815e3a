package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"runtime"
	"strings"
	"unicode"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

// clientFlags are the options of every command that talks to the server as somebody.
type clientFlags struct {
	serverFlags
	KeyFile string `conf:"api_key_file" help:"${doc_api_key_file}" placeholder:"FILE" group:"connection"`
}

// serverFlags say which server.
type serverFlags struct {
	Server string `conf:"server" help:"${doc_server}" placeholder:"URL" group:"connection"`
	CAFile string `conf:"ca_file" help:"${doc_ca_file}" placeholder:"FILE" group:"connection"`
}

// purposeFlag is the option of commands that may show sensitive values.
type purposeFlag struct {
	Purpose string `help:"What you need sensitive values for, where your grant to reveal them asks for that. It goes into the log." placeholder:"TEXT"`
}

// connectFor is connect, for calls that say what they need values for.
func (e *env) connectFor(why purposeFlag) (*client.Client, error) {
	cl, err := e.connect()
	if err != nil {
		return nil, err
	}
	return cl.For(why.Purpose), nil
}

// connect makes a client for the server: as the tenant's service whose certificate the
// settings name, else with the API key that they name, else as who is signed in, else with
// the API key in its usual place. It does not talk to the server yet.
func (e *env) connect() (*client.Client, error) {
	key, err := e.credential()
	if err != nil {
		return nil, err
	}
	config, err := e.settings.connection()
	if err != nil {
		return nil, err
	}
	config.Tries, config.Key = 3, key
	if e.settings.ClientCert != "" {
		config.Tenant = e.settings.Tenant
	}
	cl, err := client.New(config)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err).WithCode("config_invalid")
	}
	return cl, nil
}

// connection is how the server of the settings is reached, as nobody yet.
func (s *settings) connection() (client.Config, error) {
	if err := checkServerURL(s.Server); err != nil {
		return client.Config{}, err
	}
	transport, err := s.transport()
	return client.Config{URL: s.Server, HTTPClient: &http.Client{Transport: transport}}, err
}

// credential is what a command shows the server; empty with a client certificate.
func (e *env) credential() (string, error) {
	if err := e.settings.checkClientCert(); err != nil { // half of one is not to be taken for none
		return "", err
	}
	if e.settings.ClientCert != "" {
		return "", nil
	}
	if e.settings.from["api_key_file"] == "default" {
		found, err := readLogin()
		if err != nil {
			return "", err
		}
		if found != nil {
			e.login = found
			return found.Session, e.settings.adopt(found)
		}
	}
	return e.settings.apiKey()
}

func (s *settings) apiKey() (string, error) {
	if err := s.checkPlaces("api_key_file"); err != nil {
		return "", err
	}
	return readAPIKey(s.APIKeyFile)
}

// transport trusts the authority of ca_file besides the system's own, and shows the client
// certificate of the settings, if there is one.
func (s *settings) transport() (*http.Transport, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64 // a worker keeps many calls in flight
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CAFile != "" {
		pool, err := poolOf("ca_file", s.CAFile)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	if err := s.checkClientCert(); err != nil {
		return nil, err
	}
	if s.ClientCert != "" {
		pair, err := tls.LoadX509KeyPair(s.ClientCert, s.ClientKey)
		if err != nil {
			return nil, fault.New(fault.Invalid, "load client_cert: %w", err).WithCode("config_invalid")
		}
		transport.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	return transport, nil
}

func (s *settings) checkClientCert() error {
	if given := s.ClientCert != ""; given != (s.ClientKey != "") || given != (s.Tenant != "") {
		return fault.New(fault.Invalid, "client_cert, client_key and tenant go together").WithCode("config_invalid")
	}
	return nil
}

// readAPIKey reads the key file that setup wrote. One that others can read is
// refused: whoever read it is an administrator.
func readAPIKey(path string) (string, error) {
	data, err := readOwn("API key file", path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fault.New(fault.NotFound, "there is no API key file %s", path).WithCode("api_key_missing").
			WithHint("underseal setup writes one, with the link that init, serve or an administrator gave you; underseal login signs in without one; --key-file or UNDERSEAL_API_KEY_FILE names another")
	case err != nil:
		return "", err
	}
	key := strings.TrimSpace(string(data))
	if !strings.HasPrefix(key, apiKeyPrefix) || strings.ContainsFunc(key, unicode.IsSpace) {
		return "", fault.New(fault.Invalid, "%s holds no API key (it begins with %s)", path, apiKeyPrefix).WithCode("api_key_malformed").
			WithHint("--key-file or UNDERSEAL_API_KEY_FILE names another")
	}
	return key, nil
}

// readOwn reads a file with a credential, which nobody but its owner may be able to read.
func readOwn(what, path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fault.New(fault.Denied, "the %s %s may be read by others (mode %#o)", what, path, info.Mode().Perm()).
			WithCode("api_key_exposed").WithHint("chmod 600 %s, and revoke what is in it if somebody did read it", path)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fault.New(fault.Denied, "read the %s: %w", what, err).WithCode("api_key_unreadable")
	}
	return data, nil
}

// apiKeyPrefix begins every API key and sessionPrefix every session, so that no other
// secret is sent instead of one.
const (
	apiKeyPrefix  = "usk_"
	sessionPrefix = "uss_"
)

// explain says of what the server refused where it comes from, and what to do.
func (e *env) explain(err error) error {
	var refused *client.Error
	if !errors.As(err, &refused) {
		return err
	}
	told := *refused
	switch {
	case refused.Code == api.CodeStepUp && e.login != nil:
		told.Hint = "sign in again: " + e.login.again()
		if e.login.Issuer != "" { // it may know them from a sign-in of hours ago
			told.Hint += " --again"
		}
	case !client.IsUnauthenticated(err):
		return err
	case e.settings.ClientCert != "":
		told.Detail = fmt.Sprintf("the server at %s does not know the certificate in %s as one of tenant %s", e.settings.Server, e.settings.ClientCert, e.settings.Tenant)
		told.Hint = "it must have client_certificates on; there, `underseal issuers` lists whose certificates count, and `underseal users link` says for whom"
	case e.login != nil:
		told.Detail = fmt.Sprintf("you are not signed in any more at %s: the session has ended", e.login.Server)
		told.Hint = "sign in again: " + e.login.again() + "; or --key-file names an API key"
	default:
		told.Detail = fmt.Sprintf("the server at %s does not know the key in %s", e.settings.Server, e.settings.APIKeyFile)
		told.Hint = "it is of another server, revoked, ended, or not for the address that you call from (underseal apikeys shows that); --server and --key-file name others; if nobody has a key, underseal init --new-link lets somebody in, on the server's machine"
	}
	return &told
}
