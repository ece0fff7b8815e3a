-- The operator's anchor log, of no tenant: the hashes of its tree, each written once,
-- leaves and inner nodes in the order in which they come to be. log tells the log
-- of before a restore from the one of after it.
CREATE TABLE anchor_hashes (
    log  INTEGER NOT NULL CHECK (log >= 1),
    pos  INTEGER NOT NULL CHECK (pos >= 0),
    hash BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (log, pos)
) STRICT, WITHOUT ROWID;

-- Its checkpoints that witnesses and the timestamp authority have seen. Only appended.
-- quorum and authority (SHA-256 of its root) say what was asked for, mark is a keyed
-- hash of the row.
CREATE TABLE anchor_checkpoints (
    log    INTEGER NOT NULL CHECK (log >= 1),
    size   INTEGER NOT NULL CHECK (size >= 1),
    signed BLOB    NOT NULL CHECK (length(signed) > 0),
    token  BLOB    NOT NULL,
    quorum    INTEGER NOT NULL CHECK (quorum >= 0),
    authority BLOB    NOT NULL CHECK (length(authority) IN (0, 32)),
    mark      BLOB    NOT NULL CHECK (length(mark) = 32),
    PRIMARY KEY (log, size)
) STRICT;

-- Which entry of it stands for which checkpoint of a tenant, and the random bytes
-- that show it. Only appended.
CREATE TABLE anchor_openings (
    tenant TEXT    NOT NULL CHECK (tenant <> ''),
    shard  INTEGER NOT NULL CHECK (shard >= 1),
    size   INTEGER NOT NULL CHECK (size >= 1),
    signed BLOB    NOT NULL CHECK (length(signed) > 0),
    blind  BLOB    NOT NULL CHECK (length(blind) = 32),
    log    INTEGER NOT NULL CHECK (log >= 1),
    idx    INTEGER NOT NULL CHECK (idx >= 0),
    PRIMARY KEY (tenant, shard, size)
) STRICT;
