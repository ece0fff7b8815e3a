package engine

import (
	"context"
	"slices"
	"strconv"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// claimName is what a caller writes to say that a file stands here:
// {"$file": "<id>"}.
const claimName = "$file"

// arrival is a file that came with an event.
type arrival struct {
	file
	claimed bool // by this event; else the instance has it already
	kept    bool // the step put it somewhere
}

// arrivals are the files that come with one event, each once.
type arrivals struct {
	engine *Engine
	live   *Live
	actor  string
	list   []*arrival

	through *lens // by which who names them sees the instance; nil: everything
}

// arrive puts the references of files in the place of what the caller wrote for
// them in an event's variables. Claims become the instance's by the event's step.
func (e *Engine) arrive(ctx context.Context, l *Live, h *happening) error {
	given := variablesOf(h.event)
	if given == nil {
		return nil
	}
	a := &arrivals{engine: e, live: l, actor: principalOf(h.actor), through: h.through}
	// Claims first: a reference may be one to a file that is claimed beside it.
	entered, err := replaceFiles(given, nil, func(place []string, c *canon.Context) (canon.Value, error) {
		if _, ok := c.Get(claimName); !ok {
			return nil, nil
		}
		v, err := a.claim(ctx, c)
		return v, at(place, err)
	})
	if err == nil {
		_, err = replaceFiles(entered, nil, func(place []string, c *canon.Context) (canon.Value, error) {
			if id, ok := isReference(c); ok {
				return c, at(place, a.refer(ctx, id, c))
			}
			return nil, nil
		})
	}
	if err != nil {
		return err
	}
	if len(a.list) > 0 {
		h.event, h.files = withVariables(h.event, entered.(*canon.Context)), a.list
	}
	return nil
}

// replacer returns what takes the place of a context, nil if it stays and is to be
// looked into. Place are the names and indices that lead to it.
type replacer func(place []string, c *canon.Context) (canon.Value, error)

// replaceFiles returns v with some of its contexts replaced. What has none is
// returned as it is, without a copy.
func replaceFiles(v canon.Value, place []string, replace replacer) (canon.Value, error) {
	switch v := v.(type) {
	case canon.List:
		return replaceInList(v, place, replace)
	case *canon.Context:
		if instead, err := replace(place, v); instead != nil || err != nil {
			return instead, err
		}
		result := v
		for i := range v.Len() {
			entry := v.At(i)
			inner, err := replaceFiles(entry.Value, append(place, entry.Name), replace)
			if err != nil {
				return nil, err
			}
			if changed(entry.Value, inner) {
				result = result.With(entry.Name, inner)
			}
		}
		return result, nil
	}
	return v, nil
}

func replaceInList(list canon.List, place []string, replace replacer) (canon.Value, error) {
	result := list
	for i, item := range list {
		inner, err := replaceFiles(item, append(place, strconv.Itoa(i)), replace)
		if err != nil {
			return nil, err
		}
		if !changed(item, inner) {
			continue
		}
		if &result[0] == &list[0] {
			result = slices.Clone(list)
		}
		result[i] = inner
	}
	return result, nil
}

// changed reports whether replaceFiles made another value of a context or list.
func changed(before, after canon.Value) bool {
	switch before := before.(type) {
	case *canon.Context:
		return after != canon.Value(before)
	case canon.List:
		list := after.(canon.List)
		return len(list) > 0 && &list[0] != &before[0]
	}
	return false
}

// claim resolves {"$file": "<id>"}: a file that the instance has, or else an
// upload of the caller's that nobody has claimed.
func (a *arrivals) claim(ctx context.Context, c *canon.Context) (canon.Value, error) {
	v, _ := c.Get(claimName)
	text, _ := v.(canon.String)
	id, ok := parseFileName(string(text))
	if !ok || c.Len() != 1 {
		return nil, fault.New(fault.Invalid, `a file is named by {"$file": "<id>"} and nothing beside it, with the id that its upload was answered with`).
			WithCode("invalid_file")
	}
	if known := a.find(id); known != nil {
		return known.reference(), nil
	}
	if _, held := a.live.head.field(filePath(id)); held {
		f, err := a.hold(ctx, id)
		if err == nil {
			return f.reference(), nil
		}
		if !fault.Is(err, fault.NotFound) {
			return nil, err
		}
	}
	u, err := a.engine.claimable(ctx, a.live.scope, id, a.actor)
	if err != nil {
		return nil, err
	}
	a.list = append(a.list, &arrival{file: u.file, claimed: true})
	return u.reference(), nil
}

// refer requires that a reference, which anybody can write, is true.
func (a *arrivals) refer(ctx context.Context, id store.ID, c *canon.Context) error {
	known := a.find(id)
	if known == nil {
		f, err := a.hold(ctx, id)
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.Invalid, "this refers to a file that the instance does not have").
				WithCode("foreign_file").WithHint(`upload the file and write {"$file": "<id>"}; to pass it on from another instance, download it there first`)
		}
		if err != nil {
			return err
		}
		known = f
	}
	if !canon.Equal(c, known.reference()) {
		return fault.New(fault.Invalid, "this says of a file what is not so").WithCode("invalid_file").
			WithHint(`write {"$file": "<id>"}; the rest follows from it`)
	}
	return nil
}

func (a *arrivals) find(id store.ID) *arrival {
	for _, f := range a.list {
		if f.id == id {
			return f
		}
	}
	return nil
}

// hold notes that a file of the instance is mentioned again. For who may not see it, it is
// not there (NotFound): by its id they could put it where they do.
func (a *arrivals) hold(ctx context.Context, id store.ID) (*arrival, error) {
	f, err := a.engine.openFile(ctx, a.live, id)
	if err != nil {
		return nil, err
	}
	if a.through != nil && !a.through.lookFile(f) {
		return nil, noSuch("file", fileName(id))
	}
	held := &arrival{file: *f}
	a.list = append(a.list, held)
	return held, nil
}

// claimable returns an upload that the principal may claim. Somebody else's is
// not found.
func (e *Engine) claimable(ctx context.Context, scope store.Scope, id store.ID, principal string) (*upload, error) {
	missing := fault.New(fault.NotFound, "there is no upload %s that could be claimed", fileName(id)).
		WithHint("upload the file; who uploads it must be who names it, within a day")
	row, err := e.store.Upload(ctx, scope, id)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, e.claimedBefore(ctx, scope, id, missing)
	case err != nil:
		return nil, err
	case row.State == store.UploadClaimed:
		return nil, claimedAlready(id)
	case row.State != store.UploadReady:
		return nil, missing
	}
	u, err := e.openUpload(ctx, scope, row)
	if err != nil {
		return nil, err
	}
	if u.owner != principal || e.moment().After(u.made.Add(uploadAge)) {
		return nil, missing
	}
	return u, nil
}

// claimedBefore tells an upload that never was from one that an instance has.
func (e *Engine) claimedBefore(ctx context.Context, scope store.Scope, id store.ID, missing error) error {
	_, found, err := e.store.FileHolder(ctx, scope, id)
	if err != nil {
		return err
	}
	if found {
		return claimedAlready(id)
	}
	return missing
}

func claimedAlready(id store.ID) error {
	return fault.New(fault.Conflict, "file %s is claimed already", fileName(id)).WithCode("file_claimed").
		WithHint("a file belongs to one instance; upload it again for another")
}

// at adds the place in the request to an error, if there is one.
func at(place []string, err error) error {
	f, ok := err.(*fault.Error)
	if !ok {
		return err
	}
	placed := *f
	placed.Details = append(slices.Clone(f.Details), fault.Detail{Place: "/variables" + pointer(place), Message: f.Message})
	return &placed
}

// variablesOf returns what came with an event, nil if nothing can.
func variablesOf(event process.Event) *canon.Context {
	switch e := event.(type) {
	case process.Start:
		return e.Variables
	case process.JobCompleted:
		return e.Variables
	case process.JobErrored:
		return e.Variables
	case process.TaskSaved:
		return e.Draft
	case process.TaskCompleted:
		return e.Variables
	case process.VariablesSet:
		return e.Variables
	}
	return nil
}

func withVariables(event process.Event, v *canon.Context) process.Event {
	switch e := event.(type) {
	case process.Start:
		e.Variables = v
		return e
	case process.JobCompleted:
		e.Variables = v
		return e
	case process.JobErrored:
		e.Variables = v
		return e
	case process.TaskSaved:
		e.Draft = v
		return e
	case process.TaskCompleted:
		e.Variables = v
		return e
	case process.VariablesSet:
		e.Variables = v
		return e
	}
	panic("engine: internal error: event without variables")
}

// keepFiles writes the own fields of the files that a step put somewhere. A file
// that it put nowhere, because no mapping passes it on, stays an upload.
func keepFiles(s *step, files []*arrival, changes []process.Change) {
	for _, f := range files {
		label, draft, found := placeOf(f.id, changes)
		// A file that was only in a draft takes the label of where it is entered.
		if !found || !f.claimed && (!f.draft || draft) {
			continue
		}
		f.label, f.draft, f.kept = label, draft, true
		s.fields = append(s.fields, f.write())
	}
}

// placeOf returns the label of the place where a step put a file. Expressions may
// have copied it on in the same step: their labels cover what they read, so the
// place is the one that all others cover. Draft means that no field but a draft
// has it.
func placeOf(id store.ID, changes []process.Change) (label process.Label, draft, found bool) {
	name := canon.String(fileName(id))
	for _, c := range changes {
		if c.Value == nil || !holds(c.Value, name) {
			continue
		}
		inDraft := process.IsDraft(c.Path)
		switch {
		case !found || draft && !inDraft:
			label, draft = c.Label, inDraft
		case inDraft && !draft || c.Label.Covers(label):
		case label.Covers(c.Label):
			label = c.Label
		default:
			label = label.Join(c.Label)
		}
		found = true
	}
	return label, draft, found
}

// holds reports whether a text stands anywhere in a value: of a reference an
// expression may have kept the id alone.
func holds(v canon.Value, text canon.String) bool {
	switch v := v.(type) {
	case canon.String:
		return v == text
	case canon.List:
		return slices.ContainsFunc(v, func(item canon.Value) bool { return holds(item, text) })
	case *canon.Context:
		for i := range v.Len() {
			if holds(v.At(i).Value, text) {
				return true
			}
		}
	}
	return false
}

// refile writes anew the files about persons who turned out to be somebody else.
func (e *Engine) refile(ctx context.Context, l *Live, s *step, persons []string) error {
	for _, id := range l.head.files() {
		path := filePath(id)
		if slices.ContainsFunc(s.fields, func(w fieldWrite) bool { return w.path == path }) {
			continue
		}
		f, err := e.openFile(ctx, l, id)
		if fault.Is(err, fault.Sealed) {
			continue
		}
		if err != nil {
			return err
		}
		if slices.ContainsFunc(f.label.Subjects, func(p string) bool { return slices.Contains(persons, p) }) {
			s.fields = append(s.fields, f.write())
		}
	}
	return nil
}

// routeFiles adds the rows of the files whose own fields a step wrote.
func (l *Live) routeFiles(set *store.WriteSet, files []*arrival) {
	for _, f := range set.Fields {
		id, ok := heldFile(f.Path)
		if !ok {
			continue
		}
		row := l.fileRow(id)
		i := slices.IndexFunc(files, func(f *arrival) bool { return f.id == id })
		if i >= 0 && files[i].claimed {
			row.Size = files[i].size
			set.Claims = append(set.Claims, row)
		} else {
			set.Rekeyed = append(set.Rekeyed, row)
		}
	}
}

// finishClaims destroys the rows of the keys that claimed files were uploaded
// under: from now on only the instance's keys open them. After a crash or an
// error the collection does it.
func (e *Engine) finishClaims(ctx context.Context, scope store.Scope, files []*arrival) {
	for _, f := range files {
		if f.claimed && f.kept {
			_ = e.finishClaim(ctx, scope, f.id)
		}
	}
}

// finishClaim does nothing when that was done already.
func (e *Engine) finishClaim(ctx context.Context, scope store.Scope, id store.ID) error {
	row, err := e.store.Upload(ctx, scope, id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err == nil {
		err = e.destroyUploadKey(ctx, scope, row)
	}
	if err != nil {
		return err
	}
	return e.store.DeleteUpload(ctx, scope, id)
}

// destroyUploadKey destroys the key of an upload. Anybody who writes to the database
// could put the id of another key there, so the row must hold something that is
// sealed under this one for this upload: nothing else is sealed under it then. A key
// that is gone already is as good.
func (e *Engine) destroyUploadKey(ctx context.Context, scope store.Scope, row store.UploadRow) error {
	if row.Key == (store.ID{}) {
		return nil
	}
	key, err := e.ring.Key(ctx, scope.Tenant(), envelope.KeyID(row.Key))
	if err == nil {
		if _, err := envelope.Open([]envelope.Key{key}, e.fileContext(scope, "upload", row.Blob), row.Sealed); err != nil {
			return changedUpload(row.Blob).WithCause(err)
		}
	}
	if err == nil || fault.Is(err, fault.Sealed) { // old bytes of a destroyed one may be left
		err = e.ring.Destroy(ctx, scope.Tenant(), envelope.KeyID(row.Key))
	}
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
