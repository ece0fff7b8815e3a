package ledger

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
)

// maxPolicy bounds a policy file, in bytes.
const maxPolicy = 1 << 20

// noQuorum is the name of the quorum that asks no witness (C2SP tlog-policy).
const noQuorum = "none"

// Policy says whom a verifier believes: which keys sign which logs, which
// witnesses must have seen a checkpoint, and whose timestamps count. Its file
// format is C2SP tlog-policy with two kinds of lines more (docs/design/log.md).
type Policy struct {
	Logs        []PolicyLog
	Witnesses   []PolicyWitness
	Groups      []PolicyGroup // a group names only witnesses and groups before it
	Quorum      string        // name of a witness or group, or "none"
	Authorities []PolicyAuthority
}

// PolicyLog is a key that may sign checkpoints of the log that its name says.
type PolicyLog struct {
	Key         *Verifier
	URL         string // of a log line; may be empty
	First, Last uint64 // sizes of the checkpoints that it may sign, both included
	Limited     bool   // written as a platform line, with sizes
}

// PolicyWitness is a key whose cosignatures count.
type PolicyWitness struct {
	Name string // in this file alone
	Key  *Verifier
	URL  string // may be empty
}

// PolicyGroup has seen a checkpoint when at least Threshold of its members have.
type PolicyGroup struct {
	Name      string
	Threshold int
	Members   []string
}

// PolicyAuthority is the root of a time stamping authority (RFC 3161).
type PolicyAuthority struct {
	Name string // in this file alone
	Root *x509.Certificate
}

// ParsePolicy reads a policy file. What is wrong is an Invalid fault with the code
// "policy_invalid" that names the line.
func ParsePolicy(text []byte) (*Policy, error) {
	if len(text) > maxPolicy {
		return nil, invalidPolicy(0, "%d bytes are more than %d", len(text), maxPolicy)
	}
	r := policyReader{names: map[string]bool{noQuorum: true}, used: map[string]bool{}}
	for i, line := range strings.Split(string(text), "\n") {
		if err := r.line(line); err != nil {
			return nil, invalidPolicy(i+1, "%w", err)
		}
	}
	if r.p.Quorum == "" {
		return nil, invalidPolicy(0, `it has no quorum line; "quorum none" asks no witness`)
	}
	return &r.p, nil
}

func invalidPolicy(line int, format string, args ...any) error {
	place := "policy"
	if line > 0 {
		place = fmt.Sprintf("policy, line %d", line)
	}
	return fault.New(fault.Invalid, "%s: "+format, append([]any{place}, args...)...).WithCode("policy_invalid").
		WithHint("docs/design/log.md says how a policy is written; underseal log policy prints one")
}

// policyReader is a policy as far as it is read.
type policyReader struct {
	p     Policy
	names map[string]bool // of witnesses and groups, and "none"
	used  map[string]bool // names that are members of a group
}

func (r *policyReader) line(line string) error {
	for i := range len(line) {
		if c := line[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return fmt.Errorf("it has the control character 0x%02x", c)
		}
	}
	words := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' })
	if len(words) == 0 || words[0][0] == '#' {
		return nil
	}
	args := words[1:]
	switch words[0] {
	case "log":
		return r.log(args)
	case "platform":
		return r.platform(args)
	case "witness":
		return r.witness(args)
	case "group":
		return r.group(args)
	case "quorum":
		return r.quorum(args)
	case "tsa":
		return r.tsa(args)
	}
	return fmt.Errorf("%q is not known; lines begin with log, platform, witness, group, quorum or tsa", words[0])
}

func (r *policyReader) log(args []string) error {
	if len(args) != 1 && len(args) != 2 {
		return fmt.Errorf("a log line is: log <vkey> [<url>]")
	}
	l := PolicyLog{Last: math.MaxUint64}
	if len(args) == 2 {
		l.URL = args[1]
	}
	return r.addLog(l, args[0])
}

func (r *policyReader) platform(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("a platform line is: platform <vkey> <first size> <last size, or ->")
	}
	l := PolicyLog{Last: math.MaxUint64, Limited: true}
	var err error
	if l.First, err = parseDecimal(args[1]); err != nil {
		return err
	}
	if args[2] != "-" {
		if l.Last, err = parseDecimal(args[2]); err != nil {
			return err
		}
	}
	if l.First > l.Last {
		return fmt.Errorf("size %d comes after size %d", l.First, l.Last)
	}
	return r.addLog(l, args[0])
}

// addLog adds a log's key. As C2SP has it, no two log lines have one key; on
// platform lines one key may sign several logs, since a tenant's shards share it.
func (r *policyReader) addLog(l PolicyLog, vkey string) error {
	key, err := ParseVerifier(vkey)
	switch {
	case err != nil:
		return err
	case key.Cosigns():
		return fmt.Errorf("%q is a witness's key, not a log's", vkey)
	}
	for _, other := range r.p.Logs {
		if other.Key.Public().Equal(key.Public()) && (other.Key.Name() == key.Name() || !l.Limited || !other.Limited) {
			return fmt.Errorf("%q is the second line with this key", vkey)
		}
	}
	l.Key = key
	r.p.Logs = append(r.p.Logs, l)
	return nil
}

func (r *policyReader) witness(args []string) error {
	if len(args) != 2 && len(args) != 3 {
		return fmt.Errorf("a witness line is: witness <name> <vkey> [<url>]")
	}
	key, err := ParseVerifier(args[1])
	switch {
	case err != nil:
		return err
	case !key.Cosigns():
		return fmt.Errorf("%q is a log's key, not a witness's: its type is not 0x04", args[1])
	}
	for _, other := range r.p.Witnesses {
		if other.Key.Public().Equal(key.Public()) {
			return fmt.Errorf("witness %s has the same key as %s", args[0], other.Name)
		}
	}
	w := PolicyWitness{Name: args[0], Key: key}
	if len(args) == 3 {
		w.URL = args[2]
	}
	r.p.Witnesses = append(r.p.Witnesses, w)
	return r.define(args[0])
}

func (r *policyReader) define(name string) error {
	if r.names[name] {
		return fmt.Errorf("the name %q is taken", name)
	}
	r.names[name] = true
	return nil
}

func (r *policyReader) group(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("a group line is: group <name> <all, any or a number> <members>")
	}
	g := PolicyGroup{Name: args[0], Members: args[2:]}
	for _, m := range g.Members {
		switch {
		case m == noQuorum || !r.names[m]:
			return fmt.Errorf("member %q is no witness or group of a line before", m)
		case r.used[m]:
			return fmt.Errorf("%q is already a member", m)
		}
		r.used[m] = true
	}
	switch args[1] {
	case "all":
		g.Threshold = len(g.Members)
	case "any":
		g.Threshold = 1
	default:
		k, err := parseDecimal(args[1])
		if err != nil || k < 1 || k > uint64(len(g.Members)) {
			return fmt.Errorf("%q of %d members cannot be", args[1], len(g.Members))
		}
		g.Threshold = int(k)
	}
	r.p.Groups = append(r.p.Groups, g)
	return r.define(g.Name)
}

func (r *policyReader) quorum(args []string) error {
	switch {
	case len(args) != 1:
		return fmt.Errorf("a quorum line is: quorum <name of a witness or group, or none>")
	case r.p.Quorum != "":
		return fmt.Errorf("it is the second quorum line")
	case !r.names[args[0]]:
		return fmt.Errorf("%q is no witness or group of a line before", args[0])
	}
	r.p.Quorum = args[0]
	return nil
}

func (r *policyReader) tsa(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("a tsa line is: tsa <name> <base64 of the root certificate's DER>")
	}
	der, err := base64.StdEncoding.Strict().DecodeString(args[1])
	if err != nil {
		return fmt.Errorf("the certificate of %s is not in base64", args[0])
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("the certificate of %s cannot be read: %w", args[0], err)
	}
	for _, a := range r.p.Authorities {
		if a.Name == args[0] || a.Root.Equal(root) {
			return fmt.Errorf("the name or certificate of %s is taken", args[0])
		}
	}
	r.p.Authorities = append(r.p.Authorities, PolicyAuthority{args[0], root})
	return nil
}

// parseDecimal reads a number without sign and leading zeros.
func parseDecimal(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return 0, fmt.Errorf("%q is not a decimal number", text)
	}
	return n, nil
}

// Encode writes the policy as a file that ParsePolicy reads. Without platform and
// tsa lines it is one of C2SP tlog-policy.
func (p *Policy) Encode() []byte {
	var b bytes.Buffer
	line := func(words ...string) {
		fmt.Fprintln(&b, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " "))
	}
	for _, l := range p.Logs {
		switch {
		case !l.Limited:
			line("log", l.Key.String(), l.URL)
		case l.Last == math.MaxUint64:
			line("platform", l.Key.String(), strconv.FormatUint(l.First, 10), "-")
		default:
			line("platform", l.Key.String(), strconv.FormatUint(l.First, 10), strconv.FormatUint(l.Last, 10))
		}
	}
	for _, w := range p.Witnesses {
		line("witness", w.Name, w.Key.String(), w.URL)
	}
	for _, g := range p.Groups {
		line(append([]string{"group", g.Name, strconv.Itoa(g.Threshold)}, g.Members...)...)
	}
	for _, a := range p.Authorities {
		line("tsa", a.Name, base64.StdEncoding.EncodeToString(a.Root.Raw))
	}
	line("quorum", p.Quorum)
	return b.Bytes()
}

// Open returns the checkpoint in a signed note when a key of the policy that may
// sign this log at this size did, and the note with its verified signatures, those
// of the witnesses among them. Whether they are enough, CheckQuorum says. Codes of
// the Integrity faults besides those of OpenCheckpoint: "log_not_in_policy",
// "key_not_in_policy" and "key_out_of_range".
func (p *Policy) Open(signed []byte) (Checkpoint, *note.Note, error) {
	claimed, err := UnverifiedCheckpoint(signed)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	var verifiers []note.Verifier
	for _, l := range p.Logs {
		if l.Key.Name() == claimed.Origin {
			verifiers = append(verifiers, l.Key)
		}
	}
	if len(verifiers) == 0 {
		return Checkpoint{}, nil, fault.New(fault.Integrity, "the policy names no key for the log %q", claimed.Origin).WithCode("log_not_in_policy").
			WithHint("a new year or a restore begins another log: if it is to be believed, get the present policy from whoever runs it, by another way than the file")
	}
	for _, w := range p.Witnesses {
		verifiers = append(verifiers, w.Key)
	}
	c, n, err := OpenCheckpoint(signed, verifiers...)
	if fault.CodeOf(err) == "checkpoint_unsigned" {
		return Checkpoint{}, nil, keyNotInPolicy(claimed)
	}
	if err != nil {
		return Checkpoint{}, nil, err
	}
	return c, n, p.checkSigner(c, n)
}

// names says whether the policy has a key of the log.
func (p *Policy) names(origin string) bool {
	return slices.ContainsFunc(p.Logs, func(l PolicyLog) bool { return l.Key.Name() == origin })
}

func keyNotInPolicy(c Checkpoint) error {
	return fault.New(fault.Integrity, "the checkpoint of %q at size %d is signed by no key that the policy names for this log", c.Origin, c.Size).
		WithCode("key_not_in_policy").WithHint(newerPolicy)
}

const newerPolicy = "the platform's key may have been replaced: ask whoever runs the log for the present policy, by another way than the file"

// checkSigner says whether one of the signatures is a log key's at a size it may sign.
func (p *Policy) checkSigner(c Checkpoint, n *note.Note) error {
	err := keyNotInPolicy(c)
	for _, l := range p.Logs {
		switch {
		case l.Key.Name() != c.Origin || !signedWith(n, l.Key):
		case c.Size >= l.First && c.Size <= l.Last:
			return nil
		default:
			err = fault.New(fault.Integrity, "the checkpoint of %q at size %d is signed by the key %08x, which the policy lets sign sizes %d to %d", c.Origin, c.Size, l.Key.KeyHash(), l.First, l.Last).
				WithCode("key_out_of_range").WithHint(newerPolicy)
		}
	}
	return err
}

func signedWith(n *note.Note, v note.Verifier) bool {
	return slices.ContainsFunc(n.Sigs, func(s note.Signature) bool { return s.Name == v.Name() && s.Hash == v.KeyHash() })
}

// CheckQuorum checks that the witnesses of the quorum have cosigned a note that
// Open returned. If not, it is an Integrity fault with the code "quorum_not_met".
func (p *Policy) CheckQuorum(n *note.Note) error {
	if p.Quorum == noQuorum {
		return nil
	}
	seen := map[string]bool{}
	names := p.cosigners(n)
	for _, name := range names {
		seen[name] = true
	}
	for _, g := range p.Groups {
		members := 0
		for _, m := range g.Members {
			if seen[m] {
				members++
			}
		}
		seen[g.Name] = members >= g.Threshold
	}
	if !seen[p.Quorum] {
		return fault.New(fault.Integrity, "the quorum %q is not met: %d of the policy's %d witnesses cosigned (%s)",
			p.Quorum, len(names), len(p.Witnesses), cmp.Or(strings.Join(names, ", "), "none")).WithCode("quorum_not_met").
			WithHint("evidence that was exported right after its step has no witnesses yet: ask for it again")
	}
	return nil
}

// cosigners are the names of the policy's witnesses that have cosigned a note.
func (p *Policy) cosigners(n *note.Note) (names []string) {
	for _, w := range p.Witnesses {
		if signedWith(n, w.Key) {
			names = append(names, w.Name)
		}
	}
	return names
}
