package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// hideTyping has a console not show what is typed, until it is to again.
func hideTyping(console *os.File) (show func() error, err error) {
	handle := windows.Handle(console.Fd())
	var before uint32
	if err := windows.GetConsoleMode(handle, &before); err != nil {
		return nil, err
	}
	return func() error { return windows.SetConsoleMode(handle, before) }, windows.SetConsoleMode(handle, before&^windows.ENABLE_ECHO_INPUT)
}
