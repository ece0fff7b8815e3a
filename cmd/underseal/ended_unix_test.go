//go:build !windows

package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
)

// TestALogThatARestoreEndedIsToldOf restores data that were copied between steps and the
// head over them: what is behind the head has no proof, and all that tells of it says so.
func TestALogThatARestoreEndedIsToldOf(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server four times")
	}
	c := newCompany(t)
	begun := func() string {
		return strings.TrimSpace(c.run(0, "start", "loan", "--data", filepath.Join(c.folder, "small.json")))
	}
	c.serve("")
	c.run(0, "deploy", filepath.Join(c.folder, "loan.bpmn"), filepath.Join(c.folder, "decide.schema.json"))
	covered := begun()
	c.stop() // waits for the head over all
	c.write("covered.db", c.read("state/underseal/data.db"))
	c.serve("")
	behind := begun()
	c.stop()
	c.write("copy.db", c.read("state/underseal/data.db"))
	c.serve("")
	begun()
	c.stop()
	for _, old := range []string{"data.db-wal", "data.db-shm"} {
		os.Remove(filepath.Join(c.dir, "state", "underseal", old))
	}
	c.write("state/underseal/data.db", c.read("copy.db"))
	db := must(sql.Open("sqlite", filepath.Join(c.dir, "state", "underseal", "data.db")))
	if _, err := db.Exec(fmt.Sprintf(`ATTACH '%s' AS before; DELETE FROM log_checkpoints; INSERT INTO log_checkpoints SELECT * FROM before.log_checkpoints`,
		filepath.Join(c.dir, "covered.db"))); err != nil {
		t.Fatal(err)
	}
	db.Close()

	var back restored
	parse(t, c.run(0, "restore", "--in-place", "--json"), &back)
	if len(back.Reopened) != 1 || back.Reopened[0].Uncovered == 0 {
		t.Fatalf("restored: %+v, want leaves without proof", back.Reopened)
	}
	n := back.Reopened[0].Uncovered
	told := fmt.Sprintf("%d, of logs that a restore has ended", n)
	c.serve("")
	for _, args := range [][]string{{"evidence", behind, "--out", "none.zip"}, {"log", "prove", behind}} {
		said := c.run(11, append(args, "--json")...)
		if !strings.Contains(said, `"code":"log_ended"`) || !strings.Contains(said, "--receipt gives") {
			t.Errorf("%v: it says %s", args, said)
		}
	}
	var checked fscked
	parse(t, c.run(0, "fsck", "--online", "--json"), &checked)
	if checked.Uncovered != n || len(checked.Findings) > 0 {
		t.Errorf("the server's check: %+v, want %d leaves without proof and no finding", checked, n)
	}
	if said := c.run(0, "fsck", "--status"); !strings.Contains(said, told) {
		t.Errorf("the status does not say %q:\n%s", told, said)
	}
	var status api.Integrity
	parse(t, c.run(0, "fsck", "--status", "--json"), &status)
	if status.Ordered == nil || status.Ordered.Uncovered != n {
		t.Errorf("the ordered check is %+v", status.Ordered)
	}

	// What is under a head, before and after, has its proof; of the rest there is a receipt.
	c.write("policy", c.run(0, "log", "policy"))
	for i, instance := range []string{covered, begun()} {
		file := fmt.Sprintf("shown-%d.zip", i)
		c.run(0, "evidence", instance, "--out", file)
		c.run(0, "verify", file, "--policy", "policy")
	}
	c.write("receipt", c.run(0, "evidence", behind, "--step", "1", "--receipt"))
	c.run(0, "verify", "receipt", "--policy", "policy")
	c.stop()
	if said := c.run(0, "fsck"); !strings.Contains(said, "leaves without proof: "+told) {
		t.Errorf("fsck does not say %q:\n%s", told, said)
	}
}

// parse reads the result in an output, which may come after lines of stderr.
func parse(t *testing.T, out string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(out[max(0, strings.Index(out, "{\n")):]), into); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
}
