//go:build !windows

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/examples"
	"github.com/underseal/underseal/internal/fault"
)

// people are the lender's, whose company is main, and the clinic's, each with a way of
// their own to sign in.
type people struct {
	otto, vera, paul *client.Client // a loan officer, a Viewer, an Auditor
	cara, dana       *client.Client // the clinic's administrator, and a doctor
	visit            string         // instance of the clinic's
	rows             [][2]string    // who asked for what, and what they were shown
}

// showPeople has two companies on the server, and everybody in them look.
func (d *demo) showPeople(ctx context.Context) error {
	d.say("Two companies on this server, and who sees what")
	p := &people{}
	for _, step := range []func(context.Context, *people) error{d.hire, d.openClinic, d.lendersLook, d.clinicLooks} {
		if err := step(ctx, p); err != nil {
			return err
		}
	}
	twoColumns(d.out, [2]string{"who asks for what", "is shown"}, p.rows)
	return d.explainRefusals(ctx)
}

func (p *people) add(who, shown string) { p.rows = append(p.rows, [2]string{who, shown}) }

// hire lets three people into the lender's company.
func (d *demo) hire(ctx context.Context, p *people) (err error) {
	if _, err := d.client.CreateGroup(ctx, api.GroupRequest{Name: "loan-officers"}); err != nil {
		return err
	}
	if p.otto, err = d.letInByPassword(ctx, api.UserRequest{Name: "otto", Roles: []string{"Executor"}, Groups: []string{"loan-officers"}}); err != nil {
		return err
	}
	if p.vera, err = d.letIn(ctx, d.client, api.UserRequest{Name: "vera", Roles: []string{"Viewer"}}); err != nil {
		return err
	}
	p.paul, err = d.letIn(ctx, d.client, api.UserRequest{Name: "paul", Roles: []string{"Auditor"}})
	d.tell("the lender's: Otto is an Executor and loan officer and signs in by password; Vera is a Viewer, Paul an Auditor")
	return err
}

// letIn invites somebody, who uses the link and calls with an API key from then on.
func (d *demo) letIn(ctx context.Context, admin *client.Client, in api.UserRequest) (*client.Client, error) {
	invited, err := admin.InviteUser(ctx, in)
	if err != nil {
		return nil, err
	}
	return d.useLink(ctx, api.SetupRequest{Link: invited.Link})
}

func (d *demo) useLink(ctx context.Context, in api.SetupRequest) (*client.Client, error) {
	config := client.Config{URL: d.server.URL}
	done, err := client.Setup(ctx, config, in)
	if err != nil {
		return nil, err
	}
	config.Key = done.Key.Text
	return client.New(config)
}

// letInByPassword invites somebody to the lender's, who sets a password with the link and
// signs in with it.
func (d *demo) letInByPassword(ctx context.Context, in api.UserRequest) (*client.Client, error) {
	const password = "a password for one demonstration"
	invited, err := d.client.InviteUser(ctx, in)
	if err != nil {
		return nil, err
	}
	config := client.Config{URL: d.server.URL}
	if _, err := client.Setup(ctx, config, api.SetupRequest{Link: invited.Link, Password: password}); err != nil {
		return nil, err
	}
	session, err := client.SignIn(ctx, config, api.SignInRequest{Tenant: "main", Name: in.Name, Password: password})
	if err != nil {
		return nil, err
	}
	config.Key = session.Text
	return client.New(config)
}

// openClinic makes the other company: its administrator uses the link, and does the rest.
func (d *demo) openClinic(ctx context.Context, p *people) error {
	made, err := d.client.CreateTenant(ctx, api.TenantRequest{Name: "clinic", Display: "The clinic"})
	if err != nil {
		return err
	}
	if p.cara, err = d.useLink(ctx, api.SetupRequest{Link: made.Link, Name: "cara"}); err != nil {
		return err
	}
	if _, err := p.cara.CreateGroup(ctx, api.GroupRequest{Name: "doctors"}); err != nil {
		return err
	}
	if p.dana, err = d.letIn(ctx, p.cara, api.UserRequest{Name: "dana", Roles: []string{"Executor"}, Groups: []string{"doctors"}}); err != nil {
		return err
	}
	var files []api.File
	for _, name := range []string{"visit.bpmn", "examine.schema.json"} {
		files = append(files, api.File{Name: name, Content: visitExample(name)})
	}
	if _, err := p.cara.Deploy(ctx, files...); err != nil {
		return err
	}
	receipt, err := p.cara.Start(ctx, api.StartRequest{Process: "visit", Variables: visitExample("admission.json")})
	p.visit = receipt.Instance
	d.tell("the clinic's: Ann, who runs the server, makes the company, and Cara uses its link; she admits a patient (examples/visit)")
	d.tell("and lets Dana in, an Executor and doctor")
	d.tell("")
	return err
}

func visitExample(name string) []byte {
	content, err := examples.Visit.ReadFile("visit/" + name)
	if err != nil {
		panic("underseal: the example is embedded: " + err.Error())
	}
	return content
}

// lendersLook has the lender's people look at the loan that waits.
func (d *demo) lendersLook(ctx context.Context, p *people) error {
	seen, err := p.vera.Instance(ctx, d.open)
	if err != nil {
		return err
	}
	if err := masks(seen.Variables, seen.Masked, "applicant.ssn"); err != nil {
		return err
	}
	p.add("Vera, the loan", shownText(seen.Variables, seen.Masked))
	task, err := onlyTask(ctx, p.otto)
	if err != nil {
		return err
	}
	p.add("Otto, his task on it", shownText(task.Variables, task.Masked))
	if _, err := d.client.GiveGrant(ctx, api.GrantRequest{User: "otto", Right: "reveal", Process: "loan", Fields: []string{"score"}}); err != nil {
		return err
	}
	if task, err = p.otto.For("to decide on it").Task(ctx, task.ID); err != nil {
		return err
	}
	if _, ok := valueAt(task.Variables, "score"); !ok {
		return fault.New(fault.Internal, "a grant to reveal the score shows nothing")
	}
	p.add("Otto, with a grant for the score and a purpose", shownText(task.Variables, task.Masked))
	if _, err := p.paul.Instance(ctx, d.open); !client.IsDenied(err) {
		return fault.New(fault.Internal, "an Auditor sees an instance: %v", err)
	}
	p.add("Paul, the loan", "refused: an Auditor sees no data")
	log, err := p.paul.Audit(ctx, api.AuditQuery{AuditFilter: api.AuditFilter{Object: d.big.ID}})
	if err != nil || len(log.Items) == 0 {
		return fault.New(fault.Internal, "an Auditor sees %d entries of a loan: %v", len(log.Items), err)
	}
	p.add("Paul, the log of the loan that was decided", fmt.Sprintf("%d entries: who did and saw what, when, and no value", len(log.Items)))
	return nil
}

// clinicLooks has each company look for what is the other's.
func (d *demo) clinicLooks(ctx context.Context, p *people) error {
	task, err := onlyTask(ctx, p.dana)
	if err != nil {
		return err
	}
	if err := masks(task.Variables, task.Masked, "patient.insurance"); err != nil {
		return err
	}
	p.add("Dana, her task on the patient", shownText(task.Variables, task.Masked))
	for _, look := range []struct {
		who      string
		by       *client.Client
		instance string
	}{{"Dana, the lender's loan", p.dana, d.open}, {"Cara, the lender's loan", p.cara, d.open}, {"Ann, the clinic's patient", d.client, p.visit}} {
		if _, err := look.by.Instance(ctx, look.instance); !client.IsNotFound(err) && !client.IsDenied(err) {
			return fault.New(fault.Internal, "somebody of another company gets an answer: %v", err)
		}
		p.add(look.who, "nothing: not even that there is one")
	}
	return nil
}

func onlyTask(ctx context.Context, cl *client.Client) (api.Task, error) {
	list, err := cl.Tasks(ctx, api.TaskFilter{}, api.Page{})
	if err != nil {
		return api.Task{}, err
	}
	if len(list.Items) != 1 {
		return api.Task{}, fault.New(fault.Internal, "somebody has %d tasks, not one", len(list.Items))
	}
	return cl.Task(ctx, list.Items[0].ID)
}

// masks requires that a field is masked.
func masks(variables json.RawMessage, masked []string, path string) error {
	for _, m := range masked {
		if _, shown := valueAt(variables, path); m == path && !shown {
			return nil
		}
	}
	return fault.New(fault.Internal, "%s is not masked", path)
}

// shownText says in one line what somebody sees.
func shownText(variables json.RawMessage, masked []string) string {
	var parts []string
	for _, path := range leaves("", variables) {
		value, _ := valueAt(variables, path)
		parts = append(parts, path+" "+value)
	}
	return strings.Join(append(parts, "masked: "+orElse(strings.Join(masked, " "), "nothing")), "; ")
}

// leaves lists the paths of what is no object inside a JSON value.
func leaves(path string, value json.RawMessage) []string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(value, &fields) != nil {
		return []string{path}
	}
	var all []string
	for _, name := range names(value) {
		all = append(all, leaves(strings.TrimPrefix(path+"."+name, "."), fields[name])...)
	}
	return all
}

// explainRefusals has Ann ask why, as underseal explain does.
func (d *demo) explainRefusals(ctx context.Context) error {
	d.say("Why, and why not? An administrator asks the server (underseal explain)")
	for _, q := range []api.ExplainQuery{
		{Principal: "vera", Action: "instance:read", ID: d.open},
		{Principal: "vera", Action: "value:reveal", ID: d.open, Field: "applicant.ssn"},
		{Principal: "otto", Action: "value:reveal", ID: d.open, Field: "score"},
		{Principal: "paul", Action: "instance:read", ID: d.open},
	} {
		x, err := d.client.Explain(ctx, q)
		if err != nil {
			return err
		}
		writeExplanation(prefixed{d.out}, x)
		d.tell("")
	}
	_, err := d.client.Explain(ctx, api.ExplainQuery{Principal: "dana", Action: "instance:read", ID: d.open})
	if !client.IsNotFound(err) {
		return fault.New(fault.Internal, "the lender is told of somebody of the clinic: %v", err)
	}
	d.tell("Dana is of another company: %s", describe(ctx, err).Error)
	return nil
}
