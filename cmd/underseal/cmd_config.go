package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/underseal/underseal/internal/certificate"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/server"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Read the configuration, say what each setting is and where it comes from."`
}

type configCheckCmd struct{}

func (configCheckCmd) Help() string {
	return standsAlone + " Follows references to secrets and says whether they lead somewhere; never shows a secret. Settings that cannot work are an error after the list."
}

type settingLine struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	From    string `json:"from"` // flag, environment, file or default
	Meaning string `json:"meaning"`
}

func (configCheckCmd) Run(_ context.Context, e *env) error {
	e.warnUnknown()
	refused := e.settings.check()
	if fault.CodeOf(refused) == "no_home" { // no other setting was looked at, and any may hold a secret
		return refused
	}
	if refused == nil {
		refused = e.settings.checkPassphrase()
	}
	lines := unquoted(e.settings.lines(), refused)
	err := e.result(lines, func(w io.Writer) {
		writeSettings(w, lines, cmp.Or(widthOf(e.stdout), widthWithoutTerminal))
		if e.settings.file == "" {
			fmt.Fprintf(w, "no configuration file (%s)\n", defaultConfigFile())
		}
	})
	return cmp.Or(err, refused)
}

// unquoted takes values out of the list that cannot work: where a secret is to be named, it
// may stand itself. The findings quote what can be quoted.
func unquoted(lines []settingLine, refused error) []settingLine {
	var f *fault.Error
	if !errors.As(refused, &f) {
		return lines
	}
	for i := range lines {
		if slices.ContainsFunc(f.Details, func(d fault.Detail) bool { return isAbout(d.Place, lines[i].Name) }) {
			lines[i].Value = "(cannot work, see below)"
		}
	}
	return lines
}

// isAbout reports whether a finding of a place is about a setting: the one there, or one
// below it.
func isAbout(place, setting string) bool {
	return setting == place || strings.HasPrefix(setting, place+".") || place == "blobs" && strings.HasPrefix(setting, s3Key+".")
}

// widthWithoutTerminal is how wide what is written to a file or another program is.
const widthWithoutTerminal = 100

// writeSettings writes each setting on a line and what it means below that, no wider
// than width unless that is less than a few words.
func writeSettings(w io.Writer, lines []settingLine, width int) {
	name, from := len("SETTING"), len("FROM")
	for _, l := range lines {
		name, from = max(name, utf8.RuneCountInString(l.Name)), max(from, len(l.From))
	}
	row := func(first, second string, value []string) {
		for _, part := range value {
			fmt.Fprintf(w, "%-*s  %-*s  %s\n", name, first, from, second, part)
			first, second = "", ""
		}
	}
	row("SETTING", "FROM", []string{"VALUE"})
	for _, l := range lines {
		row(printable(l.Name), l.From, folded(printable(l.Value), width-name-from-4))
		for _, part := range folded(l.Meaning, width-4) {
			fmt.Fprintf(w, "    %s\n", part)
		}
	}
}

// warnUnknown tells of UNDERSEAL_ variables that set nothing. They are no error,
// for orchestrators set variables of their own for a service of our name.
func (e *env) warnUnknown() {
	for _, w := range e.settings.unknown {
		fmt.Fprintf(e.stderr, "warning: %s\n", printable(w))
	}
}

// lines lists every setting with its value. References are shown, not followed.
func (s *settings) lines() []settingLine {
	all := keys()
	lines := make([]settingLine, len(all))
	for i, k := range all {
		lines[i] = settingLine{Name: k.name, Value: s.text(i), From: s.from[k.name], Meaning: k.doc}
	}
	return slices.Concat(lines, s.keyServiceLines(),
		sectionLines(s3Key, "of the S3 service that keeps files", s.s3), sectionLines(logKey, "of who sees the log", s.log), s.auditSinkLines(),
		sectionLines(witnessKey, "of underseal witness", s.witness))
}

// check finds the settings that cannot work, all at once. Serve refuses to start
// with the same findings.
func (s *settings) check() error {
	if err := s.checkPlaces("data", "root_key_file"); err != nil {
		return err
	}
	var details []fault.Detail
	hint := ""
	for _, finding := range []struct {
		name string
		err  error
	}{
		{"server", checkServerURL(s.Server)},
		{"database", checkReference("database", s.Database)},
		{"keys_database", checkReference("keys_database", s.KeysDatabase)},
		{"root_key_file", checkKeyPlace(s.Data, s.RootKeyFile)},
		{"root_key_passphrase", checkReference("root_key_passphrase", s.RootKeyPassphrase)},
		{keyServicesKey, s.checkKeyServices()},
		{"rotate_tenant_keys", checkSpan(s.RotateTenantKeys)},
		{"rotate_root_keys", checkSpan(s.RotateRootKeys)},
		{"rewrap_rate", checkNotNegative(s.RewrapRate)},
		{"listen", server.CheckListen(s.Listen, s.withTLS(), s.BehindProxy)},
		{"metrics_listen", s.checkMetricsListen()},
		{"tls_cert", s.checkTLS()},
		{"tls_min", checkOneOf(s.TLSMin, certificate.Versions...)},
		{"acme_hosts", s.checkACME()},
		{"hosts", checkHosts(s.Hosts)},
		{"public_url", s.checkPublicURL()},
		{"limit_user", checkRate(s.LimitUser)},
		{"limit_key", checkRate(s.LimitKey)},
		{"limit_tenant", checkRate(s.LimitTenant)},
		{"limit_address", checkRate(s.LimitAddress)},
		{"limit_sign_in", checkRate(s.LimitSignIn)},
		{"session_age", checkLasting(s.SessionAge)},
		{"session_idle", checkLasting(s.SessionIdle)},
		{"break_glass_longest", checkLasting(s.BreakGlassLongest)},
		{"break_glass_settled", checkSpan(s.BreakGlassSettled)},
		{"breached_passwords", s.checkBreached()},
		{"limit_connections", checkNotNegative(s.LimitConnections)},
		{"trusted_proxies", s.checkProxies()},
		{"client_certificates", s.checkClientCerts()},
		{"issuer_networks", s.checkIssuers()},
		{"hot_instances", checkNotNegative(s.HotInstances)},
		{"check_rate", checkNotNegative(s.CheckRate)},
		{"check_files_rate", checkNotNegative(s.CheckFilesRate)},
		{"blobs", s.checkBlobs()},
		{logKey, s.checkAnchor()},
		{auditSinksKey, s.checkAuditSinks()},
		{witnessKey, s.checkWitness()},
		{"max_file", checkNotNegative(s.MaxFile)},
		{"max_files_total", checkNotNegative(s.MaxFilesTotal)},
		{"max_uploads", checkUploads(s.MaxUploads)},
		{"erasure_delay", checkSpan(s.ErasureDelay)},
		{"erasure_epoch", checkEpoch(s.ErasureEpoch)},
		{"log_level", checkLogLevel(s.LogLevel)},
		{"log_format", checkOneOf(s.LogFormat, "text", "json")},
	} {
		if finding.err != nil {
			details = append(details, fault.Detail{Place: finding.name, Message: finding.err.Error()})
			hint = cmp.Or(hint, describe(context.Background(), finding.err).Hint)
		}
	}
	if len(details) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, "%s cannot work", counted(len(details), "setting")).WithCode("config_invalid").WithDetails(details...).WithHint("%s", hint)
}
