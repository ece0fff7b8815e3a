package main

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// untold are the settings of which the log is not told, each with the reason: they are not
// the server's, or nobody can do more or less by them. All others are told when a server
// starts with other values than the last one had.
var untold = map[string]string{
	"server":        "of the client commands",
	"api_key_file":  "of the client commands",
	"ca_file":       "of the client commands",
	"rewrap_rate":   "how fast, not whether",
	"hot_instances": "memory alone",
	"acme_email":    "whom the authority writes to",
	"log_level":     "no value is written on any level",
	"log_format":    "form alone",
	witnessKey:      "of underseal witness, which has no log of ours",
}

// told are the settings that the log is told of, by name. Secrets are not among them, only
// where they are. Of a sink's options only their hash is told, since its address may hold one.
func (s *settings) told() map[string]string {
	all := map[string]string{}
	for _, line := range s.lines() {
		section, _, _ := strings.Cut(line.Name, ".")
		if _, ok := untold[section]; !ok {
			all[line.Name] = line.Value
		}
	}
	for name, options := range s.auditSinks {
		all[auditSinksKey+"."+name] += fmt.Sprintf(", sha256 %x", sha256.Sum256(fmt.Append(nil, options)))
	}
	return all
}
