package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	envprovider "github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// config holds every setting. A flag with the tag `conf:"NAME"` sets the key
// NAME, so does the variable UNDERSEAL_NAME (upper case), so does the line
// "NAME: value" of the configuration file; the first of them wins.
//
// No setting is a secret: secrets are named by a reference, "file:PATH" or
// "env:NAME", which secretText follows.
type config struct {
	Server            string `koanf:"server" default:"http://127.0.0.1:8700" doc:"address of the server"`
	APIKeyFile        string `koanf:"api_key_file" default:"{config}/api.key" doc:"file with the API key; setup writes it, client commands read it"`
	LinkFile          string `koanf:"link_file" doc:"file for a setup link: init and serve write it there instead of printing it, setup reads it there"`
	CAFile            string `koanf:"ca_file" doc:"PEM file of the authority that signed the server's certificate, if it is not a public one"`
	Tenant            string `koanf:"tenant" doc:"tenant of a program that calls with a client certificate instead of an API key"`
	ClientCert        string `koanf:"client_cert" doc:"PEM file with the client certificate to call with, and those of authorities below the tenant's"`
	ClientKey         string `koanf:"client_key" doc:"PEM file with the client certificate's private key"`
	Data              string `koanf:"data" default:"{state}" doc:"data directory"`
	RootKeyFile       string `koanf:"root_key_file" default:"{config}/root.key" doc:"key file that wraps all other keys; never inside the data directory"`
	RootKeyPassphrase string `koanf:"root_key_passphrase" doc:"passphrase of the key file, if it has one: file:PATH or env:NAME; a key file that is made gets it"`
	KeyService        string `koanf:"key_service" default:"keyfile" doc:"key service that wraps the keys of new tenants: keyfile, or a name below key_services"`
	RotateTenantKeys  string `koanf:"rotate_tenant_keys" default:"0" doc:"age at which tenant keys are rotated, such as 90d; 0 is never"`
	RotateRootKeys    string `koanf:"rotate_root_keys" default:"0" doc:"age at which root keys are rotated, such as 365d; 0 is never"`
	RewrapRate        int    `koanf:"rewrap_rate" default:"0" doc:"how many data keys a second the server wraps anew by itself after a rotation, at most; 0: no limit"`
	Database          string `koanf:"database" doc:"Postgres instead of SQLite: file:PATH or env:NAME of a connection string"`
	KeysDatabase      string `koanf:"keys_database" doc:"where the wrapped keys are kept: file:PATH or env:NAME of a connection string"`
	Listen            string `koanf:"listen" default:"127.0.0.1:8700" doc:"address to serve the API at"`
	MetricsListen     string `koanf:"metrics_listen" default:"127.0.0.1:8701" doc:"address to serve /metrics at, or off"`
	TLSCert           string `koanf:"tls_cert" doc:"PEM file with the server's certificate chain"`
	TLSKey            string `koanf:"tls_key" doc:"PEM file with the certificate's private key"`
	TLSMin            string `koanf:"tls_min" default:"1.3" doc:"oldest version of TLS that is spoken: 1.3 or 1.2"`
	TLSDev            bool   `koanf:"tls_dev" default:"false" doc:"for development: certificates of an authority of this machine's own, made in the configuration directory"`
	ACMEHosts         string `koanf:"acme_hosts" doc:"names that an ACME authority signs certificates for, such as seal.example.org; its terms are agreed to by that"`
	ACMEDirectory     string `koanf:"acme_directory" default:"https://acme-v02.api.letsencrypt.org/directory" doc:"address of the ACME authority"`
	ACMECAFile        string `koanf:"acme_ca_file" doc:"PEM file of who signed the ACME authority's own certificate, if it is not a public one"`
	ACMEEmail         string `koanf:"acme_email" doc:"whom the ACME authority tells of trouble"`
	ACMECache         string `koanf:"acme_cache" default:"{config}/acme" doc:"directory for the keys and certificates that came by ACME"`
	Hosts             string `koanf:"hosts" doc:"names by which the server is reached, such as seal.example.org; others are refused. If not said: on loopback those of loopback, else any"`
	PublicURL         string `koanf:"public_url" doc:"address under which browsers reach the server, such as https://seal.example.org; passkeys are for its host, so without it there are none"`
	LimitUser         string `koanf:"limit_user" default:"1000/h" doc:"calls of one person, with all their sessions and API keys; programs are services, which have none; 0: no limit"`
	LimitKey          string `koanf:"limit_key" default:"0" doc:"calls of one API key, such as 100/s; 0: no limit"`
	LimitTenant       string `koanf:"limit_tenant" default:"0" doc:"calls of a tenant, all together; 0: no limit"`
	LimitAddress      string `koanf:"limit_address" default:"1000/h" doc:"calls from one address without a good credential; 0: no limit"`
	LimitSignIn       string `koanf:"limit_sign_in" default:"30/h" doc:"tries to sign in to one account from one address, and four times as many from all; 0: no limit"`
	LimitConnections  int    `koanf:"limit_connections" default:"1000" doc:"connections that one address has open at once, but for loopback; 0: no limit"`
	SessionAge        string `koanf:"session_age" default:"12h" doc:"how long somebody stays signed in: 12h, 1d"`
	SessionIdle       string `koanf:"session_idle" default:"1h" doc:"how long somebody stays signed in without calling: 1h, 15m"`
	BreakGlassLongest string `koanf:"break_glass_longest" default:"4h" doc:"how long a break-glass counts at most: 4h, 30m"`
	BreakGlassSettled string `koanf:"break_glass_settled" default:"1d" doc:"for how long nothing that lets in the two people of a break-glass or of four eyes, or gives them a role, may have changed: 1d, 0"`
	BreachedPasswords string `koanf:"breached_passwords" doc:"file with passwords that nobody may set: sorted, one SHA-1 or SHA-256 in upper case hex to a line"`
	BehindProxy       bool   `koanf:"behind_proxy" default:"false" doc:"a proxy in front of the server does TLS"`
	TrustedProxies    string `koanf:"trusted_proxies" doc:"networks of proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8"`
	ClientCerts       bool   `koanf:"client_certificates" default:"false" doc:"ask clients for a certificate, by which services of a tenant can call (mTLS)"`
	IssuerNetworks    string `koanf:"issuer_networks" doc:"networks in which tenants' issuers (OpenID providers) may be that are not public, such as 10.0.0.0/8"`
	IssuerCAFile      string `koanf:"issuer_ca_file" doc:"PEM file of who signed the issuers' own certificates, if it is not a public one"`
	HotInstances      int    `koanf:"hot_instances" default:"20000" doc:"how many live instances stay open in memory at most"`
	Blobs             string `koanf:"blobs" doc:"where files are kept: files (below the data directory), postgres (in the database) or s3; if not said, beside the data"`
	MaxFile           int64  `koanf:"max_file" default:"1073741824" doc:"largest file that can be uploaded, in bytes"`
	MaxFilesTotal     int64  `koanf:"max_files_total" default:"68719476736" doc:"what a tenant's files may take together, in bytes; 0: no limit"`
	MaxUploads        int    `koanf:"max_uploads" default:"32" doc:"uploads of a tenant under way at once"`
	ErasureDelay      string `koanf:"erasure_delay" default:"7d" doc:"how long an erasure waits and can be canceled, unless it is ordered otherwise: 7d, 12h, 0"`
	CheckRate         int    `koanf:"check_rate" default:"100" doc:"how many rows a second the server compares with the log in the background; 0: none"`
	CheckFilesRate    int64  `koanf:"check_files_rate" default:"52428800" doc:"how many bytes of files a second a check with --files reads; 0: as many as can be"`
	ErasureEpoch      string `koanf:"erasure_epoch" default:"30d" doc:"how long after an erasure old versions of keys are destroyed, so that backups are of no use; not 0"`
	LogLevel          string `koanf:"log_level" default:"info" doc:"what the log says: debug, info, warn or error"`
	LogFormat         string `koanf:"log_format" default:"text" doc:"how the log is written: text or json"`
}

// settings is a config and where each value of it came from.
type settings struct {
	config
	from map[string]string // key to "flag", "environment", "file" or "default"

	keyServices map[string]serviceOptions // by name; only the file can hold them
	s3          serviceOptions            // likewise
	witness     serviceOptions            // likewise, of underseal witness
	log         serviceOptions            // likewise, of who sees the log
	auditSinks  serviceOptions            // likewise, of who gets the audit
	opened      map[string]kms.Service    // of the key services, those that are open already
	file        string                    // the configuration file that was read, or empty

	unknown []string // what is to be said of UNDERSEAL_ variables that set nothing
}

// key describes one setting.
type key struct{ name, value, doc string }

// keys lists all settings with their defaults, in the order of the struct.
func keys() []key {
	t := reflect.TypeFor[config]()
	all := make([]key, t.NumField())
	for i := range all {
		tag := t.Field(i).Tag
		all[i] = key{tag.Get("koanf"), expandDirs(tag.Get("default")), tag.Get("doc")}
	}
	return all
}

// explainSettings puts each setting's meaning and default in the place of ${doc_NAME}
// in the help of flags. Variables of kong's are expanded for every flag there is, which
// with one for each setting took a third of each start of the program.
func explainSettings(parser *kong.Kong) error {
	var texts []string
	for _, k := range keys() {
		texts = append(texts, "${doc_"+k.name+"}", helpText(k))
	}
	explained := strings.NewReplacer(texts...)
	return kong.Visit(parser.Model.Node, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			flag.Help = explained.Replace(flag.Help)
		}
		return next(nil)
	})
}

func helpText(k key) string {
	text := strings.ToUpper(k.doc[:1]) + k.doc[1:]
	if k.value != "" && k.value != "false" {
		text += fmt.Sprintf(" (default: %s)", k.value)
	}
	return text + "."
}

// loadSettings settles flags over environment over file over defaults. The file
// must exist if it was named; the default one need not.
func loadSettings(path string, environ []string, flags map[string]any) (*settings, error) {
	fromEnv := environSettings(environ)
	if path == "" {
		path = lookup(environ, "UNDERSEAL_CONFIG")
	}
	fromFile, path, err := fileSettings(path)
	if err != nil {
		return nil, err
	}
	s := &settings{from: map[string]string{}, file: path, unknown: unknownVariables(environ), opened: map[string]kms.Service{}}
	if s.keyServices, err = takeKeyServices(path, fromFile); err != nil {
		return nil, err
	}
	if s.s3, err = takeSection(path, s3Key, "{endpoint: .., bucket: .., ..}", fromFile); err != nil {
		return nil, err
	}
	if s.witness, err = takeSection(path, witnessKey, "{logs: [{vkey: ..}, ..]}", fromFile); err != nil {
		return nil, err
	}
	if s.auditSinks, err = takeSection(path, auditSinksKey, "one entry per sink: NAME: {webhook: .., ..}", fromFile); err != nil {
		return nil, err
	}
	if s.log, err = takeSection(path, logKey, "{witnesses: [{vkey: .., url: ..}, ..], quorum: .., ..}", fromFile); err != nil {
		return nil, err
	}
	k := koanf.New(".")
	for _, layer := range []struct {
		name   string
		values map[string]any
	}{{"default", defaults()}, {"file", fromFile}, {"environment", fromEnv}, {"flag", flags}} {
		if err := k.Load(confmap.Provider(layer.values, ""), nil); err != nil {
			return nil, fmt.Errorf("merge settings: %w", err)
		}
		for name := range layer.values {
			s.from[name] = layer.name
		}
	}
	if err := k.Unmarshal("", &s.config); err != nil {
		return nil, fault.New(fault.Invalid, "a setting has a value of the wrong type: %v", lastLine(err.Error())).WithCode("config_invalid")
	}
	return s, nil
}

func defaults() map[string]any {
	values := map[string]any{}
	for _, k := range keys() {
		values[k.name] = k.value
	}
	return values
}

// flagSettings collects the settings that were given as flags.
func flagSettings(parsed *kong.Context) map[string]any {
	values := map[string]any{}
	for _, step := range parsed.Path {
		if step.Flag == nil {
			continue
		}
		if name := step.Flag.Tag.Get("conf"); name != "" {
			values[name] = parsed.FlagValue(step.Flag)
		}
	}
	return values
}

// environSettings reads the UNDERSEAL_ variables that name a setting. Others are
// left alone: orchestrators set variables of their own for a service of our name.
func environSettings(environ []string) map[string]any {
	known := map[string]bool{}
	for _, k := range keys() {
		known[k.name] = true
	}
	provider := envprovider.Provider(".", envprovider.Opt{
		Prefix: "UNDERSEAL_",
		TransformFunc: func(name, value string) (string, any) {
			name = strings.ToLower(strings.TrimPrefix(name, "UNDERSEAL_"))
			if !known[name] || value == "" {
				return "", nil
			}
			return name, value
		},
		EnvironFunc: func() []string { return environ },
	})
	values, err := provider.Read()
	if err != nil {
		panic("underseal: reading the environment cannot fail: " + err.Error())
	}
	return values
}

// unknownVariables says which UNDERSEAL_ variables name no setting.
func unknownVariables(environ []string) []string {
	known := map[string]bool{"config": true}
	for _, k := range keys() {
		known[k.name] = true
	}
	var warnings []string
	for _, line := range environ {
		variable, _, _ := strings.Cut(line, "=")
		name, ours := strings.CutPrefix(variable, "UNDERSEAL_")
		if name = strings.ToLower(name); ours && !known[name] {
			warnings = append(warnings, variable+" names no setting"+nearest(name))
		}
	}
	return warnings
}

// fileSettings reads the configuration file and refuses keys that mean nothing:
// a misspelled one would silently leave the default in force.
func fileSettings(path string) (values map[string]any, used string, err error) {
	named := path != ""
	if !named {
		path = defaultConfigFile()
	}
	if path == "" {
		return nil, "", nil
	}
	k := koanf.New(".")
	err = k.Load(file.Provider(path), yaml.Parser())
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "cannot read the configuration file %s: %v", path, err).WithCode("config_invalid")
	}
	values, names := k.Raw(), k.Keys()
	return values, path, unknownKeys(path, slices.DeleteFunc(names, nested))
}

// nested reports whether a key of the file is one with settings below it, or one
// of those. They are checked by whoever takes them.
func nested(name string) bool {
	top, _, _ := strings.Cut(name, ".")
	return slices.Contains([]string{keyServicesKey, s3Key, witnessKey, logKey, auditSinksKey}, top)
}

func unknownKeys(path string, names []string) error {
	known := map[string]bool{}
	for _, k := range keys() {
		known[k.name] = true
	}
	sort.Strings(names)
	var unknown []fault.Detail
	for _, name := range names {
		if !known[name] {
			unknown = append(unknown, fault.Detail{Place: name, Message: "no such setting" + nearest(name)})
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, "the configuration file %s has %s", path, counted(len(unknown), "unknown key")).
		WithCode("config_unknown_key").WithDetails(unknown...).
		WithHint("underseal serve --help names all settings")
}

// nearest suggests the setting that shares the longest beginning with name.
func nearest(name string) string {
	best, length := "", 2
	for _, k := range keys() {
		n := 0
		for n < len(name) && n < len(k.name) && name[n] == k.name[n] {
			n++
		}
		if n > length {
			best, length = k.name, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// secretText follows a reference to a secret. The name says where it was asked
// for; neither the secret nor a malformed reference, which may be one, is quoted.
func secretText(name, reference string) (string, error) {
	kind, target, _ := strings.Cut(reference, ":")
	switch kind {
	case "env":
		text, ok := os.LookupEnv(target)
		if !ok || text == "" {
			return "", fault.New(fault.Invalid, "%s: the environment variable %s is not set", name, target).WithCode("config_invalid")
		}
		return text, nil
	case "file":
		data, err := os.ReadFile(target)
		if err != nil {
			return "", fault.New(fault.Invalid, "%s: %v", name, err).WithCode("config_invalid")
		}
		return strings.TrimRight(string(data), "\r\n"), nil
	}
	return "", fault.New(fault.Invalid, "%s is not a reference to a secret", name).WithCode("config_invalid").
		WithHint("write file:PATH or env:NAME; the secret itself never stands in a flag, a variable of ours or the configuration file")
}

// references are the values of all settings that may name a secret.
func (s *settings) references() []string {
	all := []string{s.RootKeyPassphrase, s.Database, s.KeysDatabase}
	services := append(slices.Collect(maps.Values(s.keyServices)), s.s3)
	for _, sink := range s.auditSinks {
		if options, ok := sink.(map[string]any); ok {
			services = append(services, options)
		}
	}
	for _, options := range services {
		for _, value := range options {
			if text, ok := value.(string); ok {
				all = append(all, text)
			}
		}
	}
	return all
}

func lookup(environ []string, name string) string {
	for _, line := range environ {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return value
		}
	}
	return ""
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
