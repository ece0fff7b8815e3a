package access_test

import (
	"testing"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
)

func TestWhatAPurposeAndAReasonSay(t *testing.T) {
	for _, test := range []struct {
		name, text      string
		purpose, reason string // codes of the refusals
	}{
		{"nothing", "", "", ""},
		{"a ticket", "7", "", ""},
		{"words", "audit of 2026", "", ""},
		{"one sign of many strokes", "税", "", ""},
		{"words with a joiner", "می\u200cخواهم", "", ""},
		{"two lines", "audit\nof 2026", "invalid_purpose", ""},
		{"two lines, by a separator", "audit\u2028of 2026", "invalid_purpose", ""},
		{"words that are turned around", "audit \u202e6202", "invalid_purpose", ""},
		{"a blank", " ", "invalid_purpose", "invalid_reason"},
		{"a blank that does not break", "\u00a0", "invalid_purpose", "invalid_reason"},
		{"blanks of no width", "\u200b\u200c\ufeff", "invalid_purpose", "invalid_reason"},
		{"joiners alone", "\u200d\u200c", "invalid_purpose", "invalid_reason"},
		{"a mark on nothing", "\u0301", "invalid_purpose", "invalid_reason"},
		{"a letter that fills", "\u3164", "invalid_purpose", "invalid_reason"},
		{"half a letter that fills", "\uffa0\u115f", "invalid_purpose", "invalid_reason"},
		{"a tag", "\U000e0041", "invalid_purpose", "invalid_reason"},
		{"a variation", "\ufe0f", "invalid_purpose", "invalid_reason"},
		{"an empty pattern of dots", "\u2800", "invalid_purpose", "invalid_reason"},
		{"a control", "\x07", "invalid_purpose", "invalid_reason"},
		{"a dash", "-", "invalid_purpose", "invalid_reason"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := fault.CodeOf(access.CheckPurpose(test.text)); got != test.purpose {
				t.Errorf("as a purpose: %q, want %q", got, test.purpose)
			}
			if got := fault.CodeOf(access.CheckReason(test.text)); got != test.reason {
				t.Errorf("as a reason: %q, want %q", got, test.reason)
			}
			grant := access.Grant{ID: "g", Right: access.ToReveal, Process: "loan", Fields: []string{"name"}, Purpose: test.text}
			if err := grant.Validate(); (err != nil) != (test.purpose != "") {
				t.Errorf("as a standing purpose: %v", err)
			}
		})
	}
}
