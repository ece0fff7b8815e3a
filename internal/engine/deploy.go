package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/bpmn"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// Deploy takes a set of files, whole or not at all: BPMN models and the JSON
// Schema forms that their user tasks name. A process whose files are the same as
// those of its newest version is left as it is. With an idempotency key, a
// process that the same request deployed before is not deployed again, whatever
// came since; its version of then is the answer.
func (e *Engine) Deploy(ctx context.Context, c Caller, files []api.File, idem string) (api.Deployment, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Deployment, error) { return e.deployAs(ctx, c, files, idem) })
}

func (e *Engine) deployAs(ctx context.Context, c Caller, files []api.File, idem string) (api.Deployment, error) {
	if err := e.could(ctx, c, access.Deploy, access.Process, ""); err != nil {
		return api.Deployment{}, err
	}
	plan, err := readDeployment(files)
	if err != nil {
		return api.Deployment{}, err
	}
	lock := e.deploying.of(c.Scope)
	lock.Lock() // what is decided is about the versions that there are
	defer lock.Unlock()
	if c, err = e.again(ctx, c); err == nil { // what the caller may could have changed meanwhile
		err = e.could(ctx, c, access.Deploy, access.Process, "")
	}
	if err != nil {
		return api.Deployment{}, err
	}
	switch alone, err := e.mayDeploy(ctx, c, plan); {
	case err != nil:
		return api.Deployment{}, err
	case !alone:
		return e.proposeDeployment(ctx, c, plan, files, idem)
	}
	shard, leave, err := e.enterShard(ctx, c.Scope, e.moment())
	if err != nil {
		return api.Deployment{}, err
	}
	defer leave()
	plan.shard = shard
	result, made, sets, err := e.deployAll(ctx, c, plan, files, idem)
	if err != nil {
		return api.Deployment{}, err
	}
	return result, e.commitDefinitions(ctx, c, made, sets)
}

// deployAll makes the definitions of a deployment, which are not durable yet.
func (e *Engine) deployAll(ctx context.Context, c Caller, plan *deployment, files []api.File, idem string) (api.Deployment, []*definition, []*store.WriteSet, error) {
	var made []*definition
	var sets []*store.WriteSet
	var result api.Deployment
	for _, p := range plan.processes {
		again, err := e.request(ctx, c, "deploy", idemOf(idem, p.compiled.ID), files)
		if err != nil {
			return result, nil, nil, err
		}
		d, set, err := e.deployOne(ctx, c, plan, p, again)
		if err != nil {
			return result, nil, nil, err
		}
		item := d.wire()
		if item.Unchanged = set == nil; set != nil {
			made, sets = append(made, d), append(sets, set)
		}
		result.Processes = append(result.Processes, item)
	}
	return result, made, sets, nil
}

// idemOf makes a key for one process of a deployment; "" stays "".
func idemOf(key, process string) string {
	if key == "" {
		return ""
	}
	return key + "\x00" + process
}

// commitDefinitions makes definitions durable, if the caller is still who it was decided
// for, and remembers them. What is not known to be durable is forgotten, so that the
// database is asked next time. A caller who hangs up must not leave the outcome unknown to
// us.
func (e *Engine) commitDefinitions(ctx context.Context, c Caller, made []*definition, sets []*store.WriteSet) error {
	if len(sets) == 0 {
		return nil
	}
	release, err := e.people.hold(&c)
	if err == nil {
		defer release()
		err = e.durable("commit definitions")
	}
	if err == nil {
		err = e.commitPinned(ctx, c.Scope, sets...)
	}
	if err != nil {
		for _, d := range made {
			e.defs.forget(d)
		}
		return err
	}
	for _, d := range made {
		e.defs.add(d, true)
	}
	return nil
}

// deployment is a set of files that was read and found good.
type deployment struct {
	shard     string // origin of the log that says so
	processes []deployedProcess
	given     map[string]bool   // names of forms, also of those that are refused
	files     map[string][]byte // forms by name
	hashes    map[string][sha256.Size]byte
}

type deployedProcess struct {
	compiled *process.Definition
	model    []byte
	file     string
}

// readDeployment parses and compiles all files and reports every finding in any
// of them at once.
func readDeployment(files []api.File) (*deployment, error) {
	d := &deployment{given: map[string]bool{}, files: map[string][]byte{}, hashes: map[string][sha256.Size]byte{}}
	var findings []fault.Detail
	names := map[string]bool{}
	for _, file := range files {
		if names[file.Name] || file.Name != path.Base(file.Name) {
			findings = append(findings, fault.Detail{Place: file.Name, Message: "file names must be plain and differ from each other"})
			continue
		}
		names[file.Name] = true
		findings = append(findings, d.read(file)...)
	}
	findings = append(findings, d.missingForms()...)
	switch {
	case len(findings) > 0:
	case len(d.processes) == 0:
		findings = []fault.Detail{{Place: "files", Message: "there is no BPMN model among the files; its name ends in .bpmn or .xml"}}
	default:
		findings = d.idleForms()
	}
	if len(findings) > 0 {
		return nil, fault.New(fault.Invalid, "couldn't deploy the files").
			WithCode("invalid_deployment").WithDetails(findings...)
	}
	return d, nil
}

func (d *deployment) read(file api.File) []fault.Detail {
	switch path.Ext(file.Name) {
	case ".bpmn", ".xml":
		return d.readModel(file)
	case ".json", ".form":
		d.given[file.Name] = true
		if isCamundaForm(file.Content) {
			return []fault.Detail{{Place: file.Name, Message: "this is a Camunda form; forms here are JSON Schema, see examples/loan"}}
		}
		if _, err := parseForm(file.Name, file.Content); err != nil {
			return formFindings(file.Name, err)
		}
		d.files[file.Name] = file.Content
		d.hashes[file.Name] = sha256.Sum256(file.Content)
		return nil
	}
	return []fault.Detail{{Place: file.Name, Message: "the file is neither a model (.bpmn, .xml) nor a form (.json)"}}
}

// isCamundaForm recognizes what Camunda's modeler saves as a form.
func isCamundaForm(data []byte) bool {
	var form struct {
		Type       string            `json:"type"`
		Components []json.RawMessage `json:"components"`
	}
	return json.Unmarshal(data, &form) == nil && form.Type == "default" && form.Components != nil
}

func (d *deployment) readModel(file api.File) []fault.Detail {
	model, err := bpmn.Parse(file.Name, file.Content)
	if err != nil {
		return findingsOf(file.Name, err)
	}
	compiled, err := bpmn.Compile(model)
	if err != nil {
		return findingsOf(file.Name, err)
	}
	var findings []fault.Detail
	for _, c := range compiled {
		if slices.ContainsFunc(d.processes, func(p deployedProcess) bool { return p.compiled.ID == c.ID }) {
			findings = append(findings, fault.Detail{Place: file.Name, Message: "process " + c.ID + " is in two of the files"})
		}
		d.processes = append(d.processes, deployedProcess{c, file.Content, file.Name})
	}
	return findings
}

// missingForms requires the form of every user task among the files.
func (d *deployment) missingForms() []fault.Detail {
	var findings []fault.Detail
	for _, p := range d.processes {
		for _, element := range p.compiled.Elements {
			if element.User == nil || element.User.FormKey == "" || d.given[element.User.FormKey] {
				continue
			}
			findings = append(findings, fault.Detail{
				Place: fmt.Sprintf("%s:%d %s", p.file, element.Line, element.ID),
				Message: fmt.Sprintf("form %q is not among the files: deploy it together with the model; a form is named by its whole file name, such as decide.schema.json",
					element.User.FormKey),
			})
		}
	}
	return findings
}

// idleForms requires a user task for every form: a file that nothing names would be
// accepted and not kept.
func (d *deployment) idleForms() []fault.Detail {
	named := map[string]bool{}
	for _, p := range d.processes {
		for name := range d.formsOf(p.compiled) {
			named[name] = true
		}
	}
	var findings []fault.Detail
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		if !named[name] {
			findings = append(findings, fault.Detail{Place: name, Message: "no user task of the models names this form: name it there, or leave the file out"})
		}
	}
	return findings
}

func findingsOf(name string, err error) []fault.Detail {
	var f *fault.Error
	if errors.As(err, &f) && len(f.Details) > 0 {
		return f.Details
	}
	return []fault.Detail{{Place: name, Message: err.Error()}}
}

// formFindings names the file before the JSON pointers in it.
func formFindings(name string, err error) []fault.Detail {
	findings := findingsOf(name, err)
	for i, f := range findings {
		if f.Place != name {
			findings[i].Place = strings.TrimSuffix(name+" "+f.Place, " ")
		}
	}
	return findings
}

// deployOne makes the next version of a process; a nil write set says that the
// newest version is the same, or that this request made a version before.
func (e *Engine) deployOne(ctx context.Context, c Caller, plan *deployment, p deployedProcess, again *request) (*definition, *store.WriteSet, error) {
	if earlier, err := e.repeatedDefinition(ctx, c.Scope, again); earlier != nil || err != nil {
		return earlier, nil, err
	}
	files := plan.formsOf(p.compiled)
	version, setting := 1, process.Mode("")
	switch newest, err := e.version(ctx, c.Scope, p.compiled.ID, 0); {
	case err == nil && newest.compiled.Hash == p.compiled.Hash && maps.Equal(newest.files, files):
		return newest, nil, nil
	case err == nil:
		version, setting = newest.head.version+1, newest.setting
	case !fault.Is(err, fault.NotFound):
		return nil, nil, err
	}
	p.compiled.Version = version
	key, err := e.ring.TenantKey(ctx, c.Scope.Tenant(), keyring.Audit)
	if err != nil {
		return nil, nil, err
	}
	at := e.moment()
	d := &definition{
		object: object{
			scope: c.Scope, id: newID(), kind: store.Definition, owner: key,
			head: &head{
				mode: process.Standard, process: p.compiled.ID, version: version, model: p.compiled.Hash,
				started: at, owners: []owner{{key.ID, 1}},
			},
		},
		compiled: p.compiled, setting: setting, files: files,
	}
	set, err := e.definitionSet(ctx, c, d, plan.shard, "definition.deployed", at, again)
	if err != nil {
		return nil, nil, err
	}
	set.Resources = append(set.Resources, resourceOf(p.model))
	for name, hash := range files {
		set.Resources = append(set.Resources, store.Resource{Hash: hash, Data: plan.files[name]})
	}
	return d, set, nil
}

// resourceOf returns a file as it is kept.
func resourceOf(data []byte) store.Resource {
	return store.Resource{Hash: sha256.Sum256(data), Data: data}
}

// formsOf returns the hashes of the forms that the process names.
func (d *deployment) formsOf(p *process.Definition) map[string][sha256.Size]byte {
	forms := map[string][sha256.Size]byte{}
	for _, element := range p.Elements {
		if element.User != nil && element.User.FormKey != "" {
			forms[element.User.FormKey] = d.hashes[element.User.FormKey]
		}
	}
	return forms
}

// definitionSet writes all of a definition's fields as one step.
func (e *Engine) definitionSet(ctx context.Context, c Caller, d *definition, shard, kind string, at time.Time, again *request) (*store.WriteSet, error) {
	tokens, err := e.requestTokens(ctx, &d.object, again)
	if err != nil {
		return nil, err
	}
	public := process.Label{Class: process.Public}
	fields := []fieldWrite{
		{path: "$actor", value: actorOf(c), label: process.Label{Class: process.Confident}, fact: true},
		{path: modeField, value: canon.String(d.setting), label: public},
	}
	for name, hash := range d.files {
		fields = append(fields, fieldWrite{path: filePrefix + name, value: canon.String(hex.EncodeToString(hash[:])), label: public})
	}
	set, err := e.write(ctx, &d.object, step{
		shard: shard, kind: kind, act: "admin", at: at, fields: fields, tokens: tokens,
		record: record(strings.TrimPrefix(kind, "definition."), process.Outcome{}, at),
	})
	if err != nil {
		return nil, err
	}
	row := d.row()
	set.Definition = &row
	return set, nil
}

// newID returns a UUIDv7.
func newID() store.ID {
	id, err := uuid.NewV7()
	if err != nil {
		panic("engine: no randomness: " + err.Error()) // the operating system's source never fails
	}
	return store.ID(id)
}
