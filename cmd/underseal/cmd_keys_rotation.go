package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

type keysListCmd struct{ clientFlags }

func (keysListCmd) Help() string { return talksToServer }

func (keysListCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	keys, err := cl.Keys(ctx)
	if err != nil {
		return e.explain(err)
	}
	return e.result(keys, func(w io.Writer) { writeKeys(w, keys) })
}

func writeKeys(w io.Writer, keys api.Keys) {
	var rows [][]string
	for _, k := range keys.TenantKeys {
		needs := fmt.Sprintf("%s, %s", counted(k.DataKeys, "data key"), counted(k.Subjects, "person"))
		rows = append(rows, []string{"tenant:" + strconv.FormatUint(uint64(k.Version), 10), k.Service, stamp(k.Made), needs, keyState(k.Newest, k.Dispensable)})
	}
	for _, k := range keys.RootKeys {
		rows = append(rows, []string{"root:" + k.Version, k.Service, stamp(k.Seen), counted(k.TenantKeys, "tenant key"), keyState(k.Newest, k.Dispensable)})
	}
	for _, k := range keys.Purposes {
		rows = append(rows, []string{fmt.Sprintf("%s:%d", k.Purpose, k.Number), "-", stamp(k.Made), "-", keyState(true, false)})
	}
	if p := keys.Subjects; p.Oldest != nil {
		needs := fmt.Sprintf("%s, %s", counted(p.Subjects, "person"), counted(p.Former, "former key"))
		rows = append(rows, []string{"subjects", "-", stamp(*p.Oldest), needs, keyState(true, false)})
	}
	table(w, []string{"KEY", "SERVICE", "SINCE", "NEEDED BY", "STATE"}, rows)
	for _, s := range keys.Services {
		answer := "answers"
		if s.Error != "" {
			answer = "fails: " + s.Error
		}
		fmt.Fprintf(w, "key service %s %s\n", printable(s.Name), printable(answer))
	}
	writeRewrap(w, keys.Rewrap)
}

func keyState(newest, dispensable bool) string {
	switch {
	case newest:
		return "newest"
	case dispensable:
		return "can be retired"
	}
	return "in use"
}

// writeRewrap says how far a rewrap is, if there is one.
func writeRewrap(w io.Writer, r api.Rewrap) {
	switch {
	case r.Running:
		fmt.Fprintf(w, "rewrapping: %d done, %d left\n", r.Done, r.Left)
	case r.Error != "":
		fmt.Fprintf(w, "the last rewrap ended after %d, with %d left: %s\n", r.Done, r.Left, printable(r.Error))
	}
}

type keysRotateCmd struct {
	Key string `arg:"" enum:"tenant,root,index,audit,inbox,subject" help:"Which key: tenant or root; one of the tenant's own data keys, index, audit or inbox; or subject, the one of a person."`
	subjectArg
	Service string `help:"Key service (default: the one of the tenant's newest key). Another one moves the tenant there." placeholder:"NAME"`
	clientFlags
}

func (keysRotateCmd) Help() string {
	return talksToServer + " Data keys are wrapped by the new tenant key as they are made; underseal keys rewrap moves the others, and so does the server within the hour. What was sealed under an audit or inbox key or a person's key before still needs it, so it is kept; erasing the person destroys all of theirs. underseal keys renew --subjects does all persons. Under an index key before, business keys, searchable fields and persons are still found; underseal keys renew --index makes the first two findable under the new one alone."
}

func (c *keysRotateCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	in := api.RotateKeyRequest{Key: c.Key, Service: c.Service}
	switch {
	case c.Key == "subject":
		target, err := c.target(e)
		if err != nil {
			return err
		}
		in.Subject = target.ID
	case c.ID != "" || c.IDFile != "":
		return &usage{text: "only the key of a subject is a person's"}
	default:
		if in.After, err = c.newest(ctx, cl); err != nil {
			return e.explain(err)
		}
	}
	made, err := cl.RotateKey(ctx, in)
	if err != nil {
		return err
	}
	return e.result(made, func(w io.Writer) { fmt.Fprintf(w, "the newest is %s:%s\n", c.Key, printable(made.Version)) })
}

// newest returns the version that the new one is to follow, so that a request that
// is repeated after a lost answer makes one only.
func (c *keysRotateCmd) newest(ctx context.Context, cl *client.Client) (string, error) {
	keys, err := cl.Keys(ctx)
	if err != nil || len(keys.TenantKeys) == 0 {
		return "", err
	}
	last := keys.TenantKeys[len(keys.TenantKeys)-1]
	if c.Key == "tenant" {
		return strconv.FormatUint(uint64(last.Version), 10), nil
	}
	for _, k := range keys.Purposes {
		if k.Purpose == c.Key {
			return strconv.Itoa(k.Number), nil
		}
	}
	service := c.Service
	if service == "" {
		service = last.Service
	}
	for _, k := range keys.RootKeys {
		if k.Service == service && k.Newest {
			return k.Version, nil
		}
	}
	return "", nil
}

type keysRewrapCmd struct {
	Rate int  `help:"At most so many keys a second (default: no limit)." placeholder:"N"`
	Wait bool `help:"Wait until all is done."`
	clientFlags
}

func (keysRewrapCmd) Help() string {
	return talksToServer + " Runs in the background of the server; may be stopped and begun again at any time. No data is touched."
}

func (c *keysRewrapCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	state, err := cl.RewrapKeys(ctx, api.RewrapRequest{Rate: c.Rate})
	for again := pace(0); err == nil && c.Wait && state.Running; {
		if err := again.wait(ctx); err != nil {
			return err
		}
		var keys api.Keys
		keys, err = cl.Keys(ctx)
		state = keys.Rewrap
	}
	if err != nil {
		return e.explain(err)
	}
	if state.Error != "" {
		return fault.New(fault.Conflict, "the rewrap ended with %d done, %d left: %s", state.Done, state.Left, state.Error).
			WithCode("rewrap_failed").WithHint("the server's log says more; begin again when that is put right")
	}
	return e.result(state, func(w io.Writer) {
		writeRewrap(w, state)
		switch {
		case state.Running && !c.Wait:
			fmt.Fprintln(w, "it goes on in the server; underseal keys list says how far it is")
		case !state.Running && state.Done == 0:
			fmt.Fprintln(w, "nothing to do: every key is under the newest tenant key already")
		case !state.Running:
			fmt.Fprintf(w, "rewrapped %s\n", counted(state.Done, "key"))
		}
	})
}

type keysRenewCmd struct {
	Subjects  bool   `help:"Give all persons new data keys, instead of running instances." xor:"of"`
	Index     bool   `help:"Make the index tokens of all instances' business keys and searchable fields anew, under the newest index key." xor:"of"`
	OlderThan string `help:"Only those whose key is at least that old, such as 90d or 12h (default: all); not with --index." default:"0" placeholder:"TIME"`
	clientFlags
}

func (keysRenewCmd) Help() string {
	return talksToServer + " An instance gets it as a step of its own; a person's is used from the next step on that writes something about them. What is there stays sealed under the old key, which is kept, and destroyed with the others by an erasure. With --index no data key changes: tokens by which instances are found are made with the newest index key. May be stopped and begun again at any time."
}

func (c *keysRenewCmd) Run(ctx context.Context, e *env) error {
	age, err := parseSpan(c.OlderThan)
	if err != nil {
		return fault.New(fault.Invalid, "--older-than: %w", err)
	}
	cl, err := e.connect()
	if err != nil {
		return err
	}
	var all api.KeysRenewed
	of, renewed, what := "instances", "keys", "running instance"
	switch {
	case c.Subjects:
		of, what = "subjects", "person"
	case c.Index:
		of, renewed, what = "index", "index tokens", "instance"
	}
	for page := (api.RenewKeysRequest{Of: of, OlderThanMS: int(age.Milliseconds()), Limit: 200}); ; page.After = all.Next {
		done, err := cl.RenewKeys(ctx, page)
		if err != nil {
			return e.explain(err)
		}
		all.Seen, all.Renewed, all.Failed, all.Next = all.Seen+done.Seen, all.Renewed+done.Renewed, append(all.Failed, done.Failed...), done.Next
		if all.Next == "" {
			break
		}
	}
	if err := e.result(all, func(w io.Writer) {
		fmt.Fprintf(w, "renewed the %s of %d of %s\n", renewed, all.Renewed, counted(all.Seen, what))
	}); err != nil || len(all.Failed) == 0 {
		return err
	}
	if c.Subjects {
		return fault.New(fault.Integrity, "%s could not be read and kept their data keys: %s", counted(len(all.Failed), "person"), strings.Join(all.Failed, ", ")).
			WithHint("underseal erase subject ID --dry-run says why; who had 255 keys before can have no more")
	}
	return fault.New(fault.Integrity, "%s could not be opened and kept their %s: %s", counted(len(all.Failed), "instance"), renewed, strings.Join(all.Failed, ", ")).
		WithHint("underseal instances show ID says why")
}

type keysRetireCmd struct {
	Key     string `arg:"" help:"tenant:V or root:V, as list names them." placeholder:"KEY:V"`
	Service string `help:"Key service of a root key (default: the one of the tenant's newest key)." placeholder:"NAME"`
	DryRun  bool   `help:"Only say what still needs the key." xor:"how"`
	Yes     bool   `help:"Do it." xor:"how"`
	clientFlags
}

func (keysRetireCmd) Help() string {
	return talksToServer + " Opens every key that might need the old one first, and refuses if one does. What was wrapped by it, in a backup for instance, cannot be opened afterwards."
}

func (c *keysRetireCmd) Run(ctx context.Context, e *env) error {
	key, version, ok := strings.Cut(c.Key, ":")
	if !ok || key != "tenant" && key != "root" {
		return fault.New(fault.Invalid, "%q is neither tenant:V nor root:V", c.Key).WithHint("underseal keys list names them")
	}
	if !c.DryRun && !c.Yes {
		return fault.New(fault.Invalid, "retiring %s cannot be taken back", c.Key).WithCode("confirmation_missing").
			WithHint("--dry-run says what still needs it; --yes retires it")
	}
	cl, err := e.connect()
	if err != nil {
		return err
	}
	r, err := cl.RetireKey(ctx, api.RetireKeyRequest{Key: key, Version: version, Service: c.Service, DryRun: c.DryRun})
	if err != nil {
		return e.explain(err)
	}
	if err := e.result(r, func(w io.Writer) { c.write(w, r) }); err != nil || r.Safe {
		return err
	}
	return fault.New(fault.Conflict, "%s is still needed", c.Key).WithCode("keys_hang").WithHint("underseal keys rewrap --wait, then try again")
}

func (c *keysRetireCmd) write(w io.Writer, r api.Retirement) {
	for _, h := range r.Hangs {
		fmt.Fprintf(w, "%s: %s\n", h.Where, printable(h.Why))
	}
	switch {
	case r.Done:
		fmt.Fprintf(w, "%s is gone for good; %s opened before\n", c.Key, counted(r.Read, "row"))
		if strings.HasPrefix(c.Key, "root:") {
			fmt.Fprintln(w, "copies elsewhere still hold it: those of a key file, in escrow too (make new ones with underseal keys escrow), or a key service's own backups")
		}
	case r.Safe:
		fmt.Fprintf(w, "%s can be retired: %s opened, none needs it\n", c.Key, counted(r.Read, "row"))
	}
}

type keysCreateFileCmd struct {
	File string `arg:"" help:"Where to make it; never overwritten." type:"path"`
}

func (keysCreateFileCmd) Help() string {
	return standsAlone + " Name the file below key_services then. The first key file is made by underseal init."
}

func (c *keysCreateFileCmd) Run(ctx context.Context, e *env) error {
	file, err := kms.CreateKeyFile(c.File)
	if err != nil {
		return err
	}
	d, err := file.Describe(ctx)
	if err != nil {
		return err
	}
	return e.result(map[string]string{"file": c.File, "root_key": d.KeyID}, func(w io.Writer) {
		pairs(w, "key file", c.File+"  (keep a copy apart from the data)", "root key", d.KeyID)
	})
}
