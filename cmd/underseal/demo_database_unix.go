//go:build !windows

package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	_ "modernc.org/sqlite" // the demo reads the database file as its administrator would
)

// A storedField is one row of the table fields, as anybody with the file has it.
type storedField struct {
	path  string
	seq   uint64
	value []byte
}

// storedFields reads the newest row of each field of an instance from the
// database file. It is the only code of ours that reads the database without the
// store, and it has no key.
func storedFields(ctx context.Context, data, instance string) ([]storedField, error) {
	id, err := uuid.Parse(instance)
	if err != nil {
		return nil, err
	}
	db, err := openDatabaseFile(filepath.Join(data, "data.db"), "ro")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `
		SELECT path, max(seq), value
		FROM fields
		WHERE tenant = 'main' AND object = ?
		GROUP BY path
		ORDER BY path`, id[:])
	if err != nil {
		return nil, fmt.Errorf("read the database file: %w", err)
	}
	defer rows.Close()
	var fields []storedField
	for rows.Next() {
		var f storedField
		if err := rows.Scan(&f.path, &f.seq, &f.value); err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	return fields, rows.Err()
}

// A scan is the result of looking for texts in all files of a directory.
type scan struct {
	files []string
	size  int
	hits  map[string]int
}

// scanFiles looks for each text, as UTF-8, in every file below dir.
func scanFiles(dir string, texts []string) (scan, error) {
	result := scan{hits: map[string]int{}}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		result.files = append(result.files, filepath.Base(path))
		result.size += len(content)
		for _, text := range texts {
			result.hits[text] += bytes.Count(content, []byte(text))
		}
		return nil
	})
	return result, err
}
