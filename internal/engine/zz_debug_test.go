//go:build flakedebug

package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func allMutations(t *testing.T, w *world, file string, free map[string]string) []mutation {
	var list []mutation
	for name, now := range tables(t, filepath.Join(w.config.Data, file), file) {
		if _, ok := free[name]; ok {
			continue
		}
		now.free = free
		for c, column := range now.columns {
			if _, ok := free[name+"."+column]; ok {
				continue
			}
			for r, row := range now.rows {
				for i, value := range others(row[c]) {
					list = append(list, now.set(fmt.Sprintf("change %d", i), row, column, value))
				}
				if o := now.rows[(r+1)%len(now.rows)]; !equal(row[c], o[c]) {
					list = append(list, now.set("swap", row, column, o[c]))
				}
			}
		}
	}
	sort.Slice(list, func(a, b int) bool { return list[a].name < list[b].name })
	return list
}

func describe(m mutation) string { return fmt.Sprintf("%s args %x", m.sql, m.args) }

func TestZZDump(t *testing.T) {
	w := newWorld(t)
	for _, file := range []string{"data.db", "keys.db"} {
		for name, tab := range tables(t, filepath.Join(w.config.Data, file), file) {
			fmt.Printf("%s %s: %d rows, %d columns\n", file, name, len(tab.rows), len(tab.columns))
		}
	}
	for _, f := range []map[string]string{free, unnamed} {
		a, b := 0, 0
		for _, file := range []string{"data.db", "keys.db"} {
			a += len(w.mutations(t, file, f))
			b += len(allMutations(t, w, file, f))
		}
		fmt.Println("mutations", a, "exhaustive", b)
	}
	at := time.Now()
	fmt.Println(w.readAll(t, w.copy(t, w.config.Data)))
	fmt.Println("read", time.Since(at))
	at = time.Now()
	fmt.Println(w.fsck(t, w.copy(t, w.config.Data), false))
	fmt.Println("fsck", time.Since(at))
}

func TestZZExhaustive(t *testing.T) {
	w := newWorld(t)
	which := free
	checkFirst := os.Getenv("ZZ") == "fsck"
	if checkFirst {
		which = unnamed
	}
	only := os.Getenv("ZZTABLES")
	var all []mutation
	for _, file := range []string{"data.db", "keys.db"} {
		all = append(all, allMutations(t, w, file, which)...)
	}
	part, _ := strconv.Atoi(os.Getenv("ZZPART"))
	var mu sync.Mutex
	ch := make(chan mutation)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for m := range ch {
				dir, err := os.MkdirTemp("/tmp/flake", "zz")
				if err != nil {
					panic(err)
				}
				for _, f := range []string{"data.db", "keys.db"} {
					d, _ := os.ReadFile(filepath.Join(w.config.Data, f))
					os.WriteFile(filepath.Join(dir, f), d, 0o600)
				}
				if m.apply(t, filepath.Join(dir, m.file)) {
					noticed := false
					if checkFirst {
						found, err := w.fsck(t, dir, false)
						noticed = err != nil || len(found) > 0
					}
					if !noticed {
						noticed = w.readAll(t, dir) != nil
					}
					if !noticed {
						mu.Lock()
						fmt.Println("UNNOTICED", m.name, describe(m))
						mu.Unlock()
					}
				}
				os.RemoveAll(dir)
			}
		})
	}
	n := 0
	for i, m := range all {
		if only != "" && !strings.Contains(only, strings.SplitN(m.name, ".", 2)[0]+",") {
			continue
		}
		if part > 0 && i%part != 0 {
			continue
		}
		n++
		ch <- m
	}
	close(ch)
	wg.Wait()
	fmt.Println("tried", n, "of", len(all))
}
