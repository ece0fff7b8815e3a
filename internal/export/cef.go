package export

import (
	"strconv"
	"strings"

	"github.com/underseal/underseal/api"
)

// CEF is a header of seven fields that end with a vertical bar, and an extension of
// pairs key=value with spaces between them. In the header bar and backslash are
// escaped, in a value equals sign and backslash; a line break is \n or \r in a value
// and cannot be in the header.
var (
	cefHeader = strings.NewReplacer(`\`, `\\`, `|`, `\|`, "\n", " ", "\r", " ")
	cefValue  = strings.NewReplacer(`\`, `\\`, `=`, `\=`, "\n", `\n`, "\r", `\r`)
)

// cefSeverity gives the severities of OCSF those of CEF, which go up to 10.
var cefSeverity = map[int]int{1: 1, 3: 6, 4: 9}

func appendCEF(dst []byte, o Origin, e api.AuditEntry) []byte {
	_, _, name := classify(e)
	dst = append(dst, "CEF:0|"+vendor+"|"+product+"|"...)
	for _, field := range []string{o.Version, e.Kind, name + " (" + e.Kind + ")"} {
		dst = append(append(dst, cefHeader.Replace(visible(field))...), '|')
	}
	dst = strconv.AppendInt(dst, int64(cefSeverity[severity(e)]), 10)
	dst = append(dst, '|')
	first := true
	pair := func(key, value string) {
		if value == "" {
			return
		}
		if !first {
			dst = append(dst, ' ')
		}
		first = false
		dst = append(append(append(dst, key...), '='), cefValue.Replace(visible(value))...)
	}
	pair("rt", strconv.FormatInt(e.At.UnixMilli(), 10)) // milliseconds since 1970
	pair("externalId", e.Entry)
	pair("act", e.Kind)
	pair("outcome", outcomes[e.Result])
	pair("suser", whoOf(e))
	pair("duser", e.Name)
	pair("src", e.Address)
	if e.Count > 0 {
		pair("cnt", strconv.Itoa(e.Count))
	}
	pair("reason", e.Reason)
	for i, label := range []struct{ name, value string }{
		{"tenant", o.Tenant}, {"object", e.Object}, {"process", e.Process}, {"key", e.Key}, {"leaf", e.Leaf}, {"purpose", e.Purpose},
	} {
		if label.value != "" { // a custom field comes with what it means
			key := "cs" + strconv.Itoa(i+1)
			pair(key+"Label", label.name)
			pair(key, label.value)
		}
	}
	pair("msg", strings.TrimSpace(shownText(e)+string(e.Details)))
	return dst
}

var outcomes = map[string]string{api.ResultDone: "success", api.ResultDenied: "failure", api.ResultFailed: "failure"}

// shownText names what was shown: OBJECT[path, path] OBJECT[..].
func shownText(e api.AuditEntry) string {
	var text strings.Builder
	for _, s := range e.Shown {
		text.WriteString(s.Object + "[" + strings.Join(s.Paths, ", ") + "] ")
	}
	return text.String()
}

// visible takes out control characters that would end a line for some reader of it.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r':
			return r // which are escaped
		case r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029:
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
}
