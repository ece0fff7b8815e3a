-- The logs of a tenant, one behind the other. size is how many leaves have a place
-- in it, cursor the pos of the last of them: what stands behind it has none yet.
CREATE TABLE log_shards (
    tenant TEXT    NOT NULL CHECK (tenant <> ''),
    number INTEGER NOT NULL CHECK (number >= 1),
    origin TEXT    NOT NULL CHECK (origin <> ''),
    open   INTEGER NOT NULL CHECK (open IN (0, 1)),
    size   INTEGER NOT NULL CHECK (size >= 0),
    cursor INTEGER NOT NULL CHECK (cursor >= 0),
    PRIMARY KEY (tenant, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX log_shards_by_origin ON log_shards (tenant, origin);
CREATE UNIQUE INDEX log_shards_open ON log_shards (tenant) WHERE open = 1;

-- Which leaf has which place. Only appended.
CREATE TABLE log_entries (
    tenant TEXT    NOT NULL,
    shard  INTEGER NOT NULL CHECK (shard >= 1),
    idx    INTEGER NOT NULL CHECK (idx >= 0),
    object BLOB    NOT NULL CHECK (length(object) = 16),
    seq    INTEGER NOT NULL CHECK (seq >= 0),
    hash   BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (tenant, shard, idx)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX log_entries_by_leaf ON log_entries (tenant, object, seq);

-- By what an entry is found: in which of 64 entries that begin at 64 * block it is
-- bit by bit. Filled together with log_entries. What most terms begin with grows with
-- the log, so that rows are added side by side.
CREATE TABLE log_terms (
    tenant TEXT    NOT NULL,
    term   BLOB    NOT NULL CHECK (length(term) BETWEEN 2 AND 255),
    shard  INTEGER NOT NULL CHECK (shard >= 1),
    block  INTEGER NOT NULL CHECK (block >= 0),
    bits   INTEGER NOT NULL CHECK (bits <> 0),
    PRIMARY KEY (tenant, term, shard, block)
) STRICT, WITHOUT ROWID;
CREATE INDEX log_terms_by_block ON log_terms (tenant, shard, block);

-- The tree over the entries: up to 256 hashes of level 8 * level, as in C2SP's
-- tlog-tiles. One that is not full is overwritten as it grows.
CREATE TABLE log_tiles (
    tenant TEXT    NOT NULL,
    shard  INTEGER NOT NULL CHECK (shard >= 1),
    level  INTEGER NOT NULL CHECK (level BETWEEN 0 AND 7),
    idx    INTEGER NOT NULL CHECK (idx >= 0),
    hashes BLOB    NOT NULL CHECK (length(hashes) BETWEEN 32 AND 8192 AND length(hashes) % 32 = 0),
    PRIMARY KEY (tenant, shard, level, idx)
) STRICT;

-- Checkpoints that were published, as signed notes. Of those that were not anchored
-- only the newest stays.
CREATE TABLE log_checkpoints (
    tenant    TEXT    NOT NULL,
    shard     INTEGER NOT NULL CHECK (shard >= 1),
    size      INTEGER NOT NULL CHECK (size >= 1),
    published INTEGER NOT NULL,
    signed    BLOB    NOT NULL CHECK (length(signed) > 0),
    PRIMARY KEY (tenant, shard, size)
) STRICT;
