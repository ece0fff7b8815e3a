-- The newest signed checkpoint of each anchor log, here so that a data database that
-- was set back is noticed. Written before anybody else sees it. halted says why
-- nothing more is signed; empty: nothing is wrong.
CREATE TABLE anchor_heads (
    log    INTEGER NOT NULL PRIMARY KEY CHECK (log >= 1),
    size   INTEGER NOT NULL CHECK (size >= 0),
    root   BLOB    NOT NULL CHECK (length(root) = 32),
    signed BLOB    NOT NULL CHECK ((size = 0) = (length(signed) = 0)),
    halted TEXT    NOT NULL
) STRICT;
