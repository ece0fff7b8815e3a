package engine

import (
	"context"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// businessKeyField is the field that holds an instance's business key.
const businessKeyField = "$business_key"

// Start starts an instance of a process with the mode that is now in force.
func (e *Engine) Start(ctx context.Context, c Caller, r api.StartRequest, idem string) (api.Receipt, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Receipt, error) { return e.start(ctx, c, r, idem) })
}

func (e *Engine) start(ctx context.Context, c Caller, r api.StartRequest, idem string) (api.Receipt, error) {
	if err := e.mayProcess(ctx, c, access.Start, r.Process, r.Version); err != nil {
		return api.Receipt{}, err
	}
	variables, err := parseVariables(r.Variables)
	if err != nil {
		return api.Receipt{}, err
	}
	again, err := e.request(ctx, c, "start", idem, r)
	if err != nil {
		return api.Receipt{}, err
	}
	def, err := e.version(ctx, c.Scope, r.Process, r.Version)
	if err != nil {
		return api.Receipt{}, err
	}
	h := happening{event: process.Start{Variables: variables}, name: "started", act: "user", by: &c, actor: actorOf(c), again: again}
	done, err := e.begin(ctx, c, def, r, h)
	if fault.Is(err, fault.Sealed) { // somebody it is about was erased meanwhile; now they are somebody new
		done, err = e.begin(ctx, c, def, r, h)
	}
	return done, err
}

// begin delivers the first event to a new instance.
func (e *Engine) begin(ctx context.Context, c Caller, def *definition, r api.StartRequest, h happening) (api.Receipt, error) {
	setting, err := e.settingOf(ctx, def)
	if err != nil {
		return api.Receipt{}, err
	}
	live, err := e.newLive(ctx, c.Scope, def, def.modeWith(setting))
	if err != nil {
		return api.Receipt{}, err
	}
	if err := e.businessKey(ctx, live, r.BusinessKey, &h); err != nil {
		return api.Receipt{}, err
	}
	var done api.Receipt
	err = e.runner.Begin(ctx, live, func(l *Live) error {
		done, err = e.deliver(ctx, l, h)
		return err
	})
	return done, err
}

// newLive returns an instance that has not started yet.
func (e *Engine) newLive(ctx context.Context, scope store.Scope, def *definition, mode process.Mode) (*Live, error) {
	key, err := e.ring.NewKey(ctx, scope.Tenant())
	if err != nil {
		return nil, err
	}
	return &Live{
		object: object{
			scope: scope, id: newID(), kind: store.Instance, owner: key,
			head: &head{
				mode: mode, process: def.head.process, version: def.head.version,
				def: def.id, model: def.head.model, owners: []owner{{key.ID, 1}},
			},
		},
		def: def, state: process.NewState(),
	}, nil
}

func (e *Engine) businessKey(ctx context.Context, l *Live, key string, h *happening) error {
	if key == "" {
		return nil
	}
	token, err := e.termToken(ctx, l.scope.Tenant(), "business_key", key)
	if err != nil {
		return err
	}
	h.terms = append(h.terms, store.Token{Kind: store.BusinessKeyToken, Token: token})
	h.extra = append(h.extra, fieldWrite{
		path: businessKeyField, value: canon.String(key), label: process.Label{Class: process.Confident},
	})
	return nil
}

// parseVariables reads a JSON object strictly; absent is empty.
func parseVariables(data []byte) (*canon.Context, error) {
	if len(data) == 0 {
		return canon.NewContext()
	}
	value, err := canon.DecodeJSON(data)
	if err != nil {
		return nil, under("/variables", err)
	}
	variables, ok := value.(*canon.Context)
	if !ok {
		return nil, fault.New(fault.Invalid, "variables are a %s, not an object", canon.TypeName(value)).
			WithDetails(fault.Detail{Place: "/variables", Message: "must be a JSON object"})
	}
	for i := range variables.Len() {
		if err := checkName(variables.At(i).Name); err != nil {
			return nil, err
		}
	}
	return variables, nil
}

// checkName refuses names that a variable cannot have. A dot or bracket would
// look like the path of a field: what is classified as card.number must not
// arrive as a variable of that name, which no policy knows.
func checkName(name string) error {
	why := ""
	switch {
	case name == "" || len(name) > 255:
		why = "names have 1 to 255 bytes"
	case name[0] == '$':
		why = "names do not begin with $"
	case strings.ContainsAny(name, ".[]"):
		why = `names hold no dot or bracket; write {"a": {"b": ..}} for a.b`
	default:
		return nil
	}
	return fault.New(fault.Invalid, "variable name %q is not allowed: %s", name, why).
		WithCode("invalid_name").WithDetails(fault.Detail{Place: "/variables", Message: why})
}

// under moves an error's places below a pointer.
func under(prefix string, err error) error {
	f, ok := err.(*fault.Error)
	if !ok {
		return err
	}
	moved := *f
	moved.Details = nil
	for _, d := range f.Details {
		moved.Details = append(moved.Details, fault.Detail{Place: prefix + d.Place, Message: d.Message})
	}
	return &moved
}

// actorOf says who did it; sealed with the step and committed to like a field.
func actorOf(c Caller) *canon.Context {
	return newContext(
		canon.Entry{Name: "address", Value: canon.String(c.Address)},
		canon.Entry{Name: "key", Value: canon.String(c.Key)},
		canon.Entry{Name: "principal", Value: canon.String(c.Principal)},
	)
}

// actorIn is actorOf for the log of a tenant: somebody of another one is named with theirs.
func actorIn(scope store.Scope, c Caller) *canon.Context {
	if c.Scope == scope {
		return actorOf(c)
	}
	return actorOf(c).With("tenant", canon.String(c.Scope.Tenant()))
}

// engineActor is who acts when a timer fires.
var engineActor = actorOf(Caller{Principal: "engine"})

// InstanceFilter selects instances; empty fields do not restrict.
type InstanceFilter struct {
	Process, Status string
	BusinessKey     string
	Field, Value    string // a field declared search="exact" and its text; Process must be given
}

// Instances lists instances, newest first. Each row shown was compared with the
// instance's sealed head.
func (e *Engine) Instances(ctx context.Context, c Caller, f InstanceFilter, p Page) (api.Instances, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Instances, error) { return e.instancesAs(ctx, c, f, p) })
}

func (e *Engine) instancesAs(ctx context.Context, c Caller, f InstanceFilter, p Page) (api.Instances, error) {
	if err := e.could(ctx, c, access.ReadInstance, access.Instance, ""); err != nil {
		return api.Instances{}, err
	}
	limit, err := p.limit()
	if err != nil {
		return api.Instances{}, err
	}
	filter := store.InstanceFilter{Process: f.Process, Status: f.Status}
	after, err := p.instance()
	if err != nil {
		return api.Instances{}, err
	}
	if filter.Reach, err = e.reach(ctx, c, access.ReadInstance, access.Instance); err != nil {
		return api.Instances{}, err
	}
	by, err := e.search(ctx, c, f)
	if err != nil {
		return api.Instances{}, err
	}
	filter.Tokens = by.tokens
	items, next, err := filling[store.ListedInstance, store.ID, listed[api.Instance]]{
		after: after, text: textID, at: func(r store.ListedInstance) store.ID { return r.ID },
		read: func(after store.ID, n int) ([]store.ListedInstance, error) {
			filter.After, filter.Limit = after, n
			return e.store.Instances(ctx, c.Scope, filter)
		},
		look: func(r store.ListedInstance) (item listed[api.Instance], seen bool, err error) {
			return e.listedInstance(ctx, c, r, f)
		},
	}.fill(limit)
	if err == nil && by.sensitive && len(items) == 0 {
		err = e.tellSearched(ctx, c, f.Process, f.path(), by.shows)
	}
	if err != nil {
		return api.Instances{}, err
	}
	result := api.Instances{Next: next}
	result.Items, err = tellListed(ctx, e, c, items)
	return result, err
}

// listed is an item of a list, and what of it the list shows.
type listed[T any] struct {
	item  T
	shows shown
}

// tellListed returns the items of a list when the log was told what it shows.
func tellListed[T any](ctx context.Context, e *Engine, c Caller, list []listed[T]) ([]T, error) {
	items, told := make([]T, len(list)), make([]shown, len(list))
	for i, one := range list {
		items[i], told[i] = one.item, one.shows
	}
	if err := e.tellShown(ctx, c, dataShown, "user", told...); err != nil {
		return nil, err
	}
	return items, nil
}

// path returns the path of the value that a filter finds by; "": by none.
func (f InstanceFilter) path() string {
	if f.BusinessKey != "" {
		return businessKeyField
	}
	return f.Field
}

// search is what a filter finds by.
type search struct {
	tokens    []store.Token // none: by no value
	sensitive bool
	shows     shown // by which right somebody may search, if it is sensitive
}

// search decides about a filter by a value, and returns what it finds by.
func (e *Engine) search(ctx context.Context, c Caller, f InstanceFilter) (by search, err error) {
	kind, purpose, term := store.SearchToken, "field", fieldTerm(f.Process, f.Field, canon.String(f.Value))
	switch {
	case f.BusinessKey != "" && f.Field != "":
		return by, fault.New(fault.Invalid, "find by business key or by field, not by both")
	case f.BusinessKey != "":
		kind, purpose, term, by.sensitive = store.BusinessKeyToken, "business_key", f.BusinessKey, true
	case f.Field == "":
		return by, nil
	case f.Process == "":
		return by, fault.New(fault.Invalid, "finding by field %q needs the process too", f.Field)
	default:
		by.sensitive, err = e.searchable(ctx, c, f)
	}
	if err == nil {
		by.shows, err = e.maySearch(ctx, c, f, by.sensitive)
	}
	if err != nil {
		return by, err
	}
	tokens, err := e.termTokens(ctx, c.Scope.Tenant(), purpose, term)
	by.tokens = tokensOf(kind, tokens)
	return by, err
}

func tokensOf(kind store.TokenKind, tokens [][32]byte) []store.Token {
	list := make([]store.Token, len(tokens))
	for i, token := range tokens {
		list[i] = store.Token{Kind: kind, Token: token}
	}
	return list
}

// maySearch refuses a search by a field to who may not see the field: whoever is found by
// a value has it. So a search by a sensitive field needs what it takes to see it in clear,
// and the log is told of who tries.
func (e *Engine) maySearch(ctx context.Context, c Caller, f InstanceFilter, sensitive bool) (by shown, err error) {
	action := access.ReadValue
	if sensitive {
		action = access.RevealValue
	}
	on := access.Resource{Kind: access.Field, Tenant: c.Scope.Tenant(), Process: f.Process, Field: f.path()}
	if d := e.decide(c, action, on); d.Allowed {
		return shownBy(d), nil
	}
	for _, w := range c.Rules.Policies.Reach(c.Who, action, access.Field, e.circumstances(c)).Where {
		on.Values = map[string]string{w.Path: w.Value}
		if d := e.decide(c, action, on); w.Process == f.Process && d.Allowed {
			return shownBy(d), nil // on some; each that is found is decided
		}
	}
	return by, e.refuse(ctx, c, action, string(access.Process), f.Process)
}

// shownBy says by which right something is shown.
func shownBy(d access.Decision) (by shown) {
	if d.Purpose != "" {
		by.purposes = []string{d.Purpose}
	}
	if d.Glass != "" {
		by.glasses = []string{d.Glass}
	}
	return by
}

// searchable refuses a field that the newest version of a process does not make
// searchable: an empty list would look like an answer. It says whether it is sensitive.
func (e *Engine) searchable(ctx context.Context, c Caller, f InstanceFilter) (sensitive bool, err error) {
	if !e.sees(c, access.ReadProcess, processResource(c.Scope, f.Process)) {
		return false, noProcess(f.Process, 0)
	}
	def, err := e.version(ctx, c.Scope, f.Process, 0)
	if err != nil {
		return false, err
	}
	var paths []string
	for _, declared := range def.compiled.Policy.Fields {
		if declared.Search != "exact" {
			continue
		}
		if paths = append(paths, declared.Path); declared.Path == f.Field {
			return def.compiled.Policy.Sensitive(f.Field), nil
		}
	}
	hint := "declare it with search=\"exact\" in the model"
	if len(paths) > 0 {
		hint = "searchable are " + strings.Join(paths, ", ") + "; " + hint
	}
	return false, fault.New(fault.Invalid, "field %q of process %s is not searchable", f.Field, f.Process).WithCode("not_searchable").WithHint("%s", hint)
}

// listedInstance compares a listed row with the instance's head. It is not seen when the
// field it was found by has another value by now or is not for the caller to see, or it was
// erased meanwhile.
func (e *Engine) listedInstance(ctx context.Context, c Caller, row store.ListedInstance, f InstanceFilter) (item listed[api.Instance], seen bool, err error) {
	if row.Status == erasedStatus {
		erased, err := e.listedErased(ctx, c.Scope, row)
		on := access.Resource{Kind: access.Instance, ID: textID(row.ID), Tenant: c.Scope.Tenant(), Process: erased.Process, Instance: textID(row.ID)}
		if err != nil || f.path() != "" || !e.sees(c, access.ReadInstance, on) {
			return item, false, err
		}
		item.item = erased
		return item, true, nil
	}
	err = e.useListed(ctx, c, row.ID, func(l *Live) error {
		if !equalInstance(row.InstanceRow, l.instanceRow()) { // a step since, or a changed row
			if err := e.checkRows(ctx, l); err != nil {
				return err
			}
		}
		on := l.resource()
		if !e.sees(c, access.ReadInstance, on) {
			return nil
		}
		v := e.lens(c, l, on)
		seen, err = e.matches(ctx, l, f, v)
		item = listed[api.Instance]{l.summary(), v.told("")}
		return err
	})
	return item, seen, err
}

// useListed opens the instance of a row that a list read. A row whose instance
// never was is one that somebody added. For one that was erased f is not called.
func (e *Engine) useListed(ctx context.Context, c Caller, id store.ID, f func(*Live) error) error {
	err := e.runner.Use(ctx, c.Scope, id, f)
	if fault.Is(err, fault.NotFound) {
		o := object{scope: c.Scope, id: id, kind: store.Instance}
		return o.tampered("is listed and was never started").WithCause(err)
	}
	if fault.Is(err, fault.Sealed) {
		return e.checkStruck(ctx, c.Scope, id)
	}
	return err
}

// matches compares an instance with the value it was found by, if a lens shows that.
func (e *Engine) matches(ctx context.Context, l *Live, f InstanceFilter, v *lens) (bool, error) {
	switch {
	case f.Field != "":
		value, ok := l.state.Field(f.Field)
		return ok && canon.Equal(value, canon.String(f.Value)) && v.look(f.Field, l.state.Label(f.Field).Sensitive()), nil
	case f.BusinessKey != "":
		key, err := e.readField(ctx, &l.object, businessKeyField)
		return key != nil && canon.Equal(key, canon.String(f.BusinessKey)) && v.look(businessKeyField, true), err
	}
	return true, nil
}

// Instance returns an instance with all of its data that the caller may see.
func (e *Engine) Instance(ctx context.Context, c Caller, id string) (api.Instance, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Instance, error) { return e.instanceAs(ctx, c, id) })
}

func (e *Engine) instanceAs(ctx context.Context, c Caller, id string) (api.Instance, error) {
	var result api.Instance
	var told shown
	err := e.use(ctx, c, access.ReadInstance, id, func(l *Live) error {
		v := e.lens(c, l, l.resource())
		var err error
		result, err = e.detail(ctx, l, v)
		told = v.told("")
		return err
	})
	if err == nil {
		err = e.tellShown(ctx, c, dataShown, "user", told)
	}
	if err != nil {
		return api.Instance{}, err
	}
	return result, nil
}

// use opens an instance by the id that a caller gave, and decides.
func (e *Engine) use(ctx context.Context, c Caller, action access.Action, id string, f func(*Live) error) error {
	if err := e.could(ctx, c, action, access.Instance, id); err != nil {
		return err
	}
	return e.useAs(ctx, c, id, e.deciding(ctx, action), f)
}

// deciding decides about an instance as a whole.
func (e *Engine) deciding(ctx context.Context, action access.Action) func(Caller, *Live) error {
	return func(c Caller, l *Live) error {
		return e.mayOn(ctx, c, action, l.resource(), noSuch("instance", textID(l.id)))
	}
}

// useAs opens an instance and calls f if decide lets it.
func (e *Engine) useAs(ctx context.Context, c Caller, id string, decide func(Caller, *Live) error, f func(*Live) error) error {
	instance, err := parseInstanceID(id)
	if err != nil {
		return err
	}
	decided := false
	err = e.runner.Use(ctx, c.Scope, instance, func(l *Live) error {
		if err := decide(c, l); err != nil {
			return err
		}
		decided = true
		return f(l)
	})
	if !decided && fault.Is(err, fault.Sealed) {
		err = e.unlessUnseen(ctx, c, instance, err)
	}
	if fault.Is(err, fault.NotFound) {
		return noSuch("instance", id)
	}
	return err
}

// unlessUnseen returns the error about an instance that was erased, and NotFound to who
// might not have seen it.
func (e *Engine) unlessUnseen(ctx context.Context, c Caller, id store.ID, sealed error) error {
	if !e.seesErased(ctx, c, id) {
		return noSuch("instance", textID(id))
	}
	return sealed
}

func (l *Live) summary() api.Instance {
	return api.Instance{
		ID: textID(l.id), Process: l.head.process, Version: l.head.version, Mode: string(l.head.mode),
		Status: string(l.state.Status()), Started: l.head.started, Ended: timeOrNil(l.head.ended),
		Incidents: len(l.state.Incidents()),
	}
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (e *Engine) detail(ctx context.Context, l *Live, v *lens) (api.Instance, error) {
	if err := e.checkRows(ctx, l); err != nil {
		return api.Instance{}, err
	}
	item := l.summary()
	item.Seq = l.head.seq
	item.Variables = canon.EncodeJSON(l.state.Variables(v.see))
	item.Waiting = l.waiting()
	item.Fields, item.Erased = l.fieldInfos(v), v.named(l.head.erased())
	var err error
	if item.Files, err = e.fileInfos(ctx, l, v); err != nil {
		return api.Instance{}, err
	}
	key, err := e.readField(ctx, &l.object, businessKeyField)
	if text, ok := key.(canon.String); ok && v.look(businessKeyField, true) {
		item.BusinessKey = string(text)
	}
	item.Masked = v.mask()
	return item, err
}

// readField reads one field that is not part of the state; nil if there is none.
func (e *Engine) readField(ctx context.Context, o *object, path string) (canon.Value, error) {
	f, ok := o.head.field(path)
	if !ok {
		return nil, nil
	}
	rows, err := e.store.Fields(ctx, o.scope, o.id, []store.FieldRef{{Path: f.path, Seq: f.seq}})
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 {
		return nil, o.changedIn("fields", "has no row for field %q", path)
	}
	return e.openField(ctx, o, f, rows[0])
}

func (l *Live) waiting() []api.Waiting {
	var list []api.Waiting
	for _, t := range l.state.Tasks() {
		list = append(list, api.Waiting{Element: t.Element, For: "task", ID: refText(l.id, t.ID), Due: timeOrNil(t.Due)})
	}
	for _, j := range l.state.Jobs() {
		list = append(list, api.Waiting{Element: j.Element, For: "job", ID: refText(l.id, j.ID), Due: timeOrNil(j.NotBefore), Retries: &j.Retries})
	}
	for _, t := range l.state.Timers() {
		list = append(list, api.Waiting{Element: t.Element, For: "timer", ID: refText(l.id, t.ID), Due: timeOrNil(t.Due)})
	}
	for _, i := range l.state.Incidents() {
		list = append(list, api.Waiting{Element: i.Element, For: "incident", ID: refText(l.id, i.ID)})
	}
	return list
}

func (l *Live) fieldInfos(v *lens) []api.FieldInfo {
	infos := make([]api.FieldInfo, 0, len(l.head.fields))
	for _, f := range l.head.fields {
		if strings.HasPrefix(f.path, heldPrefix) || !v.names(f.path) { // the first are listed as files
			continue
		}
		label := l.state.Label(f.path)
		if f.path == businessKeyField {
			label = confidential
		}
		infos = append(infos, api.FieldInfo{Path: f.path, Class: label.Class.String(), Sealed: f.sealed, Seq: f.seq, Subjects: v.named(label.Subjects)})
	}
	return infos
}

// Cancel ends a running instance.
func (e *Engine) Cancel(ctx context.Context, c Caller, id, idem string) (api.Receipt, error) {
	if err := e.could(ctx, c, access.CancelInstance, access.Instance, id); err != nil {
		return api.Receipt{}, err
	}
	h := happening{event: process.Canceled{}, name: "canceled", act: "admin"}
	return e.happen(ctx, c, id, e.deciding(ctx, access.CancelInstance), h, "cancel", idem, nil)
}

// SetVariables changes root variables of a running instance.
func (e *Engine) SetVariables(ctx context.Context, c Caller, id string, variables []byte, idem string) (api.Receipt, error) {
	if err := e.could(ctx, c, access.SetVariables, access.Instance, id); err != nil {
		return api.Receipt{}, err
	}
	parsed, err := parseVariables(variables)
	if err != nil {
		return api.Receipt{}, err
	}
	h := happening{event: process.VariablesSet{Variables: parsed}, name: "variables_set", act: "admin"}
	return e.happen(ctx, c, id, e.deciding(ctx, access.SetVariables), h, "set-variables", idem, string(variables))
}

// happen delivers what a caller did to an instance as a whole.
func (e *Engine) happen(ctx context.Context, c Caller, id string, decide func(Caller, *Live) error, h happening, operation, idem string, body any) (api.Receipt, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Receipt, error) { return e.happenAs(ctx, c, id, decide, h, operation, idem, body) })
}

func (e *Engine) happenAs(ctx context.Context, c Caller, id string, decide func(Caller, *Live) error, h happening, operation, idem string, body any) (api.Receipt, error) {
	again, err := e.request(ctx, c, operation+" "+id, idem, body)
	if err != nil {
		return api.Receipt{}, err
	}
	h.by, h.actor, h.again = &c, actorOf(c), again
	var done api.Receipt
	err = e.useAs(ctx, c, id, decide, func(l *Live) error {
		h.through = e.lens(c, l, l.resource())
		done, err = e.deliver(ctx, l, h)
		return err
	})
	return done, err
}

// KeysInUse tells which of a tenant's data keys some instance was sealed under.
func (e *Engine) KeysInUse(ctx context.Context, tenant string, ids []envelope.KeyID) (map[envelope.KeyID]bool, error) {
	asked := make([]store.ID, len(ids))
	for i, id := range ids {
		asked[i] = store.ID(id)
	}
	found, err := e.store.KeysInUse(ctx, store.NewScope(tenant), asked)
	used := make(map[envelope.KeyID]bool, len(found))
	for id := range found {
		used[envelope.KeyID(id)] = true
	}
	return used, err
}
