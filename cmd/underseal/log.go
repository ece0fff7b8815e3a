package main

import "log/slog"

// logger writes to stderr, so that stdout stays the results'.
func (e *env) logger() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(e.settings.LogLevel)); err != nil {
		level = slog.LevelInfo // check refused anything else
	}
	options := &slog.HandlerOptions{Level: level}
	if e.settings.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(e.stderr, options))
	}
	return slog.New(slog.NewTextHandler(e.stderr, options))
}
