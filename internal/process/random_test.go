package process_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

// pick chooses a number from 0 to n-1.
type pick func(n int) int

// sketch writes random processes of blocks with one entry and one exit. A token
// that enters a block leaves it exactly once, however gateways, loops, scopes and
// interrupts are nested, so every run must come to its end event exactly once.
type sketch struct {
	pick
	elements, flows []string
	count           int
}

// draw returns the text of a process for define.
func draw(p pick) string {
	s := &sketch{pick: p}
	first, last := s.block(3, "")
	s.elements = append([]string{"start s"}, s.elements...)
	s.add("end e", "")
	s.flow("s", first, "")
	s.flow(last, "e", "")
	return declared + strings.Join(s.elements, "\n") + "\n" + strings.Join(s.flows, "\n")
}

func (s *sketch) name(kind string) string {
	s.count++
	return fmt.Sprint(kind, s.count)
}

// add adds an element line inside the subprocess, "" for none.
func (s *sketch) add(line, in string) {
	if in != "" {
		line += " | in " + in
	}
	s.elements = append(s.elements, line)
}

func (s *sketch) flow(from, to, suffix string) {
	s.flows = append(s.flows, from+" -> "+to+suffix)
}

// block adds a block and returns its first and last element.
func (s *sketch) block(depth int, in string) (first, last string) {
	if depth == 0 {
		return s.simple(in)
	}
	switch s.pick(7) {
	case 0:
		return s.simple(in)
	case 1:
		return s.sequence(depth, in)
	case 2:
		return s.split("xor", " if n > %d", depth, in)
	case 3:
		return s.split("and", "", depth, in)
	case 4:
		return s.split("or", " if n > %d", depth, in)
	case 5:
		return s.loop(depth, in)
	}
	return s.subprocess(depth, in)
}

func (s *sketch) simple(in string) (first, last string) {
	name := s.name("a")
	s.add([]string{
		"service " + name,
		"service " + name + " | input m = n + 1 | output n = m + r",
		"user " + name + " | groups [\"g\"]",
		"script " + name + " | set n = n + 1",
		"script " + name + " | set out = applicant.ssn",
		"timer " + name + " | after \"PT1H\"",
		"task " + name,
		"service " + name + " | input applicant = applicant",
	}[s.pick(8)], in)
	return name, name
}

func (s *sketch) sequence(depth int, in string) (first, last string) {
	first, middle := s.block(depth-1, in)
	next, last := s.block(depth-1, in)
	s.flow(middle, next, "")
	return first, last
}

func (s *sketch) split(kind, condition string, depth int, in string) (first, last string) {
	first, last = s.name(kind), s.name(kind)
	s.add(kind+" "+first, in)
	branches := 2 + s.pick(2)
	for i := range branches {
		from, to := s.block(depth-1, in)
		switch {
		case condition == "":
			s.flow(first, from, "")
		case i == 0:
			s.flow(first, from, " default")
		default:
			s.flow(first, from, fmt.Sprintf(condition, s.pick(6)))
		}
		s.flow(to, last, "")
	}
	s.add(kind+" "+last, in)
	return first, last
}

// loop repeats a block until a job in it brings n to 3; it always waits once.
func (s *sketch) loop(depth int, in string) (first, last string) {
	first, wait, last := s.name("xor"), s.name("a"), s.name("xor")
	s.add("xor "+first, in)
	from, to := s.block(depth-1, in)
	s.add("service "+wait, in)
	s.add("xor "+last, in)
	after := s.name("a")
	s.add("task "+after, in)
	s.flow(first, from, "")
	s.flow(to, wait, "")
	s.flow(wait, last, "")
	s.flow(last, first, " if n < 3")
	s.flow(last, after, " default")
	return first, after
}

// subprocess puts a block into a scope that a timer or an error may interrupt;
// then a merge behind it takes both ways together.
func (s *sketch) subprocess(depth int, in string) (first, last string) {
	first, start, end, last := s.name("box"), s.name("s"), s.name("e"), s.name("xor")
	s.add("sub "+first+[]string{"", " | input n = n", " | output n = n"}[s.pick(3)], in)
	s.add("start "+start, first)
	from, to := s.block(depth-1, first)
	s.add("end "+end, first)
	s.flow(start, from, "")
	s.flow(to, end, "")
	boundaries := s.pick(4)
	if boundaries&1 != 0 {
		late := s.name("late")
		s.add("on-timer "+late+" | interrupting | after \"PT2H\" | on "+first, "")
		s.flow(late, last, "")
	}
	if boundaries&2 != 0 {
		bad := s.name("bad")
		s.add("on-error "+bad+" | code E | on "+first, "")
		s.flow(bad, last, "")
	}
	s.add("xor "+last, in)
	s.flow(first, last, "")
	return first, last
}

// event picks what happens next among all that is open; nil if nothing is.
func (p *player) event(pick pick) process.Event {
	var events []process.Event
	result := vars(p.t, fmt.Sprintf(`{"n":%d,"r":%d}`, pick(7), pick(3)))
	for _, j := range p.s.Jobs() {
		if j.Failed {
			continue
		}
		done := process.JobCompleted{Job: j.ID, Variables: result}
		events = append(events, done, done, process.JobFailed{Job: j.ID, Retries: -1, Backoff: -1, Message: "m"},
			process.JobErrored{Job: j.ID, Code: "E", Variables: result})
	}
	for _, t := range p.s.Tasks() {
		events = append(events, process.TaskCompleted{Task: t.ID, Variables: result},
			process.TaskSaved{Task: t.ID, Draft: result}, process.TaskClaimed{Task: t.ID, Assignee: "a"})
	}
	for _, t := range p.s.Timers() {
		events = append(events, process.TimerFired{Timer: t.ID})
	}
	for _, i := range p.s.Incidents() {
		events = append(events, process.IncidentRetried{Incident: i.ID})
	}
	if len(events) == 0 {
		return nil
	}
	e := events[pick(len(events))]
	if fired, ok := e.(process.TimerFired); ok {
		if timer, _ := p.s.Timer(fired.Timer); timer.Due.After(p.now) {
			p.now = timer.Due
		}
	}
	p.now = p.now.Add(time.Duration(pick(1000)) * time.Millisecond)
	return e
}

const randomStart = `{"n":0,"r":0,"applicant":{"id":"p1","ssn":"1"},"income":5}`

// runs plays an instance to its end and calls each after every step. It fails if
// the instance waits for nothing or reaches its end event not exactly once.
func (p *player) runs(pick pick, each func(process.Event)) {
	p.t.Helper()
	ends := 0
	for p.s.Status() == process.Active {
		e := p.event(pick)
		if e == nil {
			p.t.Fatalf("the instance is stuck: %s", p.s.Encode())
		}
		p.step(e)
		each(e)
		for _, line := range p.out.Trail {
			if line == (process.Transition{Element: "e", What: "entered"}) {
				ends++
			}
		}
	}
	p.wantDone()
	if ends > 1 {
		p.t.Fatalf("%d tokens came to the end event", ends)
	}
}

func rapidPick(t *rapid.T) pick {
	return func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
}

func TestEveryRunOfAStructuredProcessEndsOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pick := rapidPick(t)
		d := define(t, draw(pick))
		p := play(t, d, randomStart)
		p.runs(pick, func(process.Event) {})
	})
}

func TestStaleEventsAreRejected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pick := rapidPick(t)
		p := play(t, define(t, draw(pick)), randomStart)
		p.runs(pick, func(e process.Event) {
			switch e := e.(type) {
			case process.JobCompleted, process.TaskCompleted, process.JobErrored, process.IncidentRetried:
				if _, caught := e.(process.JobErrored); caught && len(p.s.Incidents()) > 0 {
					return // not caught: the job is still there, failed
				}
				p.reject(e, fault.Conflict)
			}
		})
	})
}

func TestDerivedLabelsCoverWhatWasRead(t *testing.T) {
	paths := []string{"v", "v.a", "v.b", "v.a.b", "w", "w.a", "who", "v[1].a", "count(v)", "v[a = 1]"}
	rapid.Check(t, func(t *rapid.T) {
		pick := rapidPick(t)
		var reads []string
		for range 1 + pick(3) {
			reads = append(reads, paths[pick(len(paths))])
		}
		d := draft(t, "start s\nscript a | set out = ["+strings.Join(reads, ", ")+"]\nuser u\ns -> a\na -> u")
		d.Policy = *drawPolicy(t)
		if err := d.Seal(); err != nil {
			t.Skip("the policy pairs a subject with no index")
		}
		start, _ := canon.NewContext(
			canon.Entry{Name: "v", Value: shapes(t, 3)}, canon.Entry{Name: "w", Value: shapes(t, 2)}, canon.Entry{Name: "who", Value: canon.String("p")})
		p := &player{t: t, d: d, s: process.NewState(), now: begin, fields: map[string]process.Change{}}
		p.step(process.Start{Variables: start})
		out := p.s.Label("out")
		for _, read := range reads {
			name, rest, _ := strings.Cut(strings.NewReplacer("count(", "", ")", "", "[1]", "", "[a = 1]", "").Replace(read), ".")
			value, _ := start.Get(name)
			for _, f := range process.Split(&d.Policy, 0, name, value) {
				if readsField(name, rest, f.Path) && !out.Covers(f.Label) {
					t.Fatalf("reading %s of %s gave label %v, which does not cover %s %v", read, canon.Encode(value), out, f.Path, f.Label)
				}
			}
		}
	})
}

// readsField reports whether a read of name.rest is of data in the field.
func readsField(name, rest, field string) bool {
	if rest == "" {
		return true
	}
	var plain strings.Builder // the field's path without indices
	for part := range strings.SplitSeq(field, "[") {
		if _, after, ok := strings.Cut(part, "]"); ok {
			part = after
		}
		plain.WriteString(part)
	}
	return strings.HasPrefix(plain.String()+".", name+"."+rest+".")
}

// transcript plays many random processes and hashes all outcomes and states.
func transcript(t *testing.T) string {
	random := rand.New(rand.NewPCG(1, 2))
	hash := sha256.New()
	for range 150 {
		p := play(t, define(t, draw(random.IntN)), randomStart)
		p.runs(random.IntN, func(process.Event) {
			fmt.Fprintf(hash, "%s\n%s\n", show(p.out), p.s.Encode())
		})
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}

// TestTwoOperatingSystemProcessesAgree runs the same events in two more processes
// of their own, each with its own seeds for the order of maps.
func TestTwoOperatingSystemProcessesAgree(t *testing.T) {
	const child = "UNDERSEAL_TEST_TRANSCRIPT"
	want := transcript(t)
	if os.Getenv(child) != "" {
		fmt.Printf("transcript %s\n", want)
		return
	}
	for range 2 {
		command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		command.Env = append(os.Environ(), child+"=1")
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !bytes.Contains(out, []byte("transcript "+want+"\n")) {
			t.Errorf("another process did not agree on %s:\n%s", want, out)
		}
	}
}

func TestCommandsOfAStepNameWhatIsThere(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		p := play(t, define(t, draw(random.IntN)), randomStart)
		open := map[string][]uint64{}
		p.project(open)
		p.runs(random.IntN, func(process.Event) { p.project(open) })
		for kind, ids := range open {
			if len(ids) > 0 {
				t.Errorf("%s %v were never closed", kind, ids)
			}
		}
	}
}

// project keeps queue rows by commands alone, as the store does, and compares.
func (p *player) project(open map[string][]uint64) {
	put := func(kind string, id uint64) {
		if !slices.Contains(open[kind], id) {
			open[kind] = append(open[kind], id)
		}
	}
	drop := func(kind string, id uint64) {
		i := slices.Index(open[kind], id)
		if i < 0 {
			p.t.Fatalf("%s %d was closed but never opened", kind, id)
		}
		open[kind] = slices.Delete(open[kind], i, i+1)
	}
	for _, c := range p.out.Commands {
		switch c := c.(type) {
		case process.OpenTask:
			put("task", c.Task)
		case process.ChangeTask:
			put("task", c.Task)
		case process.CloseTask:
			drop("task", c.Task)
		case process.OfferJob:
			put("job", c.Job)
		case process.CloseJob:
			drop("job", c.Job)
		case process.SetTimer:
			put("timer", c.Timer)
		case process.CloseTimer:
			drop("timer", c.Timer)
		case process.RaiseIncident:
			put("incident", c.Incident)
		case process.CloseIncident:
			drop("incident", c.Incident)
		case process.End:
		}
	}
	compare := func(kind string, ids []uint64) {
		if slices.Sort(open[kind]); !slices.Equal(open[kind], ids) {
			p.t.Fatalf("%ss by commands %v, in the state %v", kind, open[kind], ids)
		}
	}
	compare("task", idsOf(p.s.Tasks(), func(t process.OpenUserTask) uint64 { return t.ID }))
	compare("job", idsOf(p.s.Jobs(), func(j process.OpenJob) uint64 { return j.ID }))
	compare("timer", idsOf(p.s.Timers(), func(t process.OpenTimer) uint64 { return t.ID }))
	compare("incident", idsOf(p.s.Incidents(), func(i process.OpenIncident) uint64 { return i.ID }))
}

func idsOf[T any](list []T, id func(T) uint64) []uint64 {
	var ids []uint64
	for _, item := range list {
		ids = append(ids, id(item))
	}
	return ids
}
