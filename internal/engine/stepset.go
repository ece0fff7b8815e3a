package engine

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// stepSet turns what the interpreter did into one write set.
func (e *Engine) stepSet(ctx context.Context, l *Live, h happening, out process.Outcome, at time.Time, shard string) (*store.WriteSet, error) {
	if l.head.started.IsZero() {
		l.head.started = at
	}
	if l.state.Status() != process.Active && l.head.ended.IsZero() {
		l.head.ended = at
	}
	s := step{
		shard: shard, kind: leafKind(h.name, out), act: h.act, elem: out.Element, at: at,
		record: recordAbout(numberOf(h.event), h.name, out, at), fields: h.extra, tokens: h.terms,
	}
	s.fields = append(s.fields, fieldWrite{path: "$actor", value: h.actor, label: process.Label{Class: process.Confident}, fact: true})
	var again []string
	for _, change := range out.Changes {
		if change.Again {
			again = append(again, change.Path)
		}
		if change.Value == nil {
			s.gone = append(s.gone, change.Path)
			continue
		}
		s.fields = append(s.fields, fieldWrite{path: change.Path, value: change.Value, label: change.Label, search: change.Search == "exact"})
	}
	if h.signed != nil && out.Rejected == nil {
		s.signed = h.signed
		s.fields = append(s.fields, h.signed.fields(out.Changes)...)
	}
	keepFiles(&s, h.files, out.Changes)
	// A request that was refused did nothing: repeated, it is refused again, and
	// never found under its key as if it had been carried out.
	if out.Rejected == nil {
		tokens, err := e.requestTokens(ctx, &l.object, h.again)
		if err != nil {
			return nil, err
		}
		s.tokens = append(s.tokens, tokens...)
	}
	if err := e.meetAll(ctx, l, &s, out.Named, again); err != nil {
		return nil, err
	}
	if err := e.searchTokens(ctx, l, &s); err != nil {
		return nil, err
	}
	l.head.state = l.state.Encode()
	set, err := e.write(ctx, &l.object, s)
	if err != nil {
		return nil, err
	}
	l.head.state = nil // it is in l.state; ten thousand instances wait in memory
	l.route(set, out.Commands)
	l.routeFiles(set, h.files)
	return set, nil
}

// leafKind returns what a leaf says that happened. Of a rejected event it must not say
// that it did: evidence of that step would show who came too late as who did the work.
func leafKind(name string, out process.Outcome) string {
	if out.Rejected != nil {
		return "instance." + name + "_rejected"
	}
	return "instance." + name
}

// meetAll gives keys to all persons, and writes again every field about a
// person who turned out to be somebody else: it must be sealed under their key. Of
// an erased one nothing is left to write. Again are fields that have the value they had,
// and whose author is not to find that out: who they name counts as somebody else.
func (e *Engine) meetAll(ctx context.Context, l *Live, s *step, named []process.Field, again []string) error {
	changed, err := e.meetPersons(ctx, &l.object, s.fields, named)
	if err != nil {
		return err
	}
	changed = append(changed, again...)
	l.head.noteSame(s.fields)
	outlived, err := e.nameOutlived(ctx, l)
	if changed = append(changed, outlived...); err != nil || len(changed) == 0 {
		return err
	}
	for _, path := range l.state.FieldPaths() {
		label := l.state.Label(path)
		if !slices.ContainsFunc(label.Subjects, func(p string) bool { return slices.Contains(changed, p) }) ||
			slices.ContainsFunc(s.fields, func(w fieldWrite) bool { return w.path == path }) || l.isErased(path) {
			continue
		}
		value, _ := l.state.Field(path)
		s.fields = append(s.fields, fieldWrite{path: path, value: value, label: label, search: l.state.Search(path) == "exact"})
	}
	return e.refile(ctx, l, s, changed)
}

// searchTokens makes fields findable by their exact values, with one token for
// each person that a field is about. Tokens of former values stay until those of the
// instance are made anew; whoever finds by one compares with the present value. All
// persons have been met.
func (e *Engine) searchTokens(ctx context.Context, l *Live, s *step) error {
	for _, f := range s.fields {
		if !f.search {
			continue
		}
		token, err := e.termToken(ctx, l.scope.Tenant(), "field", fieldTerm(l.head.process, f.path, f.value))
		if err != nil {
			return err
		}
		if len(f.label.Subjects) == 0 {
			s.tokens = append(s.tokens, store.Token{Kind: store.SearchToken, Token: token})
		}
		for _, path := range f.label.Subjects {
			if p, ok := l.head.person(path); ok {
				s.tokens = append(s.tokens, store.Token{Kind: store.SearchToken, Token: token, Key: store.ID(l.head.keys[p.key])})
			}
		}
	}
	return nil
}

func fieldTerm(process, path string, v canon.Value) string {
	return string(canon.EncodeItems(canon.String(process), canon.String(path), v))
}

// numberOf returns the number of the task or job that an event is about, else 0.
func numberOf(event process.Event) uint64 {
	switch ev := event.(type) {
	case process.JobCompleted:
		return ev.Job
	case process.JobFailed:
		return ev.Job
	case process.JobErrored:
		return ev.Job
	case process.TaskClaimed:
		return ev.Task
	case process.TaskUnclaimed:
		return ev.Task
	case process.TaskSaved:
		return ev.Task
	case process.TaskCompleted:
		return ev.Task
	}
	return 0
}

// record is the step's clear record: what happened to which elements, no values.
func record(name string, out process.Outcome, at time.Time) *canon.Context {
	return recordAbout(0, name, out, at)
}

// recordAbout is the record of a step that is about a task or job.
func recordAbout(number uint64, name string, out process.Outcome, at time.Time) *canon.Context {
	about := ""
	if number != 0 {
		about = strconv.FormatUint(number, 10)
	}
	trail := make(canon.List, len(out.Trail))
	for i, t := range out.Trail {
		trail[i] = canon.String(t.What + " " + t.Element)
	}
	rejected := ""
	if out.Rejected != nil {
		rejected = fault.KindOf(out.Rejected).String()
	}
	return newContext(
		canon.Entry{Name: "about", Value: canon.String(about)},
		canon.Entry{Name: "at", Value: canon.String(formatTime(at))},
		canon.Entry{Name: "element", Value: canon.String(out.Element)},
		canon.Entry{Name: "event", Value: canon.String(name)},
		canon.Entry{Name: "rejected", Value: canon.String(rejected)},
		canon.Entry{Name: "trail", Value: trail},
	)
}
