package identity

import "time"

// Claims is what an issuer says of whom a token is about.
type Claims struct {
	Issuer  string    // URL
	Subject string    // never given to anybody else by that issuer; a name or an address is
	Session string    // at the issuer; empty: it has said none
	Issued  time.Time // the token was; of people alone
	Expires time.Time

	// What an issuer of people says besides.
	Name    string // the claim that its settings name; empty: it has none
	Display string
	Mail    string   // verified by the issuer
	Groups  []string // there

	// Thumbprint is of the client certificate without which the token does not count
	// (RFC 8705 section 3.1), SHA-256 in base64url; empty: it counts without.
	Thumbprint string
	Scopes     []string // words of the scope claim

	// Proved is when they proved to the issuer who they are (auth_time), where the attempt
	// asked for that anew; zero: it did not, and they may have done so long ago.
	Proved time.Time
}

// Attempt is a sign-in that was begun at an issuer. What it holds is secret, and good for
// one answer of the issuer.
type Attempt struct {
	State    string
	Nonce    string
	Verifier string // of PKCE (RFC 7636)
	Redirect string // where the issuer sends the browser
	Begun    time.Time
	To       string // page of this server that is shown in the end; empty: none
	Again    bool   // whoever signs in has to prove anew to the issuer who they are
	Command  Command
}

// Command is a program on the machine of whoever signs in that is signed in instead of the
// browser (RFC 8252).
type Command struct {
	Port      int    // of 127.0.0.1, where it waits for a code; 0: there is none
	Challenge string // SHA-256, in base64url, of what the program alone knows
	Address   string // where the sign-in was begun
}

// AttemptAge is how long a sign-in may take.
const AttemptAge = 10 * time.Minute

// Voucher is an issuer's word for somebody, on its way through the browser to the program
// that is signed in.
type Voucher struct {
	Challenge string // as the Command has it
	State     string // of the attempt
	Principal string
	Link      string      // of the principal to the issuer
	Ended     Generations // of when the issuer gave its word
	Claims    Claims      // Issuer, Subject, Session, Issued and Proved alone
	Asked     time.Time   // the issuer, for the word
	Made      time.Time
}

// VoucherAge is for how long a voucher counts.
const VoucherAge = time.Minute

// Logout is an issuer's word that somebody has signed out there.
type Logout struct {
	Issuer  string // URL
	Subject string // empty: it has said the session only
	Session string // empty: all of the subject
	// Until is up to when the issuer let in whom it means. So who is let in by it later stays,
	// whoever shows its word again, and wherever that is not known to be the second time.
	Until time.Time
}

// Means reports whether a logout is of whom the issuer let in by a token of a certain time.
func (out *Logout) Means(issued time.Time) bool { return !issued.After(out.Until) }
