package api

import (
	"crypto/sha256"
	"fmt"
	"time"
)

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
	Verified time.Time `json:"verified,omitzero" doc:"when they last proved who they are, here or anew to the issuer; left out: only the issuer's word was taken"`
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

// VerifyRequest proves once more who somebody is, by the one or the other.
type VerifyRequest struct {
	Password string         `json:"password,omitempty" maxLength:"1024"`
	Passkey  *PasskeyAnswer `json:"passkey,omitempty"`
}

// PasswordRequest sets one's own password.
type PasswordRequest struct {
	Old string `json:"old,omitempty" maxLength:"1024" doc:"that there is"`
	New string `json:"new" minLength:"1" maxLength:"1024"`
}

// PasswordSet is what came of a new password: all sessions ended, and whoever asked by
// one has another.
type PasswordSet struct {
	Session *NewSession `json:"session,omitempty"`
}

// LoginQuery is how somebody begins to sign in at an OpenID provider.
type LoginQuery struct {
	To string `query:"to" maxLength:"512" doc:"path of this server that the browser shows in the end; left out: the session"`
	// Again is a proof for what asks for one (step_up_required).
	Again bool `query:"again" doc:"have the provider ask anew who they are, which counts as a proof of it like a passkey"`
	// Port and Challenge are of who signs in from the command line (RFC 8252).
	Port      int    `query:"port" minimum:"1024" maximum:"65535" doc:"of a program at 127.0.0.1 that is signed in instead of the browser, which brings it a code"`
	Challenge string `query:"challenge" minLength:"43" maxLength:"43" doc:"SHA-256, in base64url, of the verifier that the program redeems the code with"`
}

// LoginAnswer is what a browser brings from an OpenID provider. There may be more, which
// means nothing.
type LoginAnswer struct {
	Code  string `query:"code"`
	State string `query:"state"`
	Iss   string `query:"iss" doc:"RFC 9207"`
	Error string `query:"error" doc:"the provider has signed nobody in"`
}

// LoginRedemption is what a program brings to be signed in. A code counts for a minute, and
// once.
type LoginRedemption struct {
	Code     string `json:"code" minLength:"1" maxLength:"4096" doc:"that the browser brought"`
	Verifier string `json:"verifier" minLength:"43" maxLength:"128" doc:"that the challenge is of"`
}

// CheckCode is what a page and a program both show of a challenge, so that a person sees
// whether the sign-in on the page is the one of their program.
func CheckCode(challenge string) string {
	sum := sha256.Sum256([]byte(challenge))
	return fmt.Sprintf("%X-%X", sum[:2], sum[2:4])
}

// LogoutRequest is a provider's word that somebody has signed out there.
type LogoutRequest struct {
	LogoutToken string `json:"logout_token" doc:"OpenID Connect Back-Channel Logout 1.0 section 2.4"`
}

// LoginsEnded says that the sessions which a logout token means have ended, if there were
// any.
type LoginsEnded struct{}
