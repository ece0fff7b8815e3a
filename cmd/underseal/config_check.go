package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/network"
	"github.com/underseal/underseal/internal/passkey"
	"github.com/underseal/underseal/internal/password"
	"github.com/underseal/underseal/internal/server"
)

// text is the i-th setting's value as it would stand in the configuration file.
func (s *settings) text(i int) string {
	field := reflect.ValueOf(s.config).Field(i)
	if field.IsZero() && field.Kind() == reflect.String {
		return "-"
	}
	return fmt.Sprint(field.Interface())
}

// checkServerURL refuses an address that would send the API key in clear over a
// network.
func checkServerURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fault.New(fault.Invalid, "%q is not an http or https address", text).WithCode("config_invalid")
	}
	if u.User != nil {
		return fault.New(fault.Invalid, "the server's address must not hold a name or password").WithCode("config_invalid")
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return fault.New(fault.Invalid, "%s would send the API key in clear over the network", text).
			WithCode("config_invalid").WithHint("use https")
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func checkReference(name, reference string) error {
	if reference == "" {
		return nil
	}
	_, err := secretText(name, reference)
	return err
}

// checkPassphrase requires a passphrase when the key file is there and has one.
func (s *settings) checkPassphrase() error {
	if s.RootKeyPassphrase != "" {
		return nil
	}
	if _, err := kms.OpenKeyFile(s.RootKeyFile); fault.CodeOf(err) == "passphrase_needed" {
		return err
	}
	return nil
}

// checkKeyPlace keeps the root key out of the data directory: a backup of one
// must not carry the other.
func checkKeyPlace(data, keyFile string) error {
	rel, err := filepath.Rel(absolute(data), absolute(keyFile))
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return nil
	}
	return fault.New(fault.Invalid, "the root key file %s lies inside the data directory %s", keyFile, data).
		WithCode("config_invalid").WithHint("keep it elsewhere, so that no backup holds both")
}

// absolute follows links as far as the path exists.
func absolute(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(absolute(parent), filepath.Base(path))
}

func (s *settings) checkMetricsListen() error {
	if s.MetricsListen == "off" {
		return nil
	}
	return server.CheckListen(s.MetricsListen, false, s.BehindProxy)
}

// proxies are the networks of trusted_proxies.
func (s *settings) proxies() (network.List, error) {
	l, err := network.Parse(listed(s.TrustedProxies))
	if err != nil {
		return l, fault.New(fault.Invalid, "%s", err.Error()).WithCode("config_invalid")
	}
	return l, nil
}

// listed are the parts of a setting that holds several, with commas between them.
func listed(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// passkeys are for the host of public_url; without it there are none.
func (s *settings) passkeys() (passkey.RelyingParty, error) {
	if s.PublicURL == "" {
		return passkey.RelyingParty{}, nil
	}
	return passkey.ParseAddress(s.PublicURL)
}

func (s *settings) checkPublicURL() error {
	_, err := s.passkeys()
	return err
}

func (s *settings) checkProxies() error {
	_, err := s.proxies()
	return err
}

func checkNotNegative[T int | int64](n T) error {
	if n < 0 {
		return fmt.Errorf("%d is negative", n)
	}
	return nil
}

func checkUploads(n int) error {
	if n < 1 {
		return fmt.Errorf("%d uploads at once are none", n)
	}
	return nil
}

func checkSpan(text string) error {
	_, err := parseSpan(text)
	return err
}

// checkEpoch refuses an epoch of no length, which nothing could end.
func checkEpoch(text string) error {
	span, err := parseSpan(text)
	if err == nil && span == 0 {
		err = fmt.Errorf("%s is no time: say after how long no backup is to open what was erased, such as 30d or 1h", text)
	}
	return err
}

// checkLasting refuses a session that is over when it begins.
func checkLasting(text string) error {
	span, err := parseSpan(text)
	if err == nil && span < time.Second {
		err = fmt.Errorf("%s is too short: say a span such as 12h or 15m", text)
	}
	return err
}

// checkBreached reads the list's first line.
func (s *settings) checkBreached() error {
	if s.BreachedPasswords == "" {
		return nil
	}
	_, err := password.OpenFile(s.BreachedPasswords)
	return err
}

func checkLogLevel(text string) error {
	var level slog.Level
	if level.UnmarshalText([]byte(text)) != nil {
		return fmt.Errorf("%q is none of debug, info, warn, error", text)
	}
	return nil
}

func checkOneOf(text string, allowed ...string) error {
	if slices.Contains(allowed, text) {
		return nil
	}
	return fmt.Errorf("%q is none of %s", text, strings.Join(allowed, ", "))
}
