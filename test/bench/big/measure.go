package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/test/bench/load"
)

// rates measures both databases in turn, in the order small, large, large,
// small, so that drift hits both alike. Each round begins with a fresh server,
// and the small database begins each anew: what is measured also fills it.
func (b *bench) rates(ctx context.Context, small, large load.Home) error {
	working := load.Home{Binary: b.binary, Dir: filepath.Join(b.dir, "working")}
	few, many := &load.Sample{}, &load.Sample{}
	onSmall := func() error {
		if err := copyHome(working, small); err != nil {
			return err
		}
		return b.rate(ctx, working, few)
	}
	onLarge := func() error { return b.rate(ctx, large, many) }
	for round := range b.rounds {
		b.say("round %d of %d with %d and with %d finished instances", round+1, b.rounds, b.few, b.finished)
		order := []func() error{onSmall, onLarge}
		if round%2 == 1 {
			order = []func() error{onLarge, onSmall}
		}
		for _, measure := range order {
			if err := measure(); err != nil {
				return err
			}
		}
	}
	a, z := few.Figures(), many.Figures()
	b.table.Section("one_task on SQLite: start, one job, end, over HTTP; confidential")
	b.table.Show(fmt.Sprintf("with %d finished instances", b.few), a.Rate, "/s")
	b.table.Show(fmt.Sprintf("with %d", b.finished), z.Rate, "/s")
	b.table.AtLeast("many / few", z.Rate/a.Rate, 0.9, "")
	return nil
}

// rate adds to a sample what a server on a home completes.
func (b *bench) rate(ctx context.Context, h load.Home, s *load.Sample) error {
	server, err := h.Start(load.Usual)
	if err != nil {
		return err
	}
	l := usual(server)
	_, err = l.Full(ctx, b.warmUp)
	if err == nil {
		var got load.Sample
		got, err = l.Full(ctx, b.measure/time.Duration(b.rounds))
		s.Add(got)
		b.say("  %.0f/s", got.Figures().Rate)
	}
	return errors.Join(err, server.Stop())
}

// memory starts live instances, which wait at their job and stay open in memory.
func (b *bench) memory(ctx context.Context, h load.Home) error {
	b.say("starting %d instances that stay", b.live)
	server, err := h.Start(load.Usual)
	if err != nil {
		return err
	}
	idle, err := resident(server.PID())
	if err == nil {
		err = usual(server).StartOnly(ctx, b.live)
	}
	if err != nil {
		return errors.Join(err, server.Stop())
	}
	full, err := resident(server.PID())
	b.say("%.0f MB resident, at most %.0f MB, of it %.0f MB of files", megabytes(full.now), megabytes(full.most), megabytes(full.files))
	b.table.Section(fmt.Sprintf("the server with %d live and %d finished instances", b.live, b.finished))
	b.table.Show("resident memory after the start, none live", megabytes(idle.now), "MB")
	b.table.Show("of it pages of files, mostly of the binary", megabytes(full.files), "MB")
	b.table.Below("resident memory with all live, at most", megabytes(full.most), 150, "MB")
	return errors.Join(err, server.Stop())
}

// memory is resident bytes of a process; files is the part that is backed by
// files and can be dropped.
type memory struct{ now, most, files int64 }

// resident reads them where Linux has them.
func resident(pid int) (m memory, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(status)) {
		words := strings.Fields(line)
		if len(words) != 3 || words[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return m, err
		}
		switch words[0] {
		case "VmRSS:":
			m.now = n * 1024
		case "VmHWM:":
			m.most = n * 1024
		case "RssFile:":
			m.files = n * 1024
		}
	}
	if m.now == 0 || m.most == 0 {
		return m, errors.New("the kernel does not say how much memory a process has")
	}
	return m, nil
}

// starting times starts of the server on a home with all instances.
func (b *bench) starting(h load.Home) error {
	b.say("starting the server %d times", b.starts)
	var took []time.Duration
	for range b.starts {
		server, err := h.Start(load.Usual)
		if err != nil {
			return err
		}
		took = append(took, server.Serving)
		if err := server.Stop(); err != nil {
			return err
		}
	}
	slices.Sort(took)
	b.table.Below("from the start of the process until /readyz is 200", took[len(took)/2].Seconds(), 0.5, "s")
	b.table.Show("the slowest of "+strconv.Itoa(b.starts), took[len(took)-1].Seconds(), "s")
	return nil
}
