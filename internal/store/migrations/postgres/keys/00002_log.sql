-- +goose Up

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
