-- One row: which deployment this data belongs to, and which key file opens it.
CREATE TABLE deployment (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    deployment TEXT NOT NULL CHECK (deployment <> '')
) STRICT;

-- Tables that are only appended to keep SQLite's rowid: rows are written one
-- behind the other and fill their pages, and only the narrow index is inserted
-- into (a tenth less to write than WITHOUT ROWID). heads has large rows, of
-- which few fit into the pages of an index. The small rest is WITHOUT ROWID.

-- The newest state of every object, sealed. Replaced by compare-and-swap on seq.
CREATE TABLE heads (
    tenant TEXT    NOT NULL CHECK (tenant <> ''),
    object BLOB    NOT NULL CHECK (length(object) = 16),
    kind   TEXT    NOT NULL CHECK (kind IN ('instance', 'definition', 'custody', 'signer', 'keys', 'principal', 'group', 'tenant')),
    seq    INTEGER NOT NULL CHECK (seq >= 1),
    body   BLOB    NOT NULL,
    PRIMARY KEY (tenant, object)
) STRICT;

CREATE INDEX heads_of_definitions ON heads (tenant, object) WHERE kind = 'definition';
CREATE INDEX heads_of_custodies ON heads (tenant, object) WHERE kind = 'custody';
CREATE INDEX heads_of_signers ON heads (tenant, object) WHERE kind = 'signer';
CREATE INDEX heads_of_principals ON heads (tenant, object) WHERE kind = 'principal';
CREATE INDEX heads_of_groups ON heads (tenant, object) WHERE kind = 'group';
CREATE INDEX heads_of_no_instance ON heads (tenant, object, seq) WHERE kind <> 'instance';

-- What happened, clear and without values. Only appended.
CREATE TABLE steps (
    tenant TEXT    NOT NULL,
    object BLOB    NOT NULL CHECK (length(object) = 16),
    seq    INTEGER NOT NULL CHECK (seq >= 1),
    body   BLOB    NOT NULL,
    PRIMARY KEY (tenant, object, seq)
) STRICT;

-- Every version of every field. Only appended. Ordered by step, so that what a
-- step wrote stands together. Those of a leaf of no object have the seq 0.
-- commitment is there where the value may become unreadable before its
-- neighbors do: where it is sealed under persons' keys too.
CREATE TABLE fields (
    tenant     TEXT    NOT NULL,
    object     BLOB    NOT NULL CHECK (length(object) = 16),
    seq        INTEGER NOT NULL CHECK (seq >= 0),
    path       TEXT    NOT NULL CHECK (path <> ''),
    sealed     INTEGER NOT NULL CHECK (sealed IN (0, 1)),
    value      BLOB    NOT NULL,
    commitment BLOB    CHECK (length(commitment) = 32),
    PRIMARY KEY (tenant, object, seq, path)
) STRICT;

-- The entries of the tenant's log. Only appended. A leaf of no object has an id
-- of its own and the seq 0. mac shows that a server made it, and nobody else who
-- can write rows. terms are what the leaf is found by besides what it says in
-- clear: keyed hashes of 16 bytes each, ascending, under the same mac.
-- pos is the rowid, named so that
-- VACUUM does not change it: with one writer, it is the order of the commits.
CREATE TABLE leaves (
    pos    INTEGER PRIMARY KEY,
    tenant TEXT    NOT NULL,
    object BLOB    NOT NULL CHECK (length(object) = 16),
    seq    INTEGER NOT NULL CHECK (seq >= 0),
    hash   BLOB    NOT NULL CHECK (length(hash) = 32),
    body   BLOB    NOT NULL,
    mac    BLOB    NOT NULL CHECK (length(mac) = 32),
    terms  BLOB    NOT NULL CHECK (length(terms) % 16 = 0),
    UNIQUE (tenant, object, seq)
) STRICT;

-- From here on: routing rows, a projection of the heads for finding work.
-- Times are microseconds since 1970 in UTC; NULL means none.
CREATE TABLE instances (
    tenant     TEXT    NOT NULL,
    object     BLOB    NOT NULL CHECK (length(object) = 16),
    process    TEXT    NOT NULL,
    version    INTEGER NOT NULL CHECK (version >= 1),
    definition BLOB    NOT NULL CHECK (length(definition) = 16),
    mode       TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    incidents  INTEGER NOT NULL CHECK (incidents >= 0),
    started    INTEGER NOT NULL,
    ended      INTEGER,
    data_key   BLOB    NOT NULL CHECK (length(data_key) = 16),
    CHECK ((status = 'active') = (ended IS NULL)),
    PRIMARY KEY (tenant, object)
) STRICT, WITHOUT ROWID;
CREATE INDEX instances_by_process ON instances (tenant, process, object);
CREATE INDEX instances_by_status ON instances (tenant, status, object) WHERE status <> 'completed';
CREATE UNIQUE INDEX instances_by_key ON instances (tenant, data_key);

CREATE TABLE definitions (
    tenant   TEXT    NOT NULL,
    object   BLOB    NOT NULL CHECK (length(object) = 16),
    process  TEXT    NOT NULL CHECK (process <> ''),
    version  INTEGER NOT NULL CHECK (version >= 1),
    name     TEXT    NOT NULL,
    resource BLOB    NOT NULL CHECK (length(resource) = 32),
    deployed INTEGER NOT NULL,
    PRIMARY KEY (tenant, object)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX definitions_by_version ON definitions (tenant, process, version);

CREATE TABLE tasks (
    tenant   TEXT    NOT NULL,
    instance BLOB    NOT NULL CHECK (length(instance) = 16),
    id       INTEGER NOT NULL CHECK (id >= 1),
    element  TEXT    NOT NULL,
    process  TEXT    NOT NULL,
    assignee TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    due      INTEGER,
    PRIMARY KEY (tenant, instance, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_by_assignee ON tasks (tenant, assignee, instance, id);
CREATE INDEX tasks_by_process ON tasks (tenant, process, instance, id);
CREATE INDEX tasks_by_element ON tasks (tenant, process, element, instance, id);

-- Who may take a task: groups and users, the only copy of these names.
CREATE TABLE task_candidates (
    tenant   TEXT    NOT NULL,
    instance BLOB    NOT NULL,
    task     INTEGER NOT NULL,
    kind     TEXT    NOT NULL CHECK (kind IN ('group', 'user')),
    name     TEXT    NOT NULL CHECK (name <> ''),
    PRIMARY KEY (tenant, instance, task, kind, name),
    FOREIGN KEY (tenant, instance, task) REFERENCES tasks (tenant, instance, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX task_candidates_by_name ON task_candidates (tenant, kind, name, instance, task);

CREATE TABLE jobs (
    tenant     TEXT    NOT NULL,
    instance   BLOB    NOT NULL CHECK (length(instance) = 16),
    id         INTEGER NOT NULL CHECK (id >= 1),
    element    TEXT    NOT NULL,
    process    TEXT    NOT NULL,
    type       TEXT    NOT NULL,
    retries    INTEGER NOT NULL CHECK (retries >= 0),
    not_before INTEGER,
    failed     INTEGER NOT NULL CHECK (failed IN (0, 1)),
    created    INTEGER NOT NULL,
    PRIMARY KEY (tenant, instance, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE timers (
    tenant   TEXT    NOT NULL,
    instance BLOB    NOT NULL CHECK (length(instance) = 16),
    id       INTEGER NOT NULL CHECK (id >= 1),
    element  TEXT    NOT NULL,
    due      INTEGER NOT NULL,
    PRIMARY KEY (tenant, instance, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX timers_by_due ON timers (due, tenant, instance, id);

CREATE TABLE incidents (
    tenant   TEXT    NOT NULL,
    instance BLOB    NOT NULL CHECK (length(instance) = 16),
    id       INTEGER NOT NULL CHECK (id >= 1),
    element  TEXT    NOT NULL,
    process  TEXT    NOT NULL,
    code     TEXT    NOT NULL,
    job      INTEGER NOT NULL CHECK (job >= 0),
    created  INTEGER NOT NULL,
    PRIMARY KEY (tenant, instance, id)
) STRICT, WITHOUT ROWID;

-- Index tokens: keyed hashes of what must be found but not read. In two tables,
-- because only some of them may exist once per tenant.
CREATE TABLE tokens (
    tenant TEXT    NOT NULL,
    kind   INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 255),
    token  BLOB    NOT NULL CHECK (length(token) = 32),
    object BLOB    NOT NULL CHECK (length(object) = 16),
    seq    INTEGER NOT NULL CHECK (seq >= 1),
    print  BLOB    NOT NULL,
    -- the key of the person it is about, one row for each; empty: nobody
    data_key BLOB  NOT NULL CHECK (length(data_key) IN (0, 16)),
    PRIMARY KEY (tenant, kind, token, object, seq, data_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_key ON tokens (tenant, data_key);
CREATE INDEX tokens_by_object ON tokens (tenant, object);

CREATE TABLE unique_tokens (
    tenant TEXT    NOT NULL,
    kind   INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 255),
    token  BLOB    NOT NULL CHECK (length(token) = 32),
    object BLOB    NOT NULL CHECK (length(object) = 16),
    seq    INTEGER NOT NULL CHECK (seq >= 1),
    print  BLOB    NOT NULL,
    PRIMARY KEY (tenant, kind, token)
) STRICT, WITHOUT ROWID;

-- Data keys of persons who were met without a name: only sealed heads name them
-- besides, and the sweep of unused keys must know that they are in use.
CREATE TABLE person_keys (
    tenant   TEXT NOT NULL,
    data_key BLOB NOT NULL CHECK (length(data_key) = 16),
    object   BLOB NOT NULL CHECK (length(object) = 16),
    PRIMARY KEY (tenant, data_key)
) STRICT, WITHOUT ROWID;

-- Files of instances that wait to be claimed. A row is there before its blob is,
-- and until the data key that only it names is destroyed.
CREATE TABLE uploads (
    tenant   TEXT    NOT NULL,
    blob     BLOB    NOT NULL CHECK (length(blob) = 16),
    data_key BLOB    NOT NULL CHECK (length(data_key) = 16),
    state    TEXT    NOT NULL CHECK (state IN ('open', 'ready', 'claimed', 'dropped')),
    size     INTEGER NOT NULL CHECK (size >= 0),
    made     INTEGER NOT NULL,
    sealed   BLOB    NOT NULL,
    PRIMARY KEY (tenant, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_by_key ON uploads (tenant, data_key);

-- Which instance has a file, and the data keys of the persons it is about: what
-- is looked for when one of them is erased.
CREATE TABLE files (
    tenant TEXT    NOT NULL,
    blob   BLOB    NOT NULL CHECK (length(blob) = 16),
    object BLOB    NOT NULL CHECK (length(object) = 16),
    size   INTEGER NOT NULL CHECK (size >= 0),
    PRIMARY KEY (tenant, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX files_by_object ON files (tenant, object, blob);

CREATE TABLE file_keys (
    tenant   TEXT NOT NULL,
    data_key BLOB NOT NULL CHECK (length(data_key) = 16),
    blob     BLOB NOT NULL CHECK (length(blob) = 16),
    PRIMARY KEY (tenant, data_key, blob),
    FOREIGN KEY (tenant, blob) REFERENCES files (tenant, blob) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX file_keys_by_blob ON file_keys (tenant, blob, data_key);
-- What is held or to be erased. Target ids are keyed hashes, so the row does not say
-- whom or what it is about.
CREATE TABLE custodies (
    tenant TEXT    NOT NULL,
    object BLOB    NOT NULL CHECK (length(object) = 16),
    target TEXT    NOT NULL CHECK (target IN ('instance', 'subject', 'epoch')),
    state  TEXT    NOT NULL CHECK (state IN ('none', 'pending', 'canceled', 'executing', 'done')),
    holds  INTEGER NOT NULL CHECK (holds >= 0),
    due    INTEGER,
    PRIMARY KEY (tenant, object)
) STRICT, WITHOUT ROWID;
CREATE INDEX custodies_by_due ON custodies (tenant, due) WHERE due IS NOT NULL;

-- Files of deployments, clear, named by the SHA-256 of their bytes.
CREATE TABLE resources (
    tenant TEXT NOT NULL,
    hash   BLOB NOT NULL CHECK (length(hash) = 32),
    data   BLOB NOT NULL,
    PRIMARY KEY (tenant, hash)
) STRICT;

-- Where credentials lead: keyed hashes of API keys and links, and the object in whose
-- sealed list each stands. used is when one was last used, about to the hour.
CREATE TABLE credentials (
    tenant TEXT NOT NULL,
    token  BLOB NOT NULL CHECK (length(token) = 32),
    object BLOB NOT NULL CHECK (length(object) = 16),
    used   INTEGER,
    PRIMARY KEY (tenant, token)
) STRICT, WITHOUT ROWID;
CREATE INDEX credentials_by_object ON credentials (tenant, object);
