-- One row: which deployment this data belongs to, and which key file opens it.
CREATE TABLE deployment (
    one        integer PRIMARY KEY CHECK (one = 1),
    deployment text COLLATE "C" NOT NULL CHECK (deployment <> '')
);

-- The newest state of every object, sealed. Replaced by compare-and-swap on seq.
CREATE TABLE heads (
    tenant text COLLATE "C"    NOT NULL CHECK (tenant <> ''),
    object bytea    NOT NULL CHECK (octet_length(object) = 16),
    kind   text COLLATE "C"    NOT NULL CHECK (kind IN ('instance', 'definition', 'custody', 'signer', 'keys', 'principal', 'group', 'tenant')),
    seq    bigint NOT NULL CHECK (seq >= 1),
    body   bytea    NOT NULL,
    PRIMARY KEY (tenant, object)
);

CREATE INDEX heads_of_definitions ON heads (tenant, object) WHERE kind = 'definition';
CREATE INDEX heads_of_custodies ON heads (tenant, object) WHERE kind = 'custody';
CREATE INDEX heads_of_signers ON heads (tenant, object) WHERE kind = 'signer';
CREATE INDEX heads_of_principals ON heads (tenant, object) WHERE kind = 'principal';
CREATE INDEX heads_of_groups ON heads (tenant, object) WHERE kind = 'group';
CREATE INDEX heads_of_no_instance ON heads (tenant, object, seq) WHERE kind <> 'instance';

-- What happened, clear and without values. Only appended.
CREATE TABLE steps (
    tenant text COLLATE "C"    NOT NULL,
    object bytea    NOT NULL CHECK (octet_length(object) = 16),
    seq    bigint NOT NULL CHECK (seq >= 1),
    body   bytea    NOT NULL,
    PRIMARY KEY (tenant, object, seq)
);

-- Every version of every field. Only appended. Ordered by step, so that what a
-- step wrote stands together. Those of a leaf of no object have the seq 0.
-- commitment is there where the value may become unreadable before its
-- neighbors do: where it is sealed under persons' keys too.
CREATE TABLE fields (
    tenant     text COLLATE "C" NOT NULL,
    object     bytea   NOT NULL CHECK (octet_length(object) = 16),
    seq        bigint  NOT NULL CHECK (seq >= 0),
    path       text COLLATE "C" NOT NULL CHECK (path <> ''),
    sealed     boolean NOT NULL,
    value      bytea   NOT NULL,
    commitment bytea   CHECK (octet_length(commitment) = 32),
    PRIMARY KEY (tenant, object, seq, path)
);

-- The entries of the tenant's log. Only appended. A leaf of no object has an id
-- of its own and the seq 0. mac shows that a server made it, and nobody else who
-- can write rows. terms are what the leaf is found by besides what it says in
-- clear: keyed hashes of 16 bytes each, ascending, under the same mac.
-- xid orders them: once no
-- transaction with a smaller one runs, no leaf comes before it any more.
CREATE TABLE leaves (
    tenant text COLLATE "C"    NOT NULL,
    object bytea    NOT NULL CHECK (octet_length(object) = 16),
    seq    bigint NOT NULL CHECK (seq >= 0),
    hash   bytea    NOT NULL CHECK (octet_length(hash) = 32),
    body   bytea    NOT NULL,
    mac    bytea    NOT NULL CHECK (octet_length(mac) = 32),
    terms  bytea    NOT NULL CHECK (octet_length(terms) % 16 = 0),
    xid    xid8     NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (tenant, object, seq)
);
CREATE INDEX leaves_by_xid ON leaves (tenant, xid);

-- From here on: routing rows, a projection of the heads for finding work.
-- Times are microseconds since 1970 in UTC; null means none.
CREATE TABLE instances (
    tenant     text COLLATE "C"    NOT NULL,
    object     bytea    NOT NULL CHECK (octet_length(object) = 16),
    process    text COLLATE "C"    NOT NULL,
    version    bigint NOT NULL CHECK (version >= 1),
    definition bytea    NOT NULL CHECK (octet_length(definition) = 16),
    mode       text COLLATE "C"    NOT NULL,
    status     text COLLATE "C"    NOT NULL,
    incidents  bigint NOT NULL CHECK (incidents >= 0),
    started    bigint NOT NULL,
    ended      bigint,
    data_key   bytea    NOT NULL CHECK (octet_length(data_key) = 16),
    CHECK ((status = 'active') = (ended IS NULL)),
    PRIMARY KEY (tenant, object)
);
CREATE INDEX instances_by_process ON instances (tenant, process, object);
CREATE INDEX instances_by_status ON instances (tenant, status, object) WHERE status <> 'completed';
CREATE UNIQUE INDEX instances_by_key ON instances (tenant, data_key);

CREATE TABLE definitions (
    tenant   text COLLATE "C"    NOT NULL,
    object   bytea    NOT NULL CHECK (octet_length(object) = 16),
    process  text COLLATE "C"    NOT NULL CHECK (process <> ''),
    version  bigint NOT NULL CHECK (version >= 1),
    name     text COLLATE "C"    NOT NULL,
    resource bytea    NOT NULL CHECK (octet_length(resource) = 32),
    deployed bigint NOT NULL,
    PRIMARY KEY (tenant, object)
);
CREATE UNIQUE INDEX definitions_by_version ON definitions (tenant, process, version);

CREATE TABLE tasks (
    tenant   text COLLATE "C"    NOT NULL,
    instance bytea    NOT NULL CHECK (octet_length(instance) = 16),
    id       bigint NOT NULL CHECK (id >= 1),
    element  text COLLATE "C"    NOT NULL,
    process  text COLLATE "C"    NOT NULL,
    assignee text COLLATE "C"    NOT NULL,
    created  bigint NOT NULL,
    due      bigint,
    PRIMARY KEY (tenant, instance, id)
);
CREATE INDEX tasks_by_assignee ON tasks (tenant, assignee, instance, id);
CREATE INDEX tasks_by_process ON tasks (tenant, process, instance, id);
CREATE INDEX tasks_by_element ON tasks (tenant, process, element, instance, id);

-- Who may take a task: groups and users, the only copy of these names.
CREATE TABLE task_candidates (
    tenant   text COLLATE "C"    NOT NULL,
    instance bytea    NOT NULL,
    task     bigint NOT NULL,
    kind     text COLLATE "C"    NOT NULL CHECK (kind IN ('group', 'user')),
    name     text COLLATE "C"    NOT NULL CHECK (name <> ''),
    PRIMARY KEY (tenant, instance, task, kind, name),
    FOREIGN KEY (tenant, instance, task) REFERENCES tasks (tenant, instance, id) ON DELETE CASCADE
);
CREATE INDEX task_candidates_by_name ON task_candidates (tenant, kind, name, instance, task);

CREATE TABLE jobs (
    tenant     text COLLATE "C"    NOT NULL,
    instance   bytea    NOT NULL CHECK (octet_length(instance) = 16),
    id         bigint NOT NULL CHECK (id >= 1),
    element    text COLLATE "C"    NOT NULL,
    process    text COLLATE "C"    NOT NULL,
    type       text COLLATE "C"    NOT NULL,
    retries    bigint NOT NULL CHECK (retries >= 0),
    not_before bigint,
    failed     boolean NOT NULL,
    created    bigint NOT NULL,
    PRIMARY KEY (tenant, instance, id)
);

CREATE TABLE timers (
    tenant   text COLLATE "C"    NOT NULL,
    instance bytea    NOT NULL CHECK (octet_length(instance) = 16),
    id       bigint NOT NULL CHECK (id >= 1),
    element  text COLLATE "C"    NOT NULL,
    due      bigint NOT NULL,
    PRIMARY KEY (tenant, instance, id)
);
CREATE INDEX timers_by_due ON timers (due, tenant, instance, id);

CREATE TABLE incidents (
    tenant   text COLLATE "C"    NOT NULL,
    instance bytea    NOT NULL CHECK (octet_length(instance) = 16),
    id       bigint NOT NULL CHECK (id >= 1),
    element  text COLLATE "C"    NOT NULL,
    process  text COLLATE "C"    NOT NULL,
    code     text COLLATE "C"    NOT NULL,
    job      bigint NOT NULL CHECK (job >= 0),
    created  bigint NOT NULL,
    PRIMARY KEY (tenant, instance, id)
);

-- Index tokens: keyed hashes of what must be found but not read. In two tables,
-- because only some of them may exist once per tenant.
CREATE TABLE tokens (
    tenant text COLLATE "C"    NOT NULL,
    kind   bigint NOT NULL CHECK (kind BETWEEN 1 AND 255),
    token  bytea    NOT NULL CHECK (octet_length(token) = 32),
    object bytea    NOT NULL CHECK (octet_length(object) = 16),
    seq    bigint NOT NULL CHECK (seq >= 1),
    print  bytea    NOT NULL,
    -- the key of the person it is about, one row for each; empty: nobody
    data_key bytea  NOT NULL CHECK (octet_length(data_key) IN (0, 16)),
    PRIMARY KEY (tenant, kind, token, object, seq, data_key)
);
CREATE INDEX tokens_by_key ON tokens (tenant, data_key);
CREATE INDEX tokens_by_object ON tokens (tenant, object);

CREATE TABLE unique_tokens (
    tenant text COLLATE "C"    NOT NULL,
    kind   bigint NOT NULL CHECK (kind BETWEEN 1 AND 255),
    token  bytea    NOT NULL CHECK (octet_length(token) = 32),
    object bytea    NOT NULL CHECK (octet_length(object) = 16),
    seq    bigint NOT NULL CHECK (seq >= 1),
    print  bytea    NOT NULL,
    PRIMARY KEY (tenant, kind, token)
);

-- Data keys of persons who were met without a name: only sealed heads name them
-- besides, and the sweep of unused keys must know that they are in use.
CREATE TABLE person_keys (
    tenant   text COLLATE "C" NOT NULL,
    data_key bytea NOT NULL CHECK (octet_length(data_key) = 16),
    object   bytea NOT NULL CHECK (octet_length(object) = 16),
    PRIMARY KEY (tenant, data_key)
);

-- Files of instances that wait to be claimed. A row is there before its blob is,
-- and until the data key that only it names is destroyed.
CREATE TABLE uploads (
    tenant   text COLLATE "C" NOT NULL,
    blob     bytea  NOT NULL CHECK (octet_length(blob) = 16),
    data_key bytea  NOT NULL CHECK (octet_length(data_key) = 16),
    state    text COLLATE "C" NOT NULL CHECK (state IN ('open', 'ready', 'claimed', 'dropped')),
    size     bigint NOT NULL CHECK (size >= 0),
    made     bigint NOT NULL,
    sealed   bytea  NOT NULL,
    PRIMARY KEY (tenant, blob)
);
CREATE INDEX uploads_by_key ON uploads (tenant, data_key);

-- Which instance has a file, and the data keys of the persons it is about: what
-- is looked for when one of them is erased.
CREATE TABLE files (
    tenant text COLLATE "C" NOT NULL,
    blob   bytea  NOT NULL CHECK (octet_length(blob) = 16),
    object bytea  NOT NULL CHECK (octet_length(object) = 16),
    size   bigint NOT NULL CHECK (size >= 0),
    PRIMARY KEY (tenant, blob)
);
CREATE INDEX files_by_object ON files (tenant, object, blob);

CREATE TABLE file_keys (
    tenant   text COLLATE "C" NOT NULL,
    data_key bytea NOT NULL CHECK (octet_length(data_key) = 16),
    blob     bytea NOT NULL CHECK (octet_length(blob) = 16),
    PRIMARY KEY (tenant, data_key, blob),
    FOREIGN KEY (tenant, blob) REFERENCES files (tenant, blob) ON DELETE CASCADE
);
CREATE INDEX file_keys_by_blob ON file_keys (tenant, blob, data_key);
-- What is held or to be erased. Target ids are keyed hashes, so the row does not say
-- whom or what it is about.
CREATE TABLE custodies (
    tenant text COLLATE "C" NOT NULL,
    object bytea  NOT NULL CHECK (octet_length(object) = 16),
    target text COLLATE "C" NOT NULL CHECK (target IN ('instance', 'subject', 'epoch')),
    state  text COLLATE "C" NOT NULL CHECK (state IN ('none', 'pending', 'canceled', 'executing', 'done')),
    holds  bigint NOT NULL CHECK (holds >= 0),
    due    bigint,
    PRIMARY KEY (tenant, object)
);
CREATE INDEX custodies_by_due ON custodies (tenant, due) WHERE due IS NOT NULL;

-- Files of deployments, clear, named by the SHA-256 of their bytes.
CREATE TABLE resources (
    tenant text COLLATE "C" NOT NULL,
    hash   bytea NOT NULL CHECK (octet_length(hash) = 32),
    data   bytea NOT NULL,
    PRIMARY KEY (tenant, hash)
);

-- Where credentials lead: keyed hashes of API keys and links, and the object in whose
-- sealed list each stands. used is when one was last used, about to the hour.
CREATE TABLE credentials (
    tenant text COLLATE "C" NOT NULL,
    token  bytea NOT NULL CHECK (octet_length(token) = 32),
    object bytea NOT NULL CHECK (octet_length(object) = 16),
    used   bigint,
    PRIMARY KEY (tenant, token)
);
CREATE INDEX credentials_by_object ON credentials (tenant, object);

-- Blobs: sealed files in pieces, when they are kept in the database. Without a
-- size a blob is being written and does not exist yet.
CREATE TABLE blobs (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    id     bytea  NOT NULL CHECK (octet_length(id) = 16),
    size   bigint CHECK (size >= 0),
    PRIMARY KEY (tenant, id)
);
CREATE INDEX blobs_unfinished ON blobs (tenant, id) WHERE size IS NULL;

CREATE TABLE blob_chunks (
    tenant text COLLATE "C" NOT NULL,
    id     bytea  NOT NULL,
    n      bigint NOT NULL CHECK (n >= 0),
    data   bytea  NOT NULL CHECK (octet_length(data) BETWEEN 1 AND 262144),
    PRIMARY KEY (tenant, id, n),
    FOREIGN KEY (tenant, id) REFERENCES blobs (tenant, id) ON DELETE CASCADE
);
-- Ciphertext does not get smaller.
ALTER TABLE blob_chunks ALTER COLUMN data SET STORAGE EXTERNAL;

-- The server that writes. A transaction names the epoch it believes in; a server
-- that takes over raises it, and from then on its predecessor's are refused.
CREATE TABLE lease (
    one    integer PRIMARY KEY CHECK (one = 1),
    epoch  bigint NOT NULL,
    holder text   NOT NULL,
    since  bigint NOT NULL
);
INSERT INTO lease VALUES (1, 0, '', 0);

-- enter begins a unit of one tenant: it opens the tenant's rows to the role and
-- refuses a server that was replaced. The shared lock makes a server that takes
-- over wait for the units that were let in before. SQLSTATE US002.
CREATE FUNCTION enter(tenant text, believed bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1970168947, 2);
    IF (SELECT epoch FROM lease) IS DISTINCT FROM believed THEN
        RAISE EXCEPTION 'another server has taken over' USING ERRCODE = 'US002';
    END IF;
    PERFORM set_config('app.tenant', tenant, true);
END $$;

-- exactly_one ends a unit whose compare-and-swap found nothing to swap, without
-- a round trip to ask. SQLSTATE US001.
CREATE FUNCTION exactly_one(changed bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF changed <> 1 THEN
        RAISE EXCEPTION '% rows changed instead of one', changed USING ERRCODE = 'US001';
    END IF;
END $$;

-- erase_clear deletes the clear values of an erased instance, which is all that may
-- ever be taken out of the past. It acts as the owner, whom row-level security does
-- not bind, so it asks for the tenant itself.
CREATE FUNCTION erase_clear(instance bytea) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = underseal AS $$
    DELETE FROM fields f
    WHERE f.tenant = current_setting('app.tenant') AND f.object = $1 AND NOT f.sealed AND EXISTS (
        SELECT FROM instances i WHERE i.tenant = f.tenant AND i.object = f.object AND i.status = 'erased')
$$;

-- Roles. underseal_app serves tenants: it sees the rows of the tenant that
-- app.tenant names and no others, and of the past it can only add to it.
-- underseal_scan sees the routing columns of what waits, of all tenants.
GRANT USAGE ON SCHEMA underseal TO underseal_app, underseal_scan;
GRANT SELECT ON lease TO underseal_app;
GRANT SELECT, INSERT ON deployment, steps, fields, leaves, tokens, unique_tokens, person_keys, resources TO underseal_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tasks, task_candidates, jobs, timers, incidents, uploads, file_keys TO underseal_app;
GRANT SELECT, INSERT, UPDATE (size) ON files TO underseal_app;
GRANT SELECT, INSERT, DELETE ON blobs, blob_chunks TO underseal_app;
GRANT UPDATE (size) ON blobs TO underseal_app;
GRANT SELECT (tenant, id, size) ON blobs TO underseal_scan;
GRANT SELECT, INSERT, UPDATE ON heads, instances, definitions, custodies TO underseal_app;
GRANT SELECT, INSERT, UPDATE (used), DELETE ON credentials TO underseal_app;
GRANT DELETE ON tokens, unique_tokens, files TO underseal_app;
GRANT UPDATE (token) ON tokens TO underseal_app;
GRANT SELECT (tenant, instance, id, element, process, type, retries, not_before, failed, created) ON jobs TO underseal_scan;
GRANT SELECT (tenant, instance, id, element, due) ON timers TO underseal_scan;

ALTER TABLE heads ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON heads TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE steps ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON steps TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE fields ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON fields TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE leaves ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON leaves TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE instances ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON instances TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE definitions ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON definitions TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tasks TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE task_candidates ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON task_candidates TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON jobs TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE timers ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON timers TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE incidents ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON incidents TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE tokens ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tokens TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE unique_tokens ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON unique_tokens TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE person_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON person_keys TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE uploads ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON uploads TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE files ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON files TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE file_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON file_keys TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE custodies ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON custodies TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE resources ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON resources TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE credentials ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON credentials TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE blobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON blobs TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE blob_chunks ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON blob_chunks TO underseal_app USING (tenant = current_setting('app.tenant', true));
CREATE POLICY scan ON blobs FOR SELECT TO underseal_scan USING (size IS NULL);
CREATE POLICY scan ON jobs FOR SELECT TO underseal_scan USING (true);
CREATE POLICY scan ON timers FOR SELECT TO underseal_scan USING (true);
