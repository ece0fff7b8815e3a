package awskms

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms/cloudkey"
)

// A call is one request, with its time limit and what errors say about it.
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

// statuses gives the codes of AWS, nearly all of which come as HTTP 400, the
// status that they mean. From the reference of the API (operations Encrypt,
// Decrypt and DescribeKey, and "Common errors").
var statuses = map[string]int{
	"ThrottlingException":         http.StatusTooManyRequests,
	"Throttling":                  http.StatusTooManyRequests,
	"LimitExceededException":      http.StatusTooManyRequests,
	"RequestLimitExceeded":        http.StatusTooManyRequests,
	"TooManyRequestsException":    http.StatusTooManyRequests,
	"DependencyTimeoutException":  http.StatusServiceUnavailable,
	"KeyUnavailableException":     http.StatusServiceUnavailable,
	"KMSInternalException":        http.StatusServiceUnavailable,
	"InternalFailure":             http.StatusServiceUnavailable,
	"ServiceUnavailable":          http.StatusServiceUnavailable,
	"ServiceUnavailableException": http.StatusServiceUnavailable,
}

// fault gives the SDK's error its kind.
func (c call) fault(err error) error {
	var refusal smithy.APIError
	if !errors.As(err, &refusal) {
		return cloudkey.Silence(c.ctx, c.what, err)
	}
	answer := answerOf(err, refusal)
	switch answer.Code {
	case "NotFoundException":
		return fault.New(fault.Conflict, "%s: there is no such key: %w", c.what, answer).WithCode("root_key_missing").
			WithHint("check the ARN under key; a key that AWS has deleted cannot be brought back")
	case "KMSInvalidStateException":
		return c.stateFault(answer)
	}
	return answer.Fault(c.what)
}

// unwrapFault is fault for unwrapping.
func (c call) unwrapFault(err error) error {
	var changed *types.InvalidCiphertextException
	var other *types.IncorrectKeyException
	var gone *types.NotFoundException
	switch {
	case errors.As(err, &changed):
		return fault.New(fault.Integrity, "%s: the stored bytes were changed or belong elsewhere", c.what)
	case errors.As(err, &other):
		return fault.New(fault.Conflict, "%s: it was wrapped under another key", c.what).WithCode("other_root_key")
	case errors.As(err, &gone):
		// Something was wrapped under it, so it was there. Ids are not given twice.
		return fault.New(fault.NotFound, "%s: AWS has deleted the key", c.what)
	}
	return c.fault(err)
}

// stateFault asks AWS why the key cannot be used now.
func (c call) stateFault(answer *cloudkey.Answer) error {
	out, err := c.service.client.DescribeKey(c.ctx, &sdk.DescribeKeyInput{KeyId: aws.String(c.service.root.ID)})
	if err != nil || out.KeyMetadata == nil {
		return answer.Fault(c.what)
	}
	switch out.KeyMetadata.KeyState {
	case types.KeyStatePendingDeletion, types.KeyStatePendingReplicaDeletion:
		return cloudkey.PendingDeletion(c.what, "aws kms cancel-key-deletion --key-id "+c.service.root.ID+", then enable-key")
	case types.KeyStateCreating, types.KeyStateUpdating, types.KeyStateUnavailable:
		return fault.New(fault.Unavailable, "%s: the key is %s: %w", c.what, out.KeyMetadata.KeyState, answer)
	}
	return answer.Fault(c.what)
}

func answerOf(err error, refusal smithy.APIError) *cloudkey.Answer {
	answer := &cloudkey.Answer{Status: http.StatusBadRequest, Code: refusal.ErrorCode(), Message: refusal.ErrorMessage()}
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		answer.Status = response.HTTPStatusCode()
	}
	if status, ok := statuses[answer.Code]; ok {
		answer.Status = status
	}
	return answer
}
