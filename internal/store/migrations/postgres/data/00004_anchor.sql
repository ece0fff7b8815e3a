-- The operator's anchor log, of no tenant: the hashes of its tree, each written once,
-- leaves and inner nodes in the order in which they come to be. log tells the log
-- of before a restore from the one of after it.
CREATE TABLE anchor_hashes (
    log  bigint NOT NULL CHECK (log >= 1),
    pos  bigint NOT NULL CHECK (pos >= 0),
    hash bytea  NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (log, pos)
);

-- Its checkpoints that witnesses and the timestamp authority have seen. Only appended.
-- quorum and authority (SHA-256 of its root) say what was asked for, mark is a keyed
-- hash of the row.
CREATE TABLE anchor_checkpoints (
    log    bigint NOT NULL CHECK (log >= 1),
    size   bigint NOT NULL CHECK (size >= 1),
    signed bytea  NOT NULL CHECK (octet_length(signed) > 0),
    token  bytea  NOT NULL,
    quorum    bigint NOT NULL CHECK (quorum >= 0),
    authority bytea  NOT NULL CHECK (octet_length(authority) IN (0, 32)),
    mark      bytea  NOT NULL CHECK (octet_length(mark) = 32),
    PRIMARY KEY (log, size)
);

-- Which entry of it stands for which checkpoint of a tenant, and the random bytes
-- that show it. Only appended.
CREATE TABLE anchor_openings (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    shard  bigint NOT NULL CHECK (shard >= 1),
    size   bigint NOT NULL CHECK (size >= 1),
    signed bytea  NOT NULL CHECK (octet_length(signed) > 0),
    blind  bytea  NOT NULL CHECK (octet_length(blind) = 32),
    log    bigint NOT NULL CHECK (log >= 1),
    idx    bigint NOT NULL CHECK (idx >= 0),
    PRIMARY KEY (tenant, shard, size)
);

GRANT SELECT, INSERT ON anchor_hashes, anchor_checkpoints, anchor_openings TO underseal_app;

ALTER TABLE anchor_openings ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON anchor_openings TO underseal_app USING (tenant = current_setting('app.tenant', true));
