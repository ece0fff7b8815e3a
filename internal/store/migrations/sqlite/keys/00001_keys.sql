-- The same row as beside the data, so that the two cannot be mixed up. manifest_key
-- makes the MACs of backups' manifests: who has only a copy of the data cannot change it.
-- restoring: a restore was begun and is not finished; no server starts.
CREATE TABLE deployment (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    deployment TEXT NOT NULL CHECK (deployment <> ''),
    manifest_key BLOB NOT NULL CHECK (length(manifest_key) = 32),
    restoring  INTEGER NOT NULL DEFAULT 0 CHECK (restoring IN (0, 1))
) STRICT;

-- Which key service wrapped a tenant key, and when it was made, serve to find the
-- service and the next rotation. Only what the service opens counts.
CREATE TABLE tenant_keys (
    tenant   TEXT NOT NULL CHECK (tenant <> ''),
    version  INTEGER NOT NULL CHECK (version >= 1),
    service  TEXT NOT NULL CHECK (service <> ''),
    root_key TEXT NOT NULL CHECK (root_key <> ''),
    made     INTEGER NOT NULL,
    wrapped  BLOB NOT NULL CHECK (length(wrapped) BETWEEN 1 AND 4096),
    PRIMARY KEY (tenant, version)
) STRICT, WITHOUT ROWID;

-- When a version of a root key was first seen, for its next rotation.
CREATE TABLE root_versions (
    service  TEXT NOT NULL CHECK (service <> ''),
    root_key TEXT NOT NULL CHECK (root_key <> ''),
    version  TEXT NOT NULL CHECK (version <> ''),
    seen     INTEGER NOT NULL,
    PRIMARY KEY (service, root_key, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE data_keys (
    tenant      TEXT    NOT NULL CHECK (tenant <> ''),
    id          BLOB    NOT NULL CHECK (length(id) = 16),
    scope       TEXT    NOT NULL CHECK (scope <> '' AND length(CAST(scope AS BLOB)) <= 32),
    state       TEXT    NOT NULL CHECK (state IN ('ready', 'assigned', 'destroyed')),
    key_version INTEGER NOT NULL CHECK (key_version >= 1),
    wrapped     BLOB    NOT NULL CHECK (length(wrapped) < 256),
    tombstone   BLOB    NOT NULL,
    CHECK ((state = 'destroyed') = (length(wrapped) = 0)),
    CHECK (length(tombstone) = CASE state WHEN 'destroyed' THEN 32 ELSE 0 END),
    PRIMARY KEY (tenant, id),
    -- A tenant key goes when nothing hangs on it, and nothing new can.
    FOREIGN KEY (tenant, key_version) REFERENCES tenant_keys (tenant, version)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX data_keys_by_scope ON data_keys (tenant, scope) WHERE scope <> 'pool' AND scope <> 'replaced';
CREATE INDEX data_keys_ready ON data_keys (tenant, id) WHERE state = 'ready' AND scope = 'pool';

-- key_id is the newest of the person's keys, former are those before it, oldest first.
CREATE TABLE subjects (
    tenant      TEXT    NOT NULL,
    token       BLOB    NOT NULL CHECK (length(token) = 32),
    key_id      BLOB    NOT NULL CHECK (length(key_id) = 16),
    former      BLOB    NOT NULL CHECK (length(former) % 16 = 0 AND length(former) <= 16 * 255),
    key_version INTEGER NOT NULL CHECK (key_version >= 1),
    mac         BLOB    NOT NULL CHECK (length(mac) = 32),
    PRIMARY KEY (tenant, token),
    FOREIGN KEY (tenant, key_id) REFERENCES data_keys (tenant, id),
    FOREIGN KEY (tenant, key_version) REFERENCES tenant_keys (tenant, version)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX subjects_by_key ON subjects (tenant, key_id);
CREATE INDEX subjects_by_version ON subjects (tenant, key_version);

-- Erasures that began: which keys, sealed. Written before the first key is
-- destroyed, so that one that a crash cut short, or that a restored backup does not
-- know, is carried out (again) before anything is served.
CREATE TABLE erasures (
    tenant TEXT NOT NULL,
    object BLOB NOT NULL CHECK (length(object) = 16),
    sealed BLOB NOT NULL,
    PRIMARY KEY (tenant, object)
) STRICT, WITHOUT ROWID;
