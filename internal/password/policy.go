package password

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/underseal/underseal/internal/fault"
)

// Bounds of a password, in characters and bytes. It is all that is asked for, so it is to
// be long (NIST SP 800-63B-4, 3.1.1.2); which characters it has is nobody's business.
const (
	MinLength = 15
	MaxBytes  = 1024
)

// Breached knows passwords that were found in breaches. It is asked when one is set.
type Breached interface {
	// Contains reports whether a password is among them. What it is asked for leaves
	// this machine only if an implementation says so.
	Contains(password string) (bool, error)
}

// Check refuses what is no good as a password (Invalid). Known is text whose words whoever
// guesses tries first, such as the person's name. Breached may be nil.
func Check(password string, known []string, breached Breached) error {
	switch {
	case !utf8.ValidString(password):
		return fault.New(fault.Invalid, "the password is not UTF-8").WithCode("password_malformed")
	case len(password) > MaxBytes:
		return fault.New(fault.Invalid, "the password has more than %d bytes", MaxBytes).WithCode("password_too_long")
	case utf8.RuneCountInString(password) < MinLength:
		return fault.New(fault.Invalid, "the password has fewer than %d characters", MinLength).WithCode("password_too_short").
			WithHint("a few words that nobody would put together are easier to keep than signs")
	}
	if guessable(password, known) {
		return fault.New(fault.Invalid, "the password is little more than a name, or a character again and again").WithCode("password_guessable")
	}
	if breached == nil {
		return nil
	}
	found, err := breached.Contains(password)
	if err != nil {
		return err
	}
	if found {
		return fault.New(fault.Invalid, "the password is known from a breach").WithCode("password_breached").
			WithHint("if you use it elsewhere, change it there as well")
	}
	return nil
}

// guessable reports whether a password is too short without the words that are known,
// or has fewer than five different characters.
func guessable(password string, known []string) bool {
	rest := strings.ToLower(password)
	apart := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	for _, word := range strings.FieldsFunc(strings.ToLower(strings.Join(known, " ")), apart) {
		if len(word) > 2 {
			rest = strings.ReplaceAll(rest, word, "")
		}
	}
	different := map[rune]bool{}
	for _, r := range rest {
		different[r] = true
	}
	return utf8.RuneCountInString(rest) < MinLength/2 || len(different) < 5
}
