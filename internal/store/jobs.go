package store

import "context"

// JobCursor is the last job of the scan before; zero: begin.
type JobCursor struct {
	Tenant   string
	Instance ID
	ID       uint64
}

// ScannedJob is a job with its place.
type ScannedJob struct {
	Tenant   string
	Instance ID
	JobRow
}

// Cursor returns where the scan after this job begins.
func (j *ScannedJob) Cursor() JobCursor { return JobCursor{j.Tenant, j.Instance, j.ID} }

const jobColumns = `id, element, process, type, retries, not_before, failed, created`

func (j *JobRow) targets() []any {
	return []any{&j.ID, &j.Element, &j.Process, &j.Type, &j.Retries, &j.NotBefore, &j.Failed, &j.Created}
}

// scannable leaves out rows that none of ours can be: one that somebody put there must not
// hold up the work of everybody. A check names it.
const scannable = ` AND tenant > '' AND length(instance) = 16 AND id > 0`

// ScanJobs returns up to limit jobs of all tenants after the cursor, also failed
// ones, ascending by tenant, instance and number. For the runner alone.
func (db *DB) ScanJobs(ctx context.Context, after JobCursor, limit int) ([]ScannedJob, error) {
	return collect(ctx, db.scans, "", `
		SELECT tenant, instance, id, element, process, type, retries, not_before, failed = (1 = 1), created FROM jobs
		WHERE (tenant, instance, id) > ($1, $2, $3)`+scannable+`
		ORDER BY tenant, instance, id
		LIMIT $4`,
		[]any{after.Tenant, after.Instance, after.ID, limit}, func(r row, j *ScannedJob) error {
			return r.scan(append([]any{&j.Tenant, &j.Instance}, j.targets()...)...)
		})
}

const deleteJob = `DELETE FROM jobs WHERE tenant = $1 AND instance = $2 AND id = $3`

var jobRows = &insert{
	into:    `INSERT INTO jobs (tenant, instance, id, element, process, type, retries, not_before, failed, created)`,
	columns: 10,
	after: `
		ON CONFLICT (tenant, instance, id) DO UPDATE SET
			element = excluded.element, process = excluded.process, type = excluded.type,
			retries = excluded.retries, not_before = excluded.not_before, failed = excluded.failed,
			created = excluded.created`,
}

func putJob(s Scope, instance ID, j *JobRow) statement {
	return jobRows.one(s.tenant, instance, j.ID, j.Element, j.Process, j.Type, j.Retries, j.NotBefore, j.Failed, j.Created)
}
