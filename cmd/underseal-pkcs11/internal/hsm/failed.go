package hsm

import (
	"errors"
	"slices"

	"github.com/miekg/pkcs11"

	"github.com/underseal/underseal/internal/fault"
)

// The codes of PKCS#11 (section 5.1 of its base specification) that mean more than
// that something failed.
var (
	refusedPINs = []pkcs11.Error{
		pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED,
		pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_USER_PIN_NOT_INITIALIZED,
	}
	refusals = []pkcs11.Error{
		pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.CKR_ACTION_PROHIBITED, pkcs11.CKR_TOKEN_WRITE_PROTECTED,
		pkcs11.CKR_USER_TYPE_INVALID, pkcs11.CKR_KEY_TYPE_INCONSISTENT,
	}
	refusedTags = []pkcs11.Error{pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, aeadDecryptFailed}
	vague       = []pkcs11.Error{pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED}
	losses      = []pkcs11.Error{
		pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED,
		pkcs11.CKR_SLOT_ID_INVALID, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED,
	}
)

// aeadDecryptFailed is CKR_AEAD_DECRYPT_FAILED of PKCS#11 3.0.
const aeadDecryptFailed = pkcs11.Error(0x42)

func isOneOf(err error, codes []pkcs11.Error) bool {
	var code pkcs11.Error
	return errors.As(err, &code) && slices.Contains(codes, code)
}

func isRefusedPIN(err error) bool { return isOneOf(err, refusedPINs) }
func isRefusedTag(err error) bool { return isOneOf(err, refusedTags) }

// isVague reports whether an error says nothing about its cause.
func isVague(err error) bool { return isOneOf(err, vague) }

// isLost reports whether the token must be found and logged in to again.
func isLost(err error) bool { return isOneOf(err, losses) }

// failed gives an error of the module its kind; nil stays nil. Anything that is not
// known to be a refusal is an outage.
func failed(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case isOneOf(err, refusals):
		return fault.New(fault.Denied, "%s: the token refuses: %w", what, err)
	}
	return fault.New(fault.Unavailable, "%s: %w", what, err)
}
