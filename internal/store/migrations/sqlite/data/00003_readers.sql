-- Who may read the log without other credentials. The token is a keyed hash of the
-- secret in the reader's path; rows are replaced when a reader is revoked, and stay.
CREATE TABLE readers (
    tenant TEXT NOT NULL CHECK (tenant <> ''),
    id     BLOB NOT NULL CHECK (length(id) = 16),
    token  BLOB NOT NULL CHECK (length(token) = 32),
    sealed BLOB NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX readers_by_token ON readers (tenant, token);

-- How far the server's check of a tenant against its log has come and what it found,
-- sealed.
CREATE TABLE checks (
    tenant TEXT NOT NULL PRIMARY KEY CHECK (tenant <> ''),
    sealed BLOB NOT NULL
) STRICT;

-- How far each sink of the audit has come: the place of the next entry of the log, and
-- how many batches it took.
CREATE TABLE audit_offsets (
    tenant TEXT    NOT NULL CHECK (tenant <> ''),
    sink   TEXT    NOT NULL CHECK (sink <> ''),
    shard  INTEGER NOT NULL CHECK (shard >= 1),
    idx    INTEGER NOT NULL CHECK (idx >= 0),
    number INTEGER NOT NULL CHECK (number >= 1),
    PRIMARY KEY (tenant, sink)
) STRICT, WITHOUT ROWID;
