-- Up to when the calls of somebody speak for their limit, all servers' together, in
-- microseconds since 1970. The bucket is a keyed hash. Not in the log of the database:
-- after a crash everybody begins with a full bucket, and no call waits for the disk.
CREATE UNLOGGED TABLE limits (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    bucket bytea  NOT NULL CHECK (octet_length(bucket) = 32),
    spoken bigint NOT NULL,
    PRIMARY KEY (tenant, bucket)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON limits TO underseal_app;
ALTER TABLE limits ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON limits TO underseal_app USING (tenant = current_setting('app.tenant', true));
