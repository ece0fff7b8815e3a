package access

import (
	"unicode"

	"github.com/underseal/underseal/internal/fault"
)

// A purpose or a reason is for people who read the log years later. No program can tell
// whether it is true; that there is something to read it can.

// CheckPurpose refuses a text that cannot be the purpose of a request (Invalid): it is
// one line of at most 255 bytes that can be read, or nothing.
func CheckPurpose(text string) error {
	if text == "" || isPurpose(text) {
		return nil
	}
	return fault.New(fault.Invalid, "the purpose is not one line of at most 255 bytes in UTF-8 that can be read").WithCode("invalid_purpose").
		WithHint("say in a few words what the values are needed for")
}

// CheckReason refuses a text that cannot be the reason of a change (Invalid): it can be
// read, or is nothing.
func CheckReason(text string) error {
	if text == "" || Readable(text) {
		return nil
	}
	return fault.New(fault.Invalid, "the reason holds nothing that can be read").WithCode("invalid_reason").
		WithHint("say in a few words why, or leave it out")
}

func isPurpose(text string) bool {
	if !oneLine(text, true) || !Readable(text) {
		return false
	}
	for _, r := range text {
		if !unicode.IsGraphic(r) && r != nonJoiner && r != joiner { // such as another direction, in which it would read as something else
			return false
		}
	}
	return true
}

// Some scripts are not spelled without these two.
const (
	nonJoiner = '\u200c'
	joiner    = '\u200d'
)

// Readable reports whether a text has a letter or a digit that can be seen: blanks,
// controls, marks and letters that show nothing say nothing.
func Readable(text string) bool {
	for _, r := range text {
		if (unicode.IsLetter(r) || unicode.IsNumber(r)) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) {
			return true
		}
	}
	return false
}
