package blob_test

import (
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
)

func TestParseIDReadsOneSpelling(t *testing.T) {
	id := blob.NewID()
	if got, err := blob.ParseID(id.String()); err != nil || got != id {
		t.Errorf("ParseID(%s) = %s, %v", id, got, err)
	}
	for _, bad := range []string{"", "x", id.String()[1:], id.String() + "0", strings.Repeat("AB", 16), "../" + id.String()[3:]} {
		if _, err := blob.ParseID(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("ParseID(%q): %v", bad, err)
		}
	}
}

func TestFoldersTellNothingAndDoNotMeet(t *testing.T) {
	seen := map[string]string{}
	for _, tenant := range []string{"", "main", "Main", "main ", "..", "../main", "main/..", "blobs"} {
		folder := blob.Folder(tenant)
		if other, taken := seen[folder]; taken || len(folder) != 64 || strings.Trim(folder, "0123456789abcdef") != "" {
			t.Errorf("Folder(%q) = %s, as that of %q", tenant, folder, other)
		}
		seen[folder] = tenant
	}
}
