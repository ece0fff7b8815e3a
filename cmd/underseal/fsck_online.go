package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
)

// online has the server check everything, or follows the check that is under way.
func (c *fsckCmd) online(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	now, err := cl.StartCheck(ctx, api.CheckRequest{Files: c.Files})
	if isRunning(err) {
		fmt.Fprintln(e.stderr, "a check is under way: following it")
		if now, err = cl.Integrity(ctx); err == nil && c.Files && now.Ordered != nil && !now.Ordered.Files {
			return fault.New(fault.Conflict, "the check that is under way reads no files").WithCode("check_running").WithHint("order this one when it is over")
		}
	}
	var began time.Time
	if err == nil && now.Ordered != nil {
		began = now.Ordered.Began
	}
	var again pace
	for last := time.Now(); err == nil; now, err = cl.Integrity(ctx) {
		check := now.Ordered
		switch {
		case check == nil || !check.Began.Equal(began): // what was checked before is known again
			return fault.New(fault.Unavailable, "the server was started anew, and the check with it is gone").WithCode(codeUnfinished).WithHint("order it again")
		case check.State == "failed":
			return fault.New(fault.Unavailable, "the server could not finish the check, %s so far: %s", counted(len(check.Findings), "finding"), check.Error).
				WithCode(codeUnfinished).WithHint("order it again")
		case check.State == "done":
			done := fsckedBy(check)
			return errors.Join(e.result(done, done.write), done.err())
		}
		if time.Since(last) >= 2*time.Second {
			last = time.Now()
			fmt.Fprintf(e.stderr, "%s, %s looked at%s, %s%s\n", check.Phase, counted(int(check.Rows), "row"), ofFiles(check.Bytes), counted(len(check.Findings), "finding"), waits(check))
		}
		if err := again.wait(ctx); err != nil {
			return err
		}
	}
	return e.explain(err)
}

// waits says what a check waits for, if it does.
func waits(check *api.IntegrityCheck) string {
	if check.Waiting == "" {
		return ""
	}
	return "; waiting: " + check.Waiting
}

func isRunning(err error) bool {
	var refused *client.Error
	return errors.As(err, &refused) && refused.Problem.Code == "check_running"
}

// fsckedBy is what the server's check found.
func fsckedBy(check *api.IntegrityCheck) fscked {
	done := fscked{Rows: check.Rows, Bytes: check.Bytes, Uncovered: check.Uncovered, Findings: []engine.Finding{}}
	for _, f := range check.Findings {
		done.Findings = append(done.Findings, engine.Finding(f))
	}
	return done
}

// status says what the server has checked.
func (c *fsckCmd) status(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	now, err := cl.Integrity(ctx)
	if err != nil {
		return e.explain(err)
	}
	newest, _ := newestCheck(now)
	return errors.Join(e.result(now, func(w io.Writer) { writeIntegrity(w, now) }), newest.err())
}

// newestCheck returns what the check found that was over last, and when that was; zero:
// there was none.
func newestCheck(now api.Integrity) (done fscked, ended time.Time) {
	for _, check := range []*api.IntegrityCheck{now.Last, now.Ordered} {
		if check != nil && check.Ended != nil && check.Ended.After(ended) {
			ended, done = *check.Ended, fsckedBy(check)
		}
	}
	return done, ended
}

func writeIntegrity(w io.Writer, now api.Integrity) {
	rate := strconv.Itoa(now.Rate) + " rows a second"
	if now.Rate == 0 {
		rate = "nothing by itself (check_rate)"
	}
	pairs(w, "the server checks", rate)
	for _, check := range []struct {
		name string
		*api.IntegrityCheck
	}{{"last round", now.Last}, {"this round", now.Current}, {"last ordered", now.Ordered}} {
		if check.IntegrityCheck == nil {
			fmt.Fprintf(w, "\n%s: none yet\n", check.name)
			continue
		}
		ended := ""
		if check.Ended != nil {
			ended = stamp(*check.Ended)
		}
		fmt.Fprintf(w, "\n%s:\n", check.name)
		pairs(w, "state", check.State, "began", stamp(check.Began), "ended", ended, "phase", check.Phase, "waiting", check.Waiting, "error", check.Error)
		fsckedBy(check.IntegrityCheck).write(w)
	}
}
