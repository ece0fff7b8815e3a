package passkey

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// Age is how long a challenge counts.
const Age = 5 * time.Minute

// Purpose is what a challenge is for. One for the one never serves for another.
type Purpose string

// The purposes. What somebody signs is not among them: of a statement, the challenge is
// its hash.
const (
	Register Purpose = "register"
	SignIn   Purpose = "sign-in"
	Verify   Purpose = "verify"
)

// Challenges makes challenges and takes each once. A challenge is
//
//	4 bytes of its end in Unix seconds, 12 random bytes, 16 of a MAC
//
// under a key of this process, over these, its purpose and whom it was made for, so that
// asking for challenges takes no memory. Those that were taken are remembered until their
// end. All of them end with the process.
type Challenges struct {
	key [32]byte

	mu    sync.Mutex // guards taken and swept
	taken map[ledger.Hash]time.Time
	swept time.Time
}

// NewChallenges returns a maker with a key of its own.
func NewChallenges() *Challenges {
	c := &Challenges{taken: map[ledger.Hash]time.Time{}}
	rand.Read(c.key[:]) // never fails
	return c
}

const (
	endSize   = 4
	plainSize = 16
)

// New returns a challenge for somebody, whom bound names: the session of who is signed
// in, or nobody.
func (c *Challenges) New(p Purpose, bound string, now time.Time) (challenge ledger.Hash) {
	binary.BigEndian.PutUint32(challenge[:], uint32(now.Add(Age).Unix()))
	rand.Read(challenge[endSize:plainSize])
	copy(challenge[plainSize:], c.mac(p, bound, challenge))
	return challenge
}

func (c *Challenges) mac(p Purpose, bound string, challenge ledger.Hash) []byte {
	mac := hmac.New(sha256.New, c.key[:])
	mac.Write(canon.AppendTuple(nil, string(p), bound, string(challenge[:plainSize])))
	return mac.Sum(nil)[:len(challenge)-plainSize]
}

func (c *Challenges) end(challenge ledger.Hash) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint32(challenge[:])), 0)
}

// Check returns the challenge that a client says it has answered, if it was made for this
// and counts. Anything else is Denied ("challenge_unknown").
func (c *Challenges) Check(p Purpose, bound string, clientData []byte, now time.Time) (ledger.Hash, error) {
	challenge, ok := challengeIn(clientData)
	if !ok || !hmac.Equal(c.mac(p, bound, challenge), challenge[plainSize:]) || !now.Before(c.end(challenge)) {
		return ledger.Hash{}, unknownChallenge()
	}
	return challenge, nil
}

// Take takes a challenge that was checked and answered well; a second time it is Denied. So
// it is where its end has come since it was checked, after which it is forgotten that it was
// taken.
func (c *Challenges) Take(challenge ledger.Hash, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.swept) >= Age {
		for taken, end := range c.taken {
			if !now.Before(end) {
				delete(c.taken, taken)
			}
		}
		c.swept = now
	}
	if _, before := c.taken[challenge]; before || !now.Before(c.end(challenge)) {
		return unknownChallenge()
	}
	c.taken[challenge] = c.end(challenge)
	return nil
}

func unknownChallenge() error {
	return fault.New(fault.Denied, "the challenge is not one that was given for this, has ended, or was answered before").
		WithCode("challenge_unknown").WithHint("begin again: a challenge counts once and for %d minutes", int(Age/time.Minute))
}

func challengeIn(clientData []byte) (challenge ledger.Hash, ok bool) {
	v, err := canon.DecodeJSON(clientData)
	said, _ := v.(*canon.Context)
	text, _ := said.Get("challenge")
	name, _ := text.(canon.String)
	raw, bad := base64.RawURLEncoding.DecodeString(string(name))
	if err != nil || bad != nil || len(raw) != len(challenge) {
		return challenge, false
	}
	return ledger.Hash(raw), true
}
