-- The logs of a tenant, one behind the other. size is how many leaves have a place
-- in it, cursor the xid of the last of them: what came in a later one has none yet.
CREATE TABLE log_shards (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    number bigint NOT NULL CHECK (number >= 1),
    origin text COLLATE "C" NOT NULL CHECK (origin <> ''),
    open   boolean NOT NULL,
    size   bigint NOT NULL CHECK (size >= 0),
    cursor bigint NOT NULL CHECK (cursor >= 0),
    PRIMARY KEY (tenant, number)
);
CREATE UNIQUE INDEX log_shards_by_origin ON log_shards (tenant, origin);
CREATE UNIQUE INDEX log_shards_open ON log_shards (tenant) WHERE open;

-- Which leaf has which place. Only appended.
CREATE TABLE log_entries (
    tenant text COLLATE "C" NOT NULL,
    shard  bigint NOT NULL CHECK (shard >= 1),
    idx    bigint NOT NULL CHECK (idx >= 0),
    object bytea  NOT NULL CHECK (octet_length(object) = 16),
    seq    bigint NOT NULL CHECK (seq >= 0),
    hash   bytea  NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (tenant, shard, idx)
);
CREATE UNIQUE INDEX log_entries_by_leaf ON log_entries (tenant, object, seq);

-- By what an entry is found: in which of 64 entries that begin at 64 * block it is
-- bit by bit. Filled together with log_entries. What most terms begin with grows with
-- the log, so that rows are added side by side.
CREATE TABLE log_terms (
    tenant text COLLATE "C" NOT NULL,
    term   bytea  NOT NULL CHECK (octet_length(term) BETWEEN 2 AND 255),
    shard  bigint NOT NULL CHECK (shard >= 1),
    block  bigint NOT NULL CHECK (block >= 0),
    bits   bigint NOT NULL CHECK (bits <> 0),
    PRIMARY KEY (tenant, term, shard, block)
);
CREATE INDEX log_terms_by_block ON log_terms (tenant, shard, block);

-- The tree over the entries: up to 256 hashes of level 8 * level, as in C2SP's
-- tlog-tiles. One that is not full is overwritten as it grows.
CREATE TABLE log_tiles (
    tenant text COLLATE "C" NOT NULL,
    shard  bigint NOT NULL CHECK (shard >= 1),
    level  bigint NOT NULL CHECK (level BETWEEN 0 AND 7),
    idx    bigint NOT NULL CHECK (idx >= 0),
    hashes bytea  NOT NULL CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0),
    PRIMARY KEY (tenant, shard, level, idx)
);
-- Hashes do not get smaller.
ALTER TABLE log_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- Checkpoints that were published, as signed notes. Of those that were not anchored
-- only the newest stays.
CREATE TABLE log_checkpoints (
    tenant    text COLLATE "C" NOT NULL,
    shard     bigint NOT NULL CHECK (shard >= 1),
    size      bigint NOT NULL CHECK (size >= 1),
    published bigint NOT NULL,
    signed    bytea  NOT NULL CHECK (octet_length(signed) > 0),
    PRIMARY KEY (tenant, shard, size)
);

GRANT SELECT, INSERT ON log_shards, log_entries, log_terms, log_tiles, log_checkpoints TO underseal_app;
GRANT UPDATE (bits) ON log_terms TO underseal_app;
GRANT UPDATE (open, size, cursor) ON log_shards TO underseal_app;
GRANT UPDATE (hashes) ON log_tiles TO underseal_app;
GRANT UPDATE (published, signed), DELETE ON log_checkpoints TO underseal_app;

ALTER TABLE log_shards ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON log_shards TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE log_entries ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON log_entries TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE log_terms ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON log_terms TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE log_tiles ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON log_tiles TO underseal_app USING (tenant = current_setting('app.tenant', true));
ALTER TABLE log_checkpoints ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON log_checkpoints TO underseal_app USING (tenant = current_setting('app.tenant', true));
