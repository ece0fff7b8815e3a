-- The newest signed checkpoint of each log, here so that a data database that was
-- set back is noticed. Written before the checkpoint is published. After a restore the
-- size is that of the restored log, and the note still that of what was signed.
CREATE TABLE log_heads (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    origin text COLLATE "C" NOT NULL CHECK (origin <> ''),
    size   bigint NOT NULL CHECK (size >= 0),
    root   bytea  NOT NULL CHECK (octet_length(root) = 32),
    note   bytea  NOT NULL CHECK (octet_length(note) > 0),
    PRIMARY KEY (tenant, origin)
);

GRANT SELECT, INSERT, UPDATE ON log_heads TO underseal_keyring;

-- The newest leaf of each object that is no instance, and the leaves by which a right
-- ended, here so that an object whose rows were all set back at once, or deleted, is
-- noticed. Written after the leaf and before anybody is told of it.
CREATE TABLE pinned_leaves (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    object bytea  NOT NULL CHECK (octet_length(object) = 16),
    kind   text COLLATE "C" NOT NULL,
    seq    bigint NOT NULL CHECK (seq >= 0),
    hash   bytea  NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (tenant, object)
);
CREATE INDEX pinned_by_kind ON pinned_leaves (tenant, kind, object);

GRANT SELECT, INSERT, UPDATE, DELETE ON pinned_leaves TO underseal_keyring;
