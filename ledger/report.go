package ledger

import (
	"fmt"

	"github.com/underseal/underseal/internal/canon"
)

// What a bundle that holds together shows.
const (
	// Proven: by keys, witnesses and an authority that the verifier got from elsewhere.
	Proven = "proven"
	// Consistent: with the keys that it carries itself, and anybody can make such.
	Consistent = "consistent with the keys it carries (not pinned)"
)

// The outcomes of one check.
const (
	CheckOK     = "ok"
	CheckAbsent = "absent" // the bundle or the policy has nothing of it
	CheckFailed = "failed" // the last one there is; the error says why
)

// Check is one thing that was looked at, and what it shows, in words.
type Check struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Shows  string `json:"shows"`
}

// Report says what was checked of a bundle, in order, up to the first thing that was
// wrong.
type Report struct {
	Result string  `json:"result"` // Proven, Consistent, or empty: it does not hold
	Checks []Check `json:"checks"`
	// Before is when the entry was in the log at the latest, by the time stamping
	// authority that the policy names (RFC 3339, UTC); empty: not shown.
	Before string `json:"before,omitempty"`
}

func (r *Report) add(check, status, format string, args ...any) {
	r.Checks = append(r.Checks, Check{check, status, fmt.Sprintf(format, args...)})
}

// shown is a disclosed value as a person reads it.
func shown(v canon.Value) string { return string(canon.EncodeJSON(v)) }

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
