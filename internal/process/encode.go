package process

import (
	"strconv"

	"github.com/underseal/underseal/internal/canon"
)

// structureVersion is the version of what Encode writes. A reader knows all
// versions up to its own; docs/design/process.md describes each.
const structureVersion = 1

var phaseNames = [...]string{
	arriving: "arriving", joined: "joined", working: "working", entering: "entering",
	completing: "completing", leaving: "leaving", throwing: "throwing",
}

// Encode writes the instance's structure as canonical JSON: everything but the
// values of its fields. Elements and flows are named by their BPMN ids, fields by
// their paths with their labels. Equal states have equal bytes.
func (s *State) Encode() []byte {
	w := writer{make([]byte, 0, 512)}
	w.open('{')
	w.number("v", structureVersion)
	w.text("status", string(s.status))
	w.number("last", int64(s.last))
	if s.status != "" {
		list(&w, "scopes", s.scopes[1:], s.writeScope)
		list(&w, "tokens", s.tokens, s.writeToken)
		list(&w, "jobs", s.jobs, s.writeJob)
		list(&w, "tasks", s.tasks, s.writeTask)
		list(&w, "timers", s.timers, s.writeTimer)
		list(&w, "incidents", s.incidents, s.writeIncident)
		s.writeFields(&w)
	}
	w.close('}')
	return w.b
}

func (s *State) writeScope(w *writer, sc *scope) {
	w.id("id", sc.id)
	w.id("parent", sc.parent)
	w.id("host", sc.host)
}

func (s *State) writeToken(w *writer, t *token) {
	w.id("id", t.id)
	w.id("scope", t.scope)
	w.id("inner", t.inner)
	w.text("element", s.d.Elements[t.element].ID)
	if t.flow >= 0 {
		w.text("flow", s.d.Flows[t.flow].ID)
	}
	w.text("phase", phaseNames[t.phase])
}

func (s *State) writeJob(w *writer, j *job) {
	w.id("id", j.id)
	w.id("token", j.token)
	w.text("type", j.typ)
	w.number("retries", int64(j.retries))
	w.number("tries", int64(j.tries))
	w.number("created", j.created)
	w.number("notBefore", j.notBefore)
	w.flag("failed", j.failed)
	s.writeGiven(w, j.given)
}

func (s *State) writeTask(w *writer, t *task) {
	w.id("id", t.id)
	w.id("token", t.token)
	w.text("assignee", t.assignee)
	w.texts("groups", t.groups)
	w.texts("users", t.users)
	w.number("created", t.created)
	w.number("due", t.due)
	s.writeGiven(w, t.given)
}

// writeGiven writes the label of what was given unless it is the default.
func (s *State) writeGiven(w *writer, l *Label) {
	if !sameLabel(l, s.d.Policy.tree.standard) {
		w.key("given")
		w.label(l)
	}
}

// label writes [class, subject ..].
func (w *writer) label(l *Label) {
	w.open('[')
	w.string(l.Class.String())
	for _, subject := range l.Subjects {
		w.string(subject)
	}
	w.close(']')
}

func (s *State) writeTimer(w *writer, t *timer) {
	w.id("id", t.id)
	w.id("token", t.token)
	w.text("element", s.d.Elements[t.element].ID)
	w.number("due", t.due)
	w.text("every", t.every)
	w.number("left", int64(t.left))
}

func (s *State) writeIncident(w *writer, i *incident) {
	w.id("id", i.id)
	w.id("token", i.token)
	w.text("code", i.code)
	w.id("job", i.job)
	w.number("created", i.created)
}

// writeFields lists each live field, by scope and variable, notes last, as
// [path, class, subject ..].
func (s *State) writeFields(w *writer) {
	w.key("fields")
	w.open('[')
	for i := range s.scopes {
		prefix := scopePrefix(s.scopes[i].id)
		for j := range s.scopes[i].vars {
			v := &s.scopes[i].vars[j]
			name := escape(v.name)
			w.field(prefix, name, "", v.label)
			for _, p := range v.parts {
				w.field(prefix, name, p.suffix, p.label)
			}
		}
	}
	for i := range s.notes {
		w.field("", s.notes[i].name, "", s.notes[i].label)
	}
	w.close(']')
}

// writer appends JSON without spaces. Members that are zero, empty or false are
// left out.
type writer struct{ b []byte }

func (w *writer) comma() {
	if last := w.b[len(w.b)-1]; last != '{' && last != '[' && last != ':' {
		w.b = append(w.b, ',')
	}
}

func (w *writer) open(bracket byte) {
	if len(w.b) > 0 {
		w.comma()
	}
	w.b = append(w.b, bracket)
}

func (w *writer) close(bracket byte) { w.b = append(w.b, bracket) }

// key writes the name of a member; names need no escapes.
func (w *writer) key(name string) {
	w.comma()
	w.b = append(append(append(w.b, '"'), name...), '"', ':')
}

func (w *writer) number(name string, n int64) {
	if n != 0 {
		w.key(name)
		w.b = strconv.AppendInt(w.b, n, 10)
	}
}

func (w *writer) id(name string, id uint64) { w.number(name, int64(id)) }

func (w *writer) flag(name string, on bool) {
	if on {
		w.key(name)
		w.b = append(w.b, "true"...)
	}
}

func (w *writer) text(name, value string) {
	if value != "" {
		w.key(name)
		w.string(value)
	}
}

func (w *writer) texts(name string, values []string) {
	if len(values) == 0 {
		return
	}
	w.key(name)
	w.open('[')
	for _, value := range values {
		w.string(value)
	}
	w.close(']')
}

func (w *writer) string(text string) {
	w.comma()
	if plain(text) {
		w.b = append(append(append(w.b, '"'), text...), '"')
		return
	}
	w.b = canon.AppendEncode(w.b, canon.String(text))
}

func (w *writer) field(prefix, name, suffix string, l *Label) {
	w.open('[')
	if plain(name) && plain(suffix) {
		w.b = append(append(append(append(append(w.b, '"'), prefix...), name...), suffix...), '"')
	} else {
		w.string(prefix + name + suffix)
	}
	w.string(l.Class.String())
	for _, subject := range l.Subjects {
		w.string(subject)
	}
	w.close(']')
}

// plain reports whether a text stands in JSON as it is.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func list[T any](w *writer, name string, items []T, write func(*writer, *T)) {
	if len(items) == 0 {
		return
	}
	w.key(name)
	w.open('[')
	for i := range items {
		w.open('{')
		write(w, &items[i])
		w.close('}')
	}
	w.close(']')
}
