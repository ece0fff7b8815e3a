package feel_test

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/feel"
)

func TestZZ(t *testing.T) {
	data, err := os.ReadFile(os.Getenv("SRCS"))
	if err != nil {
		t.Skip()
	}
	for src := range strings.Lines(string(data)) {
		src = strings.TrimSuffix(src, "\n")
		if src == "" {
			continue
		}
		at := time.Now()
		x, err := feel.Parse(src, feel.Options{})
		parse := time.Since(at)
		if err != nil {
			t.Logf("%.60s: %v", src, err)
			continue
		}
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		at = time.Now()
		r, err := x.Eval(nil, testEnv)
		took := time.Since(at)
		runtime.ReadMemStats(&after)
		e := "ok"
		if err != nil {
			e = err.Error()
			e = e[strings.LastIndex(e, ":"):]
		} else {
			e = show(r.Value)
			if len(r.Warnings) > 0 {
				e += " W:" + r.Warnings[0].Message
			}
		}
		t.Logf("%-90.90s parse %4dms %6dms total %5d MiB sys+%4d MiB %.80s", src, parse.Milliseconds(), took.Milliseconds(), (after.TotalAlloc-before.TotalAlloc)>>20, int64(after.HeapSys-before.HeapSys)>>20, e)
	}
}
