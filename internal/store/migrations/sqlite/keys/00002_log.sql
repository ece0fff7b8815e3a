-- The newest signed checkpoint of each log, here so that a data database that was
-- set back is noticed. Written before the checkpoint is published. After a restore the
-- size is that of the restored log, and the note still that of what was signed.
CREATE TABLE log_heads (
    tenant TEXT    NOT NULL CHECK (tenant <> ''),
    origin TEXT    NOT NULL CHECK (origin <> ''),
    size   INTEGER NOT NULL CHECK (size >= 0),
    root   BLOB    NOT NULL CHECK (length(root) = 32),
    note   BLOB    NOT NULL CHECK (length(note) > 0),
    PRIMARY KEY (tenant, origin)
) STRICT, WITHOUT ROWID;

-- The newest leaf of each object that is no instance, and the leaves by which a right
-- ended, here so that an object whose rows were all set back at once, or deleted, is
-- noticed. Written after the leaf and before anybody is told of it.
CREATE TABLE pinned_leaves (
    tenant TEXT    NOT NULL CHECK (tenant <> ''),
    object BLOB    NOT NULL CHECK (length(object) = 16),
    kind   TEXT    NOT NULL,
    seq    INTEGER NOT NULL CHECK (seq >= 0),
    hash   BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (tenant, object)
) STRICT, WITHOUT ROWID;
CREATE INDEX pinned_by_kind ON pinned_leaves (tenant, kind, object);
