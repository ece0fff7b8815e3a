package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/plugin"
	"github.com/underseal/underseal/internal/kms/vault"
	"github.com/underseal/underseal/internal/node"
)

// keyServicesKey is a setting with settings below it, and so only in the
// configuration file:
//
//	key_services:
//	  second:
//	    provider: keyfile
//	    file: /etc/underseal/second.key
const keyServicesKey = "key_services"

// serviceOptions are the settings of one key service, or of another one outside.
type serviceOptions map[string]any

// keyProviders open key services, by the name of the provider. place is the
// setting's name, for errors.
var keyProviders = map[string]func(place string, options serviceOptions) (kms.Service, error){
	"keyfile": openKeyFileService,
	"plugin":  openPlugin,
	"vault":   openVault,
	"aws":     openAWS,
	"gcp":     openGCP,
	"azure":   openAzure,
}

func openKeyFileService(place string, options serviceOptions) (kms.Service, error) {
	var c struct {
		Provider   string `koanf:"provider"`
		File       string `koanf:"file"`
		Passphrase string `koanf:"passphrase"` // a reference
	}
	if err := options.decode(place, &c); err != nil {
		return nil, err
	}
	if c.File == "" {
		return nil, fault.New(fault.Invalid, "%s.file: name the key file", place).WithCode("config_invalid")
	}
	passphrase, err := optionalSecret(place+".passphrase", c.Passphrase)
	if err != nil {
		return nil, err
	}
	return openKeyFile(c.File, passphrase)
}

func openPlugin(place string, options serviceOptions) (kms.Service, error) {
	var c struct {
		Provider      string `koanf:"provider"`
		plugin.Config `koanf:",squash"`
	}
	if err := options.decode(place, &c); err != nil {
		return nil, err
	}
	service, err := plugin.Open(context.Background(), c.Config)
	return service, openError(place, err)
}

// serviceAccount is where Kubernetes puts a pod's own token.
const serviceAccount = "file:/var/run/secrets/kubernetes.io/serviceaccount/token"

func openVault(place string, options serviceOptions) (kms.Service, error) {
	var c struct {
		Provider     string `koanf:"provider"`
		Secret       string `koanf:"secret"`
		vault.Config `koanf:",squash"`
	}
	if err := options.decode(place, &c); err != nil {
		return nil, err
	}
	reference := c.Secret
	if reference == "" && c.Auth == "kubernetes" {
		reference = serviceAccount
	}
	if reference == "" {
		return nil, fault.New(fault.Invalid, "%s.secret: name the token, or what signs in", place).WithCode("config_invalid").
			WithHint("write file:PATH or env:NAME")
	}
	var err error
	if c.Config.Secret, err = secretSource(place+".secret", reference); err != nil {
		return nil, err
	}
	service, err := vault.Open(context.Background(), c.Config)
	return service, openError(place, err)
}

// openError says which key service has the wrong setting.
func openError(place string, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Invalid, "%s: %w", place, err).WithCode("config_invalid").WithHint("%s", describe(context.Background(), err).Hint)
}

// secretSource follows a reference to a secret each time it is asked, since the
// secret may be exchanged. It is nil for an empty reference.
func secretSource(name, reference string) (func(context.Context) (string, error), error) {
	if reference == "" {
		return nil, nil
	}
	if kind, target, _ := strings.Cut(reference, ":"); kind != "file" && kind != "env" || target == "" {
		return nil, fault.New(fault.Invalid, "%s is not a reference to a secret", name).WithCode("config_invalid").
			WithHint("write file:PATH or env:NAME")
	}
	return func(context.Context) (string, error) { return secretText(name, reference) }, nil
}

// decode puts the options into the fields of a struct with koanf tags, and
// refuses those that it has no field for.
func (o serviceOptions) decode(place string, into any) error {
	var seen mapstructure.Metadata
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: into, TagName: "koanf", Metadata: &seen, WeaklyTypedInput: true,
		DecodeHook: mapstructure.StringToTimeDurationHookFunc(),
	})
	if err != nil {
		return err
	}
	if err := decoder.Decode(map[string]any(o)); err != nil {
		return fault.New(fault.Invalid, "%s has a value of the wrong type: %v", place, lastLine(err.Error())).WithCode("config_invalid")
	}
	if len(seen.Unused) == 0 {
		return nil
	}
	slices.Sort(seen.Unused)
	if provider, ok := o["provider"]; ok {
		place = fmt.Sprintf("%s: provider %v", place, provider)
	}
	return fault.New(fault.Invalid, "%s has no %s", place, strings.Join(seen.Unused, ", ")).
		WithCode("config_unknown_key")
}

// takeKeyServices takes the key services out of the file's values.
func takeKeyServices(path string, values map[string]any) (map[string]serviceOptions, error) {
	raw, ok := values[keyServicesKey]
	delete(values, keyServicesKey)
	if !ok || raw == nil {
		return nil, nil
	}
	byName, ok := raw.(map[string]any)
	if !ok {
		return nil, fault.New(fault.Invalid, "%s in %s must hold one entry per key service: NAME: {provider: .., ..}", keyServicesKey, path).WithCode("config_invalid")
	}
	services := map[string]serviceOptions{}
	for name, options := range byName {
		if services[name], ok = options.(map[string]any); !ok {
			return nil, fault.New(fault.Invalid, "%s.%s in %s must hold {provider: .., ..}", keyServicesKey, name, path).WithCode("config_invalid")
		}
	}
	return services, nil
}

// openKeyServices opens all key services of the configuration. They need not
// answer yet.
func (s *settings) openKeyServices() (map[string]kms.Service, error) {
	for _, name := range slices.Sorted(maps.Keys(s.keyServices)) {
		if s.opened[name] != nil {
			continue
		}
		service, err := s.openKeyService(name)
		if err != nil {
			return nil, err
		}
		s.opened[name] = service
	}
	return s.opened, nil
}

func (s *settings) openKeyService(name string) (kms.Service, error) {
	place, options := keyServicesKey+"."+name, s.keyServices[name]
	if name == node.KeyFileService {
		return nil, fault.New(fault.Invalid, "%s: this name is taken by the key file of root_key_file", place).WithCode("config_invalid")
	}
	provider, _ := options["provider"].(string)
	open, ok := keyProviders[provider]
	if !ok {
		return nil, fault.New(fault.Invalid, "%s.provider: %q is none of %s", place, provider,
			strings.Join(slices.Sorted(maps.Keys(keyProviders)), ", ")).WithCode("config_invalid")
	}
	return open(place, options)
}

// rotation is the schedule of rotate_tenant_keys, rotate_root_keys and rewrap_rate.
func (s *settings) rotation() (schedule keyring.Schedule, err error) {
	schedule.Rate = s.RewrapRate
	if schedule.TenantKeys, err = parseSpan(s.RotateTenantKeys); err != nil {
		return schedule, fault.New(fault.Invalid, "rotate_tenant_keys: %w", err).WithCode("config_invalid")
	}
	if schedule.RootKeys, err = parseSpan(s.RotateRootKeys); err != nil {
		return schedule, fault.New(fault.Invalid, "rotate_root_keys: %w", err).WithCode("config_invalid")
	}
	return schedule, nil
}

// checkKeyServices opens each key service and sees that the default one exists.
func (s *settings) checkKeyServices() error {
	if _, ok := s.keyServices[s.KeyService]; !ok && s.KeyService != node.KeyFileService {
		return fault.New(fault.Invalid, "key_service: there is no %s.%s", keyServicesKey, s.KeyService).WithCode("config_invalid")
	}
	for name, options := range s.keyServices {
		if file, ok := options["file"].(string); ok && options["provider"] == "keyfile" {
			if err := checkKeyPlace(s.Data, file); err != nil {
				return fault.New(fault.Invalid, "%s.%s: %w", keyServicesKey, name, err).WithCode("config_invalid")
			}
		}
	}
	_, err := s.openKeyServices()
	return err
}

// keyServiceLines are the key services as config check shows them. What may be a
// secret is a reference, which is shown and not followed.
func (s *settings) keyServiceLines() []settingLine {
	var lines []settingLine
	for _, name := range slices.Sorted(maps.Keys(s.keyServices)) {
		var values []string
		for _, option := range slices.Sorted(maps.Keys(s.keyServices[name])) {
			values = append(values, fmt.Sprintf("%s=%v", option, s.keyServices[name][option]))
		}
		lines = append(lines, settingLine{
			Name: keyServicesKey + "." + name, Value: strings.Join(values, " "), From: "file", Meaning: "a key service",
		})
	}
	return lines
}
