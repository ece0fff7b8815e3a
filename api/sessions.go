package api

import "time"

// SignInRequest says who somebody is, by what they know.
type SignInRequest struct {
	Tenant   string `json:"tenant" minLength:"1" maxLength:"40"`
	Name     string `json:"name" minLength:"1" maxLength:"64"`
	Password string `json:"password" minLength:"1" maxLength:"1024"`
	Cookie   bool   `json:"cookie,omitempty" doc:"for a browser: the session's text comes as a cookie"`
}

// Session is where a person is signed in.
type Session struct {
	ID       string    `json:"id"`
	User     string    `json:"user"`
	How      string    `json:"how" doc:"password, passkey or federated"`
	Cookie   bool      `json:"cookie" doc:"it is a browser's"`
	Address  string    `json:"address" doc:"where it was begun"`
	Made     time.Time `json:"made"`
	Verified time.Time `json:"verified" doc:"when they last proved who they are"`
	Used     time.Time `json:"used"`
	Idle     time.Time `json:"idle" doc:"when it ends if it is not used"`
	Expires  time.Time `json:"expires" doc:"when it ends however much it is used"`
	This     bool      `json:"this,omitempty" doc:"it is the one that asks"`
}

// NewSession is a session and its text. The answer alone holds it, or its cookie.
type NewSession struct {
	Session
	Text string `json:"text,omitempty" doc:"uss_...; none if it comes as a cookie"`
}

// Sessions is a page of sessions; it may be empty though others follow.
type Sessions struct {
	Items []Session `json:"items"`
	Next  string    `json:"next,omitempty"`
}

// VerifyRequest proves once more who somebody is.
type VerifyRequest struct {
	Password string `json:"password" minLength:"1" maxLength:"1024"`
}

// PasswordRequest sets one's own password.
type PasswordRequest struct {
	Old string `json:"old,omitempty" maxLength:"1024" doc:"that there is; none if there is none"`
	New string `json:"new" minLength:"1" maxLength:"1024"`
}

// PasswordSet is what came of a new password: all sessions ended, and whoever asked by
// one has another.
type PasswordSet struct {
	Session *NewSession `json:"session,omitempty"`
}
