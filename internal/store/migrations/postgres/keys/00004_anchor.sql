-- The newest signed checkpoint of each anchor log, here so that a data database that
-- was set back is noticed. Written before anybody else sees it. halted says why
-- nothing more is signed; empty: nothing is wrong.
CREATE TABLE anchor_heads (
    log    bigint NOT NULL PRIMARY KEY CHECK (log >= 1),
    size   bigint NOT NULL CHECK (size >= 0),
    root   bytea  NOT NULL CHECK (octet_length(root) = 32),
    signed bytea  NOT NULL CHECK ((size = 0) = (octet_length(signed) = 0)),
    halted text COLLATE "C" NOT NULL
);

GRANT SELECT, INSERT, UPDATE ON anchor_heads TO underseal_keyring;
