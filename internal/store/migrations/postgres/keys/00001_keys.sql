-- The same row as beside the data, so that the two cannot be mixed up. manifest_key
-- makes the MACs of backups' manifests: who has only a copy of the data cannot change it.
CREATE TABLE deployment (
    one        integer PRIMARY KEY CHECK (one = 1),
    deployment text COLLATE "C" NOT NULL CHECK (deployment <> ''),
    manifest_key bytea NOT NULL CHECK (octet_length(manifest_key) = 32),
    restoring  boolean NOT NULL DEFAULT false
);

-- Which key service wrapped a tenant key, and when it was made, serve to find the
-- service and the next rotation. Only what the service opens counts.
CREATE TABLE tenant_keys (
    tenant   text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    version  bigint NOT NULL CHECK (version >= 1),
    service  text COLLATE "C" NOT NULL CHECK (service <> ''),
    root_key text COLLATE "C" NOT NULL CHECK (root_key <> ''),
    made     bigint NOT NULL,
    wrapped  bytea NOT NULL CHECK (octet_length(wrapped) BETWEEN 1 AND 4096),
    PRIMARY KEY (tenant, version)
);

-- When a version of a root key was first seen, for its next rotation.
CREATE TABLE root_versions (
    service  text COLLATE "C" NOT NULL CHECK (service <> ''),
    root_key text COLLATE "C" NOT NULL CHECK (root_key <> ''),
    version  text COLLATE "C" NOT NULL CHECK (version <> ''),
    seen     bigint NOT NULL,
    PRIMARY KEY (service, root_key, version)
);

CREATE TABLE data_keys (
    tenant      text COLLATE "C"    NOT NULL CHECK (tenant <> ''),
    id          bytea    NOT NULL CHECK (octet_length(id) = 16),
    scope       text COLLATE "C"    NOT NULL CHECK (scope <> '' AND octet_length(scope) <= 32),
    state       text COLLATE "C"    NOT NULL CHECK (state IN ('ready', 'assigned', 'destroyed')),
    key_version bigint NOT NULL CHECK (key_version >= 1),
    wrapped     bytea    NOT NULL CHECK (octet_length(wrapped) < 256),
    tombstone   bytea    NOT NULL,
    CHECK ((state = 'destroyed') = (octet_length(wrapped) = 0)),
    CHECK (octet_length(tombstone) = CASE state WHEN 'destroyed' THEN 32 ELSE 0 END),
    PRIMARY KEY (tenant, id),
    -- A tenant key goes when nothing hangs on it, and nothing new can.
    FOREIGN KEY (tenant, key_version) REFERENCES tenant_keys (tenant, version)
);
CREATE UNIQUE INDEX data_keys_by_scope ON data_keys (tenant, scope) WHERE scope <> 'pool' AND scope <> 'replaced';
CREATE INDEX data_keys_ready ON data_keys (tenant, id) WHERE state = 'ready' AND scope = 'pool';

-- key_id is the newest of the person's keys, former are those before it, oldest first.
CREATE TABLE subjects (
    tenant      text COLLATE "C"    NOT NULL,
    token       bytea    NOT NULL CHECK (octet_length(token) = 32),
    key_id      bytea    NOT NULL CHECK (octet_length(key_id) = 16),
    former      bytea    NOT NULL CHECK (octet_length(former) % 16 = 0 AND octet_length(former) <= 16 * 255),
    key_version bigint NOT NULL CHECK (key_version >= 1),
    mac         bytea    NOT NULL CHECK (octet_length(mac) = 32),
    PRIMARY KEY (tenant, token),
    FOREIGN KEY (tenant, key_id) REFERENCES data_keys (tenant, id),
    FOREIGN KEY (tenant, key_version) REFERENCES tenant_keys (tenant, version)
);
CREATE UNIQUE INDEX subjects_by_key ON subjects (tenant, key_id);
CREATE INDEX subjects_by_version ON subjects (tenant, key_version);

-- Erasures that began: which keys, sealed. Written before the first key is
-- destroyed, so that one that a crash cut short, or that a restored backup does not
-- know, is carried out (again) before anything is served.
CREATE TABLE erasures (
    tenant text COLLATE "C" NOT NULL,
    object bytea NOT NULL CHECK (octet_length(object) = 16),
    sealed bytea NOT NULL,
    PRIMARY KEY (tenant, object)
);

-- underseal_keyring is the role of the keyring, and the only one here.
GRANT USAGE ON SCHEMA underseal_keys TO underseal_keyring;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA underseal_keys TO underseal_keyring;
