package api

// Headers of the API.
const (
	// IdempotencyKey makes a change repeatable: 1 to 255 visible ASCII
	// characters, new for every change, the same for every try of it.
	IdempotencyKey = "Idempotency-Key"
	// TenantHeader names the tenant of a service that calls with a token or a client
	// certificate of an issuer, instead of an API key.
	TenantHeader = "Underseal-Tenant"
	// Purpose says what sensitive values are needed for, where a grant to reveal them
	// needs that: one line of at most 255 bytes. It goes into the log.
	Purpose = "Underseal-Purpose"
	// RequestID is on every response; it finds the request in the server's log.
	RequestID = "X-Request-Id"
)

// ProblemType is the content type of every error (RFC 9457).
const ProblemType = "application/problem+json"

// ProblemURN begins the type of every problem; the code follows.
const ProblemURN = "urn:underseal:problem:"

// Kinds say what can be done about a problem. There are no others.
const (
	KindInvalid     = "invalid"     // the request will never be accepted as it stands
	KindNotFound    = "not_found"   // it does not exist, or the caller may not see it
	KindConflict    = "conflict"    // the request does not fit the present state
	KindDenied      = "denied"      // the caller may not do this
	KindSealed      = "sealed"      // the value was erased: its key is gone
	KindIntegrity   = "integrity"   // stored data was changed behind the server's back
	KindUnavailable = "unavailable" // a service cannot be reached now; try again
	KindInternal    = "internal"    // a defect of the server; the text is in its log
)

// Codes of the problems that the transport itself finds. Where no more
// specific code exists, the code of a problem is its kind.
const (
	CodeInvalidJSON           = "invalid_json"            // not strict JSON: duplicate names, too many digits, bad UTF-8, ..
	CodeInvalidBody           = "invalid_body"            // JSON of another shape: unknown or missing names, wrong types, limits
	CodeInvalidQuery          = "invalid_query"           // unknown, repeated or malformed query parameters
	CodeInvalidIdempotencyKey = "invalid_idempotency_key" // the header is malformed or there twice
	CodeInvalidPurpose        = "invalid_purpose"         // the header is malformed or there twice
	CodeUnauthenticated       = "unauthenticated"         // 401: no credential, or none that is accepted
	CodePasskeyRequired       = "passkey_required"        // 403: register a passkey, or POST /v1/me/verify by it
	CodeStepUp                = "step_up_required"        // 403: POST /v1/me/verify, and try again
	CodeMisdirected           = "misdirected_request"     // 421: the server is not reached by this name
	CodeCrossOrigin           = "cross_origin"            // a browser sends this from the page of another site
	CodeTooLarge              = "too_large"               // 413: the body or file is over the limit
	CodeUnsupportedMediaType  = "unsupported_media_type"  // 415: the body is not application/json
	CodeMethodNotAllowed      = "method_not_allowed"      // 405: the Allow header names the methods
	CodeTimeout               = "timeout"                 // 408: the body did not arrive in time
	CodeTooMany               = "too_many_requests"       // 429: more than the caller may ask for in this time
	CodeRange                 = "range_not_satisfiable"   // 416: the file has no bytes in the range
	CodeDegraded              = "degraded"                // readiness only: some tenants cannot work
	CodeFilesFull             = "files_full"              // 413: the tenant's files would be too large together
)

// Problem is the body of every error (RFC 9457, application/problem+json). It
// never holds a value of a variable.
type Problem struct {
	Type    string    `json:"type" doc:"urn:underseal:problem:CODE"`
	Title   string    `json:"title" doc:"the kind, in words"`
	Status  int       `json:"status" doc:"HTTP status code"`
	Detail  string    `json:"detail" doc:"what happened, where, what to do"`
	Code    string    `json:"code" doc:"stable, snake_case"`
	Kind    string    `json:"kind" enum:"invalid,not_found,conflict,denied,sealed,integrity,unavailable,internal"`
	Hint    string    `json:"hint,omitempty" doc:"what to do about it"`
	Errors  []Finding `json:"errors,omitempty" doc:"every single finding"`
	Request string    `json:"request,omitempty" doc:"id of the request in the server's log"`
}

// Finding is one of several findings behind a Problem.
type Finding struct {
	Place   string `json:"place" doc:"JSON pointer into the body, '?name' of a query parameter, or 'file:line element'"`
	Message string `json:"message"`
}
