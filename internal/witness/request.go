package witness

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// maxProof is how many hashes a consistency proof may have (C2SP tlog-witness).
const maxProof = 63

// A request is the body of add-checkpoint: a line "old N", lines of hashes in
// base64, an empty line, the signed checkpoint.
type request struct {
	old    uint64
	proof  []ledger.Hash
	signed []byte
}

// parseRequest refuses every spelling but the one of the specification.
func parseRequest(body []byte) (request, error) {
	head, signed, found := bytes.Cut(body, []byte("\n\n"))
	if !found {
		return request{}, malformed("there is no empty line before the checkpoint")
	}
	if len(signed) > maxNote {
		return request{}, malformed("the checkpoint has %d bytes, of which %d are allowed", len(signed), maxNote)
	}
	lines := strings.Split(string(head), "\n")
	if len(lines) > 1+maxProof {
		return request{}, malformed("the proof has more than %d hashes", maxProof)
	}
	r := request{signed: signed}
	text, found := strings.CutPrefix(lines[0], "old ")
	var err error
	if r.old, err = strconv.ParseUint(text, 10, 64); !found || err != nil || strconv.FormatUint(r.old, 10) != text {
		return request{}, malformed(`it does not begin with "old" and a size`)
	}
	for _, line := range lines[1:] {
		h, ok := parseHash(line)
		if !ok {
			return request{}, malformed("a line of the proof is no hash in base64")
		}
		r.proof = append(r.proof, h)
	}
	return r, nil
}

func parseHash(line string) (h ledger.Hash, ok bool) {
	raw, err := base64.StdEncoding.Strict().DecodeString(line)
	if err != nil || len(raw) != len(h) || base64.StdEncoding.EncodeToString(raw) != line {
		return h, false
	}
	return ledger.Hash(raw), true
}

func malformed(format string, args ...any) error {
	return fault.New(fault.Invalid, "the request is malformed: %s", fmt.Sprintf(format, args...)).WithCode("malformed")
}
