-- Who may read the log without other credentials. The token is a keyed hash of the
-- secret in the reader's path; rows are replaced when a reader is revoked, and stay.
CREATE TABLE readers (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    id     bytea NOT NULL CHECK (octet_length(id) = 16),
    token  bytea NOT NULL CHECK (octet_length(token) = 32),
    sealed bytea NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX readers_by_token ON readers (tenant, token);

GRANT SELECT, INSERT ON readers TO underseal_app;
GRANT UPDATE (sealed) ON readers TO underseal_app;
ALTER TABLE readers ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON readers TO underseal_app USING (tenant = current_setting('app.tenant', true));

-- How far the server's check of a tenant against its log has come and what it found,
-- sealed.
CREATE TABLE checks (
    tenant text COLLATE "C" PRIMARY KEY CHECK (tenant <> ''),
    sealed bytea NOT NULL
);

GRANT SELECT, INSERT ON checks TO underseal_app;
GRANT UPDATE (sealed) ON checks TO underseal_app;
ALTER TABLE checks ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON checks TO underseal_app USING (tenant = current_setting('app.tenant', true));

-- How far each sink of the audit has come: the place of the next entry of the log, and
-- how many batches it took.
CREATE TABLE audit_offsets (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    sink   text COLLATE "C" NOT NULL CHECK (sink <> ''),
    shard  bigint NOT NULL CHECK (shard >= 1),
    idx    bigint NOT NULL CHECK (idx >= 0),
    number bigint NOT NULL CHECK (number >= 1),
    PRIMARY KEY (tenant, sink)
);
GRANT SELECT, INSERT, UPDATE ON audit_offsets TO underseal_app;
ALTER TABLE audit_offsets ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON audit_offsets TO underseal_app USING (tenant = current_setting('app.tenant', true));
