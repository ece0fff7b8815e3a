package gcpkms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms/cloudkey"
)

// States of a CryptoKeyVersion.
const (
	enabled           = "ENABLED"
	pendingGeneration = "PENDING_GENERATION"
	destroyScheduled  = "DESTROY_SCHEDULED"
	destroyed         = "DESTROYED"
)

// A call is one request or a few that belong together, with their time limit and
// what errors say about them.
type call struct {
	service *service
	ctx     context.Context
	end     context.CancelFunc
	what    string
}

func (s *service) begin(ctx context.Context, format string, args ...any) call {
	ctx, cancel := context.WithTimeout(ctx, cloudkey.Timeout)
	return call{s, ctx, cancel, fmt.Sprintf(format, args...)}
}

// fault gives the SDK's error its kind.
func (c call) fault(err error) error {
	var refusal *googleapi.Error
	var signIn *oauth2.RetrieveError
	switch {
	case errors.As(err, &refusal):
		return answerOf(refusal).Fault(c.what)
	case errors.As(err, &signIn) && signIn.Response != nil:
		// What it says besides is Google's answer to our signed request, whole.
		answer := cloudkey.Answer{Status: signIn.Response.StatusCode, Code: "sign-in", Message: "the credentials were refused"}
		return answer.Fault(c.what)
	}
	return cloudkey.Silence(c.ctx, c.what, err)
}

// versionFault is fault for wrapping and unwrapping under a version.
func (c call) versionFault(version string, err error) error {
	var refusal *googleapi.Error
	if !errors.As(err, &refusal) {
		return c.fault(err)
	}
	switch answer := answerOf(refusal); {
	case answer.Code == "FAILED_PRECONDITION" || answer.Code == "NOT_FOUND":
		return c.stateFault(version, answer)
	case answer.Code == "INVALID_ARGUMENT" && strings.Contains(strings.ToLower(answer.Message), "crc32c"):
		return c.damaged()
	case answer.Code == "INVALID_ARGUMENT":
		return fault.New(fault.Integrity, "%s: the stored bytes were changed or belong elsewhere", c.what)
	default:
		return answer.Fault(c.what)
	}
}

// stateFault asks why a version cannot be used.
func (c call) stateFault(version string, answer *cloudkey.Answer) error {
	found, err := c.service.keys.CryptoKeyVersions.Get(c.service.versionName(version)).Context(c.ctx).Do()
	switch {
	case isMissing(err):
		// Something was wrapped under it, and Google deletes only what is destroyed
		// and gives no name or number twice.
		return fault.New(fault.NotFound, "%s: version %s was destroyed and deleted", c.what, version)
	case err != nil:
		return answer.Fault(c.what)
	case found.State == destroyed:
		return fault.New(fault.NotFound, "%s: version %s was destroyed", c.what, version)
	case found.State == destroyScheduled:
		return cloudkey.PendingDeletion(c.what, "gcloud kms keys versions restore "+c.service.versionName(version)+", then enable it")
	case found.State == pendingGeneration:
		return fault.New(fault.Unavailable, "%s: version %s is still being made: %w", c.what, version, answer)
	}
	return answer.Fault(c.what)
}

// waitUntilEnabled waits for a hardware module to make the version.
func (c call) waitUntilEnabled(version, state string) error {
	for wait := 50 * time.Millisecond; state != enabled; wait = min(2*wait, time.Second) {
		if state != pendingGeneration {
			return fault.New(fault.Unavailable, "%s: the new version %s is %s", c.what, version, state)
		}
		select {
		case <-c.ctx.Done():
			return cloudkey.Silence(c.ctx, c.what, nil)
		case <-time.After(wait):
		}
		found, err := c.service.keys.CryptoKeyVersions.Get(c.service.versionName(version)).Context(c.ctx).Do()
		if err != nil {
			return c.fault(err)
		}
		state = found.State
	}
	return nil
}

func isMissing(err error) bool {
	var refusal *googleapi.Error
	return errors.As(err, &refusal) && refusal.Code == http.StatusNotFound
}

// answerOf reads a refusal. The SDK leaves the status, which tells apart what
// HTTP does not, in the body.
func answerOf(refusal *googleapi.Error) *cloudkey.Answer {
	var body struct{ Error struct{ Status string } }
	_ = json.Unmarshal([]byte(refusal.Body), &body) // a proxy's page has none
	seconds, _ := strconv.Atoi(refusal.Header.Get("Retry-After"))
	return &cloudkey.Answer{
		Status:  refusal.Code,
		Code:    body.Error.Status,
		Message: refusal.Message,
		Wait:    time.Duration(seconds) * time.Second,
	}
}
