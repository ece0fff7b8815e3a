package main

import (
	"fmt"
	"io"

	"github.com/underseal/underseal/internal/fault"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Read the configuration, say what each setting is and where it comes from."`
}

type configCheckCmd struct{}

func (configCheckCmd) Help() string {
	return standsAlone + " Follows references to secrets and says whether they lead somewhere; never shows a secret."
}

type settingLine struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	From    string `json:"from"` // flag, environment, file or default
	Meaning string `json:"meaning"`
}

func (configCheckCmd) Run(e *env) error {
	lines := e.settings.lines()
	if err := e.settings.check(); err != nil {
		return err
	}
	return e.result(lines, func(w io.Writer) {
		rows := make([][]string, len(lines))
		for i, l := range lines {
			rows[i] = []string{l.Name, l.Value, l.From, l.Meaning}
		}
		table(w, []string{"SETTING", "VALUE", "FROM", "MEANING"}, rows)
		if e.settings.file == "" {
			fmt.Fprintf(w, "no configuration file (%s)\n", defaultConfigFile())
		}
	})
}

// lines lists every setting with its value. References are shown, not followed.
func (s *settings) lines() []settingLine {
	all := keys()
	lines := make([]settingLine, len(all))
	for i, k := range all {
		lines[i] = settingLine{Name: k.name, Value: s.text(i), From: s.from[k.name], Meaning: k.doc}
	}
	return lines
}

// check finds the settings that cannot work, all at once.
func (s *settings) check() error {
	var details []fault.Detail
	for _, finding := range []struct {
		name string
		err  error
	}{
		{"server", checkServerURL(s.Server)},
		{"database", checkReference("database", s.Database)},
		{"keys_database", checkReference("keys_database", s.KeysDatabase)},
		{"root_key_file", checkKeyPlace(s.Data, s.RootKeyFile)},
		{"tls_cert", checkTLSPair(s.TLSCert, s.TLSKey)},
		{"log_level", checkLogLevel(s.LogLevel)},
		{"log_format", checkOneOf(s.LogFormat, "text", "json")},
	} {
		if finding.err != nil {
			details = append(details, fault.Detail{Place: finding.name, Message: finding.err.Error()})
		}
	}
	if len(details) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, "%d settings cannot work", len(details)).WithCode("config_invalid").WithDetails(details...)
}
