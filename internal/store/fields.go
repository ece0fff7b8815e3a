package store

import "context"

// StoredField is one stored version of a field.
type StoredField struct {
	Path   string
	Seq    uint64
	Sealed bool
	Value  []byte
	// Commitment is the stored one, nil if there is none. Fields leaves it out.
	Commitment *[32]byte
}

// nullableHash is a stored hash that may be NULL.
type nullableHash struct{ to **[32]byte }

func (h nullableHash) Scan(src any) error {
	if src == nil {
		*h.to = nil
		return nil
	}
	*h.to = new([32]byte)
	return fixed((*h.to)[:]).Scan(src)
}

// Fields returns the named versions in the order of refs. One that is missing
// is left out.
func (db *DB) Fields(ctx context.Context, s Scope, object ID, refs []FieldRef) ([]StoredField, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	args := make([][]any, len(refs))
	for i, ref := range refs {
		args[i] = []any{s.tenant, object, ref.Seq, ref.Path}
	}
	fields := make([]StoredField, 0, len(refs))
	err := db.data.eachOf(ctx, s.tenant, `
		SELECT path, seq, sealed, value FROM fields
		WHERE tenant = $1 AND object = $2 AND seq = $3 AND path = $4`,
		args, func(_ int, r row) error {
			var f StoredField
			err := r.scan(&f.Path, &f.Seq, &f.Sealed, &f.Value)
			fields = append(fields, f)
			return err
		})
	return fields, err
}

// StepFields returns what one step wrote, in path order (by bytes).
func (db *DB) StepFields(ctx context.Context, s Scope, object ID, seq uint64) ([]StoredField, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT path, seq, sealed, value, commitment FROM fields
		WHERE tenant = $1 AND object = $2 AND seq = $3
		ORDER BY path`,
		[]any{s.tenant, object, seq}, func(r row, f *StoredField) error {
			return r.scan(&f.Path, &f.Seq, &f.Sealed, &f.Value, nullableHash{&f.Commitment})
		})
}

// maxFieldRows is how many fields one statement inserts. Steps write a handful,
// and one statement of n rows costs about half of n statements.
const maxFieldRows = 12

var fieldRows = &insert{into: `INSERT INTO fields (tenant, object, seq, path, sealed, value, commitment)`, columns: 7, shared: 3}

// insertFieldsText holds, at n, the statement that inserts n fields.
var insertFieldsText = func() (texts [maxFieldRows + 1]string) {
	for n := 1; n <= maxFieldRows; n++ {
		texts[n] = fieldRows.textOf(n, fieldRows.shared)
	}
	return texts
}()

func insertFields(unit []statement, s Scope, object ID, seq uint64, fields []Field) []statement {
	for len(fields) > 0 {
		n := min(len(fields), maxFieldRows)
		args := make([]any, 0, 3+4*n)
		args = append(args, s.tenant, object, seq)
		for _, f := range fields[:n] {
			args = append(args, f.Path, f.Sealed, f.Value, f.Commitment)
		}
		unit = append(unit, statement{text: insertFieldsText[n], args: args, insert: fieldRows})
		fields = fields[n:]
	}
	return unit
}
