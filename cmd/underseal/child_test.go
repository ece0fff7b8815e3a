package main

import (
	"slices"
	"testing"
)

func TestAJobsCommandSeesNoSecretOfASetting(t *testing.T) {
	s := &settings{
		config:      config{Database: "env:DATABASE", RootKeyPassphrase: "env:PASSPHRASE", KeysDatabase: "file:KEYS"},
		keyServices: map[string]serviceOptions{"company": {"provider": "vault", "secret": "env:TOKEN"}},
		s3:          serviceOptions{"secret_key": "env:SECRET"},
	}
	got := childEnviron([]string{"DATABASE=1", "PASSPHRASE=2", "KEYS=3", "TOKEN=4", "SECRET=5", "UNDERSEAL_SERVER=6", "PATH=7"}, s)
	if want := []string{"KEYS=3", "PATH=7"}; !slices.Equal(got, want) {
		t.Errorf("the command's environment is %q, want %q", got, want)
	}
}

func TestWhatAJobsCommandAnswersIsReadStrictly(t *testing.T) {
	for _, text := range []string{
		`{"a": 1, "a": 2}`, `{"a": {"b": 1, "b": 2}}`, "{\"a\": \"\xff\"}", `{"a": 12345678901234567890123456789012345}`, `{} {}`, `[1]`,
	} {
		if got, err := object([]byte(text)); err == nil {
			t.Errorf("the result %q is read as %s", text, got)
		}
	}
	for _, text := range []string{
		`{"code": "A", "code": "B"}`, `{"code": "A"} {}`, `{"code": "A", "variables": [1]}`, `{"code": "A", "variables": {"a": 1, "a": 2}}`, `{"code": "A", "x": 1}`, `{}`, ``,
	} {
		if got, err := thrown([]byte(text)); err == nil {
			t.Errorf("the error %q is read as %+v", text, got.thrown)
		}
	}
	got, err := thrown([]byte(`{"code": "A", "variables": {"a": 1.50}}`))
	if err != nil || string(got.thrown.Variables["a"]) != "1.50" {
		t.Errorf("a good error is read as %+v, %v", got.thrown, err)
	}
}
